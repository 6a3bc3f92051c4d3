//! Jobs in a task's process: a batch of messages from SQS, or jobs started by a runner.
//!
//! In Lambda the function claims, attempts and records a job. Under a runner, the runner claims and records it, and the
//! function only makes the attempt. Each start is one attempt.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use lambda_runtime::{
    FunctionResponse,
    streaming::{self, Body},
};
use lamplighter_aws::{
    jobs::{JobOutcome, Jobs, Worker},
    table::{Table, TableError},
};
use lamplighter_core::{
    claim::{Occasion, Request, SKEW_MARGIN},
    definition::{Definition, Overlap},
    envelope::{Envelope, InvalidEnvelope},
    job::{
        AttemptOutcome, Job, JobKey, Refusal,
        attempts::{AttemptReport, Attempts, PATIENCE, StartedJob},
    },
    run::{ErrorKind, Run, RunError, Trigger},
    status::Status,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedMutexGuard, mpsc},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::runtime::{
    ExecuteError, Invocation, ProcessEnvironment, TaskInstance,
    answer::{Answer, Answered},
    claimed::{ClaimedRun, ClaimedRunResult, run_claimed},
    context::RunLease,
    erased::BoxFuture,
    limits::time_left,
    log,
    process::{RECORDING, applied},
    record::{initial_record, store},
    shutdown,
};

/// The time for the last response to leave the process before it exits.
const RESPONSE_GRACE: Duration = Duration::from_millis(50);

/// The functions of this module that a queue task's process calls, as pointers: a binary without them does not link their
/// code.
#[derive(Clone, Copy)]
pub(crate) struct JobHandlers {
    /// See [`process_messages`].
    pub process_messages: ProcessMessages,
    /// See [`attempt_jobs`].
    pub attempt_jobs: AttemptJobs,
}

type ProcessMessages = for<'a> fn(
    &'a TaskInstance,
    Invocation,
    &'a ProcessEnvironment,
) -> BoxFuture<'a, Result<Answered, ExecuteError>>;
type AttemptJobs = fn(
    Arc<TaskInstance>,
    Invocation,
    Arc<ProcessEnvironment>,
    OwnedMutexGuard<()>,
) -> BoxFuture<'static, Result<FunctionResponse<Answer, Body>, ExecuteError>>;

impl JobHandlers {
    pub(crate) const ALL: Self = Self {
        process_messages: |task, invocation, process| Box::pin(process_messages(task, invocation, process)),
        attempt_jobs: |task, invocation, process, turn| {
            Box::pin(attempt_jobs(task, invocation, process, turn))
        },
    };
}

/// An SQS message in Lambda's event.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "messageId")]
    id: String,
    #[serde(rename = "receiptHandle")]
    receipt: String,
    body: String,
}

/// Returns whether the payload is a batch of SQS messages.
pub(crate) fn is_message_batch(payload: &Value) -> bool {
    payload.get("Records").is_some_and(Value::is_array)
}

/// Processes the jobs of a batch of messages one after the other, and returns the messages that SQS must redeliver:
///
/// - messages whose job waits for a retry or is held by another worker, after the matching pause;
/// - messages for which no time is left, at once;
/// - messages that name no job, until SQS moves them to the dead-letter queue.
async fn process_messages(
    task: &TaskInstance,
    invocation: Invocation,
    process: &ProcessEnvironment,
) -> Result<Answered, ExecuteError> {
    let declared = task.definition()?;
    let definition = applied(&process.settings(declared), declared);
    let jobs = process.jobs(definition.retention).await;
    let messages = invocation.payload["Records"].as_array().cloned().unwrap_or_default();
    let (mut failed, mut stuck) = (Vec::new(), false);
    for (place, message) in messages.into_iter().enumerate() {
        let id = message["messageId"].clone();
        let message: Message = match serde_json::from_value(message) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!("malformed SQS message: {error}");
                failed.push(id);
                continue;
            }
        };
        // SQS deletes every message that is not reported as failed.
        let Some(jobs) = &jobs else {
            failed.push(id);
            continue;
        };
        if stuck || (place > 0 && time_left(invocation.deadline) < definition.timeout) {
            hold_back(jobs, &definition, &message, Duration::ZERO).await;
            failed.push(id);
            continue;
        }
        let result = process_message(task, declared, &definition, &message, &invocation, jobs, process).await;
        match result {
            Ok(MessageResult { redeliver_after, stuck: is_stuck }) => {
                if let Some(pause) = redeliver_after {
                    hold_back(jobs, &definition, &message, pause).await;
                    failed.push(json!(message.id));
                }
                stuck |= is_stuck;
            }
            Err(why) => {
                tracing::error!("message {}: {why}", message.id);
                failed.push(json!(message.id));
            }
        }
        log::over();
    }
    let failures: Vec<_> = failed.into_iter().map(|id| json!({ "itemIdentifier": id })).collect();
    Ok(Answered { payload: json!({ "batchItemFailures": failures }), failed: None, stuck })
}

/// The result of a message.
struct MessageResult {
    /// The pause before its redelivery, or `None` to delete it.
    redeliver_after: Option<Duration>,
    stuck: bool,
}

async fn process_message(
    task: &TaskInstance,
    declared: &Definition,
    definition: &Definition,
    message: &Message,
    invocation: &Invocation,
    jobs: &Jobs,
    process: &ProcessEnvironment,
) -> Result<MessageResult, String> {
    let expected = "expected an object with the `task` and `run_id` of a job";
    let key: JobKey = serde_json::from_str(&message.body).map_err(|error| format!("{error}; {expected}"))?;
    if key.task != definition.name {
        return Err(format!("it names task `{}`, but this is the queue of `{}`", key.task, definition.name));
    }
    let until_at_most = invocation.deadline.saturating_add(SKEW_MARGIN).unwrap_or(Timestamp::MAX);
    // The record names the invocation that holds the job.
    let worker = Worker::new(until_at_most, definition.retry).of(&invocation.holder);
    let mut stuck = false;
    let attempt = async |job: &Job| {
        let (tried, is_stuck) =
            attempt(task, declared, job, false, invocation, Some(jobs.table()), process).await;
        stuck = is_stuck;
        tried
    };
    let carried =
        jobs.process(&key, &worker, attempt).await.map_err(|error: TableError| error.to_string())?;
    let wait = |at: Timestamp| Some(time_left(at));
    let redeliver_after = match carried {
        JobOutcome::Over(run) => {
            log::end(&run);
            None
        }
        JobOutcome::Again { pause, run } => {
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                pause_ms,
                "attempt {} failed and will be retried: {}",
                run.fencing_token,
                run.reason().unwrap_or_default()
            );
            Some(pause)
        }
        JobOutcome::Refused(Refusal::Running { until: at } | Refusal::NotBefore { until: at }) => wait(at),
        // The wake-up of this job sends a message of its own, as does its next dependency check.
        JobOutcome::Refused(Refusal::Waits | Refusal::Full { .. }) => None,
        // Another worker took the job over, or a write succeeded but its response was lost: the redelivery checks.
        JobOutcome::Lost => Some(Duration::ZERO),
        JobOutcome::Unknown => return Err(format!("job {key} does not exist")),
    };
    Ok(MessageResult { redeliver_after, stuck })
}

async fn hold_back(jobs: &Jobs, definition: &Definition, message: &Message, pause: Duration) {
    if let Err(error) = jobs.hold_back(&definition.name, &message.receipt, pause).await {
        tracing::warn!(
            "cannot change the message's visibility timeout; it is redelivered when the current one ends: {error}"
        );
    }
}

/// Attempts the jobs that a runner has started, one after the other, and responds with their results.
///
/// If an attempt takes long, the response starts with the results so far and returns the jobs that have not begun; the
/// result of the long attempt follows in the same response. `turn` is released after the last attempt.
async fn attempt_jobs(
    task: Arc<TaskInstance>,
    mut invocation: Invocation,
    process: Arc<ProcessEnvironment>,
    turn: OwnedMutexGuard<()>,
) -> Result<FunctionResponse<Answer, Body>, ExecuteError> {
    let declared = task.definition()?.clone();
    let malformed = |error: serde_json::Error| InvalidEnvelope::Malformed(error.to_string());
    let Attempts { jobs } = serde_json::from_value(invocation.payload.take()).map_err(malformed)?;
    let is_alone = jobs.len() == 1;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let is_stuck = Box::pin(attempt_all(&task, &declared, jobs, &invocation, &process, sender)).await;
        log::over();
        if is_stuck {
            // The result is being sent; only the end of the process stops the body.
            sleep(RESPONSE_GRACE).await;
            std::process::exit(1);
        }
        drop(turn);
    });
    let mut results = Vec::new();
    let is_over = async {
        while let Some(next) = receiver.recv().await {
            results.push(next);
        }
    };
    if is_alone {
        is_over.await;
    } else if timeout(PATIENCE, is_over).await.is_err() {
        return Ok(FunctionResponse::StreamingResponse(lines(results, receiver).into()));
    }
    Ok(FunctionResponse::BufferedResponse(Answer::JobResults(results)))
}

/// Streams these results and all further ones, one JSON object per line.
fn lines(results: Vec<AttemptReport>, mut receiver: mpsc::UnboundedReceiver<AttemptReport>) -> Body {
    let (mut lines, answer) = streaming::channel();
    tokio::spawn(async move {
        let text: Vec<u8> = results.iter().flat_map(line).collect();
        let mut is_open = lines.send_data(text.into()).await.is_ok();
        while is_open && let Some(next) = receiver.recv().await {
            is_open = lines.send_data(line(&next).into()).await.is_ok();
        }
    });
    answer
}

fn line(result: &AttemptReport) -> Vec<u8> {
    let mut line = serde_json::to_vec(result).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Attempts all jobs, and sends their results. Returns whether a body is stuck.
async fn attempt_all(
    task: &TaskInstance,
    declared: &Definition,
    jobs: Vec<StartedJob>,
    invocation: &Invocation,
    process: &ProcessEnvironment,
    sender: mpsc::UnboundedSender<AttemptReport>,
) -> bool {
    let table = process.table(declared.retention).await;
    let patience = Instant::now() + PATIENCE;
    let mut jobs = VecDeque::from(jobs);
    while let Some(StartedJob { run_id, fencing_token, arguments, large }) = jobs.pop_front() {
        let began = Instant::now();
        let job = Job { arguments, fencing_token, large, ..Job::begun(run_id, declared.name.clone()) };
        let attempt = attempt(task, declared, &job, true, invocation, table.as_ref(), process);
        tokio::pin!(attempt);
        let (tried, is_stuck) = tokio::select! {
            biased;
            tried = &mut attempt => tried,
            () = sleep_until(patience) => {
                return_unstarted(&mut jobs, &sender);
                attempt.await
            }
        };
        log::end(&tried.run);
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let _ = sender.send(AttemptReport::Attempted { tried: Box::new(tried), took_us });
        if is_stuck {
            return true;
        }
        // The shutdown has cancelled the current job only. Jobs that have not begun are returned.
        if shutdown::is_stop_requested() {
            return_unstarted(&mut jobs, &sender);
        }
    }
    false
}

/// Returns the jobs that have not begun to the runner.
fn return_unstarted(jobs: &mut VecDeque<StartedJob>, sender: &mpsc::UnboundedSender<AttemptReport>) {
    if let Some(StartedJob { run_id, .. }) = jobs.front() {
        let _ = sender.send(AttemptReport::GivenBack { from: *run_id });
    }
    jobs.clear();
}

/// Makes one attempt at a job. Returns its result, and whether the body is stuck.
async fn attempt(
    task: &TaskInstance,
    declared: &Definition,
    job: &Job,
    in_runner: bool,
    invocation: &Invocation,
    table: Option<&Table>,
    process: &ProcessEnvironment,
) -> (AttemptOutcome, bool) {
    let now = Timestamp::now();
    let request = Request {
        run_id: job.id,
        holder: invocation.holder.clone(),
        trigger: Trigger::Queue,
        occasion: Occasion::Manual,
        overlap: Overlap::Allow,
        runs_once: false,
        now,
        until: invocation.deadline,
    };
    let arguments = match table {
        Some(table) => table.arguments_of(job).await,
        None => Ok(job.arguments.clone()),
    };
    let envelope = Envelope {
        run_id: Some(job.id),
        retry_of: job.retry_of,
        arguments: arguments.as_ref().cloned().unwrap_or_default(),
        ..Envelope::of(Trigger::Queue)
    };
    log::begin(request.run_id, request.trigger);
    // The job's record already has the arguments.
    let mut run = Run { arguments: Value::Null, ..initial_record(declared, &envelope, &request, process) };
    if let Err(error) = arguments {
        let error =
            Some(RunError::new(ErrorKind::System, format!("cannot read the job's arguments: {error}")));
        return (
            AttemptOutcome { run: Run { status: Status::Failed, error, ..run }, retryable: true },
            false,
        );
    }
    let claimed = ClaimedRun {
        settings: process.settings(declared),
        declared,
        envelope: &envelope,
        request: &request,
        lease: RunLease::Job { fencing_token: job.fencing_token, in_runner },
        process_ends: invocation.deadline,
        table,
        process,
    };
    let ClaimedRunResult { retryable, stuck, .. } = run_claimed(task, claimed, &mut run).await;
    if let Some(table) = table {
        let latest = invocation.deadline.saturating_sub(RECORDING).unwrap_or(Timestamp::MIN);
        run = store(table, run, latest).await;
    }
    (AttemptOutcome { run, retryable }, stuck)
}
