//! Calls a task's schedule function.

use std::sync::Arc;

use lamplighter_core::{
    definition::Definition,
    reason::Moment,
    run::{RunError, Trigger},
};

use crate::runtime::{
    Context, TaskInstance,
    attempt::{Conclusion, SupervisedResult, supervise},
    body::{RunInputs, configured, run_environment},
};

/// Returns whether the task's schedule function decides on this run: only for timed triggers of a task without a cron
/// expression.
pub(crate) fn has_due_function(definition: &Definition, trigger: Trigger) -> bool {
    matches!(trigger, Trigger::Schedule | Trigger::Pulse)
        && definition.cron().is_some_and(|cron| cron.schedule.is_none())
}

/// Calls the schedule function, with the deadline and the configuration of the body. Settings in the table are not
/// applied, since they are only read with the claim. A function that fails or does not return fails the run.
pub(crate) async fn is_due(task: &TaskInstance, inputs: &RunInputs<'_>) -> Result<bool, Conclusion> {
    let ctx = Context::from(run_environment(task, inputs, None).await?);
    let (task, definition) = (Arc::clone(&task.task), inputs.definition.clone());
    let call = inputs.process.body_runtime.handle.spawn(async move {
        configured(task, &definition)?
            .due(ctx)
            .await
            .map_err(|error| RunError::new(error.kind(), error.to_string()))
    });
    let failed = |error: RunError, stuck| {
        let message = format!("the schedule function failed: {}", error.message);
        Conclusion { stuck, ..Conclusion::refused(RunError::new(error.kind, message)) }
    };
    match supervise(call, &inputs.limits).await {
        SupervisedResult::Returned(Ok(due)) => Ok(due),
        SupervisedResult::Returned(Err(error)) | SupervisedResult::Panicked(error) => {
            Err(failed(error, false))
        }
        SupervisedResult::Stopped { by, stuck } => {
            let reason = by.reason(inputs.request.now, inputs.limits.deadline, Moment::ScheduleFunction);
            Err(failed(RunError::of(&reason), stuck))
        }
    }
}
