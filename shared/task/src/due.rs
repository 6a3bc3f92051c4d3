//! Asking a task's own function whether a run is due.

use std::sync::Arc;

use lamplighter_core::{
    definition::Definition,
    reason::Moment,
    run::{RunError, Trigger},
};

use crate::{
    Task,
    attempt::{Conclusion, Ran, supervise},
    body::{Order, configured, surroundings},
    hosted::Hosted,
};

/// Whether a trigger has the task's function asked: that of a time, for a task which has no schedule but that.
pub(crate) fn is_asked(definition: &Definition, trigger: Trigger) -> bool {
    matches!(trigger, Trigger::Schedule | Trigger::Pulse)
        && definition.cron().is_some_and(|cron| cron.schedule.is_none())
}

/// Asks it, with the deadline and the configuration that the body would have; what the table says differently is not
/// known before the task is claimed. A function that does not say fails the run.
pub(crate) async fn ask<T: Task>(task: &Arc<Hosted<T>>, order: &Order<'_>) -> Result<bool, Conclusion> {
    let surroundings = surroundings::<T>(order, None).await?;
    let (task, config) = (Arc::clone(task), order.definition.clone());
    let asking = order.edges.bodies.runtime.spawn(async move {
        let ctx = configured::<T>(&config, surroundings)?;
        task.due(ctx).await.map_err(|error| RunError::new(error.kind(), error.to_string()))
    });
    let failed = |error: RunError, stuck| {
        let message = format!("the schedule function failed: {}", error.message);
        Conclusion { stuck, ..Conclusion::refused(RunError::new(error.kind, message)) }
    };
    match supervise(asking, &order.limits).await {
        Ran::Returned(Ok(due)) => Ok(due),
        Ran::Returned(Err(error)) | Ran::Panicked(error) => Err(failed(error, false)),
        Ran::Stopped { by, stuck } => {
            let reason = by.reason(order.request.now, order.limits.deadline, Moment::ScheduleFunction);
            Err(failed(RunError::of(&reason), stuck))
        }
    }
}
