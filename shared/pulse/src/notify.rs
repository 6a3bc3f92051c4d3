//! Telling somebody of a failure: the message is kept first, and sent until it is delivered.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::{
    notify::NotifyError,
    table::{Recorded, TableError, Undelivered},
};
use lamplighter_core::{
    claim::Lost,
    envelope::Envelope,
    id::RunId,
    name::TaskName,
    notify::{Message, Retry, after_failure, occasion},
    pulse::Missed,
    reason::Reason,
    run::{ErrorKind, Run, Trigger},
    status::Status,
};

use crate::{event::Failed, run::Pulse};

/// The name by which the pulse tells of itself.
const OWN_NAME: &str = "lamplighter-pulse";
/// The most messages that are sent at once, one after the other.
const MOST: usize = 50;
/// After how many failures in a row the others wait for the next minute: what does not answer takes its time each time.
const FAILURES: usize = 2;
/// How long sending may take; a message that is on its way then comes to its end.
const SENDING: Duration = Duration::from_secs(15);

/// Tells of an asynchronous invocation that failed for good. A run that its process left behind without a record is ended
/// first: nobody else will.
pub async fn failed(pulse: &Pulse, failed: &Failed) -> Result<(), TableError> {
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
    let is_its_own =
        |lost: &Lost| !failed.request_id.is_empty() && lost.lease.holder.is_of(&failed.request_id);
    let state = pulse.table.state(task).await?;
    let Some(lost) = state.held().find(is_its_own) else { return Ok(None) };
    let reason = Reason::of_function(&failed.failure, failed.failure.is_timeout());
    let run = Run {
        status: if failed.failure.is_timeout() { Status::Timeout } else { Status::Failed },
        environment: pulse.environment.clone(),
        ..lost.run(task, Timestamp::now()).because(reason)
    };
    Ok(Some(match pulse.table.finish(&run, lost.hold).await? {
        Recorded::Written => run,
        Recorded::Before(stands) => *stands,
    }))
}

/// Tells of a run that the pulse itself found to have failed.
pub async fn run(pulse: &Pulse, run: &Run) -> Result<(), TableError> {
    let message = Message::of(run, &pulse.environment, &pulse.stack);
    tell(pulse, &occasion(run.trigger, run.scheduled_for, run.id), &message).await
}

/// Tells of ticks that have had no run.
pub async fn missed(pulse: &Pulse, missed: &Missed) -> Result<(), TableError> {
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
    tell(pulse, &format!("missed {}", missed.last), &message).await
}

/// Tells of the messages in a task's dead-letter queue, once a day while there are some.
pub async fn dead_letters(
    pulse: &Pulse,
    task: &TaskName,
    count: u64,
    now: Timestamp,
) -> Result<(), TableError> {
    match Message::of_dead_letters(task, count, now, &pulse.environment, &pulse.stack) {
        Some((occasion, message)) => tell(pulse, &occasion, &message).await,
        None => Ok(()),
    }
}

/// Tells of a pulse that has errors while the one before it had none. `since` is when it began.
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
    tell(pulse, &format!("failing {since}"), &message).await
}

/// Keeps the message until it is delivered, if there is somebody to be told. It is logged in any case.
async fn tell(pulse: &Pulse, occasion: &str, message: &Message) -> Result<(), TableError> {
    let (task, status) = (message.task.as_str(), message.status.as_str());
    let run_id = message.run_id.map(|id| id.to_string()).unwrap_or_default();
    tracing::warn!(task, run_id, status, "{task} {status}: {}", message.message);
    if pulse.notifier.is_some() && pulse.table.post(occasion, message, Timestamp::now()).await? {
        pulse.posted.notify_one();
    }
    Ok(())
}

/// Sends the messages whose turn it is, until `end`. Returns what went wrong: messages that were given up, and why the others
/// have to wait.
pub async fn deliver(pulse: &Pulse, end: Timestamp) -> Result<Vec<String>, TableError> {
    let Some(notifier) = &pulse.notifier else { return Ok(Vec::new()) };
    let begun = Timestamp::now();
    let end = end.min(begun.saturating_add(SENDING).unwrap_or(Timestamp::MAX));
    let (mut errors, mut failures) = (Vec::new(), 0);
    // One at a time, so that those that this process does not come to are another one's.
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
                errors.push(refused(pulse, &message, &error).await?);
            }
        }
    }
    Ok(errors)
}

/// Notes that a message was not delivered. Returns that in words.
async fn refused(pulse: &Pulse, message: &Undelivered, error: &NotifyError) -> Result<String, TableError> {
    let retry = after_failure(message.failures, message.since, Timestamp::now());
    pulse.table.message_undelivered(message, retry, &error.to_string()).await?;
    let (task, occasion) = (&message.task, &message.occasion);
    let text = match retry {
        Retry::At(at) => format!("{error}; the message of {task}, {occasion}, is sent again at {at}"),
        Retry::GiveUp => {
            let tries = message.failures + 1;
            format!("{error}; the message of {task}, {occasion}, is given up after {tries} tries in a day")
        }
    };
    tracing::error!("{text}");
    Ok(text)
}
