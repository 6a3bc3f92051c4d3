//! The pulse: once a minute, the ticks that are due, the action for each, and the result.
//!
//! A pulse consists of four decisions:
//! - [`pulse`] builds the agenda from the plan, the time and the pulse's own state. It needs no state of a
//!   task, so a task that is not due costs nothing.
//! - [`round`] decides on the action for each due tick, by the states of its task and dependencies. It is
//!   called again after each change.
//! - [`MissCandidates`] finds the ticks that have had no run.
//! - [`keep`] decides what is kept until the next pulse.
//!
//! The id of a tick's run follows from the task and the tick ([`run_id`]). So two pulses that start the same
//! tick start the same run.

mod agenda;
mod known_schedules;
mod misses;
mod plan;
mod record;
mod round;
mod state;

pub use agenda::{Agenda, ExpectedTick, Zones, forced, pulse};
pub use known_schedules::newly_known;
pub use misses::MissCandidates;
pub use plan::{Driver, PLAN, Plan, PlannedTask, run_id, schedule_word};
pub use record::{GivenUpTicks, Health, MissedTicks, Record, Report, Tally, TickOutcome, health};
pub use round::{DueTick, Snapshot, TickAction, WaitReason, round, wanted};
pub use state::{MAX_WAITING, State, WaitingTick, keep};

use std::time::Duration;

/// The time after which an expected tick is missed, and for which a dependency's tick is awaited. EventBridge
/// is precise to the minute, and a function may need a cold start.
pub const GRACE: Duration = Duration::from_secs(180);
