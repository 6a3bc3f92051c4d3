//! The ticks that are due, from round to round: hand over, look, decide again, until there is nothing more to do.

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
    run::{Pulse, fault},
};

/// How many invocations are sent at once.
const AT_ONCE: usize = 32;
/// How long a run is followed for its outcome alone.
const FOLLOWED: Duration = Duration::from_secs(10);
/// The first pause between two looks, doubled while nothing changes.
const FIRST_PAUSE: Duration = Duration::from_millis(30);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What is carried through a pulse.
pub struct Carry<'a, 'r> {
    it: &'a Pulse,
    trigger: Trigger,
    pending: Vec<DueTick<'a>>,
    left: Vec<Option<WaitReason>>,
    ticks: Vec<TickOutcome>,
    record: &'r mut Record,
}

impl<'a, 'r> Carry<'a, 'r> {
    /// Begins with no ticks.
    pub fn new(it: &'a Pulse, trigger: Trigger, record: &'r mut Record) -> Self {
        Self { it, trigger, left: Vec::new(), pending: Vec::new(), ticks: Vec::new(), record }
    }

    /// Takes the ticks that are due. `unknown` others are not due after all.
    pub fn take(&mut self, pending: Vec<DueTick<'a>>, unknown: usize) {
        self.record.tally.due = self.record.tally.due.saturating_sub(unknown);
        self.left = vec![None; pending.len()];
        self.pending = pending;
    }

    /// Reads the tasks' items, and ends the runs that were lost.
    pub async fn look(
        &mut self,
        tasks: &BTreeSet<TaskName>,
    ) -> Result<BTreeMap<TaskName, TaskState>, TableError> {
        let found = self.it.table.states(tasks).await?;
        for error in &found.unreadable {
            if !self.record.errors.contains(&error.to_string()) {
                fault(self.record, error);
            }
        }
        let now = Timestamp::now();
        for (task, state) in &found.states {
            for lost in state.lost(now) {
                let run = self.it.table.end_lost(task, &lost, now).await?;
                self.record.tally.lost += 1;
                self.tell(&run).await;
            }
        }
        Ok(found.states)
    }

    /// Asks the tasks that say themselves whether they are due. Nobody waits for what they say.
    pub async fn ask(&mut self, asked: &[DueTick<'a>]) {
        for (_, sent) in self.send(asked.to_vec()).await {
            match sent {
                Ok(()) => self.record.tally.asked += 1,
                Err(error) => fault(self.record, &error),
            }
        }
    }

    /// Carries the ticks on until none of them can be brought any further, or the pulse's time ends.
    pub async fn on(
        &mut self,
        mut states: BTreeMap<TaskName, TaskState>,
        end: Timestamp,
    ) -> Result<(), TableError> {
        let mut pause = FIRST_PAUSE;
        let mut moved_at = Timestamp::now();
        while !self.pending.is_empty() {
            let seen = self.seen(states).await?;
            let has_moved = self.step(&seen).await?;
            if has_moved {
                (pause, moved_at) = (FIRST_PAUSE, Timestamp::now());
            }
            if Timestamp::now() >= end || !(has_moved || self.goes_on(moved_at)) {
                break;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            let tasks = wanted(&self.pending).into_iter().cloned().collect();
            states = self.look(&tasks).await?;
        }
        Ok(())
    }

    /// Whether something will change by itself: a run is in progress, or about to be, and somebody waits for it, or it has
    /// not been followed for long.
    fn goes_on(&self, moved_at: Timestamp) -> bool {
        let is_in_progress = |(tick, why): (&DueTick<'_>, &Option<WaitReason>)| match why {
            None => true,
            Some(WaitReason::Handed) => tick.handed.is_some_and(|at| at >= self.record.started_at),
            Some(_) => false,
        };
        let is_awaited = |why: &Option<WaitReason>| {
            matches!(why, Some(WaitReason::Turn | WaitReason::Dependency(_) | WaitReason::Priority))
        };
        let is_young = Timestamp::now().duration_since(moved_at).unsigned_abs() < FOLLOWED;
        self.pending.iter().zip(&self.left).any(is_in_progress)
            && (is_young || self.left.iter().any(is_awaited))
    }

    /// What is seen of the ticks that are left. The records are read after the states.
    async fn seen(&mut self, states: BTreeMap<TaskName, TaskState>) -> Result<Snapshot, TableError> {
        let runs = self.pending.iter().map(|tick| (tick.task.name(), tick.run_id));
        let (ended, unreadable) = self.it.table.ended(runs).await?;
        for error in &unreadable {
            if !self.record.errors.contains(&error.to_string()) {
                fault(self.record, error);
            }
        }
        let runs = ended.iter().map(|run| (run.id, run.status)).collect();
        Ok(Snapshot { states, runs })
    }

    /// One round. Whether anything was brought further.
    async fn step(&mut self, seen: &Snapshot) -> Result<bool, TableError> {
        let steps = round(&self.pending, seen, Timestamp::now());
        let mut handing = Vec::new();
        self.left.clear();
        let mut on = false;
        for (tick, step) in std::mem::take(&mut self.pending).into_iter().zip(steps) {
            match step {
                TickAction::Invoke => handing.push(tick),
                TickAction::Wait(why) => self.leave(tick, Some(why)),
                TickAction::Follow => self.leave(tick, None),
                TickAction::Record(run) => {
                    on = true;
                    let status = self.put_down(*run).await?;
                    self.over(&tick, Some(status));
                }
                TickAction::Over(status) => {
                    on = true;
                    self.over(&tick, status);
                }
            }
        }
        for (mut tick, sent) in self.send(handing).await {
            on = true;
            let why = match sent {
                Ok(()) => {
                    tick.handed = Some(Timestamp::now());
                    WaitReason::Handed
                }
                Err(error) => {
                    fault(self.record, &error);
                    tick.refused = true;
                    WaitReason::Refused
                }
            };
            self.leave(tick, Some(why));
        }
        Ok(on)
    }

    fn leave(&mut self, tick: DueTick<'a>, why: Option<WaitReason>) {
        self.pending.push(tick);
        self.left.push(why);
    }

    fn over(&mut self, tick: &DueTick<'_>, status: Option<Status>) {
        self.record.tally.over(status);
        self.ticks.push(told(tick, status.map_or("HAD", Status::as_str)));
    }

    /// Sends the ticks' invocations.
    async fn send(&self, ticks: Vec<DueTick<'a>>) -> Vec<(DueTick<'a>, Result<(), InvokeError>)> {
        let sends: Vec<_> = ticks.into_iter().map(|tick| self.send_one(tick)).collect();
        stream::iter(sends).buffered(AT_ONCE).collect().await
    }

    async fn send_one(&self, tick: DueTick<'a>) -> (DueTick<'a>, Result<(), InvokeError>) {
        let function = format!("{}-{}", self.it.stack, tick.task.name());
        let envelope = Envelope {
            run_id: Some(tick.run_id),
            scheduled_for: (self.trigger == Trigger::Pulse).then_some(tick.tick),
            ..Envelope::of(self.trigger)
        };
        let payload = serde_json::to_string(&envelope).unwrap_or_default();
        let sent = self.it.functions.start(&function, &payload).await;
        (tick, sent)
    }

    /// Writes the record of a tick that has no run. How its run stands by then.
    async fn put_down(&mut self, run: Run) -> Result<Status, TableError> {
        let scheduled_for = run.scheduled_for.filter(|_| self.trigger == Trigger::Pulse);
        let environment = self.it.environment.clone();
        let run = Run { trigger: self.trigger, scheduled_for, environment, ..run };
        let status = match self.it.table.record(&run).await? {
            Recorded::Written => run.status,
            Recorded::Before(stands) => stands.status,
        };
        if status == Status::Blocked {
            self.it.table.note_blocked(&run).await?;
            self.tell(&run).await;
        }
        Ok(status)
    }

    async fn tell(&mut self, run: &Run) {
        if run.status.is_failure()
            && let Err(error) = notify::run(self.it, run).await
        {
            fault(self.record, &error);
        }
    }

    /// The ticks that are left, those that wait with what they wait for, and what became of each.
    pub fn done(self) -> (Vec<(DueTick<'a>, WaitReason)>, Vec<TickOutcome>) {
        let (mut waiting, mut ticks) = (Vec::new(), self.ticks);
        for (tick, why) in self.pending.into_iter().zip(self.left) {
            self.record.tally.left(why.as_ref());
            ticks.push(told(&tick, &word(why.as_ref())));
            waiting.extend(why.map(|why| (tick, why)));
        }
        (waiting, ticks)
    }
}

/// What would be done in the first round, without doing it.
pub async fn dry(
    it: &Pulse,
    considered: &Agenda<'_>,
    record: &mut Record,
) -> Result<Vec<TickOutcome>, TableError> {
    let found = it.table.states(&considered.tasks()).await?;
    record.errors.extend(found.unreadable.iter().map(ToString::to_string));
    let runs = considered.pending.iter().map(|tick| (tick.task.name(), tick.run_id));
    let runs = it.table.ended(runs).await?.0.iter().map(|run| (run.id, run.status)).collect();
    let steps = round(&considered.pending, &Snapshot { states: found.states, runs }, Timestamp::now());
    let became = |step: &TickAction| match step {
        TickAction::Invoke | TickAction::Wait(WaitReason::Priority | WaitReason::Turn) => "DUE".to_owned(),
        TickAction::Wait(why) => word(Some(why)),
        TickAction::Follow => word(None),
        TickAction::Record(run) => format!("{}: {}", run.status, run.reason().unwrap_or_default()),
        TickAction::Over(status) => status.map_or("HAD", Status::as_str).to_owned(),
    };
    Ok(considered.pending.iter().zip(&steps).map(|(tick, step)| told(tick, &became(step))).collect())
}

fn told(tick: &DueTick<'_>, became: &str) -> TickOutcome {
    TickOutcome {
        task: tick.task.name().clone(),
        scheduled_for: tick.tick,
        run_id: tick.run_id,
        became: became.to_owned(),
    }
}

/// What is said of a tick that is left: it is in progress, or it waits.
fn word(why: Option<&WaitReason>) -> String {
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
