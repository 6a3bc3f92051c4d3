//! Which ticks of a task are due, and which are given up.

use std::{iter, time::Duration};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::{catch_up::CatchUp, definition::Cron, name::TaskName};

/// The pause between two pulses.
pub const PULSE: Duration = Duration::from_secs(60);
/// How late a tick may be with catch-up `none`: two pulses, so that one that is late loses nothing.
pub const GRACE: Duration = Duration::from_secs(120);
/// How many ticks of one task are looked at in one decision: the newest ones. Older ones are given up whatever the
/// policy says, so that a schedule of seconds does not bury the others after a long pause.
pub const MOST_TICKS: usize = 1000;

/// What is due of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Due {
    /// No tick has come.
    Waiting {
        /// The next one; nothing if none ever comes.
        next: Option<Timestamp>,
    },
    /// Ticks have come.
    Come {
        /// Those to run, oldest first.
        run: Vec<Timestamp>,
        /// Those that are given up.
        missed: Missed,
        /// The next one; nothing if none ever comes.
        next: Option<Timestamp>,
    },
}

/// Ticks that the policy of catch-up gives up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// The newest of them, oldest first; at most [`MOST_TICKS`].
    pub ticks: Vec<Timestamp>,
    /// Whether there are still older ones, which nobody counted.
    pub more: bool,
}

/// What is due of a task at `now`, of the ticks whose turn came after `last`.
///
/// A tick's turn comes by the task's share of its jitter later ([`put_off`]); the tick keeps its own time. Under the
/// policies `none` and `last` at most one tick runs, the newest, and with `none` only within [`GRACE`]. Under `all`
/// each runs whose turn came within the policy's time. A tick that gave way to a newer one within the same pulse, as
/// those of a schedule of seconds do, does not count as missed.
///
/// A task whose own function is asked has a tick each minute, in every zone, and none of them is missed: nobody knows
/// what the function would have said.
pub fn due(cron: &Cron, name: &TaskName, zone: &TimeZone, last: Timestamp, now: Timestamp) -> Due {
    let put_off = SignedDuration::try_from(put_off(cron, name)).unwrap_or(SignedDuration::MAX);
    let before = |instant: Timestamp| instant.checked_sub(put_off).unwrap_or(Timestamp::MIN);
    let (last, now) = (before(last), before(now));
    match &cron.schedule {
        Some(schedule) => decided(
            cron.catch_up,
            last,
            now,
            |after| schedule.next_after(zone, after),
            |before| schedule.last_before(zone, before),
        ),
        None => match decided(cron.catch_up, last, now, next_minute, last_minute) {
            Due::Come { run, next, missed: _ } => Due::Come { run, missed: Missed::default(), next },
            waiting @ Due::Waiting { .. } => waiting,
        },
    }
}

/// By how much a task's ticks are put off: its own fixed share of its jitter, from its name.
pub fn put_off(cron: &Cron, name: &TaskName) -> Duration {
    let jitter = crate::duration::millis(cron.jitter);
    if jitter == 0 {
        return Duration::ZERO;
    }
    // FNV-1a: the same in every build of every version, as the standard library's hashes are not.
    let hash = name.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Duration::from_millis(hash % jitter)
}

fn decided(
    policy: CatchUp,
    last: Timestamp,
    now: Timestamp,
    next_after: impl Fn(Timestamp) -> Option<Timestamp>,
    last_before: impl Fn(Timestamp) -> Option<Timestamp>,
) -> Due {
    let mut next = next_after(last);
    let mut ticks = Vec::new();
    while let Some(tick) = next.filter(|tick| *tick <= now && ticks.len() <= MOST_TICKS) {
        ticks.push(tick);
        next = next_after(tick);
    }
    if ticks.is_empty() {
        return Due::Waiting { next };
    }
    let more = ticks.len() > MOST_TICKS;
    if more {
        next = next_after(now);
        let from = now.checked_add(Duration::from_nanos(1)).unwrap_or(now);
        ticks = iter::successors(last_before(from), |tick| last_before(*tick)).take(MOST_TICKS).collect();
        ticks.reverse();
    }
    let age = |tick: Timestamp| now.duration_since(tick).unsigned_abs();
    let newest = ticks.len().saturating_sub(1);
    let first = match policy {
        CatchUp::All { within } => ticks.partition_point(|tick| age(*tick) > within),
        CatchUp::None if age(ticks[newest]) > GRACE => ticks.len(),
        CatchUp::None | CatchUp::Last => newest,
    };
    let run = ticks.split_off(first);
    if let (Some(heir), CatchUp::None | CatchUp::Last) = (run.first(), policy) {
        let same_pulse = |tick: &Timestamp| heir.duration_since(*tick).unsigned_abs() < PULSE;
        ticks.retain(|tick| !same_pulse(tick));
    }
    Due::Come { run, missed: Missed { ticks, more }, next }
}

fn next_minute(after: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(after.as_second().div_euclid(60).checked_add(1)? * 60).ok()
}

fn last_minute(before: Timestamp) -> Option<Timestamp> {
    let minute = before.as_second().div_euclid(60) * 60;
    let tick = Timestamp::from_second(minute).ok()?;
    if tick < before { Some(tick) } else { Timestamp::from_second(minute - 60).ok() }
}
