//! The steps of a deployment, and what its end comes to.

use std::{collections::BTreeSet, time::Duration};

use super::{Course, Entry, TaskEntry, Verdict, shortened};
use crate::{name::TaskName, reason::Reason, status::Status};

/// What a deployment does next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Run these tasks, by their place in the entry, all at the same time.
    Run(Vec<usize>),
    /// A task failed: these others will not run, for the reason given with each.
    GiveUp(Vec<(usize, Status, Reason)>),
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
                    Some(name) => (i, Status::Blocked, Reason::DependencyIncomplete { task: name.clone() }),
                    None => (i, Status::Skipped, Reason::EarlierFailed { task: failed.name.clone() }),
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
    Verdict { success, reason, ..attributes(entry) }
}

/// What CloudFormation is told of a deployment when its time is up.
///
/// If every task is over, their end counts. Otherwise a deployment has failed. A rollback has not: the stack must be able
/// to move, and a further rollback goes on with what is left.
pub fn at_last_call(entry: &Entry, service_timeout: Duration) -> Verdict {
    let what = if entry.course == Course::Rollback { "not undone" } else { "not over" };
    let seconds = service_timeout.as_secs();
    unfinished(entry, &format!("{what} within the {seconds} s of the resource's ServiceTimeout"))
}

/// What CloudFormation is told of a rollback that it no longer waits for. A further rollback goes on with what is left.
pub fn abandoned(entry: &Entry, why: &str) -> Verdict {
    unfinished(entry, &format!("not undone, since {why}"))
}

fn unfinished(entry: &Entry, what: &str) -> Verdict {
    let left: Vec<_> =
        entry.tasks.iter().filter(|task| !task.status.is_terminal()).map(|task| task.name.as_str()).collect();
    if left.is_empty() {
        return verdict(entry);
    }
    let success = entry.course == Course::Rollback;
    Verdict { success, reason: format!("{what}: {}", left.join(", ")), ..attributes(entry) }
}

/// The attributes that the resource gets from a deployment.
fn attributes(entry: &Entry) -> Verdict {
    let deployment = &entry.deployment;
    let named = |task: &TaskEntry, attribute: &str| format!("{}.{attribute}", task.name);
    let of_tasks = |attribute: &'static str, value: fn(&TaskEntry) -> Option<String>| {
        entry.tasks.iter().filter_map(move |task| Some((named(task, attribute), value(task)?)))
    };
    let mut statuses = vec![
        ("Version".to_owned(), deployment.version.clone()),
        ("PreviousVersion".to_owned(), deployment.previous_version.clone().unwrap_or_default()),
        ("IsFirstDeploy".to_owned(), deployment.is_first_deploy.to_string()),
    ];
    statuses.extend(of_tasks("status", |task| Some(task.status.to_string())));
    Verdict {
        statuses,
        messages: of_tasks("message", |task| task.message.clone()).collect(),
        data: of_tasks("data", |task| task.data.clone()).collect(),
        ..Verdict::succeeded()
    }
}
