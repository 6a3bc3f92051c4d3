//! A task instance: the task in its process, with its state.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

use lamplighter_core::{definition::Definition, run::ErrorKind};
use tokio::{runtime::Handle, sync::OnceCell, time::timeout};

use crate::runtime::{Context, ExecuteError, Task, TaskError, log};

/// The time limit of a teardown. Lambda itself only grants 0.5 s.
const TEARDOWN_LIMIT: Duration = Duration::from_secs(2);

/// A task in its process. The first run that reaches its body builds the state, and later runs share it.
pub struct TaskInstance<T: Task> {
    task: T,
    state: OnceCell<Arc<T::State>>,
    /// The definition, built once.
    definition: OnceLock<Definition>,
}

impl<T: Task> Deref for TaskInstance<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.task
    }
}

impl<T: Task> From<T> for TaskInstance<T> {
    fn from(task: T) -> Self {
        Self { task, state: OnceCell::new(), definition: OnceLock::new() }
    }
}

impl<T: Task> TaskInstance<T> {
    /// Returns the task's definition, and logs under its name from here on.
    pub(crate) fn definition(&self) -> Result<&Definition, ExecuteError> {
        if let Some(definition) = self.definition.get() {
            log::task(&definition.name);
            return Ok(definition);
        }
        let definition = declared::<T>()?;
        Ok(self.definition.get_or_init(|| definition))
    }

    /// Adds the task's state to the context, building it if necessary. An error counts as one of the body's attempt, and
    /// the next attempt builds the state again.
    pub(crate) async fn with_state(
        &self,
        ctx: Context<T::Config>,
    ) -> Result<Context<T::Config, T::State>, TaskError> {
        let state =
            self.state.get_or_try_init(async || self.task.init(ctx.clone()).await.map(Arc::new)).await;
        let state = state.map_err(|error| {
            // Most states are connections to a dependency. Authors mark configuration errors themselves.
            let kind = match error.kind() {
                ErrorKind::Execution => ErrorKind::Dependency,
                kind => kind,
            };
            error.in_context("cannot build the task's state", kind)
        })?;
        Ok(ctx.with_state(Arc::clone(state)))
    }

    /// Adds the task's state to the context, if it was built.
    pub(crate) fn with_built_state(&self, ctx: Context<T::Config>) -> Option<Context<T::Config, T::State>> {
        Some(ctx.with_state(Arc::clone(self.state.get()?)))
    }

    /// Tears the state down, if it was built, in the body runtime, for at most [`TEARDOWN_LIMIT`].
    pub(crate) async fn tear_down(self: Arc<Self>, body_runtime: &Handle) {
        if !T::TEARS_DOWN || !self.state.initialized() {
            return;
        }
        let tearing = body_runtime.spawn(async move {
            if let Some(state) = self.state.get() {
                self.task.teardown(state).await;
            }
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

/// Builds the task's definition, and logs under its name from here on.
pub(crate) fn declared<T: Task>() -> Result<Definition, ExecuteError> {
    let declared = std::panic::catch_unwind(T::definition).map_err(|_| ExecuteError::Definition)?;
    log::task(&declared.name);
    Ok(declared)
}
