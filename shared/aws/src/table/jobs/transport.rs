//! How workers discover runnable jobs.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_core::job::{Job, Wait};

use crate::table::keys::DuePartition;

/// The longest delay of a message in SQS.
pub const MAX_DELAY: Duration = Duration::from_secs(15 * 60);
/// The time between two checks of a job's dependencies: its wake-up may have been lost.
pub const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How workers discover runnable jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By a message in the task's queue. Jobs that are delayed for longer than SQS allows are in the index `due`, for the pulse.
    Queue,
    /// By the index `due`, which holds each job until it is over: for the runner, by priority.
    Runner,
}

impl Transport {
    /// The wait of a job that found no free place.
    pub(crate) fn wait(self, job: &Job, now: Timestamp) -> Wait {
        let since = job.full_since.unwrap_or(now);
        let waited = now.duration_since(since).try_into().unwrap_or_default();
        match self {
            Self::Queue => Wait::in_queue(waited),
            Self::Runner => Wait::in_runner(waited),
        }
    }

    /// The partition of the index for a job that is not running, and the time from which it is due.
    pub(crate) fn place(self, job: &Job, now: Timestamp) -> Option<(String, Timestamp)> {
        let look = if job.after.is_empty() {
            job.not_before.unwrap_or(now)
        } else {
            now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX)
        };
        match self {
            Self::Runner => Some((DuePartition::Runner(&job.task, job.priority).pk(), look)),
            Self::Queue => {
                let waits =
                    !job.after.is_empty() || look > now.saturating_add(MAX_DELAY).unwrap_or(Timestamp::MAX);
                waits.then(|| (DuePartition::of_queues(job.id).pk(), look))
            }
        }
    }
}
