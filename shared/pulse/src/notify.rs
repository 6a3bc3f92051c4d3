//! Notifications about failures. A message is stored first, and sent again until it is delivered.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::{
    notify::NotifyError,
    table::{Recorded, TableError, Undelivered},
};
use lamplighter_core::{
    claim::LostRun,
    envelope::Envelope,
    id::RunId,
    name::TaskName,
    notification::{Message, Redelivery, after_failure, occasion},
    pulse::MissedTicks,
    reason::Reason,
    run::{ErrorKind, Run, Trigger},
    status::Status,
};

use crate::{event::FailedInvocation, services::Pulse};

/// The task name in notifications about the pulse itself.
const OWN_NAME: &str = "lamplighter-pulse";
/// The most messages that one call of [`deliver`] sends.
const MOST: usize = 50;
/// The number of failures in a row after which the remaining messages wait for the next minute. A target that does not
/// respond costs a timeout each time.
const FAILURES: usize = 2;
/// The time after which no further message is sent. A request in flight is completed.
const SENDING: Duration = Duration::from_secs(15);

/// Sends a notification about an asynchronous invocation that failed after all retries. If its process left a run without
/// a record, that run is ended first; nothing else would end it.
pub async fn failed(pulse: &Pulse, failed: &FailedInvocation) -> Result<(), TableError> {
    let name = failed.function.strip_prefix(&format!("{}-", pulse.stack));
    let Some(task) = name.and_then(|name| name.parse::<TaskName>().ok()) else {
        tracing::error!(
            "function `{}` failed, and it belongs to no task of this stack: {}",
            failed.function,
            failed.failure
        );
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
        let key = match (tick, run_id) {
            (Some(tick), _) => tick.to_string(),
            (None, Some(run_id)) => run_id.to_string(),
            (None, None) => failed.request_id.clone(),
        };
        return store(pulse, &key, &message).await;
    };
    if !run.status.is_failure() {
        // Another delivery of the same invocation ran it.
        return Ok(());
    }
    let message = Message::of(&run, &pulse.environment, &pulse.stack);
    store(pulse, &occasion(trigger, run.scheduled_for.or(tick), run.id), &message).await
}

/// Returns the record of an invocation's run, if there is one. Ends the run if the invocation still holds its lease.
async fn run_of(
    pulse: &Pulse,
    task: &TaskName,
    run_id: Option<RunId>,
    tick: Option<Timestamp>,
    failed: &FailedInvocation,
) -> Result<Option<Run>, TableError> {
    let found = match (run_id, tick) {
        (Some(run_id), _) => pulse.table.run(task, run_id).await?,
        (None, Some(tick)) => pulse.table.run_for(task, tick).await?,
        (None, None) => None,
    };
    if found.is_some() {
        return Ok(found);
    }
    // No retry follows, so a lease that the invocation still holds is orphaned.
    let is_of_invocation =
        |lost: &LostRun| !failed.request_id.is_empty() && lost.lease.holder.is_of(&failed.request_id);
    let state = pulse.table.state(task).await?;
    let Some(lost) = state.held().find(is_of_invocation) else { return Ok(None) };
    let reason = Reason::of_function(&failed.failure, failed.failure.is_timeout());
    let run = Run {
        status: if failed.failure.is_timeout() { Status::Timeout } else { Status::Failed },
        environment: pulse.environment.clone(),
        ..lost.run(task, Timestamp::now()).because(reason)
    };
    Ok(Some(match pulse.table.finish(&run, lost.fence).await? {
        Recorded::Written => run,
        Recorded::Before(stored) => *stored,
    }))
}

/// Sends a notification about a failed run that the pulse itself found.
pub async fn run(pulse: &Pulse, run: &Run) -> Result<(), TableError> {
    let message = Message::of(run, &pulse.environment, &pulse.stack);
    store(pulse, &occasion(run.trigger, run.scheduled_for, run.id), &message).await
}

/// Sends a notification about ticks that have no run.
pub async fn missed(pulse: &Pulse, missed: &MissedTicks) -> Result<(), TableError> {
    let reason = Reason::Missed { first: missed.first, last: missed.last, ticks: missed.ticks };
    let message = Message {
        task: missed.task.clone(),
        run_id: None,
        status: "MISSED".to_owned(),
        kind: Some(ErrorKind::System),
        message: reason.to_string(),
        scheduled_for: Some(missed.last),
        environment: pulse.environment.clone(),
        stack: pulse.stack.clone(),
    };
    store(pulse, &format!("missed {}", missed.last), &message).await
}

/// Sends a notification about the messages in a task's dead-letter queue, once a day while there are some.
pub async fn dead_letters(
    pulse: &Pulse,
    task: &TaskName,
    count: u64,
    now: Timestamp,
) -> Result<(), TableError> {
    match Message::of_dead_letters(task, count, now, &pulse.environment, &pulse.stack) {
        Some((occasion, message)) => store(pulse, &occasion, &message).await,
        None => Ok(()),
    }
}

/// Sends a notification about a pulse that has errors when the one before it had none. `since` is when it began.
pub async fn failing(pulse: &Pulse, since: Timestamp, errors: &[String]) -> Result<(), TableError> {
    let Ok(task) = OWN_NAME.parse::<TaskName>() else { return Ok(()) };
    let message = Message {
        task,
        run_id: None,
        status: Status::Failed.as_str().to_owned(),
        kind: Some(ErrorKind::System),
        message: format!("the pulse has errors since {since}: {}", errors.join("; ")),
        scheduled_for: None,
        environment: pulse.environment.clone(),
        stack: pulse.stack.clone(),
    };
    store(pulse, &format!("failing {since}"), &message).await
}

/// Stores a message for delivery if a notification target is configured. Logs it in any case.
async fn store(pulse: &Pulse, occasion: &str, message: &Message) -> Result<(), TableError> {
    let (task, status) = (message.task.as_str(), message.status.as_str());
    let run_id = message.run_id.map(|id| id.to_string()).unwrap_or_default();
    tracing::warn!(task, run_id, status, "{task} {status}: {}", message.message);
    if pulse.notifier.is_some() && pulse.table.post(occasion, message, Timestamp::now()).await? {
        pulse.posted.notify_one();
    }
    Ok(())
}

/// Sends due messages until `end`. Returns an error text for each message that was not delivered.
pub async fn deliver(pulse: &Pulse, end: Timestamp) -> Result<Vec<String>, TableError> {
    let Some(notifier) = &pulse.notifier else { return Ok(Vec::new()) };
    let begun = Timestamp::now();
    let end = end.min(begun.saturating_add(SENDING).unwrap_or(Timestamp::MAX));
    let (mut errors, mut failures) = (Vec::new(), 0);
    // One at a time, so that another process can send the messages that this one has not reached.
    for _ in 0..MOST {
        let now = Timestamp::now();
        if now >= end || failures >= FAILURES {
            break;
        }
        let Some(message) = pulse.table.outbox(now, 1).await?.pop() else { break };
        match notifier.send(&message.message).await {
            Ok(()) => {
                failures = 0;
                pulse.table.message_delivered(&message).await?;
            }
            Err(error) => {
                failures += 1;
                errors.push(record_failure(pulse, &message, &error).await?);
            }
        }
    }
    Ok(errors)
}

/// Records that a message was not delivered. Returns the error text.
async fn record_failure(
    pulse: &Pulse,
    message: &Undelivered,
    error: &NotifyError,
) -> Result<String, TableError> {
    let retry = after_failure(message.failures, message.since, Timestamp::now());
    pulse.table.message_undelivered(message, retry, &error.to_string()).await?;
    let (task, occasion) = (&message.task, &message.occasion);
    let text = match retry {
        Redelivery::At(at) => {
            format!("{error}; the notification about {task} ({occasion}) is sent again at {at}")
        }
        Redelivery::GiveUp => {
            let tries = message.failures + 1;
            format!(
                "{error}; the notification about {task} ({occasion}) is given up after {tries} attempts in a day"
            )
        }
    };
    tracing::error!("{text}");
    Ok(text)
}
