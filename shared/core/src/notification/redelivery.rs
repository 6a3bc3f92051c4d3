//! Retries of notifications that could not be delivered to a topic, an event bus or a webhook.

use std::time::Duration;

use jiff::Timestamp;

use crate::retry::Retry;

/// The time for which delivery of a message is tried.
pub const DELIVERY_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// The backoff between two deliveries of a message.
const PAUSES: Retry =
    Retry { max_attempts: u32::MAX, initial: Duration::from_secs(60), max: Duration::from_secs(3600) };

/// The decision after a failed delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivery {
    /// Deliver the message again at this time.
    At(Timestamp),
    /// Do not deliver it again.
    GiveUp,
}

/// Decides whether a message is delivered again after a failed delivery. `failures` is the number of earlier
/// failures, and `since` the time from which the message is kept.
///
/// Delivery is tried for [`DELIVERY_LIMIT`]: after 1, 2, 4, .. minutes, and then each hour.
pub fn after_failure(failures: u32, since: Timestamp, now: Timestamp) -> Redelivery {
    let pause = PAUSES.longest_pause(failures.saturating_add(1));
    let end = since.saturating_add(DELIVERY_LIMIT).unwrap_or(Timestamp::MAX);
    match now.saturating_add(pause) {
        Ok(at) if now < end => Redelivery::At(at),
        _ => Redelivery::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o08_a_message_is_retried_for_a_day_at_growing_pauses() {
        let since = Timestamp::from_second(1_800_000_000).unwrap();
        let (mut now, mut pauses) = (since, Vec::new());
        while let Redelivery::At(at) = after_failure(u32::try_from(pauses.len()).unwrap(), since, now) {
            pauses.push(at.duration_since(now).as_mins());
            now = at;
        }
        assert_eq!(pauses[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        let day = i64::try_from(DELIVERY_LIMIT.as_secs() / 60).unwrap();
        assert!((day..=day + 60).contains(&pauses.iter().sum::<i64>()), "{pauses:?}");
        assert_eq!(after_failure(u32::MAX, since, since), Redelivery::At(since + Duration::from_secs(3600)));
    }
}
