//! One run that a person starts: started under a fixed id, and followed to its record.
//!
//! The record in the table decides how the run ended, as it does for the dispatcher. The function's response only
//! triggers a read of the record. The function is never invoked twice: if no run has begun, the command fails, and the
//! user can start it again.

use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use lamplighter_aws::{
    functions::{FunctionFailure, Functions, Response},
    table::{Seen, Table},
};
use lamplighter_core::{
    backoff::Backoff,
    claim::Refusal,
    envelope::{Envelope, Report},
    id::RunId,
    name::TaskName,
    reason::Reason,
    run::Run,
    status::Status,
};

/// The time before the first look at a run without a response.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The outcome of an attempt to run a task.
#[derive(Clone, Debug, PartialEq)]
pub enum RunOutcome {
    /// The run has ended.
    Over(Box<Run>),
    /// The run did not begin.
    Refused(Refusal, Box<Run>),
}

impl RunOutcome {
    /// The run's record. For a run that did not begin, the record that it would have.
    pub fn run(&self) -> &Run {
        match self {
            Self::Over(run) | Self::Refused(_, run) => run,
        }
    }
}

/// Runs a task once and waits for its outcome, which takes as long as the run.
pub async fn follow(
    table: &Table,
    functions: &Functions,
    function: &str,
    task: &TaskName,
    id: RunId,
    envelope: Envelope,
) -> anyhow::Result<RunOutcome> {
    let trigger = envelope.trigger;
    let payload = serde_json::to_value(Envelope { run_id: Some(id), ..envelope })?;
    let invoked = tokio::select! {
        invoked = functions.invoke(function, &payload) => invoked,
        run = watch(table, task, id, FIRST_LOOK) => return Ok(RunOutcome::Over(Box::new(run?))),
    };
    let response = match invoked {
        Ok(response) => response,
        // The run may have begun. If it has, the table shows it.
        Err(error) => {
            return match table.look(task, id, Timestamp::now()).await? {
                Seen::Over(run) => Ok(RunOutcome::Over(run)),
                Seen::Held(_) => Ok(RunOutcome::Over(Box::new(watch(table, task, id, FIRST_LOOK).await?))),
                Seen::Nowhere => bail!(error),
            };
        }
    };
    match response {
        Response::Failed(failure) => record_failure(table, task, id, &failure).await,
        Response::Returned(value) => {
            let report: Report = serde_json::from_value(value).with_context(|| {
                format!("function `{function}` returned a response that is not a report of a task")
            })?;
            let run = table.run(task, id).await?;
            match (report.refused, run) {
                (Some(refusal), run) => {
                    let skipped = || {
                        let run = Run::begun(id, task.clone(), trigger, Timestamp::now());
                        Run { status: Status::Skipped, ..run }.because(refusal.reason())
                    };
                    let run = run.unwrap_or_else(skipped);
                    Ok(RunOutcome::Refused(refusal, Box::new(run)))
                }
                (None, Some(run)) => Ok(RunOutcome::Over(Box::new(run))),
                (None, None) => bail!("run {id} of `{task}` is {} and has no record", report.status),
            }
        }
    }
}

/// Polls a run until it has ended.
pub async fn watch(table: &Table, task: &TaskName, id: RunId, first: Duration) -> anyhow::Result<Run> {
    Ok(table.follow_run(task, id, Backoff::new(first, LONGEST_PAUSE)).await?)
}

/// The outcome of a run whose function failed. If the run still holds its task, this records the failure.
async fn record_failure(
    table: &Table,
    task: &TaskName,
    id: RunId,
    failure: &FunctionFailure,
) -> anyhow::Result<RunOutcome> {
    let held = match table.look(task, id, Timestamp::now()).await? {
        Seen::Over(run) => return Ok(RunOutcome::Over(run)),
        Seen::Held(held) => held,
        Seen::Nowhere => bail!("the function of `{task}` failed: {failure}"),
    };
    let status = if failure.is_timeout() { Status::Timeout } else { Status::Failed };
    let reason = Reason::of_function(failure, failure.is_timeout());
    let run = Run { status, ..held.run(task, Timestamp::now()).because(reason) };
    Ok(RunOutcome::Over(Box::new(table.end_held(run, held.fence).await?)))
}
