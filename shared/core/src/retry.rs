//! Retries: the decision after a failed attempt, and the backoff between attempts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The number of attempts, and the backoff between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// The number of attempts in total, at least 1: with 3 the body runs three times at most.
    pub max_attempts: u32,
    /// The longest pause before the second attempt. It doubles with each further one.
    #[serde(rename = "initial_ms", with = "crate::duration::as_millis")]
    pub initial: Duration,
    /// The maximum of all pauses.
    #[serde(rename = "max_ms", with = "crate::duration::as_millis")]
    pub max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: 3, initial: Duration::from_millis(500), max: Duration::from_secs(30) }
    }
}

/// The decision after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Try again after this pause.
    RetryAfter(Duration),
    /// The failure is final, since its kind is never retried.
    Fatal,
    /// The failure is final, since it was the last attempt.
    Exhausted,
    /// The failure is final, since the run's time ends before the next attempt.
    OutOfTime,
}

impl Retry {
    /// Decides what follows the failure of attempt `attempt`, counted from 1.
    ///
    /// The backoff is exponential with full jitter: `jitter` (0 to 1, evenly distributed) times the smaller
    /// of [`max`] and `initial * 2^(attempt - 1)`. Source: AWS Architecture Blog, "Exponential Backoff And
    /// Jitter".
    ///
    /// [`max`]: Retry::max
    pub fn after_failure(self, attempt: u32, retryable: bool, remaining: Duration, jitter: f64) -> Next {
        if !retryable {
            return Next::Fatal;
        }
        if attempt >= self.max_attempts {
            return Next::Exhausted;
        }
        let pause = self.pause(attempt, jitter);
        if pause < remaining { Next::RetryAfter(pause) } else { Next::OutOfTime }
    }

    /// Returns the pause after attempt `attempt`, counted from 1, as in
    /// [`after_failure`](Self::after_failure).
    pub fn pause(self, attempt: u32, jitter: f64) -> Duration {
        self.longest_pause(attempt).mul_f64(jitter.clamp(0.0, 1.0))
    }

    /// Returns the longest pause after attempt `attempt`, counted from 1.
    pub fn longest_pause(self, attempt: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        self.initial.saturating_mul(doubled).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn c16_attempts_are_counted_in_total() {
        let retry = Retry::default();
        assert_eq!(retry.after_failure(1, true, LONG, 1.0), Next::RetryAfter(Duration::from_millis(500)));
        assert_eq!(retry.after_failure(2, true, LONG, 1.0), Next::RetryAfter(Duration::from_secs(1)));
        assert_eq!(retry.after_failure(3, true, LONG, 1.0), Next::Exhausted);
        assert_eq!(retry.after_failure(1, false, LONG, 1.0), Next::Fatal);
    }

    #[test]
    fn no_attempt_begins_after_the_deadline() {
        assert_eq!(Retry::default().after_failure(1, true, Duration::from_millis(400), 1.0), Next::OutOfTime);
    }

    proptest! {
        /// The bounds are computed here by repeated doubling.
        #[test]
        fn c16_a_pause_is_a_random_part_of_a_bound_that_doubles_up_to_the_maximum(
            attempt in prop_oneof![1_u32..12, 1_u32..],
            attempts in prop_oneof![1_u32..12, 1_u32..],
            (initial, max) in (0_u64..5_000, 0_u64..600_000),
            jitter in 0.0..=1.0_f64,
        ) {
            let (initial, max) = (Duration::from_millis(initial), Duration::from_millis(max));
            let retry = Retry { max_attempts: attempts, initial, max };
            let mut bound = initial.min(max);
            for _ in 1..attempt.min(64) {
                bound = (bound * 2).min(max);
            }
            match retry.after_failure(attempt, true, LONG, jitter) {
                Next::RetryAfter(pause) => {
                    prop_assert!(attempt < attempts);
                    prop_assert_eq!(pause, bound.mul_f64(jitter));
                    prop_assert_eq!(retry.pause(attempt, 0.0), Duration::ZERO);
                    prop_assert_eq!(retry.pause(attempt, 1.0), bound);
                }
                next => prop_assert_eq!((next, attempt >= attempts), (Next::Exhausted, true)),
            }
        }
    }
}
