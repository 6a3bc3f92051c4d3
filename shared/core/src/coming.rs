//! The coming ticks of a task, with the clock changes between them.

use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};
use serde::Serialize;

use crate::schedule::Schedule;

/// Something that is coming.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Coming {
    /// A tick.
    Tick {
        /// When.
        at: Timestamp,
        /// The local time.
        local: DateTime,
    },
    /// The clocks go forward: some local times are left out, and have no tick.
    Forward {
        /// When.
        at: Timestamp,
        /// By how many minutes.
        minutes: i64,
        /// The local times that would have been ticks.
        left_out: Vec<DateTime>,
    },
    /// The clocks go back: some local times come twice, and have their tick the first time.
    Back {
        /// When.
        at: Timestamp,
        /// By how many minutes.
        minutes: i64,
        /// The local times that come again, without a tick.
        once: Vec<DateTime>,
    },
}

/// How many local times of a clock change are named at most.
const NAMED: usize = 24;

/// What comes after `after` and up to `until`, in order; at most `limit` ticks.
pub fn coming(
    schedule: &Schedule,
    zone: &TimeZone,
    after: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Vec<Coming> {
    let ticks = schedule.ticks(zone, after).take_while(|tick| *tick <= until).take(limit);
    let mut all: Vec<_> = ticks.map(|at| (at, Coming::Tick { at, local: zone.to_datetime(at) })).collect();
    // Behind the last of the ticks that are shown, a change would stand in the wrong place.
    let end = if all.len() == limit { all.last().map_or(until, |(at, _)| *at) } else { until };
    for change in zone.following(after).map(|change| change.timestamp()).take_while(|at| *at <= end) {
        all.extend(clock_change(schedule, zone, change).map(|it| (change, it)));
    }
    all.sort_by_key(|(at, coming)| (*at, matches!(coming, Coming::Tick { .. })));
    all.into_iter().map(|(_, coming)| coming).collect()
}

/// What a change of the zone's rules does to the clocks; nothing if they go on.
fn clock_change(schedule: &Schedule, zone: &TimeZone, at: Timestamp) -> Option<Coming> {
    let moment_before = at.checked_sub(SignedDuration::from_secs(1)).ok()?;
    let (before, after) = (zone.to_offset(moment_before), zone.to_offset(at));
    let by = SignedDuration::from_secs(i64::from(after.seconds()) - i64::from(before.seconds()));
    let minutes = by.abs().as_mins();
    // As long as the change is, the old clock shows what is left out, and the new one what comes again.
    if by.is_positive() {
        Some(Coming::Forward { at, minutes, left_out: shown(schedule, before, at, by) })
    } else if by.is_negative() {
        Some(Coming::Back { at, minutes, once: shown(schedule, after, at, by.abs()) })
    } else {
        None
    }
}

/// The ticks that a clock of this offset would show for so long from `at` on.
fn shown(schedule: &Schedule, offset: Offset, at: Timestamp, length: SignedDuration) -> Vec<DateTime> {
    let clock = TimeZone::fixed(offset);
    let moment_before = at.checked_sub(SignedDuration::from_secs(1)).unwrap_or(at);
    let end = at.checked_add(length).unwrap_or(at);
    let ticks = schedule.ticks(&clock, moment_before).take_while(|tick| *tick < end);
    ticks.take(NAMED).map(|tick| offset.to_datetime(tick)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(expression: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
        let zone = TimeZone::get(zone).unwrap();
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        coming(&expression.parse().unwrap(), &zone, time(from), time(to), 100)
            .iter()
            .map(|coming| match coming {
                Coming::Tick { local, .. } => format!("{local}"),
                Coming::Forward { minutes, left_out, .. } => format!("+{minutes} {left_out:?}"),
                Coming::Back { minutes, once, .. } => format!("-{minutes} {once:?}"),
            })
            .collect()
    }

    #[test]
    fn k05_what_is_left_out_and_what_comes_again_is_marked() {
        let days = ("2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z");
        assert_eq!(
            told("30 2 * * *", "Europe/Vienna", days.0, days.1),
            ["2026-03-28T02:30:00", "+60 [2026-03-29T02:30:00]", "2026-03-30T02:30:00"]
        );
        assert_eq!(told("30 2 * * *", "UTC", days.0, days.1).len(), 3, "no change, three days");
        assert_eq!(
            told("30 2 * * *", "Europe/Vienna", "2026-10-25T00:00:00Z", "2026-10-26T00:00:00Z"),
            ["2026-10-25T02:30:00", "-60 [2026-10-25T02:30:00]"]
        );
        // Lord Howe changes by half an hour.
        assert_eq!(
            told("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-04T12:00:00Z"),
            ["+30 [2026-10-04T02:15:00]"]
        );
    }

    #[test]
    fn k05_of_many_ticks_the_first_are_told() {
        let zone = TimeZone::get("Europe/Vienna").unwrap();
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let (from, to) = (time("2026-03-28T00:00:00Z"), time("2026-04-04T00:00:00Z"));
        let some = coming(&"* * * * *".parse().unwrap(), &zone, from, to, 10);
        assert_eq!(some.len(), 10);
        assert!(some.iter().all(|coming| matches!(coming, Coming::Tick { .. })));
    }
}
