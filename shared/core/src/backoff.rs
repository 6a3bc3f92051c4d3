//! Backoff of loops that look at something again and again.

use std::time::Duration;

/// Pauses that double from the first up to the longest. They have no jitter, since each loop has its own start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Creates a backoff with its first and its longest pause.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    /// Returns the next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = pause.saturating_mul(2);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_the_initial_one_to_the_maximum() {
        let mut backoff = Backoff::new(Duration::from_millis(300), Duration::from_secs(1));
        let pauses: Vec<_> = (0..5).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [300, 600, 1000, 1000, 1000]);
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!((backoff.pause(), backoff.pause()), (Duration::MAX, Duration::MAX));
    }
}
