//! The clock by which processes are killed: the one that leases are written by.
//!
//! A timer stops while the machine sleeps, and the wall clock goes on. A process whose time has passed by either is killed, so
//! that none runs beyond its lease once the machine is awake.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep_until};

/// How often the wall clock is looked at while a process runs.
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
    /// A clock that shows what `now` says.
    pub fn of(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}

/// When the time of an invocation is up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// By the timers, which stop while the machine sleeps.
    timer: Instant,
    /// By the wall clock, which may be set.
    wall: SystemTime,
}

impl Deadline {
    /// So long from now.
    pub(crate) fn after(limit: Duration, clock: &Clock) -> Self {
        Self { timer: Instant::now() + limit, wall: clock.now() + limit }
    }

    /// By the wall clock, as the process is told it.
    pub(crate) fn wall(self) -> SystemTime {
        self.wall
    }

    /// Whether it has come.
    pub(crate) fn has_passed(self, clock: &Clock) -> bool {
        Instant::now() >= self.timer || clock.now() >= self.wall
    }

    /// Returns when it has come.
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

    /// A clock that is set by hand.
    fn by_hand() -> (Clock, Arc<Mutex<SystemTime>>) {
        let time = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH));
        let shown = Arc::clone(&time);
        (Clock::of(move || *shown.lock().unwrap()), time)
    }

    #[tokio::test]
    async fn a_deadline_comes_by_the_timer_or_by_the_wall_clock_whichever_is_first() {
        let (hour, limit) = (Duration::from_secs(3600), Duration::from_millis(100));
        let (clock, time) = by_hand();
        // The wall clock stands still, or is set back: the timer tells.
        for _ in 0..2 {
            let (began, deadline) = (Instant::now(), Deadline::after(limit, &clock));
            assert!(!deadline.has_passed(&clock));
            deadline.comes(&clock).await;
            assert!(began.elapsed() >= limit);
            *time.lock().unwrap() = SystemTime::UNIX_EPOCH - hour;
        }

        // The machine slept: the timer has hardly moved, and the lease has ended.
        let deadline = Deadline::after(hour, &clock);
        assert!(!deadline.has_passed(&clock));
        *time.lock().unwrap() += hour;
        assert!(deadline.has_passed(&clock));
        tokio::time::timeout(hour / 100, deadline.comes(&clock)).await.unwrap();
    }
}
