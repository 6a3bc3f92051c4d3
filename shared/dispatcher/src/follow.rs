//! One task's run: started under its fixed id, and followed to its record.
//!
//! The record in the table is the truth. A response only says when to look, and a lost one costs nothing: the claim
//! lets one body run for one id, so a run may be asked for again whenever it is not known whether it began.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::{
    functions::{FunctionFailure, Functions, InvokeError, Response},
    table::{Recorded, Seen, Table, TableError},
};
use lamplighter_core::{
    claim::{Lost, Refusal},
    deployment::{Deployment, TaskEntry, shortened},
    envelope::{Envelope, Report},
    id::RunId,
    name::TaskName,
    reason::Reason,
    run::{Run, Trigger},
    status::Status,
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// How long an invocation that the service refuses is tried again: new roles take seconds to be known everywhere.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// The first pause before a run is asked for again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// When a run is first looked at although no response has come.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// When an invocation that has begun nothing is given up, and made again. A process starts within seconds.
const BEGIN_WITHIN: Duration = Duration::from_secs(20);
/// When a run that somebody else has begun is first looked at.
const NEXT_LOOK: Duration = Duration::from_millis(250);
/// The longest pause between two looks, or two invocations.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The most that a ledger keeps of a task's message, and of its data, in bytes. The whole is in the run's record: an
/// answer has no room for more, and an entry with all of its tasks must fit one item.
const MAX_TOLD: usize = 1024;

/// How a run of a deployment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its status.
    pub status: Status,
    /// What it said of its success, or why it did not complete.
    pub message: Option<String>,
    /// What it returned, as JSON text, if that is short.
    pub data: Option<String>,
}

/// What a response tells of a run.
enum Told {
    /// It is over, or it never was: look at the record, and if there is none it ended without one, for this reason.
    Look(Option<Failure>),
    /// Somebody switched the task off.
    Disabled,
    /// Another invocation has begun it.
    Running,
    /// The task is held by another run; ask again.
    Later,
}

/// How a run failed that could not say so itself.
struct Failure {
    status: Status,
    reason: Reason,
}

/// Runs a task of a deployment and returns how it ended. It returns only once the run has a terminal record, or was
/// kept out by a switch, so it may take as long as a run may.
pub async fn follow(
    table: &Table,
    functions: &Functions,
    task: &TaskEntry,
    deployment: &Deployment,
    trigger: Trigger,
) -> Result<Ended, TableError> {
    let envelope =
        Envelope { run_id: Some(task.run_id), deployment: Some(deployment.clone()), ..Envelope::of(trigger) };
    let payload = serde_json::to_value(&envelope).unwrap_or(Value::Null);
    let mut pause = FIRST_PAUSE;
    let mut refused_since = None;
    loop {
        let sent = Timestamp::now();
        let invoked = tokio::select! {
            invoked = functions.invoke(&task.function, &payload) => invoked,
            watched = watch_begin(table, task) => {
                if let Some(run) = watched? {
                    return Ok(ended(&run));
                }
                let (name, seconds) = (task.name.as_str(), BEGIN_WITHIN.as_secs());
                tracing::warn!(task = name, "asking again: nothing has begun within {seconds} s");
                continue;
            }
        };
        let told = match invoked {
            Ok(response) => {
                refused_since = None;
                told_by(response)
            }
            // It may have begun or not. If it has, the table shows it; if not, it is safe to ask again.
            Err(error) => match table.look(&task.name, task.run_id, Timestamp::now()).await? {
                Seen::Over(run) => return Ok(ended(&run)),
                Seen::Held(_) => Told::Running,
                Seen::Nowhere if refused_since.get_or_insert_with(Instant::now).elapsed() > REFUSED_FOR => {
                    Told::Look(Some(Failure::not_started(&error)))
                }
                Seen::Nowhere => {
                    tracing::warn!(task = task.name.as_str(), "asking again: {error}");
                    Told::Later
                }
            },
        };
        match told {
            Told::Disabled => {
                return Ok(Ended { status: Status::Skipped, message: Some("disabled".into()), data: None });
            }
            Told::Look(failure) => {
                let run = match (table.look(&task.name, task.run_id, Timestamp::now()).await?, failure) {
                    (Seen::Over(run), _) => *run,
                    (Seen::Held(held), Some(failure)) if held.lease.started_at >= sent => {
                        end(table, task, deployment, &held, &failure).await?
                    }
                    // The invocation that failed is not the one that has begun the run.
                    (Seen::Held(_), _) => watch(table, task, NEXT_LOOK).await?,
                    (Seen::Nowhere, failure) => {
                        let failure = match failure {
                            Some(failure) => failure,
                            None => Failure::unrecorded(table, task, deployment).await?,
                        };
                        write_down(table, task, deployment, trigger, &failure).await?
                    }
                };
                return Ok(ended(&run));
            }
            Told::Running => return Ok(ended(&watch(table, task, NEXT_LOOK).await?)),
            Told::Later => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn told_by(response: Response) -> Told {
    let report = match response {
        Response::Failed(failure) => return Told::Look(Some(Failure::of(&failure))),
        Response::Returned(value) => serde_json::from_value::<Report>(value),
    };
    match report.map(|report| report.refused) {
        // Only a time makes a task ask whether it is due.
        Ok(None | Some(Refusal::AlreadyRan { .. } | Refusal::NotDue)) => Told::Look(None),
        Ok(Some(Refusal::Disabled)) => Told::Disabled,
        Ok(Some(Refusal::AlreadyRunning { .. })) => Told::Running,
        Ok(Some(Refusal::PreviousInstanceRunning { .. })) => Told::Later,
        Err(error) => Told::Look(Some(Failure::stranger(&error))),
    }
}

/// As [`watch`], for a run that is asked for. Nothing if the table shows after [`BEGIN_WITHIN`] that it has not begun: then
/// its invocation may have been lost, and asking again is safe.
async fn watch_begin(table: &Table, task: &TaskEntry) -> Result<Option<Run>, TableError> {
    let (began, mut pause) = (Instant::now(), FIRST_LOOK);
    loop {
        sleep(pause).await;
        match table.look(&task.name, task.run_id, Timestamp::now()).await? {
            Seen::Over(run) => return Ok(Some(*run)),
            Seen::Held(_) => return watch(table, task, NEXT_LOOK).await.map(Some),
            Seen::Nowhere if began.elapsed() >= BEGIN_WITHIN => return Ok(None),
            Seen::Nowhere => {
                pause = (pause * 2).min(BEGIN_WITHIN.saturating_sub(began.elapsed()).max(NEXT_LOOK));
            }
        }
    }
}

/// Looks at the run from time to time until it is over: its response may never come.
pub async fn watch(table: &Table, task: &TaskEntry, first: Duration) -> Result<Run, TableError> {
    let mut pause = first;
    loop {
        sleep(pause).await;
        if let Seen::Over(run) = table.look(&task.name, task.run_id, Timestamp::now()).await? {
            return Ok(*run);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Ends a run whose function is known to have failed while it held its task.
async fn end(
    table: &Table,
    task: &TaskEntry,
    deployment: &Deployment,
    held: &Lost,
    failure: &Failure,
) -> Result<Run, TableError> {
    let run = Run {
        status: failure.status,
        deployment: Some(deployment.clone()),
        environment: table.environment().to_owned(),
        ..held.run(&task.name, Timestamp::now()).because(failure.reason.clone())
    };
    Ok(standing(table.finish(&run, held.hold).await?, run))
}

/// Writes the record of a run that failed before its task was claimed, unless that has happened after all.
async fn write_down(
    table: &Table,
    task: &TaskEntry,
    deployment: &Deployment,
    trigger: Trigger,
    failure: &Failure,
) -> Result<Run, TableError> {
    if !table.prevent_start(&task.name, deployment).await? {
        match table.look(&task.name, task.run_id, Timestamp::now()).await? {
            Seen::Over(run) => return Ok(*run),
            Seen::Held(_) => return watch(table, task, NEXT_LOOK).await,
            Seen::Nowhere => {}
        }
    }
    let unstarted = unstarted(table, &task.name, task.run_id, deployment, trigger, failure.status);
    let run = unstarted.because(failure.reason.clone());
    Ok(standing(table.record(&run).await?, run))
}

/// The record that stands for a run after `run` was to be written.
pub fn standing(recorded: Recorded, run: Run) -> Run {
    match recorded {
        Recorded::Written => run,
        Recorded::Before(stands) => *stands,
    }
}

/// The record of a run whose body did not start.
pub fn unstarted(
    table: &Table,
    task: &TaskName,
    run_id: RunId,
    deployment: &Deployment,
    trigger: Trigger,
    status: Status,
) -> Run {
    Run {
        status,
        deployment: Some(deployment.clone()),
        environment: table.environment().to_owned(),
        ..Run::begun(run_id, task.clone(), trigger, Timestamp::now())
    }
}

impl Failure {
    /// The function's process failed.
    fn of(failure: &FunctionFailure) -> Self {
        let status = if failure.is_timeout() { Status::Timeout } else { Status::Failed };
        Self { status, reason: Reason::of_function(failure, failure.is_timeout()) }
    }

    /// The function was not reached for as long as it was tried.
    fn not_started(error: &InvokeError) -> Self {
        Self { status: Status::Failed, reason: Reason::not_started(error) }
    }

    /// The function is there, and is no task.
    fn stranger(error: &serde_json::Error) -> Self {
        Self { status: Status::Failed, reason: Reason::not_a_task(error) }
    }

    /// The function calls a run over that has no record: a later deployment's run has taken its place, or the record is
    /// gone.
    async fn unrecorded(
        table: &Table,
        task: &TaskEntry,
        deployment: &Deployment,
    ) -> Result<Self, TableError> {
        let state = table.state(&task.name).await?;
        let newest = state.last_deployments.get(&deployment.ledger);
        let reason = if newest.is_some_and(|newest| *newest > deployment.entry) {
            Reason::LaterDeploymentRan
        } else {
            Reason::Unrecorded
        };
        Ok(Self { status: Status::Failed, reason })
    }
}

fn ended(run: &Run) -> Ended {
    let told = match (&run.error, run.attempts.len()) {
        (Some(error), tried) => {
            let attempt = if tried > 0 { format!(", attempt {tried}") } else { String::new() };
            let message = shortened(&error.message, MAX_TOLD);
            Some(format!("{message} [{} error{attempt}]", error.kind))
        }
        (None, _) => run.message.as_ref().or(run.skipped_reason.as_ref()).map(|it| shortened(it, MAX_TOLD)),
    };
    let data = run.data.as_ref().map(Value::to_string).filter(|data| data.len() <= MAX_TOLD);
    Ended { status: run.status, message: told, data }
}
