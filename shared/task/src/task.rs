//! What a task is. `#[task]` writes the implementation; anyone may by hand.

use std::{
    any::Any,
    future::{Future, ready},
};

use lamplighter_core::{definition::Definition, run::RunError};
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

    /// What it builds once per process for all its runs: a database's pool, a client. `()` if there is nothing.
    type State: Send + Sync + 'static;

    /// Whether files go with it. Only then is the code that fetches them part of the binary.
    const COPIES_ASSETS: bool = false;

    /// Whether its state is torn down. Only then is the code that notices a process's end part of the binary.
    const TEARS_DOWN: bool = false;

    /// Whether it is a side task. Only then is the code that runs one part of the binary.
    const IS_SIDE: bool = false;

    /// Whether it is a queue task. Only then is the code that takes jobs from SQS part of the binary.
    const TAKES_JOBS: bool = false;

    /// What it says of itself.
    fn definition() -> Definition;

    /// The body. It may be called several times for one run, up to the attempts of its definition: an error is
    /// tried again unless it is fatal, a returned failure is not.
    fn run(&self, ctx: Context<Self::Config, Self::State>) -> impl Future<Output = TaskResult> + Send;

    /// Builds the state, before the first body that is to have it; with the configuration of that run, which later runs
    /// may have otherwise. An error is one of the body's attempt, of a dependency unless it says otherwise, and the
    /// next attempt, or the next run, builds it anew.
    fn init(
        &self,
        _ctx: Context<Self::Config>,
    ) -> impl Future<Output = Result<Self::State, TaskError>> + Send {
        let nothing: Box<dyn Any> = Box::new(());
        let unbuilt = |_| TaskError::configuration("the task has a state and nothing that builds it");
        ready(nothing.downcast().map(|nothing| *nothing).map_err(unbuilt))
    }

    /// Tears the state down, once, when the process ends in good order and if it was built; see
    /// [`TEARS_DOWN`](Self::TEARS_DOWN). A process that is killed, or ends because a body does not stop, tears nothing down.
    fn teardown(&self, _state: &Self::State) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Called once when the body of a side task has failed or panicked; what failed may be the building of the state, so
    /// that it is not there. It has 3 s.
    fn on_error(&self, _ctx: Context<Self::Config>, _error: RunError) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Called once when a side task was asked to end and its body is over or dropped. It has 3 s.
    fn on_shutdown(&self, _ctx: Context<Self::Config, Self::State>) -> impl Future<Output = ()> + Send {
        ready(())
    }

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
    fn rollback(&self, _ctx: Context<Self::Config, Self::State>) -> impl Future<Output = TaskResult> + Send {
        ready(Ok(Outcome::success("nothing to undo")))
    }
}
