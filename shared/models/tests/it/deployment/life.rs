//! The parameters of a stack's life, and the faults in it.

use std::{collections::BTreeSet, sync::LazyLock, time::Duration};

use jiff::Timestamp;
use lamplighter_core::{
    definition::{OncePer, RunOn},
    deployment::{Change, PlannedTask, Properties, Request},
    name::TaskName,
};

use super::request::{SentRequest, Way};

/// The length of a unit of the model's time in seconds: longer than the margin of clocks.
const UNIT: i64 = 10;
/// The time from the beginning of a unit to a dispatcher's step in it.
const AFTER: Duration = Duration::from_secs(5);
/// The age above which a request counts as late, and the stack's events are read: as in the dispatcher's `begin.rs`.
pub const PROMPT: Duration = Duration::from_secs(15);
/// The maximum number of kept deployments that a rollback undoes: as in the dispatcher's `begin.rs`.
pub const MOST_KEPT: usize = 20;
pub const LEDGER: &str = "shop#Tasks";

/// The parameters of a stack's life.
#[derive(Clone, Debug)]
pub struct Life {
    pub start: Start,
    /// The updates that follow, in their order.
    pub updates: Vec<Update>,
    /// The number of tasks. Each depends on the one before it.
    pub tasks: usize,
    pub limits: Limits,
    pub conditions: Vec<Condition>,
    pub fault: Fault,
}

/// A condition of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Properties 1 and 2 have the same version.
    SameVersion,
    /// The tasks do not depend on each other, and run at the same time.
    OneWave,
    /// The newest stack event may be published late.
    LateEvent,
    /// The two newest stack events may be published late.
    LateEvents,
    /// The ledger is read in three steps.
    TornReads,
    /// Requests have no time at which they were sent.
    Undated,
    /// Time passes between the reads of a dispatcher.
    SlowReads,
}

/// CloudFormation's action after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnFailure {
    RollBack,
    /// Rollback is disabled: the stack stays as it is.
    Keep,
}

/// The beginning of the life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The stack is being created, with properties 1.
    Creation,
    /// The stack exists, and never had the resource.
    Bare,
    /// The stack exists, and the resource was removed after an update to properties 1.
    Removed,
    /// The stack exists, and properties 1 are deployed.
    Deployed,
}

/// One update of the stack.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// The properties of the resource; none removes it.
    pub to: Option<u8>,
    pub on_failure: OnFailure,
}

/// The maximum number of each event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The other resource fails.
    pub failures: u8,
    /// The body of a task fails.
    pub bodies: u8,
    /// CloudFormation's wait for a request ends without an answer.
    pub timeouts: u8,
    /// A request comes to its last call.
    pub last_calls: u8,
    /// A rollback that failed is continued, or a kept failure is rolled back.
    pub continued: u8,
    /// A dispatcher is killed.
    pub kills: u8,
    /// A request is delivered once more.
    pub copies: u8,
    /// The stack is deleted.
    pub deletions: u8,
}

/// A rule that the model breaks on purpose, to show that a check finds the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The stack's status alone makes an Update a rollback.
    StatusAlone,
    /// An undecided event follows the stack's status, without its events.
    EventsIgnored,
    /// A request is opened without a check of the stack's status.
    OpenedUnasked,
    /// A later wave starts without a check of the stack's status.
    WavesUnasked,
    /// The request's own entry is not read.
    OwnForgotten,
    /// A new entry leaves the ledger's last success as it is.
    SuccessKept,
    /// A rollback does not prevent the start of a run.
    StartNotPrevented,
    /// A task is given up although its run may start.
    GivenUpUnprevented,
    /// A rollback does not wait for forward runs that are not over.
    NotSettled,
    /// The newest deployment is undone even if it is the one in effect.
    EffectUndone,
    /// Every end of a deployment writes its answer.
    ClosedTwice,
    /// Every end of a deployment writes the ledger's last success.
    ClosedOverNewer,
    /// A request is declined although it has an entry.
    DeclinedBesideEntry,
    /// A deletion that finds the ledger changed is not noted.
    DeletionNotRetried,
    /// A deletion is noted if the ledger has the entry that it has seen, whatever else has changed.
    DeletionOverNewer,
    /// A rollback that CloudFormation no longer waits for records its tasks as cancelled.
    UndoCancelled,
    /// A claim does not check for its run's record.
    ClaimedUnlooked,
    /// An entry is opened although the resource was deleted since the ledger was read.
    OpenedOverDelete,
    /// A Delete counts for the present resource, even if it was sent before the resource was created again.
    DeleteUndated,
    /// A deletion is not recorded in a ledger without an entry.
    DeletionOfNothingUnnoted,
    /// A deletion undoes the success of an earlier life of the resource.
    EarlierLifeForgotten,
    /// The stack's events are read without the time at which the request was sent.
    OrderUndated,
    /// The beginning of the stack's current update does not count for a request.
    WentForwardIgnored,
    /// The beginning of the stack's current update does not count before a wave.
    WavesUndated,
    /// An entry has the time of its opening.
    DatedByOpening,
    /// A deletion has the time of its record.
    DeletionDatedByNote,
    /// The stack's events decide although they do not show the status that was read.
    EventsUnheld,
    /// A success may count as undone without an entry, although the stack has not rolled back.
    RolledBackUnasked,
    /// An entry is opened although the ledger's last success has changed since the ledger was read.
    SuccessUncompared,
    /// A rollback that is delivered after its last call is declined.
    LateRollbackDeclined,
    /// Only the newest of a task's kept runs is undone.
    KeptDropped,
    /// The successes before the newest are not read.
    BeforeUnread,
    /// An Update to any other properties is a deployment, even if the stack sent it in a rollback.
    BackTakenForward,
}

pub fn at(unit: usize) -> Timestamp {
    Timestamp::from_second(1000 + UNIT * i64::try_from(unit).unwrap()).unwrap()
}

/// The clock of a dispatcher in a unit.
pub fn clock(unit: usize) -> Timestamp {
    at(unit) + AFTER
}

pub fn properties(word: u8) -> Properties {
    static ALL: LazyLock<Vec<Properties>> =
        LazyLock::new(|| (0..8).map(|word: u8| Properties::of_text(&word.to_string())).collect());
    ALL[usize::from(word)].clone()
}

pub fn task_name(task: usize) -> TaskName {
    static ALL: LazyLock<[TaskName; 2]> = LazyLock::new(|| ["a".parse().unwrap(), "b".parse().unwrap()]);
    ALL[task].clone()
}

impl Life {
    pub fn has(&self, condition: Condition) -> bool {
        self.conditions.contains(&condition)
    }

    pub fn version(&self, properties: u8) -> String {
        match properties {
            2 if self.has(Condition::SameVersion) => "1".to_owned(),
            other => other.to_string(),
        }
    }

    fn tasks(&self) -> Vec<PlannedTask> {
        let task = |i: usize| PlannedTask {
            name: task_name(i),
            function: String::new(),
            run_on: BTreeSet::from([RunOn::Deploy, RunOn::Update]),
            depends_on: if i == 0 || self.has(Condition::OneWave) {
                Vec::new()
            } else {
                vec![task_name(i - 1)]
            },
            once_per: OncePer::Deployment,
            rollback: true,
            timeout: Duration::from_secs(1),
        };
        (0..self.tasks).map(task).collect()
    }

    /// Returns the request of a Create or an Update, as its event describes it.
    pub fn request(&self, id: usize, sent: &SentRequest) -> Request {
        Request {
            change: if sent.way == Way::Create { Change::Create } else { Change::Update },
            request_id: format!("r{id}"),
            ledger: LEDGER.to_owned(),
            version: self.version(sent.to.unwrap_or_default()),
            old_version: sent.old.map(|old| self.version(old)),
            properties: properties(sent.to.unwrap_or_default()),
            old_properties: sent.old.map(properties),
            sent_at: (!self.has(Condition::Undated)).then(|| at(sent.at)),
            tasks: self.tasks(),
        }
    }
}
