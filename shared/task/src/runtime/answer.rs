//! The answer to an invocation.

use lamplighter_core::job::attempts::AttemptReport;
use serde::Serialize;
use serde_json::Value;

/// The serialized form of an answer.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// The report of a run, or the failures of a batch of messages.
    Report(Value),
    /// The results of jobs started by a runner.
    JobResults(Vec<AttemptReport>),
}

/// The result of an invocation, before it is sent.
pub(crate) struct Answered {
    /// The response.
    pub payload: Value,
    /// The error's kind and message, if the invocation failed.
    pub failed: Option<(&'static str, String)>,
    /// As in [`Executed`](crate::Executed).
    pub stuck: bool,
}
