//! One pulse: its due ticks, their outcomes, and its record.

use futures::{StreamExt, future::join_all, stream};
use jiff::Timestamp;
use lamplighter_aws::{
    jobs::{DeadLetterError, Jobs},
    table::TableError,
};
use lamplighter_core::{
    claim::TaskState,
    name::TaskName,
    notification::COUNT_LETTERS,
    pulse::{
        Agenda, DueTick, GivenUpTicks, MissCandidates, MissedTicks, PlannedTask, Record, Report, State,
        TickOutcome, WaitReason, forced, keep, newly_known,
    },
    run::Trigger,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    event::PulseRequest,
    notify,
    rounds::{Rounds, dry_run},
    services::{Pulse, note_error},
    wake::{wake_due, wake_orphans},
};

/// The time before the process's deadline that is reserved for writing the record.
const RESERVE: Duration = Duration::from_secs(8);
/// A pulse that began longer ago than this and has no end was cut off.
const MINUTE: Duration = Duration::from_secs(60);
/// The most tasks whose schedules one pulse writes to the table.
const SCHEDULES_A_PULSE: usize = 2000;
/// The most requests of one kind in flight.
const AT_ONCE: usize = 32;
/// The most misses, and the most errors, that a record keeps.
const KEPT: usize = 20;

/// Runs one pulse as requested. `deadline` is when the process is stopped. `jobs` is present if the stack has queue tasks.
///
/// An error means that the table failed. Then no state is written, and the next pulse finds the same ticks.
pub async fn run(
    pulse: &Pulse,
    jobs: Option<&Jobs>,
    request: &PulseRequest,
    deadline: Timestamp,
) -> Result<Report, TableError> {
    let now = Timestamp::now();
    let mut record = Record::begun(now);
    let is_own = request.is_the_minutes_work();
    if is_own && !pulse.table.begin_pulse(&record).await? {
        return Ok(Report { worked: false, dry_run: false, record, ticks: Vec::new() });
    }
    let mut state = read_state(pulse, request, &mut record).await?;
    if is_own {
        record_schedules(pulse, &mut state, now).await?;
        record.errors.extend(cut_off(pulse, now).await?);
    }
    let considered = if request.force {
        forced(&pulse.plan, request.task.as_ref(), now)
    } else {
        let all = lamplighter_core::pulse::pulse(&pulse.plan, &pulse.zones, &state, now);
        request.task.iter().fold(all, Agenda::only)
    };
    record.errors.extend(considered.faults.iter().cloned());
    if let Some(task) = request.task.as_ref().filter(|task| pulse.plan.get(task).is_none()) {
        let names: Vec<_> = pulse.plan.tasks().iter().map(|task| task.name().as_str()).collect();
        record.errors.push(format!("there is no task `{task}`; the tasks are {}", names.join(", ")));
    }
    record.tally.due = considered.pending.len();
    if request.dry_run {
        let ticks = dry_run(pulse, &considered, &mut record).await?;
        return Ok(Report { worked: true, dry_run: true, record, ticks });
    }

    let jobs = jobs.filter(|_| is_own);
    if let Some(jobs) = jobs {
        wake_due(jobs, now, &mut record).await;
    }
    let trigger = if request.force { Trigger::Manual } else { Trigger::Pulse };
    let end = deadline.saturating_sub(RESERVE).unwrap_or(deadline);
    let cursor = considered.cursor.clone();
    let outcome = run_rounds(pulse, trigger, considered, &state, end, &mut record).await?;
    let ticks = outcome.ticks.clone();
    let orphans_checked_until = match jobs {
        Some(jobs) => wake_orphans(pulse, jobs, state.orphans_checked_until, now, end, &mut record).await,
        None => state.orphans_checked_until,
    };
    if is_own {
        let next = next_state(
            pulse,
            outcome,
            cursor,
            &State { orphans_checked_until, ..state.clone() },
            now,
            &mut record,
        )
        .await;
        let letters = count_letters(pulse, state.letters, now, &mut record).await;
        let failing = notify_failing(pulse, state.failing, &mut record).await;
        let next = State { failing, letters, ..next };
        if !pulse.table.keep_pulse_state(&next, &state).await? {
            tracing::info!("another pulse has already written its state; this pulse's state is discarded");
        }
        // Last, so that a notification target that does not respond delays no tick.
        match notify::deliver(pulse, end).await {
            Ok(errors) => record.errors.extend(errors),
            Err(error) => note_error(&mut record, &error),
        }
        close(&mut record);
        pulse.table.end_pulse(&record).await?;
    } else {
        close(&mut record);
    }
    Ok(Report { worked: true, dry_run: false, record, ticks })
}

/// Starts what is due now, for a caller that does so more often than once a minute and keeps the state itself. Takes the
/// last state and returns the next one.
///
/// Without `all`, tasks that have no due tick are left out. Returns by `end`; unfinished ticks wait for the next call.
pub async fn run_due(
    pulse: &Pulse,
    state: &State,
    all: bool,
    end: Timestamp,
    record: &mut Record,
) -> Result<State, TableError> {
    let now = Timestamp::now();
    let mut state = state.clone();
    record_schedules(pulse, &mut state, now).await?;
    let mut considered = lamplighter_core::pulse::pulse(&pulse.plan, &pulse.zones, &state, now);
    if !all {
        considered.others.clear();
        considered.cursor.clone_from(&state.cursor);
    }
    for fault in &considered.faults {
        if !record.errors.contains(fault) {
            record.errors.push(fault.clone());
        }
    }
    let has_waited = |tick: &&DueTick<'_>| {
        state.waiting.iter().any(|waiting| waiting.tick == tick.tick && waiting.task == *tick.task.name())
    };
    record.tally.due += considered.pending.iter().filter(|tick| !has_waited(tick)).count();
    let cursor = considered.cursor.clone();
    let outcome = run_rounds(pulse, Trigger::Pulse, considered, &state, end, record).await?;
    let next = next_state(pulse, outcome, cursor, &state, now, record).await;
    record.tally.waiting = next.waiting.len();
    Ok(next)
}

/// The outcomes of the due ticks.
struct RoundsOutcome<'a> {
    /// The unfinished ticks, each with the reason it waits.
    left: Vec<(DueTick<'a>, WaitReason)>,
    /// The outcome of each tick, for the report.
    ticks: Vec<TickOutcome>,
    /// The ticks that have no run.
    misses: Vec<MissedTicks>,
}

async fn run_rounds<'a>(
    pulse: &'a Pulse,
    trigger: Trigger,
    mut considered: Agenda<'a>,
    state: &State,
    end: Timestamp,
    record: &mut Record,
) -> Result<RoundsOutcome<'a>, TableError> {
    let mut rounds = Rounds::new(pulse, trigger, record);
    let states = rounds.read_states(&considered.tasks()).await?;
    let unknown = considered.leave_out_unknown(&states, &state.waiting);
    rounds.add(considered.pending.clone(), unknown);
    rounds.invoke_self_scheduled(&considered.asked).await;
    rounds.run(states.clone(), end).await?;
    let (left, ticks) = rounds.finish();
    let misses = misses(pulse, &considered, &states).await?;
    Ok(RoundsOutcome { left, ticks, misses })
}

/// Decides the next state. Sends a notification for each miss.
async fn next_state(
    pulse: &Pulse,
    outcome: RoundsOutcome<'_>,
    cursor: Option<TaskName>,
    before: &State,
    watermark: Timestamp,
    record: &mut Record,
) -> State {
    let (next, given_up) = keep(&outcome.left, cursor, watermark);
    let given_up = given_up.into_iter().filter_map(GivenUpTicks::missed);
    notify_missed(pulse, outcome.misses.into_iter().chain(given_up), record).await;
    let State { orphans_checked_until, failing, letters, .. } = *before;
    State { orphans_checked_until, plan: before.plan.clone(), failing, letters, ..next }
}

/// Writes since when each schedule is in effect, if the plan differs from the last pulse's. If there are more schedules
/// than one pulse writes, the next pulse writes the rest.
async fn record_schedules(pulse: &Pulse, state: &mut State, now: Timestamp) -> Result<(), TableError> {
    if state.plan.as_deref() == Some(pulse.plan.digest()) {
        return Ok(());
    }
    let cron: Vec<_> =
        pulse.plan.tasks().iter().filter(|task| task.cron().is_some()).map(PlannedTask::name).collect();
    let found = pulse.table.states(cron).await?;
    let new = newly_known(&pulse.plan, &found.states, state.watermark, now);
    let is_all = new.len() <= SCHEDULES_A_PULSE;
    let writes = new.iter().take(SCHEDULES_A_PULSE).map(|(task, known)| {
        let before = found.states.get(task).and_then(|state| state.known.as_ref());
        pulse.table.know(task, known, before)
    });
    let mut writes = stream::iter(writes.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    while let Some(written) = writes.next().await {
        written?;
    }
    if is_all {
        state.plan = Some(pulse.plan.digest().to_owned());
    }
    Ok(())
}

/// An error about the previous pulse, if it was cut off. Checked only if a notification target is configured.
async fn cut_off(pulse: &Pulse, now: Timestamp) -> Result<Option<String>, TableError> {
    if pulse.notifier.is_none() {
        return Ok(None);
    }
    let before = pulse.table.pulses(2).await?.records.into_iter().find(|record| record.started_at < now);
    let is_cut_off = |record: &Record| {
        record.duration_ms.is_none() && now.duration_since(record.started_at).unsigned_abs() >= MINUTE
    };
    let before = before.filter(is_cut_off).map(|record| record.started_at);
    Ok(before.map(|at| format!("the pulse that began at {at} was cut off")))
}

/// Counts the messages in the dead-letter queues every ten minutes, and sends a notification for each queue that has
/// some. Returns the time of the last count.
async fn count_letters(
    pulse: &Pulse,
    before: Option<Timestamp>,
    now: Timestamp,
    record: &mut Record,
) -> Option<Timestamp> {
    let Some(letters) = &pulse.letters else { return before };
    if before.is_some_and(|before| now.duration_since(before).unsigned_abs() < COUNT_LETTERS) {
        return before;
    }
    let queues = pulse.plan.tasks().iter().filter(|task| task.definition.queue().is_some());
    let queues: Vec<_> = queues.map(PlannedTask::name).collect();
    let mut counts = Vec::new();
    for some in queues.chunks(AT_ONCE) {
        counts.extend(join_all(some.iter().map(|task| letters.count(task))).await);
    }
    for (task, count) in queues.into_iter().zip(counts) {
        let notified = match count {
            Ok(count) => {
                notify::dead_letters(pulse, task, count, now).await.map_err(|error| error.to_string())
            }
            // A queue is deleted together with its task.
            Err(DeadLetterError::NoQueue(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = notified {
            tracing::error!("{error}");
            record.errors.push(error);
        }
    }
    Some(now)
}

/// Sends one notification when the pulse begins to have errors, until it has none again. `before` is since when it has
/// had errors; returns the same for now.
pub async fn notify_failing(
    pulse: &Pulse,
    before: Option<Timestamp>,
    record: &mut Record,
) -> Option<Timestamp> {
    if record.errors.is_empty() {
        return None;
    }
    if before.is_none()
        && let Err(error) = notify::failing(pulse, record.started_at, &record.errors).await
    {
        note_error(record, &error);
    }
    before.or(Some(record.started_at))
}

/// Reads the last pulse's state. An unreadable state is reported and deleted, since otherwise no pulse could run again.
async fn read_state(pulse: &Pulse, request: &PulseRequest, record: &mut Record) -> Result<State, TableError> {
    match pulse.table.pulse_state().await {
        Err(error @ TableError::Malformed { .. }) => {
            note_error(record, &error);
            if request.is_the_minutes_work() {
                pulse.table.forget_pulse_state().await?;
            }
            Ok(State::default())
        }
        state => state,
    }
}

/// Lists the ticks that have no run. These are the ticks that were given up, and the ticks of enabled tasks that
/// another trigger should have started and for which there is neither a run nor a refusal.
async fn misses(
    pulse: &Pulse,
    considered: &Agenda<'_>,
    states: &BTreeMap<TaskName, TaskState>,
) -> Result<Vec<MissedTicks>, TableError> {
    let candidates = MissCandidates::new(considered, states);
    // A pulse that was killed may have recorded that another run prevented a tick's run.
    let recorded = pulse.table.ended(candidates.runs()).await?.0.iter().map(|run| run.id).collect();
    let mut ran = BTreeSet::new();
    for (task, tick) in candidates.expected() {
        ran.extend(pulse.table.run_for(task, tick).await?.map(|_| (task, tick)));
    }
    Ok(candidates.missed(&recorded, &ran))
}

async fn notify_missed(pulse: &Pulse, misses: impl Iterator<Item = MissedTicks>, record: &mut Record) {
    for missed in misses {
        record.tally.missed += missed.ticks;
        if let Err(error) = notify::missed(pulse, &missed).await {
            note_error(record, &error);
        }
        record.misses.push(missed);
    }
}

/// Completes a record: sets its duration, and truncates its misses and errors.
pub fn close(record: &mut Record) {
    record.misses.truncate(KEPT);
    record.errors.truncate(KEPT);
    let took = Timestamp::now().duration_since(record.started_at);
    record.duration_ms = Some(u64::try_from(took.as_millis()).unwrap_or(0));
}
