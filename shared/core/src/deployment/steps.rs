//! The steps of a deployment, and the verdict at its end.

use std::{collections::BTreeSet, time::Duration};

use super::{Course, Entry, TaskEntry, Verdict, shortened};
use crate::{name::TaskName, reason::Reason, status::Status};

/// The next step of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum DeploymentStep {
    /// Run these tasks at the same time. Numbers are places in the entry.
    Run(Vec<usize>),
    /// A task failed. These others will not run, each with its status and reason.
    GiveUp(Vec<(usize, Status, Reason)>),
    /// Nothing is left to do.
    Done,
}

/// Decides the next step, by the status of each task.
///
/// The next wave is the lowest one with a task that has not run. After a failure nothing further starts: a
/// task that depends on the failed one is BLOCKED, and any other is SKIPPED. In a rollback a failure stops
/// nothing, since each task undoes its own work.
pub fn next_step(course: Course, tasks: &[TaskEntry]) -> DeploymentStep {
    let pending = || tasks.iter().enumerate().filter(|(_, task)| task.status == Status::Pending);
    let failed = tasks.iter().find(|task| task.status.is_failure());
    match (pending().map(|(_, task)| task.wave).min(), failed) {
        (None, _) => DeploymentStep::Done,
        (Some(_), Some(failed)) if course != Course::Rollback => {
            let broken = broken(tasks);
            let fate =
                |(i, task): (usize, &TaskEntry)| match task.depends_on.iter().find(|n| broken.contains(n)) {
                    Some(name) => (i, Status::Blocked, Reason::DependencyIncomplete { task: name.clone() }),
                    None => (i, Status::Skipped, Reason::EarlierFailed { task: failed.name.clone() }),
                };
            DeploymentStep::GiveUp(pending().map(fate).collect())
        }
        (Some(wave), _) => {
            DeploymentStep::Run(pending().filter(|(_, task)| task.wave == wave).map(|(i, _)| i).collect())
        }
    }
}

/// Returns the tasks that failed, and all that depend on them, directly or not.
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

/// The maximum length of all failures' messages together, and the minimum for each, in bytes.
const MAX_REASON: usize = 1600;
const MIN_SHARE: usize = 40;

/// Returns the verdict on a deployment whose tasks are done.
///
/// A rollback is a success even if a task could not undo its work. A FAILED would leave the stack in
/// `UPDATE_ROLLBACK_FAILED`, which only a person can resolve. The failure is in the data and the history.
pub fn verdict(entry: &Entry) -> Verdict {
    let failures: Vec<_> = entry.tasks.iter().filter(|task| task.status.is_failure()).collect();
    // Each failure gets its share, so that a long message does not displace the others.
    let share = (MAX_REASON / failures.len().max(1)).max(MIN_SHARE);
    let describe = |task: &&TaskEntry| {
        let message = shortened(task.message.as_deref().unwrap_or("no message"), share);
        format!("{} {} (run {}): {message}", task.name, task.status, task.run_id)
    };
    let success = failures.is_empty() || entry.course == Course::Rollback;
    // Blocked tasks are a consequence of failed ones, so they come last.
    let (blocked, failed): (Vec<_>, Vec<_>) = failures.iter().partition(|t| t.status == Status::Blocked);
    let reason = failed.iter().chain(&blocked).map(describe).collect::<Vec<_>>().join("; ");
    Verdict { success, reason, ..attributes(entry) }
}

/// Returns the verdict on a deployment whose time is up.
///
/// If every task is over, their results count. Otherwise a deployment has failed. A rollback counts as a
/// success, so that the stack can continue; a further rollback continues with what is left.
pub fn at_last_call(entry: &Entry, service_timeout: Duration) -> Verdict {
    let what = if entry.course == Course::Rollback { "not undone" } else { "not over" };
    let seconds = service_timeout.as_secs();
    unfinished(entry, &format!("{what} within the {seconds} s of the resource's ServiceTimeout"))
}

/// Returns the verdict on a rollback that CloudFormation no longer waits for. A further rollback continues
/// with what is left.
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

/// Returns the attributes of the resource after a deployment.
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
