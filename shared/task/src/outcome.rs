//! What a body returns.

use lamplighter_core::value::written;
use serde::Serialize;
use serde_json::Value;

use crate::{Fatal as _, TaskError};

/// What a body returns: an outcome, or an error that is worth another attempt.
pub type TaskResult = Result<Outcome, TaskError>;

/// How a body ended by its own account.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub(crate) success: bool,
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
}

impl Outcome {
    /// It did what it should, and says so in one line.
    pub fn success(message: impl Into<String>) -> Self {
        Self { success: true, message: message.into(), data: None }
    }

    /// It came to the conclusion that it cannot. The run fails with this message and is not tried again; for what
    /// may pass, return an error.
    pub fn failure(message: impl Into<String>) -> Self {
        Self { success: false, message: message.into(), data: None }
    }

    /// With what it produced: kept whole in the history, and among the attributes of the deployment's resource. What JSON
    /// cannot carry (NaN, an infinity, more than 120 levels of nesting) is an error that is not worth another attempt.
    pub fn with_data(mut self, data: &impl Serialize) -> Result<Self, TaskError> {
        self.data = Some(written(data).fatal()?);
        Ok(self)
    }
}
