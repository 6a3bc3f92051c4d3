//! The clocks of an invocation's deadline. Leases end by the wall clock, so processes are killed by the wall clock as
//! well.
//!
//! While the machine is suspended, timers stop but the wall clock advances. A process is killed when either clock
//! reaches its deadline, so no process outlives its lease after the machine resumes.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep_until};

/// The pause between two reads of the wall clock while a process runs.
const LOOKS: Duration = Duration::from_millis(250);

/// A wall clock.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Default for Clock {
    fn default() -> Self {
        Self::of(SystemTime::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

impl Clock {
    /// A clock that returns the time of `now`.
    pub fn of(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The current time.
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}

/// The deadline of an invocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// By the monotonic clock, which stops while the machine is suspended.
    timer: Instant,
    /// By the wall clock, which may be changed.
    wall: SystemTime,
}

impl Deadline {
    /// The deadline after this time from now.
    pub(crate) fn after(limit: Duration, clock: &Clock) -> Self {
        Self { timer: Instant::now() + limit, wall: clock.now() + limit }
    }

    /// By the wall clock, as the process receives it.
    pub(crate) fn wall(self) -> SystemTime {
        self.wall
    }

    /// Returns true once either clock has reached it.
    pub(crate) fn has_passed(self, clock: &Clock) -> bool {
        Instant::now() >= self.timer || clock.now() >= self.wall
    }

    /// Waits until either clock has reached it.
    pub(crate) async fn comes(self, clock: &Clock) {
        while !self.has_passed(clock) {
            sleep_until(self.timer.min(Instant::now() + LOOKS)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A clock that the test sets.
    fn manual_clock() -> (Clock, Arc<Mutex<SystemTime>>) {
        let time = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH));
        let shown = Arc::clone(&time);
        (Clock::of(move || *shown.lock().unwrap()), time)
    }

    #[tokio::test]
    async fn a_deadline_is_reached_by_the_timer_or_the_wall_clock_whichever_is_first() {
        let (hour, limit) = (Duration::from_secs(3600), Duration::from_millis(100));
        let (clock, time) = manual_clock();
        // The wall clock stops, or is set back: the timer decides.
        for _ in 0..2 {
            let (began, deadline) = (Instant::now(), Deadline::after(limit, &clock));
            assert!(!deadline.has_passed(&clock));
            deadline.comes(&clock).await;
            assert!(began.elapsed() >= limit);
            *time.lock().unwrap() = SystemTime::UNIX_EPOCH - hour;
        }

        // The machine was suspended: the timer has hardly moved, and the lease has ended.
        let deadline = Deadline::after(hour, &clock);
        assert!(!deadline.has_passed(&clock));
        *time.lock().unwrap() += hour;
        assert!(deadline.has_passed(&clock));
        tokio::time::timeout(hour / 100, deadline.comes(&clock)).await.unwrap();
    }
}
