//! One task's item and its records, and the processes around it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lamplighter_core::{
    claim::{Hold, Lost, Occasion, Request, SKEW_MARGIN, TaskState},
    definition::Overlap,
    id::RunId,
    status::Status,
};

/// How long a body may take, in units of the model's time. A unit is the margin of clocks.
pub const BODY: i64 = 1;
/// What the model is made of.
#[derive(Clone, Debug)]
pub struct Lock {
    pub overlap: Overlap,
    /// Each is an invocation in a process of its own.
    pub deliveries: Vec<Delivery>,
    /// How far a clock may be ahead of another, in units.
    pub skew: i64,
    /// How far a lease goes beyond the end of its process, in units.
    pub margin: i64,
    /// Whether somebody looks for lost runs while others claim. In the end somebody always does.
    pub watched: bool,
    /// How many processes die.
    pub kills: u8,
    /// How many claims arrive a second time.
    pub copies: u8,
    /// When time stands still until everyone is done, in units.
    pub horizon: i64,
    /// Whether bodies commit.
    pub commits: bool,
    /// Whether bodies may run at the same time for all we care.
    pub overlaps: bool,
    pub fault: Fault,
}

/// One delivery of a wish to run the task.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    pub run: u128,
    pub tick: Option<i64>,
}

/// What is done wrong, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// A claim replaces a lease that has ended, and the lost run's record is written after it.
    RecordAfterTakeover,
    /// A release takes away whatever lease is there.
    ReleaseOfAny,
    /// A record replaces the one before.
    RecordAlways,
    /// A scheduled time is not looked at.
    TickForgotten,
    /// A wish does not look whether its run has its record.
    NoLook,
    /// A commit does not look whether the run still has its hold.
    CommitAlways,
}

/// A state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub now: i64,
    pub table: TaskState,
    pub records: BTreeMap<RunId, Status>,
    /// One a delivery, and last the one that looks for lost runs.
    pub processes: Vec<Process>,
    pub kills: u8,
    pub copies: u8,
    /// Every claim that was written, and what for.
    pub started: Vec<(RunId, Option<Timestamp>)>,
    /// The run of every body that was started.
    pub bodies: Vec<RunId>,
    /// The epoch of the last commit.
    pub committed: u64,
    /// A record was changed.
    pub changed: bool,
    /// A commit came after one of a later epoch.
    pub disorder: bool,
    /// A hold was taken away by a run that it was not of.
    pub stolen: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// How far its clock is ahead, in units.
    pub ahead: i64,
    pub request: Option<Request>,
    pub phase: Phase,
}

/// What a process does next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Idle,
    Claim,
    /// Ends lost runs, the first of which may have its record.
    End {
        lost: Vec<Lost>,
        recorded: Option<Status>,
        then: Then,
    },
    Skip,
    /// Looks whether the run is over already.
    Look(Hold),
    GiveBack(Hold),
    Start(Hold),
    Body(Hold),
    Record(Hold),
    Release(Hold, Status),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    ClaimAgain,
    Begin(Hold),
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time passes.
    Pass,
    /// Everyone is done, and much time passes.
    LongAfter,
    /// A delivery arrives at its process.
    Deliver(usize),
    /// A process does what it does next.
    Step(usize),
    /// A copy of a claim arrives: a retry of the SDK, or the first try late. Nobody hears its response.
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
    /// Drops what nobody will ask for, so that states which differ in nothing else are one.
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
