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
    retry::Retry,
    run::{ErrorKind, RunError, Trigger},
    status::Event,
};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    Context, Task,
    attempt::{Conclusion, Ran, Settled, attempts, settle, supervise, timed_out},
    context::{Surroundings, until},
    execute::{Bodies, Edges, RESERVE},
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

/// Makes what the body is given, unless something says that the body must not run.
pub(crate) async fn admit<T: Task>(
    task: &Arc<T>,
    definition: &Definition,
    envelope: &Envelope,
    request: &Request,
    deadline: Timestamp,
    edges: &Edges,
) -> Result<Context<T::Config>, Conclusion> {
    if let Some(fault) = definition.faults().into_iter().next() {
        return Err(refused(fault.to_string()));
    }
    let late = |_| RunError::new(ErrorKind::System, "assets: not there when the run's time was up");
    let fetched = timeout(until(deadline), working_directory::<T>(edges)).await;
    let working_directory = fetched.map_err(late).flatten().map_err(Conclusion::refused)?;
    let surroundings = Surroundings {
        run_id: request.run_id,
        trigger: request.trigger,
        scheduled_for: envelope.scheduled_for,
        deployment: envelope.deployment.clone(),
        environment: edges.environment.clone(),
        working_directory,
        deadline,
        cancellation: CancellationToken::new(),
        clients: Arc::clone(&edges.bodies.clients),
    };
    let cancellation = surroundings.cancellation.clone();
    let (task, config) = (Arc::clone(task), definition.config.clone());
    let checking = edges.bodies.runtime.spawn(async move {
        let config = serde_json::from_value(config)
            .map_err(|error| format!("the configuration does not fit: {error}"))?;
        let ctx = Context { config: Arc::new(config), surroundings: Arc::new(surroundings), attempt: 1 };
        task.validate(&ctx).map_err(|why| format!("refused: {why}"))?;
        Ok(ctx)
    });
    match supervise(checking, deadline, &cancellation).await {
        Ran::Returned(Ok(ctx)) => Ok(ctx),
        Ran::Returned(Err(message)) => Err(refused(message)),
        Ran::Panicked(error) => Err(Conclusion::refused(error)),
        Ran::TimedOut { stuck } => {
            let error = timed_out(request.now, deadline, "it began, before the body was started");
            Err(Conclusion { event: Event::TimeOut, stuck, ..Conclusion::refused(error) })
        }
    }
}

fn refused(message: String) -> Conclusion {
    Conclusion::refused(RunError::new(ErrorKind::Configuration, message))
}

/// Runs the body with its attempts, and its rollback once if it failed for good. In a rollback of the stack the
/// body is the rollback, and is tried once.
pub(crate) async fn run_body<T: Task>(
    task: &Arc<T>,
    definition: &Definition,
    ctx: Context<T::Config>,
    process_ends: Timestamp,
    bodies: &Bodies,
) -> Conclusion {
    let body = |ctx: Context<T::Config>| {
        let task = Arc::clone(task);
        bodies.runtime.spawn(async move { settle(task.run(ctx).await) })
    };
    let undo = |ctx: Context<T::Config>| {
        let task = Arc::clone(task);
        bodies.runtime.spawn(async move { settle(task.rollback(ctx).await) })
    };
    let once = Retry { max_attempts: 1, ..definition.retry };
    let conclusion = if ctx.trigger() == Trigger::Rollback {
        attempts(once, &ctx, undo).await
    } else {
        let conclusion = attempts(definition.retry, &ctx, body).await;
        if conclusion.error.is_some() && definition.rollback {
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
    let cancellation = CancellationToken::new();
    let surroundings = Surroundings { deadline, cancellation, ..Surroundings::clone(&ctx.surroundings) };
    let ctx = Context { surroundings: Arc::new(surroundings), ..ctx.clone() };
    let undone = attempts(once, &ctx, undo).await;
    match undone.error {
        None => tracing::info!("rolled back after the final failure"),
        Some(error) => tracing::error!("could not roll back: {error}"),
    }
    undone.stuck
}
