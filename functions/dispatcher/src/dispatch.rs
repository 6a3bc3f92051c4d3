//! From an event to its answer: parse, plan, run, answer.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::{
    functions::{Functions, InvokeError},
    stacks::{StackError, Stacks},
    table::{Opened, Table, TableError},
};
use lamplighter_core::{
    definition::OncePer,
    deployment::{
        Addressee, Answered, Change, Course, Entry, OrderError, Plan, Request, StackPhase, Verdict,
        after_delete, plan, render, verdict,
    },
    name::TaskName,
};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{
    answer::{DeliveryError, deliver, put},
    drive::{Crew, drive, settle},
    event::{Envelope, Unanswerable, Wish, envelope, remnant, wish},
};

/// The longest time before the process's own end at which a deployment is handed over to another.
const HAND_OVER: Duration = Duration::from_secs(30);
/// The time before CloudFormation's patience ends at which it is told so.
const LAST_CALL: Duration = Duration::from_secs(20);
/// How long the table may take to say where a ledger stands, or to note what is answered in any case.
const NOTING: Duration = Duration::from_secs(10);
/// The longest time that CloudFormation waits for an answer.
const MAX_SERVICE_TIMEOUT: Duration = Duration::from_secs(3600);

/// What the dispatcher works with.
pub struct Dispatcher {
    /// The table.
    pub table: Table,
    /// The tasks' functions, and its own.
    pub functions: Functions,
    /// The stack.
    pub stacks: Stacks,
    /// For the answer.
    pub http: reqwest::Client,
    /// The only place without TLS that may be answered.
    pub local: Option<String>,
    /// The name of its own function.
    pub own_function: String,
    /// 128 random bits.
    pub random: fn() -> u128,
}

/// Why an event is not done with. It must come again; if it comes no more, the last word answers it.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// Nobody can be answered.
    #[error(transparent)]
    Unanswerable(#[from] Unanswerable),
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The stack's status is not known.
    #[error(transparent)]
    Status(#[from] StackError),
    /// A function was not reached.
    #[error(transparent)]
    Invoke(#[from] InvokeError),
    /// The answer was not accepted.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// The table did not answer. Each invocation begins with it, so that none hands this over to the next.
    #[error("the table did not answer within {} s", NOTING.as_secs())]
    Silent,
    /// The tasks have no order.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The ledger was opened by others each time it was to be.
    #[error("the ledger `{0}` changed each time it was to be opened")]
    Contended(String),
}

/// How an event was done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// CloudFormation has its answer.
    Answered,
    /// Another invocation goes on with it.
    HandedOver,
}

/// Deals with one event. `deadline` is when the process will be stopped.
///
/// Whatever goes wrong once it is known where to answer is answered FAILED, with the reason, or is tried again: an error
/// that is returned makes Lambda deliver the event again, and when it has had enough, the last word answers.
pub async fn dispatch(
    dispatcher: &Dispatcher,
    event: &Value,
    deadline: Timestamp,
) -> Result<Done, DispatchError> {
    if let Some(lost) = event.get("requestPayload") {
        return last_word(dispatcher, lost, &event["responsePayload"]["errorMessage"]).await;
    }
    let envelope = envelope(event, dispatcher.local.as_deref())?;
    let request_id = envelope.to.request_id.as_str();
    // Of a short invocation, a quarter is kept back.
    let hand_over = deadline.saturating_sub(HAND_OVER.min(until(deadline) / 4)).unwrap_or(deadline);
    let running = async {
        match wish(event, &envelope.to) {
            Ok(Wish::Deploy { request, service_timeout }) => {
                run(dispatcher, &request, &envelope.to, service_timeout, None).await
            }
            Ok(Wish::Delete) => {
                forget(dispatcher, &envelope.to).await;
                Ok(Decided::Apart(Verdict::succeeded()))
            }
            Err(fault) => {
                tracing::error!(request_id, "the event is malformed: {fault}");
                Ok(decline(dispatcher, event, &envelope.to, fault.to_string()).await)
            }
        }
    };
    let decided = tokio::select! {
        decided = running => decided?,
        () = at(hand_over) => {
            tracing::info!(request_id, "handing over to another invocation");
            dispatcher.functions.start(&dispatcher.own_function, event).await?;
            return Ok(Done::HandedOver);
        }
    };
    answer(dispatcher, &envelope, decided).await?;
    Ok(Done::Answered)
}

/// What a request is answered.
enum Decided {
    /// This, if nothing else was decided in the meantime.
    Now(Box<Entry>, Verdict),
    /// What was decided before.
    Before(Box<Entry>, Answered),
    /// This, of which no ledger knows.
    Apart(Verdict),
}

async fn answer(dispatcher: &Dispatcher, envelope: &Envelope, decided: Decided) -> Result<(), DispatchError> {
    let Dispatcher { table, http, .. } = dispatcher;
    let url = &envelope.response_url;
    match decided {
        Decided::Now(entry, verdict) => close(dispatcher, envelope, &entry, &verdict).await,
        Decided::Before(entry, answer) => Ok(deliver(table, http, url, &entry, &answer, false).await?),
        Decided::Apart(verdict) => Ok(put(http, url, &render(&envelope.to, &verdict)).await?),
    }
}

/// Runs a request's tasks, as far as its ledger does not say that they have run. With a `fault` it is a deployment that
/// failed before its first task; but while the stack rolls back its own properties do not matter, and what is to be
/// undone is.
async fn run(
    dispatcher: &Dispatcher,
    request: &Request,
    to: &Addressee,
    service_timeout: Duration,
    fault: Option<String>,
) -> Result<Decided, DispatchError> {
    let mut entry = match begin(dispatcher, request, to).await? {
        Plan::Open(entry) | Plan::Resume(entry) => Box::new(entry),
        Plan::Replay { entry, answer } => return Ok(Decided::Before(Box::new(entry), answer)),
        Plan::Superseded { entry, by } => {
            let reason = format!("request {by} has been begun since, so nothing of this one is run any more");
            return Ok(Decided::Now(Box::new(entry), Verdict::failed(reason)));
        }
    };
    if let Some(fault) = fault.filter(|_| entry.course != Course::Rollback) {
        return Ok(Decided::Now(entry, Verdict::failed(fault)));
    }
    let Dispatcher { table, functions, stacks, .. } = dispatcher;
    let crew = Crew { table, functions, stacks, stack_id: &to.stack_id };
    // Of a short wait, a quarter is kept back.
    let patience = service_timeout.saturating_sub(LAST_CALL.min(service_timeout / 4));
    let last_call = entry.started_at.saturating_add(patience).unwrap_or(Timestamp::MAX);
    let told = tokio::select! {
        driven = drive(&crew, &mut entry) => {
            driven?;
            verdict(&entry)
        }
        () = at(last_call) => late(&entry, service_timeout),
    };
    Ok(Decided::Now(entry, told))
}

fn late(entry: &Entry, service_timeout: Duration) -> Verdict {
    let late = entry.tasks.iter().filter(|task| !task.status.is_terminal());
    let late = late.map(|task| task.name.as_str()).collect::<Vec<_>>().join(", ");
    let seconds = service_timeout.as_secs();
    Verdict::failed(format!("{late} did not end within the {seconds} s of the resource's ServiceTimeout"))
}

/// Answers FAILED for a request of which nothing is run.
///
/// Its ledger notes it as a deployment that failed, if it can be reached: else the rollback that follows would take the
/// deployment before for the one to be undone.
async fn decline(dispatcher: &Dispatcher, event: &Value, to: &Addressee, why: String) -> Decided {
    let apart = Decided::Apart(Verdict::failed(why.as_str()));
    let Some(request) = remnant(event, to) else { return apart };
    run(dispatcher, &request, to, MAX_SERVICE_TIMEOUT, Some(why)).await.unwrap_or_else(|error| {
        tracing::warn!(request_id = to.request_id, "the ledger does not note the request: {error}");
        apart
    })
}

/// Finds the request's entry in the ledger, or plans and opens one.
async fn begin(dispatcher: &Dispatcher, request: &Request, to: &Addressee) -> Result<Plan, DispatchError> {
    const ROUNDS: usize = 20;
    for _ in 0..ROUNDS {
        let ledger = dispatcher.table.ledger(&request.ledger, &request.request_id);
        let mut ledger = timeout(NOTING, ledger).await.map_err(|_| DispatchError::Silent)??;
        let stack = match (&ledger.own, request.change) {
            // What was planned stays as it is, and a Create is never sent by a rollback.
            (Some(_), _) | (None, Change::Create) => StackPhase::Forward,
            (None, Change::Update) => StackPhase::of(&dispatcher.stacks.status(&to.stack_id).await?),
        };
        let mut contents = BTreeMap::new();
        match (stack, &mut ledger.newest) {
            (StackPhase::Forward, _) if ledger.own.is_none() => {
                contents = self::contents(dispatcher, request).await?;
            }
            (StackPhase::RollingBack, Some(newest)) if newest.course != Course::Rollback => {
                settle(&dispatcher.table, newest).await?;
            }
            _ => {}
        }
        let planned = plan(request, &ledger, stack, &contents, Timestamp::now(), dispatcher.random)?;
        if let Plan::Open(entry) = &planned {
            match dispatcher.table.open(entry, ledger.latest.as_ref()).await? {
                Opened::Yes => {
                    let (course, version) = (entry.course.trigger(), &entry.deployment.version);
                    tracing::info!(request_id = request.request_id, "{course} of version {version} begins");
                }
                Opened::Overtaken => continue,
            }
        }
        return Ok(planned);
    }
    Err(DispatchError::Contended(request.ledger.clone()))
}

/// The content of each task that runs once per content.
async fn contents(
    dispatcher: &Dispatcher,
    request: &Request,
) -> Result<BTreeMap<TaskName, String>, InvokeError> {
    let mut contents = BTreeMap::new();
    for task in request.tasks.iter().filter(|task| task.once_per == OncePer::Content) {
        contents.insert(task.name.clone(), dispatcher.functions.content(&task.function).await?);
    }
    Ok(contents)
}

/// Decides the answer in the ledger and delivers the one that stands there.
async fn close(
    dispatcher: &Dispatcher,
    envelope: &Envelope,
    entry: &Entry,
    told: &Verdict,
) -> Result<(), DispatchError> {
    let (answer, own) = decide(dispatcher, &envelope.to, entry, told).await?;
    deliver(&dispatcher.table, &dispatcher.http, &envelope.response_url, entry, &answer, own).await?;
    let request_id = envelope.to.request_id.as_str();
    match (answer.success, own) {
        (true, _) => tracing::info!(request_id, "answered SUCCESS"),
        (false, true) => tracing::error!(request_id, "answered FAILED: {}", told.reason),
        (false, false) => tracing::info!(request_id, "answered FAILED, as was decided before"),
    }
    Ok(())
}

/// Decides the answer in the ledger, once. The one that stands there, and whether it is this one.
async fn decide(
    dispatcher: &Dispatcher,
    to: &Addressee,
    entry: &Entry,
    told: &Verdict,
) -> Result<(Answered, bool), TableError> {
    let body = render(to, told);
    let answer = Answered { success: told.success, body, at: Timestamp::now(), delivered_to: Vec::new() };
    dispatcher.table.close(entry, &answer, entry.successful_after(told.success).as_ref()).await
}

/// Answers an event whose every delivery failed: with what was decided, if that was only not delivered, else FAILED.
/// `error` is what the last delivery failed with.
async fn last_word(dispatcher: &Dispatcher, event: &Value, error: &Value) -> Result<Done, DispatchError> {
    let envelope = envelope(event, dispatcher.local.as_deref())?;
    if event["RequestType"] == "Delete" {
        answer(dispatcher, &envelope, Decided::Apart(Verdict::succeeded())).await?;
        return Ok(Done::Answered);
    }
    let failed = Verdict::failed(format!(
        "the dispatcher ended before the deployment did, on every delivery of request {}, the last time with: {}",
        envelope.to.request_id,
        error.as_str().unwrap_or("nothing that it could say")
    ));
    let noted = async {
        let ledger = dispatcher.table.ledger(&envelope.to.ledger(), &envelope.to.request_id).await?;
        let entry = match (ledger.own, remnant(event, &envelope.to)) {
            (Some(own), _) => own,
            (None, Some(request)) => match begin(dispatcher, &request, &envelope.to).await? {
                Plan::Open(entry)
                | Plan::Resume(entry)
                | Plan::Replay { entry, .. }
                | Plan::Superseded { entry, .. } => entry,
            },
            (None, None) => return Ok(None),
        };
        // As any rollback: a FAILED would leave the stack where only a person gets it out.
        let told = Verdict { success: entry.course == Course::Rollback, ..failed.clone() };
        let (answer, _) = decide(dispatcher, &envelope.to, &entry, &told).await?;
        Ok::<_, DispatchError>(Some(Decided::Before(Box::new(entry), answer)))
    };
    // With the table out of reach CloudFormation must be answered all the same.
    let decided = match timeout(NOTING, noted).await {
        Ok(Ok(Some(decided))) => decided,
        Ok(Ok(None)) | Err(_) => Decided::Apart(failed),
        Ok(Err(error)) => {
            tracing::warn!(request_id = envelope.to.request_id, "the ledger does not note the end: {error}");
            Decided::Apart(failed)
        }
    };
    answer(dispatcher, &envelope, decided).await?;
    Ok(Done::Answered)
}

/// Notes in the ledger that the resource goes. Nothing that fails here may hold up a Delete.
async fn forget(dispatcher: &Dispatcher, to: &Addressee) {
    let noted = async {
        let stack = StackPhase::of(&dispatcher.stacks.status(&to.stack_id).await?);
        let ledger = dispatcher.table.ledger(&to.ledger(), &to.request_id).await?;
        let Some((latest, success)) = after_delete(&ledger, stack) else { return Ok(()) };
        if let Some(unanswered) = ledger.newest.as_ref().filter(|newest| newest.answer.is_none()) {
            // It still runs. It must not become a success once its resource is gone.
            let request_id = unanswered.key.request_id().to_owned();
            let to = Addressee { request_id, ..to.clone() };
            let verdict = Verdict::failed("the resource was deleted before the deployment ended");
            decide(dispatcher, &to, unanswered, &verdict).await?;
        }
        dispatcher.table.revert(&to.ledger(), latest, success).await?;
        Ok::<_, DispatchError>(())
    };
    match timeout(NOTING, noted).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(request_id = to.request_id, "the ledger does not note the deletion: {error}");
        }
        Err(_) => tracing::warn!(request_id = to.request_id, "the ledger does not note the deletion in time"),
    }
}

fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}

async fn at(time: Timestamp) {
    sleep(until(time)).await;
}
