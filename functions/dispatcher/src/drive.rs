//! The steps of a deployment: wave after wave, until nothing is left to do.

use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use lamplighter_aws::{
    functions::Functions,
    stacks::Stacks,
    table::{Seen, Table, TableError},
};
use lamplighter_core::{
    deployment::{Course, Entry, StackPhase, Step, TaskEntry, next_step},
    run::{ErrorKind, Run, RunError},
    status::Status,
};
use tokio::time::{Duration, sleep};

use crate::follow::{follow, standing, unstarted};

/// The pause between two looks at a run that must end before a rollback can be planned.
const SETTLING_PAUSE: Duration = Duration::from_secs(1);

/// What a deployment is driven with.
pub struct Crew<'a> {
    /// The table.
    pub table: &'a Table,
    /// The tasks' functions.
    pub functions: &'a Functions,
    /// The stack that waits.
    pub stacks: &'a Stacks,
    /// Its ARN.
    pub stack_id: &'a str,
}

/// Runs what an entry still has to run, and leaves in it how each task ended.
///
/// It can be dropped at any await and begun again from the ledger: what has run is found by its record. So an error
/// leaves the other runs of its wave behind, and they end by themselves.
pub async fn drive(crew: &Crew<'_>, entry: &mut Entry) -> Result<(), TableError> {
    let mut waves = 0;
    loop {
        match next_step(entry.course, &entry.tasks) {
            Step::Done => return Ok(()),
            Step::GiveUp(fates) => {
                for (place, status, why) in fates {
                    put_down(crew.table, entry, place, status, &why).await?;
                }
            }
            Step::Run(places) if waves > 0 && no_longer_waits(crew, entry.course).await => {
                for place in places {
                    let why = "the stack is rolling back and waits no longer";
                    put_down(crew.table, entry, place, Status::Cancelled, why).await?;
                }
            }
            Step::Run(places) => {
                run_wave(crew, entry, &places).await?;
                crew.table.progress(entry).await?;
                waves += 1;
            }
        }
    }
}

async fn run_wave(crew: &Crew<'_>, entry: &mut Entry, places: &[usize]) -> Result<(), TableError> {
    let (deployment, trigger) = (entry.deployment.clone(), entry.course.trigger());
    let mut runs: FuturesUnordered<_> = places
        .iter()
        .map(|place| {
            let (task, deployment) = (entry.tasks[*place].clone(), &deployment);
            async move {
                let ended = follow(crew.table, crew.functions, &task, deployment, trigger).await?;
                Ok::<_, TableError>((*place, ended))
            }
        })
        .collect();
    while let Some(run) = runs.next().await {
        let (place, ended) = run?;
        let task = &mut entry.tasks[place];
        (task.status, task.message, task.data) = (ended.status, ended.message, ended.data);
        let (name, run_id, status) = (task.name.as_str(), task.run_id.to_string(), task.status.as_str());
        let message = task.message.as_deref().unwrap_or_default();
        tracing::info!(task = name, run_id, status, trigger = trigger.as_str(), "{name} {status}: {message}");
    }
    Ok(())
}

/// Whether the stack has turned back since the deployment began: CloudFormation cancels an update when a resource
/// beside this one fails. If that cannot be found out, the deployment goes on.
async fn no_longer_waits(crew: &Crew<'_>, course: Course) -> bool {
    if course == Course::Rollback {
        return false;
    }
    match crew.stacks.status(crew.stack_id).await {
        Ok(status) => StackPhase::of(&status) == StackPhase::RollingBack,
        Err(error) => {
            tracing::warn!("going on: {error}");
            false
        }
    }
}

/// Records a task that will not run, so that the history says why.
async fn put_down(
    table: &Table,
    entry: &mut Entry,
    place: usize,
    status: Status,
    why: &str,
) -> Result<(), TableError> {
    let task = &entry.tasks[place];
    let run = unstarted(task, &entry.deployment, entry.course.trigger(), status);
    let run = match status {
        Status::Blocked => Run { error: Some(RunError::new(ErrorKind::Dependency, why)), ..run },
        _ => Run { skipped_reason: Some(why.to_owned()), ..run },
    };
    let stands = standing(table.record(&run).await?, run);
    let task = &mut entry.tasks[place];
    (task.status, task.message) = (stands.status, stands.reason().map(str::to_owned));
    Ok(())
}

/// Waits until every run of an earlier deployment that is still in flight is over, and leaves in the entry how each
/// ended. One that has not begun is kept from it, and has nothing to undo. For a rollback, which must know what it
/// undoes.
pub async fn settle(table: &Table, entry: &mut Entry) -> Result<(), TableError> {
    for place in 0..entry.tasks.len() {
        let task = &entry.tasks[place];
        if task.status.is_terminal() {
            continue;
        }
        if table.forestall(&task.name, &entry.deployment).await? {
            put_down(table, entry, place, Status::Cancelled, "the stack rolled back before it began").await?;
        } else {
            entry.tasks[place].status = settled(table, task).await?;
        }
    }
    Ok(())
}

/// How a run ended, once it is over. One that is nowhere gave way to a later deployment's.
async fn settled(table: &Table, task: &TaskEntry) -> Result<Status, TableError> {
    loop {
        match table.look(&task.name, task.run_id, Timestamp::now()).await? {
            Seen::Over(run) => return Ok(run.status),
            Seen::Nowhere => return Ok(Status::Skipped),
            Seen::Held(_) => sleep(SETTLING_PAUSE).await,
        }
    }
}
