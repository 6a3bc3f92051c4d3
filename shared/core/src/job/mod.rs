//! Jobs: runs of queue tasks, from the enqueue to their record.
//!
//! A job has one record from its beginning. It is PENDING until a worker starts it, RUNNING while one has it, PENDING
//! again after an attempt that failed and may be tried again, and terminal at last. The record is the truth; a message
//! in a queue only says that there is work. The table states [`start`] as the condition of one write.

mod after;
pub mod attempts;
mod due;
mod enqueue;
mod limit;
mod next;
mod orphan;
mod start;

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

pub use after::{Before, Readiness, ready};
pub use due::{Due, due};
pub use enqueue::{
    InvalidJob, LONGEST_LIFE, MAX_AFTER, MAX_AHEAD, MAX_KEY, NewJob, OnConflict, Scope, Unique, When,
};
pub use limit::{Limit, MAX_AT_ONCE, Places, Wait};
pub use next::{Next, Tried, next};
pub use orphan::{later_looks, orphan_range};
pub use start::{Refusal, Start, StartRequest, Unstarted, start};

/// Which job: its task and its run's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey {
    /// Its task.
    pub task: TaskName,
    /// Its run.
    pub run_id: RunId,
}

/// A text that names no job.
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

/// A job that is not over, as its record has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its run's id, which has the time of the enqueue.
    pub id: RunId,
    /// Its task.
    pub task: TaskName,
    /// PENDING or RUNNING.
    pub status: Status,
    /// What its body is given: an object with one key for each argument.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub arguments: Value,
    /// Which of several waiting jobs goes first.
    #[serde(default)]
    pub priority: Priority,
    /// When it may start at the earliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// When it must have been started for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_by: Option<Timestamp>,
    /// The jobs that must have completed before it may start. `after` is a word that DynamoDB keeps to itself.
    #[serde(default, rename = "waits_for", skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<JobKey>,
    /// The argument that is the data of the one job it comes after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receives: Option<String>,
    /// Of how many with the same key it may be one, while it runs.
    #[serde(default, rename = "place_limit", skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// When it first found no place, of those looks that no start has followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_since: Option<Timestamp>,
    /// What it is the only one of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Unique>,
    /// The run that it does over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<RunId>,
    /// How often it was started: the fencing number of its last start.
    #[serde(default)]
    pub epoch: u64,
    /// The worker that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// When it was first started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The attempts that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// Whether somebody asked for its end while it ran.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub cancelled: bool,
    /// The jobs that come after it, as far as is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub followers: Vec<JobKey>,
    /// Its arguments, if they are too large for its item: where they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub large: BTreeMap<String, Stored>,
}

/// A worker's hold on a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// A word that no other start has.
    pub holder: Holder,
    /// When it ends by itself.
    pub until: Timestamp,
}

impl Job {
    /// A job without arguments, of which nothing is known yet.
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
            epoch: 0,
            lease: None,
            started_at: None,
            attempts: Vec::new(),
            cancelled: false,
            followers: Vec::new(),
            large: BTreeMap::new(),
        }
    }

    /// Which job it is.
    pub fn key(&self) -> JobKey {
        JobKey { task: self.task.clone(), run_id: self.id }
    }

    /// The record as a run's, of what is known at `now`.
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
            epoch: self.epoch,
            completed_at: now,
            ..Run::begun(self.id, self.task.clone(), Trigger::Queue, self.started_at.unwrap_or(now))
        }
    }

    /// The job once such a request was granted.
    #[must_use]
    pub fn started(self, request: &StartRequest) -> Self {
        Self {
            status: Status::Running,
            epoch: self.epoch + 1,
            lease: Some(Lease { holder: request.holder.clone(), until: request.until }),
            started_at: self.started_at.or(Some(request.now)),
            ..self
        }
    }

    /// The record of its end without a body.
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
