//! The steps of a dispatcher, from a delivery to the answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use jiff::Timestamp;
use lamplighter_core::{
    claim::SKEW_MARGIN,
    deployment::{
        Answered, Course, DeploymentStep, Direction, Entry, EntryKey, Kind, Latest, Ledger, Plan, Request,
        SentUpdate, Situation, StackPhase, Verdict, abandoned, after_delete, at_last_call, direction, kind,
        may_be_undone, missing_before, next_step, plan, resolve, rolled_back, shows, verdict, went_forward,
    },
    status::Status,
};

use super::{
    invariants::ONE_ANSWER,
    life::{Condition, Fault, Life, MOST_KEPT, PROMPT, at, clock, properties},
    request::Way,
    world::{Deletion, Dispatcher, Phase, Seen, Shared, World},
};

/// The evidence about a request in the stack's events, besides its direction.
#[derive(Clone, Copy, Default)]
struct Evidence {
    went_forward: Option<Timestamp>,
    rolled_back: bool,
}

impl Life {
    /// A delivery arrives.
    pub fn deliver(&self, world: &mut World, request: usize) {
        let phase = self.begin(world, request);
        world.dispatchers.push(Dispatcher { request, phase });
    }

    /// Returns whether a dispatcher can take its next step. Otherwise it waits for a run.
    pub fn can_step(&self, world: &World, dispatcher: &Dispatcher) -> bool {
        let is_late = world.sent[dispatcher.request].late;
        let is_over = |entry: &Entry, place: usize| {
            world.run(entry.tasks[place].run_id).is_some_and(|run| run.record.is_some())
        };
        match &dispatcher.phase {
            Phase::GiveUp(entry, fates) => {
                is_late
                    || self.fault == Fault::GivenUpUnprevented
                    || !world.is_held(entry.tasks[fates[0].0].run_id)
            }
            Phase::Wait(entry, wave) => is_late || wave.iter().all(|place| is_over(entry, *place)),
            Phase::Settle(entry, place, _) => {
                is_late || self.fault == Fault::NotSettled || {
                    let undoes =
                        entry.tasks.get(*place).map(|task| task.undoes.as_slice()).unwrap_or_default();
                    !undoes.iter().any(|run| world.is_held(*run))
                }
            }
            _ => true,
        }
    }

    /// Begins a request, for the first time or once more.
    fn begin(&self, world: &World, request: usize) -> Phase {
        if let Some((_, answer)) = world.table.noted.iter().find(|(noted, _)| *noted == request) {
            return Phase::Answer(Shared::new(answer.clone()));
        }
        if world.sent[request].way == Way::Delete {
            return Phase::DeletionStatus;
        }
        let own = world.table.entry_of(request).filter(|_| self.fault != Fault::OwnForgotten);
        if self.has(Condition::TornReads) {
            return Phase::Latest(own);
        }
        self.know(world, request, world.table.ledger(world.table.latest.clone(), own))
    }

    /// Continues with the ledger.
    fn know(&self, world: &World, request: usize, ledger: Ledger) -> Phase {
        match ledger.own.as_ref().map(|own| own.course) {
            None => Phase::Status(Shared::new(ledger)),
            Some(course) => {
                let event = self.request(request, &world.sent[request]);
                self.planned(world, request, &event, &ledger, course, None, Evidence::default())
            }
        }
    }

    /// Executes a dispatcher's next step. Returns the phase after it; none after the last step.
    pub fn step(&self, world: &mut World, dispatcher: Dispatcher, missing: usize) -> Option<Phase> {
        let Dispatcher { request, phase } = dispatcher;
        let is_late = world.sent[request].late;
        Some(match phase {
            Phase::Settle(entry, ..)
            | Phase::Decide(entry, _)
            | Phase::AskStack(entry, _)
            | Phase::CheckLedger(entry, ..)
            | Phase::CheckEvents(entry, ..)
            | Phase::GiveUp(entry, _)
            | Phase::Wait(entry, _)
                if is_late =>
            {
                closing(entry.clone(), &at_last_call(&entry, Duration::from_secs(60)))
            }
            Phase::Latest(own) => Phase::Entries(Shared::new(world.table.latest.clone()), own),
            Phase::Entries(latest, own) => {
                self.know(world, request, world.table.ledger((*latest).clone(), own))
            }
            Phase::Status(ledger) => self.see_status(world, request, &ledger),
            Phase::Events(ledger, seen) => self.see_events(world, request, &ledger, *seen, missing),
            Phase::Open(entry, seen, waited) => {
                if self.open(world, &entry, seen.as_ref()) {
                    opened(entry, Some(waited))
                } else {
                    self.begin(world, request)
                }
            }
            Phase::Decline(answer) => {
                self.note(world, request, &answer);
                self.begin(world, request)
            }
            Phase::Settle(entry, place, waited) => self.settle(world, &entry, place, waited),
            Phase::Decide(entry, waited) => decide(entry, waited),
            Phase::AskStack(entry, wave) => self.ask_stack(world, request, entry, wave),
            Phase::CheckLedger(entry, wave, waited) => {
                if !world.table.is_newest(&entry) {
                    self.stop(entry, &wave, "a later request of the resource has been begun")
                } else if entry.course != Course::Rollback && self.is_late(world, request) {
                    Phase::CheckEvents(entry, wave, waited)
                } else {
                    Phase::Invoke(entry, wave, waited)
                }
            }
            Phase::CheckEvents(entry, wave, waited) => {
                let sent = at(world.sent[request].at) + SKEW_MARGIN;
                let events = world.stack.events(missing);
                // The status in which the stack waited for it.
                let waiting = [StackPhase::Creating, StackPhase::Updating];
                let is_shown = waiting.into_iter().any(|phase| shows(&events, phase));
                if !is_shown && missing > 0 && self.fault != Fault::EventsUnheld {
                    return Some(Phase::CheckEvents(entry, wave, waited));
                }
                let went_forward = went_forward(&events);
                if went_forward.is_some_and(|began| sent < began) && self.fault != Fault::WavesUndated {
                    self.stop(entry, &wave, "another update of the stack has begun")
                } else {
                    Phase::Invoke(entry, wave, waited)
                }
            }
            Phase::GiveUp(entry, fates) => self.give_up(world, &entry, fates),
            Phase::Invoke(entry, wave, waited) => {
                for place in &wave {
                    world.invoke(&entry, *place, waited);
                }
                Phase::Wait(entry, wave)
            }
            Phase::Wait(entry, wave) => {
                let mut known = (*entry).clone();
                for place in wave {
                    let task = &mut known.tasks[place];
                    task.status = world.run(task.run_id).and_then(|run| run.record).unwrap();
                }
                world.table.progress(&known);
                Phase::Decide(Shared::new(known), None)
            }
            Phase::Close(entry, answer) => Phase::Answer(Shared::new(self.close(world, &entry, &answer))),
            Phase::DeletionStatus => Phase::DeletionLatest(Shared::new(world.stack.status.phase())),
            Phase::DeletionLatest(phase) => {
                let latest = world.table.latest.clone();
                if self.has(Condition::TornReads) {
                    Phase::DeletionEntry(phase, Shared::new(latest))
                } else {
                    self.delete(world, request, *phase, latest)
                }
            }
            Phase::DeletionEntry(phase, latest) => self.delete(world, request, *phase, (*latest).clone()),
            Phase::EndOpen(entry, deletion) => {
                let failed = Verdict::failed("the resource was deleted before the deployment ended");
                self.close(world, &entry, &answered(&failed));
                Phase::NoteDeletion(deletion)
            }
            Phase::NoteDeletion(deletion) => self.note_deletion(world, &deletion),
            Phase::Answer(text) => {
                answer(world, request, &text);
                return None;
            }
        })
    }

    /// Continues with the stack's status before a wave.
    fn ask_stack(&self, world: &World, request: usize, entry: Shared<Entry>, wave: Vec<usize>) -> Phase {
        let waited = world.stack.waits_for == Some(request);
        let phase = world.stack.status.phase();
        let is_first = entry.tasks.iter().all(|task| task.status == Status::Pending);
        let is_unasked = self.fault == if is_first { Fault::OpenedUnasked } else { Fault::WavesUnasked };
        if phase.waits_for(entry.course) || is_unasked {
            Phase::CheckLedger(entry, wave, waited)
        } else {
            self.stop(entry, &wave, &format!("the stack no longer waits for it: {phase}"))
        }
    }

    /// Continues with the ledger of a resource that is deleted.
    fn delete(&self, world: &World, request: usize, phase: StackPhase, latest: Option<Latest>) -> Phase {
        let mut ledger = world.table.ledger(latest, None);
        let seen = ledger.latest.clone();
        if let (Some(latest), Fault::EarlierLifeForgotten) = (&mut ledger.latest, self.fault) {
            latest.deleted = None;
        }
        let sent_at = Some(at(world.sent[request].at))
            .filter(|_| !self.has(Condition::Undated) && self.fault != Fault::DeleteUndated);
        let id = format!("r{request}");
        let now = clock(world.now());
        let after = after_delete(&ledger, Some(phase), &id, sent_at, now)
            .filter(|_| seen.is_some() || self.fault != Fault::DeletionOfNothingUnnoted);
        let Some(mut after) = after else {
            return Phase::Decline(Shared::new(answered(&Verdict::succeeded())));
        };
        if self.fault == Fault::DeletionDatedByNote {
            after.deleted = Some(now);
        }
        let deletion = Shared::new(Deletion { phase, seen, after });
        match ledger.newest.filter(|newest| newest.answer.is_none()) {
            Some(open) => Phase::EndOpen(Shared::new(open), deletion),
            None => Phase::NoteDeletion(deletion),
        }
    }

    /// Records a deletion if the ledger is unchanged, or else reads it again.
    fn note_deletion(&self, world: &mut World, deletion: &Deletion) -> Phase {
        let Deletion { phase, seen, after } = deletion;
        let is_older = self.fault == Fault::DeletionOverNewer
            && world.table.latest.as_ref().map(|latest| &latest.entry)
                == seen.as_ref().map(|seen| &seen.entry);
        if world.table.stands_at(seen.as_ref()) || is_older {
            world.table.latest = Some(after.clone());
        } else if self.fault != Fault::DeletionNotRetried {
            return Phase::DeletionLatest(Shared::new(*phase));
        }
        Phase::Decline(Shared::new(answered(&Verdict::succeeded())))
    }

    /// Continues with the stack's status.
    fn see_status(&self, world: &World, request: usize, ledger: &Shared<Ledger>) -> Phase {
        let phase = world.stack.status.phase();
        let event = self.request(request, &world.sent[request]);
        let now = clock(world.now());
        let seen = Seen { phase, waited: world.stack.waits_for == Some(request), at: now };
        let kind = kind(&event, ledger);
        if self.fault == Fault::StatusAlone && kind != Kind::Forward(Course::Deploy) {
            let course = if phase.is_rollback() { Course::Rollback } else { Course::Update };
            return self.planned(world, request, &event, ledger, course, Some(seen), Evidence::default());
        }
        let is_late = kind != Kind::Rollback && self.is_late(world, request);
        if may_be_either(kind, phase, ledger) || is_late || may_be_undone(&event, ledger) {
            return Phase::Events(ledger.clone(), Shared::new(seen));
        }
        let course = resolve(kind, Direction::Unknown, phase);
        self.planned(world, request, &event, ledger, course, Some(seen), Evidence::default())
    }

    /// Returns whether a request is so old that another one may have been sent since.
    fn is_late(&self, world: &World, request: usize) -> bool {
        let since = clock(world.now()).duration_since(at(world.sent[request].at));
        !self.has(Condition::Undated) && since.unsigned_abs() > PROMPT
    }

    /// Continues with the stack's events, once they show the status that was read and the direction, or once
    /// all are there.
    fn see_events(
        &self,
        world: &World,
        request: usize,
        ledger: &Shared<Ledger>,
        seen: Seen,
        missing: usize,
    ) -> Phase {
        let event = self.request(request, &world.sent[request]);
        let events = world.stack.events(missing);
        let since = ledger.latest.as_ref().map_or(Timestamp::MIN, |latest| latest.entry.time());
        let sent = SentUpdate {
            logical_id: "Tasks",
            properties: &event.properties,
            since,
            at: event.sent_at.filter(|_| self.fault != Fault::OrderUndated),
        };
        let kind = kind(&event, ledger);
        let order = match (self.fault, kind) {
            (Fault::EventsIgnored, _) | (Fault::BackTakenForward, Kind::Forward(_)) => Direction::Unknown,
            _ => direction(&events, sent),
        };
        let says_the_way = !may_be_either(kind, seen.phase, ledger) || order != Direction::Unknown;
        let is_enough = says_the_way && shows(&events, seen.phase);
        if !is_enough && missing > 0 && self.fault != Fault::EventsUnheld {
            return Phase::Events(ledger.clone(), Shared::new(seen));
        }
        let evidence = Evidence {
            went_forward: went_forward(&events).filter(|_| self.fault != Fault::WentForwardIgnored),
            rolled_back: rolled_back(&events, since) || self.fault == Fault::RolledBackUnasked,
        };
        let course = resolve(kind, order, seen.phase);
        self.planned(world, request, &event, ledger, course, Some(seen), evidence)
    }

    /// Continues with a plan.
    #[expect(clippy::too_many_arguments, reason = "it is all that is known")]
    fn planned(
        &self,
        world: &World,
        request: usize,
        event: &Request,
        ledger: &Ledger,
        course: Course,
        seen: Option<Seen>,
        evidence: Evidence,
    ) -> Phase {
        let now = match seen {
            Some(seen) if !self.has(Condition::SlowReads) => seen.at,
            _ => clock(world.now()),
        };
        let waiting = match course {
            Course::Deploy => StackPhase::Creating,
            Course::Update => StackPhase::Updating,
            Course::Rollback => StackPhase::RollingBack,
        };
        let phase = match self.fault {
            Fault::OpenedUnasked => Some(waiting),
            _ => seen.map(|seen| seen.phase),
        };
        let is_late = world.sent[request].late;
        let last_call = if is_late { at(0) } else { Timestamp::MAX };
        let Evidence { went_forward, rolled_back } = evidence;
        let contents = &BTreeMap::new();
        let situation = Situation { course, phase, contents, last_call, went_forward, rolled_back };
        let (mut event, mut ledger) = (event.clone(), ledger.clone());
        if course == Course::Rollback && ledger.own.is_none() {
            if self.fault == Fault::EffectUndone {
                event.properties = properties(7);
            }
            if self.fault == Fault::LateRollbackDeclined && is_late {
                return Phase::Decline(Shared::new(answered(&Verdict::succeeded())));
            }
            for _ in 0..if self.fault == Fault::BeforeUnread { 0 } else { MOST_KEPT } {
                let Some(key) = missing_before(&event, &ledger).cloned() else { break };
                let Some(entry) = world.table.entry(&key).cloned() else { break };
                ledger.before.push(entry);
            }
        }
        // Each run has an id of its own: by its request, and its place.
        let mut random = 16 * (request as u128 + 1);
        let next = || {
            random += 1;
            random
        };
        match plan(&event, &ledger, &situation, now, next).unwrap() {
            Plan::Replay { answer, .. } => Phase::Answer(Shared::new(answer)),
            Plan::Resume(entry) => opened(Shared::new(entry), None),
            Plan::Superseded { entry, .. } => {
                closing(Shared::new(entry), &Verdict::failed("another request was begun since"))
            }
            Plan::Open(mut entry) => {
                if self.fault == Fault::DatedByOpening {
                    let latest = ledger.latest.as_ref().map(|latest| &latest.entry);
                    entry.key = EntryKey::following(latest, now, &event.request_id);
                    entry.deployment.entry = entry.key.clone();
                }
                if self.fault == Fault::KeptDropped {
                    let mut names = BTreeSet::new();
                    entry.kept.retain(|kept| names.insert(kept.name.clone()));
                }
                let waited = seen.is_some_and(|seen| seen.waited);
                Phase::Open(Shared::new(entry), Shared::new(ledger.latest), waited)
            }
            Plan::Decline(verdict) => Phase::Decline(Shared::new(answered(&verdict))),
        }
    }

    /// Reads the results of the forward runs that a task undoes, and prevents the start of those that have not started.
    fn settle(&self, world: &mut World, entry: &Shared<Entry>, place: usize, waited: Option<bool>) -> Phase {
        let (Some(task), Some(undone)) = (entry.tasks.get(place), &entry.undoes) else {
            return Phase::Decide(entry.clone(), waited);
        };
        if task.status != Status::Pending {
            return Phase::Settle(entry.clone(), place + 1, waited);
        }
        for run in &task.undoes {
            if world.run(*run).is_none_or(|run| run.record.is_none()) && !world.is_held(*run) {
                let is_prevented = match self.fault {
                    Fault::StartNotPrevented => true,
                    _ => world.prevent_start(task, &undone.deployment.entry),
                };
                if is_prevented {
                    world.write_down(*run, Status::Cancelled);
                }
            }
        }
        let completed = |run: &_| world.run(*run).is_some_and(|run| run.record == Some(Status::Completed));
        let mut settled = (**entry).clone();
        if !task.undoes.iter().any(completed) {
            settled.tasks[place].status = Status::Skipped;
            world.table.progress(&settled);
        }
        Phase::Settle(Shared::new(settled), place + 1, waited)
    }

    /// Cancels the tasks of a wave that must not start. A rollback leaves its tasks to the rollback that continues it.
    fn stop(&self, entry: Shared<Entry>, wave: &[usize], why: &str) -> Phase {
        if entry.course == Course::Rollback && self.fault != Fault::UndoCancelled {
            let verdict = abandoned(&entry, why);
            return closing(entry, &verdict);
        }
        Phase::GiveUp(entry, wave.iter().map(|place| (*place, Status::Cancelled)).collect())
    }

    /// Prevents the start of a task's run. If it has started, its result counts.
    fn give_up(&self, world: &mut World, entry: &Shared<Entry>, mut fates: Vec<(usize, Status)>) -> Phase {
        let (place, fate) = fates.remove(0);
        let mut left = (**entry).clone();
        let task = &mut left.tasks[place];
        world.run_of(entry, place);
        if self.fault != Fault::GivenUpUnprevented {
            world.prevent_start(task, &entry.key);
        }
        task.status = world.write_down(task.run_id, fate);
        let left = Shared::new(left);
        if fates.is_empty() { Phase::Decide(left, None) } else { Phase::GiveUp(left, fates) }
    }
}

/// Decides the next step of a deployment.
fn decide(entry: Shared<Entry>, waited: Option<bool>) -> Phase {
    match next_step(entry.course, &entry.tasks) {
        DeploymentStep::Done => {
            let verdict = verdict(&entry);
            closing(entry, &verdict)
        }
        DeploymentStep::GiveUp(fates) => {
            Phase::GiveUp(entry, fates.into_iter().map(|(place, status, _)| (place, status)).collect())
        }
        DeploymentStep::Run(wave) => match waited {
            Some(waited) => Phase::Invoke(entry, wave, waited),
            None => Phase::AskStack(entry, wave),
        },
    }
}

/// Returns whether the stack's events decide on the kind of a request.
fn may_be_either(kind: Kind, phase: StackPhase, ledger: &Ledger) -> bool {
    match kind {
        Kind::Undecided => ledger.latest.is_some(),
        Kind::Forward(course) => course == Course::Update && phase.is_rollback(),
        Kind::Rollback => false,
    }
}

fn opened(entry: Shared<Entry>, waited: Option<bool>) -> Phase {
    match entry.course {
        Course::Rollback => Phase::Settle(entry, 0, waited),
        Course::Deploy | Course::Update => Phase::Decide(entry, waited),
    }
}

/// Ends a deployment with a verdict.
fn closing(entry: Shared<Entry>, verdict: &Verdict) -> Phase {
    Phase::Close(entry, Shared::new(answered(verdict)))
}

/// An answer whose text is a digest of the verdict.
pub fn answered(verdict: &Verdict) -> Answered {
    let mut hasher = DefaultHasher::new();
    (&verdict.reason, &verdict.statuses).hash(&mut hasher);
    let body = format!("{} {:x}", verdict.success, hasher.finish());
    Answered {
        success: verdict.success,
        body,
        at: at(0),
        delivered_to: Vec::new(),
        sending_to: Vec::new(),
        sent_at: None,
    }
}

/// CloudFormation gets an answer.
fn answer(world: &mut World, request: usize, answer: &Answered) {
    let sent = &mut world.sent[request];
    match &sent.answer {
        Some(before) if *before != answer.body => world.breaks(ONE_ANSWER),
        _ => sent.answer = Some(answer.body.clone()),
    }
    world.refused_for_a_reason(request, answer);
    world.answered(request, answer.success);
}
