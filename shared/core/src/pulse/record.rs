//! What is written down of a pulse, and how the pulses have fared.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::round::Why;
use crate::{id::RunId, name::TaskName, status::Status};

/// The record of one pulse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took; nothing if it has not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// What became of the ticks.
    #[serde(flatten)]
    pub tally: Tally,
    /// The ticks that had no run, some of them if there are many.
    #[serde(default)]
    pub misses: Vec<Missed>,
    /// What went wrong with the pulse itself, some of it if there is much.
    #[serde(default)]
    pub errors: Vec<String>,
}

/// What became of ticks and runs, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Ticks whose time had come, with those that waited from before.
    pub due: usize,
    /// Runs that have begun: all that succeeded or failed, and those in progress.
    pub executed: usize,
    /// Runs that are over and completed.
    pub succeeded: usize,
    /// Runs that are over and did not.
    pub failed: usize,
    /// Runs that had begun and were in progress when the pulse ended. Their history says how they ended.
    pub running: usize,
    /// Ticks that were recorded as SKIPPED.
    pub skipped: usize,
    /// Ticks that were recorded as BLOCKED.
    pub blocked: usize,
    /// Ticks that wait for a later pulse.
    pub waiting: usize,
    /// Ticks that have had no run and will have none.
    pub missed: usize,
    /// Runs that were found to be lost, and whose records were written.
    pub lost: usize,
    /// Tasks whose own schedule function was asked.
    pub asked: usize,
    /// Jobs whose messages were sent: their time has come, or could not be waited for by SQS before.
    pub rung: usize,
}

/// Ticks of a task that had no run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The task.
    pub task: TaskName,
    /// How many.
    pub ticks: usize,
    /// The oldest of them.
    pub first: Timestamp,
    /// The newest of them.
    pub last: Timestamp,
}

/// Ticks of a task, oldest first, that its policies give up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// The task.
    pub task: TaskName,
    /// The ticks.
    pub ticks: Vec<Timestamp>,
}

impl GivenUp {
    /// Those of the ticks that have had no run; nothing if all have. `last_tick` is the newest that has had one: a pulse
    /// that was killed may have started it, and then nobody was told of those before it either. `is_recorded` says of
    /// which there is a record, such as that another run kept them out.
    pub fn missed(
        &self,
        last_tick: Option<Timestamp>,
        is_recorded: impl Fn(Timestamp) -> bool,
    ) -> Option<Missed> {
        let ticks = self.without_run(last_tick, is_recorded);
        let (first, last) = (*ticks.first()?, *ticks.last()?);
        Some(Missed { task: self.task.clone(), ticks: ticks.len(), first, last })
    }

    /// The ticks that [`missed`](Self::missed) counts.
    pub fn without_run(
        &self,
        last_tick: Option<Timestamp>,
        is_recorded: impl Fn(Timestamp) -> bool,
    ) -> Vec<Timestamp> {
        let later = self.ticks.iter().filter(|tick| Some(**tick) > last_tick);
        later.copied().filter(|tick| !is_recorded(*tick)).collect()
    }
}

impl Tally {
    /// Counts a tick that is over. Without a status its run was another delivery's, and is counted there.
    pub fn over(&mut self, status: Option<Status>) {
        match status {
            Some(Status::Skipped) => self.skipped += 1,
            Some(Status::Blocked) => self.blocked += 1,
            Some(Status::Completed) => {
                self.executed += 1;
                self.succeeded += 1;
            }
            Some(_) => {
                self.executed += 1;
                self.failed += 1;
            }
            None => {}
        }
    }

    /// Counts a tick that is left when the pulse ends.
    pub fn left(&mut self, why: Option<&Why>) {
        if why.is_some() {
            self.waiting += 1;
        } else {
            self.executed += 1;
            self.running += 1;
        }
    }

    /// Whether everything that was due went as it should.
    pub fn is_success(&self) -> bool {
        self.failed + self.blocked + self.missed + self.lost == 0
    }
}

impl Record {
    /// Whether the pulse came to its end and everything went as it should.
    pub fn is_success(&self) -> bool {
        self.duration_ms.is_some() && self.errors.is_empty() && self.tally.is_success()
    }
}

/// What a pulse says of itself to whoever invoked it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether it did this minute's work. If not, another pulse does it, or has done it.
    pub worked: bool,
    /// Whether it only said what it would do.
    pub dry_run: bool,
    /// Its record.
    #[serde(flatten)]
    pub record: Record,
    /// What became of each tick, in the order in which it was known.
    pub ticks: Vec<Told>,
}

/// What became of one tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its task.
    pub task: TaskName,
    /// The tick.
    pub scheduled_for: Timestamp,
    /// The id of its run.
    pub run_id: RunId,
    /// A run's status; `RUNNING` for one in progress, `WAITING` and why, or `HAD` for one that had its run before. Of a
    /// dry run `DUE` for one that would be started.
    pub became: String,
}

impl Record {
    /// The record of a pulse that begins.
    pub fn begun(started_at: Timestamp) -> Self {
        Self {
            started_at,
            duration_ms: None,
            tally: Tally::default(),
            misses: Vec::new(),
            errors: Vec::new(),
        }
    }
}

/// How the pulses fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Health {
    /// There has been none.
    Unknown,
    /// The last one went as it should.
    Healthy,
    /// Something went wrong in the last one.
    Failing,
    /// The last one is longer ago than it should be.
    Silent,
}

impl Health {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Healthy => "HEALTHY",
            Self::Failing => "FAILING",
            Self::Silent => "SILENT",
        }
    }
}

/// How the pulses fare, from their records, newest first. A pulse that is still in progress says nothing yet.
pub fn health(records: &[Record], now: Timestamp) -> Health {
    let young =
        |record: &Record| now.duration_since(record.started_at) < super::GRACE.try_into().unwrap_or_default();
    match records.iter().find(|record| record.duration_ms.is_some() || !young(record)) {
        None if records.is_empty() => Health::Unknown,
        None => Health::Healthy,
        Some(_) if !records.first().is_some_and(young) => Health::Silent,
        Some(record) if record.is_success() => Health::Healthy,
        Some(_) => Health::Failing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(second: i64, duration_ms: Option<u64>, failed: usize) -> Record {
        Record {
            started_at: Timestamp::from_second(second).unwrap(),
            duration_ms,
            tally: Tally { failed, ..Tally::default() },
            misses: Vec::new(),
            errors: Vec::new(),
        }
    }

    #[test]
    fn p03_the_last_pulse_that_is_over_says_how_they_fare() {
        let now = Timestamp::from_second(1000).unwrap();
        for (records, wanted) in [
            (vec![], Health::Unknown),
            (vec![record(990, Some(1), 0)], Health::Healthy),
            (vec![record(990, Some(1), 1), record(930, Some(1), 0)], Health::Failing),
            (vec![record(990, None, 0), record(930, Some(1), 1)], Health::Failing),
            (vec![record(700, Some(1), 0)], Health::Silent),
            // One that was killed three minutes ago, and none since.
            (vec![record(800, None, 0)], Health::Silent),
        ] {
            assert_eq!(health(&records, now), wanted, "{records:?}");
        }
    }

    #[test]
    fn p01_a_tick_is_counted_by_how_it_ended() {
        let mut tally = Tally::default();
        for status in Status::ALL.into_iter().filter(|status| status.is_terminal()) {
            tally.over(Some(status));
        }
        tally.over(None);
        tally.left(None);
        tally.left(Some(&Why::Turn));
        let Tally { executed, succeeded, failed, running, skipped, blocked, waiting, .. } = tally;
        assert_eq!((executed, succeeded, failed, running), (5, 1, 3, 1));
        assert_eq!((skipped, blocked, waiting), (1, 1, 1));
    }
}
