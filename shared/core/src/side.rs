//! Side tasks: the lease by which one runner runs each, and the restarts after a failure.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    reason::Reason,
    retry::Retry,
    run::{Attempt, ErrorKind, Run, RunError},
    status::Status,
};

/// The intervals by which a runner keeps a side task running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The duration of the lease from each renewal on. If a runner dies, another one takes the task over
    /// after this time.
    pub lease: Duration,
    /// The interval at which the lease is renewed.
    pub heartbeat: Duration,
    /// The time after which a run counts as good. A failure after this time restarts the count of failures at 1.
    pub well: Duration,
    /// The backoff between a failure and the next start.
    pub pauses: Retry,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            heartbeat: Duration::from_secs(5),
            well: Duration::from_secs(60),
            pauses: Retry {
                max_attempts: u32::MAX,
                initial: Duration::from_secs(1),
                max: Duration::from_secs(60),
            },
        }
    }
}

/// The time that a process has to stop: 5 s for the body, 3 s for the author's hook, and 2 s for its state.
/// It is at most the time that a lease has left when its runner dies. So the process ends before another runner
/// takes the task.
pub const PARTING: Duration = Duration::from_secs(10);
/// The body's part of [`PARTING`].
pub const BODY_PARTING: Duration = Duration::from_secs(5);
/// The part of `on_shutdown`. `on_error` has the same time.
pub const HOOK_LIMIT: Duration = Duration::from_secs(3);

/// The decision after the end of a side task's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// The task completed and is not started again.
    Rest,
    /// The task is started again.
    StartAfter {
        /// The pause until the start.
        pause: Duration,
        /// The number of failures in a row, without a good run between them.
        failures: u32,
    },
}

/// The end of a side task, as its process reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideTaskEnd {
    /// The message of a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The data that the body returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// The error, if the body failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// The configuration, with its secrets masked.
    #[serde(default)]
    pub config: Value,
    /// Why the runner ended it, or found it ended.
    #[serde(skip)]
    pub why: Option<Reason>,
}

impl SideTaskEnd {
    /// Creates the end of a process that did not report it.
    pub fn failed(why: &str) -> Self {
        Self { error: Some(RunError::new(ErrorKind::System, why)), ..Self::default() }
    }

    /// Returns the end of a process that the runner killed or found ended.
    pub fn because(reason: Reason) -> Self {
        Self { error: Some(RunError::of(&reason)), why: Some(reason), ..Self::default() }
    }

    /// Returns the run's record with this end.
    #[must_use]
    pub fn of(self, run: Run) -> Run {
        let Self { message, data, error, config, why } = self;
        let status = if error.is_some() { Status::Failed } else { Status::Completed };
        let attempt =
            Attempt { started_at: run.started_at, duration_ms: run.duration_ms(), error: error.clone() };
        Run { status, message, data, error, config, why, attempts: vec![attempt], ..run }
    }
}

impl Pace {
    /// Decides what follows the end of a process that ran for `ran`, after `failures` failures in a row.
    /// `jitter` is 0 to 1, evenly distributed.
    pub fn after_end(&self, ended: &SideTaskEnd, ran: Duration, failures: u32, jitter: f64) -> Next {
        let Some(_) = &ended.error else { return Next::Rest };
        let failures = if ran >= self.well { 1 } else { failures.saturating_add(1) };
        Next::StartAfter { pause: self.pauses.pause(failures, jitter), failures }
    }

    /// Returns the pause between two claims of a task that another runner has: the duration of a lease, so
    /// that waiting costs little.
    pub fn patience(&self) -> Duration {
        self.lease
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> SideTaskEnd {
        SideTaskEnd::failed("it was killed")
    }

    #[test]
    fn s02_the_pause_doubles_with_each_failure_up_to_a_minute() {
        let pace = Pace::default();
        let pauses: Vec<_> = (0..9)
            .map(|before| match pace.after_end(&failed(), Duration::from_secs(59), before, 1.0) {
                Next::StartAfter { pause, failures } => {
                    assert_eq!(failures, before + 1);
                    pause.as_secs()
                }
                Next::Rest => panic!("it failed"),
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn s02_a_failure_after_a_good_run_is_the_first_one() {
        let next = Pace::default().after_end(&failed(), Duration::from_secs(60), 40, 0.5);
        assert_eq!(next, Next::StartAfter { pause: Duration::from_millis(500), failures: 1 });
    }

    #[test]
    fn a_side_task_that_returned_is_not_restarted() {
        assert_eq!(Pace::default().after_end(&SideTaskEnd::default(), Duration::ZERO, 3, 0.5), Next::Rest);
    }

    #[test]
    fn s03_the_process_of_a_dead_runner_ends_before_another_may_take_the_task() {
        let Pace { lease, heartbeat, .. } = Pace::default();
        assert!(PARTING + heartbeat <= lease);
    }
}
