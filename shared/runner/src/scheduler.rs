//! The scheduler: starts cron tasks at their ticks, to the second, with the decisions of the pulse.
//!
//! Several schedulers may work on one table, of runners and of the pulse in AWS: a tick's run has the same id whoever
//! starts it, and the claim lets one begin. So nobody leads, and nobody waits for one that died.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use lamplighter_aws::table::TableError;
use lamplighter_core::{
    pulse::{Plan, Record, State, Zones},
    schedule::{Due, due, put_off},
};
use lamplighter_pulse::run::{Pulse, close, step, tell_failing};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::events::{Event, Reporter};

/// The pause after the table failed, and between two looks at ticks that wait.
const PAUSE: Duration = Duration::from_secs(1);
/// How far a tick may be away for somebody to sleep until then: clocks are set, and machines are suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Starts what is due until `stop`. `pulses` has the tasks of the moment; `interval` is how often it is looked for what was
/// lost or missed.
pub async fn drive(
    mut pulses: watch::Receiver<Arc<Pulse>>,
    interval: Duration,
    reporter: Arc<dyn Reporter>,
    stop: CancellationToken,
) {
    let mut memory = Memory::default();
    loop {
        let it = Arc::clone(&pulses.borrow_and_update());
        // Cut off anywhere it leaves the next one the same ticks, which have the same runs.
        let worked = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            worked = memory.work(&it, interval, &*reporter) => worked,
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
    if let Err(error) = memory.turn(&it, None).await {
        reporter.warn(&error.to_string());
    }
}

/// What a scheduler remembers between two looks at the table's own memory, once a minute.
#[derive(Default)]
struct Memory {
    /// What is remembered now.
    state: State,
    /// What the table remembers; nothing before the first look.
    seen: Option<State>,
    /// The record of this minute, and whether it is ours to write.
    minute: Option<(Record, bool)>,
    /// When it is looked around next.
    around: Option<Timestamp>,
}

impl Memory {
    /// Does what is due now, and says how long there is nothing more to do.
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
        self.state = step(it, &self.state, around, end.unwrap_or(Timestamp::MAX), record).await?;
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

    /// Ends the minute that is over and begins that of `now`, if there is one: what is remembered is written down, unless
    /// another scheduler has written what it remembers.
    async fn turn(&mut self, it: &Pulse, now: Option<Timestamp>) -> Result<(), TableError> {
        if let Some((mut record, true)) = self.minute.take() {
            self.state.failing = tell_failing(it, self.state.failing, &mut record).await;
            close(&mut record);
            it.table.end_pulse(&record).await?;
        }
        match &self.seen {
            None => {
                self.state = match it.table.pulse_state().await {
                    // What cannot be read is forgotten, or there would never be a tick again.
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

/// When the next tick's turn comes of all the tasks, of those whose turn comes after `from`.
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
    fn it_sleeps_until_the_next_tick_of_any_task_or_the_next_round() {
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
