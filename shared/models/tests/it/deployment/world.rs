//! A stack with one resource of tasks and one other, the ledger, the dispatchers and the runs of the tasks.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use jiff::Timestamp;
use lamplighter_core::{
    deployment::{Answered, Course, Entry, EntryKey, Latest, Ledger, StackPhase},
    id::RunId,
    status::Status,
};

use super::{
    life::Limits,
    request::{SentRequest, Undone},
    stack::{Event, Move, Stack},
};

/// A value with its digest, so that states are cheap to copy and to compare.
#[derive(Clone, Debug)]
pub struct Shared<T>(Arc<T>, u64);

impl<T: Hash> Shared<T> {
    pub fn new(value: T) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self(Arc::new(value), hasher.finish())
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.1 == other.1
    }
}

impl<T> Eq for Shared<T> {}

impl<T> PartialOrd for Shared<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Shared<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.1.cmp(&other.1)
    }
}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.1.hash(state);
    }
}

/// A state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub stack: Stack,
    pub table: Table,
    /// Every request that CloudFormation has sent.
    pub sent: Vec<SentRequest>,
    pub dispatchers: Vec<Dispatcher>,
    /// Each task's claims.
    pub claims: Vec<Claims>,
    pub runs: Vec<Run>,
    /// Invocations on their way to their task.
    pub invocations: Vec<Invocation>,
    pub left: Limits,
    /// The next update.
    pub next: usize,
    /// The properties that a step has broken.
    pub broken: BTreeSet<&'static str>,
}

/// The resource's part of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Table {
    pub latest: Option<Latest>,
    /// The entries in the order of their opening.
    pub entries: Vec<Shared<Entry>>,
    /// The answers to requests without an entry.
    pub noted: Vec<(usize, Answered)>,
}

/// A delivery of a request, in a process of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dispatcher {
    pub request: usize,
    pub phase: Phase,
}

/// The next step of a dispatcher.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Reads the ledger's state, with the place of the request's entry.
    Latest(Option<usize>),
    /// Reads the entries that the ledger's state and the request name.
    Entries(Shared<Option<Latest>>, Option<usize>),
    /// Reads the stack's status.
    Status(Shared<Ledger>),
    /// Read the stack's events, with the status that was read before.
    Events(Shared<Ledger>, Shared<Seen>),
    /// Opens an entry. The flag is true if CloudFormation waited for the request when the status was read.
    Open(Shared<Entry>, Shared<Option<Latest>>, bool),
    /// Notes an answer without an entry.
    Decline(Shared<Answered>),
    /// Reads the results of the forward runs that the task at this place undoes. Right after the opening, the
    /// flag of [`Phase::Open`] is known.
    Settle(Shared<Entry>, usize, Option<bool>),
    /// Decides the next step of the deployment. Right after the opening, the flag of [`Phase::Open`] is known.
    Decide(Shared<Entry>, Option<bool>),
    /// Reads the stack's status before a wave.
    AskStack(Shared<Entry>, Vec<usize>),
    /// Checks before a wave whether the entry is still the newest one in the ledger.
    CheckLedger(Shared<Entry>, Vec<usize>, bool),
    /// Reads whether the stack's events show a later update, before a wave.
    CheckEvents(Shared<Entry>, Vec<usize>, bool),
    /// Prevents the runs of tasks that must not start, one after the other, and waits for a run that has started.
    GiveUp(Shared<Entry>, Vec<(usize, Status)>),
    /// Starts a wave.
    Invoke(Shared<Entry>, Vec<usize>, bool),
    /// Waits for the runs of a wave.
    Wait(Shared<Entry>, Vec<usize>),
    /// Ends a deployment.
    Close(Shared<Entry>, Shared<Answered>),
    /// Reads the stack's status for a Delete.
    DeletionStatus,
    /// Reads the ledger's state for a Delete.
    DeletionLatest(Shared<StackPhase>),
    /// Reads the newest entry for a Delete.
    DeletionEntry(Shared<StackPhase>, Shared<Option<Latest>>),
    /// Ends the unanswered deployment of a resource that is deleted.
    EndOpen(Shared<Entry>, Shared<Deletion>),
    /// Notes that the resource is deleted.
    NoteDeletion(Shared<Deletion>),
    /// Sends the answer.
    Answer(Shared<Answered>),
}

/// The stack's status, as a dispatcher has read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    pub phase: StackPhase,
    /// CloudFormation waited for the request then.
    pub waited: bool,
    /// The time at which the status was read.
    pub at: Timestamp,
}

/// A deletion that is to be noted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Deletion {
    pub phase: StackPhase,
    pub seen: Option<Latest>,
    pub after: Latest,
}

/// The claims of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Claims {
    /// The newest deployment that has claimed it.
    pub newest: Option<EntryKey>,
    /// The run that holds it.
    pub held_by: Option<RunId>,
}

/// One run of a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    pub id: RunId,
    pub task: usize,
    /// The request that planned it.
    pub request: usize,
    /// The forward runs that it undoes.
    pub undoes: Vec<RunId>,
    pub is_undo: bool,
    /// The number of times that its body started.
    pub started: u8,
    /// Its body has completed.
    pub completed: bool,
    pub record: Option<Status>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Invocation {
    pub run: RunId,
    /// The entry whose key the invocation carries.
    pub entry: usize,
    /// CloudFormation waited for the request when its dispatcher read the status.
    pub waited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Cloud(Move),
    /// A request is delivered.
    Deliver(usize),
    /// A request is delivered once more.
    Copy(usize),
    /// A request comes to its last call.
    LastCall(usize),
    /// A dispatcher takes its next step. This many of the newest stack events are not published yet.
    Step(usize, usize),
    Kill(usize),
    /// An invocation arrives at its task.
    Arrive(usize),
    /// A body ends, with or without success.
    End(usize, bool),
}

impl World {
    /// Returns the current unit of time. A unit passes with each request and with each change of the stack's status.
    pub fn now(&self) -> usize {
        let turns = self.stack.events.iter().filter(|event| matches!(event, Event::Stack(..)));
        self.sent.len() + turns.count() - 1
    }

    pub fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.iter().find(|run| run.id == id)
    }

    /// Returns whether CloudFormation is undoing a request, or has.
    pub fn is_undone(&self, request: usize) -> bool {
        self.sent.get(request).is_some_and(|sent| sent.undone != Undone::No)
    }

    pub fn is_held(&self, id: RunId) -> bool {
        self.claims.iter().any(|claims| claims.held_by == Some(id))
    }

    /// Returns the run of a task in an entry, and adds it if it is new.
    pub fn run_of(&mut self, entry: &Entry, place: usize) -> &mut Run {
        let task = &entry.tasks[place];
        if self.run(task.run_id).is_none() {
            self.runs.push(Run {
                id: task.run_id,
                task: usize::from(task.name.as_str() == "b"),
                request: request_of(&entry.key),
                undoes: task.undoes.clone(),
                is_undo: entry.course == Course::Rollback,
                started: 0,
                completed: false,
                record: None,
            });
            self.runs.sort_by_key(|run| run.id);
        }
        self.runs.iter_mut().find(|run| run.id == task.run_id).unwrap()
    }

    pub fn breaks(&mut self, property: &'static str) {
        self.broken.insert(property);
    }
}

/// The number of an entry's request.
pub fn request_of(key: &EntryKey) -> usize {
    key.request_id()[1..].parse().unwrap()
}
