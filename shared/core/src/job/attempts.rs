//! The request of a runner to a process for attempts at jobs, and the process's reports.
//!
//! An invocation costs more than a short body. So the jobs of a task with short bodies share an invocation. The
//! process makes the attempts one after the other and reports them together. After [`PATIENCE`] it gives back
//! the jobs that it has not started. If a process dies with several jobs, each of them gets an invocation of
//! its own.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AttemptOutcome, Job};
use crate::{id::RunId, run::Stored};

/// The maximum number of jobs that share an invocation.
const MOST: usize = 16;
/// The target duration of all attempts of one invocation.
const TOGETHER: Duration = Duration::from_millis(5);
/// The time from the start of an invocation after which it gives back the jobs that it has not started. From
/// then on each finished attempt is reported at once.
pub const PATIENCE: Duration = Duration::from_millis(10);

/// The payload of an invocation for jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempts {
    /// The jobs, in the order of their attempts.
    pub jobs: Vec<StartedJob>,
}

/// A job that its sender has started. The sender records the result of the attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartedJob {
    /// The run's id.
    pub run_id: RunId,
    /// The fencing token of the job, and of this attempt.
    #[serde(rename = "epoch")]
    pub fencing_token: u64,
    /// The arguments of the body.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub arguments: Value,
    /// The places of arguments that are too large to be sent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub large: BTreeMap<String, Stored>,
}

/// A process's report on a job. Reports are in the order of the jobs: a list, or one line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptReport {
    /// The attempt is over.
    #[serde(rename = "tried")]
    Attempted {
        /// The outcome.
        tried: Box<AttemptOutcome>,
        /// The duration in microseconds.
        took_us: u64,
    },
    /// This process does not attempt this job and the jobs behind it.
    GivenBack {
        /// The first job that is given back.
        from: RunId,
    },
}

impl From<&Job> for StartedJob {
    fn from(job: &Job) -> Self {
        let Job { id, fencing_token, arguments, large, .. } = job;
        Self {
            run_id: *id,
            fencing_token: *fencing_token,
            arguments: arguments.clone(),
            large: large.clone(),
        }
    }
}

/// The recent duration of a task's attempts, if known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace(Option<Duration>);

impl Pace {
    /// Returns the number of jobs that may share the next invocation: one, unless they are known to be short.
    pub fn together(self) -> usize {
        let Some(usual) = self.0 else { return 1 };
        let fitting = TOGETHER.as_micros() / usual.as_micros().max(1);
        usize::try_from(fitting).unwrap_or(MOST).clamp(1, MOST)
    }

    /// Returns the pace after one more attempt, as a moving average.
    #[must_use]
    pub fn after(self, took: Duration) -> Self {
        Self(Some(self.0.map_or(took, |usual| (usual * 7 + took) / 8)))
    }

    /// Returns the pace after a process died over a job: unknown, so that the next jobs are alone.
    #[must_use]
    pub fn lost(self) -> Self {
        Self(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jobs_that_are_known_to_be_short_share_an_invocation() {
        let unknown = Pace::default();
        assert_eq!(unknown.together(), 1);
        for (millis, together) in [(0, MOST), (1, 5), (2, 2), (5, 1), (900_000, 1)] {
            let pace = unknown.after(Duration::from_millis(millis));
            assert_eq!(pace.together(), together, "{millis} ms");
            assert_eq!(pace.lost().together(), 1);
        }
        // A single long or short attempt changes the pace for a while only.
        let short = unknown.after(Duration::from_micros(100));
        let long = unknown.after(Duration::from_secs(1));
        assert_eq!(short.after(Duration::from_secs(1)).together(), 1);
        assert_eq!(long.after(Duration::from_micros(100)).together(), 1);
        let again = (0..64)
            .fold(short.after(Duration::from_secs(1)), |pace, _| pace.after(Duration::from_micros(100)));
        assert_eq!(again.together(), MOST);
    }
}
