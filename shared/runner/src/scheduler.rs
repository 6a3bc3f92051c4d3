//! The scheduler: starts cron tasks at their ticks, to the second, with the decisions of the pulse.
//!
//! Several schedulers may work on one table: those of runners, and the pulse in AWS. Each gives a tick's run the same id, and the
//! claim lets only one of them begin. So there is no leader, and no scheduler waits for one that died.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use lamplighter_aws::table::TableError;
use lamplighter_core::{
    pulse::{Plan, Record, State, Zones},
    schedule::{Due, due, put_off},
};
use lamplighter_pulse::{
    run::{close, notify_failing, run_due},
    services::Pulse,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::events::{Event, Reporter};

/// The pause after an error of the table, and between two checks of ticks that wait.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest sleep. It is bounded, since clocks may be changed and machines suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Starts due runs until `stop`. `pulses` has the current tasks; `interval` is the pause between two searches for lost runs and
/// missed ticks.
pub async fn drive(
    mut pulses: watch::Receiver<Arc<Pulse>>,
    interval: Duration,
    reporter: Arc<dyn Reporter>,
    stop: CancellationToken,
) {
    let mut scheduler = SchedulerState::default();
    loop {
        let it = Arc::clone(&pulses.borrow_and_update());
        // It can be cancelled at any point: the next scheduler starts the same ticks, with the same run ids.
        let worked = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            worked = scheduler.work(&it, interval, &*reporter) => worked,
        };
        let pause = worked.unwrap_or_else(|error| {
            reporter.warn(&error.to_string());
            PAUSE
        });
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(pause) => {}
            _ = pulses.changed() => {}
        }
    }
    let it = Arc::clone(&pulses.borrow());
    if let Err(error) = scheduler.turn(&it, None).await {
        reporter.warn(&error.to_string());
    }
}

/// The state of a scheduler, which it exchanges with the table once a minute.
#[derive(Default)]
struct SchedulerState {
    /// The current state.
    state: State,
    /// The state in the table at the last read; none before the first one.
    seen: Option<State>,
    /// The record of this minute, and true if this scheduler writes it.
    minute: Option<(Record, bool)>,
    /// The time of the next search for lost runs and missed ticks.
    around: Option<Timestamp>,
}

impl SchedulerState {
    /// Starts what is due now. Returns the pause until the next work.
    async fn work(
        &mut self,
        it: &Pulse,
        interval: Duration,
        reporter: &dyn Reporter,
    ) -> Result<Duration, TableError> {
        let now = Timestamp::now();
        let is_over = |(record, _): &(Record, bool)| minute(record.started_at) != minute(now);
        if self.minute.as_ref().is_none_or(is_over) {
            self.turn(it, Some(now)).await?;
        }
        let around = self.around.is_none_or(|at| at <= now);
        if around {
            self.around = Some(next_round(interval, now));
        }
        let Some((record, _)) = &mut self.minute else { return Ok(PAUSE) };
        let (errors, misses) = (record.errors.len(), record.misses.len());
        let end = self.around.into_iter().chain(next_tick(&it.plan, &it.zones, now)).min();
        self.state = run_due(it, &self.state, around, end.unwrap_or(Timestamp::MAX), record).await?;
        for error in record.errors.iter().skip(errors) {
            reporter.warn(error);
        }
        for missed in record.misses.iter().skip(misses) {
            let (task, ticks, last) = (&missed.task, missed.ticks, missed.last);
            reporter.event(&Event::Missed { task, ticks, last });
        }
        let from = self.state.watermark.unwrap_or(now);
        let next = self.around.into_iter().chain(next_tick(&it.plan, &it.zones, from)).min();
        let now = Timestamp::now();
        let until = next
            .map_or(LONGEST_SLEEP, |next| Duration::try_from(next.duration_since(now)).unwrap_or_default());
        let longest = if self.state.waiting.is_empty() { LONGEST_SLEEP } else { PAUSE };
        Ok(until.min(longest))
    }

    /// Closes the record of the last minute, and begins that of `now`, if given. Writes the state to the table. If
    /// another scheduler has changed the state there since the last read, only reads that state.
    async fn turn(&mut self, it: &Pulse, now: Option<Timestamp>) -> Result<(), TableError> {
        if let Some((mut record, true)) = self.minute.take() {
            self.state.failing = notify_failing(it, self.state.failing, &mut record).await;
            close(&mut record);
            it.table.end_pulse(&record).await?;
        }
        match &self.seen {
            None => {
                self.state = match it.table.pulse_state().await {
                    // An unreadable state is reset: otherwise there would be no tick any more.
                    Err(TableError::Malformed { .. }) => {
                        it.table.forget_pulse_state().await?;
                        State::default()
                    }
                    state => state?,
                };
                self.seen = Some(self.state.clone());
            }
            Some(seen) if it.table.keep_pulse_state(&self.state, seen).await? => {
                self.seen = Some(self.state.clone());
            }
            Some(_) => self.seen = Some(it.table.pulse_state().await?),
        }
        if let Some(now) = now {
            let record = Record::begun(now);
            let is_ours = it.table.begin_pulse(&record).await?;
            self.minute = Some((record, is_ours));
        }
        Ok(())
    }
}

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

/// The next whole multiple of the interval.
fn next_round(interval: Duration, now: Timestamp) -> Timestamp {
    let every = i64::try_from(interval.as_secs()).unwrap_or(i64::MAX).max(1);
    let next = (now.as_second().div_euclid(every) + 1).saturating_mul(every);
    Timestamp::from_second(next).unwrap_or(Timestamp::MAX)
}

/// The time at which the next tick of any task starts, after `from`.
fn next_tick(plan: &Plan, zones: &Zones, from: Timestamp) -> Option<Timestamp> {
    let turns = plan.tasks().iter().filter_map(|task| {
        let cron = task.cron().filter(|cron| cron.schedule.is_some())?;
        let (Due::Waiting { next } | Due::Come { next, .. }) =
            due(cron, task.name(), zones.get(&cron.timezone)?, from, from);
        let put_off = SignedDuration::try_from(put_off(cron, task.name())).ok()?;
        next?.checked_add(put_off).ok()
    });
    turns.min()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use lamplighter_core::{
        definition::{Cron, Definition, Kind},
        pulse::{Driver, PlannedTask},
    };

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_scheduler_sleeps_until_the_next_tick_of_any_task_or_the_next_search() {
        let task = |name: &str, schedule: &str| {
            let cron = Cron::new(Some(schedule.parse().unwrap()));
            PlannedTask::new(Definition::new(name.parse().unwrap(), Kind::Cron(cron)), Driver::Pulse)
        };
        let plan = Plan::from(vec![task("a", "every 6 seconds"), task("b", "0 * * * *")]);
        let zones = Zones::from([("UTC".to_owned(), TimeZone::UTC)]);
        let next = next_tick(&plan, &zones, at(3600)).unwrap();
        assert!(next > at(3600) && next <= at(3606), "{next}");
        let hourly = Plan::from(vec![task("b", "0 * * * *")]);
        assert_eq!(next_tick(&hourly, &zones, at(3600)), Some(at(7200)));
        assert_eq!(next_tick(&Plan::default(), &zones, at(3600)), None);
        assert_eq!(next_round(Duration::from_secs(60), at(3600)), at(3660));
        assert_eq!(next_round(Duration::from_secs(7), at(13)), at(14));
    }
}
