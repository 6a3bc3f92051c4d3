//! The actions of the model, and the properties that must hold after each.

use std::collections::{BTreeMap, BTreeSet};

use lamplighter_core::{
    deployment::{Course, Latest, Ledger, Plan, Situation, StackPhase, plan, verdict},
    status::Status,
};
use stateright::{Model, Property};

use super::{
    invariants::{
        AGREE, ALL_UNDONE, ANSWERED, FORWARD_ONCE, ONE_ANSWER, REASON, STACK_MOVES, TRUTH, UNDO_ONCE,
        UNDO_RIGHT, WAITED,
    },
    life::{Condition, Life, Start, at, properties},
    protocol::answered,
    request::{SentRequest, Undone, Way},
    stack::Stack,
    status::StackStatus,
    world::{Action, Claims, Dispatcher, Phase, Run, Shared, Table, World},
};

/// The request that deployed properties 1 before the life began.
const FIRST: usize = 99;

impl Model for Life {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut world = World {
            stack: Stack::new(self.start),
            table: Table::default(),
            sent: Vec::new(),
            dispatchers: Vec::new(),
            claims: vec![Claims::default(); self.tasks],
            runs: Vec::new(),
            invocations: Vec::new(),
            left: self.limits,
            next: 0,
            broken: BTreeSet::new(),
        };
        match self.start {
            Start::Creation | Start::Bare => {}
            Start::Removed => self.deploy(&mut world, Course::Update),
            Start::Deployed => self.deploy(&mut world, Course::Deploy),
        }
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let mut moves = Vec::new();
        self.moves(world, &mut moves);
        actions.extend(moves.into_iter().map(Action::Cloud));
        for (i, sent) in world.sent.iter().enumerate() {
            if sent.queued > 0 {
                actions.push(Action::Deliver(i));
            }
            if world.left.copies > 0 && sent.queued == 0 {
                actions.push(Action::Copy(i));
            }
            if world.left.last_calls > 0 && !sent.late && sent.answer.is_none() && sent.way != Way::Delete {
                actions.push(Action::LastCall(i));
            }
        }
        for (i, dispatcher) in world.dispatchers.iter().enumerate() {
            if self.can_step(world, dispatcher) {
                let missing = match dispatcher.phase {
                    Phase::Events(..) | Phase::CheckEvents(..) if self.has(Condition::LateEvents) => 2,
                    Phase::Events(..) | Phase::CheckEvents(..) if self.has(Condition::LateEvent) => 1,
                    _ => 0,
                };
                actions.extend((0..=missing).map(|missing| Action::Step(i, missing)));
            }
            // A dispatcher that has written nothing has no effect.
            let reads = matches!(
                dispatcher.phase,
                Phase::Latest(_)
                    | Phase::Entries(..)
                    | Phase::Status(_)
                    | Phase::Events(..)
                    | Phase::Open(..)
                    | Phase::DeletionStatus
                    | Phase::DeletionLatest(_)
                    | Phase::DeletionEntry(..)
            );
            if world.left.kills > 0 && !reads {
                actions.push(Action::Kill(i));
            }
        }
        actions.extend((0..world.invocations.len()).map(Action::Arrive));
        for (i, claims) in world.claims.iter().enumerate() {
            if claims.held_by.is_some() {
                actions.push(Action::End(i, true));
                if world.left.bodies > 0 {
                    actions.push(Action::End(i, false));
                }
            }
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Cloud(what) => self.go(&mut world, what),
            Action::Deliver(i) => {
                world.sent[i].queued -= 1;
                self.deliver(&mut world, i);
            }
            Action::Copy(i) => {
                world.left.copies -= 1;
                self.deliver(&mut world, i);
            }
            Action::LastCall(i) => {
                world.left.last_calls -= 1;
                world.sent[i].late = true;
            }
            Action::Step(i, missing) => {
                let dispatcher = world.dispatchers.remove(i);
                let request = dispatcher.request;
                if let Some(phase) = self.step(&mut world, dispatcher, missing) {
                    world.dispatchers.push(Dispatcher { request, phase });
                }
            }
            Action::Kill(i) => {
                world.left.kills -= 1;
                let killed = world.dispatchers.remove(i);
                world.sent[killed.request].queued += 1;
            }
            Action::Arrive(i) => {
                if !self.arrive(&mut world, i) {
                    return None;
                }
            }
            Action::End(task, well) => {
                world.left.bodies -= u8::from(!well);
                world.end(task, well);
            }
        }
        world.dispatchers.sort();
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(FORWARD_ONCE, |_, world: &World| !world.broken.contains(FORWARD_ONCE)),
            Property::always(UNDO_ONCE, |_, world: &World| !world.broken.contains(UNDO_ONCE)),
            Property::always(UNDO_RIGHT, |_, world: &World| !world.broken.contains(UNDO_RIGHT)),
            Property::always(ALL_UNDONE, Self::all_undone),
            Property::always(TRUTH, |_, world: &World| !world.broken.contains(TRUTH)),
            Property::always(WAITED, |_, world: &World| !world.broken.contains(WAITED)),
            Property::always(ONE_ANSWER, |_, world: &World| !world.broken.contains(ONE_ANSWER)),
            Property::always(ANSWERED, |life: &Self, world: &World| {
                let is_still = world.dispatchers.is_empty() && world.sent.iter().all(|sent| sent.queued == 0);
                let stuck = |it| !life.can_step(world, it);
                let hangs = !is_still
                    && world.dispatchers.iter().all(stuck)
                    && world.invocations.is_empty()
                    && world.claims.iter().all(|claims| claims.held_by.is_none())
                    && world.sent.iter().all(|sent| sent.queued == 0);
                !(hangs || (is_still && world.stack.waits_for.is_some()))
            }),
            Property::always(REASON, |_, world: &World| !world.broken.contains(REASON)),
            Property::always(STACK_MOVES, |_, world: &World| !world.broken.contains(STACK_MOVES)),
            Property::always(AGREE, |life: &Self, world: &World| {
                let rests = world.stack.status.is_at_rest() && world.left.timeouts == life.limits.timeouts;
                let successful = world.table.latest.as_ref().and_then(|latest| latest.successful.as_ref());
                let in_effect = successful.and_then(|successful| successful.properties.clone());
                !rests || in_effect == world.stack.effect.map(properties)
            }),
        ]
    }
}

impl Life {
    /// Returns whether a finished rollback has undone every run that it must undo. An undo counts even if it
    /// failed. The rule does not hold if a request timed out or reached its last call, or if the rollback
    /// removed the resource. A return to earlier properties does not undo a kept deployment that succeeded
    /// later.
    fn all_undone(&self, world: &World) -> bool {
        let had_time =
            world.left.timeouts == self.limits.timeouts && world.sent.iter().all(|sent| !sent.late);
        let undos = |forward: &Run| {
            let covers = |run: &&Run| run.is_undo && run.undoes.contains(&forward.id);
            world.runs.iter().filter(covers).any(|undo| undo.started > 0)
        };
        let must_be_undone = |run: &Run| match world.sent.get(run.request) {
            Some(sent) if sent.way == Way::Update => match sent.undone {
                Undone::No => false,
                Undone::RolledBack => true,
                Undone::Returned => !world.table.has_succeeded(run.request),
            },
            _ => false,
        };
        let is_left = |run: &Run| {
            let has_run = run.started > 0 && run.record != Some(Status::Failed);
            !run.is_undo && has_run && must_be_undone(run) && !undos(run)
        };
        let is_there = world.stack.resource.is_some();
        world.stack.status != StackStatus::RolledBack
            || !is_there
            || !had_time
            || !world.runs.iter().any(is_left)
    }

    /// Deploys properties 1, and removes the resource if it is not there.
    fn deploy(&self, world: &mut World, course: Course) {
        let event = self.request(FIRST, &SentRequest::new(Way::Create, Some(1), None, 0));
        let situation = Situation {
            course,
            phase: Some(StackPhase::Updating),
            contents: &BTreeMap::new(),
            last_call: at(0),
            went_forward: None,
            rolled_back: false,
        };
        let mut random = 0;
        let next = || {
            random += 1;
            random
        };
        let Ok(Plan::Open(mut entry)) = plan(&event, &Ledger::default(), &situation, at(0), next) else {
            panic!("the first deployment is not opened");
        };
        for place in 0..entry.tasks.len() {
            entry.tasks[place].status = Status::Completed;
            let run = world.run_of(&entry, place);
            (run.started, run.completed, run.record) = (1, true, Some(Status::Completed));
        }
        entry.answer = Some(answered(&verdict(&entry)));
        let (successful, deleted) =
            (entry.successful_after(true), world.stack.resource.is_none().then(|| at(0)));
        let latest = Latest { entry: entry.key.clone(), successful, deleted };
        world.table = Table { latest: Some(latest), entries: vec![Shared::new(entry)], noted: Vec::new() };
    }
}
