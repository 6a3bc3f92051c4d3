//! The writes of the ledger, as `shared/aws/src/table/deployments/ledger.rs` makes them, and the runs of the tasks.

use lamplighter_core::{
    claim::{Decision, Lease, Occasion, Refusal, Request, TaskState, claim},
    definition::Overlap,
    deployment::{Answered, Course, Entry, EntryKey, Latest, Ledger, TaskEntry},
    holder::Holder,
    id::RunId,
    run::Trigger,
    status::Status,
};

use super::{
    invariants::{FORWARD_ONCE, REASON, TRUTH, UNDO_ONCE, UNDO_RIGHT, WAITED},
    life::{Fault, LEDGER, Life, at},
    request::{SentRequest, Undone},
    world::{Claims, Invocation, Run, Shared, Table, World, request_of},
};

impl Table {
    /// The place of a request's entry.
    pub fn entry_of(&self, request: usize) -> Option<usize> {
        self.entries.iter().position(|entry| request_of(&entry.key) == request)
    }

    /// Returns whether a request was opened, and ended with success.
    pub fn has_succeeded(&self, request: usize) -> bool {
        self.entry_of(request).is_some_and(|place| self.entries[place].succeeded())
    }

    pub fn place(&self, key: &EntryKey) -> usize {
        self.entries.iter().position(|entry| entry.key == *key).unwrap()
    }

    /// Returns the ledger as a dispatcher reads it. The given head may be older than the entries.
    pub fn ledger(&self, latest: Option<Latest>, own: Option<usize>) -> Ledger {
        let entry = |place: usize| (*self.entries[place]).clone();
        let newest = latest.as_ref().and_then(|latest| self.entry(&latest.entry).cloned());
        Ledger { latest, newest, own: own.map(entry), before: Vec::new() }
    }

    /// Returns the entry with this key; none if the head names no entry, as after a deletion in an empty ledger.
    pub fn entry(&self, key: &EntryKey) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == *key).map(|entry| &**entry)
    }

    /// Returns whether the ledger is unchanged.
    pub fn stands_at(&self, seen: Option<&Latest>) -> bool {
        self.latest.as_ref() == seen
    }

    /// Returns whether an entry is the ledger's newest, and its resource is not deleted.
    pub fn is_newest(&self, entry: &Entry) -> bool {
        self.latest.as_ref().is_some_and(|latest| latest.entry == entry.key && latest.deleted.is_none())
    }

    /// Records the results of a deployment's tasks, unless it has ended.
    pub fn progress(&mut self, entry: &Entry) {
        let place = self.place(&entry.key);
        if self.entries[place].answer.is_none() {
            self.entries[place] = Shared::new(entry.clone());
        }
    }
}

impl Life {
    /// Opens an entry if the ledger is unchanged, and the request has neither an entry nor an answer.
    pub fn open(&self, world: &mut World, entry: &Shared<Entry>, seen: Option<&Latest>) -> bool {
        let table = &mut world.table;
        let request = request_of(&entry.key);
        let latest = table.latest.as_ref();
        let stands = match (self.fault, latest, seen) {
            (Fault::OpenedOverDelete, Some(latest), Some(seen)) => {
                (&latest.entry, &latest.successful) == (&seen.entry, &seen.successful)
            }
            (Fault::SuccessUncompared, Some(latest), Some(seen)) => {
                (&latest.entry, latest.deleted) == (&seen.entry, seen.deleted)
            }
            _ => table.stands_at(seen),
        };
        let is_known = self.fault != Fault::OwnForgotten
            && (table.entry_of(request).is_some() || table.noted.iter().any(|(noted, _)| *noted == request));
        if !stands || is_known {
            return false;
        }
        let successful = match self.fault {
            Fault::SuccessKept => seen.and_then(|seen| seen.successful.clone()),
            _ => entry.previous.clone(),
        };
        table.latest = Some(Latest { entry: entry.key.clone(), successful, deleted: None });
        table.entries.push(entry.clone());
        true
    }

    /// Records the answer to a request that has neither an entry nor an answer.
    pub fn note(&self, world: &mut World, request: usize, answer: &Answered) {
        let table = &mut world.table;
        let has_entry = table.entry_of(request).is_some() && self.fault != Fault::DeclinedBesideEntry;
        if !has_entry && table.noted.iter().all(|(noted, _)| *noted != request) {
            table.noted.push((request, answer.clone()));
            table.noted.sort_by_key(|(noted, _)| *noted);
        }
    }

    /// Ends a deployment once, and returns its answer.
    pub fn close(&self, world: &mut World, entry: &Entry, answer: &Answered) -> Answered {
        let table = &mut world.table;
        let place = table.place(&entry.key);
        if let Some(stands) = &table.entries[place].answer
            && self.fault != Fault::ClosedTwice
        {
            return stands.clone();
        }
        let closed = Entry { answer: Some(answer.clone()), ..entry.clone() };
        let is_newest = table.is_newest(entry);
        let latest = table.latest.as_mut().unwrap();
        if is_newest || self.fault == Fault::ClosedOverNewer {
            latest.successful = closed.successful_after(answer.success);
            latest.deleted = None;
        }
        table.entries[place] = Shared::new(closed);
        answer.clone()
    }

    /// An invocation arrives at its task. Nothing happens while another run has the task.
    pub fn arrive(&self, world: &mut World, place: usize) -> bool {
        let invocation = world.invocations[place].clone();
        let run = world.run(invocation.run).unwrap().clone();
        let entry = world.table.entries[invocation.entry].clone();
        match claim(&world.claims[run.task].state(), &claim_of(&run, &entry.key, place)) {
            Decision::Granted(_)
                if run.is_undo && run.record.is_some() && self.fault != Fault::ClaimedUnlooked =>
            {
                world.invocations.remove(place);
                world.claims[run.task].newest = Some(entry.key.clone());
                return true;
            }
            Decision::Granted(_) => {}
            Decision::Refused(Refusal::PreviousInstanceRunning { .. }) => return false,
            Decision::Refused(_) => {
                world.invocations.remove(place);
                if !world.is_held(run.id) {
                    // Its dispatcher finds no record, and records that it did not start.
                    world.write_down(run.id, Status::Failed);
                }
                return true;
            }
        }
        world.invocations.remove(place);
        let claims = &mut world.claims[run.task];
        (claims.newest, claims.held_by) = (Some(entry.key.clone()), Some(run.id));
        if run.is_undo {
            world.check_undo(&run);
        } else {
            self.check_forward(world, &run, &entry, &invocation);
        }
        let run = world.runs.iter_mut().find(|it| it.id == run.id).unwrap();
        run.started += 1;
        true
    }

    fn check_forward(&self, world: &mut World, run: &Run, entry: &Entry, invocation: &Invocation) {
        let same = |other: &Run| !other.is_undo && other.request == run.request && other.task == run.task;
        if world.runs.iter().any(|other| same(other) && other.started > 0) {
            world.breaks(FORWARD_ONCE);
        }
        if !invocation.waited {
            world.breaks(WAITED);
        }
        let given = (entry.deployment.previous_version.clone(), entry.deployment.is_first_deploy);
        let is_given =
            |effect: Option<u8>| given == (effect.map(|effect| self.version(effect)), effect.is_none());
        // A kept deployment may have succeeded after CloudFormation stopped waiting for it. CloudFormation does
        // not know of this success, but the deployment's work remains.
        let is_kept = |sent: &SentRequest| sent.is_forward() && sent.undone != Undone::RolledBack;
        let since = world.stack.since..run.request;
        let mut kept = since.filter(|it| is_kept(&world.sent[*it]) && world.table.has_succeeded(*it));
        let is_true = is_given(world.stack.effect) || kept.any(|it| is_given(world.sent[it].to));
        if world.stack.waits_for == Some(run.request) && !is_true {
            world.breaks(TRUTH);
        }
    }
}

impl World {
    /// Sends an invocation of a task's run, unless it has visibly started.
    pub fn invoke(&mut self, entry: &Entry, place: usize, waited: bool) {
        let run = self.run_of(entry, place).clone();
        if run.record.is_some() || self.is_held(run.id) {
            return;
        }
        let entry = self.table.place(&entry.key);
        if self.invocations.iter().all(|invocation| (invocation.run, invocation.entry) != (run.id, entry)) {
            self.invocations.push(Invocation { run: run.id, entry, waited });
            self.invocations.sort();
        }
    }

    /// Prevents the start of a task's runs of this deployment and of earlier ones. Returns false if this
    /// deployment or a later one has already claimed the task.
    pub fn prevent_start(&mut self, task: &TaskEntry, key: &EntryKey) -> bool {
        let newest = &mut self.claims[usize::from(task.name.as_str() == "b")].newest;
        let is_new = newest.as_ref().is_none_or(|newest| newest < key);
        if is_new {
            *newest = Some(key.clone());
        }
        is_new
    }

    /// Writes the record of a run that did not start, unless it has one. Returns the status in the table.
    pub fn write_down(&mut self, id: RunId, status: Status) -> Status {
        match self.runs.iter_mut().find(|run| run.id == id) {
            Some(run) => *run.record.get_or_insert(status),
            None => status,
        }
    }

    /// A body ends.
    pub fn end(&mut self, task: usize, well: bool) {
        let id = self.claims[task].held_by.take().unwrap();
        let run = self.runs.iter_mut().find(|run| run.id == id).unwrap();
        run.completed |= well;
        run.record.get_or_insert(if well { Status::Completed } else { Status::Failed });
    }

    fn check_undo(&mut self, undo: &Run) {
        let completed = |id: &RunId| self.run(*id).filter(|run| run.completed);
        let undone: Vec<_> = undo.undoes.iter().filter_map(completed).collect();
        let is_right = undone.iter().all(|run| self.is_undone(run.request));
        let again = |run: &Run| {
            let covers = |other: &Run| other.is_undo && other.undoes.contains(&run.id);
            let counts = |other: &Run| other.completed || (other.id != undo.id && self.is_held(other.id));
            self.runs.iter().any(|other| covers(other) && counts(other))
        };
        let is_new = !undone.iter().any(|run| again(run));
        let is_empty = undone.is_empty();
        if !is_right || is_empty {
            self.breaks(UNDO_RIGHT);
        }
        if !is_new {
            self.breaks(UNDO_ONCE);
        }
    }

    /// Checks that a deployment for which CloudFormation waits is answered FAILED only if one of its runs failed.
    pub fn refused_for_a_reason(&mut self, request: usize, answer: &Answered) {
        let sent = &self.sent[request];
        let failed = |run: &Run| run.request == request && run.record == Some(Status::Failed);
        if self.stack.waits_for == Some(request)
            && sent.is_forward()
            && !answer.success
            && !sent.late
            && !self.runs.iter().any(failed)
        {
            self.breaks(REASON);
        }
    }
}

impl Claims {
    /// The item of the task.
    fn state(&self) -> TaskState {
        let lease = self.held_by.map(|run_id| Lease {
            run_id,
            holder: Holder::default(),
            until: at(1000),
            started_at: at(0),
            trigger: Trigger::Update,
            scheduled_for: None,
            cancelled: false,
        });
        let last_deployments = self.newest.iter().map(|key| (LEDGER.to_owned(), key.clone())).collect();
        TaskState { lease, last_deployments, ..TaskState::default() }
    }
}

fn claim_of(run: &Run, entry: &EntryKey, invocation: usize) -> Request {
    Request {
        run_id: run.id,
        holder: format!("{invocation}invocation").into(),
        trigger: if run.is_undo { Course::Rollback } else { Course::Update }.trigger(),
        occasion: Occasion::Deployment { ledger: LEDGER.to_owned(), entry: entry.clone() },
        overlap: Overlap::Skip,
        now: at(0),
        until: at(1000),
        runs_once: false,
    }
}
