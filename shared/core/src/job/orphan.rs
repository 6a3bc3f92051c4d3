//! Jobs that no message tells of any more: whoever enqueued one died between its record and its message, or the message of one
//! that its worker did not end is gone.

use std::time::Duration;

use jiff::Timestamp;

use super::LONGEST_LIFE;

/// How old a record is before it is looked at: older than any message that SQS holds back.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// How often it is looked for some.
const EVERY: Duration = Duration::from_secs(15 * 60);
/// How much is looked at once, so that a pulse which was missing for long catches up step by step.
const MOST: Duration = Duration::from_secs(3600);
/// How far back is looked at first.
const FIRST: Duration = Duration::from_secs(24 * 3600);

/// The records that are to be looked at now: from when to when they were made. `heard` is up to when they have been.
/// Nothing if that is not long ago.
pub fn orphan_range(heard: Option<Timestamp>, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let to = now.saturating_sub(PATIENCE).unwrap_or(Timestamp::MIN);
    let from = heard.unwrap_or_else(|| to.saturating_sub(FIRST).unwrap_or(Timestamp::MIN));
    let ahead = |time| from.saturating_add(time).unwrap_or(Timestamp::MAX);
    (ahead(EVERY) <= to).then(|| (from, to.min(ahead(MOST))))
}

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How old records are when they are looked at once more: some hours, when the usual job has ended, and then every so many days
/// until no job can be.
const AGAIN: (Duration, u32) = (Duration::from_secs(6 * 3600), 15);

/// The records that are looked at once more when those from `from` to `to` are: of whole days, once a day. A job may be
/// delayed, tried again or wait for a place for long, and lose its message then.
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
    fn a_record_is_looked_at_again_on_its_first_day_and_every_fifteen_days() {
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
    fn q05_every_record_is_looked_at_once_when_no_message_is_held_back_any_more() {
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let mut heard = Some(at(0));
        let mut seen = Vec::new();
        for minute in (0..100).chain(300..310) {
            if let Some((from, to)) = orphan_range(heard, at(minute)) {
                assert_eq!(heard, Some(from), "nothing is left out");
                seen.push((minute, to.as_second() / 60));
                heard = Some(to);
            }
        }
        let usual = [(35, 15), (50, 30), (65, 45), (80, 60), (95, 75)];
        // After a pause of the pulse, an hour a minute.
        let late = [(300, 135), (301, 195), (302, 255), (303, 283)];
        assert_eq!(seen, [&usual[..], &late].concat());
        assert_eq!(
            orphan_range(None, at(10_000)),
            Some((at(10_000 - 20 - 24 * 60), at(10_000 - 20 - 23 * 60)))
        );
    }
}
