//! Starts one task's run under its fixed id, and follows it to its record.
//!
//! The outcome is always read from the table; a response only shortens the wait. A lost response does no harm. The claim
//! lets only one body run for an id, so the function can be invoked again whenever a run's start is uncertain.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::{
    functions::{FunctionFailure, Functions, InvokeError, Response},
    table::{Recorded, Seen, Table, TableError},
};
use lamplighter_core::{
    backoff::Backoff,
    claim::{LostRun, Refusal},
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

/// The time for which a refused invocation is retried. New roles take seconds to take effect everywhere.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// The first pause between two invocations.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The time after which a run without a response is first looked up.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// The time after which an invocation that has started nothing is repeated. A process starts within seconds.
const BEGIN_WITHIN: Duration = Duration::from_secs(20);
/// The time after which a run of another invocation is first looked up.
const NEXT_LOOK: Duration = Duration::from_millis(250);
/// The longest pause between two lookups or two invocations.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The most bytes that the ledger keeps of a task's message, and of its data. Neither an answer nor the entry's item has
/// room for more. The run's record has both in full.
const MAX_IN_LEDGER: usize = 1024;

/// The outcome of a deployment's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskOutcome {
    /// Its status.
    pub status: Status,
    /// Its message, or the reason why it did not complete.
    pub message: Option<String>,
    /// Its data as JSON text, if that is at most 1024 bytes.
    pub data: Option<String>,
}

/// The state of a run as an invocation shows it.
enum RunState {
    /// It is over or never started. Its record decides; without one it failed for this reason.
    Over(Option<RunFailure>),
    /// The task is disabled.
    Disabled,
    /// Another invocation has started it.
    Running,
    /// The task is held by another run, or the invocation failed. Invoke it again later.
    NotStarted,
}

/// The failure of a run that left no record itself.
struct RunFailure {
    status: Status,
    reason: Reason,
}

/// Runs a task of a deployment and returns its outcome. Returns once the run has a terminal record or the task is found
/// disabled, so it can take as long as a run.
pub async fn follow(
    table: &Table,
    functions: &Functions,
    task: &TaskEntry,
    deployment: &Deployment,
    trigger: Trigger,
) -> Result<TaskOutcome, TableError> {
    let envelope =
        Envelope { run_id: Some(task.run_id), deployment: Some(deployment.clone()), ..Envelope::of(trigger) };
    let payload = serde_json::to_value(&envelope).unwrap_or(Value::Null);
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut refused_since = None;
    loop {
        let sent = Timestamp::now();
        let invoked = tokio::select! {
            invoked = functions.invoke(&task.function, &payload) => invoked,
            watched = watch_begin(table, task) => {
                if let Some(run) = watched? {
                    return Ok(outcome(&run));
                }
                let (name, seconds) = (task.name.as_str(), BEGIN_WITHIN.as_secs());
                tracing::warn!(task = name, "invoking {name} again: nothing has started within {seconds} s");
                continue;
            }
        };
        let state = match invoked {
            Ok(response) => {
                refused_since = None;
                run_state(response)
            }
            // The run may have started. If it has, the table shows it; if not, invoking again is safe.
            Err(error) => match table.look(&task.name, task.run_id, Timestamp::now()).await? {
                Seen::Over(run) => return Ok(outcome(&run)),
                Seen::Held(_) => RunState::Running,
                Seen::Nowhere if refused_since.get_or_insert_with(Instant::now).elapsed() > REFUSED_FOR => {
                    RunState::Over(Some(RunFailure::not_started(&error)))
                }
                Seen::Nowhere => {
                    tracing::warn!(task = task.name.as_str(), "invoking again: {error}");
                    RunState::NotStarted
                }
            },
        };
        match state {
            RunState::Disabled => {
                return Ok(TaskOutcome {
                    status: Status::Skipped,
                    message: Some("disabled".into()),
                    data: None,
                });
            }
            RunState::Over(failure) => {
                let run = match (table.look(&task.name, task.run_id, Timestamp::now()).await?, failure) {
                    (Seen::Over(run), _) => *run,
                    (Seen::Held(held), Some(failure)) if held.lease.started_at >= sent => {
                        end(table, task, deployment, &held, &failure).await?
                    }
                    // Another invocation than the failed one has started the run.
                    (Seen::Held(_), _) => watch(table, task, NEXT_LOOK).await?,
                    (Seen::Nowhere, failure) => {
                        let failure = match failure {
                            Some(failure) => failure,
                            None => RunFailure::unrecorded(table, task, deployment).await?,
                        };
                        record_failure(table, task, deployment, trigger, &failure).await?
                    }
                };
                return Ok(outcome(&run));
            }
            RunState::Running => return Ok(outcome(&watch(table, task, NEXT_LOOK).await?)),
            RunState::NotStarted => {}
        }
        sleep(backoff.pause()).await;
    }
}

fn run_state(response: Response) -> RunState {
    let report = match response {
        Response::Failed(failure) => return RunState::Over(Some(RunFailure::of(&failure))),
        Response::Returned(value) => serde_json::from_value::<Report>(value),
    };
    match report.map(|report| report.refused) {
        // `NotDue` cannot occur: only an invocation with a tick makes a task check its schedule.
        Ok(None | Some(Refusal::AlreadyRan { .. } | Refusal::NotDue)) => RunState::Over(None),
        Ok(Some(Refusal::Disabled)) => RunState::Disabled,
        Ok(Some(Refusal::AlreadyRunning { .. })) => RunState::Running,
        Ok(Some(Refusal::PreviousInstanceRunning { .. })) => RunState::NotStarted,
        Err(error) => RunState::Over(Some(RunFailure::not_a_task(&error))),
    }
}

/// Like [`watch`], for a run whose invocation is in flight. Returns `None` if the run has not started after
/// [`BEGIN_WITHIN`]. Its invocation may be lost then, and invoking again is safe.
async fn watch_begin(table: &Table, task: &TaskEntry) -> Result<Option<Run>, TableError> {
    let (began, mut backoff) = (Instant::now(), Backoff::new(FIRST_LOOK, BEGIN_WITHIN));
    loop {
        // The last look is at the end of the time, and not much later.
        let left = BEGIN_WITHIN.saturating_sub(began.elapsed()).max(NEXT_LOOK);
        sleep(backoff.pause().min(left)).await;
        match table.look(&task.name, task.run_id, Timestamp::now()).await? {
            Seen::Over(run) => return Ok(Some(*run)),
            Seen::Held(_) => return watch(table, task, NEXT_LOOK).await.map(Some),
            Seen::Nowhere if began.elapsed() >= BEGIN_WITHIN => return Ok(None),
            Seen::Nowhere => {}
        }
    }
}

/// Follows a run until it has ended. It does not depend on a response.
pub async fn watch(table: &Table, task: &TaskEntry, first: Duration) -> Result<Run, TableError> {
    table.follow_run(&task.name, task.run_id, Backoff::new(first, LONGEST_PAUSE)).await
}

/// Ends a run whose function failed while it held the task's lease.
async fn end(
    table: &Table,
    task: &TaskEntry,
    deployment: &Deployment,
    held: &LostRun,
    failure: &RunFailure,
) -> Result<Run, TableError> {
    let run = Run {
        status: failure.status,
        deployment: Some(deployment.clone()),
        ..held.run(&task.name, Timestamp::now()).because(failure.reason.clone())
    };
    table.end_held(run, held.fence).await
}

/// Records a run that failed before it claimed its task. If it has claimed it after all, its own outcome counts.
async fn record_failure(
    table: &Table,
    task: &TaskEntry,
    deployment: &Deployment,
    trigger: Trigger,
    failure: &RunFailure,
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
    Ok(stored_run(table.record(&run).await?, run))
}

/// Returns the stored record after an attempt to write `run`: `run` itself, or an earlier one.
pub fn stored_run(recorded: Recorded, run: Run) -> Run {
    match recorded {
        Recorded::Written => run,
        Recorded::Before(stored) => *stored,
    }
}

/// Creates the record of a run whose body did not start.
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

impl RunFailure {
    /// The function's process failed.
    fn of(failure: &FunctionFailure) -> Self {
        let status = if failure.is_timeout() { Status::Timeout } else { Status::Failed };
        Self { status, reason: Reason::of_function(failure, failure.is_timeout()) }
    }

    /// The function could not be invoked on any attempt.
    fn not_started(error: &InvokeError) -> Self {
        Self { status: Status::Failed, reason: Reason::not_started(error) }
    }

    /// The function exists and is no task.
    fn not_a_task(error: &serde_json::Error) -> Self {
        Self { status: Status::Failed, reason: Reason::not_a_task(error) }
    }

    /// The function reports that the run is over, but the run has no record. Either a later deployment has run the task, or
    /// the record is gone.
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

fn outcome(run: &Run) -> TaskOutcome {
    let message = match (&run.error, run.attempts.len()) {
        (Some(error), attempts) => {
            let attempt = if attempts > 0 { format!(", attempt {attempts}") } else { String::new() };
            let message = shortened(&error.message, MAX_IN_LEDGER);
            Some(format!("{message} [{} error{attempt}]", error.kind))
        }
        (None, _) => {
            run.message.as_ref().or(run.skipped_reason.as_ref()).map(|it| shortened(it, MAX_IN_LEDGER))
        }
    };
    let data = run.data.as_ref().map(Value::to_string).filter(|data| data.len() <= MAX_IN_LEDGER);
    TaskOutcome { status: run.status, message, data }
}
