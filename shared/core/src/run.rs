//! One execution of a task: its trigger, its attempts, and the record that is kept of it.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    definition::Priority,
    deployment::Deployment,
    id::RunId,
    job::{Limit, Unique},
    name::TaskName,
    reason::{self, Reason},
    status::Status,
};

/// What started a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the design's, and say themselves")]
pub enum Trigger {
    Deploy,
    Update,
    Rollback,
    Schedule,
    Pulse,
    Manual,
    Queue,
    Runner,
}

impl Trigger {
    /// The stored word.
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

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorKind {
    /// The run's time was up.
    Timeout,
    /// The body failed: it returned an error or a failure, it panicked, or somebody ended it.
    Execution,
    /// What runs the body failed: the process was lost, the table could not be written.
    System,
    /// What it depends on did not do its part: a task that did not complete, or what the body names itself.
    Dependency,
    /// What it was given cannot be right. Never retried.
    Configuration,
}

impl ErrorKind {
    /// The kind of error that a reason is; nothing for a reason to skip a run.
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

    /// The stored word.
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

/// What went wrong, as it is recorded and told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RunError {
    /// Its kind.
    pub kind: ErrorKind,
    /// What the author or the platform said.
    pub message: String,
}

impl RunError {
    /// An error of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The error of a run that ended for this reason.
    pub fn of(reason: &Reason) -> Self {
        Self::new(ErrorKind::of(reason).unwrap_or(ErrorKind::System), reason.to_string())
    }
}

/// One try of the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
    /// Why it failed, if it did.
    pub error: Option<RunError>,
}

/// Where a value is that is too large for the record it belongs to: in an object of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The object's key, in the bucket of the table.
    pub key: String,
    /// Its size as JSON text.
    pub bytes: u64,
}

/// The record of a run that is over. Once written it never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Its task.
    pub task: TaskName,
    /// How it ended; always terminal.
    pub status: Status,
    /// What started it.
    pub trigger: Trigger,
    /// The time it was meant for, of a scheduled run.
    pub scheduled_for: Option<Timestamp>,
    /// The deployment it belongs to.
    pub deployment: Option<Deployment>,
    /// The run that this one does over.
    pub retry_of: Option<RunId>,
    /// Which of several waiting jobs went first, of a job.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub priority: Priority,
    /// What it was the only one of, of a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Unique>,
    /// Of how many with the same key it was one while it ran, of a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place_limit: Option<Limit>,
    /// When its task was claimed for it.
    pub started_at: Timestamp,
    /// When it was over.
    pub completed_at: Timestamp,
    /// Every try of the body, in order.
    pub attempts: Vec<Attempt>,
    /// The configuration the body had, without its secrets.
    pub config: Value,
    /// The arguments the body had, of a job.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub arguments: Value,
    /// What the body said of its success.
    pub message: Option<String>,
    /// What the body returned.
    pub data: Option<Value>,
    /// Why it failed.
    pub error: Option<RunError>,
    /// Why the body was not run at all.
    pub skipped_reason: Option<String>,
    /// The fields of the sentence in `error` or `skipped_reason`, where it is one of Lamplighter's own.
    #[serde(default, deserialize_with = "reason::lenient")]
    pub why: Option<Reason>,
    /// Where it ran: `dev`, `production`.
    pub environment: String,
    /// The fencing number of its claim; 0 if it never had one.
    pub epoch: u64,
    /// Where its log is.
    pub log: Option<String>,
    /// The values that are too large for the record and not read with it, by their names (`config`, `arguments`,
    /// `data`). They count as null here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub large: BTreeMap<String, Stored>,
}

/// Whether a job has the priority that most have.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_usual(priority: &Priority) -> bool {
    *priority == Priority::default()
}

impl Run {
    /// The record of a run of which nothing is known yet but that it began, or would have, at `at`.
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
            epoch: 0,
            log: None,
            large: BTreeMap::new(),
        }
    }

    /// How long it took, from claim to end.
    pub fn duration_ms(&self) -> u64 {
        u64::try_from(self.completed_at.duration_since(self.started_at).as_millis()).unwrap_or(0)
    }

    /// The record of a run that ended for this reason: its fields in `why`, its sentence in `error` or `skipped_reason`.
    #[must_use]
    pub fn because(self, reason: Reason) -> Self {
        let error = ErrorKind::of(&reason).map(|_| RunError::of(&reason));
        let skipped_reason = error.is_none().then(|| reason.to_string());
        Self { error, skipped_reason, why: Some(reason), ..self }
    }

    /// The record of a run that failed with this error, whatever reason it had before.
    #[must_use]
    pub fn failed_with(self, error: RunError) -> Self {
        Self { status: Status::Failed, error: Some(error), why: None, ..self }
    }

    /// Why it did not complete, with its fields; [`Reason::Other`] if the record has only a sentence; nothing if it did.
    pub fn typed_reason(&self) -> Option<Reason> {
        let other = || self.reason().map(|text| Reason::Other { text: text.to_owned() });
        self.why.clone().or_else(other)
    }

    /// Why it did not complete, in one line for people; nothing if it did.
    pub fn reason(&self) -> Option<&str> {
        self.error.as_ref().map(|e| e.message.as_str()).or(self.skipped_reason.as_deref())
    }
}
