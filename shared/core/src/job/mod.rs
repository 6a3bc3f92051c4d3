//! Jobs: runs of queue tasks, from the enqueue to their record.
//!
//! A job has one record from its beginning. It is PENDING until a worker starts it, and RUNNING while a
//! worker has it. After a failed attempt that may be retried it is PENDING again. In the end it is terminal.
//! The record is authoritative; a message in a queue is only a wake-up. The table states [`start`] as the
//! condition of one write.

mod after;
pub mod attempts;
mod due;
mod enqueue;
mod limit;
mod next;
mod orphan;
mod start;
pub mod worker;

use std::{collections::BTreeMap, fmt, ops::Not, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    definition::Priority,
    holder::Holder,
    id::RunId,
    name::TaskName,
    reason::Reason,
    run::{Attempt, Run, Stored, Trigger},
    status::Status,
};

pub use crate::constraint::{Limit, MAX_AT_ONCE, OnConflict, Scope, Unique};
pub use after::{Predecessor, Readiness, ready};
pub use due::{Due, due};
pub use enqueue::{InvalidJob, LONGEST_LIFE, MAX_AFTER, MAX_AHEAD, MAX_KEY, NewJob, When};
pub use limit::{Places, Wait};
pub use next::{AttemptOutcome, Next, next};
pub use orphan::{later_looks, orphan_range};
pub use start::{Refusal, Start, StartRequest, Unstarted, start};

/// The key of a job: its task and its run's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey {
    /// Its task.
    pub task: TaskName,
    /// Its run.
    pub run_id: RunId,
}

/// The error of a text that is not a job's key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a job: it must be `<task>/<run id>`")]
pub struct InvalidJobKey(pub String);

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.task, self.run_id)
    }
}

impl FromStr for JobKey {
    type Err = InvalidJobKey;

    fn from_str(text: &str) -> Result<Self, InvalidJobKey> {
        let parts = text.split_once('/').and_then(|(task, id)| Some((task.parse().ok()?, id.parse().ok()?)));
        parts.map(|(task, run_id)| Self { task, run_id }).ok_or_else(|| InvalidJobKey(text.to_owned()))
    }
}

/// The record of a job that is not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The run's id, which contains the time of the enqueue.
    pub id: RunId,
    /// Its task.
    pub task: TaskName,
    /// PENDING or RUNNING.
    pub status: Status,
    /// The arguments: an object with one key for each.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub arguments: Value,
    /// The priority among waiting jobs.
    #[serde(default)]
    pub priority: Priority,
    /// The earliest time of its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The latest time of its first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_by: Option<Timestamp>,
    /// The jobs that must have completed before it may start. `after` is a reserved word of DynamoDB.
    #[serde(default, rename = "waits_for", skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<JobKey>,
    /// The argument that receives the data of the one job in `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receives: Option<String>,
    /// The limit by key.
    #[serde(default, rename = "place_limit", skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The time since which the job has waited for a free place; none if it has not waited since its last start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_since: Option<Timestamp>,
    /// The uniqueness among jobs that are not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Unique>,
    /// The earlier run that it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<RunId>,
    /// The fencing token of its last start, which is also the number of starts.
    #[serde(default, rename = "epoch")]
    pub fencing_token: u64,
    /// The lease of the worker that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// The time of its first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The failed attempts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// Cancellation was requested while it ran.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub cancelled: bool,
    /// The known jobs that wait for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub followers: Vec<JobKey>,
    /// The places of arguments that are too large for the item.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub large: BTreeMap<String, Stored>,
}

/// The lease of a job, held by a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// A word that is unique to one start.
    pub holder: Holder,
    /// The time at which the lease expires.
    pub until: Timestamp,
}

impl Job {
    /// Creates a PENDING job with nothing but its key.
    pub fn begun(id: RunId, task: TaskName) -> Self {
        Self {
            id,
            task,
            status: Status::Pending,
            arguments: Value::Null,
            priority: Priority::default(),
            not_before: None,
            start_by: None,
            after: Vec::new(),
            receives: None,
            limit: None,
            full_since: None,
            unique: None,
            retry_of: None,
            fencing_token: 0,
            lease: None,
            started_at: None,
            attempts: Vec::new(),
            cancelled: false,
            followers: Vec::new(),
            large: BTreeMap::new(),
        }
    }

    /// Returns the job's key.
    pub fn key(&self) -> JobKey {
        JobKey { task: self.task.clone(), run_id: self.id }
    }

    /// Returns the job as a run's record at `now`.
    pub fn as_run(&self, now: Timestamp) -> Run {
        Run {
            status: self.status,
            retry_of: self.retry_of,
            priority: self.priority,
            place_limit: self.limit.clone(),
            unique: self.unique.clone(),
            arguments: self.arguments.clone(),
            large: self.large.clone(),
            attempts: self.attempts.clone(),
            fencing_token: self.fencing_token,
            completed_at: now,
            ..Run::begun(self.id, self.task.clone(), Trigger::Queue, self.started_at.unwrap_or(now))
        }
    }

    /// Returns the job after such a request was granted.
    #[must_use]
    pub fn started(self, request: &StartRequest) -> Self {
        Self {
            status: Status::Running,
            fencing_token: self.fencing_token + 1,
            lease: Some(Lease { holder: request.holder.clone(), until: request.until }),
            started_at: self.started_at.or(Some(request.now)),
            ..self
        }
    }

    /// Returns the record of the job if it ends now, without a further attempt.
    pub fn ended(&self, status: Status, reason: Reason, now: Timestamp) -> Run {
        Run { status, ..self.as_run(now) }.because(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_key_survives_its_text() {
        let key = JobKey { task: "send-mail".parse().unwrap(), run_id: RunId::new(Timestamp::UNIX_EPOCH, 1) };
        assert_eq!(key.to_string().parse(), Ok(key));
        for text in ["", "send-mail", "send-mail/1", "/01K"] {
            assert_eq!(text.parse::<JobKey>(), Err(InvalidJobKey(text.to_owned())));
        }
    }
}
