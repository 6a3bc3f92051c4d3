//! A task without its types. The pipeline takes tasks like this, so it is compiled once, and not again for each task.

use std::{pin::Pin, sync::Arc};

use lamplighter_core::{
    definition::Definition,
    run::{ErrorKind, RunError},
};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::runtime::{Context, Due, Task, TaskError, TaskResult, Validity};

/// A future of unknown type.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A [`Task`] with its state. See there for the methods of the same names.
pub(crate) trait ErasedTask: Send + Sync {
    fn definition(&self) -> Definition;

    /// Deserializes the configuration of a run.
    fn with_config(self: Arc<Self>, config: &Value) -> Result<Arc<dyn ConfiguredTask>, serde_json::Error>;

    /// Returns at once if the task has no teardown, or the state was not built.
    fn teardown(self: Arc<Self>) -> BoxFuture<'static, ()>;
}

/// A [`Task`] with the configuration of one run. The contexts that its methods take have neither configuration nor state:
/// the methods add both.
pub(crate) trait ConfiguredTask: Send + Sync {
    fn validate(&self, ctx: Context) -> Validity;

    fn due(self: Arc<Self>, ctx: Context) -> BoxFuture<'static, Due>;

    fn run(self: Arc<Self>, ctx: Context) -> BoxFuture<'static, TaskResult>;

    fn rollback(self: Arc<Self>, ctx: Context) -> BoxFuture<'static, TaskResult>;

    fn on_error(self: Arc<Self>, ctx: Context, error: RunError) -> BoxFuture<'static, ()>;

    /// Returns at once if the state was not built.
    fn on_shutdown(self: Arc<Self>, ctx: Context) -> BoxFuture<'static, ()>;
}

/// A task and its state. The first run that reaches its body builds the state, and later runs share it.
pub(crate) struct TaskWithState<T: Task> {
    task: T,
    state: OnceCell<Arc<T::State>>,
}

struct TaskWithConfig<T: Task> {
    task: Arc<TaskWithState<T>>,
    config: Arc<T::Config>,
}

impl<T: Task> From<T> for TaskWithState<T> {
    fn from(task: T) -> Self {
        Self { task, state: OnceCell::new() }
    }
}

impl<T: Task> ErasedTask for TaskWithState<T> {
    fn definition(&self) -> Definition {
        T::definition()
    }

    fn with_config(self: Arc<Self>, config: &Value) -> Result<Arc<dyn ConfiguredTask>, serde_json::Error> {
        let config = Arc::new(T::Config::deserialize(config)?);
        Ok(Arc::new(TaskWithConfig { task: self, config }))
    }

    fn teardown(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if T::TEARS_DOWN
                && let Some(state) = self.state.get()
            {
                self.task.teardown(state).await;
            }
        })
    }
}

impl<T: Task> TaskWithConfig<T> {
    fn context(&self, ctx: Context) -> Context<T::Config> {
        ctx.with_config(Arc::clone(&self.config))
    }

    /// Adds the state to the context, building it if necessary. An error counts as one of the body's attempts, and the next
    /// attempt builds the state again.
    async fn context_with_state(&self, ctx: Context) -> Result<Context<T::Config, T::State>, TaskError> {
        let TaskWithState { task, state } = &*self.task;
        let ctx = self.context(ctx);
        let built = state.get_or_try_init(async || task.init(ctx.clone()).await.map(Arc::new)).await;
        let state = built.map_err(state_error)?;
        Ok(ctx.with_state(Arc::clone(state)))
    }
}

/// Most states are connections to a dependency. Authors mark configuration errors themselves.
fn state_error(error: TaskError) -> TaskError {
    let kind = match error.kind() {
        ErrorKind::Execution => ErrorKind::Dependency,
        kind => kind,
    };
    error.in_context("cannot build the task's state", kind)
}

impl<T: Task> ConfiguredTask for TaskWithConfig<T> {
    fn validate(&self, ctx: Context) -> Validity {
        self.task.task.validate(&self.context(ctx))
    }

    fn due(self: Arc<Self>, ctx: Context) -> BoxFuture<'static, Due> {
        Box::pin(async move { self.task.task.due(self.context(ctx)).await })
    }

    fn run(self: Arc<Self>, ctx: Context) -> BoxFuture<'static, TaskResult> {
        Box::pin(async move { self.task.task.run(self.context_with_state(ctx).await?).await })
    }

    fn rollback(self: Arc<Self>, ctx: Context) -> BoxFuture<'static, TaskResult> {
        Box::pin(async move { self.task.task.rollback(self.context_with_state(ctx).await?).await })
    }

    fn on_error(self: Arc<Self>, ctx: Context, error: RunError) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.task.task.on_error(self.context(ctx), error).await })
    }

    fn on_shutdown(self: Arc<Self>, ctx: Context) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Some(state) = self.task.state.get() {
                let ctx = self.context(ctx).with_state(Arc::clone(state));
                self.task.task.on_shutdown(ctx).await;
            }
        })
    }
}
