//! From an event to its answer: parse, plan, run, answer.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::table::{Received, RequestKey};
use lamplighter_core::deployment::{
    Addressee, Answered, Course, Deadline, Entry, MAX_SERVICE_TIMEOUT, Plan, StackPhase, Verdict, abandoned,
    after_delete, at_last_call, render, verdict,
};
use tokio::time::{sleep, timeout};

use crate::{
    answer::{NotAccepted, Place, deliver, digest, put},
    classify::{Begun, Findings, begin, unclassified},
    drive::{Crew, Driven, drive},
    event::{Action, Deploy, Envelope, Event, FIRST_DELIVERY, action, envelope},
    services::{DispatchError, Dispatcher},
};

/// The longest time before the process's own end at which a deployment is handed over to another.
const HAND_OVER: Duration = Duration::from_secs(30);
/// How long the table may take to note a delivery.
const RECEIVING: Duration = Duration::from_secs(5);
/// How long the table may take to note what is answered in any case.
const NOTING: Duration = Duration::from_secs(10);
/// The pause after a failure that this delivery must get over by itself.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the fallback may take to find out what a request is.
const CLASSIFYING: Duration = Duration::from_secs(25);

/// How an event was done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// CloudFormation has its answer.
    Answered,
    /// Another invocation goes on with it.
    HandedOver,
}

/// Deals with one event, of which `text` is the payload. `deadline` is when the process will be stopped.
///
/// Every event that can be answered is answered once, before CloudFormation's patience ends: counted from the request's
/// first delivery, whatever neighbour fails or hangs. An error that is returned makes Lambda deliver the event again, if
/// there is time for that; when Lambda has had enough, the fallback answers.
pub async fn dispatch(
    dispatcher: &Dispatcher,
    text: &str,
    deadline: Timestamp,
) -> Result<Done, DispatchError> {
    let event = Event::read(text);
    if let Some((lost, error)) = event.lost() {
        return Box::pin(fall_back(dispatcher, &lost, &error)).await;
    }
    let envelope = envelope(&event, dispatcher.local.as_deref())?;
    let request_id = envelope.to.request_id.as_str();
    let ledger = envelope.to.ledger();
    let request = RequestKey { ledger: &ledger, id: request_id };
    let arrived = Timestamp::now();
    let spare = until(deadline) / 4;
    let mut received = receive(dispatcher, request, RECEIVING.min(spare)).await;
    let action = action(&event, &envelope);
    let first =
        [envelope.sent_at, envelope.first_delivery, received.as_ref().map(|received| received.first_at)];
    let first = first.into_iter().flatten().fold(arrived, Timestamp::min);
    let patience = match &action {
        Action::Deploy(deploy) => deploy.service_timeout,
        Action::Delete | Action::Unknown(_) => MAX_SERVICE_TIMEOUT,
    };
    let times = Deadline::new(first, patience);
    let time = Time { request: times, spare };
    // Of a short invocation, a quarter is kept back.
    let hand_over = deadline.saturating_sub(HAND_OVER.min(until(deadline) / 4)).unwrap_or(deadline);
    loop {
        let known = received.take();
        let decided = async {
            if let Some(answer) = known.as_ref().and_then(|received| received.answer.clone()) {
                return Ok(Decided::Before(None, answer));
            }
            match &action {
                Action::Deploy(deploy) => run(dispatcher, deploy, &envelope, time, known).await,
                Action::Delete => {
                    if let Some(received) = &known {
                        forget(dispatcher, &envelope, received).await;
                    }
                    Ok(Decided::Apart(Verdict::succeeded()))
                }
                Action::Unknown(fault) => Ok(Decided::Apart(Verdict::failed(fault.to_string()))),
            }
        };
        let decided = tokio::select! {
            decided = decided => decided,
            () = at(hand_over) => {
                tracing::info!(request_id, "handing over to another invocation");
                let event = event.with(FIRST_DELIVERY, &first.to_string());
                dispatcher.functions.start(&dispatcher.own_function, &event).await?;
                return Ok(Done::HandedOver);
            }
        };
        let answered = match decided {
            Ok(decided) => answer(dispatcher, &envelope, decided, time).await,
            Err(error) => Err(error),
        };
        let Err(error) = answered else { return Ok(Done::Answered) };
        let now = Timestamp::now();
        let Action::Deploy(deploy) = &action else {
            return match error {
                DispatchError::Begun => {
                    // Nobody gives a deletion the id of a deployment.
                    let verdict =
                        Verdict { success: matches!(action, Action::Delete), ..Verdict::failed("") };
                    put_apart(dispatcher, &envelope, &verdict).await?;
                    Ok(Done::Answered)
                }
                error => Err(error),
            };
        };
        if matches!(error, DispatchError::Begun) && now < times.last_call {
            sleep(PAUSE).await;
            continue;
        }
        if matches!(error, DispatchError::NotAccepted(_)) || !times.has_no_further_delivery(now) {
            return Err(error);
        }
        tracing::warn!(request_id, "trying again: {error}");
        if now.saturating_add(PAUSE).unwrap_or(Timestamp::MAX) < times.last_call {
            sleep(PAUSE).await;
            continue;
        }
        let (known, why) = (Findings::default(), error.to_string());
        let verdict = unclassified(dispatcher, &deploy.request, &envelope.to.stack_id, &known, &why).await;
        answer(dispatcher, &envelope, Decided::Apart(verdict), time).await?;
        return Ok(Done::Answered);
    }
}

/// Notes a delivery, and finds out what is known of the request. Nothing if the table does not say: then the request is
/// dealt with all the same.
async fn receive(dispatcher: &Dispatcher, request: RequestKey<'_>, patience: Duration) -> Option<Received> {
    let receiving = dispatcher.table.receive(request, Timestamp::now());
    let cause = match timeout(patience, receiving).await {
        Ok(Ok(received)) => return Some(received),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the table did not answer within {:.1} s", patience.as_secs_f64()),
    };
    tracing::warn!(request_id = request.id, "the ledger does not note the delivery: {cause}");
    None
}

/// The time that a request has, and this delivery of it.
#[derive(Clone, Copy)]
struct Time {
    /// Of the request.
    request: Deadline,
    /// What this delivery can spare for one thing, when there is no time left: a quarter of its own.
    spare: Duration,
}

/// What a request is answered.
enum Decided {
    /// This, if nothing else was decided in the meantime.
    Now(Box<Entry>, Verdict),
    /// What was decided before, of a request with or without an entry.
    Before(Option<Box<Entry>>, Answered),
    /// This, without an entry.
    Apart(Verdict),
}

/// Runs a request's tasks, as far as its ledger does not say that they have run.
async fn run(
    dispatcher: &Dispatcher,
    deploy: &Deploy,
    envelope: &Envelope,
    time: Time,
    received: Option<Received>,
) -> Result<Decided, DispatchError> {
    let times = time.request;
    let (request, to) = (&deploy.request, &envelope.to);
    let refusal = deploy.fault.as_ref().map(ToString::to_string);
    let now = Timestamp::now();
    // A request that comes too late is looked up all the same, so that it gets the right answer.
    let soon = now.saturating_add(NOTING.min(time.spare)).unwrap_or(Timestamp::MAX);
    let at_last = if now < times.last_call { times.last_call } else { soon };
    let findings = Findings::default();
    let mut beginning =
        Box::pin(begin(dispatcher, request, to, times.last_call, refusal.as_deref(), received, &findings));
    let begun = tokio::select! {
        begun = &mut beginning => Some(begun),
        // What a rollback returns to is noted as long as there is any time.
        () = at(at_last) => if findings.is_rollback() {
            timeout(until(times.answer_by), beginning).await.ok()
        } else {
            None
        },
    };
    let Some(begun) = begun.transpose()? else {
        let why = findings.obstacle(deploy.service_timeout);
        return Ok(Decided::Apart(unclassified(dispatcher, request, &to.stack_id, &findings, &why).await));
    };
    let planned = match begun {
        Begun::Plan(planned) => *planned,
        Begun::Answered(answer) => return Ok(Decided::Before(None, answer)),
    };
    let (mut entry, is_new) = match planned {
        Plan::Open(entry) => (Box::new(entry), true),
        Plan::Resume(entry) => (Box::new(entry), false),
        Plan::Decline(verdict) => return Ok(Decided::Apart(verdict)),
        Plan::Replay { entry, answer } => return Ok(Decided::Before(Some(Box::new(entry)), answer)),
        Plan::Superseded { entry, by } => {
            let reason = format!("request {by} has been begun since, so nothing of this one is run any more");
            let success = entry.course == Course::Rollback;
            return Ok(Decided::Now(Box::new(entry), Verdict { success, ..Verdict::failed(reason) }));
        }
    };
    let Dispatcher { table, functions, stacks, .. } = dispatcher;
    let table = table.clone().with_environment(&deploy.environment);
    let (stack_id, sent_at) = (to.stack_id.as_str(), request.sent_at);
    let crew = Crew { table: &table, functions, stacks, stack_id, sent_at };
    let verdict = tokio::select! {
        biased;
        () = at(times.last_call) => at_last_call(&entry, deploy.service_timeout),
        driven = drive(&crew, &mut entry, is_new) => match driven? {
            Driven::Done => verdict(&entry),
            Driven::Abandoned(reason) => abandoned(&entry, &reason.to_string()),
        },
    };
    Ok(Decided::Now(entry, verdict))
}

/// Decides the answer in the ledger and delivers the one that stands there. If the ledger does not note it in time, it is
/// delivered all the same: a deployment as FAILED, since the next one could not know of its success.
async fn answer(
    dispatcher: &Dispatcher,
    envelope: &Envelope,
    decided: Decided,
    time: Time,
) -> Result<(), DispatchError> {
    let (table, to) = (&dispatcher.table, &envelope.to);
    let ledger = to.ledger();
    let request = RequestKey { ledger: &ledger, id: &to.request_id };
    let times = time.request;
    // A delivery that comes too late has some time all the same.
    let left = Some(until(times.answer_by)).filter(|left| !left.is_zero()).unwrap_or(RECEIVING);
    let left = left.min(time.spare);
    let (entry, answer, own, reason) = match decided {
        Decided::Before(entry, answer) => (entry.map(|entry| entry.key), answer, false, String::new()),
        Decided::Now(entry, verdict) => {
            let closing = async {
                loop {
                    match table.close(&entry, &answered(envelope, &verdict)).await {
                        Err(error) if times.has_no_further_delivery(Timestamp::now()) => {
                            tracing::warn!(request_id = to.request_id, "trying again: {error}");
                            sleep(PAUSE).await;
                        }
                        closed => return closed,
                    }
                }
            };
            match timeout(left, closing).await {
                Ok(closed) => {
                    let (answer, own) = closed?;
                    (Some(entry.key), answer, own, verdict.reason)
                }
                Err(_) if entry.course == Course::Rollback || !verdict.success => {
                    return Ok(put_apart(dispatcher, envelope, &verdict).await?);
                }
                Err(_) => {
                    let why = "the table did not note how the deployment ended";
                    return Ok(put_apart(dispatcher, envelope, &Verdict::failed(why)).await?);
                }
            }
        }
        Decided::Apart(verdict) => {
            match timeout(left.min(NOTING), table.answer(request, &answered(envelope, &verdict))).await {
                Ok(Ok(Some((answer, own)))) => (None, answer, own, verdict.reason),
                Ok(Ok(None)) => return Err(DispatchError::Begun),
                failed => {
                    let cause = match failed {
                        Ok(Err(error)) => error.to_string(),
                        _ => "the table did not answer in time".to_owned(),
                    };
                    tracing::warn!(
                        request_id = to.request_id,
                        "the ledger does not note the answer: {cause}"
                    );
                    return Ok(put_apart(dispatcher, envelope, &verdict).await?);
                }
            }
        }
    };
    let place = Place { table, request, entry: entry.as_ref() };
    deliver(place, &dispatcher.http, &envelope.response_url, &answer, own).await?;
    let request_id = to.request_id.as_str();
    match (answer.success, own) {
        (true, _) => tracing::info!(request_id, "answered SUCCESS"),
        (false, true) => tracing::error!(request_id, "answered FAILED: {reason}"),
        (false, false) => tracing::info!(request_id, "answered FAILED, as was decided before"),
    }
    Ok(())
}

/// Delivers an answer that no ledger notes.
async fn put_apart(
    dispatcher: &Dispatcher,
    envelope: &Envelope,
    verdict: &Verdict,
) -> Result<(), NotAccepted> {
    put(&dispatcher.http, &envelope.response_url, &render(&envelope.to, verdict), None).await
}

fn answered(envelope: &Envelope, verdict: &Verdict) -> Answered {
    let body = render(&envelope.to, verdict);
    let sending_to = vec![digest(&envelope.response_url)];
    let (success, at) = (verdict.success, Timestamp::now());
    Answered { success, body, at, delivered_to: Vec::new(), sending_to, sent_at: None }
}

/// Answers an event whose every delivery failed: with what was decided, if that was only not delivered, else by what it
/// is. `error` is what the last delivery failed with.
async fn fall_back(dispatcher: &Dispatcher, event: &Event, error: &str) -> Result<Done, DispatchError> {
    let envelope = envelope(event, dispatcher.local.as_deref())?;
    let (to, ledger) = (&envelope.to, envelope.to.ledger());
    let request = RequestKey { ledger: &ledger, id: &to.request_id };
    let received = receive(dispatcher, request, RECEIVING).await;
    let decided =
        match (received.as_ref().and_then(|received| received.answer.clone()), action(event, &envelope)) {
            (Some(answer), _) => Decided::Before(None, answer),
            (None, Action::Delete) => Decided::Apart(Verdict::succeeded()),
            (None, Action::Unknown(fault)) => Decided::Apart(Verdict::failed(fault.to_string())),
            (None, Action::Deploy(deploy)) => {
                Box::pin(last_resort(dispatcher, &deploy, &envelope, error)).await
            }
        };
    // It has a minute, and no delivery follows.
    let now = Timestamp::now();
    let answer_by = now.saturating_add(NOTING).unwrap_or(Timestamp::MAX);
    let request = Deadline { first: now, last_call: now, answer_by };
    answer(dispatcher, &envelope, decided, Time { request, spare: NOTING }).await?;
    Ok(Done::Answered)
}

/// The answer to a deployment that no dispatcher could finish. It begins nothing.
async fn last_resort(dispatcher: &Dispatcher, deploy: &Deploy, envelope: &Envelope, error: &str) -> Decided {
    let (request, to) = (&deploy.request, &envelope.to);
    let why = format!(
        "the dispatcher ended before the deployment did, on every delivery of request {}, the last time with: {error}",
        to.request_id
    );
    let findings = Findings::default();
    // A deployment that has no entry begins none any more.
    let classifying = Box::pin(begin(dispatcher, request, to, Timestamp::MAX, Some(&why), None, &findings));
    let planned = match timeout(CLASSIFYING, classifying).await {
        Ok(Ok(Begun::Answered(answer))) => return Decided::Before(None, answer),
        Ok(Ok(Begun::Plan(planned))) => *planned,
        Ok(Err(error)) => {
            tracing::warn!(request_id = to.request_id, "the ledger does not note the end: {error}");
            return Decided::Apart(unclassified(dispatcher, request, &to.stack_id, &findings, &why).await);
        }
        Err(_) => {
            return Decided::Apart(unclassified(dispatcher, request, &to.stack_id, &findings, &why).await);
        }
    };
    match planned {
        Plan::Replay { entry, answer } => Decided::Before(Some(Box::new(entry)), answer),
        Plan::Decline(verdict) => Decided::Apart(verdict),
        Plan::Open(entry) | Plan::Resume(entry) | Plan::Superseded { entry, .. } => {
            let verdict = if entry.tasks.iter().all(|task| task.status.is_terminal()) {
                verdict(&entry)
            } else {
                // As any rollback: a FAILED would leave the stack where only a person gets it out.
                Verdict { success: entry.course == Course::Rollback, ..Verdict::failed(why) }
            };
            Decided::Now(Box::new(entry), verdict)
        }
    }
}

/// Notes in the ledger that its resource is gone: a deployment without an answer will have none, and a creation that is
/// undone was no success. Nothing here keeps the resource from being deleted.
async fn forget(dispatcher: &Dispatcher, envelope: &Envelope, received: &Received) {
    let Dispatcher { table, stacks, .. } = dispatcher;
    let to = &envelope.to;
    let noted = async {
        let ledger_name = to.ledger();
        table.move_ledger(&to.ledger_by_name(), &ledger_name).await?;
        let phase = match stacks.status(&to.stack_id).await {
            Ok(status) => Some(StackPhase::of(&status)),
            Err(error) => {
                tracing::warn!(request_id = to.request_id, "{error}");
                None
            }
        };
        loop {
            let ledger = table.ledger(&ledger_name, received.entry.as_ref()).await?;
            let now = Timestamp::now();
            let Some(after) = after_delete(&ledger, phase, &to.request_id, envelope.sent_at, now) else {
                return Ok(());
            };
            if let Some(unanswered) = ledger.newest.as_ref().filter(|newest| newest.answer.is_none()) {
                let of_entry = Addressee { request_id: unanswered.key.request_id().to_owned(), ..to.clone() };
                let success = unanswered.course == Course::Rollback;
                let why = "the resource was deleted before the deployment ended";
                let verdict = Verdict { success, ..Verdict::failed(why) };
                let of_entry = Envelope { to: of_entry, ..envelope.clone() };
                // Its own delivery sends it, if there is one.
                let answer = Answered { sending_to: Vec::new(), ..answered(&of_entry, &verdict) };
                table.close(unanswered, &answer).await?;
            }
            if table.stand(&ledger_name, ledger.latest.as_ref(), &after).await? {
                return Ok::<_, DispatchError>(());
            }
        }
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
