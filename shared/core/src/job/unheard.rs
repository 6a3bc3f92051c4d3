//! Jobs of which nobody was told: whoever enqueued one died between its record and its message.

use std::time::Duration;

use jiff::Timestamp;

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
pub fn unheard(heard: Option<Timestamp>, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let to = now.saturating_sub(PATIENCE).unwrap_or(Timestamp::MIN);
    let from = heard.unwrap_or_else(|| to.saturating_sub(FIRST).unwrap_or(Timestamp::MIN));
    let ahead = |time| from.saturating_add(time).unwrap_or(Timestamp::MAX);
    (ahead(EVERY) <= to).then(|| (from, to.min(ahead(MOST))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q05_every_record_is_looked_at_once_when_no_message_is_held_back_any_more() {
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let mut heard = Some(at(0));
        let mut seen = Vec::new();
        for minute in (0..100).chain(300..310) {
            if let Some((from, to)) = unheard(heard, at(minute)) {
                assert_eq!(heard, Some(from), "nothing is left out");
                seen.push((minute, to.as_second() / 60));
                heard = Some(to);
            }
        }
        let usual = [(35, 15), (50, 30), (65, 45), (80, 60), (95, 75)];
        // After a pause of the pulse, an hour a minute.
        let late = [(300, 135), (301, 195), (302, 255), (303, 283)];
        assert_eq!(seen, [&usual[..], &late].concat());
        assert_eq!(unheard(None, at(10_000)), Some((at(10_000 - 20 - 24 * 60), at(10_000 - 20 - 23 * 60))));
    }
}
