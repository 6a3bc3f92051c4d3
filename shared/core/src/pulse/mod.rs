//! The pulse: once a minute, which ticks are due, what to do with each, and what became of them.
//!
//! A pulse is made of three decisions. [`pulse`] says what there is to look at, from the plan, the time and the little
//! that the pulse itself remembers; nothing of a task's own item is needed for that, so a task that is not due costs
//! nothing. [`round`] says what to do with each tick that is due, from what was seen of its task; it is asked again each
//! time something has changed. [`keep`] says what is remembered until the next pulse.
//!
//! A tick's run has an id that follows from the task and the tick ([`run_id`]). So whatever is asked twice, by a pulse
//! that was killed and by the one after it, is the same run.

mod consider;
mod keep;
mod known;
mod plan;
mod record;
mod round;

pub use consider::{Considered, Expected, Zones, forced, pulse};
pub use keep::{MAX_WAITING, State, Waiting, keep};
pub use known::{newly_known, schedule_word};
pub use plan::{Driver, PLAN, Plan, Planned, run_id};
pub use record::{GivenUp, Health, Missed, Record, Report, Tally, Told, health};
pub use round::{Pending, Seen, Step, Why, round, wanted};

use std::time::Duration;

/// How late a tick may begin before it is missed, and how long one waits for that of a task it depends on. EventBridge
/// is precise to the minute, and a function may have to be started first.
pub const GRACE: Duration = Duration::from_secs(180);
