//! Upcoming ticks of a task, and the clock changes between them.

use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};
use serde::Serialize;

use crate::schedule::Schedule;

/// An upcoming tick or clock change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum UpcomingEvent {
    /// A tick.
    Tick {
        /// The time of the tick.
        at: Timestamp,
        /// The local time.
        local: DateTime,
    },
    /// The clocks go forward. Some local times are left out and have no tick.
    Forward {
        /// The time of the change.
        at: Timestamp,
        /// The size of the change, in minutes.
        minutes: i64,
        /// The local times that would have been ticks.
        left_out: Vec<DateTime>,
    },
    /// The clocks go back. Some local times occur twice and have their tick the first time.
    Back {
        /// The time of the change.
        at: Timestamp,
        /// The size of the change, in minutes.
        minutes: i64,
        /// The local times that occur again, without a tick.
        once: Vec<DateTime>,
    },
}

/// The maximum number of local times that are listed for a clock change.
const NAMED: usize = 24;

/// Returns the ticks and clock changes after `after` and up to `until`, in order. At most `limit` are ticks.
pub fn coming(
    schedule: &Schedule,
    zone: &TimeZone,
    after: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Vec<UpcomingEvent> {
    let ticks = schedule.ticks(zone, after).take_while(|tick| *tick <= until).take(limit);
    let mut all: Vec<_> =
        ticks.map(|at| (at, UpcomingEvent::Tick { at, local: zone.to_datetime(at) })).collect();
    // If `limit` cuts off the ticks, clock changes after the last listed tick are left out too. Otherwise such
    // a change would seem to follow that tick directly.
    let end = if all.len() == limit { all.last().map_or(until, |(at, _)| *at) } else { until };
    for change in zone.following(after).map(|change| change.timestamp()).take_while(|at| *at <= end) {
        all.extend(clock_change(schedule, zone, change).map(|it| (change, it)));
    }
    all.sort_by_key(|(at, coming)| (*at, matches!(coming, UpcomingEvent::Tick { .. })));
    all.into_iter().map(|(_, coming)| coming).collect()
}

/// Returns the clock change at a transition of the zone; none if the offset stays the same.
fn clock_change(schedule: &Schedule, zone: &TimeZone, at: Timestamp) -> Option<UpcomingEvent> {
    let moment_before = at.checked_sub(SignedDuration::from_secs(1)).ok()?;
    let (before, after) = (zone.to_offset(moment_before), zone.to_offset(at));
    let by = SignedDuration::from_secs(i64::from(after.seconds()) - i64::from(before.seconds()));
    let minutes = by.abs().as_mins();
    // From the change on and for its length, a clock with the old offset shows the left-out times. A clock with
    // the new offset shows the repeated times.
    if by.is_positive() {
        Some(UpcomingEvent::Forward { at, minutes, left_out: shown(schedule, before, at, by) })
    } else if by.is_negative() {
        Some(UpcomingEvent::Back { at, minutes, once: shown(schedule, after, at, by.abs()) })
    } else {
        None
    }
}

/// Returns the local times of the ticks from `at` to `at + length`, for a clock with a constant offset.
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

    fn upcoming(expression: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
        let zone = TimeZone::get(zone).unwrap();
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        coming(&expression.parse().unwrap(), &zone, time(from), time(to), 100)
            .iter()
            .map(|coming| match coming {
                UpcomingEvent::Tick { local, .. } => format!("{local}"),
                UpcomingEvent::Forward { minutes, left_out, .. } => format!("+{minutes} {left_out:?}"),
                UpcomingEvent::Back { minutes, once, .. } => format!("-{minutes} {once:?}"),
            })
            .collect()
    }

    #[test]
    fn k05_skipped_and_repeated_times_are_marked() {
        let days = ("2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z");
        assert_eq!(
            upcoming("30 2 * * *", "Europe/Vienna", days.0, days.1),
            ["2026-03-28T02:30:00", "+60 [2026-03-29T02:30:00]", "2026-03-30T02:30:00"]
        );
        assert_eq!(upcoming("30 2 * * *", "UTC", days.0, days.1).len(), 3, "no change, three days");
        assert_eq!(
            upcoming("30 2 * * *", "Europe/Vienna", "2026-10-25T00:00:00Z", "2026-10-26T00:00:00Z"),
            ["2026-10-25T02:30:00", "-60 [2026-10-25T02:30:00]"]
        );
        // Lord Howe changes by half an hour.
        assert_eq!(
            upcoming("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-04T12:00:00Z"),
            ["+30 [2026-10-04T02:15:00]"]
        );
    }

    #[test]
    fn k05_of_many_ticks_the_first_are_returned() {
        let zone = TimeZone::get("Europe/Vienna").unwrap();
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let (from, to) = (time("2026-03-28T00:00:00Z"), time("2026-04-04T00:00:00Z"));
        let some = coming(&"* * * * *".parse().unwrap(), &zone, from, to, 10);
        assert_eq!(some.len(), 10);
        assert!(some.iter().all(|coming| matches!(coming, UpcomingEvent::Tick { .. })));
    }
}
