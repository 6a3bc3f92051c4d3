//! Side tasks: whoever runs one, for how long it has it, and when it is started again.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    reason::Reason,
    retry::Retry,
    run::{Attempt, ErrorKind, Run, RunError},
    status::Status,
};

/// How a runner keeps a side task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// For how long a runner has a side task from one renewal on. One that dies leaves it to others after this time.
    pub lease: Duration,
    /// How often the lease is renewed.
    pub heartbeat: Duration,
    /// A task that has run for so long has run well: if it fails after that, it fails for the first time.
    pub well: Duration,
    /// The pauses between a failure and the next start.
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

/// How long a process may take to end once it is asked to: 5 s for the body, 3 s for what the author has for the end, 2 s
/// for its state. It is less than what is left of a lease whose runner dies.
pub const PARTING: Duration = Duration::from_secs(10);
/// The body's share of it.
pub const BODY_PARTING: Duration = Duration::from_secs(5);
/// The share of `on_shutdown`; `on_error` may take as long.
pub const HOOK_LIMIT: Duration = Duration::from_secs(3);

/// What follows the end of a side task's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// It had come to its end by itself, and stays there.
    Rest,
    /// It starts again after this pause, having failed so often in a row.
    StartAfter {
        /// How long it is until then.
        pause: Duration,
        /// How often it has failed without having run well.
        failures: u32,
    },
}

/// What a side task's process says of its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// What the body said of its success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the body returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// The configuration it had, without its secrets.
    #[serde(default)]
    pub config: Value,
    /// Why the runner ended it, or found it ended.
    #[serde(skip)]
    pub why: Option<Reason>,
}

impl Ended {
    /// The end of a process that did not say it itself.
    pub fn failed(why: &str) -> Self {
        Self { error: Some(RunError::new(ErrorKind::System, why)), ..Self::default() }
    }

    /// The end of a process that the runner killed or found ended.
    pub fn because(reason: Reason) -> Self {
        Self { error: Some(RunError::of(&reason)), why: Some(reason), ..Self::default() }
    }

    /// The run's record with its end.
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
    /// What follows the end of a process that ran for `ran`, after `failures` failures in a row before it. `jitter` is 0 to
    /// 1, evenly drawn.
    pub fn after_end(&self, ended: &Ended, ran: Duration, failures: u32, jitter: f64) -> Next {
        let Some(_) = &ended.error else { return Next::Rest };
        let failures = if ran >= self.well { 1 } else { failures.saturating_add(1) };
        Next::StartAfter { pause: self.pauses.pause(failures, jitter), failures }
    }

    /// How long whoever was refused waits until it asks again: as long as the lease that keeps it out can be, so that
    /// waiting costs little.
    pub fn patience(&self) -> Duration {
        self.lease
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Ended {
        Ended::failed("it was killed")
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
    fn a_task_that_came_to_its_end_rests() {
        assert_eq!(Pace::default().after_end(&Ended::default(), Duration::ZERO, 3, 0.5), Next::Rest);
    }

    #[test]
    fn s03_a_process_whose_runner_died_is_gone_before_another_may_have_the_task() {
        let Pace { lease, heartbeat, .. } = Pace::default();
        assert!(PARTING + heartbeat <= lease);
    }
}
