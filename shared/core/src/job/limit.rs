//! Limits by key: the places of running jobs, and the backoff of jobs that find no free place.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::RunId;

/// The shortest and the longest pause of a waiting job under a runner.
const LOOKS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// The time for which delayed messages wake up a waiting job in AWS. Each message costs three requests, and a
/// long chain of messages may be taken for a recursive loop.
const BY_MESSAGE: Duration = Duration::from_secs(60);
/// The shortest and the longest pause after that. The job is in the index, which the pulse reads each minute.
const LOOKS_IN_INDEX: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(300));

/// The places of a key: each running job with the time at which its place expires unless it is renewed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places(pub BTreeMap<RunId, Timestamp>);

impl Places {
    /// Returns the places after `job` has taken one until `until`; none if all places are taken.
    ///
    /// A job that has a place keeps it, and its expiry is never moved to an earlier time. An expired place
    /// belongs to a lost job and is free.
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

/// The pause before a job that found no free place tries again: about an eighth of the time that it has waited
/// so far. So long waits cost little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A message of its own, delayed by this time.
    Message(Duration),
    /// An entry in the index, due after this time.
    Index(Duration),
}

impl Wait {
    /// Returns the wait under a runner, whose queue is the index.
    pub fn in_runner(waited: Duration) -> Self {
        Self::Index((waited / 8).clamp(LOOKS.0, LOOKS.1))
    }

    /// Returns the wait in AWS. A job that waits for a day costs about 310 messages, and 288 for each further
    /// day.
    pub fn in_queue(waited: Duration) -> Self {
        if waited < BY_MESSAGE {
            Self::Message((waited / 8).max(LOOKS.0))
        } else {
            Self::Index((waited / 8).clamp(LOOKS_IN_INDEX.0, LOOKS_IN_INDEX.1))
        }
    }

    /// Returns the length of the wait.
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
    fn q11_a_key_has_as_many_places_as_its_limit() {
        let one = Places::default().taken(id(1), 2, at(0), at(30)).unwrap();
        let two = one.taken(id(2), 2, at(0), at(30)).unwrap();
        assert_eq!(two.taken(id(3), 2, at(0), at(30)), None);
        // A job that has a place keeps it, for longer.
        assert_eq!(two.taken(id(1), 2, at(10), at(40)).unwrap().0[&id(1)], at(40));
        assert_eq!(two.taken(id(1), 2, at(10), at(20)).unwrap().0[&id(1)], at(30));
        // Each job counts by its own limit.
        assert_eq!(two.taken(id(3), 3, at(0), at(30)).unwrap().0.len(), 3);
    }

    #[test]
    fn q10_the_place_of_a_dead_job_is_free_once_its_lease_has_expired() {
        let one = Places::default().taken(id(1), 1, at(0), at(30)).unwrap();
        assert_eq!(one.taken(id(2), 1, at(30), at(60)), None);
        assert_eq!(one.taken(id(2), 1, at(31), at(61)).unwrap().0, BTreeMap::from([(id(2), at(61))]));
    }

    #[test]
    fn polling_slows_down_the_longer_a_job_waits() {
        for (waited, pause) in [(0, 500), (8_000, 1000), (80_000, 10_000), (86_400_000, 30_000)] {
            let wait = Wait::in_runner(Duration::from_millis(waited));
            assert_eq!(wait, Wait::Index(Duration::from_millis(pause)));
        }
    }

    #[test]
    fn a_long_wait_in_a_queue_costs_few_messages() {
        let day = Duration::from_secs(24 * 3600);
        let (mut waited, mut own, mut all) = (Duration::ZERO, 0, 0);
        while waited < day {
            let wait = Wait::in_queue(waited);
            // The pause is never much longer than an eighth of the time waited.
            assert!(wait.pause() <= (waited / 8).max(LOOKS_IN_INDEX.0), "{waited:?} {wait:?}");
            own += u32::from(matches!(wait, Wait::Message(_)));
            all += 1;
            waited += wait.pause();
        }
        assert!((10..=32).contains(&own) && (100..=360).contains(&all), "{own} {all}");
        assert_eq!(Wait::in_queue(day * 300), Wait::Index(LOOKS_IN_INDEX.1));
    }
}
