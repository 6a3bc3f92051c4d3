//! Runs: one execution of a task, with its trigger, its attempts and its record.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    constraint::{Limit, Unique},
    definition::Priority,
    deployment::Deployment,
    id::RunId,
    name::TaskName,
    reason::{self, Reason},
    status::Status,
};

/// The trigger of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// A deployment that creates the resource of the tasks.
    Deploy,
    /// A deployment that updates the resource.
    Update,
    /// The rollback of a deployment.
    Rollback,
    /// A tick that EventBridge Scheduler started.
    Schedule,
    /// A tick that the pulse or a runner started.
    Pulse,
    /// A request by hand.
    Manual,
    /// A job of the task's queue.
    Queue,
    /// A runner that starts its side tasks.
    Runner,
}

impl Trigger {
    /// Returns the stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Update => "update",
            Self::Rollback => "rollback",
            Self::Schedule => "schedule",
            Self::Pulse => "pulse",
            Self::Manual => "manual",
            Self::Queue => "queue",
            Self::Runner => "runner",
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The kind of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorKind {
    /// The run's time limit was exceeded.
    Timeout,
    /// The body failed: it returned an error or a failure, it panicked, or it was cancelled.
    Execution,
    /// The environment of the body failed: its process was lost, or the table could not be written.
    System,
    /// A dependency failed: another task that did not complete, or one that the body names.
    Dependency,
    /// The configuration or the arguments are invalid. Never retried.
    Configuration,
}

impl ErrorKind {
    /// Returns the kind of an error with this reason; none if runs are skipped for this reason.
    fn of(reason: &Reason) -> Option<Self> {
        match reason {
            Reason::Disabled
            | Reason::Held { .. }
            | Reason::NotReplaced { .. }
            | Reason::AlreadyRunning { .. }
            | Reason::TickRan { .. }
            | Reason::DeploymentRan { .. }
            | Reason::AlreadyOver { .. }
            | Reason::NotDue
            | Reason::EarlierFailed { .. }
            | Reason::StackMovedOn { .. }
            | Reason::LaterRequest
            | Reason::LaterUpdate
            | Reason::RolledBack
            | Reason::Other { .. } => None,
            Reason::NeverRan { .. }
            | Reason::DependencyFailed { .. }
            | Reason::DependencyIncomplete { .. }
            | Reason::JobNotCompleted { .. }
            | Reason::JobMissing { .. } => Some(Self::Dependency),
            Reason::TimedOut { .. } | Reason::FunctionTimedOut { .. } => Some(Self::Timeout),
            Reason::Cancelled { .. }
            | Reason::CancelledBeforeStart
            | Reason::CancelledAndLost
            | Reason::CancelledOrDisabled
            | Reason::RunnerStopped => Some(Self::Execution),
            Reason::Lost { .. }
            | Reason::HostEnded
            | Reason::AttemptLost { .. }
            | Reason::AttemptUnanswered { .. }
            | Reason::LeaseLost
            | Reason::KilledLate
            | Reason::ProcessEnded { .. }
            | Reason::FunctionEnded { .. }
            | Reason::FunctionNotStarted { .. }
            | Reason::NotATask { .. }
            | Reason::LaterDeploymentRan
            | Reason::Unrecorded
            | Reason::Expired { .. }
            | Reason::Missed { .. } => Some(Self::System),
        }
    }

    /// Returns the stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Execution => "execution",
            Self::System => "system",
            Self::Dependency => "dependency",
            Self::Configuration => "configuration",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error of a run, as it is recorded and reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RunError {
    /// Its kind.
    pub kind: ErrorKind,
    /// The message of the author or the platform.
    pub message: String,
}

impl RunError {
    /// Creates an error of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The error of a run that ended for this reason.
    pub fn of(reason: &Reason) -> Self {
        Self::new(ErrorKind::of(reason).unwrap_or(ErrorKind::System), reason.to_string())
    }
}

/// One attempt at the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The start of the attempt.
    pub started_at: Timestamp,
    /// The duration in milliseconds.
    pub duration_ms: u64,
    /// The error, if the attempt failed.
    pub error: Option<RunError>,
}

/// The place of a value that is too large for its record: an object of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The object's key in the table's bucket.
    pub key: String,
    /// The size of the value's JSON text.
    pub bytes: u64,
}

/// The record of a run that is over. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Its task.
    pub task: TaskName,
    /// The status in which it ended; always terminal.
    pub status: Status,
    /// The trigger.
    pub trigger: Trigger,
    /// The tick of a scheduled run.
    pub scheduled_for: Option<Timestamp>,
    /// The deployment of the run.
    pub deployment: Option<Deployment>,
    /// The earlier run that this one repeats.
    pub retry_of: Option<RunId>,
    /// The priority of a job.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub priority: Priority,
    /// The uniqueness of a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Unique>,
    /// The limit by key of a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place_limit: Option<Limit>,
    /// The time of the claim.
    pub started_at: Timestamp,
    /// The end of the run.
    pub completed_at: Timestamp,
    /// All attempts, in order.
    pub attempts: Vec<Attempt>,
    /// The configuration, with its secrets masked.
    pub config: Value,
    /// The arguments of a job.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub arguments: Value,
    /// The message of a success.
    pub message: Option<String>,
    /// The data that the body returned.
    pub data: Option<Value>,
    /// The error, if the run failed.
    pub error: Option<RunError>,
    /// The reason why the body did not run.
    pub skipped_reason: Option<String>,
    /// The typed reason behind the sentence in `error` or `skipped_reason`, if the sentence is one of Lamplighter's own.
    #[serde(default, deserialize_with = "reason::lenient")]
    pub why: Option<Reason>,
    /// The environment in which it ran: `dev`, `production`.
    pub environment: String,
    /// The fencing token of its claim; 0 if it had none.
    #[serde(rename = "epoch")]
    pub fencing_token: u64,
    /// The place of its log.
    pub log: Option<String>,
    /// Values that are too large for the record and are stored in objects, by name: `config`, `arguments`,
    /// `data`. They are null in the record.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub large: BTreeMap<String, Stored>,
}

/// Returns whether a job has the default priority.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_usual(priority: &Priority) -> bool {
    *priority == Priority::default()
}

impl Run {
    /// Creates the record of a run with the start time `at`. All optional fields are empty.
    pub fn begun(id: RunId, task: TaskName, trigger: Trigger, at: Timestamp) -> Self {
        Self {
            id,
            task,
            status: Status::Running,
            trigger,
            scheduled_for: None,
            deployment: None,
            retry_of: None,
            priority: Priority::default(),
            unique: None,
            place_limit: None,
            started_at: at,
            completed_at: at,
            attempts: Vec::new(),
            config: Value::Null,
            arguments: Value::Null,
            message: None,
            data: None,
            error: None,
            skipped_reason: None,
            why: None,
            environment: String::new(),
            fencing_token: 0,
            log: None,
            large: BTreeMap::new(),
        }
    }

    /// Returns the time from claim to end, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        u64::try_from(self.completed_at.duration_since(self.started_at).as_millis()).unwrap_or(0)
    }

    /// Returns the record of a run that ended for this reason. `why` has the reason, and `error` or
    /// `skipped_reason` its sentence.
    #[must_use]
    pub fn because(self, reason: Reason) -> Self {
        let error = ErrorKind::of(&reason).map(|_| RunError::of(&reason));
        let skipped_reason = error.is_none().then(|| reason.to_string());
        Self { error, skipped_reason, why: Some(reason), ..self }
    }

    /// Returns the record of a run that failed with this error, in place of any earlier reason.
    #[must_use]
    pub fn failed_with(self, error: RunError) -> Self {
        Self { status: Status::Failed, error: Some(error), why: None, ..self }
    }

    /// Returns the typed reason why the run did not complete; none if it completed. It is [`Reason::Other`] if the
    /// record has only a sentence.
    pub fn typed_reason(&self) -> Option<Reason> {
        let other = || self.reason().map(|text| Reason::Other { text: text.to_owned() });
        self.why.clone().or_else(other)
    }

    /// Returns the reason why the run did not complete, in one line; none if it completed.
    pub fn reason(&self) -> Option<&str> {
        self.error.as_ref().map(|e| e.message.as_str()).or(self.skipped_reason.as_deref())
    }
}
