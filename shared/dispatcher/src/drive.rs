//! Runs a deployment wave by wave until no task is left.

use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use lamplighter_aws::{
    functions::Functions,
    stacks::Stacks,
    table::{Seen, Table, TableError},
};
use lamplighter_core::{
    claim::SKEW_MARGIN,
    deployment::{
        Course, Deployment, DeploymentStep, Entry, StackPhase, TaskEntry, Undone, next_step, shows,
        went_forward,
    },
    id::RunId,
    name::TaskName,
    reason::Reason,
    run::{Run, Trigger},
    status::Status,
};
use tokio::time::{Duration, sleep};

use crate::{
    begin::{events_until, is_late},
    follow::{follow, stored_run, unstarted, watch},
};

/// The pause between two reads of a run that must end before a rollback begins.
const SETTLING_PAUSE: Duration = Duration::from_secs(1);

/// The clients and the stack of one deployment.
pub struct DeploymentServices<'a> {
    /// The table.
    pub table: &'a Table,
    /// The tasks' functions.
    pub functions: &'a Functions,
    /// CloudFormation's stacks.
    pub stacks: &'a Stacks,
    /// The ARN of the deployment's stack.
    pub stack_id: &'a str,
    /// The time at which CloudFormation sent the request, if the event has it.
    pub sent_at: Option<Timestamp>,
}

/// The result of [`drive`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum DriveOutcome {
    /// All tasks have ended.
    Finished,
    /// A rollback stopped because the stack no longer waits for it, for this reason. A continued rollback undoes the rest.
    Abandoned(Reason),
}

/// Runs the remaining tasks of an entry, and writes each task's outcome to it.
///
/// The future can be dropped at any await and started again from the ledger, since finished runs are found by their
/// records. After an error the other runs of the wave continue and end by themselves.
///
/// Checks before each wave that the stack still waits for the deployment. `is_new` skips the first check, since the caller
/// has just made it.
pub async fn drive(
    services: &DeploymentServices<'_>,
    entry: &mut Entry,
    is_new: bool,
) -> Result<DriveOutcome, TableError> {
    let mut is_known_to_wait = is_new;
    settle(services, entry).await?;
    loop {
        match next_step(entry.course, &entry.tasks) {
            DeploymentStep::Done => return Ok(DriveOutcome::Finished),
            DeploymentStep::GiveUp(fates) => {
                for (place, status, reason) in fates {
                    give_up(services.table, entry, place, status, &reason).await?;
                }
            }
            DeploymentStep::Run(places) => {
                let waits_no_longer =
                    if is_known_to_wait { None } else { waits_no_longer(services, entry).await? };
                is_known_to_wait = false;
                match waits_no_longer {
                    Some(reason) if entry.course == Course::Rollback => {
                        return Ok(DriveOutcome::Abandoned(reason));
                    }
                    Some(reason) => {
                        for place in places {
                            give_up(services.table, entry, place, Status::Cancelled, &reason).await?;
                        }
                    }
                    None => {
                        run_wave(services, entry, &places).await?;
                        note_progress(services.table, entry).await;
                    }
                }
            }
        }
    }
}

async fn run_wave(
    services: &DeploymentServices<'_>,
    entry: &mut Entry,
    places: &[usize],
) -> Result<(), TableError> {
    let (deployment, trigger) = (entry.deployment.clone(), entry.course.trigger());
    let mut runs: FuturesUnordered<_> = places
        .iter()
        .map(|place| {
            let (task, deployment) = (entry.tasks[*place].clone(), &deployment);
            async move {
                let following = follow(services.table, services.functions, &task, deployment, trigger);
                let outcome = Box::pin(following).await?;
                Ok::<_, TableError>((*place, outcome))
            }
        })
        .collect();
    while let Some(run) = runs.next().await {
        let (place, outcome) = run?;
        let task = &mut entry.tasks[place];
        (task.status, task.message, task.data) = (outcome.status, outcome.message, outcome.data);
        let (name, run_id, status) = (task.name.as_str(), task.run_id.to_string(), task.status.as_str());
        let message = task.message.as_deref().unwrap_or_default();
        tracing::info!(task = name, run_id, status, trigger = trigger.as_str(), "{name} {status}: {message}");
    }
    Ok(())
}

/// Records the tasks' progress for observers. The deployment does not depend on it.
async fn note_progress(table: &Table, entry: &Entry) {
    if let Err(error) = table.progress(entry).await {
        tracing::warn!(
            request_id = entry.key.request_id(),
            "cannot record the progress in the ledger: {error}"
        );
    }
}

/// Returns the reason why the stack no longer waits for the deployment, or `None` if it still does. CloudFormation cancels
/// an update when another resource fails. If the stack's status cannot be read, the deployment continues.
///
/// The ledger and the stack's events are read after the status, since the status may be that of a later update.
async fn waits_no_longer(
    services: &DeploymentServices<'_>,
    entry: &Entry,
) -> Result<Option<Reason>, TableError> {
    let phase = match services.stacks.status(services.stack_id).await.map(|status| StackPhase::of(&status)) {
        Ok(phase) if !phase.waits_for(entry.course) => {
            return Ok(Some(Reason::StackMovedOn { phase: phase.to_string() }));
        }
        Ok(phase) => Some(phase),
        Err(error) => {
            tracing::warn!("continuing without the stack's status: {error}");
            None
        }
    };
    let latest = services.table.latest(&entry.deployment.ledger).await?;
    let is_current = latest.is_some_and(|latest| latest.entry == entry.key && latest.deleted.is_none());
    if !is_current {
        return Ok(Some(Reason::LaterRequest));
    }
    let is_dated = services.sent_at.filter(|sent_at| entry.course != Course::Rollback && is_late(*sent_at));
    let (Some(sent_at), Some(phase)) = (is_dated, phase) else { return Ok(None) };
    let later = |began: Timestamp| sent_at.saturating_add(SKEW_MARGIN).is_ok_and(|sent| sent < began);
    let events =
        events_until(services.stacks, services.stack_id, sent_at, |events| shows(events, phase)).await;
    let has_begun = events.is_some_and(|events| went_forward(&events).is_some_and(later));
    Ok(has_begun.then_some(Reason::LaterUpdate))
}

/// Prevents a task's start and records the reason. If the task has already started, its outcome counts instead.
async fn give_up(
    table: &Table,
    entry: &mut Entry,
    place: usize,
    status: Status,
    reason: &Reason,
) -> Result<(), TableError> {
    let (task, trigger) = (&entry.tasks[place], entry.course.trigger());
    let (name, run_id, deployment) = (&task.name, task.run_id, &entry.deployment);
    let prevented = table.prevent_start(name, deployment).await?;
    let run = match if prevented { Seen::Nowhere } else { table.look(name, run_id, Timestamp::now()).await? }
    {
        Seen::Nowhere => record_unrun(table, name, run_id, deployment, trigger, status, reason).await?,
        Seen::Held(_) => watch(table, task, SETTLING_PAUSE).await?,
        Seen::Over(run) => *run,
    };
    let task = &mut entry.tasks[place];
    (task.status, task.message) = (run.status, run.reason().or(run.message.as_deref()).map(str::to_owned));
    Ok(())
}

/// Determines, before a rollback begins, how the runs that it undoes have ended. Cancels a run in progress and waits for it,
/// and prevents the start of one that has not begun. A task without a completed run has nothing to undo.
async fn settle(services: &DeploymentServices<'_>, entry: &mut Entry) -> Result<(), TableError> {
    let Some(undone) = entry.undoes.clone() else { return Ok(()) };
    let pending = entry.tasks.iter().enumerate().filter(|(_, task)| task.status == Status::Pending);
    let mut settling: FuturesUnordered<_> = pending
        .map(|(place, task)| {
            let (task, undone) = (task.clone(), &undone);
            async move {
                let mut completed = false;
                for run in &task.undoes {
                    completed |= settled(services.table, &task, *run, undone).await? == Status::Completed;
                }
                Ok::<_, TableError>((place, completed))
            }
        })
        .collect();
    let mut nothing = Vec::new();
    while let Some(settled) = settling.next().await {
        let (place, completed) = settled?;
        match (completed, entry.tasks[place].rollback) {
            (true, true) => {}
            (true, false) => nothing.push((place, "defines no rollback")),
            (false, _) => nothing.push((place, "did not complete, so there is nothing to undo")),
        }
    }
    drop(settling);
    let changed = !nothing.is_empty();
    for (place, why) in nothing {
        let task = &mut entry.tasks[place];
        (task.status, task.message) = (Status::Skipped, Some(why.to_owned()));
    }
    if changed {
        note_progress(services.table, entry).await;
    }
    Ok(())
}

/// Waits until a run that is to be undone is over, and returns its status. A run without a record or lease counts as
/// skipped if a later deployment has taken its place.
async fn settled(
    table: &Table,
    task: &TaskEntry,
    run_id: RunId,
    undone: &Undone,
) -> Result<Status, TableError> {
    let mut is_cancelled = false;
    loop {
        match table.look(&task.name, run_id, Timestamp::now()).await? {
            Seen::Over(run) => return Ok(run.status),
            Seen::Nowhere => {
                if !table.prevent_start(&task.name, &undone.deployment).await? {
                    match table.look(&task.name, run_id, Timestamp::now()).await? {
                        Seen::Nowhere => return Ok(Status::Skipped),
                        // It has started in the meantime.
                        Seen::Over(_) | Seen::Held(_) => continue,
                    }
                }
                let reason = Reason::RolledBack;
                let (deployment, trigger) = (&undone.deployment, undone.course.trigger());
                let cancelled = Status::Cancelled;
                let run =
                    record_unrun(table, &task.name, run_id, deployment, trigger, cancelled, &reason).await?;
                return Ok(run.status);
            }
            Seen::Held(_) => {
                if !is_cancelled {
                    is_cancelled = table.cancel(&task.name, run_id).await?;
                    tracing::info!(
                        task = task.name.as_str(),
                        run_id = run_id.to_string(),
                        "cancelled the run"
                    );
                }
                sleep(SETTLING_PAUSE).await;
            }
        }
    }
}

/// Records a run whose body did not start. Returns the stored record, which may be an earlier one.
async fn record_unrun(
    table: &Table,
    task: &TaskName,
    run_id: RunId,
    deployment: &Deployment,
    trigger: Trigger,
    status: Status,
    reason: &Reason,
) -> Result<Run, TableError> {
    let run = unstarted(table, task, run_id, deployment, trigger, status).because(reason.clone());
    Ok(stored_run(table.record(&run).await?, run))
}
