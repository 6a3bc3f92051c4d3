//! How many jobs with a key run at once.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::RunId;

/// The shortest and the longest time after which a job that found no place looks again.
const LOOKS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How many jobs with a key may run at once at most: their places are one item.
pub const MAX_AT_ONCE: u32 = 1000;

/// Of how many jobs of its task with the same key a job may be one, while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What they have in common: a customer, a host.
    pub key: String,
    /// How many of them run at once.
    pub at_once: u32,
}

/// The jobs with a key that run, each with when its hold on its place ends unless it is renewed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places(pub BTreeMap<RunId, Timestamp>);

impl Places {
    /// With a place for `job` until then; nothing if all are taken. A job that has one keeps it, for no less time. Whose time has passed died in
    /// it, and has it no more.
    pub fn taken(&self, job: RunId, at_once: u32, now: Timestamp, until: Timestamp) -> Option<Self> {
        let others = self.0.iter().filter(|(id, end)| **id != job && **end >= now);
        let mut places: BTreeMap<_, _> = others.map(|(id, end)| (*id, *end)).collect();
        if places.len() >= usize::try_from(at_once).unwrap_or(usize::MAX) {
            return None;
        }
        let own = self.0.get(&job).copied().unwrap_or(until);
        places.insert(job, until.max(own));
        Some(Self(places))
    }
}

/// After how long a job that was enqueued so long ago and found no place looks again: an eighth of that, so that many that
/// wait for long ask seldom.
pub fn look_again_after(waited: Duration) -> Duration {
    (waited / 8).clamp(LOOKS.0, LOOKS.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn id(number: u128) -> RunId {
        RunId::new(at(0), number)
    }

    #[test]
    fn q11_there_are_as_many_places_as_the_limit_says() {
        let one = Places::default().taken(id(1), 2, at(0), at(30)).unwrap();
        let two = one.taken(id(2), 2, at(0), at(30)).unwrap();
        assert_eq!(two.taken(id(3), 2, at(0), at(30)), None);
        // One that has a place keeps it, for longer.
        assert_eq!(two.taken(id(1), 2, at(10), at(40)).unwrap().0[&id(1)], at(40));
        assert_eq!(two.taken(id(1), 2, at(10), at(20)).unwrap().0[&id(1)], at(30));
        // Each job counts by its own limit.
        assert_eq!(two.taken(id(3), 3, at(0), at(30)).unwrap().0.len(), 3);
    }

    #[test]
    fn q10_the_place_of_a_job_that_died_is_free_once_its_time_has_passed() {
        let one = Places::default().taken(id(1), 1, at(0), at(30)).unwrap();
        assert_eq!(one.taken(id(2), 1, at(30), at(60)), None);
        assert_eq!(one.taken(id(2), 1, at(31), at(61)).unwrap().0, BTreeMap::from([(id(2), at(61))]));
    }

    #[test]
    fn who_waits_for_long_asks_seldom() {
        for (waited, pause) in [(0, 500), (8_000, 1000), (80_000, 10_000), (86_400_000, 30_000)] {
            assert_eq!(look_again_after(Duration::from_millis(waited)), Duration::from_millis(pause));
        }
    }
}
