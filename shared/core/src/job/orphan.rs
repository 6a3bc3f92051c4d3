//! Orphans: jobs for which no message exists.
//!
//! An enqueuer may die after it writes the record and before it sends the message. The message of a job may
//! also be lost before the job is over.

use std::time::Duration;

use jiff::Timestamp;

use super::LONGEST_LIFE;

/// The minimum age of a record that is checked: longer than SQS can delay a message.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// The interval between two checks.
const EVERY: Duration = Duration::from_secs(15 * 60);
/// The maximum range of one check. So a pulse after a long outage catches up in steps.
const MOST: Duration = Duration::from_secs(3600);
/// The range of the first check.
const FIRST: Duration = Duration::from_secs(24 * 3600);

/// Returns the range of creation times whose records are checked now; none if the last check is recent.
/// `checked_until` is the end of the last checked range.
pub fn orphan_range(checked_until: Option<Timestamp>, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let to = now.saturating_sub(PATIENCE).unwrap_or(Timestamp::MIN);
    let from = checked_until.unwrap_or_else(|| to.saturating_sub(FIRST).unwrap_or(Timestamp::MIN));
    let ahead = |time| from.saturating_add(time).unwrap_or(Timestamp::MAX);
    (ahead(EVERY) <= to).then(|| (from, to.min(ahead(MOST))))
}

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The ages of records that are checked again: first 6 hours, when the usual job is over, and then every 15
/// days until no job can be left.
const AGAIN: (Duration, u32) = (Duration::from_secs(6 * 3600), 15);

/// Returns the ranges of older records to check again: one whole day for each age in `AGAIN`. They are returned
/// once a day, when a midnight (UTC) is after `from` and not after `to`.
///
/// A job that is delayed, retried or waiting for a place may lose its message long after its enqueue.
pub fn later_looks(from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let midnight =
        Timestamp::from_second(to.as_second().div_euclid(86_400) * 86_400).unwrap_or(Timestamp::MIN);
    if midnight <= from {
        return Vec::new();
    }
    let before = |age: Duration| midnight.saturating_sub(age).unwrap_or(Timestamp::MIN);
    let last = LONGEST_LIFE.as_secs().div_ceil(DAY.as_secs() * u64::from(AGAIN.1));
    let ages = (1..=u32::try_from(last).unwrap_or(1)).map(|nth| DAY * AGAIN.1 * nth);
    std::iter::once(AGAIN.0).chain(ages).map(|age| (before(age + DAY), before(age))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_check_is_due_on_the_first_day_and_every_fifteen_days() {
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let enqueued = at(7 * 24 * 60 + 777);
        let mut ages = Vec::new();
        for minute in (0..500 * 24 * 4).map(|quarter| quarter * 15) {
            let looks = later_looks(at(minute), at(minute + 15));
            let seen = looks.iter().filter(|(from, to)| (*from..*to).contains(&enqueued)).count();
            ages.extend(std::iter::repeat_n((minute + 15 - 7 * 24 * 60 - 777) / (24 * 60), seen));
        }
        let wanted: Vec<_> = std::iter::once(0).chain((1..=27).map(|nth| nth * 15)).collect();
        assert_eq!(ages, wanted);
        assert_eq!(later_looks(at(1), at(16)), []);
        assert_eq!(later_looks(at(0), at(0)), []);
    }

    #[test]
    fn q05_every_record_is_checked_once_after_the_longest_delay_of_sqs() {
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let mut checked_until = Some(at(0));
        let mut seen = Vec::new();
        for minute in (0..100).chain(300..310) {
            if let Some((from, to)) = orphan_range(checked_until, at(minute)) {
                assert_eq!(checked_until, Some(from), "nothing is left out");
                seen.push((minute, to.as_second() / 60));
                checked_until = Some(to);
            }
        }
        let usual = [(35, 15), (50, 30), (65, 45), (80, 60), (95, 75)];
        // After an outage of the pulse, one hour per minute.
        let late = [(300, 135), (301, 195), (302, 255), (303, 283)];
        assert_eq!(seen, [&usual[..], &late].concat());
        assert_eq!(
            orphan_range(None, at(10_000)),
            Some((at(10_000 - 20 - 24 * 60), at(10_000 - 20 - 23 * 60)))
        );
    }
}
