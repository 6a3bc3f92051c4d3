//! The inner half of the pipeline: what a body is given, the body, and its rollback.

use std::{
    future::{Future, ready},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
};

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
use serde::Deserialize as _;
use serde_json::Value;
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    Context, Task,
    attempt::{Conclusion, Limits, Ran, Settled, attempts, settle, supervise},
    context::{Held, Surroundings, until},
    execute::{Bodies, Edges, RESERVE},
    hosted::Hosted,
};

/// The folder of the task's files. Not an `async fn`: its state would have the code that fetches them in it, and S3 with
/// that, in every task's binary.
fn working_directory<T: Task>(
    edges: &Edges,
) -> Pin<Box<dyn Future<Output = Result<PathBuf, RunError>> + Send + '_>> {
    if T::COPIES_ASSETS {
        Box::pin(edges.assets.folder(&edges.clients))
    } else {
        Box::pin(ready(Ok(PathBuf::from("."))))
    }
}

/// What is to be run, as far as it is known.
pub(crate) struct Order<'a> {
    /// The task as it is overridden.
    pub definition: &'a Definition,
    pub envelope: &'a Envelope,
    pub request: &'a Request,
    pub limits: Limits,
    pub edges: &'a Edges,
}

/// What is around the author's code. With what the run has, if it has been claimed.
pub(crate) async fn surroundings<T: Task>(
    order: &Order<'_>,
    held: Option<Held>,
) -> Result<Surroundings, Conclusion> {
    let Order { definition, envelope, request, limits, edges } = order;
    if let Some(fault) = definition.faults().into_iter().next() {
        return Err(Conclusion::refused(refused(fault.to_string())));
    }
    let late = |_| RunError::new(ErrorKind::System, "assets: not there when the run's time was up");
    let fetched = timeout(until(limits.deadline), working_directory::<T>(edges)).await;
    let working_directory = fetched.map_err(late).flatten().map_err(Conclusion::refused)?;
    Ok(Surroundings {
        task: definition.name.clone(),
        run_id: request.run_id,
        trigger: request.trigger,
        scheduled_for: envelope.scheduled_for,
        deployment: envelope.deployment.clone(),
        environment: edges.environment.clone(),
        working_directory,
        limits: limits.clone(),
        clients: Arc::clone(&edges.bodies.clients),
        http: Arc::clone(&edges.bodies.http),
        arguments: Arc::new(envelope.arguments.clone()),
        table: edges.table.clone(),
        bucket: edges.bucket.clone(),
        queues: edges.queues.clone(),
        waker: edges.waker.clone(),
        held,
    })
}

/// Makes what the author's code is given. Runs where the author's code does, which may panic as it reads its
/// configuration.
pub(crate) fn configured<T: Task>(
    definition: &Definition,
    surroundings: Surroundings,
) -> Result<Context<T::Config>, RunError> {
    let Definition { config, config_schema, .. } = definition;
    let unfit = |why: String| refused(format!("the configuration does not fit: {why}"));
    schema::check(config, config_schema).map_err(|violation| unfit(violation.to_string()))?;
    let config = T::Config::deserialize(config).map_err(|error| unfit(error.to_string()))?;
    let attempt = surroundings.held.map_or(1, Held::attempt);
    let (config, surroundings) = (Arc::new(config), Arc::new(surroundings));
    Ok(Context { config, state: Arc::new(()), surroundings, attempt })
}

/// Makes what the body is given, unless something says that the body must not run.
pub(crate) async fn admit<T: Task>(
    task: &Arc<Hosted<T>>,
    order: &Order<'_>,
    held: Held,
) -> Result<Context<T::Config>, Conclusion> {
    let surroundings = surroundings::<T>(order, Some(held)).await?;
    let (task, definition) = (Arc::clone(task), order.definition.clone());
    let checking = order.edges.bodies.runtime.spawn(async move {
        let ctx = configured::<T>(&definition, surroundings)?;
        task.validate(&ctx).map_err(|why| refused(format!("refused: {why}")))?;
        Ok(ctx)
    });
    match supervise(checking, &order.limits).await {
        Ran::Returned(Ok(ctx)) => Ok(ctx),
        Ran::Returned(Err(error)) | Ran::Panicked(error) => Err(Conclusion::refused(error)),
        Ran::Stopped { by, stuck } => {
            let reason = by.reason(order.request.now, order.limits.deadline, Moment::Begin);
            Err(Conclusion { event: by.event(), stuck, ..Conclusion::stopped(reason) })
        }
    }
}

fn refused(message: String) -> RunError {
    RunError::new(ErrorKind::Configuration, message)
}

/// Runs the body with its attempts, and its rollback once if it failed for good. In a rollback of the stack the
/// body is the rollback, and is tried once.
pub(crate) async fn run_body<T: Task>(
    task: &Arc<Hosted<T>>,
    definition: &Definition,
    ctx: Context<T::Config>,
    process_ends: Timestamp,
    bodies: &Bodies,
) -> Conclusion {
    let promised = Arc::new(definition.result_schema.clone());
    let body = |ctx: Context<T::Config>| {
        let task = Arc::clone(task);
        let promised = Arc::clone(&promised);
        bodies.runtime.spawn(async move {
            match task.equip(ctx).await {
                Ok(ctx) => keeping(&promised, settle(task.run(ctx).await)),
                Err(error) => settle(Err(error)),
            }
        })
    };
    let undo = |ctx: Context<T::Config>| {
        let task = Arc::clone(task);
        bodies.runtime.spawn(async move {
            match task.equip(ctx).await {
                Ok(ctx) => settle(task.rollback(ctx).await),
                Err(error) => settle(Err(error)),
            }
        })
    };
    let once = Retry { max_attempts: 1, ..definition.retry };
    let conclusion = if ctx.trigger() == Trigger::Rollback {
        attempts(once, &ctx, undo).await
    } else {
        // Each start of a job is one attempt: what follows a failure is decided by whoever started it.
        let is_job = matches!(ctx.surroundings.held, Some(Held::Job { .. }));
        let retry = Retry { max_attempts: ctx.attempt, ..definition.retry };
        let conclusion = attempts(if is_job { retry } else { definition.retry }, &ctx, body).await;
        let is_final = !is_job || !conclusion.retryable || ctx.attempt >= definition.retry.max_attempts;
        if conclusion.error.is_some() && definition.rollback && is_final {
            if conclusion.stuck {
                tracing::error!("could not roll back: the body still runs");
                conclusion
            } else {
                let stuck = roll_back(&ctx, once, process_ends, undo).await;
                Conclusion { stuck, ..conclusion }
            }
        } else {
            conclusion
        }
    };
    // The configuration is the author's too, and so is what happens when it is dropped.
    bodies.runtime.spawn(async move { drop(ctx) });
    conclusion
}

/// A success whose data is what the task promised, or the failure that it is not.
fn keeping(promised: &Value, settled: Settled) -> Settled {
    let Settled::Succeeded(outcome) = &settled else { return settled };
    if promised.is_null() {
        return settled;
    }
    match schema::check(outcome.data.as_ref().unwrap_or(&Value::Null), promised) {
        Ok(()) => settled,
        Err(violation) => {
            let message = format!("the data is not what the task promises: {violation}");
            Settled::Failed { error: RunError::new(ErrorKind::Execution, message), retryable: false }
        }
    }
}

/// Undoes what a body did that failed for good, as long as the process has time for it, and says whether that code
/// is stuck. What came of it is told in the log: the run's record is about the body.
async fn roll_back<C, F>(ctx: &Context<C>, once: Retry, process_ends: Timestamp, undo: F) -> bool
where
    F: Fn(Context<C>) -> JoinHandle<Settled>,
{
    let deadline = process_ends.saturating_sub(RESERVE).unwrap_or(Timestamp::MIN);
    if until(deadline).is_zero() {
        tracing::error!("could not roll back: no time is left");
        return false;
    }
    let limits = Limits::until(deadline);
    let surroundings = Surroundings { limits, ..Surroundings::clone(&ctx.surroundings) };
    let ctx = Context { surroundings: Arc::new(surroundings), ..ctx.clone() };
    let undone = attempts(once, &ctx, undo).await;
    match undone.error {
        None => tracing::info!("rolled back after the final failure"),
        Some(error) => tracing::error!("could not roll back: {error}"),
    }
    undone.stuck
}
