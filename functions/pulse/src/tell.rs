//! Telling somebody of a failure, once.

use jiff::Timestamp;
use lamplighter_aws::{
    functions::FunctionFailure,
    notify::NotifyError,
    table::{Notice, Recorded, TableError},
};
use lamplighter_core::{
    claim::Lost,
    envelope::Envelope,
    id::RunId,
    name::TaskName,
    notify::{Message, occasion},
    pulse::Missed,
    run::{ErrorKind, Run, RunError, Trigger},
    status::Status,
};

use crate::{beat::Pulse, event::Failed};

/// Why somebody could not be told.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Whoever should be told could not be.
    #[error(transparent)]
    Notify(#[from] NotifyError),
}

/// Tells of an asynchronous invocation that failed for good. A run that its process left behind without a record is ended
/// first: nobody else will.
pub async fn failed(pulse: &Pulse, failed: &Failed) -> Result<(), TellError> {
    let name = failed.function.strip_prefix(&format!("{}-", pulse.stack));
    let Some(task) = name.and_then(|name| name.parse::<TaskName>().ok()) else {
        tracing::error!("`{}` failed and is no task of this stack: {}", failed.function, failed.failure);
        return Ok(());
    };
    let envelope = Envelope::parse(failed.payload.clone()).ok();
    let trigger = envelope.as_ref().map_or(Trigger::Manual, |envelope| envelope.trigger);
    let run_id = envelope.as_ref().and_then(|envelope| envelope.run_id);
    let tick = envelope.as_ref().and_then(|envelope| envelope.scheduled_for);
    let Some(run) = run_of(pulse, &task, run_id, tick, failed).await? else {
        let message = Message {
            task: task.clone(),
            run_id,
            status: Status::Failed.as_str().to_owned(),
            kind: Some(ErrorKind::System),
            message: failed.failure.to_string(),
            scheduled_for: tick,
            environment: pulse.environment.clone(),
            stack: pulse.stack.clone(),
        };
        let word = match (tick, run_id) {
            (Some(tick), _) => tick.to_string(),
            (None, Some(run_id)) => run_id.to_string(),
            (None, None) => failed.request_id.clone(),
        };
        return tell(pulse, &word, &message).await;
    };
    if !run.status.is_failure() {
        // Another delivery of the same has had its run.
        return Ok(());
    }
    let message = Message::of(&run, &pulse.environment, &pulse.stack);
    tell(pulse, &occasion(trigger, run.scheduled_for.or(tick), run.id), &message).await
}

/// The record of the run that an invocation was for.
async fn run_of(
    pulse: &Pulse,
    task: &TaskName,
    run_id: Option<RunId>,
    tick: Option<Timestamp>,
    failed: &Failed,
) -> Result<Option<Run>, TableError> {
    let found = match (run_id, tick) {
        (Some(run_id), _) => pulse.table.run(task, run_id).await?,
        (None, Some(tick)) => pulse.table.run_for(task, tick).await?,
        (None, None) => None,
    };
    if found.is_some() {
        return Ok(found);
    }
    // The invocation is over for good, so what it still holds was left behind by its process.
    let is_its_own = |lost: &Lost| {
        !failed.request_id.is_empty() && lost.lease.holder.split('#').next() == Some(&failed.request_id)
    };
    let state = pulse.table.state(task).await?;
    let Some(lost) = state.held().find(is_its_own) else { return Ok(None) };
    let run = Run {
        status: if failed.failure.is_timeout() { Status::Timeout } else { Status::Failed },
        error: Some(error(&failed.failure)),
        environment: pulse.environment.clone(),
        ..lost.run(task, Timestamp::now())
    };
    Ok(Some(match pulse.table.finish(&run, lost.hold).await? {
        Recorded::Written => run,
        Recorded::Before(stands) => *stands,
    }))
}

fn error(failure: &FunctionFailure) -> RunError {
    let kind = if failure.is_timeout() { ErrorKind::Timeout } else { ErrorKind::System };
    RunError::new(kind, format!("the function ended before the run did: {failure}"))
}

/// Tells of a run that the pulse itself found to have failed.
pub async fn run(pulse: &Pulse, run: &Run) -> Result<(), TellError> {
    let message = Message::of(run, &pulse.environment, &pulse.stack);
    tell(pulse, &occasion(run.trigger, run.scheduled_for, run.id), &message).await
}

/// Tells of ticks that have had no run.
pub async fn missed(pulse: &Pulse, missed: &Missed) -> Result<(), TellError> {
    let text = match missed.ticks {
        1 => format!("the run scheduled for {} did not begin", missed.last),
        ticks => format!("{ticks} runs did not begin, scheduled for {} to {}", missed.first, missed.last),
    };
    let message = Message {
        task: missed.task.clone(),
        run_id: None,
        status: "MISSED".to_owned(),
        kind: Some(ErrorKind::System),
        message: text,
        scheduled_for: Some(missed.last),
        environment: pulse.environment.clone(),
        stack: pulse.stack.clone(),
    };
    tell(pulse, &format!("missed {}", missed.last), &message).await
}

/// Tells whoever is to be told, unless somebody has. It is logged in any case.
async fn tell(pulse: &Pulse, occasion: &str, message: &Message) -> Result<(), TellError> {
    let (task, status) = (message.task.as_str(), message.status.as_str());
    let run_id = message.run_id.map(|id| id.to_string()).unwrap_or_default();
    tracing::warn!(task, run_id, status, "{task} {status}: {}", message.message);
    let Some(notifier) = &pulse.notifier else { return Ok(()) };
    if pulse.table.notice(&message.task, occasion, Timestamp::now()).await? == Notice::Given {
        return Ok(());
    }
    let sent = notifier.send(message).await;
    pulse.table.notified(&message.task, occasion, sent.is_ok()).await?;
    Ok(sent?)
}
