//! The state of the model: one task's item and its records, and the processes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lamplighter_core::{
    claim::{Fence, LostRun, Occasion, Request, SKEW_MARGIN, TaskState},
    definition::Overlap,
    id::RunId,
    status::Status,
};

/// The maximum duration of a body, in units of the model's time. A unit is the margin of clocks.
pub const BODY: i64 = 1;
/// The parameters of the model.
#[derive(Clone, Debug)]
pub struct Lock {
    pub overlap: Overlap,
    /// The deliveries, each an invocation in a process of its own.
    pub deliveries: Vec<Delivery>,
    /// The maximum time that a clock is ahead of another, in units.
    pub skew: i64,
    /// The time from the end of a process to the end of its lease, in units.
    pub margin: i64,
    /// A watcher ends lost runs while other processes claim. At the end of the model, a watcher always runs.
    pub watched: bool,
    /// The number of processes that die.
    pub kills: u8,
    /// The number of claims that arrive twice.
    pub copies: u8,
    /// The time at which the clock stops until every process is done, in units.
    pub horizon: i64,
    /// Bodies commit.
    pub commits: bool,
    /// Bodies may run at the same time.
    pub overlaps: bool,
    pub fault: Fault,
}

/// A delivery of a request to run the task.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    pub run: u128,
    pub tick: Option<i64>,
}

/// A rule that the model breaks on purpose, to show that a check finds the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// A claim replaces an expired lease before the lost run's record is written.
    RecordAfterTakeover,
    /// A release removes any lease.
    ReleaseOfAny,
    /// A record replaces an earlier one.
    RecordAlways,
    /// The tick is not checked.
    TickForgotten,
    /// A manual request does not check for its run's record.
    NoLook,
    /// A commit does not check that its run still holds its lease.
    CommitAlways,
}

/// A state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub now: i64,
    pub table: TaskState,
    pub records: BTreeMap<RunId, Status>,
    /// One for each delivery, and at last the watcher.
    pub processes: Vec<Process>,
    pub kills: u8,
    pub copies: u8,
    /// Every claim that was written, with its tick.
    pub started: Vec<(RunId, Option<Timestamp>)>,
    /// The run of every body that started.
    pub bodies: Vec<RunId>,
    /// The fencing token of the last commit.
    pub committed: u64,
    /// A record was changed.
    pub changed: bool,
    /// A commit came after one with a later token.
    pub disorder: bool,
    /// A run released the lease of another one.
    pub stolen: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// The time that its clock is ahead, in units.
    pub ahead: i64,
    pub request: Option<Request>,
    pub phase: Phase,
}

/// The next step of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Idle,
    Claim,
    /// End lost runs, the first of which may already have its record.
    End {
        lost: Vec<LostRun>,
        recorded: Option<Status>,
        then: Then,
    },
    Skip,
    /// Check whether the run is already over.
    Look(Fence),
    GiveBack(Fence),
    Start(Fence),
    Body(Fence),
    Record(Fence),
    Release(Fence, Status),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    ClaimAgain,
    Begin(Fence),
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time passes.
    Pass,
    /// Every process is done, and much time passes.
    LongAfter,
    /// A delivery arrives at its process.
    Deliver(usize),
    /// A process takes its next step.
    Step(usize),
    /// A copy of a claim arrives: a retry of the SDK, or a late first try. Its response is lost.
    Copy(usize),
    /// A body commits.
    Commit(usize),
    /// A process is killed.
    Kill(usize),
}

pub fn at(unit: i64) -> Timestamp {
    let unit_ms = i64::try_from(SKEW_MARGIN.as_millis()).unwrap();
    Timestamp::from_millisecond(unit * unit_ms).unwrap()
}

impl World {
    /// Drops state that no later step reads, so that equal states are one.
    pub fn forget(mut self) -> Self {
        self.table.last_run = None;
        self.table.failure_streak = 0;
        for process in &mut self.processes {
            let refused = |request: &Request| match request.occasion {
                Occasion::Tick(tick) => self.table.last_tick >= Some(tick),
                _ => false,
            };
            if process.phase == Phase::Over
                && (self.copies == 0 || process.request.as_ref().is_some_and(refused))
            {
                process.request = None;
                process.ahead = 0;
            }
        }
        self
    }
}

impl Process {
    pub fn clock(&self, now: i64) -> Timestamp {
        at(now + self.ahead)
    }

    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Over)
    }
}
