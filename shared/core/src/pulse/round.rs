//! The round: the action for each due tick, by the states of its task and of its dependencies.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{GRACE, plan::PlannedTask};
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

/// The time that an accepted invocation has to start before it is sent again. Lambda itself retries for
/// longer if a function is throttled. A repeated invocation costs at most a refused claim.
const ASK_AGAIN: Duration = Duration::from_secs(300);
/// The time for which ticks of a lower priority wait for those of a higher one to start.
const HEAD_START: Duration = Duration::from_secs(5);

/// A tick that is due and not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueTick<'a> {
    /// Its task.
    pub task: &'a PlannedTask,
    /// The tick.
    pub tick: Timestamp,
    /// The id of its run.
    pub run_id: RunId,
    /// The tick is late, or one of several. So it waits for a run in progress and is not skipped.
    pub late: bool,
    /// The time at which its invocation was accepted, by this pulse or an earlier one.
    pub handed: Option<Timestamp>,
    /// Its invocation was refused. This pulse does not send it again.
    pub refused: bool,
    /// The newest ticks of dependencies that EventBridge starts. Their runs come first.
    pub after: Vec<(TaskName, Timestamp)>,
}

/// The states and records that a pulse has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The state of each task. Unreadable ones are missing.
    pub states: BTreeMap<TaskName, TaskState>,
    /// The status of each run that is over. It is read after the states, since a run writes its record before
    /// it releases its task.
    pub runs: BTreeMap<RunId, Status>,
}

/// The action for a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum TickAction {
    /// Invoke its function.
    Invoke,
    /// Do nothing for now.
    Wait(WaitReason),
    /// Write this record. The tick has no run.
    Record(Box<Run>),
    /// Follow its run, which is in progress.
    Follow,
    /// Count the tick: its run is over. Without a status, another delivery ran it or a later tick, under
    /// another run id.
    Over(Option<Status>),
}

/// The reason why a tick waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", content = "of", rename_all = "snake_case")]
pub enum WaitReason {
    /// A run is in progress.
    Running,
    /// A dependency is not over.
    Dependency(TaskName),
    /// An earlier tick of the same task comes first.
    Turn,
    /// Ticks of a higher priority come first, for a moment.
    Priority,
    /// Its accepted invocation has not started.
    Handed,
    /// Its function refused the invocation.
    Refused,
    /// An item of the table cannot be read.
    Unreadable(TaskName),
}

impl WaitReason {
    /// Returns whether the tick waits because of the task's policies, and not because it could not be started.
    pub fn is_of_policy(&self) -> bool {
        matches!(self, Self::Running | Self::Dependency(_))
    }
}

impl DueTick<'_> {
    fn priority(&self) -> Priority {
        self.task.cron().map_or(Priority::default(), |cron| cron.priority)
    }
}

/// Decides on the action for each tick, in their order.
///
/// A run that has started is only followed. Of one task's ticks the oldest runs first, and the next one waits
/// until that run is over. A tick of a disabled task is recorded as SKIPPED, and a tick whose dependency did
/// not complete as BLOCKED. Ticks of a lower priority wait until those of a higher priority have started.
pub fn round(pending: &[DueTick<'_>], seen: &Snapshot, now: Timestamp) -> Vec<TickAction> {
    let mut first: BTreeMap<&TaskName, Timestamp> = BTreeMap::new();
    for tick in pending {
        let entry = first.entry(tick.task.name()).or_insert(tick.tick);
        *entry = tick.tick.min(*entry);
    }
    let mut steps: Vec<_> = pending.iter().map(|tick| step(tick, &first, seen, now)).collect();
    let in_front = pending.iter().zip(&steps).filter(|(tick, step)| match step {
        TickAction::Invoke => true,
        TickAction::Wait(WaitReason::Handed) => tick.handed.is_some_and(|at| is_within(at, HEAD_START, now)),
        _ => false,
    });
    if let Some(front) = in_front.map(|(tick, _)| tick.priority()).min() {
        for (tick, step) in pending.iter().zip(&mut steps) {
            if *step == TickAction::Invoke && tick.priority() > front {
                *step = TickAction::Wait(WaitReason::Priority);
            }
        }
    }
    steps
}

fn step(
    pending: &DueTick<'_>,
    first: &BTreeMap<&TaskName, Timestamp>,
    seen: &Snapshot,
    now: Timestamp,
) -> TickAction {
    let name = pending.task.name();
    if let Some(status) = seen.runs.get(&pending.run_id) {
        return TickAction::Over(Some(*status));
    }
    let Some(state) = seen.states.get(name) else {
        return TickAction::Wait(WaitReason::Unreadable(name.clone()));
    };
    if state.leases().any(|lease| lease.run_id == pending.run_id || lease.scheduled_for == Some(pending.tick))
    {
        return TickAction::Follow;
    }
    if state.last_tick >= Some(pending.tick) {
        return TickAction::Over(None);
    }
    if first.get(name).is_some_and(|first| *first < pending.tick) {
        return TickAction::Wait(WaitReason::Turn);
    }
    if state.disabled {
        return TickAction::Record(Box::new(run(pending, Status::Skipped, now).because(Reason::Disabled)));
    }
    for dependency in pending.task.depends_on() {
        match needed(dependency, pending, first, seen, now) {
            Needed::Complete => {}
            Needed::Awaited(why) => return TickAction::Wait(why),
            Needed::Blocks(reason) => {
                return TickAction::Record(Box::new(run(pending, Status::Blocked, now).because(reason)));
            }
        }
    }
    let overlap = overlap(pending.task, state);
    let waits = overlap == Overlap::Buffer || (pending.late && overlap != Overlap::Allow);
    if waits && state.lease.as_ref().is_some_and(|lease| is_live(lease, now)) {
        return TickAction::Wait(WaitReason::Running);
    }
    if pending.refused {
        return TickAction::Wait(WaitReason::Refused);
    }
    if pending.handed.is_some_and(|at| is_within(at, ASK_AGAIN, now)) {
        return TickAction::Wait(WaitReason::Handed);
    }
    TickAction::Invoke
}

/// The state of a dependency.
enum Needed {
    Complete,
    Awaited(WaitReason),
    Blocks(Reason),
}

/// Returns the state of `dependency` for a tick. The tick waits for the dependency's pending ticks that are not
/// later, and for a run of the dependency that is in progress and not for a later time. Then the dependency's
/// last run decides.
fn needed(
    dependency: &TaskName,
    pending: &DueTick<'_>,
    first: &BTreeMap<&TaskName, Timestamp>,
    seen: &Snapshot,
    now: Timestamp,
) -> Needed {
    let awaited = || Needed::Awaited(WaitReason::Dependency(dependency.clone()));
    if first.get(dependency).is_some_and(|first| *first <= pending.tick) {
        return awaited();
    }
    let Some(state) = seen.states.get(dependency) else {
        return Needed::Awaited(WaitReason::Unreadable(dependency.clone()));
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

/// Returns the task's overlap policy, with run-time settings. The run itself reports settings that cannot be
/// read.
fn overlap(task: &PlannedTask, state: &TaskState) -> Overlap {
    let set = state.settings.as_deref().and_then(|text| Settings::parse(text).ok()?.overlap);
    set.unwrap_or(task.definition.overlap())
}

/// Creates the record of a tick that has no run.
fn run(pending: &DueTick<'_>, status: Status, now: Timestamp) -> Run {
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

/// Returns every task whose state these ticks need: their own, and their dependencies.
pub fn wanted<'a>(pending: &[DueTick<'a>]) -> BTreeSet<&'a TaskName> {
    pending.iter().flat_map(|tick| std::iter::once(tick.task.name()).chain(tick.task.depends_on())).collect()
}

#[cfg(test)]
mod tests;
