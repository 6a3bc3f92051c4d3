//! The deadline of a request.

use std::time::Duration;

use jiff::Timestamp;

/// The maximum and default time that CloudFormation waits for an answer. Source: CloudFormation User Guide,
/// `AWS::CloudFormation::CustomResource`, `ServiceTimeout`.
pub const MAX_SERVICE_TIMEOUT: Duration = Duration::from_secs(3600);
/// The time that is kept for deciding and delivering the answer.
const RESERVE: Duration = Duration::from_secs(20);
/// Lambda's pauses before it delivers an event again. Source: Lambda Developer Guide, "Asynchronous invocation".
const RETRIES: [Duration; 2] = [Duration::from_mins(1), Duration::from_mins(2)];
/// The time that a delivery needs to read the ledger and to answer.
const DELIVERY: Duration = Duration::from_secs(20);

/// The times of one request, counted from its first delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The first delivery.
    pub first: Timestamp,
    /// The time at which work ends and the answer is decided from the results so far.
    pub last_call: Timestamp,
    /// The time by which the answer must be sent, even if it is not recorded in the ledger.
    pub answer_by: Timestamp,
}

impl Deadline {
    /// Computes the deadline of a request that was first delivered at `first`, for a resource with this
    /// `ServiceTimeout`.
    ///
    /// The last 20 s are reserved for the answer, or the last quarter of the timeout if that is shorter.
    pub fn new(first: Timestamp, service_timeout: Duration) -> Self {
        let timeout = service_timeout.min(MAX_SERVICE_TIMEOUT);
        let reserve = RESERVE.min(timeout / 4);
        let after = |time: Duration| first.saturating_add(time).unwrap_or(Timestamp::MAX);
        let less = |reserve: Duration| after(timeout.saturating_sub(reserve));
        Self { first, last_call: less(reserve), answer_by: less(reserve / 2) }
    }

    /// Returns whether this delivery must continue by itself after a failure at `now`. Lambda's next delivery
    /// can take over only if it comes before the last call.
    pub fn has_no_further_delivery(&self, now: Timestamp) -> bool {
        let passed = Duration::try_from(now.duration_since(self.first)).unwrap_or_default();
        let pause = if passed < RETRIES[0] { RETRIES[0] } else { RETRIES[1] };
        now.saturating_add(pause + DELIVERY).unwrap_or(Timestamp::MAX) > self.last_call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d05_time_is_reserved_for_the_answer() {
        let first = Timestamp::from_second(1000).unwrap();
        let after = |ms| first + Duration::from_millis(ms);
        for (seconds, last_call, answer_by) in [
            (3600, 3_580_000, 3_590_000),
            (120, 100_000, 110_000),
            (8, 6_000, 7_000),
            (1, 750, 875),
            (9999, 3_580_000, 3_590_000),
        ] {
            let deadline = Deadline::new(first, Duration::from_secs(seconds));
            assert_eq!(
                (deadline.last_call, deadline.answer_by),
                (after(last_call), after(answer_by)),
                "{seconds}"
            );
        }
    }

    #[test]
    fn d05_a_delivery_continues_if_the_next_one_would_be_too_late() {
        let first = Timestamp::from_second(1000).unwrap();
        for (timeout, passed, alone) in [
            (120, 1, false),
            (120, 61, true),
            (600, 61, false),
            (600, 181, false),
            (600, 500, true),
            (60, 1, true),
        ] {
            let deadline = Deadline::new(first, Duration::from_secs(timeout));
            assert_eq!(
                deadline.has_no_further_delivery(first + Duration::from_secs(passed)),
                alone,
                "{timeout} s, after {passed} s"
            );
        }
    }
}
