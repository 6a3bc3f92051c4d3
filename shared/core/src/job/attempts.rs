//! What a runner sends a process: jobs that it has started, for one attempt each; and what it is told of them.
//!
//! An invocation costs more than a short body does, so the jobs of a task whose bodies are short share one. The process makes
//! the attempts one after the other, and answers what came of all of them at once, unless one of them is long after all: then
//! it gives back those behind it. If a process dies over several, nobody knows which it was, and each is tried by itself.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Job, Tried};
use crate::{id::RunId, run::Stored};

/// The most jobs that share an invocation.
const MOST: usize = 16;
/// How long the attempts of one invocation should take together.
const TOGETHER: Duration = Duration::from_millis(5);
/// After how long no job waits for those before it any more. What came of them is told then.
pub const PATIENCE: Duration = Duration::from_millis(10);

/// The payload of an invocation for jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempts {
    /// The jobs, in the order in which they are tried.
    pub jobs: Vec<StartedJob>,
}

/// A job that somebody has started, who writes down what comes of the attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartedJob {
    /// Its run's id.
    pub run_id: RunId,
    /// Its fencing number, which is that of the attempt.
    pub epoch: u64,
    /// What its body is given.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub arguments: Value,
    /// Where its arguments are, if they are too large to be sent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub large: BTreeMap<String, Stored>,
}

/// What a process tells of its jobs, in their order: a list, or a line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// What came of its attempt.
    Tried {
        /// The attempt.
        tried: Box<Tried>,
        /// How long it took, in microseconds.
        took_us: u64,
    },
    /// The attempt at this job has not begun, nor that at any behind it, and will not.
    GivenBack {
        /// Which.
        from: RunId,
    },
}

impl From<&Job> for StartedJob {
    fn from(job: &Job) -> Self {
        let Job { id, epoch, arguments, large, .. } = job;
        Self { run_id: *id, epoch: *epoch, arguments: arguments.clone(), large: large.clone() }
    }
}

/// How long the attempts of a task's jobs take of late, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace(Option<Duration>);

impl Pace {
    /// How many jobs may share the next invocation: one, unless it is known that they are short.
    pub fn together(self) -> usize {
        let Some(usual) = self.0 else { return 1 };
        let fitting = TOGETHER.as_micros() / usual.as_micros().max(1);
        usize::try_from(fitting).unwrap_or(MOST).clamp(1, MOST)
    }

    /// What is known after one more attempt: mostly what was known before.
    #[must_use]
    pub fn after(self, took: Duration) -> Self {
        Self(Some(self.0.map_or(took, |usual| (usual * 7 + took) / 8)))
    }

    /// What is known once a process has died over a job: nothing, so that the next ones are alone.
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
        // One that was long does not make them long for ever, nor one that was short short.
        let short = unknown.after(Duration::from_micros(100));
        let long = unknown.after(Duration::from_secs(1));
        assert_eq!(short.after(Duration::from_secs(1)).together(), 1);
        assert_eq!(long.after(Duration::from_micros(100)).together(), 1);
        let again = (0..64)
            .fold(short.after(Duration::from_secs(1)), |pace, _| pace.after(Duration::from_micros(100)));
        assert_eq!(again.together(), MOST);
    }
}
