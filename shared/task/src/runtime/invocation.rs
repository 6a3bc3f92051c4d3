//! One invocation of a task, its result, and its errors.

use jiff::Timestamp;
use lamplighter_aws::table::TableError;
use lamplighter_core::{
    envelope::{InvalidEnvelope, Report},
    holder::Holder,
    name::TaskName,
};
use serde_json::Value;

/// One invocation of a task.
#[derive(Debug)]
pub struct Invocation {
    /// The payload: an [`Envelope`](lamplighter_core::envelope::Envelope) as JSON.
    pub payload: Value,
    /// An identifier that is unique among all invocations.
    pub holder: Holder,
    /// The time at which the process is killed.
    pub deadline: Timestamp,
}

/// An error that prevents a run or its record.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The task's definition panicked. Nothing was claimed.
    #[error("the task's definition panicked: {0}")]
    Definition(String),
    /// A side task cannot be invoked. Nothing was claimed.
    #[error("`{task}` is a side task: it runs in a runner (`lamplighter start`), not in Lambda")]
    Side {
        /// The task's name.
        task: TaskName,
    },
    /// The payload is invalid. Nothing was claimed.
    #[error(transparent)]
    Envelope(#[from] InvalidEnvelope),
    /// The table failed before the body was started.
    #[error(transparent)]
    Claim(TableError),
    /// The table failed after the run ended. The run is recorded as lost once its lease has expired.
    #[error("{source}")]
    Record {
        /// The table's error.
        source: TableError,
        /// As in [`Executed`].
        stuck: bool,
    },
}

/// The result of a run.
#[derive(Debug)]
pub struct Executed {
    /// The report of the run.
    pub report: Report,
    /// The body did not stop in time and still runs. Only the end of the process stops it.
    pub stuck: bool,
}
