//! What a task is. `#[task]` writes the implementation; anyone may by hand.

use std::future::{Future, ready};

use lamplighter_core::definition::Definition;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Context, Outcome, TaskError, TaskResult};

/// Whether a run may begin; the text says why not.
pub type Validity = Result<(), String>;

/// Whether a run is due now; an error says that nobody knows.
pub type Due = Result<bool, TaskError>;

/// A task: a definition and a body.
pub trait Task: Send + Sync + 'static {
    /// Its configuration. The default is what it is where nothing overrides it.
    type Config: Default + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// Whether files go with it. Only then is the code that fetches them part of the binary.
    const COPIES_ASSETS: bool = false;

    /// What it says of itself.
    fn definition() -> Definition;

    /// The body. It may be called several times for one run, up to the attempts of its definition: an error is
    /// tried again unless it is fatal, a returned failure is not.
    fn run(&self, ctx: Context<Self::Config>) -> impl Future<Output = TaskResult> + Send;

    /// Refuses a run before its first attempt, and that of a rollback too. The run then fails with a configuration
    /// error, and there is nothing to undo.
    fn validate(&self, _ctx: &Context<Self::Config>) -> Validity {
        Ok(())
    }

    /// Whether a cron task without a schedule in its definition is due. It is asked each minute, before the task is
    /// claimed: the context's `scheduled_for` is that minute. False runs and records nothing; an error, a panic or
    /// taking longer than the run might is recorded as FAILED, and nothing runs. Nobody asks for a run by hand.
    fn due(&self, _ctx: Context<Self::Config>) -> impl Future<Output = Due> + Send {
        ready(Err(TaskError::new("the task has neither a schedule nor a function that says when it is due")))
    }

    /// Undoes what the body did. Called once after the final failure of a run, as long as the process has time for it
    /// and the body has stopped, and once when the stack returns to the version before a deployment in which the run
    /// completed.
    fn rollback(&self, _ctx: Context<Self::Config>) -> impl Future<Output = TaskResult> + Send {
        ready(Ok(Outcome::success("nothing to undo")))
    }
}
