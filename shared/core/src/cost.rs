//! An estimate of what a stack's functions cost in AWS in a month of 30 days: their invocations, their time, their writes to the
//! table, and what triggers them.
//!
//! It leaves out storage, logs, reads, the empty polls of a queue, retries, and the free tier.

use std::{iter, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use crate::{catch_up::CatchUp, definition::Cron};

/// The length of a month.
pub const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
/// The write units of a run, of a job, and of a pulse in which nothing is due, with items under 1 KB. Tests measure the first two.
pub const WRITE_UNITS: u32 = 3;

/// The list prices of one region in US dollars, without the free tier.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prices {
    /// The region.
    pub region: &'static str,
    /// A million invocations of functions.
    pub invocations: f64,
    /// A million GB-seconds on `x86_64`.
    pub x86_64: f64,
    /// A million GB-seconds on arm64.
    pub arm64: f64,
    /// A million write request units of an on-demand table.
    pub writes: f64,
    /// A million requests to SQS.
    pub queue_requests: f64,
    /// A million invocations by EventBridge Scheduler.
    pub scheduled: f64,
}

/// The prices of US East (N. Virginia). Sources: the pricing pages of AWS Lambda, Amazon DynamoDB (on-demand), Amazon SQS
/// (standard queues) and Amazon EventBridge (Scheduler).
pub const PRICES: Prices = Prices {
    region: "us-east-1",
    invocations: 0.20,
    x86_64: 16.6667,
    arm64: 13.3334,
    writes: 0.625,
    queue_requests: 0.40,
    scheduled: 1.00,
};

/// The trigger of a function's runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Starter {
    /// A deployment.
    Deployment,
    /// EventBridge Scheduler.
    Schedule,
    /// The pulse.
    Pulse,
    /// A message in a queue.
    Queue,
}

/// The usage of a function in a month.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// The trigger of its runs.
    pub starter: Starter,
    /// The number of runs.
    pub runs: u64,
    /// The average time of a run.
    pub duration: Duration,
    /// The memory of the function.
    pub memory_mb: u32,
    /// True if the function runs on arm64.
    pub is_arm: bool,
}

/// The cost of a function in a month, in US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Its invocations and its time.
    pub lambda: f64,
    /// Its writes to the table.
    pub table: f64,
    /// Its trigger: EventBridge Scheduler, or the requests to its queue.
    pub trigger: f64,
}

impl Cost {
    /// Returns the sum of the parts.
    pub fn total(&self) -> f64 {
        self.lambda + self.table + self.trigger
    }
}

impl Usage {
    /// Returns the cost of this usage.
    pub fn cost(&self, prices: &Prices) -> Cost {
        // Exact up to 2^53, which no month has.
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let millions = self.runs as f64 / 1e6;
        let per_gb_second = if self.is_arm { prices.arm64 } else { prices.x86_64 };
        let gb_seconds = f64::from(self.memory_mb) / 1024.0 * self.duration.as_secs_f64();
        let trigger = match self.starter {
            Starter::Deployment | Starter::Pulse => 0.0,
            Starter::Schedule => prices.scheduled,
            // To send, to receive and to delete the message.
            Starter::Queue => 3.0 * prices.queue_requests,
        };
        Cost {
            lambda: millions * (prices.invocations + gb_seconds * per_gb_second),
            table: millions * f64::from(WRITE_UNITS) * prices.writes,
            trigger: millions * trigger,
        }
    }
}

/// Returns the number of runs that the schedule of a cron task starts in the month after `now`; none if a function of the task
/// decides. Within a minute the pulse starts only the newest tick, unless the catch-up policy is `all`.
pub fn runs_of_month(cron: &Cron, zone: &TimeZone, now: Timestamp) -> Option<u64> {
    let schedule = cron.schedule.as_ref()?;
    let end = now.saturating_add(MONTH).unwrap_or(Timestamp::MAX);
    let is_each = matches!(cron.catch_up, CatchUp::All { .. });
    let end_of_minute = |tick: Timestamp| {
        let second = tick.as_second().div_euclid(60) * 60 + 59;
        Timestamp::from_second(second).unwrap_or(tick).max(tick)
    };
    let next =
        |tick: &Timestamp| schedule.next_after(zone, if is_each { *tick } else { end_of_minute(*tick) });
    let runs = iter::successors(schedule.next_after(zone, now), next).take_while(|tick| *tick <= end);
    Some(runs.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k05_the_cost_of_a_function_includes_invocations_time_writes_and_trigger() {
        let usage = Usage {
            starter: Starter::Schedule,
            runs: 1_000_000,
            duration: Duration::from_millis(500),
            memory_mb: 2048,
            is_arm: false,
        };
        let cost = usage.cost(&PRICES);
        assert!((cost.lambda - (0.20 + 16.6667)).abs() < 1e-9, "{cost:?}");
        assert!((cost.table - 1.875).abs() < 1e-9 && (cost.trigger - 1.0).abs() < 1e-9, "{cost:?}");
        assert!((cost.total() - 19.7417).abs() < 1e-9, "{cost:?}");
        let arm = Usage { is_arm: true, ..usage }.cost(&PRICES);
        assert!((arm.lambda - (0.20 + 13.3334)).abs() < 1e-9, "{arm:?}");
        for (starter, trigger) in [(Starter::Queue, 1.2), (Starter::Pulse, 0.0), (Starter::Deployment, 0.0)] {
            let cost = Usage { starter, ..usage }.cost(&PRICES);
            assert!((cost.trigger - trigger).abs() < 1e-9, "{starter:?}: {cost:?}");
        }
        assert_eq!(Usage { runs: 0, ..usage }.cost(&PRICES), Cost::default());
    }

    #[test]
    fn k05_the_runs_of_a_month_are_those_that_the_schedule_starts() {
        let now = "2027-03-01T00:00:30Z".parse().unwrap();
        let runs = |schedule: &str, catch_up: &str| {
            let cron =
                Cron { catch_up: catch_up.parse().unwrap(), ..Cron::new(Some(schedule.parse().unwrap())) };
            runs_of_month(&cron, &TimeZone::UTC, now)
        };
        for (schedule, expected) in [
            ("@daily", 30),
            ("0 3 * * mon", 5),
            ("*/5 * * * *", 8640),
            ("* * * * *", 43_200),
            ("0 0 1 1 *", 0),
            ("*/20 0 3 * * *", 30),
            ("* * * * * *", 43_201),
        ] {
            assert_eq!(runs(schedule, "last"), Some(expected), "{schedule}");
        }
        assert_eq!(runs("*/20 0 3 * * *", "all within 1h"), Some(90));
        assert_eq!(runs_of_month(&Cron::new(None), &TimeZone::UTC, now), None);
    }
}
