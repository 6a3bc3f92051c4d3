//! What to do with each tick that is due, from what was seen of its task and of those it depends on.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{GRACE, plan::Planned};
use crate::{
    claim::{Lease, TaskState},
    definition::{Overlap, Priority},
    id::RunId,
    name::TaskName,
    reason::Reason,
    run::{Run, Trigger},
    settings::Settings,
    status::Status,
};

/// How long an accepted invocation may take to begin before it is sent again. Lambda itself tries for longer where a
/// function is throttled; asking again costs a refused claim at most.
const ASK_AGAIN: Duration = Duration::from_secs(300);
/// How long ticks of a lower priority stand back for those of a higher one to begin.
const HEAD_START: Duration = Duration::from_secs(5);

/// A tick that is due and has not been done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending<'a> {
    /// Its task.
    pub task: &'a Planned,
    /// The tick.
    pub tick: Timestamp,
    /// The id its run will have.
    pub run_id: RunId,
    /// It is one of several or comes late, so it waits for a run in progress and is not skipped because of it.
    pub late: bool,
    /// When its invocation was accepted, by this pulse or an earlier one.
    pub handed: Option<Timestamp>,
    /// Its function would not take the invocation; it is not sent again by this pulse.
    pub refused: bool,
    /// The newest ticks of tasks it depends on that something else than the pulse starts. They come first.
    pub after: Vec<(TaskName, Timestamp)>,
}

/// What was seen of the tasks in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What it holds of each task. A task whose item cannot be read is not among them.
    pub states: BTreeMap<TaskName, TaskState>,
    /// The runs that are over, and how. Read after the states: a run writes its record before it lets go of its task.
    pub runs: BTreeMap<RunId, Status>,
}

/// What to do with a tick now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Invoke its function.
    Hand,
    /// Nothing.
    Wait(Why),
    /// Write this record: it will have no run.
    Record(Box<Run>),
    /// Follow its run, which is in progress.
    Follow,
    /// Count it: its run is over. Without a status it was another delivery's run, with an id of its own.
    Over(Option<Status>),
}

/// For what a tick waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", content = "of", rename_all = "snake_case")]
pub enum Why {
    /// For the run in progress.
    Running,
    /// For a task that it depends on.
    Dependency(TaskName),
    /// For an earlier tick of its own task.
    Turn,
    /// For ticks of a higher priority, a moment.
    Priority,
    /// For its accepted invocation to begin.
    Handed,
    /// For a function that takes its invocation.
    Refused,
    /// For an item of the table that can be read.
    Unreadable(TaskName),
}

impl Why {
    /// Whether the tick waits because its own policies say so, and not because it could not be started.
    pub fn is_of_policy(&self) -> bool {
        matches!(self, Self::Running | Self::Dependency(_))
    }
}

impl Pending<'_> {
    fn priority(&self) -> Priority {
        self.task.cron().map_or(Priority::default(), |cron| cron.priority)
    }
}

/// What to do with each of the ticks, in their order.
///
/// A tick whose run has begun is left to it. Of one task's ticks the oldest goes first, and the next once it has had its
/// run. A disabled task's tick is recorded as SKIPPED, and one whose dependency did not complete as BLOCKED. Ticks of a
/// lower priority stand back until those of a higher one have begun.
pub fn round(pending: &[Pending<'_>], seen: &Seen, now: Timestamp) -> Vec<Step> {
    let mut first: BTreeMap<&TaskName, Timestamp> = BTreeMap::new();
    for tick in pending {
        let entry = first.entry(tick.task.name()).or_insert(tick.tick);
        *entry = tick.tick.min(*entry);
    }
    let mut steps: Vec<_> = pending.iter().map(|tick| step(tick, &first, seen, now)).collect();
    let in_front = pending.iter().zip(&steps).filter(|(tick, step)| match step {
        Step::Hand => true,
        Step::Wait(Why::Handed) => tick.handed.is_some_and(|at| is_within(at, HEAD_START, now)),
        _ => false,
    });
    if let Some(front) = in_front.map(|(tick, _)| tick.priority()).min() {
        for (tick, step) in pending.iter().zip(&mut steps) {
            if *step == Step::Hand && tick.priority() > front {
                *step = Step::Wait(Why::Priority);
            }
        }
    }
    steps
}

fn step(pending: &Pending<'_>, first: &BTreeMap<&TaskName, Timestamp>, seen: &Seen, now: Timestamp) -> Step {
    let name = pending.task.name();
    if let Some(status) = seen.runs.get(&pending.run_id) {
        return Step::Over(Some(*status));
    }
    let Some(state) = seen.states.get(name) else {
        return Step::Wait(Why::Unreadable(name.clone()));
    };
    if state.leases().any(|lease| lease.run_id == pending.run_id || lease.scheduled_for == Some(pending.tick))
    {
        return Step::Follow;
    }
    if state.last_tick >= Some(pending.tick) {
        return Step::Over(None);
    }
    if first.get(name).is_some_and(|first| *first < pending.tick) {
        return Step::Wait(Why::Turn);
    }
    if state.disabled {
        return Step::Record(Box::new(run(pending, Status::Skipped, now).because(Reason::Disabled)));
    }
    for dependency in pending.task.depends_on() {
        match needed(dependency, pending, first, seen, now) {
            Needed::Complete => {}
            Needed::Awaited(why) => return Step::Wait(why),
            Needed::Blocks(reason) => {
                return Step::Record(Box::new(run(pending, Status::Blocked, now).because(reason)));
            }
        }
    }
    let overlap = overlap(pending.task, state);
    let waits = overlap == Overlap::Buffer || (pending.late && overlap != Overlap::Allow);
    if waits && state.lease.as_ref().is_some_and(|lease| is_live(lease, now)) {
        return Step::Wait(Why::Running);
    }
    if pending.refused {
        return Step::Wait(Why::Refused);
    }
    if pending.handed.is_some_and(|at| is_within(at, ASK_AGAIN, now)) {
        return Step::Wait(Why::Handed);
    }
    Step::Hand
}

/// How a task stands that another one needs.
enum Needed {
    Complete,
    Awaited(Why),
    Blocks(Reason),
}

/// How `dependency` stands for a tick. Its own ticks up to that one come first, and its run in progress if it is meant
/// for no later time; then its last run decides.
fn needed(
    dependency: &TaskName,
    pending: &Pending<'_>,
    first: &BTreeMap<&TaskName, Timestamp>,
    seen: &Seen,
    now: Timestamp,
) -> Needed {
    let awaited = || Needed::Awaited(Why::Dependency(dependency.clone()));
    if first.get(dependency).is_some_and(|first| *first <= pending.tick) {
        return awaited();
    }
    let Some(state) = seen.states.get(dependency) else {
        return Needed::Awaited(Why::Unreadable(dependency.clone()));
    };
    let is_meant_before = |lease: &Lease| lease.scheduled_for.unwrap_or(lease.started_at) <= pending.tick;
    if state.leases().any(|lease| is_live(lease, now) && is_meant_before(lease)) {
        return awaited();
    }
    let expected = pending.after.iter().find(|(name, _)| name == dependency).map(|(_, tick)| *tick);
    if expected.is_some_and(|tick| state.last_tick < Some(tick) && is_within(tick, GRACE, now))
        && !state.disabled
    {
        return awaited();
    }
    match &state.last_run {
        None => Needed::Blocks(Reason::NeverRan { task: dependency.clone() }),
        Some(last) if last.status == Status::Completed => Needed::Complete,
        Some(last) => Needed::Blocks(Reason::DependencyFailed {
            task: dependency.clone(),
            run_id: last.run_id,
            status: last.status,
        }),
    }
}

/// The task's policy, as somebody may have set it at run time. Settings that cannot be read are the run's to report.
fn overlap(task: &Planned, state: &TaskState) -> Overlap {
    let set = state.settings.as_deref().and_then(|text| Settings::parse(text).ok()?.overlap);
    set.unwrap_or(task.definition.overlap())
}

/// The record of a tick that has no run.
fn run(pending: &Pending<'_>, status: Status, now: Timestamp) -> Run {
    Run {
        status,
        scheduled_for: Some(pending.tick),
        ..Run::begun(pending.run_id, pending.task.name().clone(), Trigger::Pulse, now)
    }
}

fn is_live(lease: &Lease, now: Timestamp) -> bool {
    lease.until >= now
}

fn is_within(start: Timestamp, time: Duration, now: Timestamp) -> bool {
    start.saturating_add(time).is_ok_and(|end| now < end)
}

/// Every task of which something must be seen for these ticks: their own, and those they depend on.
pub fn wanted<'a>(pending: &[Pending<'a>]) -> BTreeSet<&'a TaskName> {
    pending.iter().flat_map(|tick| std::iter::once(tick.task.name()).chain(tick.task.depends_on())).collect()
}

#[cfg(test)]
mod tests;
