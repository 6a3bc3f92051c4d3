//! One pulse: what is due, what becomes of it, and its record.

use jiff::Timestamp;
use lamplighter_aws::{
    functions::Functions,
    jobs::Jobs,
    notify::Notifier,
    table::{Table, TableError},
};
use lamplighter_core::{
    claim::TaskState,
    job::{later_looks, unheard},
    name::TaskName,
    pulse::{
        Considered, Missed, Pending, Plan, Planned, Record, Report, State, Told, Why, Zones, forced, keep,
        pulse,
    },
    run::Trigger,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;

use crate::{
    carry::{Carry, dry},
    event::Wish,
    tell,
};

/// What a pulse works with.
pub struct Pulse {
    /// The table.
    pub table: Table,
    /// The tasks' functions.
    pub functions: Functions,
    /// Whoever is told of failures.
    pub notifier: Option<Notifier>,
    /// The tasks.
    pub plan: Plan,
    /// The time zones of their schedules.
    pub zones: Zones,
    /// The stack's name, with which the functions' names begin.
    pub stack: String,
    /// The environment's name.
    pub environment: String,
}

/// The time before a process's end that is kept for writing down what became of a pulse.
const RESERVE: Duration = Duration::from_secs(8);
/// How long a pulse sends the messages of jobs before it turns to the ticks; the next one goes on with what is left.
const RINGING: Duration = Duration::from_secs(15);
/// How much is looked at once for jobs of which nobody was told.
const SLICE: Duration = Duration::from_secs(180);
/// How many misses and errors a record keeps.
const KEPT: usize = 20;

/// Does what is wanted. `deadline` is when the process will be stopped. `jobs` are there where there are queue tasks.
///
/// An error means that the table failed; then nothing is remembered, and the next pulse finds the same ticks.
pub async fn beat(
    it: &Pulse,
    jobs: Option<&Jobs>,
    wish: &Wish,
    deadline: Timestamp,
) -> Result<Report, TableError> {
    let now = Timestamp::now();
    let mut record = Record::begun(now);
    let is_own = wish.is_the_minutes_work();
    if is_own && !it.table.begin_pulse(&record).await? {
        return Ok(Report { worked: false, dry_run: false, record, ticks: Vec::new() });
    }
    let state = remembered(it, wish, &mut record).await?;
    let considered = if wish.force {
        forced(&it.plan, wish.task.as_ref(), now)
    } else {
        let all = pulse(&it.plan, &it.zones, &state, now);
        wish.task.iter().fold(all, Considered::only)
    };
    record.errors.extend(considered.faults.iter().cloned());
    if let Some(task) = wish.task.as_ref().filter(|task| it.plan.get(task).is_none()) {
        let known: Vec<_> = it.plan.tasks().iter().map(|task| task.name().as_str()).collect();
        record.errors.push(format!("there is no task `{task}`: there are {}", known.join(", ")));
    }
    record.tally.due = considered.pending.len();
    if wish.dry_run {
        let ticks = dry(it, &considered, &mut record).await?;
        return Ok(Report { worked: true, dry_run: true, record, ticks });
    }

    let jobs = jobs.filter(|_| is_own);
    if let Some(jobs) = jobs {
        ring(jobs, now, &mut record).await;
    }
    let trigger = if wish.force { Trigger::Manual } else { Trigger::Pulse };
    let end = deadline.saturating_sub(RESERVE).unwrap_or(deadline);
    let carried = carried(it, trigger, &considered, end, &mut record).await?;
    let ticks = carried.ticks.clone();
    let heard = match jobs {
        Some(jobs) => ring_unheard(it, jobs, state.heard, now, end, &mut record).await,
        None => state.heard,
    };
    if is_own {
        let next = remember(it, carried, considered.cursor, heard, now, &mut record).await;
        if !it.table.keep_pulse_state(&next, &state).await? {
            tracing::info!("another pulse was faster, and goes on for both");
        }
        close(&mut record);
        it.table.end_pulse(&record).await?;
    } else {
        close(&mut record);
    }
    Ok(Report { worked: true, dry_run: false, record, ticks })
}

/// Sends the messages of the jobs that are due. What goes wrong with them keeps no tick from its run.
async fn ring(jobs: &Jobs, now: Timestamp, record: &mut Record) {
    let end = now.saturating_add(RINGING).unwrap_or(Timestamp::MAX);
    match jobs.ring_due(now, end).await {
        Ok(rung) => {
            record.tally.rung = rung.sent;
            for error in rung.errors {
                tracing::error!("{error}");
                record.errors.push(error);
            }
        }
        Err(error) => fault(record, &error),
    }
}

/// Sends the messages of jobs of which nobody was told, those of some minutes at a time, as long as there is time. Returns up
/// to when that is done.
async fn ring_unheard(
    it: &Pulse,
    jobs: &Jobs,
    heard: Option<Timestamp>,
    now: Timestamp,
    end: Timestamp,
    record: &mut Record,
) -> Option<Timestamp> {
    let Some((from, to)) = unheard(heard, now) else { return heard };
    let tasks = it.plan.tasks().iter().filter(|task| task.definition.queue().is_some());
    let tasks: Vec<_> = tasks.map(Planned::name).collect();
    let mut done = from;
    while done < to {
        let until = to.min(done.saturating_add(SLICE).unwrap_or(to));
        let left = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default().min(RINGING);
        match timeout(left, jobs.ring_unheard(tasks.iter().copied(), (done, until))).await {
            Ok(Ok(rung)) => {
                record.tally.rung += rung.sent;
                record.errors.extend(rung.errors);
                ring_again(jobs, &tasks, (done, until), end, record).await;
            }
            Ok(Err(error)) => {
                fault(record, &error);
                break;
            }
            // The next pulse has all of its time for them.
            Err(_) if done > from || left < RINGING => break,
            // It would come no further, and the same ones would be told again and again.
            Err(_) => record.errors.push(format!(
                "of the jobs enqueued from {done} to {until} some may not have been told of: there are more than {} s suffice \
                 for; `lamplighter jobs replay` tells of one",
                RINGING.as_secs()
            )),
        }
        done = until;
    }
    Some(done)
}

/// Sends the messages of older jobs that nobody has any more, of the days that are looked at with those from `from` to `to`. What
/// there is no time for is looked at 15 days later.
async fn ring_again(
    jobs: &Jobs,
    tasks: &[&TaskName],
    (from, to): (Timestamp, Timestamp),
    end: Timestamp,
    record: &mut Record,
) {
    for day in later_looks(from, to) {
        let left = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default().min(RINGING);
        match timeout(left, jobs.ring_unheard(tasks.iter().copied(), day)).await {
            Ok(Ok(rung)) => {
                record.tally.rung += rung.sent;
                record.errors.extend(rung.errors);
            }
            Ok(Err(error)) => fault(record, &error),
            Err(_) => record.errors.push(format!(
                "there was no time to look for lost jobs among those enqueued from {} to {}; it is looked again in 15 days",
                day.0, day.1
            )),
        }
    }
}

/// Does what is due by now, for somebody who does so more often than once a minute and remembers for itself: from what
/// is remembered to what is to be remembered next. Tasks that there is no reason to look at are left out unless `around`.
/// It returns by `end`; what is left waits.
pub async fn step(
    it: &Pulse,
    state: &State,
    around: bool,
    end: Timestamp,
    record: &mut Record,
) -> Result<State, TableError> {
    let now = Timestamp::now();
    let mut considered = pulse(&it.plan, &it.zones, state, now);
    if !around {
        considered.others.clear();
        considered.cursor.clone_from(&state.cursor);
    }
    for fault in &considered.faults {
        if !record.errors.contains(fault) {
            record.errors.push(fault.clone());
        }
    }
    let waited = |tick: &&Pending<'_>| {
        state.waiting.iter().any(|it| it.tick == tick.tick && it.task == *tick.task.name())
    };
    record.tally.due += considered.pending.iter().filter(|tick| !waited(tick)).count();
    let carried = carried(it, Trigger::Pulse, &considered, end, record).await?;
    let next = remember(it, carried, considered.cursor, state.heard, now, record).await;
    record.tally.waiting = next.waiting.len();
    Ok(next)
}

/// What became of the ticks that were due.
struct Carried<'a> {
    left: Vec<(Pending<'a>, Why)>,
    ticks: Vec<Told>,
    misses: Vec<Missed>,
}

async fn carried<'a>(
    it: &'a Pulse,
    trigger: Trigger,
    considered: &Considered<'a>,
    end: Timestamp,
    record: &mut Record,
) -> Result<Carried<'a>, TableError> {
    let mut carry = Carry::new(it, trigger, considered.pending.clone(), record);
    let states = carry.look(&considered.tasks()).await?;
    carry.ask(&considered.asked).await;
    carry.on(states.clone(), end).await?;
    let (left, ticks) = carry.done();
    let misses = misses(it, considered, &states).await?;
    Ok(Carried { left, ticks, misses })
}

/// What is remembered next. Whoever is to be told of ticks without a run is told.
async fn remember(
    it: &Pulse,
    carried: Carried<'_>,
    cursor: Option<TaskName>,
    heard: Option<Timestamp>,
    watermark: Timestamp,
    record: &mut Record,
) -> State {
    let (next, given_up) = keep(&carried.left, cursor, watermark);
    let given_up = given_up.iter().filter_map(|it| it.missed(None));
    tell_missed(it, carried.misses.into_iter().chain(given_up), record).await;
    State { heard, ..next }
}

/// What the last pulse remembered. What cannot be read is told and forgotten, or there would never be a pulse again.
async fn remembered(it: &Pulse, wish: &Wish, record: &mut Record) -> Result<State, TableError> {
    match it.table.pulse_state().await {
        Err(error @ TableError::Malformed { .. }) => {
            tracing::error!("{error}");
            record.errors.push(error.to_string());
            if wish.is_the_minutes_work() {
                it.table.forget_pulse_state().await?;
            }
            Ok(State::default())
        }
        state => state,
    }
}

/// The ticks that have had no run: those that are given up, and those that something else had to start and that nobody
/// has run, refused or switched off.
async fn misses(
    it: &Pulse,
    considered: &Considered<'_>,
    states: &BTreeMap<TaskName, TaskState>,
) -> Result<Vec<Missed>, TableError> {
    let last_tick = |task: &TaskName| states.get(task).and_then(|state| state.last_tick);
    let given_up = considered.given_up.iter();
    let mut misses: Vec<_> = given_up.filter_map(|it| it.missed(last_tick(&it.task))).collect();
    for expected in &considered.expected {
        let task = expected.task.name();
        let Some(state) = states.get(task) else { continue };
        let had = state.disabled || state.last_tick >= Some(expected.tick);
        if !had && it.table.run_for(task, expected.tick).await?.is_none() {
            let (first, last) = (expected.tick, expected.tick);
            misses.push(Missed { task: task.clone(), ticks: 1, first, last });
        }
    }
    Ok(misses)
}

async fn tell_missed(it: &Pulse, misses: impl Iterator<Item = Missed>, record: &mut Record) {
    for missed in misses {
        record.tally.missed += missed.ticks;
        if let Err(error) = tell::missed(it, &missed).await {
            fault(record, &error);
        }
        record.misses.push(missed);
    }
}

/// Notes what went wrong with the pulse itself.
pub(crate) fn fault(record: &mut Record, error: &dyn std::error::Error) {
    tracing::error!("{error}");
    record.errors.push(error.to_string());
}

/// Ends a record: how long the pulse took, and no more than is kept of its misses and errors.
pub fn close(record: &mut Record) {
    record.misses.truncate(KEPT);
    record.errors.truncate(KEPT);
    let took = Timestamp::now().duration_since(record.started_at);
    record.duration_ms = Some(u64::try_from(took.as_millis()).unwrap_or(0));
}
