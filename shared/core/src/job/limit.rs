//! How many jobs with a key run at once.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::RunId;

/// The shortest and the longest time after which a job under a runner that found no place looks again.
const LOOKS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long a job of a queue looks again by messages of its own. Each costs three requests, and a chain of them may be taken for
/// a loop.
const BY_MESSAGE: Duration = Duration::from_secs(60);
/// The shortest and the longest time after which it looks again later. It waits in the index, at which the pulse looks each
/// minute.
const LOOKS_IN_INDEX: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(300));

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

/// How a job that found no place waits for its next look. Mostly for an eighth of the time that it has waited since it first
/// found none, so that many that wait for long ask seldom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A message of its own, held back for so long.
    Message(Duration),
    /// In the index, where somebody looks for it when so long has passed.
    Index(Duration),
}

impl Wait {
    /// Under a runner, to which the index is its queue.
    pub fn in_runner(waited: Duration) -> Self {
        Self::Index((waited / 8).clamp(LOOKS.0, LOOKS.1))
    }

    /// Of a queue in AWS. A job that waits for a day costs about 310 messages, each further day 288.
    pub fn in_queue(waited: Duration) -> Self {
        if waited < BY_MESSAGE {
            Self::Message((waited / 8).max(LOOKS.0))
        } else {
            Self::Index((waited / 8).clamp(LOOKS_IN_INDEX.0, LOOKS_IN_INDEX.1))
        }
    }

    /// For how long.
    pub fn pause(self) -> Duration {
        match self {
            Self::Message(pause) | Self::Index(pause) => pause,
        }
    }
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
            let wait = Wait::in_runner(Duration::from_millis(waited));
            assert_eq!(wait, Wait::Index(Duration::from_millis(pause)));
        }
    }

    #[test]
    fn a_job_of_a_queue_that_waits_for_long_costs_few_messages() {
        let day = Duration::from_secs(24 * 3600);
        let (mut waited, mut own, mut all) = (Duration::ZERO, 0, 0);
        while waited < day {
            let wait = Wait::in_queue(waited);
            // It never waits for much longer than an eighth of what it has waited.
            assert!(wait.pause() <= (waited / 8).max(LOOKS_IN_INDEX.0), "{waited:?} {wait:?}");
            own += u32::from(matches!(wait, Wait::Message(_)));
            all += 1;
            waited += wait.pause();
        }
        assert!((10..=32).contains(&own) && (100..=360).contains(&all), "{own} {all}");
        assert_eq!(Wait::in_queue(day * 300), Wait::Index(LOOKS_IN_INDEX.1));
    }
}
