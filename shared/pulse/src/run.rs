//! One pulse: what is due, what becomes of it, and its record.

use futures::{StreamExt, future::join_all, stream};
use jiff::Timestamp;
use lamplighter_aws::{
    functions::Functions,
    jobs::{DeadLetterError, DeadLetters, Jobs},
    notify::Notifier,
    table::{Table, TableError},
};
use lamplighter_core::{
    claim::TaskState,
    job::{later_looks, orphan_range},
    name::TaskName,
    notify::COUNT_LETTERS,
    pulse::{
        Agenda, DueTick, GivenUpTicks, MissCandidates, MissedTicks, Plan, PlannedTask, Record, Report, State,
        TickOutcome, WaitReason, Zones, forced, keep, newly_known, pulse,
    },
    run::Trigger,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

use crate::{
    event::PulseRequest,
    notify,
    rounds::{Carry, dry},
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
    /// The dead-letter queues, where there are queues and somebody is told of what is in them.
    pub letters: Option<DeadLetters>,
    /// WakeReport when a message is kept for delivery.
    pub posted: Arc<Notify>,
}

/// The time before a process's end that is kept for writing down what became of a pulse.
const RESERVE: Duration = Duration::from_secs(8);
/// How long a pulse sends the messages of jobs before it turns to the ticks; the next one goes on with what is left.
const WAKING: Duration = Duration::from_secs(15);
/// How much is looked at once for jobs of which nobody was told.
const SLICE: Duration = Duration::from_secs(180);
/// After this a pulse is over or was ended.
const MINUTE: Duration = Duration::from_secs(60);
/// How many tasks' schedules are noted in one pulse, and how many of them at once.
const KNOWN_AT_ONCE: usize = 2000;
const AT_ONCE: usize = 32;
/// How many misses and errors a record keeps.
const KEPT: usize = 20;

/// Does what is wanted. `deadline` is when the process will be stopped. `jobs` are there where there are queue tasks.
///
/// An error means that the table failed; then nothing is remembered, and the next pulse finds the same ticks.
pub async fn run(
    it: &Pulse,
    jobs: Option<&Jobs>,
    wish: &PulseRequest,
    deadline: Timestamp,
) -> Result<Report, TableError> {
    let now = Timestamp::now();
    let mut record = Record::begun(now);
    let is_own = wish.is_the_minutes_work();
    if is_own && !it.table.begin_pulse(&record).await? {
        return Ok(Report { worked: false, dry_run: false, record, ticks: Vec::new() });
    }
    let mut state = remembered(it, wish, &mut record).await?;
    if is_own {
        know(it, &mut state, now).await?;
        record.errors.extend(cut_off(it, now).await?);
    }
    let considered = if wish.force {
        forced(&it.plan, wish.task.as_ref(), now)
    } else {
        let all = pulse(&it.plan, &it.zones, &state, now);
        wish.task.iter().fold(all, Agenda::only)
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
        wake(jobs, now, &mut record).await;
    }
    let trigger = if wish.force { Trigger::Manual } else { Trigger::Pulse };
    let end = deadline.saturating_sub(RESERVE).unwrap_or(deadline);
    let cursor = considered.cursor.clone();
    let carried = carried(it, trigger, considered, &state, end, &mut record).await?;
    let ticks = carried.ticks.clone();
    let orphans_checked_until = match jobs {
        Some(jobs) => wake_orphans(it, jobs, state.orphans_checked_until, now, end, &mut record).await,
        None => state.orphans_checked_until,
    };
    if is_own {
        let next = remember(
            it,
            carried,
            cursor,
            &State { orphans_checked_until, ..state.clone() },
            now,
            &mut record,
        )
        .await;
        let letters = count_letters(it, state.letters, now, &mut record).await;
        let failing = tell_failing(it, state.failing, &mut record).await;
        let next = State { failing, letters, ..next };
        if !it.table.keep_pulse_state(&next, &state).await? {
            tracing::info!("another pulse was faster, and goes on for both");
        }
        // At last, so that who does not answer keeps no tick from its run.
        match notify::deliver(it, end).await {
            Ok(errors) => record.errors.extend(errors),
            Err(error) => fault(&mut record, &error),
        }
        close(&mut record);
        it.table.end_pulse(&record).await?;
    } else {
        close(&mut record);
    }
    Ok(Report { worked: true, dry_run: false, record, ticks })
}

/// Sends the messages of the jobs that are due. What goes wrong with them keeps no tick from its run.
async fn wake(jobs: &Jobs, now: Timestamp, record: &mut Record) {
    let end = now.saturating_add(WAKING).unwrap_or(Timestamp::MAX);
    match jobs.wake_due(now, end).await {
        Ok(report) => {
            record.tally.woken = report.sent;
            for error in report.errors {
                tracing::error!("{error}");
                record.errors.push(error);
            }
        }
        Err(error) => fault(record, &error),
    }
}

/// Sends the messages of jobs of which nobody was told, those of some minutes at a time, as long as there is time. Returns up
/// to when that is done.
async fn wake_orphans(
    it: &Pulse,
    jobs: &Jobs,
    orphans_checked_until: Option<Timestamp>,
    now: Timestamp,
    end: Timestamp,
    record: &mut Record,
) -> Option<Timestamp> {
    let Some((from, to)) = orphan_range(orphans_checked_until, now) else { return orphans_checked_until };
    let tasks = it.plan.tasks().iter().filter(|task| task.definition.queue().is_some());
    let tasks: Vec<_> = tasks.map(PlannedTask::name).collect();
    let mut done = from;
    while done < to {
        let until = to.min(done.saturating_add(SLICE).unwrap_or(to));
        let left = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default().min(WAKING);
        match timeout(left, jobs.wake_orphans(tasks.iter().copied(), (done, until))).await {
            Ok(Ok(report)) => {
                record.tally.woken += report.sent;
                record.errors.extend(report.errors);
                wake_postponed(jobs, &tasks, (done, until), end, record).await;
            }
            Ok(Err(error)) => {
                fault(record, &error);
                break;
            }
            // The next pulse has all of its time for them.
            Err(_) if done > from || left < WAKING => break,
            // It would come no further, and the same ones would be told again and again.
            Err(_) => record.errors.push(format!(
                "of the jobs enqueued from {done} to {until} some may not have been told of: there are more than {} s suffice \
                 for; `lamplighter jobs replay` tells of one",
                WAKING.as_secs()
            )),
        }
        done = until;
    }
    Some(done)
}

/// Sends the messages of older jobs that nobody has any more, of the days that are looked at with those from `from` to `to`. What
/// there is no time for is looked at 15 days later.
async fn wake_postponed(
    jobs: &Jobs,
    tasks: &[&TaskName],
    (from, to): (Timestamp, Timestamp),
    end: Timestamp,
    record: &mut Record,
) {
    for day in later_looks(from, to) {
        let left = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default().min(WAKING);
        match timeout(left, jobs.wake_orphans(tasks.iter().copied(), day)).await {
            Ok(Ok(report)) => {
                record.tally.woken += report.sent;
                record.errors.extend(report.errors);
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
    let mut state = state.clone();
    know(it, &mut state, now).await?;
    let mut considered = pulse(&it.plan, &it.zones, &state, now);
    if !around {
        considered.others.clear();
        considered.cursor.clone_from(&state.cursor);
    }
    for fault in &considered.faults {
        if !record.errors.contains(fault) {
            record.errors.push(fault.clone());
        }
    }
    let waited = |tick: &&DueTick<'_>| {
        state.waiting.iter().any(|it| it.tick == tick.tick && it.task == *tick.task.name())
    };
    record.tally.due += considered.pending.iter().filter(|tick| !waited(tick)).count();
    let cursor = considered.cursor.clone();
    let carried = carried(it, Trigger::Pulse, considered, &state, end, record).await?;
    let next = remember(it, carried, cursor, &state, now, record).await;
    record.tally.waiting = next.waiting.len();
    Ok(next)
}

/// What became of the ticks that were due.
struct Carried<'a> {
    left: Vec<(DueTick<'a>, WaitReason)>,
    ticks: Vec<TickOutcome>,
    misses: Vec<MissedTicks>,
}

async fn carried<'a>(
    it: &'a Pulse,
    trigger: Trigger,
    mut considered: Agenda<'a>,
    state: &State,
    end: Timestamp,
    record: &mut Record,
) -> Result<Carried<'a>, TableError> {
    let mut carry = Carry::new(it, trigger, record);
    let states = carry.look(&considered.tasks()).await?;
    let unknown = considered.leave_out_unknown(&states, &state.waiting);
    carry.take(considered.pending.clone(), unknown);
    carry.ask(&considered.asked).await;
    carry.on(states.clone(), end).await?;
    let (left, ticks) = carry.done();
    let misses = misses(it, &considered, &states).await?;
    Ok(Carried { left, ticks, misses })
}

/// What is remembered next. Whoever is to be told of ticks without a run is told.
async fn remember(
    it: &Pulse,
    carried: Carried<'_>,
    cursor: Option<TaskName>,
    before: &State,
    watermark: Timestamp,
    record: &mut Record,
) -> State {
    let (next, given_up) = keep(&carried.left, cursor, watermark);
    let given_up = given_up.into_iter().filter_map(GivenUpTicks::missed);
    tell_missed(it, carried.misses.into_iter().chain(given_up), record).await;
    let State { orphans_checked_until, failing, letters, .. } = *before;
    State { orphans_checked_until, plan: before.plan.clone(), failing, letters, ..next }
}

/// Notes since when the schedules of the tasks are known, where the plan is another one than the last pulse had. If there is
/// more than one pulse can do, the next one goes on.
async fn know(it: &Pulse, state: &mut State, now: Timestamp) -> Result<(), TableError> {
    if state.plan.as_deref() == Some(it.plan.digest()) {
        return Ok(());
    }
    let cron: Vec<_> =
        it.plan.tasks().iter().filter(|task| task.cron().is_some()).map(PlannedTask::name).collect();
    let found = it.table.states(cron).await?;
    let new = newly_known(&it.plan, &found.states, state.watermark, now);
    let is_all = new.len() <= KNOWN_AT_ONCE;
    let writes = new.iter().take(KNOWN_AT_ONCE).map(|(task, known)| {
        let before = found.states.get(task).and_then(|state| state.known.as_ref());
        it.table.know(task, known, before)
    });
    let mut writes = stream::iter(writes.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    while let Some(written) = writes.next().await {
        written?;
    }
    if is_all {
        state.plan = Some(it.plan.digest().to_owned());
    }
    Ok(())
}

/// The fault of a pulse before this one that did not come to its end, for somebody who is told.
async fn cut_off(it: &Pulse, now: Timestamp) -> Result<Option<String>, TableError> {
    if it.notifier.is_none() {
        return Ok(None);
    }
    let before = it.table.pulses(2).await?.records.into_iter().find(|record| record.started_at < now);
    let is_cut_off = |record: &Record| {
        record.duration_ms.is_none() && now.duration_since(record.started_at).unsigned_abs() >= MINUTE
    };
    let before = before.filter(is_cut_off).map(|record| record.started_at);
    Ok(before.map(|at| format!("the pulse of {at} did not come to its end")))
}

/// Counts the messages in the dead-letter queues every ten minutes, and tells of those that have some. Returns when they were counted
/// last.
async fn count_letters(
    it: &Pulse,
    before: Option<Timestamp>,
    now: Timestamp,
    record: &mut Record,
) -> Option<Timestamp> {
    let Some(letters) = &it.letters else { return before };
    if before.is_some_and(|before| now.duration_since(before).unsigned_abs() < COUNT_LETTERS) {
        return before;
    }
    let queues = it.plan.tasks().iter().filter(|task| task.definition.queue().is_some());
    let queues: Vec<_> = queues.map(PlannedTask::name).collect();
    let mut counts = Vec::new();
    for some in queues.chunks(AT_ONCE) {
        counts.extend(join_all(some.iter().map(|task| letters.count(task))).await);
    }
    for (task, count) in queues.into_iter().zip(counts) {
        let told = match count {
            Ok(count) => notify::dead_letters(it, task, count, now).await.map_err(|error| error.to_string()),
            // As for its messages: the queue goes when the task does.
            Err(DeadLetterError::NoQueue(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = told {
            tracing::error!("{error}");
            record.errors.push(error);
        }
    }
    Some(now)
}

/// Tells that the pulse has errors, once until it has none. Returns since when it has.
pub async fn tell_failing(it: &Pulse, before: Option<Timestamp>, record: &mut Record) -> Option<Timestamp> {
    if record.errors.is_empty() {
        return None;
    }
    if before.is_none()
        && let Err(error) = notify::failing(it, record.started_at, &record.errors).await
    {
        fault(record, &error);
    }
    before.or(Some(record.started_at))
}

/// What the last pulse remembered. What cannot be read is told and forgotten, or there would never be a pulse again.
async fn remembered(it: &Pulse, wish: &PulseRequest, record: &mut Record) -> Result<State, TableError> {
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

/// Finds the ticks that have had no run and will have none.
async fn misses(
    it: &Pulse,
    agenda: &Agenda<'_>,
    states: &BTreeMap<TaskName, TaskState>,
) -> Result<Vec<MissedTicks>, TableError> {
    let candidates = MissCandidates::new(agenda, states);
    let recorded = it.table.ended(candidates.runs()).await?.0.iter().map(|run| run.id).collect();
    let mut ran = BTreeSet::new();
    for (task, tick) in candidates.expected() {
        ran.extend(it.table.run_for(task, tick).await?.map(|_| (task, tick)));
    }
    Ok(candidates.missed(&recorded, &ran))
}

async fn tell_missed(it: &Pulse, misses: impl Iterator<Item = MissedTicks>, record: &mut Record) {
    for missed in misses {
        record.tally.missed += missed.ticks;
        if let Err(error) = notify::missed(it, &missed).await {
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
