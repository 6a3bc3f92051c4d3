//! What the pulse remembers from one minute to the next.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    record::GivenUp,
    round::{Pending, Why},
};
use crate::{catch_up::CatchUp, definition::Overlap, name::TaskName};

/// How many ticks may wait. With more the oldest are given up: the state must fit one item of the table.
pub const MAX_WAITING: usize = 2000;

/// What the pulse remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The time up to which every tick has been considered; nothing before the first pulse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
    /// The ticks up to it that have neither had a run nor been given up.
    #[serde(default)]
    pub waiting: Vec<Waiting>,
    /// The last of the tasks that were looked at for lost runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<TaskName>,
    /// The time up to which the records of jobs were looked at for those of which nobody was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Timestamp>,
    /// The plan whose tasks' schedules are known: its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Since when each pulse has had errors; nothing if the last one had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Timestamp>,
    /// When the dead letters were counted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letters: Option<Timestamp>,
}

/// A tick that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its task.
    pub task: TaskName,
    /// The tick.
    pub tick: Timestamp,
    /// For what.
    #[serde(flatten)]
    pub why: Why,
    /// When its invocation was accepted, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed: Option<Timestamp>,
}

/// Which of a task's ticks are kept until they can run, oldest first, and which are given up: what its policies of
/// catch-up and overlap say of ticks that could not run at their time.
///
/// `all within` keeps those of that time. Every other policy keeps the newest one, and `none` only if there was something
/// to start it, so that it waits for a run or a dependency.
pub(super) fn kept(
    ticks: Vec<(Timestamp, Option<&Waiting>)>,
    catch_up: CatchUp,
    overlap: Overlap,
    now: Timestamp,
) -> (Vec<(Timestamp, Option<&Waiting>)>, Vec<Timestamp>) {
    let newest = ticks.last().map(|(tick, _)| *tick);
    let stays = |(tick, waiting): &(Timestamp, Option<&Waiting>)| match catch_up {
        CatchUp::All { within } if overlap != Overlap::Buffer => {
            tick.saturating_add(within).is_ok_and(|end| end >= now)
        }
        CatchUp::None => Some(*tick) == newest && waiting.is_none_or(|waiting| waiting.why.is_of_policy()),
        CatchUp::All { .. } | CatchUp::Last => Some(*tick) == newest,
    };
    let (kept, given_up): (Vec<_>, Vec<_>) = ticks.into_iter().partition(stays);
    (kept, given_up.into_iter().map(|(tick, _)| tick).collect())
}

/// What the pulse remembers once it has done all it could by `now`: what is left waits. What there is no room for is
/// given up.
pub fn keep(
    left: &[(Pending<'_>, Why)],
    cursor: Option<TaskName>,
    watermark: Timestamp,
) -> (State, Vec<GivenUp>) {
    let mut waiting: Vec<_> = left
        .iter()
        .map(|(pending, why)| Waiting {
            task: pending.task.name().clone(),
            tick: pending.tick,
            why: why.clone(),
            handed: pending.handed,
        })
        .collect();
    waiting.sort_by(|a, b| (b.tick, &a.task).cmp(&(a.tick, &b.task)));
    let given_up = waiting.split_off(waiting.len().min(MAX_WAITING));
    let given_up = given_up.into_iter().map(|it| GivenUp { task: it.task, ticks: vec![it.tick] }).collect();
    (State { watermark: Some(watermark), waiting, cursor, ..State::default() }, given_up)
}
