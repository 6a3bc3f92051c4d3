//! What a request is, and what it leads to: its ledger, its kind, the stack that waits for it or does not, and its entry.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use lamplighter_aws::{
    stacks::Stacks,
    table::{Opened, Received, RequestKey, TableError},
};
use lamplighter_core::{
    definition::OncePer,
    deployment::{
        Addressee, Answered, Change, Course, Direction, Kind, Ledger, Plan, Request, SentUpdate, Situation,
        StackEvent, StackPhase, Verdict, direction, kind, may_be_undone, missing_before, plan, resolve,
        rolled_back, shows, went_forward,
    },
    name::TaskName,
};
use tokio::time::{Instant, sleep, timeout};

use crate::services::{DispatchError, Dispatcher};

/// How long one read of the table may take.
const READ: Duration = Duration::from_secs(10);
/// How long a neighbour that refuses is asked again: new roles take seconds to be known everywhere.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// The same for the status of a stack that a rollback can do without.
const BRIEFLY: Duration = Duration::from_secs(10);
/// How long the stack's status is asked for at the last call, where nothing else is known.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// How long the stack's events are read again until they show the one that was sent.
const EVENTS_FOR: Duration = Duration::from_secs(10);
/// How long after it was sent a request may be delivered without the stack's events being asked whether it is still meant.
const PROMPT: Duration = Duration::from_secs(15);
/// Over how many deployments that were kept a rollback returns at most.
const MOST_KEPT: usize = 20;
/// The pauses in between.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// How often a ledger is read that others keep opening.
const ROUNDS: usize = 20;

/// What has been found out of a request so far: it must be answered at its last call, however little that is.
#[derive(Debug, Default)]
pub struct Findings(Mutex<Known>);

#[derive(Clone, Debug, Default)]
struct Known {
    kind: Option<Kind>,
    phase: Option<StackPhase>,
    has_ledger: bool,
    waits_for: Option<&'static str>,
    refused: Option<String>,
}

impl Findings {
    fn note(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn so_far(&self) -> Known {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the request is known to be a rollback.
    pub fn is_rollback(&self) -> bool {
        self.so_far().kind == Some(Kind::Rollback)
    }

    /// Why the request could not be classified within `patience`: the neighbour that was waited for, and what it said last.
    pub fn obstacle(&self, patience: Duration) -> String {
        let Known { waits_for, refused, .. } = self.so_far();
        let seconds = patience.as_secs();
        let in_time = format!("within the {seconds} s of the resource's ServiceTimeout");
        match (waits_for.unwrap_or("the table"), refused) {
            (neighbour, None) => format!("{neighbour} did not answer {in_time}"),
            (neighbour, Some(refused)) => {
                format!("{neighbour} did not say what is needed {in_time}: {refused}")
            }
        }
    }
}

/// A request with all that it takes to plan it.
struct Classified {
    ledger: Ledger,
    course: Course,
    phase: Option<StackPhase>,
    evidence: Evidence,
}

/// What the stack's events show of a request.
#[derive(Clone, Copy, Default)]
struct Evidence {
    order: Direction,
    went_forward: Option<Timestamp>,
    rolled_back: bool,
}

/// Finds out what a request is.
async fn classify(
    dispatcher: &Dispatcher,
    request: &Request,
    to: &Addressee,
    received: &Received,
    findings: &Findings,
) -> Result<Classified, DispatchError> {
    findings.note(|known| known.waits_for = Some("the table"));
    let mut ledger = within(dispatcher.table.ledger(&request.ledger, received.entry.as_ref())).await?;
    if let Some(own) = &ledger.own {
        let course = own.course;
        return Ok(Classified { ledger, course, phase: None, evidence: Evidence::default() });
    }
    let kind = kind(request, &ledger);
    findings.note(|known| {
        known.kind = Some(kind);
        known.has_ledger = ledger.latest.is_some();
        known.waits_for = Some("CloudFormation");
    });
    let phase = phase(dispatcher, &to.stack_id, kind, findings).await?;
    findings.note(|known| known.phase = phase);
    let evidence = match phase {
        Some(phase) => events_of(dispatcher, request, to, &ledger, kind, phase).await,
        None => Evidence::default(),
    };
    let course = phase.map_or(Course::Rollback, |phase| resolve(kind, evidence.order, phase));
    findings.note(|known| {
        known.kind = Some(if course == Course::Rollback { Kind::Rollback } else { Kind::Forward(course) });
    });
    if course == Course::Rollback {
        findings.note(|known| known.waits_for = Some("the table"));
        read_before(dispatcher, request, &mut ledger).await?;
    }
    Ok(Classified { ledger, course, phase, evidence })
}

/// Reads the entries over which a rollback returns.
async fn read_before(
    dispatcher: &Dispatcher,
    request: &Request,
    ledger: &mut Ledger,
) -> Result<(), DispatchError> {
    for _ in 0..MOST_KEPT {
        let Some(key) = missing_before(request, ledger).cloned() else { return Ok(()) };
        let Some(entry) = within(dispatcher.table.entry(&request.ledger, &key)).await? else { return Ok(()) };
        ledger.before.push(entry);
    }
    Ok(())
}

/// What a request leads to.
pub enum Begun {
    /// This, by its ledger and its kind.
    Plan(Box<Plan>),
    /// The answer that was decided without an entry.
    Answered(Answered),
}

/// Finds the request's entry in the ledger, or plans and opens one. A deployment that has no entry is declined if there is
/// a `refusal`; a rollback is not. `received` is what a delivery was just told, if it was.
pub async fn begin(
    dispatcher: &Dispatcher,
    request: &Request,
    to: &Addressee,
    last_call: Timestamp,
    refusal: Option<&str>,
    mut received: Option<Received>,
    findings: &Findings,
) -> Result<Begun, DispatchError> {
    let key = RequestKey { ledger: &request.ledger, id: &request.request_id };
    within(dispatcher.table.move_ledger(&to.ledger_by_name(), &request.ledger)).await?;
    for _ in 0..ROUNDS {
        let received = match received.take() {
            Some(received) => received,
            None => within(dispatcher.table.receive(key, Timestamp::now())).await?,
        };
        if let Some(answer) = received.answer {
            return Ok(Begun::Answered(answer));
        }
        let Classified { ledger, course, phase, evidence } =
            classify(dispatcher, request, to, &received, findings).await?;
        let is_new_deployment = ledger.own.is_none() && course != Course::Rollback;
        if let Some(refusal) = refusal.filter(|_| is_new_deployment) {
            return Ok(Begun::Plan(Box::new(Plan::Decline(Verdict::failed(refusal)))));
        }
        let contents = if is_new_deployment && phase.is_some_and(|phase| phase.waits_for(course)) {
            findings.note(|known| known.waits_for = Some("Lambda (GetFunctionConfiguration)"));
            contents(dispatcher, request).await?
        } else {
            BTreeMap::new()
        };
        let Evidence { went_forward, rolled_back, .. } = evidence;
        let situation =
            Situation { course, phase, contents: &contents, last_call, went_forward, rolled_back };
        let planned = plan(request, &ledger, &situation, Timestamp::now(), dispatcher.random)?;
        if let Plan::Open(entry) = &planned {
            findings.note(|known| known.waits_for = Some("the table (TransactWriteItems)"));
            match dispatcher.table.open(entry, ledger.latest.as_ref()).await? {
                Opened::Yes => {
                    let (course, version) = (entry.course.trigger(), &entry.deployment.version);
                    tracing::info!(request_id = to.request_id, "{course} of version {version} begins");
                }
                Opened::Overtaken => continue,
            }
        }
        return Ok(Begun::Plan(Box::new(planned)));
    }
    Err(DispatchError::Contended(request.ledger.clone()))
}

/// A step of the table, which may take 10 s.
async fn within<T>(step: impl Future<Output = Result<T, TableError>>) -> Result<T, DispatchError> {
    Ok(timeout(READ, step).await.map_err(|_| DispatchError::Silent)??)
}

/// The answer to a request of which no more than this is known at its last call: FAILED for a deployment, SUCCESS for a
/// rollback, since the stack must be able to move.
///
/// An Update that may be either is taken for a rollback if the stack's status says so, or if the ledger does not exclude
/// it and the status cannot be had. Without ledger and status it is taken for a deployment: a version that serves without
/// its migrations would be worse than a rollback that a person must continue.
pub async fn unclassified(
    dispatcher: &Dispatcher,
    request: &Request,
    stack_id: &str,
    findings: &Findings,
    why: &str,
) -> Verdict {
    let known = findings.so_far();
    let phase = match (known.phase, known.kind, request.change) {
        (Some(phase), ..) => Some(phase),
        (None, None, Change::Update) => {
            let status = timeout(LAST_LOOK, dispatcher.stacks.status(stack_id)).await;
            status.ok().and_then(Result::ok).map(|status| StackPhase::of(&status))
        }
        _ => None,
    };
    let is_rollback = match (known.kind, request.change) {
        (Some(Kind::Forward(_)), _) | (None, Change::Create) => false,
        (Some(Kind::Rollback), _) => true,
        (Some(Kind::Undecided), _) => phase.map_or(known.has_ledger, StackPhase::is_rollback),
        (None, Change::Update) => phase.is_some_and(StackPhase::is_rollback),
    };
    let what = if is_rollback { "nothing was undone" } else { "nothing was run" };
    Verdict { success: is_rollback, ..Verdict::failed(format!("{what}: {why}")) }
}

/// The stack's phase. Nothing for a rollback if CloudFormation does not say.
async fn phase(
    dispatcher: &Dispatcher,
    stack_id: &str,
    kind: Kind,
    findings: &Findings,
) -> Result<Option<StackPhase>, DispatchError> {
    let patience = if kind == Kind::Rollback { BRIEFLY } else { REFUSED_FOR };
    let began = Instant::now();
    for pause in PAUSES.into_iter().chain(std::iter::repeat(PAUSES[2])) {
        match dispatcher.stacks.status(stack_id).await {
            Ok(status) => {
                findings.note(|known| known.refused = None);
                return Ok(Some(StackPhase::of(&status)));
            }
            Err(error) if began.elapsed() + pause < patience => {
                tracing::warn!("asking again: {error}");
                findings.note(|known| known.refused = Some(error.to_string()));
            }
            Err(error) if kind == Kind::Rollback => {
                tracing::warn!("rolling back all the same: {error}");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        sleep(pause).await;
    }
    Ok(None)
}

/// What the stack's events show of a request. They are read only where they decide: for an Update that may be a rollback,
/// for a request that is delivered late, and where the newest success may have been undone. Until they show the status
/// that was read, and the way where that is open, they are read again, for a while.
async fn events_of(
    dispatcher: &Dispatcher,
    request: &Request,
    to: &Addressee,
    ledger: &Ledger,
    kind: Kind,
    phase: StackPhase,
) -> Evidence {
    let since = ledger.latest.as_ref().map_or(Timestamp::MIN, |latest| latest.entry.time());
    let may_be_either = match kind {
        // Without a ledger there is nothing to undo: the status says enough.
        Kind::Undecided => ledger.latest.is_some(),
        Kind::Forward(course) => course == Course::Update && phase.is_rollback(),
        Kind::Rollback => false,
    };
    let is_late = kind != Kind::Rollback && request.sent_at.is_some_and(is_late);
    // Of a stack that waits for neither, nothing is run in any case.
    let waits = [Course::Update, Course::Rollback].into_iter().any(|course| phase.waits_for(course));
    let may_be_either = may_be_either && waits;
    if !may_be_either && !is_late && !may_be_undone(request, ledger) {
        return Evidence::default();
    }
    let (logical_id, properties) = (to.logical_resource_id.as_str(), &request.properties);
    let sent = SentUpdate { logical_id, properties, since, at: request.sent_at };
    let says_enough = |events: &[StackEvent]| {
        let says_the_way = !may_be_either || direction(events, sent) != Direction::Unknown;
        says_the_way && shows(events, phase)
    };
    let events = events_until(&dispatcher.stacks, &to.stack_id, since, says_enough).await;
    events.map_or_else(Evidence::default, |events| Evidence {
        order: direction(&events, sent),
        went_forward: went_forward(&events),
        rolled_back: rolled_back(&events, since),
    })
}

/// A stack's events since then, newest first, once they say enough, or after a while. CloudFormation publishes them some
/// seconds late. Nothing if it does not let them be read.
pub async fn events_until(
    stacks: &Stacks,
    stack_id: &str,
    since: Timestamp,
    says_enough: impl Fn(&[StackEvent]) -> bool,
) -> Option<Vec<StackEvent>> {
    let began = Instant::now();
    for pause in PAUSES.into_iter().chain(std::iter::repeat(PAUSES[2])) {
        let events = match stacks.events(stack_id, since).await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!("deciding by the stack's status: {error}");
                return None;
            }
        };
        if says_enough(&events) || began.elapsed() + pause > EVENTS_FOR {
            return Some(events);
        }
        sleep(pause).await;
    }
    None
}

/// Whether a request is delivered so late that another one may have been sent since.
pub fn is_late(sent_at: Timestamp) -> bool {
    Timestamp::now().duration_since(sent_at).unsigned_abs() > PROMPT
}

/// The content of each task that runs once per content.
async fn contents(
    dispatcher: &Dispatcher,
    request: &Request,
) -> Result<BTreeMap<TaskName, String>, DispatchError> {
    let mut contents = BTreeMap::new();
    for task in request.tasks.iter().filter(|task| task.once_per == OncePer::Content) {
        contents.insert(task.name.clone(), dispatcher.functions.content(&task.function).await?);
    }
    Ok(contents)
}
