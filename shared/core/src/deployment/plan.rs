//! What a request of CloudFormation leads to, and the steps of a deployment.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    Answered, Course, Deployment, Entry, EntryKey, Latest, Ledger, OrderError, Ordered, Success, TaskEntry,
    Verdict, shortened, waves,
};
use crate::{
    definition::{OncePer, RunOn},
    id::RunId,
    name::TaskName,
    status::Status,
};

/// What the stack does to the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Create,
    /// Its properties changed, or are changed back.
    Update,
}

/// Whether the stack goes forward. An Update event does not say so; the stack's status does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackPhase {
    /// It is being created or updated.
    Forward,
    /// It returns to what was before.
    RollingBack,
}

impl StackPhase {
    /// The phase that a stack's status stands for.
    ///
    /// Source: CloudFormation User Guide, "Understand CloudFormation stack creation events", stack status codes.
    pub fn of(status: &str) -> Self {
        if status.contains("ROLLBACK") && status.ends_with("_IN_PROGRESS") {
            Self::RollingBack
        } else {
            Self::Forward
        }
    }
}

/// A request to deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What the stack does to the resource.
    pub change: Change,
    /// The id that every delivery of the request has.
    pub request_id: String,
    /// The resource's ledger.
    pub ledger: String,
    /// The version to deploy.
    pub version: String,
    /// The version that the resource had before, according to the event.
    pub old_version: Option<String>,
    /// The tasks of the resource.
    pub tasks: Vec<PlannedTask>,
}

/// A task as the resource names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedTask {
    /// Its name.
    pub name: TaskName,
    /// The Lambda function that runs it.
    pub function: String,
    /// Which changes start it.
    pub run_on: BTreeSet<RunOn>,
    /// The tasks it needs.
    pub depends_on: Vec<TaskName>,
    /// What must have changed for it to run again.
    pub once_per: OncePer,
    /// Whether it can undo what it did.
    pub rollback: bool,
    /// The time its run may take.
    pub timeout: Duration,
}

impl Ordered for PlannedTask {
    fn name(&self) -> &TaskName {
        &self.name
    }

    fn depends_on(&self) -> &[TaskName] {
        &self.depends_on
    }
}

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Plan {
    /// It was answered before: the same answer again, and nothing is run.
    Replay {
        /// Its entry.
        entry: Entry,
        /// What was answered.
        answer: Answered,
    },
    /// It was begun and not answered: go on where it stands.
    Resume(Entry),
    /// It was begun, and another has been begun since: nothing of it is run any more.
    Superseded {
        /// The entry that was left behind.
        entry: Entry,
        /// The newer request.
        by: String,
    },
    /// It is new: write this entry, then go through its steps.
    Open(Entry),
}

/// Decides on a request.
///
/// - A request that the ledger knows is replayed, resumed or given up, never planned again.
/// - While the stack rolls back, the forward tasks are not run; those of the deployment that is being undone
///   which completed and define a rollback are, in reverse order. Which deployment that is: the newest, if it
///   went forward and to the version that the event calls old.
/// - Otherwise Create runs the tasks with `run_on` deploy and Update those with update, except those that run
///   once per content whose content is that of the last success.
/// - `contents` has the content of the tasks that run once per content, where it could be found.
///
/// `random` gives the low bits of each run's id.
pub fn plan(
    request: &Request,
    ledger: &Ledger,
    stack: StackPhase,
    contents: &BTreeMap<TaskName, String>,
    now: Timestamp,
    random: impl FnMut() -> u128,
) -> Result<Plan, OrderError> {
    if let Some(own) = &ledger.own {
        return Ok(match (&own.answer, &ledger.latest) {
            (Some(answer), _) => Plan::Replay { entry: own.clone(), answer: answer.clone() },
            (None, Some(latest)) if latest.entry != own.key => {
                Plan::Superseded { entry: own.clone(), by: latest.entry.request_id().to_owned() }
            }
            (None, _) => Plan::Resume(own.clone()),
        });
    }
    // A rollback returns to the success before the deployment that it undoes, whatever that one ended as.
    let undone = ledger.newest.as_ref().filter(|newest| {
        newest.course != Course::Rollback
            && request.old_version.as_ref().is_none_or(|old| *old == newest.deployment.version)
    });
    let latest_success = ledger.latest.as_ref().and_then(|latest| latest.successful.clone());
    let (course, previous) = match (stack, request.change) {
        (StackPhase::Forward, Change::Create) => (Course::Deploy, latest_success),
        (StackPhase::Forward, Change::Update) => (Course::Update, latest_success),
        (StackPhase::RollingBack, _) => {
            (Course::Rollback, undone.map_or(latest_success, |e| e.previous.clone()))
        }
    };
    let tasks = match course {
        Course::Deploy => forward(request, RunOn::Deploy, previous.as_ref().map(|p| &p.contents), contents),
        Course::Update => forward(request, RunOn::Update, previous.as_ref().map(|p| &p.contents), contents),
        Course::Rollback => Ok(undone.map(backward).unwrap_or_default()),
    }?;
    let latest = ledger.latest.as_ref().map(|latest| &latest.entry);
    let key = EntryKey::following(latest, now, &request.request_id);
    let deployment = Deployment {
        ledger: request.ledger.clone(),
        entry: key.clone(),
        version: request.version.clone(),
        previous_version: previous.as_ref().map(|p| p.version.clone()),
        is_first_deploy: previous.is_none(),
        rolled_back_version: (course == Course::Rollback).then(|| request.old_version.clone()).flatten(),
    };
    let tasks = with_run_ids(tasks, now, random);
    Ok(Plan::Open(Entry { key, course, started_at: now, deployment, previous, tasks, answer: None }))
}

fn with_run_ids(tasks: Vec<TaskEntry>, now: Timestamp, mut random: impl FnMut() -> u128) -> Vec<TaskEntry> {
    tasks.into_iter().map(|task| TaskEntry { run_id: RunId::new(now, random()), ..task }).collect()
}

/// The tasks of a deployment that goes forward, in their order; their run ids are still to be given.
fn forward(
    request: &Request,
    change: RunOn,
    before: Option<&BTreeMap<TaskName, String>>,
    contents: &BTreeMap<TaskName, String>,
) -> Result<Vec<TaskEntry>, OrderError> {
    let waves = waves(&request.tasks)?;
    let entry = |(task, wave): (&PlannedTask, usize)| {
        let content = contents.get(&task.name);
        let unchanged = content.is_some() && before.and_then(|before| before.get(&task.name)) == content;
        let skipped = if !task.run_on.contains(&change) {
            Some(format!("does not run on {change}"))
        } else if task.once_per == OncePer::Content && unchanged {
            Some("its code, assets and configuration are unchanged".to_owned())
        } else {
            None
        };
        TaskEntry {
            name: task.name.clone(),
            function: task.function.clone(),
            run_id: RunId::new(Timestamp::UNIX_EPOCH, 0),
            wave,
            depends_on: task.depends_on.clone(),
            timeout: task.timeout,
            rollback: task.rollback,
            content: content.cloned(),
            status: if skipped.is_some() { Status::Skipped } else { Status::Pending },
            message: skipped,
            data: None,
        }
    };
    Ok(request.tasks.iter().zip(waves).map(entry).collect())
}

/// The tasks that undo those of `entry` which completed, last first. A task without a rollback stays as it is.
fn backward(entry: &Entry) -> Vec<TaskEntry> {
    let last = entry.tasks.iter().map(|task| task.wave).max().unwrap_or(0);
    let completed = entry.tasks.iter().filter(|task| task.status == Status::Completed);
    completed
        .map(|task| TaskEntry {
            wave: last - task.wave,
            depends_on: Vec::new(),
            content: None,
            status: if task.rollback { Status::Pending } else { Status::Skipped },
            message: (!task.rollback).then(|| "defines no rollback".to_owned()),
            data: None,
            ..task.clone()
        })
        .collect()
}

/// Where a ledger stands after its resource was deleted; nothing if that changes nothing.
///
/// While the stack rolls back, a Delete means that the resource's deployment is undone with it: what it brought is no
/// success any more. Otherwise the ledger outlives its resource: what was seeded once is not seeded again.
pub fn after_delete(ledger: &Ledger, stack: StackPhase) -> Option<(&Latest, Option<Success>)> {
    let (latest, newest) = (ledger.latest.as_ref()?, ledger.newest.as_ref()?);
    let undone =
        stack == StackPhase::RollingBack && newest.course != Course::Rollback && newest.key == latest.entry;
    undone.then(|| (latest, newest.previous.clone()))
}

/// What a deployment does next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Run these tasks, by their place in the entry, all at the same time.
    Run(Vec<usize>),
    /// A task failed: these others will not run, for the reason given with each.
    GiveUp(Vec<(usize, Status, String)>),
    /// Nothing is left to do.
    Done,
}

/// What a deployment does next, from how its tasks fare.
///
/// The lowest wave with a task that has not run is next. Once a task has failed nothing further is started:
/// what depends on it is BLOCKED and what does not is SKIPPED. In a rollback a failure holds up nothing, since
/// each task undoes its own.
pub fn next_step(course: Course, tasks: &[TaskEntry]) -> Step {
    let pending = || tasks.iter().enumerate().filter(|(_, task)| task.status == Status::Pending);
    let failed = tasks.iter().find(|task| task.status.is_failure());
    match (pending().map(|(_, task)| task.wave).min(), failed) {
        (None, _) => Step::Done,
        (Some(_), Some(failed)) if course != Course::Rollback => {
            let broken = broken(tasks);
            let fate =
                |(i, task): (usize, &TaskEntry)| match task.depends_on.iter().find(|n| broken.contains(n)) {
                    Some(name) => {
                        (i, Status::Blocked, format!("`{name}`, which it depends on, did not complete"))
                    }
                    None => (i, Status::Skipped, format!("`{}` failed before it could start", failed.name)),
                };
            Step::GiveUp(pending().map(fate).collect())
        }
        (Some(wave), _) => {
            Step::Run(pending().filter(|(_, task)| task.wave == wave).map(|(i, _)| i).collect())
        }
    }
}

/// The tasks that failed, and all that depend on them, however far.
fn broken(tasks: &[TaskEntry]) -> BTreeSet<&TaskName> {
    let mut by_wave: Vec<_> = tasks.iter().collect();
    by_wave.sort_by_key(|task| task.wave);
    by_wave.into_iter().fold(BTreeSet::new(), |mut broken, task| {
        if task.status.is_failure() || task.depends_on.iter().any(|name| broken.contains(name)) {
            broken.insert(&task.name);
        }
        broken
    })
}

/// How much of the failures' messages is told together, and at least of each, in bytes.
const MAX_REASON: usize = 1600;
const MIN_SHARE: usize = 40;

/// What CloudFormation is told of a deployment whose tasks are done.
///
/// A rollback is a success even if a task could not undo its work: a FAILED would leave the stack in
/// `UPDATE_ROLLBACK_FAILED`, where only a person can get it out. What went wrong is in the data and the history.
pub fn verdict(entry: &Entry) -> Verdict {
    let failures: Vec<_> = entry.tasks.iter().filter(|task| task.status.is_failure()).collect();
    let mut data = vec![
        ("Version".to_owned(), entry.deployment.version.clone()),
        ("PreviousVersion".to_owned(), entry.deployment.previous_version.clone().unwrap_or_default()),
        ("IsFirstDeploy".to_owned(), entry.deployment.is_first_deploy.to_string()),
    ];
    for task in &entry.tasks {
        data.push((format!("{}.status", task.name), task.status.to_string()));
        data.extend(task.message.clone().map(|message| (format!("{}.message", task.name), message)));
        data.extend(task.data.clone().map(|data| (format!("{}.data", task.name), data)));
    }
    // Each gets its share, so that one which says a lot does not keep the others from being told.
    let share = (MAX_REASON / failures.len().max(1)).max(MIN_SHARE);
    let describe = |task: &&TaskEntry| {
        let message = shortened(task.message.as_deref().unwrap_or("no message"), share);
        format!("{} {} (run {}): {message}", task.name, task.status, task.run_id)
    };
    let success = failures.is_empty() || entry.course == Course::Rollback;
    // What was blocked only follows from what failed, so it is told last.
    let (blocked, failed): (Vec<_>, Vec<_>) = failures.iter().partition(|t| t.status == Status::Blocked);
    let reason = failed.iter().chain(&blocked).map(describe).collect::<Vec<_>>().join("; ");
    Verdict { success, reason, data }
}

#[cfg(test)]
mod tests;
