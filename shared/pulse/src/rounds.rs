//! The due ticks, round by round: invoke their functions, read the table, and decide again, until nothing is left to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use lamplighter_aws::{
    functions::InvokeError,
    table::{Recorded, TableError},
};
use lamplighter_core::{
    backoff::Backoff,
    claim::TaskState,
    envelope::Envelope,
    name::TaskName,
    pulse::{Agenda, DueTick, Record, Snapshot, TickAction, TickOutcome, WaitReason, round, wanted},
    run::{Run, Trigger},
    status::Status,
};
use tokio::time::sleep;

use crate::{
    notify,
    services::{Pulse, note_error},
};

/// The most invocations in flight.
const AT_ONCE: usize = 32;
/// The time for which a run is followed if no other tick waits for it.
const FOLLOWED: Duration = Duration::from_secs(10);
/// The pauses between two rounds while nothing changes.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(30), Duration::from_secs(2));

/// The unfinished and finished ticks of one pulse.
pub struct Rounds<'a, 'r> {
    pulse: &'a Pulse,
    trigger: Trigger,
    pending: Vec<DueTick<'a>>,
    /// Why each of `pending` waits. `None` if its run is in progress.
    left: Vec<Option<WaitReason>>,
    /// The outcomes of the finished ticks.
    ticks: Vec<TickOutcome>,
    record: &'r mut Record,
}

impl<'a, 'r> Rounds<'a, 'r> {
    /// Begins with no ticks.
    pub fn new(pulse: &'a Pulse, trigger: Trigger, record: &'r mut Record) -> Self {
        Self { pulse, trigger, left: Vec::new(), pending: Vec::new(), ticks: Vec::new(), record }
    }

    /// Adds the due ticks. `unknown` is the number of ticks that were counted as due and are not.
    pub fn add(&mut self, pending: Vec<DueTick<'a>>, unknown: usize) {
        self.record.tally.due = self.record.tally.due.saturating_sub(unknown);
        self.left = vec![None; pending.len()];
        self.pending = pending;
    }

    /// Reads the tasks' items, and ends lost runs.
    pub async fn read_states(
        &mut self,
        tasks: &BTreeSet<TaskName>,
    ) -> Result<BTreeMap<TaskName, TaskState>, TableError> {
        let found = self.pulse.table.states(tasks).await?;
        for error in &found.unreadable {
            if !self.record.errors.contains(&error.to_string()) {
                note_error(self.record, error);
            }
        }
        let now = Timestamp::now();
        for (task, state) in &found.states {
            for lost in state.lost(now) {
                let run = self.pulse.table.end_lost(task, &lost, now).await?;
                self.record.tally.lost += 1;
                self.notify(&run).await;
            }
        }
        Ok(found.states)
    }

    /// Invokes the tasks that decide themselves whether they are due. Their runs are not followed.
    pub async fn invoke_self_scheduled(&mut self, asked: &[DueTick<'a>]) {
        for (_, sent) in self.send(asked.to_vec()).await {
            match sent {
                Ok(()) => self.record.tally.asked += 1,
                Err(error) => note_error(self.record, &error),
            }
        }
    }

    /// Does round after round until no tick can make progress, or until `end`.
    pub async fn run(
        &mut self,
        mut states: BTreeMap<TaskName, TaskState>,
        end: Timestamp,
    ) -> Result<(), TableError> {
        let mut backoff = BACKOFF;
        let mut progress_at = Timestamp::now();
        while !self.pending.is_empty() {
            let seen = self.seen(states).await?;
            let has_progress = self.round(&seen).await?;
            if has_progress {
                (backoff, progress_at) = (BACKOFF, Timestamp::now());
            }
            if Timestamp::now() >= end || !(has_progress || self.may_progress(progress_at)) {
                break;
            }
            sleep(backoff.pause()).await;
            let tasks = wanted(&self.pending).into_iter().cloned().collect();
            states = self.read_states(&tasks).await?;
        }
        Ok(())
    }

    /// True if a later round may make progress: a run is in progress or about to begin, and either another tick waits for
    /// it or it has not been followed for long.
    fn may_progress(&self, progress_at: Timestamp) -> bool {
        let is_in_progress = |(tick, why): (&DueTick<'_>, &Option<WaitReason>)| match why {
            None => true,
            Some(WaitReason::Handed) => tick.handed.is_some_and(|at| at >= self.record.started_at),
            Some(_) => false,
        };
        let is_awaited = |why: &Option<WaitReason>| {
            matches!(why, Some(WaitReason::Turn | WaitReason::Dependency(_) | WaitReason::Priority))
        };
        let is_young = Timestamp::now().duration_since(progress_at).unsigned_abs() < FOLLOWED;
        self.pending.iter().zip(&self.left).any(is_in_progress)
            && (is_young || self.left.iter().any(is_awaited))
    }

    /// Reads the records of the unfinished ticks' runs. They are read after the tasks' states.
    async fn seen(&mut self, states: BTreeMap<TaskName, TaskState>) -> Result<Snapshot, TableError> {
        let runs = self.pending.iter().map(|tick| (tick.task.name(), tick.run_id));
        let (ended, unreadable) = self.pulse.table.ended(runs).await?;
        for error in &unreadable {
            if !self.record.errors.contains(&error.to_string()) {
                note_error(self.record, error);
            }
        }
        let runs = ended.iter().map(|run| (run.id, run.status)).collect();
        Ok(Snapshot { states, runs })
    }

    /// Does one round. Returns true if a tick made progress.
    async fn round(&mut self, seen: &Snapshot) -> Result<bool, TableError> {
        let steps = round(&self.pending, seen, Timestamp::now());
        let mut handing = Vec::new();
        self.left.clear();
        let mut has_progress = false;
        for (tick, step) in std::mem::take(&mut self.pending).into_iter().zip(steps) {
            match step {
                TickAction::Invoke => handing.push(tick),
                TickAction::Wait(why) => self.keep_pending(tick, Some(why)),
                TickAction::Follow => self.keep_pending(tick, None),
                TickAction::Record(run) => {
                    has_progress = true;
                    let status = self.record_without_run(*run).await?;
                    self.finish_tick(&tick, Some(status));
                }
                TickAction::Over(status) => {
                    has_progress = true;
                    self.finish_tick(&tick, status);
                }
            }
        }
        for (mut tick, sent) in self.send(handing).await {
            has_progress = true;
            let why = match sent {
                Ok(()) => {
                    tick.handed = Some(Timestamp::now());
                    WaitReason::Handed
                }
                Err(error) => {
                    note_error(self.record, &error);
                    tick.refused = true;
                    WaitReason::Refused
                }
            };
            self.keep_pending(tick, Some(why));
        }
        Ok(has_progress)
    }

    fn keep_pending(&mut self, tick: DueTick<'a>, why: Option<WaitReason>) {
        self.pending.push(tick);
        self.left.push(why);
    }

    fn finish_tick(&mut self, tick: &DueTick<'_>, status: Option<Status>) {
        self.record.tally.over(status);
        self.ticks.push(outcome(tick, status.map_or("HAD", Status::as_str)));
    }

    /// Sends the ticks' invocations.
    async fn send(&self, ticks: Vec<DueTick<'a>>) -> Vec<(DueTick<'a>, Result<(), InvokeError>)> {
        let sends: Vec<_> = ticks.into_iter().map(|tick| self.send_one(tick)).collect();
        stream::iter(sends).buffered(AT_ONCE).collect().await
    }

    async fn send_one(&self, tick: DueTick<'a>) -> (DueTick<'a>, Result<(), InvokeError>) {
        let function = format!("{}-{}", self.pulse.stack, tick.task.name());
        let envelope = Envelope {
            run_id: Some(tick.run_id),
            scheduled_for: (self.trigger == Trigger::Pulse).then_some(tick.tick),
            ..Envelope::of(self.trigger)
        };
        let payload = serde_json::to_string(&envelope).unwrap_or_default();
        let sent = self.pulse.functions.start(&function, &payload).await;
        (tick, sent)
    }

    /// Writes the record of a tick that has no run. Returns the status of the stored record, which may be an earlier one.
    async fn record_without_run(&mut self, run: Run) -> Result<Status, TableError> {
        let scheduled_for = run.scheduled_for.filter(|_| self.trigger == Trigger::Pulse);
        let environment = self.pulse.environment.clone();
        let run = Run { trigger: self.trigger, scheduled_for, environment, ..run };
        let status = match self.pulse.table.record(&run).await? {
            Recorded::Written => run.status,
            Recorded::Before(stored) => stored.status,
        };
        if status == Status::Blocked {
            self.pulse.table.note_blocked(&run).await?;
            self.notify(&run).await;
        }
        Ok(status)
    }

    /// Sends a notification if the run failed.
    async fn notify(&mut self, run: &Run) {
        if run.status.is_failure()
            && let Err(error) = notify::run(self.pulse, run).await
        {
            note_error(self.record, &error);
        }
    }

    /// Returns the ticks that wait, each with its reason, and the outcome of every tick.
    pub fn finish(self) -> (Vec<(DueTick<'a>, WaitReason)>, Vec<TickOutcome>) {
        let (mut waiting, mut ticks) = (Vec::new(), self.ticks);
        for (tick, why) in self.pending.into_iter().zip(self.left) {
            self.record.tally.left(why.as_ref());
            ticks.push(outcome(&tick, &waiting_text(why.as_ref())));
            waiting.extend(why.map(|why| (tick, why)));
        }
        (waiting, ticks)
    }
}

/// Reports what the first round would do, without doing it.
pub async fn dry_run(
    pulse: &Pulse,
    considered: &Agenda<'_>,
    record: &mut Record,
) -> Result<Vec<TickOutcome>, TableError> {
    let found = pulse.table.states(&considered.tasks()).await?;
    record.errors.extend(found.unreadable.iter().map(ToString::to_string));
    let runs = considered.pending.iter().map(|tick| (tick.task.name(), tick.run_id));
    let runs = pulse.table.ended(runs).await?.0.iter().map(|run| (run.id, run.status)).collect();
    let steps = round(&considered.pending, &Snapshot { states: found.states, runs }, Timestamp::now());
    let became = |step: &TickAction| match step {
        TickAction::Invoke | TickAction::Wait(WaitReason::Priority | WaitReason::Turn) => "DUE".to_owned(),
        TickAction::Wait(why) => waiting_text(Some(why)),
        TickAction::Follow => waiting_text(None),
        TickAction::Record(run) => format!("{}: {}", run.status, run.reason().unwrap_or_default()),
        TickAction::Over(status) => status.map_or("HAD", Status::as_str).to_owned(),
    };
    Ok(considered.pending.iter().zip(&steps).map(|(tick, step)| outcome(tick, &became(step))).collect())
}

fn outcome(tick: &DueTick<'_>, became: &str) -> TickOutcome {
    TickOutcome {
        task: tick.task.name().clone(),
        scheduled_for: tick.tick,
        run_id: tick.run_id,
        became: became.to_owned(),
    }
}

/// Describes an unfinished tick: in progress, or waiting for something.
fn waiting_text(why: Option<&WaitReason>) -> String {
    let for_what = match why {
        None => return Status::Running.as_str().to_owned(),
        Some(WaitReason::Running) => "its run in progress".to_owned(),
        Some(WaitReason::Dependency(task)) => format!("`{task}`"),
        Some(WaitReason::Turn) => "an earlier tick".to_owned(),
        Some(WaitReason::Priority) => "ticks of a higher priority".to_owned(),
        Some(WaitReason::Handed) => "its function to begin".to_owned(),
        Some(WaitReason::Refused) => "its function to take the invocation".to_owned(),
        Some(WaitReason::Unreadable(task)) => format!("the item of `{task}`, which cannot be read"),
    };
    format!("WAITING for {for_what}")
}
