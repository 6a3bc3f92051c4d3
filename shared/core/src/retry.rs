//! What follows a failed attempt: another one after a pause, or the end.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often a body is tried, and how long the pauses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in total: 3 means that the body runs three times at most. At least 1.
    pub max_attempts: u32,
    /// The longest pause before the second attempt; it doubles with each further one.
    #[serde(rename = "initial_ms", with = "crate::duration::as_millis")]
    pub initial: Duration,
    /// No pause is longer than this.
    #[serde(rename = "max_ms", with = "crate::duration::as_millis")]
    pub max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: 3, initial: Duration::from_millis(500), max: Duration::from_secs(30) }
    }
}

/// What to do after an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Try again after this pause.
    RetryAfter(Duration),
    /// The failure is final: it is of a kind that trying again cannot mend.
    Fatal,
    /// The failure is final: all attempts are used up.
    Exhausted,
    /// The failure is final: the run's time would be up before the next attempt.
    OutOfTime,
}

impl Retry {
    /// What follows the failure of the attempt numbered `attempt` (from 1).
    ///
    /// The pause is exponential with full jitter: `jitter` (0 to 1, evenly drawn) times the smaller of [`max`]
    /// and `initial * 2^(attempt - 1)`. Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
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

    /// The pause that follows the attempt numbered `attempt` (from 1), as [`after_failure`](Self::after_failure) has it.
    pub fn pause(self, attempt: u32, jitter: f64) -> Duration {
        self.longest_pause(attempt).mul_f64(jitter.clamp(0.0, 1.0))
    }

    /// The longest pause that may follow the attempt numbered `attempt` (from 1).
    fn longest_pause(self, attempt: u32) -> Duration {
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
        #[test]
        fn a_pause_never_exceeds_its_bounds(attempt in 1_u32.., attempts in 1_u32.., jitter in 0.0..=1.0_f64) {
            let retry = Retry { max_attempts: attempts, ..Retry::default() };
            match retry.after_failure(attempt, true, LONG, jitter) {
                Next::RetryAfter(pause) => {
                    prop_assert!(attempt < attempts);
                    prop_assert!(pause <= retry.max);
                }
                next => prop_assert_eq!((next, attempt >= attempts), (Next::Exhausted, true)),
            }
        }
    }
}
