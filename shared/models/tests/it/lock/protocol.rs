//! The steps of a process and their order, as in `Table::claim`, `Table::finish` and the pipeline.

use std::mem::take;

use jiff::Timestamp;
use lamplighter_core::{
    claim::{Decision, Fence, Grant, LostRun, Occasion, Refusal, Request, SKEW_MARGIN, TaskState, claim},
    id::RunId,
    run::Trigger,
    status::Status,
};

use super::world::{BODY, Fault, Lock, Phase, Process, Then, World, at};

impl Lock {
    pub fn request(&self, process: usize, now: Timestamp) -> Request {
        let delivery = self.deliveries[process];
        let lease = SKEW_MARGIN * u32::try_from(BODY + self.margin).unwrap();
        Request {
            run_id: RunId::new(at(0), delivery.run),
            holder: process.to_string().into(),
            trigger: Trigger::Schedule,
            occasion: match delivery.tick {
                Some(tick) if self.fault != Fault::TickForgotten => Occasion::Tick(at(tick)),
                _ => Occasion::Manual,
            },
            overlap: self.overlap,
            runs_once: false,
            now,
            until: now + lease,
        }
    }

    /// Returns whether several deliveries have this run id. Only then a SKIPPED record of the run matters.
    fn is_shared(&self, run: RunId) -> bool {
        self.deliveries.iter().filter(|delivery| RunId::new(at(0), delivery.run) == run).count() > 1
    }

    /// A claim arrives at the table.
    pub fn claim(&self, world: &mut World, process: usize) -> Phase {
        let request = world.processes[process].request.clone().expect("it was delivered");
        let (fence, lost) = match claim(&world.table, &request) {
            Decision::Refused(Refusal::PreviousInstanceRunning { .. }) if self.is_shared(request.run_id) => {
                return Phase::Skip;
            }
            Decision::Refused(_) => return Phase::Over,
            Decision::Granted(Grant { fence, lost, .. }) => (fence, lost),
        };
        if world.table.leases().all(|lease| lease.holder != request.holder) {
            let in_the_way = matches!(fence, Fence::Exclusive { .. }) && world.table.lease.is_some();
            if in_the_way && self.fault != Fault::RecordAfterTakeover {
                return Phase::End { lost, recorded: None, then: Then::ClaimAgain };
            }
            let tick = self.deliveries[process].tick.map(at);
            world.started.push((request.run_id, tick));
            world.started.sort();
            world.table = take(&mut world.table).claimed(&request, fence);
        }
        next_lost(lost, Then::Begin(fence), Some(&request))
    }

    /// A process takes its next step.
    pub fn step(&self, world: &mut World, process: usize) {
        let Process { request, phase, .. } = world.processes[process].clone();
        let clock = world.processes[process].clock(world.now);
        let wanted = || request.as_ref().expect("it was delivered");
        world.processes[process].phase = match phase {
            Phase::Idle => next_lost(world.table.lost(clock), Then::Nothing, None),
            Phase::Claim => self.claim(world, process),
            Phase::End { lost, recorded: None, then } => {
                let run = lost[0].run(&"task".parse().unwrap(), clock);
                let recorded = Some(self.record(world, run.id, run.status));
                Phase::End { lost, recorded, then }
            }
            Phase::End { mut lost, recorded: Some(status), then } => {
                let ended = lost.remove(0);
                world.table = take(&mut world.table).released(ended.lease.run_id, ended.fence, status);
                next_lost(lost, then, request.as_ref())
            }
            Phase::Skip => {
                self.record(world, wanted().run_id, Status::Skipped);
                Phase::Over
            }
            Phase::Look(fence)
                if self.fault != Fault::NoLook && world.records.contains_key(&wanted().run_id) =>
            {
                Phase::GiveBack(fence)
            }
            Phase::Look(fence) => Phase::Start(fence),
            Phase::GiveBack(fence) => {
                let TaskState { last_run, failure_streak, .. } = world.table.clone();
                // The status does not matter: the last run in the table stays.
                let free = take(&mut world.table).released(wanted().run_id, fence, Status::Completed);
                world.table = TaskState { last_run, failure_streak, ..free };
                Phase::Over
            }
            Phase::Start(fence) if clock <= deadline(wanted()) => {
                world.bodies.push(wanted().run_id);
                world.bodies.sort();
                Phase::Body(fence)
            }
            // If no time is left for the body, the run is recorded without it.
            Phase::Start(fence) | Phase::Body(fence) => Phase::Record(fence),
            Phase::Record(fence) => {
                let status = self.record(world, wanted().run_id, Status::Completed);
                Phase::Release(fence, status)
            }
            Phase::Release(fence, status) => {
                self.release(world, wanted(), fence, status);
                Phase::Over
            }
            Phase::Over => Phase::Over,
        };
    }

    /// Writes a record if there is none, and returns the status of the one in the table.
    fn record(&self, world: &mut World, run: RunId, status: Status) -> Status {
        if self.fault == Fault::RecordAlways {
            world.changed |= world.records.insert(run, status).is_some_and(|before| before != status);
            return status;
        }
        *world.records.entry(run).or_insert(status)
    }

    fn release(&self, world: &mut World, request: &Request, fence: Fence, status: Status) {
        let before: Vec<LostRun> = world.table.held().collect();
        if self.fault == Fault::ReleaseOfAny {
            world.table.lease = None;
        } else {
            world.table = take(&mut world.table).released(request.run_id, fence, status);
        }
        let after: Vec<LostRun> = world.table.held().collect();
        let own = |it: &LostRun| it.lease.run_id == request.run_id && it.fence == fence;
        world.stolen |= before.iter().any(|it| !after.contains(it) && !own(it));
    }

    /// A body writes something on the condition that its run still holds its lease.
    pub fn commit(&self, world: &mut World, request: &Request, fence: Fence) {
        let holds = |it: LostRun| it.lease.run_id == request.run_id && it.fence == fence;
        if world.table.held().any(holds) || self.fault == Fault::CommitAlways {
            world.disorder |= fence.token() < world.committed;
            world.committed = fence.token();
        }
    }
}

/// Returns the time at which the process of a request is dead, by its own clock.
pub fn deadline(request: &Request) -> Timestamp {
    request.now + SKEW_MARGIN * u32::try_from(BODY).unwrap()
}

/// Ends the next lost run, if there is one more.
fn next_lost(lost: Vec<LostRun>, then: Then, request: Option<&Request>) -> Phase {
    match then {
        _ if !lost.is_empty() => Phase::End { lost, recorded: None, then },
        Then::ClaimAgain => Phase::Claim,
        Then::Begin(fence) if request.is_some_and(|it| it.occasion == Occasion::Manual) => Phase::Look(fence),
        Then::Begin(fence) => Phase::Start(fence),
        Then::Nothing => Phase::Idle,
    }
}
