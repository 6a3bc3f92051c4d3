//! The body of a run: its context, its attempts, and its rollback.

use std::{path::PathBuf, sync::Arc};

use jiff::Timestamp;
use lamplighter_core::{
    claim::Request,
    definition::Definition,
    envelope::Envelope,
    reason::Moment,
    retry::Retry,
    run::{ErrorKind, RunError, Trigger},
    schema,
};
use serde_json::Value;
use tokio::{task::JoinHandle, time::timeout};

use crate::runtime::{
    Context, TaskInstance,
    attempt::{BodyResult, Conclusion, SupervisedResult, attempts, body_result, supervise},
    context::{RunEnvironment, RunLease},
    erased::{ConfiguredTask, ErasedTask},
    limits::{Limits, time_left},
    process::{BodyRuntime, ProcessEnvironment, RESERVE},
};

/// Returns the folder of the task's assets.
async fn working_directory(task: &TaskInstance, process: &ProcessEnvironment) -> Result<PathBuf, RunError> {
    match task.parts.assets {
        Some(fetch) => fetch(process).await,
        None => Ok(PathBuf::from(".")),
    }
}

/// The inputs of a run.
pub(crate) struct RunInputs<'a> {
    /// The definition, with all overrides applied.
    pub definition: &'a Definition,
    pub envelope: &'a Envelope,
    pub request: &'a Request,
    pub limits: Limits,
    pub process: &'a ProcessEnvironment,
}

/// Prepares the run's environment. `lease` is `None` before the claim.
pub(crate) async fn run_environment(
    task: &TaskInstance,
    inputs: &RunInputs<'_>,
    lease: Option<RunLease>,
) -> Result<RunEnvironment, Conclusion> {
    let RunInputs { definition, envelope, request, limits, process } = inputs;
    if let Some(fault) = definition.faults().into_iter().next() {
        return Err(Conclusion::refused(refused(fault.to_string())));
    }
    let late = |_| RunError::new(ErrorKind::System, "assets: not available before the deadline");
    let fetched = timeout(time_left(limits.deadline), working_directory(task, process)).await;
    let working_directory = fetched.map_err(late).flatten().map_err(Conclusion::refused)?;
    Ok(RunEnvironment {
        task: definition.name.clone(),
        run_id: request.run_id,
        trigger: request.trigger,
        scheduled_for: envelope.scheduled_for,
        deployment: envelope.deployment.clone(),
        environment: process.environment.clone(),
        working_directory,
        limits: limits.clone(),
        clients: Arc::clone(&process.body_runtime.clients),
        http: Arc::clone(&process.body_runtime.http),
        arguments: Arc::new(envelope.arguments.clone()),
        table: process.table.clone(),
        bucket: process.bucket.clone(),
        queues: process.queues.clone(),
        waker: process.waker.clone(),
        lease,
    })
}

/// A run that may start: the context of its first attempt, and the configured task.
pub(crate) struct Admitted {
    pub ctx: Context,
    pub task: Arc<dyn ConfiguredTask>,
}

/// Configures the task. Runs in the author's runtime: deserializing the configuration may panic.
pub(crate) fn configured(
    task: Arc<dyn ErasedTask>,
    definition: &Definition,
) -> Result<Arc<dyn ConfiguredTask>, RunError> {
    let Definition { config, config_schema, .. } = definition;
    let unfit = |why: String| refused(format!("invalid configuration: {why}"));
    schema::check(config, config_schema).map_err(|violation| unfit(violation.to_string()))?;
    task.with_config(config).map_err(|error| unfit(error.to_string()))
}

/// Configures the task, and validates the run with its `validate`.
pub(crate) async fn admit(
    task: &TaskInstance,
    inputs: &RunInputs<'_>,
    lease: RunLease,
) -> Result<Admitted, Conclusion> {
    let ctx = Context::from(run_environment(task, inputs, Some(lease)).await?);
    let (task, definition) = (Arc::clone(&task.task), inputs.definition.clone());
    let checking = inputs.process.body_runtime.handle.spawn(async move {
        let task = configured(task, &definition)?;
        task.validate(ctx.clone()).map_err(|why| refused(format!("validation failed: {why}")))?;
        Ok(Admitted { ctx, task })
    });
    match supervise(checking, &inputs.limits).await {
        SupervisedResult::Returned(Ok(admitted)) => Ok(admitted),
        SupervisedResult::Returned(Err(error)) | SupervisedResult::Panicked(error) => {
            Err(Conclusion::refused(error))
        }
        SupervisedResult::Stopped { by, stuck } => {
            let reason = by.reason(inputs.request.now, inputs.limits.deadline, Moment::Begin);
            Err(Conclusion { event: by.event(), stuck, ..Conclusion::stopped(reason) })
        }
    }
}

fn refused(message: String) -> RunError {
    RunError::new(ErrorKind::Configuration, message)
}

/// Runs the body with its attempts, and once its rollback if it fails for good. When the stack is rolled back, only
/// the rollback runs, with one attempt.
pub(crate) async fn run_body(
    Admitted { ctx, task }: Admitted,
    definition: &Definition,
    process_ends: Timestamp,
    body_runtime: &BodyRuntime,
) -> Conclusion {
    let result_schema = Arc::new(definition.result_schema.clone());
    let body = |ctx: Context| {
        let task = Arc::clone(&task);
        let result_schema = Arc::clone(&result_schema);
        let run = async move { check_result(&result_schema, body_result(task.run(ctx).await)) };
        body_runtime.handle.spawn(run)
    };
    let undo = |ctx: Context| {
        let task = Arc::clone(&task);
        body_runtime.handle.spawn(async move { body_result(task.rollback(ctx).await) })
    };
    let once = Retry { max_attempts: 1, ..definition.retry };
    let conclusion = if ctx.trigger() == Trigger::Rollback {
        attempts(once, &ctx, undo).await
    } else {
        // Each start of a job is one attempt: the worker that started it decides on a retry.
        let is_job = matches!(ctx.run.lease, Some(RunLease::Job { .. }));
        let retry = Retry { max_attempts: ctx.attempt, ..definition.retry };
        let conclusion = attempts(if is_job { retry } else { definition.retry }, &ctx, body).await;
        let is_final = !is_job || !conclusion.retryable || ctx.attempt >= definition.retry.max_attempts;
        if conclusion.error.is_some() && definition.rollback && is_final {
            if conclusion.stuck {
                tracing::error!("rollback skipped: the body still runs");
                conclusion
            } else {
                let stuck = roll_back(&ctx, once, process_ends, undo).await;
                Conclusion { stuck, ..conclusion }
            }
        } else {
            conclusion
        }
    };
    // The configuration's `Drop` is the author's code, too.
    body_runtime.handle.spawn(async move { drop(task) });
    conclusion
}

/// Checks the data of a success against the task's result schema.
fn check_result(result_schema: &Value, result: BodyResult) -> BodyResult {
    let BodyResult::Succeeded(outcome) = &result else { return result };
    if result_schema.is_null() {
        return result;
    }
    match schema::check(outcome.data.as_ref().unwrap_or(&Value::Null), result_schema) {
        Ok(()) => result,
        Err(violation) => {
            let message = format!("the outcome's data does not match the task's result type: {violation}");
            BodyResult::Failed { error: RunError::new(ErrorKind::Execution, message), retryable: false }
        }
    }
}

/// Runs the rollback after the final failure, if the process has time left. Returns whether that code is stuck.
///
/// The result is only logged, since the run's record describes the body.
async fn roll_back(
    ctx: &Context,
    once: Retry,
    process_ends: Timestamp,
    undo: impl Fn(Context) -> JoinHandle<BodyResult>,
) -> bool {
    let deadline = process_ends.saturating_sub(RESERVE).unwrap_or(Timestamp::MIN);
    if time_left(deadline).is_zero() {
        tracing::error!("rollback skipped: no time is left");
        return false;
    }
    let limits = Limits::until(deadline);
    let run = RunEnvironment { limits, ..RunEnvironment::clone(&ctx.run) };
    let ctx = Context { run: Arc::new(run), ..ctx.clone() };
    let undone = attempts(once, &ctx, undo).await;
    match undone.error {
        None => tracing::info!("rolled back after the final failure"),
        Some(error) => tracing::error!("rollback failed: {error}"),
    }
    undone.stuck
}
