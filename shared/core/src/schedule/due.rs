//! The due ticks of a task, and those that are given up.

use std::{iter, time::Duration};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::{catch_up::CatchUp, definition::Cron, name::TaskName};

/// The pause between two pulses.
pub const PULSE: Duration = Duration::from_secs(60);
/// The maximum delay of a tick with catch-up `none`: two pulses, so that a late pulse loses nothing.
pub const GRACE: Duration = Duration::from_secs(120);
/// The maximum number of a task's ticks in one decision: the newest ones. Older ones are given up whatever
/// the policy. So a schedule of seconds does not displace the other tasks after a long pause.
pub const MOST_TICKS: usize = 1000;

/// The due ticks of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Due {
    /// No tick is due.
    Waiting {
        /// The next tick; none if there is none.
        next: Option<Timestamp>,
    },
    /// Ticks are due.
    Come {
        /// The ticks to run, oldest first.
        run: Vec<Timestamp>,
        /// The ticks that are given up.
        missed: Missed,
        /// The next tick; none if there is none.
        next: Option<Timestamp>,
    },
}

/// The ticks that the catch-up policy gives up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// The newest given-up ticks, in ascending order; at most [`MOST_TICKS`].
    pub ticks: Vec<Timestamp>,
    /// Further, older ticks are given up too. They are not listed.
    pub more: bool,
}

/// Decides which ticks of a task are due at `now`, of those that came due after `last`.
///
/// A tick becomes due after the task's share of the jitter ([`put_off`]) and keeps its scheduled time. Under
/// the policies `none` and `last` at most the newest tick runs, and under `none` only within [`GRACE`]. Under
/// `all` each tick within the policy's time runs. If a newer tick replaces an older one within the same pulse,
/// as in a schedule of seconds, the older tick does not count as missed.
///
/// A task with a schedule function has a tick each minute, in every zone. None of them is missed, since the
/// function's decision is unknown.
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

/// Returns the delay of a task's ticks: its fixed share of its jitter, by its name.
pub fn put_off(cron: &Cron, name: &TaskName) -> Duration {
    let jitter = crate::duration::millis(cron.jitter);
    if jitter == 0 {
        return Duration::ZERO;
    }
    // FNV-1a is the same in every build of every version, unlike the standard library's hashes.
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
    if let (Some(successor), CatchUp::None | CatchUp::Last) = (run.first(), policy) {
        let same_pulse = |tick: &Timestamp| successor.duration_since(*tick).unsigned_abs() < PULSE;
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
