//! A task instance: the task in its process.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::Duration,
};

use lamplighter_core::{definition::Definition, run::RunError};
use tokio::{runtime::Handle, time::timeout};

use crate::runtime::{
    ExecuteError, ProcessEnvironment, Task,
    assets::fetch_assets,
    attempt::panic_text,
    erased::{BoxFuture, ErasedTask, TaskWithState},
    job::JobHandlers,
    log,
    shutdown::register_for_shutdown,
    side::{RunnerVariables, run_to_end},
};

/// The time limit of a teardown. Lambda itself only grants 0.5 s.
const TEARDOWN_LIMIT: Duration = Duration::from_secs(2);

/// A task in its process, with the state that its runs share.
pub struct TaskInstance {
    pub(crate) task: Arc<dyn ErasedTask>,
    pub(crate) parts: Parts,
    /// The definition, built once.
    definition: OnceLock<Definition>,
}

/// The code that only some tasks need. It is reached through these pointers alone, so that a binary links no more of it
/// than its task uses.
pub(crate) struct Parts {
    /// Fetches the assets and returns their folder.
    pub assets: Option<FetchAssets>,
    /// Registers for Lambda's shutdown signal, which the teardown needs.
    pub shutdown_signal: Option<fn() -> BoxFuture<'static, ()>>,
    /// Processes the jobs of a queue task.
    pub jobs: Option<JobHandlers>,
    /// Runs a side task.
    pub side: Option<RunSide>,
}

type FetchAssets = for<'a> fn(&'a ProcessEnvironment) -> BoxFuture<'a, Result<PathBuf, RunError>>;
/// Runs a side task until it is stopped.
pub(crate) type RunSide =
    for<'a> fn(TaskInstance, RunnerVariables, &'a ProcessEnvironment) -> BoxFuture<'a, ExitCode>;

impl Parts {
    /// Returns the code that the task needs.
    const fn of<T: Task>() -> Self {
        Self {
            assets: if T::COPIES_ASSETS { Some(fetch_assets) } else { None },
            shutdown_signal: if T::TEARS_DOWN { Some(register_for_shutdown) } else { None },
            jobs: if T::TAKES_JOBS { Some(JobHandlers::ALL) } else { None },
            side: if T::IS_SIDE { Some(run_to_end) } else { None },
        }
    }
}

impl<T: Task> From<T> for TaskInstance {
    fn from(task: T) -> Self {
        Self {
            task: Arc::new(TaskWithState::from(task)),
            parts: const { Parts::of::<T>() },
            definition: OnceLock::new(),
        }
    }
}

impl TaskInstance {
    /// Returns the task's definition, and logs under its name from here on.
    pub(crate) fn definition(&self) -> Result<&Definition, ExecuteError> {
        if let Some(definition) = self.definition.get() {
            log::task(&definition.name);
            return Ok(definition);
        }
        let built = catch_unwind(AssertUnwindSafe(|| self.task.definition()));
        let definition = built.map_err(|panic| ExecuteError::Definition(panic_text(&*panic)))?;
        log::task(&definition.name);
        Ok(self.definition.get_or_init(|| definition))
    }

    /// Calls the task's teardown, if it has one and the state was built, and drops the state. Both are the author's code, so
    /// they run in the body runtime, for at most [`TEARDOWN_LIMIT`].
    pub(crate) async fn tear_down(self: Arc<Self>, body_runtime: &Handle) {
        let tearing = body_runtime.spawn(async move {
            Arc::clone(&self.task).teardown().await;
            drop(self);
        });
        match timeout(TEARDOWN_LIMIT, tearing).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the teardown of the task's state panicked"),
            Err(_) => {
                tracing::error!("the teardown of the task's state did not return within {TEARDOWN_LIMIT:?}");
            }
        }
    }
}
