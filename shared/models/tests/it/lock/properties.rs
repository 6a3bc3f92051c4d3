//! The actions of the model, and the properties that must hold after each.

use std::collections::BTreeMap;

use lamplighter_core::{claim::TaskState, id::RunId};
use stateright::{Model, Property};

use super::{
    protocol::deadline,
    world::{Action, Lock, Phase, Process, World, at},
};

/// Invariant 1.
pub const ALONE: &str = "no two bodies run at the same time";
/// A run's body starts once, however often it is delivered.
pub const ONE_BODY: &str = "a run has one body";
/// Invariant 2.
pub const ONE_RUN_A_TICK: &str = "one scheduled time starts one run";
/// Invariant 3.
pub const RECORD_STANDS: &str = "a record never changes";
/// The condition of invariant 4: a run that started can be found.
pub const NOT_FORGOTTEN: &str = "a run that started is held or recorded";
/// Invariant 4.
pub const ALL_RECORDED: &str = "in the end each run that started is recorded and the task is free";
/// The fence of a release.
pub const OWN_LEASE: &str = "a run releases its own lease only";
/// The fence of a commit.
pub const COMMITS_IN_ORDER: &str = "no commit comes after one with a later fencing token";

/// A time long after all others.
const FAR: i64 = 1_000;

impl Model for Lock {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let processes = self.deliveries.len();
        let clocks = 0..1_u32 << processes;
        let world = |fast: u32| {
            let ahead = |process: usize| if fast & (1 << process) == 0 { 0 } else { self.skew };
            // The faster its clock, the earlier the watcher finds a lost run.
            let processes = (0..processes).map(ahead).chain([self.skew]);
            let processes = processes.map(|ahead| Process { ahead, request: None, phase: Phase::Idle });
            World {
                now: 0,
                table: TaskState::default(),
                records: BTreeMap::new(),
                processes: processes.collect(),
                kills: self.kills,
                copies: self.copies,
                started: Vec::new(),
                bodies: Vec::new(),
                committed: 0,
                changed: false,
                disorder: false,
                stolen: false,
            }
        };
        clocks.map(world).collect()
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        // A body ends when its time is over by its own clock.
        let in_time = |process: &Process| match (&process.phase, &process.request) {
            (Phase::Body(_), Some(request)) => process.clock(world.now) < deadline(request),
            _ => true,
        };
        // A later beginning gives the same states.
        let begun = world.processes.iter().any(|it| it.request.is_some() || it.phase == Phase::Over);
        if begun && world.now < self.horizon && world.processes.iter().all(in_time) {
            actions.push(Action::Pass);
        }
        if world.now == self.horizon && world.processes.iter().all(Process::is_over) {
            actions.push(Action::LongAfter);
        }
        for (i, process) in world.processes.iter().enumerate() {
            let watches = i == self.deliveries.len();
            match &process.phase {
                Phase::Idle if watches && !self.watched && world.now < FAR => {}
                Phase::Idle if watches && world.table.lost(process.clock(world.now)).is_empty() => {}
                Phase::Idle if !watches && world.now < self.horizon => actions.push(Action::Deliver(i)),
                Phase::Over => {}
                Phase::Idle if !watches => {}
                _ => actions.push(Action::Step(i)),
            }
            if process.request.is_some() && world.copies > 0 && world.now <= self.horizon {
                actions.push(Action::Copy(i));
            }
            if self.commits && matches!(process.phase, Phase::Body(_)) {
                actions.push(Action::Commit(i));
            }
            // A process that is killed before its claim has no effect.
            let has_begun = !matches!(process.phase, Phase::Idle | Phase::Claim | Phase::Over);
            if world.kills > 0 && has_begun && world.now <= self.horizon {
                actions.push(Action::Kill(i));
            }
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Pass => world.now += 1,
            Action::LongAfter => world.now = FAR,
            Action::Deliver(i) => {
                let now = world.processes[i].clock(world.now);
                world.processes[i].request = Some(self.request(i, now));
                world.processes[i].phase = Phase::Claim;
            }
            Action::Step(i) => self.step(&mut world, i),
            Action::Copy(i) => {
                let _ = self.claim(&mut world, i);
                if world == *before {
                    return None;
                }
                world.copies -= 1;
            }
            Action::Commit(i) => {
                let Process { request: Some(request), phase: Phase::Body(fence), .. } = &before.processes[i]
                else {
                    return None;
                };
                self.commit(&mut world, request, *fence);
            }
            Action::Kill(i) => {
                world.kills -= 1;
                // Another watcher replaces a killed one; a delivery's process is not replaced.
                world.processes[i].phase = if i == self.deliveries.len() { Phase::Idle } else { Phase::Over };
            }
        }
        (world != *before).then(|| world.forget())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ALONE, |lock: &Self, world: &World| {
                let alone = |process: &&Process| matches!(process.phase, Phase::Body(_));
                lock.overlaps || world.processes.iter().filter(alone).count() <= 1
            }),
            Property::always(ONE_BODY, |_, world: &World| world.bodies.is_sorted_by(|a, b| a < b)),
            Property::always(ONE_RUN_A_TICK, |_, world: &World| {
                let mut ticks: Vec<_> = world.started.iter().filter_map(|(_, tick)| *tick).collect();
                ticks.sort();
                ticks.is_sorted_by(|a, b| a < b)
            }),
            Property::always(RECORD_STANDS, |_, world: &World| !world.changed),
            Property::always(NOT_FORGOTTEN, |_, world: &World| {
                let known = |(run, _): &(RunId, _)| {
                    world.records.contains_key(run) || world.table.leases().any(|it| it.run_id == *run)
                };
                world.started.iter().all(known)
            }),
            Property::always(ALL_RECORDED, |_, world: &World| {
                let looked = world.now == FAR && world.processes.iter().all(Process::is_over);
                let done = || world.started.iter().all(|(run, _)| world.records.contains_key(run));
                let lost = || world.table.lost(at(FAR));
                !looked || !lost().is_empty() || (done() && world.table.leases().next().is_none())
            }),
            Property::always(OWN_LEASE, |_, world: &World| !world.stolen),
            Property::always(COMMITS_IN_ORDER, |_, world: &World| !world.disorder),
        ]
    }
}
