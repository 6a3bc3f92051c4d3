//! The path of an event: parse, plan, run, answer.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::table::{Received, RequestKey};
use lamplighter_core::deployed::DeployedTasks;
use lamplighter_core::deployment::{
    Addressee, Answered, Course, Deadline, Entry, MAX_SERVICE_TIMEOUT, Plan, StackPhase, Verdict, abandoned,
    after_delete, at_last_call, render, verdict,
};
use tokio::time::{sleep, timeout};

use crate::{
    answer::{NotAccepted, StoredAnswer, deliver, digest, put},
    begin::{BeginOutcome, Findings, begin, unclassified},
    drive::{DeploymentServices, DriveOutcome, drive},
    event::{Action, Deploy, Envelope, Event, FIRST_DELIVERY, action, envelope},
    services::{DispatchError, Dispatcher},
};

/// The longest time before the process's deadline at which a deployment is handed over to another invocation.
const HAND_OVER: Duration = Duration::from_secs(30);
/// The timeout for recording a delivery in the table.
const RECEIVING: Duration = Duration::from_secs(5);
/// The timeout for recording an answer that is sent in any case.
const NOTING: Duration = Duration::from_secs(10);
/// The pause before this delivery retries by itself.
const PAUSE: Duration = Duration::from_secs(1);
/// The timeout of the fallback responder's classification of a request.
const CLASSIFYING: Duration = Duration::from_secs(25);

/// The time limit for keeping the definitions of the tasks.
const KEEPING: Duration = Duration::from_secs(5);

/// The result of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome {
    /// CloudFormation has the answer.
    Answered,
    /// Another invocation continues the deployment.
    HandedOver,
}

/// Handles one event. `text` is its payload, and `deadline` the time at which Lambda stops the process.
///
/// Every event that can be answered is answered once within its `ServiceTimeout`, even if a service fails or hangs. That
/// time is counted from the request's first delivery. A returned error makes Lambda deliver the event again, if there is
/// time for that. After the last delivery the fallback responder answers.
pub async fn dispatch(
    dispatcher: &Dispatcher,
    text: &str,
    deadline: Timestamp,
) -> Result<EventOutcome, DispatchError> {
    let event = Event::read(text);
    if let Some((original, error)) = event.undelivered() {
        return Box::pin(fall_back(dispatcher, &original, &error)).await;
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
    let time = TimeLimits { request: times, spare };
    // A short invocation reserves a quarter of its time.
    let hand_over = deadline.saturating_sub(HAND_OVER.min(until(deadline) / 4)).unwrap_or(deadline);
    loop {
        let recorded = received.take();
        let decided = async {
            if let Some(answer) = recorded.as_ref().and_then(|received| received.answer.clone()) {
                return Ok(Decision::Replay(None, answer));
            }
            match &action {
                Action::Deploy(deploy) => run(dispatcher, deploy, &envelope, time, recorded).await,
                Action::Delete => {
                    if let Some(received) = &recorded {
                        record_deletion(dispatcher, &envelope, received).await;
                    }
                    Ok(Decision::WithoutEntry(Verdict::succeeded()))
                }
                Action::Unknown(fault) => Ok(Decision::WithoutEntry(Verdict::failed(fault.to_string()))),
            }
        };
        let decided = tokio::select! {
            decided = decided => decided,
            () = at(hand_over) => {
                tracing::info!(request_id, "handing over to another invocation");
                let event = event.with(FIRST_DELIVERY, &first.to_string());
                dispatcher.functions.start(&dispatcher.own_function, &event).await?;
                return Ok(EventOutcome::HandedOver);
            }
        };
        let live = decided.as_ref().ok().and_then(Decision::live_version);
        let answered = match decided {
            Ok(decided) => answer(dispatcher, &envelope, decided, time).await,
            Err(error) => Err(error),
        };
        let Err(error) = answered else {
            if let (Some(version), Action::Deploy(deploy)) = (live, &action) {
                keep_deployed(dispatcher, version, &deploy.environment, KEEPING.min(spare)).await;
            }
            return Ok(EventOutcome::Answered);
        };
        let now = Timestamp::now();
        let Action::Deploy(deploy) = &action else {
            return match error {
                DispatchError::AlreadyBegun => {
                    // CloudFormation never gives a deletion the id of a deployment.
                    let verdict =
                        Verdict { success: matches!(action, Action::Delete), ..Verdict::failed("") };
                    send_unrecorded(dispatcher, &envelope, &verdict).await?;
                    Ok(EventOutcome::Answered)
                }
                error => Err(error),
            };
        };
        if matches!(error, DispatchError::AlreadyBegun) && now < times.last_call {
            sleep(PAUSE).await;
            continue;
        }
        if matches!(error, DispatchError::NotAccepted(_)) || !times.has_no_further_delivery(now) {
            return Err(error);
        }
        tracing::warn!(request_id, "retrying: {error}");
        if now.saturating_add(PAUSE).unwrap_or(Timestamp::MAX) < times.last_call {
            sleep(PAUSE).await;
            continue;
        }
        let (findings, why) = (Findings::default(), error.to_string());
        let verdict = unclassified(dispatcher, &deploy.request, &envelope.to.stack_id, &findings, &why).await;
        answer(dispatcher, &envelope, Decision::WithoutEntry(verdict), time).await?;
        return Ok(EventOutcome::Answered);
    }
}

/// Stores the definitions of the live tasks. A failure is only logged, since the answer is already sent and only
/// commands that run without the project's sources read the definitions.
async fn keep_deployed(dispatcher: &Dispatcher, version: String, environment: &str, patience: Duration) {
    let Some(tasks) = dispatcher.definitions.clone() else { return };
    let environment = environment.to_owned();
    let deployed = DeployedTasks { version, environment, deployed_at: Timestamp::now(), tasks };
    let cause = match timeout(patience, dispatcher.table.keep_deployed(&deployed)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the table did not respond within {:.1} s", patience.as_secs_f64()),
    };
    tracing::warn!("cannot keep the definitions of the tasks: {cause}");
}

/// Records a delivery, and returns the stored state of its request. Returns `None` if the table fails; the request is
/// handled in any case.
async fn receive(dispatcher: &Dispatcher, request: RequestKey<'_>, patience: Duration) -> Option<Received> {
    let receiving = dispatcher.table.receive(request, Timestamp::now());
    let cause = match timeout(patience, receiving).await {
        Ok(Ok(received)) => return Some(received),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the table did not respond within {:.1} s", patience.as_secs_f64()),
    };
    tracing::warn!(request_id = request.id, "cannot record the delivery in the ledger: {cause}");
    None
}

/// The time limits of a request and of this delivery.
#[derive(Clone, Copy)]
struct TimeLimits {
    /// The limits of the request.
    request: Deadline,
    /// The time for one operation after the request's time is up: a quarter of this delivery's own.
    spare: Duration,
}

/// The answer to a request, and how it is recorded.
enum Decision {
    /// A new verdict that closes the entry, unless another delivery has closed it.
    Close(Box<Entry>, Verdict),
    /// The answer that an earlier delivery decided, for a request with or without an entry.
    Replay(Option<Box<Entry>>, Answered),
    /// A verdict on a request without an entry.
    WithoutEntry(Verdict),
}

impl Decision {
    /// Returns the version that is live after this answer, if it is a new success.
    fn live_version(&self) -> Option<String> {
        match self {
            Self::Close(entry, verdict) if verdict.success => Some(entry.deployment.version.clone()),
            _ => None,
        }
    }
}

/// Runs the tasks of a request that have not run yet according to its ledger.
async fn run(
    dispatcher: &Dispatcher,
    deploy: &Deploy,
    envelope: &Envelope,
    time: TimeLimits,
    received: Option<Received>,
) -> Result<Decision, DispatchError> {
    let times = time.request;
    let (request, to) = (&deploy.request, &envelope.to);
    let refusal = deploy.fault.as_ref().map(ToString::to_string);
    let now = Timestamp::now();
    // A request that is too late is classified as well, so that it gets the right answer.
    let soon = now.saturating_add(NOTING.min(time.spare)).unwrap_or(Timestamp::MAX);
    let at_last = if now < times.last_call { times.last_call } else { soon };
    let findings = Findings::default();
    let mut beginning =
        Box::pin(begin(dispatcher, request, to, times.last_call, refusal.as_deref(), received, &findings));
    let begun = tokio::select! {
        begun = &mut beginning => Some(begun),
        // A rollback uses the remaining time to record the version that it returns to.
        () = at(at_last) => if findings.is_rollback() {
            timeout(until(times.answer_by), beginning).await.ok()
        } else {
            None
        },
    };
    let Some(begun) = begun.transpose()? else {
        let why = findings.obstacle(deploy.service_timeout);
        return Ok(Decision::WithoutEntry(
            unclassified(dispatcher, request, &to.stack_id, &findings, &why).await,
        ));
    };
    let planned = match begun {
        BeginOutcome::Plan(planned) => *planned,
        BeginOutcome::Answered(answer) => return Ok(Decision::Replay(None, answer)),
    };
    let (mut entry, is_new) = match planned {
        Plan::Open(entry) => (Box::new(entry), true),
        Plan::Resume(entry) => (Box::new(entry), false),
        Plan::Decline(verdict) => return Ok(Decision::WithoutEntry(verdict)),
        Plan::Replay { entry, answer } => return Ok(Decision::Replay(Some(Box::new(entry)), answer)),
        Plan::Superseded { entry, by } => {
            let reason = format!(
                "superseded by request {by}, which started later; this request runs no further tasks"
            );
            let success = entry.course == Course::Rollback;
            return Ok(Decision::Close(Box::new(entry), Verdict { success, ..Verdict::failed(reason) }));
        }
    };
    let Dispatcher { table, functions, stacks, .. } = dispatcher;
    let table = table.clone().with_environment(&deploy.environment);
    let (stack_id, sent_at) = (to.stack_id.as_str(), request.sent_at);
    let services = DeploymentServices { table: &table, functions, stacks, stack_id, sent_at };
    let verdict = tokio::select! {
        biased;
        () = at(times.last_call) => at_last_call(&entry, deploy.service_timeout),
        driven = drive(&services, &mut entry, is_new) => match driven? {
            DriveOutcome::Finished => verdict(&entry),
            DriveOutcome::Abandoned(reason) => abandoned(&entry, &reason.to_string()),
        },
    };
    Ok(Decision::Close(entry, verdict))
}

/// Records the answer in the ledger and sends the recorded one, which may be an earlier one. If it cannot be recorded in
/// time, the answer is sent in any case. A deployment is FAILED then, since the next one could not know of its success.
async fn answer(
    dispatcher: &Dispatcher,
    envelope: &Envelope,
    decided: Decision,
    time: TimeLimits,
) -> Result<(), DispatchError> {
    let (table, to) = (&dispatcher.table, &envelope.to);
    let ledger = to.ledger();
    let request = RequestKey { ledger: &ledger, id: &to.request_id };
    let times = time.request;
    // A delivery that is too late gets a minimum of time.
    let left = Some(until(times.answer_by)).filter(|left| !left.is_zero()).unwrap_or(RECEIVING);
    let left = left.min(time.spare);
    let (entry, answer, own, reason) = match decided {
        Decision::Replay(entry, answer) => (entry.map(|entry| entry.key), answer, false, String::new()),
        Decision::Close(entry, verdict) => {
            let closing = async {
                loop {
                    match table.close(&entry, &answered(envelope, &verdict)).await {
                        Err(error) if times.has_no_further_delivery(Timestamp::now()) => {
                            tracing::warn!(request_id = to.request_id, "retrying: {error}");
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
                    return Ok(send_unrecorded(dispatcher, envelope, &verdict).await?);
                }
                Err(_) => {
                    let why = "the table could not record how the deployment ended";
                    return Ok(send_unrecorded(dispatcher, envelope, &Verdict::failed(why)).await?);
                }
            }
        }
        Decision::WithoutEntry(verdict) => {
            match timeout(left.min(NOTING), table.answer(request, &answered(envelope, &verdict))).await {
                Ok(Ok(Some((answer, own)))) => (None, answer, own, verdict.reason),
                Ok(Ok(None)) => return Err(DispatchError::AlreadyBegun),
                failed => {
                    let cause = match failed {
                        Ok(Err(error)) => error.to_string(),
                        _ => "the table did not respond in time".to_owned(),
                    };
                    tracing::warn!(
                        request_id = to.request_id,
                        "cannot record the answer in the ledger: {cause}"
                    );
                    return Ok(send_unrecorded(dispatcher, envelope, &verdict).await?);
                }
            }
        }
    };
    let stored = StoredAnswer { table, request, entry: entry.as_ref() };
    deliver(stored, &dispatcher.http, &envelope.response_url, &answer, own).await?;
    let request_id = to.request_id.as_str();
    match (answer.success, own) {
        (true, _) => tracing::info!(request_id, "answered SUCCESS"),
        (false, true) => tracing::error!(request_id, "answered FAILED: {reason}"),
        (false, false) => tracing::info!(request_id, "answered FAILED, as decided by an earlier delivery"),
    }
    Ok(())
}

/// Sends an answer that is not recorded.
async fn send_unrecorded(
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

/// Answers an event whose deliveries have all failed. Sends the recorded answer if there is one, otherwise one that
/// depends on the kind of request. `error` is the last delivery's error.
async fn fall_back(
    dispatcher: &Dispatcher,
    event: &Event,
    error: &str,
) -> Result<EventOutcome, DispatchError> {
    let envelope = envelope(event, dispatcher.local.as_deref())?;
    let (to, ledger) = (&envelope.to, envelope.to.ledger());
    let request = RequestKey { ledger: &ledger, id: &to.request_id };
    let received = receive(dispatcher, request, RECEIVING).await;
    let decided =
        match (received.as_ref().and_then(|received| received.answer.clone()), action(event, &envelope)) {
            (Some(answer), _) => Decision::Replay(None, answer),
            (None, Action::Delete) => Decision::WithoutEntry(Verdict::succeeded()),
            (None, Action::Unknown(fault)) => Decision::WithoutEntry(Verdict::failed(fault.to_string())),
            (None, Action::Deploy(deploy)) => {
                Box::pin(decide_fallback(dispatcher, &deploy, &envelope, error)).await
            }
        };
    // The fallback responder has a minute, and no delivery follows.
    let now = Timestamp::now();
    let answer_by = now.saturating_add(NOTING).unwrap_or(Timestamp::MAX);
    let request = Deadline { first: now, last_call: now, answer_by };
    answer(dispatcher, &envelope, decided, TimeLimits { request, spare: NOTING }).await?;
    Ok(EventOutcome::Answered)
}

/// Decides the answer to a deployment that no dispatcher could finish. Starts no task.
async fn decide_fallback(
    dispatcher: &Dispatcher,
    deploy: &Deploy,
    envelope: &Envelope,
    error: &str,
) -> Decision {
    let (request, to) = (&deploy.request, &envelope.to);
    let why =
        format!("the dispatcher failed on every delivery of request {}; last error: {error}", to.request_id);
    let findings = Findings::default();
    // The refusal keeps a deployment without an entry from opening one.
    let classifying = Box::pin(begin(dispatcher, request, to, Timestamp::MAX, Some(&why), None, &findings));
    let planned = match timeout(CLASSIFYING, classifying).await {
        Ok(Ok(BeginOutcome::Answered(answer))) => return Decision::Replay(None, answer),
        Ok(Ok(BeginOutcome::Plan(planned))) => *planned,
        Ok(Err(error)) => {
            tracing::warn!(request_id = to.request_id, "cannot record the end in the ledger: {error}");
            return Decision::WithoutEntry(
                unclassified(dispatcher, request, &to.stack_id, &findings, &why).await,
            );
        }
        Err(_) => {
            return Decision::WithoutEntry(
                unclassified(dispatcher, request, &to.stack_id, &findings, &why).await,
            );
        }
    };
    match planned {
        Plan::Replay { entry, answer } => Decision::Replay(Some(Box::new(entry)), answer),
        Plan::Decline(verdict) => Decision::WithoutEntry(verdict),
        Plan::Open(entry) | Plan::Resume(entry) | Plan::Superseded { entry, .. } => {
            let verdict = if entry.tasks.iter().all(|task| task.status.is_terminal()) {
                verdict(&entry)
            } else {
                // A rollback is always a SUCCESS: a FAILED would leave the stack stuck until a person intervenes.
                Verdict { success: entry.course == Course::Rollback, ..Verdict::failed(why) }
            };
            Decision::Close(Box::new(entry), verdict)
        }
    }
}

/// Records in the ledger that its resource is deleted. This ends a deployment that has no answer yet, and revokes the
/// success of a creation that is rolled back. Errors are logged and do not prevent the deletion.
async fn record_deletion(dispatcher: &Dispatcher, envelope: &Envelope, received: &Received) {
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
                // A delivery of that request sends it, if there is one.
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
            tracing::warn!(request_id = to.request_id, "cannot record the deletion in the ledger: {error}");
        }
        Err(_) => {
            tracing::warn!(request_id = to.request_id, "cannot record the deletion in the ledger in time");
        }
    }
}

fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}

async fn at(time: Timestamp) {
    sleep(until(time)).await;
}
