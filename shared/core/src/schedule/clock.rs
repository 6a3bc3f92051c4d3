//! From local times to instants, across clock changes.
//!
//! The rule is that of EventBridge Scheduler, so that a task fires at the same instants everywhere. A local
//! time that a clock change leaves out has no tick. One that occurs twice has its tick the first time.
//! Source: `EventBridge` Scheduler User Guide, "Daylight savings time".

use std::iter;

use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

use super::Schedule;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

impl Schedule {
    /// Returns the first tick after an instant; none if there is none, such as for a year that has passed.
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
                    // `after` is in the repeated time, whose ticks are all over.
                    local = end_of_fold(zone, after)?.checked_sub(SECOND).ok()?;
                }
            }
        }
    }

    /// Returns the last tick before an instant; none if there was none.
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

    /// Returns the ticks after an instant, in order.
    pub fn ticks<'a>(&'a self, zone: &'a TimeZone, after: Timestamp) -> impl Iterator<Item = Timestamp> + 'a {
        iter::successors(self.next_after(zone, after), move |tick| self.next_after(zone, *tick))
    }
}

/// Returns the local time at which the repeated time around `instant` ends.
fn end_of_fold(zone: &TimeZone, instant: Timestamp) -> Option<DateTime> {
    let change = zone.preceding(instant.checked_add(SECOND).ok()?).next()?.timestamp();
    let before = zone.to_offset(change.checked_sub(SECOND).ok()?);
    Some(before.to_datetime(change))
}
