//! The record of a pulse, and the health of the pulse by its last records.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::round::WaitReason;
use crate::{id::RunId, name::TaskName, status::Status};

/// The record of one pulse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The start of the pulse.
    pub started_at: Timestamp,
    /// The duration in milliseconds; none if the pulse has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The results of the ticks.
    #[serde(flatten)]
    pub tally: Tally,
    /// The missed ticks, at most 20 entries.
    #[serde(default)]
    pub misses: Vec<MissedTicks>,
    /// The errors of the pulse itself, at most 20.
    #[serde(default)]
    pub errors: Vec<String>,
}

/// The number of ticks and runs, by result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Ticks whose time had come, including those that waited since before.
    pub due: usize,
    /// Runs that have started: succeeded, failed, or in progress.
    pub executed: usize,
    /// Runs that completed.
    pub succeeded: usize,
    /// Runs that are over and did not complete.
    pub failed: usize,
    /// Runs in progress at the end of the pulse. Their history has their results.
    pub running: usize,
    /// Ticks that were recorded as SKIPPED.
    pub skipped: usize,
    /// Ticks that were recorded as BLOCKED.
    pub blocked: usize,
    /// Ticks that wait for a later pulse.
    pub waiting: usize,
    /// Ticks that have had no run and will have none.
    pub missed: usize,
    /// Lost runs whose records were written.
    pub lost: usize,
    /// Tasks whose own schedule functions were called.
    pub asked: usize,
    /// Jobs whose messages were sent: due jobs from the index, and orphans.
    #[serde(rename = "rung")]
    pub woken: usize,
}

/// Ticks of a task that had no run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedTicks {
    /// The task.
    pub task: TaskName,
    /// The number of ticks.
    pub ticks: usize,
    /// The oldest tick.
    pub first: Timestamp,
    /// The newest tick.
    pub last: Timestamp,
}

/// Ticks of a task, oldest first, that its policies give up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUpTicks {
    /// The task.
    pub task: TaskName,
    /// The ticks.
    pub ticks: Vec<Timestamp>,
}

impl GivenUpTicks {
    /// Returns the ticks if there are any.
    pub fn if_any(self) -> Option<Self> {
        (!self.ticks.is_empty()).then_some(self)
    }

    /// Removes the ticks up to `last_tick`, the newest tick that had a run, and the ticks that are recorded.
    ///
    /// If a pulse that was killed started the run of `last_tick`, the ticks before it are not reported as
    /// missed either. A tick may be recorded without a run, e.g. as SKIPPED because another run was in
    /// progress.
    #[must_use]
    pub fn without_run(
        mut self,
        last_tick: Option<Timestamp>,
        is_recorded: impl Fn(&TaskName, Timestamp) -> bool,
    ) -> Self {
        self.ticks.retain(|tick| Some(*tick) > last_tick && !is_recorded(&self.task, *tick));
        self
    }

    /// Sums up the ticks; none if there are no ticks.
    pub fn missed(self) -> Option<MissedTicks> {
        let (first, last) = (*self.ticks.first()?, *self.ticks.last()?);
        Some(MissedTicks { ticks: self.ticks.len(), task: self.task, first, last })
    }
}

impl Tally {
    /// Counts a tick that is over. Without a status, another delivery ran the tick, and nothing is counted.
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
    pub fn left(&mut self, why: Option<&WaitReason>) {
        if why.is_some() {
            self.waiting += 1;
        } else {
            self.executed += 1;
            self.running += 1;
        }
    }

    /// Returns whether every due tick succeeded.
    pub fn is_success(&self) -> bool {
        self.failed + self.blocked + self.missed + self.lost == 0
    }
}

impl Record {
    /// Returns whether the pulse ended without errors, and every due tick succeeded.
    pub fn is_success(&self) -> bool {
        self.duration_ms.is_some() && self.errors.is_empty() && self.tally.is_success()
    }

    /// Returns whether the pulse is still in progress at `now`. After [`GRACE`](super::GRACE) it was cut off.
    pub fn is_in_progress(&self, now: Timestamp) -> bool {
        self.duration_ms.is_none() && self.is_young(now)
    }

    fn is_young(&self, now: Timestamp) -> bool {
        now.duration_since(self.started_at) < super::GRACE.try_into().unwrap_or_default()
    }
}

/// The report of a pulse to its caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The pulse did this minute's work. If false, another pulse does it or has done it.
    pub worked: bool,
    /// The pulse only reported what it would do.
    pub dry_run: bool,
    /// Its record.
    #[serde(flatten)]
    pub record: Record,
    /// The outcome of each tick.
    pub ticks: Vec<TickOutcome>,
}

/// The outcome of one tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TickOutcome {
    /// Its task.
    pub task: TaskName,
    /// The tick.
    pub scheduled_for: Timestamp,
    /// The id of its run.
    pub run_id: RunId,
    /// The status of the run; `RUNNING` if it is in progress; `WAITING` and the reason; `HAD` if another
    /// delivery has already run this tick or a later one. In a dry run, `DUE` if the run would be started.
    pub became: String,
}

impl Record {
    /// Creates the record of a pulse that starts.
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

/// The health of the pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Health {
    /// There has been no pulse.
    Unknown,
    /// The last pulse succeeded.
    Healthy,
    /// The last pulse had errors or failures.
    Failing,
    /// The last pulse is too long ago.
    Silent,
}

impl Health {
    /// Returns the stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Healthy => "HEALTHY",
            Self::Failing => "FAILING",
            Self::Silent => "SILENT",
        }
    }
}

/// Returns the health of the pulse by its records, newest first. A pulse that is still in progress does not
/// count.
pub fn health(records: &[Record], now: Timestamp) -> Health {
    match records.iter().find(|record| !record.is_in_progress(now)) {
        None if records.is_empty() => Health::Unknown,
        None => Health::Healthy,
        Some(_) if !records.first().is_some_and(|newest| newest.is_young(now)) => Health::Silent,
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
    fn p03_the_health_is_that_of_the_last_finished_pulse() {
        let now = Timestamp::from_second(1000).unwrap();
        for (records, wanted) in [
            (vec![], Health::Unknown),
            (vec![record(990, Some(1), 0)], Health::Healthy),
            (vec![record(990, Some(1), 1), record(930, Some(1), 0)], Health::Failing),
            (vec![record(990, None, 0), record(930, Some(1), 1)], Health::Failing),
            (vec![record(700, Some(1), 0)], Health::Silent),
            // A pulse that was killed three minutes ago, and none since.
            (vec![record(800, None, 0)], Health::Silent),
        ] {
            assert_eq!(health(&records, now), wanted, "{records:?}");
        }
    }

    #[test]
    fn p03_a_pulse_is_in_progress_until_it_ends_or_is_cut_off() {
        let now = Timestamp::from_second(1000).unwrap();
        for (record, wanted) in
            [(record(990, None, 0), true), (record(990, Some(1), 0), false), (record(820, None, 0), false)]
        {
            assert_eq!(record.is_in_progress(now), wanted, "{record:?}");
        }
    }

    #[test]
    fn p01_a_tick_is_counted_by_its_outcome() {
        let mut tally = Tally::default();
        for status in Status::ALL.into_iter().filter(|status| status.is_terminal()) {
            tally.over(Some(status));
        }
        tally.over(None);
        tally.left(None);
        tally.left(Some(&WaitReason::Turn));
        let Tally { executed, succeeded, failed, running, skipped, blocked, waiting, .. } = tally;
        assert_eq!((executed, succeeded, failed, running), (5, 1, 3, 1));
        assert_eq!((skipped, blocked, waiting), (1, 1, 1));
    }
}
