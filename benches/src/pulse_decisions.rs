//! Benchmark: a pulse's decisions on 10 000 definitions, of which 100 are due, within 50 ms. Part of `make bench`.

use std::time::{Duration, Instant};

use jiff::{Timestamp, tz::TimeZone};
use lamplighter_core::{
    claim::TaskState,
    definition::{Cron, Definition, Kind},
    pulse::{Driver, Plan, PlannedTask, Snapshot, State, TickAction, Zones, keep, pulse, round},
};

use crate::{
    Measured,
    figures::{median, sign},
};

const TASKS: usize = 10_000;
const DUE: usize = 100;
const ROUNDS: usize = 21;
const AT_MOST_MS: f64 = 50.0;
const ZONES: [&str; 4] = ["UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata"];
/// 2026-11-21T12:30:20Z, at which the daily tasks below are not due in any time zone.
const NOW: i64 = 1_795_264_220;

fn task(i: usize) -> Measured<PlannedTask> {
    let schedule = match i % (TASKS / DUE) {
        0 => "*/10 * * * *".to_owned(),
        n => format!("{} {} * * {}", 31 + n % 29, i % 24, ["*", "mon-fri", "0,6"][i % 3]),
    };
    let mut cron = Cron::new(Some(schedule.parse()?));
    ZONES[i / DUE % ZONES.len()].clone_into(&mut cron.timezone);
    let driver = if i.is_multiple_of(2) { Driver::Pulse } else { Driver::Schedule };
    let definition = Definition::new(format!("task-{i}").parse()?, Kind::Cron(cron));
    Ok(PlannedTask::new(definition, driver))
}

pub(crate) fn measure() -> Measured<bool> {
    let plan = Plan::from((0..TASKS).map(task).collect::<Measured<Vec<_>>>()?);
    let zone = |name: &str| Ok((name.to_owned(), TimeZone::get(name)?));
    let zones = ZONES.into_iter().map(zone).collect::<Measured<Zones>>()?;
    let now = Timestamp::from_second(NOW)?;
    let state = State { watermark: Some(now.checked_sub(Duration::from_secs(60))?), ..State::default() };
    let mut times = Vec::new();
    let mut handed = 0;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let considered = pulse(&plan, &zones, &state, now);
        // Reading the table takes two requests, which are not part of the decision.
        let deciding = started.elapsed();
        let tasks = considered.tasks();
        let states = tasks.into_iter().map(|name| (name, TaskState::default())).collect();
        let seen = Snapshot { states, ..Snapshot::default() };
        let started = Instant::now();
        let steps = round(&considered.pending, &seen, now);
        let left: Vec<_> = considered.pending.iter().cloned().zip(&steps).collect();
        let left: Vec<_> = left
            .into_iter()
            .filter_map(|(tick, step)| match step {
                TickAction::Wait(why) => Some((tick, why.clone())),
                _ => None,
            })
            .collect();
        let (_, given_up) = keep(&left, considered.cursor, now);
        times.push((deciding + started.elapsed()).as_secs_f64() * 1e3);
        handed = steps.iter().filter(|step| **step == TickAction::Invoke).count();
        if !given_up.is_empty() {
            return Err("ticks were given up".into());
        }
    }
    if handed != DUE {
        return Err(format!("{handed} ticks are due instead of {DUE}").into());
    }
    let median = median(times);
    let kept = median <= AT_MOST_MS;
    let sign = sign(kept);
    println!(
        "pulse\n{sign}  decisions over {TASKS} tasks, {DUE} of them due: {median:.2} ms (at most {AT_MOST_MS} ms)"
    );
    Ok(kept)
}
