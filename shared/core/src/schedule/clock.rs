//! From local times to instants: what a clock change does to a schedule.
//!
//! The rule is the one of EventBridge Scheduler, so that a task fires at the same instants wherever it runs: a local
//! time that the change leaves out has no tick, and one that comes twice has its tick the first time. Source:
//! `EventBridge` Scheduler User Guide, "Daylight savings time".

use std::iter;

use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

use super::Schedule;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

impl Schedule {
    /// The first tick after an instant; nothing if none ever comes, as of a year that has passed.
    pub fn next_after(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let mut local = zone.to_datetime(after);
        loop {
            local = self.parsed.calendar.next_after(local)?;
            match zone.to_ambiguous_timestamp(local).offset() {
                AmbiguousOffset::Unambiguous { offset } => return offset.to_timestamp(local).ok(),
                AmbiguousOffset::Gap { after: offset, .. } => {
                    let change = zone.following(offset.to_timestamp(local).ok()?).next()?.timestamp();
                    local = offset.to_datetime(change).checked_sub(SECOND).ok()?;
                }
                AmbiguousOffset::Fold { before: offset, .. } => {
                    let tick = offset.to_timestamp(local).ok()?;
                    if tick > after {
                        return Some(tick);
                    }
                    // `after` is in the repeated time, all of which has had its ticks.
                    local = end_of_fold(zone, after)?.checked_sub(SECOND).ok()?;
                }
            }
        }
    }

    /// The last tick before an instant; nothing if there was none.
    pub fn last_before(&self, zone: &TimeZone, before: Timestamp) -> Option<Timestamp> {
        let mut local = zone.to_datetime(before);
        if let AmbiguousOffset::Fold { after: offset, .. } = zone.to_ambiguous_timestamp(local).offset()
            && zone.to_offset(before) == offset
        {
            local = end_of_fold(zone, before)?;
        }
        loop {
            local = self.parsed.calendar.last_before(local)?;
            match zone.to_ambiguous_timestamp(local).offset() {
                AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                    return offset.to_timestamp(local).ok();
                }
                AmbiguousOffset::Gap { before: offset, after } => {
                    let change = zone.following(after.to_timestamp(local).ok()?).next()?.timestamp();
                    local = offset.to_datetime(change);
                }
            }
        }
    }

    /// The ticks after an instant, in order.
    pub fn ticks<'a>(&'a self, zone: &'a TimeZone, after: Timestamp) -> impl Iterator<Item = Timestamp> + 'a {
        iter::successors(self.next_after(zone, after), move |tick| self.next_after(zone, *tick))
    }
}

/// The local time at which the repeated time is over in which `instant` is.
fn end_of_fold(zone: &TimeZone, instant: Timestamp) -> Option<DateTime> {
    let change = zone.preceding(instant.checked_add(SECOND).ok()?).next()?.timestamp();
    let before = zone.to_offset(change.checked_sub(SECOND).ok()?);
    Some(before.to_datetime(change))
}
