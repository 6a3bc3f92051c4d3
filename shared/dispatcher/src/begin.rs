//! Beginning of a request: reads its ledger and its stack, makes the plan, and opens the ledger entry.

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

/// The timeout of one read of the table.
const READ: Duration = Duration::from_secs(10);
/// The time for which a refused request to a service is retried. New roles take seconds to take effect everywhere.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// The same time for reading the stack's status in a rollback, which can continue without the status.
const BRIEFLY: Duration = Duration::from_secs(10);
/// The timeout for the stack's status at the last call, if nothing else is known.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// The time for which the stack's events are read again until they show the request's own event.
const EVENTS_FOR: Duration = Duration::from_secs(10);
/// The age of a request from which the stack's events are read to check that it is still current.
const PROMPT: Duration = Duration::from_secs(15);
/// The most kept deployments over which a rollback returns.
const MOST_KEPT: usize = 20;
/// The pauses between attempts; the last one repeats.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// The most attempts to open a ledger's entry while other requests open theirs.
const ROUNDS: usize = 20;

/// The facts found so far about a request. They decide its answer if classification is not finished by the last call.
#[derive(Debug, Default)]
pub struct Findings(Mutex<RequestFacts>);

#[derive(Clone, Debug, Default)]
struct RequestFacts {
    kind: Option<Kind>,
    phase: Option<StackPhase>,
    has_ledger: bool,
    waits_for: Option<&'static str>,
    refused: Option<String>,
}

impl Findings {
    fn note(&self, change: impl FnOnce(&mut RequestFacts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn so_far(&self) -> RequestFacts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True if the request is known to be a rollback.
    pub fn is_rollback(&self) -> bool {
        self.so_far().kind == Some(Kind::Rollback)
    }

    /// Explains why the request was not classified within `patience`: the service it waited for, and that service's last
    /// error.
    pub fn obstacle(&self, patience: Duration) -> String {
        let RequestFacts { waits_for, refused, .. } = self.so_far();
        let seconds = patience.as_secs();
        let in_time = format!("within the {seconds} s of the resource's ServiceTimeout");
        match (waits_for.unwrap_or("the table"), refused) {
            (service, None) => format!("{service} did not answer {in_time}"),
            (service, Some(refused)) => {
                format!("{service} did not answer {in_time}; its last error: {refused}")
            }
        }
    }
}

/// A request with everything needed to plan it.
struct Classified {
    ledger: Ledger,
    course: Course,
    phase: Option<StackPhase>,
    evidence: Evidence,
}

/// Facts about a request from the stack's events.
#[derive(Clone, Copy, Default)]
struct Evidence {
    order: Direction,
    went_forward: Option<Timestamp>,
    rolled_back: bool,
}

/// Classifies a request.
async fn classify(
    dispatcher: &Dispatcher,
    request: &Request,
    to: &Addressee,
    received: &Received,
    findings: &Findings,
) -> Result<Classified, DispatchError> {
    findings.note(|facts| facts.waits_for = Some("the table"));
    let mut ledger = with_timeout(dispatcher.table.ledger(&request.ledger, received.entry.as_ref())).await?;
    if let Some(own) = &ledger.own {
        let course = own.course;
        return Ok(Classified { ledger, course, phase: None, evidence: Evidence::default() });
    }
    let kind = kind(request, &ledger);
    findings.note(|facts| {
        facts.kind = Some(kind);
        facts.has_ledger = ledger.latest.is_some();
        facts.waits_for = Some("CloudFormation");
    });
    let phase = phase(dispatcher, &to.stack_id, kind, findings).await?;
    findings.note(|facts| facts.phase = phase);
    let evidence = match phase {
        Some(phase) => events_of(dispatcher, request, to, &ledger, kind, phase).await,
        None => Evidence::default(),
    };
    let course = phase.map_or(Course::Rollback, |phase| resolve(kind, evidence.order, phase));
    findings.note(|facts| {
        facts.kind = Some(if course == Course::Rollback { Kind::Rollback } else { Kind::Forward(course) });
    });
    if course == Course::Rollback {
        findings.note(|facts| facts.waits_for = Some("the table"));
        read_before(dispatcher, request, &mut ledger).await?;
    }
    Ok(Classified { ledger, course, phase, evidence })
}

/// Reads the earlier entries over which a rollback returns.
async fn read_before(
    dispatcher: &Dispatcher,
    request: &Request,
    ledger: &mut Ledger,
) -> Result<(), DispatchError> {
    for _ in 0..MOST_KEPT {
        let Some(key) = missing_before(request, ledger).cloned() else { return Ok(()) };
        let Some(entry) = with_timeout(dispatcher.table.entry(&request.ledger, &key)).await? else {
            return Ok(());
        };
        ledger.before.push(entry);
    }
    Ok(())
}

/// The result of [`begin`].
pub enum BeginOutcome {
    /// A plan, decided by the request's ledger and kind.
    Plan(Box<Plan>),
    /// The answer that an earlier delivery decided without an entry.
    Answered(Answered),
}

/// Finds the request's entry in the ledger, or plans and opens one.
///
/// With a `refusal`, a deployment without an entry is declined for that reason; a rollback is not. `received` is the
/// result of recording this delivery, if the caller has just recorded it.
pub async fn begin(
    dispatcher: &Dispatcher,
    request: &Request,
    to: &Addressee,
    last_call: Timestamp,
    refusal: Option<&str>,
    mut received: Option<Received>,
    findings: &Findings,
) -> Result<BeginOutcome, DispatchError> {
    let key = RequestKey { ledger: &request.ledger, id: &request.request_id };
    with_timeout(dispatcher.table.move_ledger(&to.ledger_by_name(), &request.ledger)).await?;
    for _ in 0..ROUNDS {
        let received = match received.take() {
            Some(received) => received,
            None => with_timeout(dispatcher.table.receive(key, Timestamp::now())).await?,
        };
        if let Some(answer) = received.answer {
            return Ok(BeginOutcome::Answered(answer));
        }
        let Classified { ledger, course, phase, evidence } =
            classify(dispatcher, request, to, &received, findings).await?;
        let is_new_deployment = ledger.own.is_none() && course != Course::Rollback;
        if let Some(refusal) = refusal.filter(|_| is_new_deployment) {
            return Ok(BeginOutcome::Plan(Box::new(Plan::Decline(Verdict::failed(refusal)))));
        }
        let contents = if is_new_deployment && phase.is_some_and(|phase| phase.waits_for(course)) {
            findings.note(|facts| facts.waits_for = Some("Lambda (GetFunctionConfiguration)"));
            contents(dispatcher, request).await?
        } else {
            BTreeMap::new()
        };
        let Evidence { went_forward, rolled_back, .. } = evidence;
        let situation =
            Situation { course, phase, contents: &contents, last_call, went_forward, rolled_back };
        let planned = plan(request, &ledger, &situation, Timestamp::now(), dispatcher.random)?;
        if let Plan::Open(entry) = &planned {
            findings.note(|facts| facts.waits_for = Some("the table (TransactWriteItems)"));
            match dispatcher.table.open(entry, ledger.latest.as_ref()).await? {
                Opened::Yes => {
                    let (course, version) = (entry.course.trigger(), &entry.deployment.version);
                    tracing::info!(request_id = to.request_id, "starting {course} of version {version}");
                }
                Opened::Overtaken => continue,
            }
        }
        return Ok(BeginOutcome::Plan(Box::new(planned)));
    }
    Err(DispatchError::Contended(request.ledger.clone()))
}

/// Limits a request to the table to [`READ`].
async fn with_timeout<T>(request: impl Future<Output = Result<T, TableError>>) -> Result<T, DispatchError> {
    Ok(timeout(READ, request).await.map_err(|_| DispatchError::TableTimeout)??)
}

/// Decides the answer to a request that is not classified by its last call: FAILED for a deployment, SUCCESS for a
/// rollback. A FAILED rollback would leave the stack stuck.
///
/// An Update that may be a deployment or a rollback counts as a rollback in two cases: the stack's status shows a
/// rollback, or the status cannot be read and the ledger does not rule out a rollback. Without ledger and status it
/// counts as a deployment. A live version without its migrations would be worse than a rollback that a person must
/// continue.
pub async fn unclassified(
    dispatcher: &Dispatcher,
    request: &Request,
    stack_id: &str,
    findings: &Findings,
    why: &str,
) -> Verdict {
    let facts = findings.so_far();
    let phase = match (facts.phase, facts.kind, request.change) {
        (Some(phase), ..) => Some(phase),
        (None, None, Change::Update) => {
            let status = timeout(LAST_LOOK, dispatcher.stacks.status(stack_id)).await;
            status.ok().and_then(Result::ok).map(|status| StackPhase::of(&status))
        }
        _ => None,
    };
    let is_rollback = match (facts.kind, request.change) {
        (Some(Kind::Forward(_)), _) | (None, Change::Create) => false,
        (Some(Kind::Rollback), _) => true,
        (Some(Kind::Undecided), _) => phase.map_or(facts.has_ledger, StackPhase::is_rollback),
        (None, Change::Update) => phase.is_some_and(StackPhase::is_rollback),
    };
    let what = if is_rollback { "nothing was undone" } else { "nothing was run" };
    Verdict { success: is_rollback, ..Verdict::failed(format!("{what}: {why}")) }
}

/// Reads the stack's phase. Returns `None` for a rollback if CloudFormation does not provide it.
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
                findings.note(|facts| facts.refused = None);
                return Ok(Some(StackPhase::of(&status)));
            }
            Err(error) if began.elapsed() + pause < patience => {
                tracing::warn!("retrying: {error}");
                findings.note(|facts| facts.refused = Some(error.to_string()));
            }
            Err(error) if kind == Kind::Rollback => {
                tracing::warn!("rolling back without the stack's status: {error}");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        sleep(pause).await;
    }
    Ok(None)
}

/// Reads facts about a request from the stack's events. They are read only where they decide:
///
/// - for an Update that may be a rollback
/// - for a request that is delivered late
/// - if the newest success may have been undone
///
/// They are read again, for up to [`EVENTS_FOR`], until they show the stack's status and, if needed, the direction.
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
        // Without a ledger there is nothing to undo, and the status decides.
        Kind::Undecided => ledger.latest.is_some(),
        Kind::Forward(course) => course == Course::Update && phase.is_rollback(),
        Kind::Rollback => false,
    };
    let is_late = kind != Kind::Rollback && request.sent_at.is_some_and(is_late);
    // The direction does not matter if the stack waits for neither an update nor a rollback: then nothing runs.
    let waits = [Course::Update, Course::Rollback].into_iter().any(|course| phase.waits_for(course));
    let may_be_either = may_be_either && waits;
    if !may_be_either && !is_late && !may_be_undone(request, ledger) {
        return Evidence::default();
    }
    let (logical_id, properties) = (to.logical_resource_id.as_str(), &request.properties);
    let sent = SentUpdate { logical_id, properties, since, at: request.sent_at };
    let is_enough = |events: &[StackEvent]| {
        let shows_direction = !may_be_either || direction(events, sent) != Direction::Unknown;
        shows_direction && shows(events, phase)
    };
    let events = events_until(&dispatcher.stacks, &to.stack_id, since, is_enough).await;
    events.map_or_else(Evidence::default, |events| Evidence {
        order: direction(&events, sent),
        went_forward: went_forward(&events),
        rolled_back: rolled_back(&events, since),
    })
}

/// Reads a stack's events since `since`, newest first, until `is_enough` accepts them or 10 s have passed.
/// CloudFormation publishes events some seconds late. Returns `None` if they cannot be read.
pub async fn events_until(
    stacks: &Stacks,
    stack_id: &str,
    since: Timestamp,
    is_enough: impl Fn(&[StackEvent]) -> bool,
) -> Option<Vec<StackEvent>> {
    let began = Instant::now();
    for pause in PAUSES.into_iter().chain(std::iter::repeat(PAUSES[2])) {
        let events = match stacks.events(stack_id, since).await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!("cannot read the stack's events; deciding by its status: {error}");
                return None;
            }
        };
        if is_enough(&events) || began.elapsed() + pause > EVENTS_FOR {
            return Some(events);
        }
        sleep(pause).await;
    }
    None
}

/// True if a request is delivered so late that another one may have been sent since.
pub fn is_late(sent_at: Timestamp) -> bool {
    Timestamp::now().duration_since(sent_at).unsigned_abs() > PROMPT
}

/// Reads the content digest of each task that runs once per content.
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
