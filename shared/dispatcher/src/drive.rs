//! The steps of a deployment: wave after wave, until nothing is left to do.

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
        Course, Deployment, Entry, StackPhase, Step, TaskEntry, Undone, next_step, shows, went_forward,
    },
    id::RunId,
    name::TaskName,
    reason::Reason,
    run::{Run, Trigger},
    status::Status,
};
use tokio::time::{Duration, sleep};

use crate::{
    classify::{events_until, is_late},
    follow::{follow, standing, unstarted, watch},
};

/// The pause between two looks at a run that must end before a rollback undoes anything.
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
    /// When CloudFormation sent the request, where the event says so.
    pub sent_at: Option<Timestamp>,
}

/// How far a deployment was driven.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Driven {
    /// To its end.
    Done,
    /// A rollback, until nobody waited for it any more, for this reason. A further rollback goes on with what is left.
    Abandoned(Reason),
}

/// Runs what an entry still has to run, and leaves in it how each task ended.
///
/// It can be dropped at any await and begun again from the ledger: what has run is found by its record. So an error
/// leaves the other runs of its wave behind, and they end by themselves. Before each wave the stack must still wait for
/// it; `is_new` says that this was found out a moment ago.
pub async fn drive(crew: &Crew<'_>, entry: &mut Entry, is_new: bool) -> Result<Driven, TableError> {
    let mut is_known_to_wait = is_new;
    settle(crew, entry).await?;
    loop {
        match next_step(entry.course, &entry.tasks) {
            Step::Done => return Ok(Driven::Done),
            Step::GiveUp(fates) => {
                for (place, status, reason) in fates {
                    give_up(crew.table, entry, place, status, &reason).await?;
                }
            }
            Step::Run(places) => {
                let waits_no_longer =
                    if is_known_to_wait { None } else { waits_no_longer(crew, entry).await? };
                is_known_to_wait = false;
                match waits_no_longer {
                    Some(reason) if entry.course == Course::Rollback => {
                        return Ok(Driven::Abandoned(reason));
                    }
                    Some(reason) => {
                        for place in places {
                            give_up(crew.table, entry, place, Status::Cancelled, &reason).await?;
                        }
                    }
                    None => {
                        run_wave(crew, entry, &places).await?;
                        note_progress(crew.table, entry).await;
                    }
                }
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

/// Notes how the tasks fare, for those who watch: the deployment does not depend on it.
async fn note_progress(table: &Table, entry: &Entry) {
    if let Err(error) = table.progress(entry).await {
        tracing::warn!(request_id = entry.key.request_id(), "the ledger does not note the progress: {error}");
    }
}

/// Why nobody waits for the deployment any more; nothing if somebody does. CloudFormation cancels an update when a resource
/// beside this one fails. If the status cannot be had, the deployment goes on.
///
/// The ledger and the stack's events are read after the status: it may be that of a later update.
async fn waits_no_longer(crew: &Crew<'_>, entry: &Entry) -> Result<Option<Reason>, TableError> {
    let phase = match crew.stacks.status(crew.stack_id).await.map(|status| StackPhase::of(&status)) {
        Ok(phase) if !phase.waits_for(entry.course) => {
            return Ok(Some(Reason::StackMovedOn { phase: phase.to_string() }));
        }
        Ok(phase) => Some(phase),
        Err(error) => {
            tracing::warn!("going on: {error}");
            None
        }
    };
    let latest = crew.table.latest(&entry.deployment.ledger).await?;
    let stands = latest.is_some_and(|latest| latest.entry == entry.key && latest.deleted.is_none());
    if !stands {
        return Ok(Some(Reason::LaterRequest));
    }
    let is_dated = crew.sent_at.filter(|sent_at| entry.course != Course::Rollback && is_late(*sent_at));
    let (Some(sent_at), Some(phase)) = (is_dated, phase) else { return Ok(None) };
    let later = |began: Timestamp| sent_at.saturating_add(SKEW_MARGIN).is_ok_and(|sent| sent < began);
    let events = events_until(crew.stacks, crew.stack_id, sent_at, |events| shows(events, phase)).await;
    let has_begun = events.is_some_and(|events| went_forward(&events).is_some_and(later));
    Ok(has_begun.then_some(Reason::LaterUpdate))
}

/// Keeps a task from beginning, and records why it will not run. If it has begun after all, its end counts.
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
    let stands =
        match if prevented { Seen::Nowhere } else { table.look(name, run_id, Timestamp::now()).await? } {
            Seen::Nowhere => record_unrun(table, name, run_id, deployment, trigger, status, reason).await?,
            Seen::Held(_) => watch(table, task, SETTLING_PAUSE).await?,
            Seen::Over(run) => *run,
        };
    let task = &mut entry.tasks[place];
    (task.status, task.message) =
        (stands.status, stands.reason().or(stands.message.as_deref()).map(str::to_owned));
    Ok(())
}

/// Finds out, before a rollback undoes anything, how the runs ended that it undoes. One that is in progress is asked to
/// end and waited for; one that has not begun is kept from it. A task of which no run completed has nothing to undo.
async fn settle(crew: &Crew<'_>, entry: &mut Entry) -> Result<(), TableError> {
    let Some(undone) = entry.undoes.clone() else { return Ok(()) };
    let pending = entry.tasks.iter().enumerate().filter(|(_, task)| task.status == Status::Pending);
    let mut settling: FuturesUnordered<_> = pending
        .map(|(place, task)| {
            let (task, undone) = (task.clone(), &undone);
            async move {
                let mut completed = false;
                for run in &task.undoes {
                    completed |= settled(crew.table, &task, *run, undone).await? == Status::Completed;
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
        note_progress(crew.table, entry).await;
    }
    Ok(())
}

/// How a run ended that is to be undone, once it is over. One that is nowhere gave way to a later deployment's.
async fn settled(
    table: &Table,
    task: &TaskEntry,
    run_id: RunId,
    undone: &Undone,
) -> Result<Status, TableError> {
    let mut asked = false;
    loop {
        match table.look(&task.name, run_id, Timestamp::now()).await? {
            Seen::Over(run) => return Ok(run.status),
            Seen::Nowhere => {
                if !table.prevent_start(&task.name, &undone.deployment).await? {
                    match table.look(&task.name, run_id, Timestamp::now()).await? {
                        Seen::Nowhere => return Ok(Status::Skipped),
                        // It has begun in the meantime.
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
                if !asked {
                    asked = table.cancel(&task.name, run_id).await?;
                    tracing::info!(
                        task = task.name.as_str(),
                        run_id = run_id.to_string(),
                        "asked the run to end"
                    );
                }
                sleep(SETTLING_PAUSE).await;
            }
        }
    }
}

/// Records a run whose body did not start, and returns the record that stands.
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
    Ok(standing(table.record(&run).await?, run))
}
