//! A task in its process, with the state that it has to itself.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

use lamplighter_core::{definition::Definition, run::ErrorKind};
use tokio::{runtime::Handle, sync::OnceCell, time::timeout};

use crate::{Context, ExecuteError, Task, TaskError, execute::declared, log};

/// How long a state may take to be torn down. Lambda gives a process half a second.
const TEARDOWN_LIMIT: Duration = Duration::from_secs(2);

/// A task in its process. Its state is built by the first run that comes to its body, and is there for all that follow.
pub struct Hosted<T: Task> {
    task: T,
    state: OnceCell<Arc<T::State>>,
    /// What the task says of itself, which it is asked once.
    declared: OnceLock<Definition>,
}

impl<T: Task> Deref for Hosted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.task
    }
}

impl<T: Task> From<T> for Hosted<T> {
    fn from(task: T) -> Self {
        Self { task, state: OnceCell::new(), declared: OnceLock::new() }
    }
}

impl<T: Task> Hosted<T> {
    /// What the task says of itself, under whose name is logged from here on.
    pub(crate) fn declared(&self) -> Result<&Definition, ExecuteError> {
        if let Some(declared) = self.declared.get() {
            log::task(&declared.name);
            return Ok(declared);
        }
        let declared = declared::<T>()?;
        Ok(self.declared.get_or_init(|| declared))
    }

    /// The context with the task's state, which is built if it is not there yet. Without it a body cannot begin, so an
    /// error counts as one of the body's attempt; the next one builds it anew.
    pub(crate) async fn equip(
        &self,
        ctx: Context<T::Config>,
    ) -> Result<Context<T::Config, T::State>, TaskError> {
        let state =
            self.state.get_or_try_init(async || self.task.init(ctx.clone()).await.map(Arc::new)).await;
        let state = state.map_err(|error| {
            // What is built is mostly a way to something else; what it was given is the author's to say.
            let kind = match error.kind() {
                ErrorKind::Execution => ErrorKind::Dependency,
                kind => kind,
            };
            error.told_of("the task's state was not built", kind)
        })?;
        Ok(ctx.with_state(Arc::clone(state)))
    }

    /// The context with the task's state, if that was built.
    pub(crate) fn equipped(&self, ctx: Context<T::Config>) -> Option<Context<T::Config, T::State>> {
        Some(ctx.with_state(Arc::clone(self.state.get()?)))
    }

    /// Tears the state down, if there is one, in the runtime of the bodies. It has [`TEARDOWN_LIMIT`].
    pub(crate) async fn end(self: Arc<Self>, bodies: &Handle) {
        if !T::TEARS_DOWN || !self.state.initialized() {
            return;
        }
        let tearing = bodies.spawn(async move {
            if let Some(state) = self.state.get() {
                self.task.teardown(state).await;
            }
        });
        match timeout(TEARDOWN_LIMIT, tearing).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the task's state was not torn down: that panicked"),
            Err(_) => tracing::error!("the task's state was not torn down within {TEARDOWN_LIMIT:?}"),
        }
    }
}
