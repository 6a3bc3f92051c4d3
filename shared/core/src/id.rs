//! Run ids: unique, and sorted by time, so that a history is read newest first without an index.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// The id of a run: a ULID of 26 characters. Ids of later milliseconds sort after those of earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(Ulid);

/// The number of partitions over which the jobs of a task are spread.
pub const SHARDS: u8 = 16;
/// The highest four of the 80 random bits.
const SHARD: u128 = 0xF << 76;

/// The error of a text that is not a run id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a run id: it must be the 26 characters of a ULID")]
pub struct InvalidRunId {
    /// The given text.
    pub text: String,
}

impl RunId {
    /// An id that no run has. It sorts before every other.
    pub const NIL: Self = Self(Ulid(0));

    /// Creates the id of a run at `now`. The low 76 bits of `random` distinguish it from others of the same
    /// millisecond. A time before 1970 counts as 1970.
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self::of_parts(now, random & !SHARD)
    }

    /// Creates the id of a job that is enqueued at `now`. The low 80 bits of `random` distinguish it from
    /// others. Their highest four choose the partition of its record.
    pub fn of_job(now: Timestamp, random: u128) -> Self {
        Self::of_parts(now, random)
    }

    /// Returns the last id that a run or a job of that time can have.
    pub fn last_of(now: Timestamp) -> Self {
        Self::of_parts(now, u128::MAX)
    }

    fn of_parts(now: Timestamp, random: u128) -> Self {
        Self(Ulid::from_parts(u64::try_from(now.as_millisecond()).unwrap_or(0), random))
    }

    /// Returns the number of the job's partition, below [`SHARDS`]; 0 for a run that is not a job.
    pub fn shard(&self) -> u8 {
        let [top, ..] = (self.0.0 << 48).to_be_bytes();
        top >> 4
    }

    /// Returns the time at which the id was created, to the millisecond. A time beyond the range of
    /// `Timestamp` counts as the last one in it.
    pub fn made_at(&self) -> Timestamp {
        let ms = i64::try_from(self.0.timestamp_ms()).ok();
        ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, InvalidRunId> {
        Ulid::from_string(text).map(Self).map_err(|_| InvalidRunId { text: text.to_owned() })
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;

    fn try_from(text: String) -> Result<Self, InvalidRunId> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_survive_their_text() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let early = RunId::new(at(1_000), u128::MAX);
        let late = RunId::new(at(1_001), 0);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(late.to_string().parse(), Ok(late));
        assert_eq!(late.made_at(), at(1_001));
        assert!("not an id".parse::<RunId>().is_err());
    }

    #[test]
    fn only_jobs_are_spread_over_partitions() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(RunId::new(now, u128::MAX).shard(), 0);
        assert_eq!(RunId::of_job(now, 0x3 << 76).shard(), 3);
        assert_eq!(RunId::last_of(now).shard(), SHARDS - 1);
        assert!(RunId::new(now, u128::MAX) < RunId::last_of(now));
    }
}
