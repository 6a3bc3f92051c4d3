//! How workers discover runnable jobs.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_core::job::{Job, Wait};

use crate::table::keys::DuePartition;

/// For how long SQS can hold a message back.
pub const MAX_DELAY: Duration = Duration::from_secs(15 * 60);
/// After how long somebody looks again at a job that waits for others: its wake-up may have been lost.
pub const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// By what a job that can start is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A message in its task's queue. What SQS cannot hold back is in the index `due`, for the pulse.
    Queue,
    /// The index `due`, in which each job stands until it is over: for the runner, by priority.
    Runner,
}

impl Transport {
    /// How a job waits that found no place.
    pub(crate) fn wait(self, job: &Job, now: Timestamp) -> Wait {
        let since = job.full_since.unwrap_or(now);
        let waited = now.duration_since(since).try_into().unwrap_or_default();
        match self {
            Self::Queue => Wait::in_queue(waited),
            Self::Runner => Wait::in_runner(waited),
        }
    }

    /// Where a job that is not running stands in the index, and from when on it is to be looked at.
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
