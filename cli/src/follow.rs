//! One run that a person asked for: started under a fixed id, and followed to its record.
//!
//! The record in the table is the truth, as for the dispatcher: a response only says when to look. Nothing is asked for
//! twice, since a person can see that nothing has begun and ask again.

use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use lamplighter_aws::{
    functions::{FunctionFailure, Functions, Response},
    table::{Recorded, Seen, Table},
};
use lamplighter_core::{
    claim::Refusal,
    envelope::{Envelope, Report},
    id::RunId,
    name::TaskName,
    reason::Reason,
    run::Run,
    status::Status,
};
use tokio::time::sleep;

/// When a run is first looked at although no response has come.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How a wish to run a task ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// The run is over.
    Over(Box<Run>),
    /// It did not begin.
    Refused(Refusal, Box<Run>),
}

impl Ended {
    /// The run's record; of one that did not begin, what would be recorded of it.
    pub fn run(&self) -> &Run {
        match self {
            Self::Over(run) | Self::Refused(_, run) => run,
        }
    }
}

/// Runs a task once and returns how it ended. It takes as long as the run.
pub async fn follow(
    table: &Table,
    functions: &Functions,
    function: &str,
    task: &TaskName,
    id: RunId,
    envelope: Envelope,
) -> anyhow::Result<Ended> {
    let trigger = envelope.trigger;
    let payload = serde_json::to_value(Envelope { run_id: Some(id), ..envelope })?;
    let invoked = tokio::select! {
        invoked = functions.invoke(function, &payload) => invoked,
        run = watch(table, task, id, FIRST_LOOK) => return Ok(Ended::Over(Box::new(run?))),
    };
    let response = match invoked {
        Ok(response) => response,
        // It may have begun or not. If it has, the table shows it.
        Err(error) => {
            return match table.look(task, id, Timestamp::now()).await? {
                Seen::Over(run) => Ok(Ended::Over(run)),
                Seen::Held(_) => Ok(Ended::Over(Box::new(watch(table, task, id, FIRST_LOOK).await?))),
                Seen::Nowhere => bail!(error),
            };
        }
    };
    match response {
        Response::Failed(failure) => ended(table, task, id, &failure).await,
        Response::Returned(value) => {
            let report: Report = serde_json::from_value(value)
                .with_context(|| format!("function `{function}` returned something that no task returns"))?;
            let run = table.run(task, id).await?;
            match (report.refused, run) {
                (Some(refusal), run) => {
                    let skipped = || {
                        let run = Run::begun(id, task.clone(), trigger, Timestamp::now());
                        Run { status: Status::Skipped, ..run }.because(refusal.reason())
                    };
                    let run = run.unwrap_or_else(skipped);
                    Ok(Ended::Refused(refusal, Box::new(run)))
                }
                (None, Some(run)) => Ok(Ended::Over(Box::new(run))),
                (None, None) => bail!("run {id} of `{task}` is {} and has no record", report.status),
            }
        }
    }
}

/// Looks at a run from time to time until it is over.
pub async fn watch(table: &Table, task: &TaskName, id: RunId, first: Duration) -> anyhow::Result<Run> {
    let mut pause = first;
    loop {
        sleep(pause).await;
        if let Seen::Over(run) = table.look(task, id, Timestamp::now()).await? {
            return Ok(*run);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// How a run ended whose function failed. If the run still holds its task, this writes it down.
async fn ended(
    table: &Table,
    task: &TaskName,
    id: RunId,
    failure: &FunctionFailure,
) -> anyhow::Result<Ended> {
    let held = match table.look(task, id, Timestamp::now()).await? {
        Seen::Over(run) => return Ok(Ended::Over(run)),
        Seen::Held(held) => held,
        Seen::Nowhere => bail!("the function of `{task}` failed: {failure}"),
    };
    let status = if failure.is_timeout() { Status::Timeout } else { Status::Failed };
    let reason = Reason::of_function(failure, failure.is_timeout());
    let run = Run { status, ..held.run(task, Timestamp::now()).because(reason) };
    Ok(Ended::Over(match table.finish(&run, held.hold).await? {
        Recorded::Written => Box::new(run),
        Recorded::Before(stands) => stands,
    }))
}
