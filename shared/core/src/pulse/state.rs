//! The state of the pulse between two pulses.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    record::GivenUpTicks,
    round::{DueTick, WaitReason},
};
use crate::{catch_up::CatchUp, definition::Overlap, name::TaskName};

/// The maximum number of waiting ticks. Beyond it the oldest are given up, since the state must fit one item
/// of the table.
pub const MAX_WAITING: usize = 2000;

/// The state of the pulse.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The time up to which all ticks were handled; none before the first pulse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
    /// The ticks up to that time that have neither had a run nor been given up.
    #[serde(default)]
    pub waiting: Vec<WaitingTick>,
    /// The last task that was checked for lost runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<TaskName>,
    /// The time up to which jobs' records were checked for orphans.
    #[serde(default, rename = "heard", skip_serializing_if = "Option::is_none")]
    pub orphans_checked_until: Option<Timestamp>,
    /// The digest of the plan whose schedules are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The start of a series of pulses with errors; none if the last one had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Timestamp>,
    /// The time at which dead letters were last counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letters: Option<Timestamp>,
}

/// A tick that waits for a later pulse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingTick {
    /// Its task.
    pub task: TaskName,
    /// The tick.
    pub tick: Timestamp,
    /// The reason.
    #[serde(flatten)]
    pub why: WaitReason,
    /// The time at which its invocation was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed: Option<Timestamp>,
}

/// Splits a task's ticks into those that are kept until they can run, oldest first, and those that are given
/// up.
///
/// `all within` keeps the ticks within its time, unless the overlap policy is `buffer`. In every other case
/// only the newest tick is kept. Under `none`, a newest tick that already waits is kept only if it waits for a
/// run or a dependency.
pub(super) fn kept(
    ticks: Vec<(Timestamp, Option<&WaitingTick>)>,
    catch_up: CatchUp,
    overlap: Overlap,
    now: Timestamp,
) -> (Vec<(Timestamp, Option<&WaitingTick>)>, Vec<Timestamp>) {
    let newest = ticks.last().map(|(tick, _)| *tick);
    let stays = |(tick, waiting): &(Timestamp, Option<&WaitingTick>)| match catch_up {
        CatchUp::All { within } if overlap != Overlap::Buffer => {
            tick.saturating_add(within).is_ok_and(|end| end >= now)
        }
        CatchUp::None => Some(*tick) == newest && waiting.is_none_or(|waiting| waiting.why.is_of_policy()),
        CatchUp::All { .. } | CatchUp::Last => Some(*tick) == newest,
    };
    let (kept, given_up): (Vec<_>, Vec<_>) = ticks.into_iter().partition(stays);
    (kept, given_up.into_iter().map(|(tick, _)| tick).collect())
}

/// Builds the state for the next pulse from the ticks that are left. Also returns the ticks that are given up
/// because the state has no room for them.
pub fn keep(
    left: &[(DueTick<'_>, WaitReason)],
    cursor: Option<TaskName>,
    watermark: Timestamp,
) -> (State, Vec<GivenUpTicks>) {
    let mut waiting: Vec<_> = left
        .iter()
        .map(|(pending, why)| WaitingTick {
            task: pending.task.name().clone(),
            tick: pending.tick,
            why: why.clone(),
            handed: pending.handed,
        })
        .collect();
    waiting.sort_by(|a, b| (b.tick, &a.task).cmp(&(a.tick, &b.task)));
    let given_up = waiting.split_off(waiting.len().min(MAX_WAITING));
    let given_up =
        given_up.into_iter().map(|it| GivenUpTicks { task: it.task, ticks: vec![it.tick] }).collect();
    (State { watermark: Some(watermark), waiting, cursor, ..State::default() }, given_up)
}
