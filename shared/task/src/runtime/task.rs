//! The trait of a task. `#[task]` implements it; a hand-written implementation is equivalent.

use std::{
    any::Any,
    future::{Future, ready},
};

use lamplighter_core::{definition::Definition, run::RunError};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::runtime::{Context, Outcome, TaskError, TaskResult};

/// The result of a validation. The text of `Err` is the reason why the run must not start.
pub type Validity = Result<(), String>;

/// The result of a schedule function: whether the task is due now. An error fails the run.
pub type Due = Result<bool, TaskError>;

/// A task: a definition, a body, and optional hooks.
///
/// Use [`#[task]`](macro@crate::task) to implement it for a function.
pub trait Task: Send + Sync + 'static {
    /// The configuration. Its `Default` is the value without overrides.
    type Config: Default + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// The state that is built once per process and shared by its runs, e.g. a connection pool. `()` for none.
    type State: Send + Sync + 'static;

    /// True if the task has assets. If not, the binary does not link the code that fetches them.
    const COPIES_ASSETS: bool = false;

    /// True if the task has a [`teardown`](Self::teardown). If not, the binary does not link the code that registers for
    /// Lambda's shutdown signal.
    const TEARS_DOWN: bool = false;

    /// True for a side task. If not, the binary does not link the code that runs one.
    const IS_SIDE: bool = false;

    /// True for a queue task. If not, the binary does not link the code that processes jobs.
    const TAKES_JOBS: bool = false;

    /// Returns the definition. It must not change while the process lives.
    fn definition() -> Definition;

    /// The body. One run calls it up to as many times as the definition has attempts: an error is retried unless it is
    /// fatal, a returned [`Outcome::failure`] is not.
    fn run(&self, ctx: Context<Self::Config, Self::State>) -> impl Future<Output = TaskResult> + Send;

    /// Builds the state before the first body, with the configuration of that run. Later runs share the state even if
    /// their configuration differs.
    ///
    /// An error fails the body's attempt, by default as a dependency error. The next attempt or run builds the state
    /// again.
    fn init(
        &self,
        _ctx: Context<Self::Config>,
    ) -> impl Future<Output = Result<Self::State, TaskError>> + Send {
        let nothing: Box<dyn Any> = Box::new(());
        let unbuilt = |_| TaskError::configuration("the task has a state, but `init` is not implemented");
        ready(nothing.downcast().map(|nothing| *nothing).map_err(unbuilt))
    }

    /// Tears the state down once, when the process shuts down gracefully. Requires [`TEARS_DOWN`](Self::TEARS_DOWN). Not
    /// called if the state was not built, the process is killed, or a body does not stop. The limit is 2 s, 0.5 s in
    /// Lambda.
    fn teardown(&self, _state: &Self::State) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Called once after the body of a side task has failed or panicked, for at most 3 s. The context has no state, since
    /// building it may be what failed.
    fn on_error(&self, _ctx: Context<Self::Config>, _error: RunError) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Called once when a side task is asked to stop, after its body has returned or was dropped, for at most 3 s.
    fn on_shutdown(&self, _ctx: Context<Self::Config, Self::State>) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Validates a run, or a rollback, before its first attempt. An error fails the run with a configuration error, and
    /// nothing is rolled back.
    fn validate(&self, _ctx: &Context<Self::Config>) -> Validity {
        Ok(())
    }

    /// Decides whether a cron task without a cron expression is due.
    ///
    /// It is called each minute before the claim; `scheduled_for` of the context is that minute. `false` runs and records
    /// nothing. An error, a panic or a timeout is recorded as FAILED, and the body does not run. Runs by hand do not call
    /// it.
    fn due(&self, _ctx: Context<Self::Config>) -> impl Future<Output = Due> + Send {
        ready(Err(TaskError::new("the task has no cron expression, and `due` is not implemented")))
    }

    /// Undoes the effects of the body. Called once:
    ///
    /// - after the final failure of a run, if the body has stopped and the process has time left;
    /// - when the stack is rolled back to the version before a deployment in which the run completed.
    fn rollback(&self, _ctx: Context<Self::Config, Self::State>) -> impl Future<Output = TaskResult> + Send {
        ready(Ok(Outcome::success("nothing to undo")))
    }
}
