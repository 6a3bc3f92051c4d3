//! Jobs in a task's process: a batch of messages from SQS, or jobs that a runner has started.
//!
//! In Lambda the function does it all; under a runner that has the outer half of the pipeline, and the function the inner
//! one. Each start makes one attempt.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use lambda_runtime::{
    FunctionResponse,
    streaming::{self, Body},
};
use lamplighter_aws::{
    jobs::{Carried, Jobs, Worker},
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

use crate::{
    ExecuteError, Hosted, Invocation, Task,
    context::{Held, until},
    ending,
    entry::{Answer, Answered},
    execute::{Claimed, Edges, Made, RECORDING, applied, make},
    log,
    record::{begun, store},
};

/// How long the last answer of a process has for its way.
const FALLBACK: Duration = Duration::from_millis(50);

/// A message as Lambda hands it over.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "messageId")]
    id: String,
    #[serde(rename = "receiptHandle")]
    receipt: String,
    body: String,
}

/// Whether a payload is a batch of messages.
pub(crate) fn are_messages(payload: &Value) -> bool {
    payload.get("Records").is_some_and(Value::is_array)
}

/// Carries the jobs of a batch of messages, one after the other, and answers which messages are to come again: those whose
/// job waits for another attempt or is with another worker, those for which there is no time left, at once, and those that
/// say nothing of a job, until SQS takes them to the dead letters.
pub(crate) async fn take_messages<T: Task>(
    task: &Arc<Hosted<T>>,
    invocation: Invocation,
    edges: &Edges,
) -> Result<Answered, ExecuteError> {
    let declared = task.declared()?;
    let definition = applied(&edges.settings(declared), declared);
    let jobs = edges.jobs(definition.retention).await;
    let messages = invocation.payload["Records"].as_array().cloned().unwrap_or_default();
    let (mut failed, mut stuck) = (Vec::new(), false);
    for (place, message) in messages.into_iter().enumerate() {
        let id = message["messageId"].clone();
        let message: Message = match serde_json::from_value(message) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!("a message is none of SQS: {error}");
                failed.push(id);
                continue;
            }
        };
        // A message that is not reported is deleted, so whatever is left undone is.
        let Some(jobs) = &jobs else {
            failed.push(id);
            continue;
        };
        if stuck || (place > 0 && until(invocation.deadline) < definition.timeout) {
            hold_back(jobs, &definition, &message, Duration::ZERO).await;
            failed.push(id);
            continue;
        }
        let taken = take(task, declared, &definition, &message, &invocation, jobs, edges).await;
        match taken {
            Ok(Taken { again, stuck: is_stuck }) => {
                if let Some(pause) = again {
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

/// What became of a message.
struct Taken {
    /// After how long it is to come again, if it is.
    again: Option<Duration>,
    stuck: bool,
}

async fn take<T: Task>(
    task: &Arc<Hosted<T>>,
    declared: &Definition,
    definition: &Definition,
    message: &Message,
    invocation: &Invocation,
    jobs: &Jobs,
    edges: &Edges,
) -> Result<Taken, String> {
    let ours = "it must be an object with the `task` and the `run_id` of a job";
    let key: JobKey = serde_json::from_str(&message.body).map_err(|error| format!("{error}: {ours}"))?;
    if key.task != definition.name {
        return Err(format!("it is for task `{}`, and this is the queue of `{}`", key.task, definition.name));
    }
    let until_at_most = invocation.deadline.saturating_add(SKEW_MARGIN).unwrap_or(Timestamp::MAX);
    // Whoever reads the record learns which invocation has the job.
    let worker = Worker::new(until_at_most, definition.retry).of(&invocation.holder);
    let mut stuck = false;
    let attempt = async |job: &Job| {
        let (tried, is_stuck) =
            attempt(task, declared, job, false, invocation, Some(jobs.table()), edges).await;
        stuck = is_stuck;
        tried
    };
    let carried = jobs.carry(&key, &worker, attempt).await.map_err(|error: TableError| error.to_string())?;
    let wait = |at: Timestamp| Some(until(at));
    let again = match carried {
        Carried::Over(run) => {
            log::end(&run);
            None
        }
        Carried::Again { pause, run } => {
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                pause_ms,
                "attempt {} failed, another follows: {}",
                run.fencing_token,
                run.reason().unwrap_or_default()
            );
            Some(pause)
        }
        Carried::Refused(Refusal::Running { until: at } | Refusal::NotBefore { until: at }) => wait(at),
        // Whoever wakes it sends a message of its own, and so was one sent to look again.
        Carried::Refused(Refusal::Waits | Refusal::Full { .. }) => None,
        // Somebody took it over, or gave it back with a write whose response was lost: another look tells.
        Carried::Lost => Some(Duration::ZERO),
        Carried::Unknown => return Err(format!("there is no job {key}")),
    };
    Ok(Taken { again, stuck })
}

async fn hold_back(jobs: &Jobs, definition: &Definition, message: &Message, pause: Duration) {
    if let Err(error) = jobs.hold_back(&definition.name, &message.receipt, pause).await {
        tracing::warn!("the message comes again when its visibility ends: {error}");
    }
}

/// Makes the attempts at jobs that a runner has started, one after the other, and answers what came of them. Jobs that
/// would have to wait for a long attempt are given back, with what came of those before it, and the answer to that one
/// follows. The turn is over with the last of them.
pub(crate) async fn attempt_started<T: Task>(
    task: Arc<Hosted<T>>,
    mut invocation: Invocation,
    edges: Arc<Edges>,
    turn: OwnedMutexGuard<()>,
) -> Result<FunctionResponse<Answer, Body>, ExecuteError> {
    let declared = task.declared()?.clone();
    let malformed = |error: serde_json::Error| InvalidEnvelope::Malformed(error.to_string());
    let Attempts { jobs } = serde_json::from_value(invocation.payload.take()).map_err(malformed)?;
    let is_alone = jobs.len() == 1;
    let (teller, mut heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let is_stuck = Box::pin(attempt_all(&task, &declared, jobs, &invocation, &edges, teller)).await;
        log::over();
        if is_stuck {
            // What came of it is on its way; only the end of the process stops the body.
            sleep(FALLBACK).await;
            std::process::exit(1);
        }
        drop(turn);
    });
    let mut told = Vec::new();
    let is_over = async {
        while let Some(next) = heard.recv().await {
            told.push(next);
        }
    };
    if is_alone {
        is_over.await;
    } else if timeout(PATIENCE, is_over).await.is_err() {
        return Ok(FunctionResponse::StreamingResponse(lines(told, heard).into()));
    }
    Ok(FunctionResponse::BufferedResponse(Answer::Reports(told)))
}

/// What was told and what will be, in lines.
fn lines(told: Vec<AttemptReport>, mut heard: mpsc::UnboundedReceiver<AttemptReport>) -> Body {
    let (mut lines, answer) = streaming::channel();
    tokio::spawn(async move {
        let text: Vec<u8> = told.iter().flat_map(line).collect();
        let mut is_heard = lines.send_data(text.into()).await.is_ok();
        while is_heard && let Some(next) = heard.recv().await {
            is_heard = lines.send_data(line(&next).into()).await.is_ok();
        }
    });
    answer
}

fn line(told: &AttemptReport) -> Vec<u8> {
    let mut line = serde_json::to_vec(told).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Returns whether a body is stuck. Nobody but the process's end stops listening.
async fn attempt_all<T: Task>(
    task: &Arc<Hosted<T>>,
    declared: &Definition,
    jobs: Vec<StartedJob>,
    invocation: &Invocation,
    edges: &Edges,
    teller: mpsc::UnboundedSender<AttemptReport>,
) -> bool {
    let table = edges.table(declared.retention).await;
    let patience = Instant::now() + PATIENCE;
    let mut jobs = VecDeque::from(jobs);
    while let Some(StartedJob { run_id, fencing_token, arguments, large }) = jobs.pop_front() {
        let began = Instant::now();
        let job = Job { arguments, fencing_token, large, ..Job::begun(run_id, declared.name.clone()) };
        let attempt = attempt(task, declared, &job, true, invocation, table.as_ref(), edges);
        tokio::pin!(attempt);
        let (tried, is_stuck) = tokio::select! {
            biased;
            tried = &mut attempt => tried,
            () = sleep_until(patience) => {
                give_back(&mut jobs, &teller);
                attempt.await
            }
        };
        log::end(&tried.run);
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let _ = teller.send(AttemptReport::Attempted { tried: Box::new(tried), took_us });
        if is_stuck {
            return true;
        }
        // The one that is cancelled by the process's end has been told of; what is not begun is none of its.
        if ending::is_asked() {
            give_back(&mut jobs, &teller);
        }
    }
    false
}

/// Gives back what has not begun, if anything.
fn give_back(jobs: &mut VecDeque<StartedJob>, teller: &mpsc::UnboundedSender<AttemptReport>) {
    if let Some(StartedJob { run_id, .. }) = jobs.front() {
        let _ = teller.send(AttemptReport::GivenBack { from: *run_id });
    }
    jobs.clear();
}

/// Makes one attempt at a job.
async fn attempt<T: Task>(
    task: &Arc<Hosted<T>>,
    declared: &Definition,
    job: &Job,
    in_runner: bool,
    invocation: &Invocation,
    table: Option<&Table>,
    edges: &Edges,
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
    // The arguments stand in the job's record already.
    let mut run = Run { arguments: Value::Null, ..begun(declared, &envelope, &request, edges) };
    if let Err(error) = arguments {
        let error = Some(RunError::new(ErrorKind::System, format!("the job's arguments: {error}")));
        return (
            AttemptOutcome { run: Run { status: Status::Failed, error, ..run }, retryable: true },
            false,
        );
    }
    let claimed = Claimed {
        settings: edges.settings(declared),
        declared,
        envelope: &envelope,
        request: &request,
        held: Held::Job { fencing_token: job.fencing_token, in_runner },
        process_ends: invocation.deadline,
        table,
        edges,
    };
    let Made { retryable, stuck, .. } = make(task, claimed, &mut run).await;
    if let Some(table) = table {
        let latest = invocation.deadline.saturating_sub(RECORDING).unwrap_or(Timestamp::MIN);
        run = store(table, run, latest).await;
    }
    (AttemptOutcome { run, retryable }, stuck)
}
