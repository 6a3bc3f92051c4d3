//! The result of a body.

use lamplighter_core::value::written;
use serde::Serialize;
use serde_json::Value;

use crate::runtime::{Fatal as _, TaskError};

/// The result of a body: an outcome, or an error, which is retried unless it is fatal.
pub type TaskResult = Result<Outcome, TaskError>;

/// The outcome of a body: success or failure, a message, and optional data.
///
/// ```
/// # use lamplighter::prelude::*;
/// fn finish(purged: u64) -> TaskResult {
///     Outcome::success(format!("purged {purged} rows")).with_data(&serde_json::json!({ "purged": purged }))
/// }
/// assert!(finish(3).is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub(crate) success: bool,
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
}

impl Outcome {
    /// Creates a success with a one-line message for the run's record.
    pub fn success(message: impl Into<String>) -> Self {
        Self { success: true, message: message.into(), data: None }
    }

    /// Creates a failure: the run fails with this message and is not retried. For a failure that a retry may fix, return
    /// an error instead.
    pub fn failure(message: impl Into<String>) -> Self {
        Self { success: false, message: message.into(), data: None }
    }

    /// Adds data to the outcome. It is stored in the run's record, and is available as an attribute of the deployment's
    /// resource.
    ///
    /// # Errors
    ///
    /// A fatal error if JSON cannot represent the data: NaN, an infinity, or more than 120 levels of nesting.
    pub fn with_data(mut self, data: &impl Serialize) -> Result<Self, TaskError> {
        self.data = Some(written(data).fatal()?);
        Ok(self)
    }
}
