//! Benchmark: finding the due tasks among 10 000, compared with croner alone for the same answers. Part of `make bench`.
//!
//! The two take turns, so that other load on the machine affects both. The exit code is 1 if a promise is broken.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use croner::parser::CronParser;
use jiff::{Timestamp, Zoned, tz::TimeZone};
use lamplighter_core::{
    definition::Cron,
    name::TaskName,
    schedule::{Due, due},
};

use crate::{
    Measured,
    figures::{median, sign},
};

const TASKS: usize = 10_000;
const ROUNDS: usize = 101;
const AT_MOST: f64 = 1.5;
/// The schedules of a typical stack: most are rare, and about one in a hundred is due in this minute.
const SCHEDULES: [&str; 20] = [
    "0 3 * * *",
    "30 2 * * *",
    "15 4 * * MON-FRI",
    "0 6 * * MON",
    "0 0 1 * *",
    "0 12 15W * *",
    "0 0 L * *",
    "45 23 * * FRI#L",
    "0 9 * * TUE#2",
    "0 0 1 1,4,7,10 *",
    "0 */6 * * *",
    "20 8-18 * * MON-FRI",
    "10,40 * * * *",
    "0 22 * * SUN",
    "5 1 1-7 * +MON",
    "0 7 1 * MON",
    "59 23 31 12 *",
    "35 5 * * *",
    "50 */4 * * *",
    "0 0 29 2 *",
];
const ZONES: [&str; 4] = ["UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata"];

struct Task {
    name: TaskName,
    cron: Cron,
    zone: TimeZone,
    /// croner's schedule, and the start of its search.
    pattern: croner::Cron,
    last: Zoned,
}

pub(crate) fn measure() -> Measured<bool> {
    let last: Timestamp = "2026-11-18T12:39:00Z".parse()?;
    let now: Timestamp = "2026-11-18T12:40:00Z".parse()?;
    let tasks = (0..TASKS).map(|i| task(i, last)).collect::<Measured<Vec<_>>>()?;
    let ours = || tasks.iter().map(|task| by_us(task, last, now)).collect::<Vec<_>>();
    let croners = || tasks.iter().map(|task| by_croner(task, now)).collect::<Vec<_>>();
    let found = ours();
    if found != croners() {
        return Err("due and croner give other answers".into());
    }
    let count = found.iter().filter(|(due, _)| due.is_some()).count();
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        mine.push(timed(ours));
        theirs.push(timed(croners));
    }
    let (mine, theirs) = (median(mine), median(theirs));
    let ratio = mine / theirs;
    let kept = ratio <= AT_MOST;
    let sign = sign(kept);
    let what = format!("`due` of {TASKS} tasks, {count} of them due");
    println!(
        "schedules\n{sign}  {what:<58} {mine:>8.2} ms  against {theirs:>8.2} ms  = {ratio:.2} (at most {AT_MOST})"
    );
    Ok(kept)
}

/// One task in a hundred runs each minute; the others cycle through the schedules and time zones.
fn task(i: usize, last: Timestamp) -> Measured<Task> {
    let text = if i.is_multiple_of(100) { "* * * * *" } else { SCHEDULES[i % SCHEDULES.len()] };
    let cron = Cron::new(Some(text.parse()?));
    let zone = TimeZone::get(ZONES[i / SCHEDULES.len() % ZONES.len()])?;
    let last = last.to_zoned(zone.clone());
    Ok(Task { name: format!("task-{i}").parse()?, cron, pattern: CronParser::new().parse(text)?, zone, last })
}

/// The due tick, if any, and the next one.
type Answer = (Option<Timestamp>, Option<Timestamp>);

fn by_us(task: &Task, last: Timestamp, now: Timestamp) -> Answer {
    match due(&task.cron, &task.name, &task.zone, last, now) {
        Due::Waiting { next } => (None, next),
        Due::Come { run, next, .. } => (run.last().copied(), next),
    }
}

fn by_croner(task: &Task, now: Timestamp) -> Answer {
    let next = |after: &Zoned| task.pattern.find_next_occurrence(after, false).ok();
    match next(&task.last) {
        Some(tick) if tick.timestamp() <= now => {
            (Some(tick.timestamp()), next(&tick).map(|tick| tick.timestamp()))
        }
        tick => (None, tick.map(|tick| tick.timestamp())),
    }
}

/// Milliseconds.
fn timed<T>(work: impl Fn() -> T) -> f64 {
    let started = Instant::now();
    black_box(work());
    let took: Duration = started.elapsed();
    took.as_secs_f64() * 1e3
}
