//! Reasons why a run did not begin, did not complete, or had no body.
//!
//! A record keeps a reason twice: as an English sentence in `error.message` or `skipped_reason`, and as a tag
//! with fields in `why`. Programs read the fields. Older records have only the sentence, which is shown
//! unchanged: see [`Reason::Other`].

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeStruct};
use serde_json::Value;

use crate::{id::RunId, name::TaskName, status::Status};

/// The maximum length of a platform's error text in a reason, in bytes.
const MAX_FAILURE: usize = 4096;

/// Reason why a run did not begin, did not complete, or had no body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reason {
    /// The task was disabled.
    Disabled,
    /// Another run held the task.
    Held {
        /// The run that held it.
        run_id: RunId,
        /// The end of its lease.
        until: Timestamp,
    },
    /// Another run held the task and did not end in time after its cancellation.
    NotReplaced {
        /// The run that held it.
        run_id: RunId,
        /// The end of its lease.
        until: Timestamp,
    },
    /// Another delivery of the same request had begun the run.
    AlreadyRunning {
        /// The run.
        run_id: RunId,
    },
    /// The tick, or a later one, had had its run.
    TickRan {
        /// The tick.
        scheduled_for: Timestamp,
    },
    /// The deployment, or a later one, had had its run.
    DeploymentRan {
        /// The key of its ledger entry.
        entry: String,
    },
    /// The run was over.
    AlreadyOver {
        /// The run.
        run_id: RunId,
    },
    /// The task's own schedule function declined.
    NotDue,
    /// A task that this one depends on had never run.
    NeverRan {
        /// The dependency.
        task: TaskName,
    },
    /// The last run of a task that this one depends on did not complete.
    DependencyFailed {
        /// The dependency.
        task: TaskName,
        /// Its last run.
        run_id: RunId,
        /// The status of that run.
        status: Status,
    },
    /// A task of the same deployment that this one depends on did not complete.
    DependencyIncomplete {
        /// The dependency.
        task: TaskName,
    },
    /// Another task of the same deployment failed first.
    EarlierFailed {
        /// The task that failed.
        task: TaskName,
    },
    /// A job that this one comes after did not complete.
    JobNotCompleted {
        /// The task of the earlier job.
        task: TaskName,
        /// The earlier job's run.
        run_id: RunId,
        /// Its status.
        status: Status,
    },
    /// A job that this one comes after has no record.
    JobMissing {
        /// The task of the earlier job.
        task: TaskName,
        /// The earlier job's run.
        run_id: RunId,
    },
    /// The lease ended, and the run had not written its end.
    Lost {
        /// The end of the lease.
        until: Timestamp,
    },
    /// The program that hosted the function ended before the run.
    HostEnded,
    /// The lease of a job's worker ended, and the attempt had not written its end.
    AttemptLost {
        /// The number of the attempt, from 1.
        attempt: u64,
        /// The end of the lease.
        until: Timestamp,
    },
    /// The function returned no report on an attempt at a job.
    AttemptUnanswered {
        /// The runner's text.
        failure: String,
    },
    /// The runner lost the lease of a side task.
    LeaseLost,
    /// A side task's process was killed, since it did not end in time.
    KilledLate,
    /// A side task's process ended without a result.
    ProcessEnded {
        /// The end of the process, e.g. `ended (exit status: 1)`.
        how: String,
    },
    /// The function's process failed.
    FunctionEnded {
        /// The platform's text.
        failure: String,
    },
    /// The function timed out before the run ended.
    FunctionTimedOut {
        /// The platform's text.
        failure: String,
    },
    /// The function could not be invoked.
    FunctionNotStarted {
        /// The platform's text.
        failure: String,
    },
    /// The function returned a value that is no task's report.
    NotATask {
        /// The error of reading the value.
        failure: String,
    },
    /// A later deployment has run the task.
    LaterDeploymentRan,
    /// The function reported the end of a run that has no record.
    Unrecorded,
    /// No worker had started the job in time.
    Expired {
        /// The latest start.
        start_by: Timestamp,
    },
    /// The run's time was up.
    TimedOut {
        /// The time since the moment, in milliseconds.
        after_ms: u64,
        /// The moment.
        #[serde(flatten)]
        since: Moment,
    },
    /// The run was cancelled while it was in progress.
    Cancelled {
        /// The time since the moment, in milliseconds.
        after_ms: u64,
        /// The moment.
        #[serde(flatten)]
        since: Moment,
    },
    /// The job was aborted before its start.
    CancelledBeforeStart,
    /// The job was aborted, and its worker was lost.
    CancelledAndLost,
    /// The side task's run was cancelled, or the task was disabled.
    CancelledOrDisabled,
    /// The runner was stopped without waiting for the run.
    RunnerStopped,
    /// The stack no longer waited for the deployment.
    StackMovedOn {
        /// The stack's phase, e.g. `it is rolling back`.
        phase: String,
    },
    /// A later request of the same resource had begun.
    LaterRequest,
    /// Another update of the stack had begun.
    LaterUpdate,
    /// The stack rolled back before the run began.
    RolledBack,
    /// No run began for these ticks.
    Missed {
        /// The first tick.
        first: Timestamp,
        /// The last tick.
        last: Timestamp,
        /// The number of ticks.
        ticks: usize,
    },
    /// A sentence without fields: an author's, a platform's, or one from a record that is older than the fields.
    Other {
        /// The sentence.
        text: String,
    },
}

/// Moment of a run from which a time is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "since", rename_all = "snake_case")]
pub enum Moment {
    /// The run began, and its body had not started.
    Begin,
    /// The schedule function was called.
    ScheduleFunction,
    /// An attempt began.
    AttemptBegan {
        /// The number of the attempt, from 1.
        attempt: u32,
    },
    /// An attempt failed, and the pause before the next one began.
    AttemptFailed {
        /// The number of the attempt, from 1.
        attempt: u32,
        /// The attempt's error.
        failure: String,
    },
}

impl Reason {
    /// The reason of a run whose function failed or timed out.
    pub fn of_function(failure: &impl fmt::Display, is_timeout: bool) -> Self {
        let failure = bounded(failure);
        if is_timeout { Self::FunctionTimedOut { failure } } else { Self::FunctionEnded { failure } }
    }

    /// The reason of a run whose function could not be invoked.
    pub fn not_started(failure: &impl fmt::Display) -> Self {
        Self::FunctionNotStarted { failure: bounded(failure) }
    }

    /// The reason of a run whose function returned a value that is no task's report.
    pub fn not_a_task(failure: &impl fmt::Display) -> Self {
        Self::NotATask { failure: bounded(failure) }
    }

    /// The reason of an attempt at a job for which the function did not answer.
    pub fn unanswered(failure: &impl fmt::Display) -> Self {
        Self::AttemptUnanswered { failure: bounded(failure) }
    }

    /// Returns true if the process of the run ended, and the run had not written its end.
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::HostEnded)
    }

    /// The run because of which this run did not start; none for every other reason.
    pub fn kept_out_by(&self) -> Option<RunId> {
        match self {
            Self::Held { run_id, .. }
            | Self::NotReplaced { run_id, .. }
            | Self::AlreadyRunning { run_id } => Some(*run_id),
            _ => None,
        }
    }

    /// The reason with `change` applied to its free texts, e.g. to mask secrets.
    #[must_use]
    pub fn map_texts(mut self, change: impl FnOnce(&str) -> String) -> Self {
        if let Some(text) = self.text_mut() {
            *text = change(text);
        }
        self
    }

    fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::AttemptUnanswered { failure }
            | Self::FunctionEnded { failure }
            | Self::FunctionTimedOut { failure }
            | Self::FunctionNotStarted { failure }
            | Self::NotATask { failure }
            | Self::TimedOut { since: Moment::AttemptFailed { failure, .. }, .. }
            | Self::Cancelled { since: Moment::AttemptFailed { failure, .. }, .. } => Some(failure),
            Self::ProcessEnded { how } => Some(how),
            Self::Other { text } => Some(text),
            _ => None,
        }
    }
}

/// A platform's text, or as much of its beginning as fits in [`MAX_FAILURE`] together with an ellipsis.
fn bounded(text: &impl fmt::Display) -> String {
    let mut text = text.to_string();
    if text.len() > MAX_FAILURE {
        text.truncate(text.floor_char_boundary(MAX_FAILURE - '…'.len_utf8()));
        text.push('…');
    }
    text
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("disabled"),
            Self::Held { run_id, until } => {
                write!(f, "previous_instance_running: {run_id} holds the task until {until}")
            }
            Self::NotReplaced { run_id, until } => write!(
                f,
                "previous_instance_running: {run_id} holds the task until {until}; it was cancelled but did not end in time"
            ),
            Self::AlreadyRunning { run_id } => write!(f, "already_running: run {run_id} has already begun"),
            Self::TickRan { scheduled_for } => {
                write!(f, "already_ran: the scheduled time {scheduled_for} has already had its run")
            }
            Self::DeploymentRan { entry } => write!(f, "already_ran: the deployment {entry} has already had its run"),
            Self::AlreadyOver { run_id } => write!(f, "already_ran: run {run_id} has already ended"),
            Self::NotDue => f.write_str("not_due: the task's schedule function returned false"),
            Self::NeverRan { task } => write!(f, "`{task}` has never run, and this task depends on it"),
            Self::DependencyFailed { task, run_id, status } => {
                write!(f, "the last run of `{task}` ended {status}, and this task depends on it: run {run_id}")
            }
            Self::DependencyIncomplete { task } => {
                write!(f, "`{task}`, which it depends on, did not complete")
            }
            Self::EarlierFailed { task } => write!(f, "`{task}` failed before it could start"),
            Self::JobNotCompleted { task, run_id, status } => {
                write!(f, "the earlier job {task}/{run_id} is {status}")
            }
            Self::JobMissing { task, run_id } => {
                write!(f, "the earlier job {task}/{run_id} has no record (any more)")
            }
            Self::Lost { until } => {
                write!(f, "lost: the run did not record its end before its lease expired at {until}")
            }
            Self::HostEnded => {
                f.write_str("lost: the program that hosted its function ended first")
            }
            Self::AttemptLost { attempt, until } => {
                write!(f, "lost: attempt {attempt} did not record its end before its lease expired at {until}")
            }
            Self::AttemptUnanswered { failure } => {
                write!(f, "lost: the function did not end the attempt: {failure}")
            }
            Self::LeaseLost => f.write_str(
                "the runner lost the task's lease: the table was not reachable in time, or another runner has the task",
            ),
            Self::KilledLate => f.write_str("its process did not end in time after SIGTERM, and was killed"),
            Self::ProcessEnded { how } => write!(f, "its process {how} without a result"),
            Self::FunctionEnded { failure } | Self::FunctionTimedOut { failure } => {
                write!(f, "the function ended before the run did: {failure}")
            }
            Self::FunctionNotStarted { failure } => write!(f, "the function was not started: {failure}"),
            Self::NotATask { failure } => {
                write!(f, "the function is not a Lamplighter task; it returned an invalid response: {failure}")
            }
            Self::LaterDeploymentRan => f.write_str("a later deployment has run the task since"),
            Self::Unrecorded => {
                f.write_str("the function reports that the run is over, but the table has no record of it")
            }
            Self::Expired { start_by } => {
                write!(f, "expired: no worker started the job by {start_by}")
            }
            Self::TimedOut { after_ms, since } => {
                write!(f, "timed out: the deadline passed {} after {since}", Seconds(*after_ms))
            }
            Self::Cancelled { after_ms, since } => write!(
                f,
                "cancelled on request, {} after {since}",
                Seconds(*after_ms)
            ),
            Self::CancelledBeforeStart => {
                f.write_str("cancelled before its start")
            }
            Self::CancelledAndLost => {
                f.write_str("cancelled on request, and its worker was lost")
            }
            Self::CancelledOrDisabled => {
                f.write_str("cancelled: the run was cancelled, or the task was disabled")
            }
            Self::RunnerStopped => f.write_str("cancelled: its runner was stopped before the run ended"),
            Self::StackMovedOn { phase } => write!(f, "the stack no longer waits for it: {phase}"),
            Self::LaterRequest => f.write_str("a later request for this resource has started"),
            Self::LaterUpdate => f.write_str("another update of the stack has started"),
            Self::RolledBack => f.write_str("the stack rolled back before the run started"),
            Self::Missed { last, ticks: 1, .. } => write!(f, "the run scheduled for {last} did not begin"),
            Self::Missed { first, last, ticks } => {
                write!(f, "{ticks} runs did not begin, scheduled for {first} to {last}")
            }
            Self::Other { text } => f.write_str(text),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("its start, before the body began"),
            Self::ScheduleFunction => f.write_str("the schedule function was called"),
            Self::AttemptBegan { attempt } => write!(f, "attempt {attempt} began"),
            Self::AttemptFailed { attempt, failure } => write!(f, "attempt {attempt} failed: {failure}"),
        }
    }
}

/// Milliseconds, shown as seconds with one decimal.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", std::time::Duration::from_millis(self.0).as_secs_f64())
    }
}

/// Reads a record's reason. A kind that this version does not have counts as none: the record's sentence is shown.
pub(crate) fn lenient<'de, D: Deserializer<'de>>(fields: D) -> Result<Option<Reason>, D::Error> {
    let fields = Option::<Value>::deserialize(fields)?;
    Ok(fields.and_then(|fields| serde_json::from_value(fields).ok()))
}

/// Writes a reason into the object around it: its sentence as `reason`, and its fields as `why`, which is null for
/// [`Reason::Other`].
pub fn beside<'a, S, R>(reason: &'a R, fields: S) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    Option<&'a Reason>: From<&'a R>,
{
    let reason: Option<&Reason> = reason.into();
    let why = reason.filter(|reason| !matches!(reason, Reason::Other { .. }));
    let mut object = fields.serialize_struct("Reason", 2)?;
    object.serialize_field("reason", &reason.map(ToString::to_string))?;
    object.serialize_field("why", &why)?;
    object.end()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const RUN: &str = "01J0000000000000000000000A";
    const TIME: &str = "2026-11-21T10:00:00Z";

    fn time() -> Timestamp {
        TIME.parse().unwrap()
    }

    /// Each kind once, with its sentence and its stored fields.
    #[expect(clippy::too_many_lines, reason = "it is one table")]
    fn table() -> Vec<(Reason, String, Value)> {
        let (run_id, until, status) = (RUN.parse().unwrap(), time(), Status::Failed);
        let task = || "purge-expired".parse().unwrap();
        let failure = || "no memory".to_owned();
        let kind = |kind: &str| json!({ "kind": kind });
        vec![
            (Reason::Disabled, "disabled".into(), kind("disabled")),
            (
                Reason::Held { run_id, until },
                format!("previous_instance_running: {RUN} holds the task until {TIME}"),
                json!({ "kind": "held", "run_id": RUN, "until": TIME }),
            ),
            (
                Reason::NotReplaced { run_id, until },
                format!(
                    "previous_instance_running: {RUN} holds the task until {TIME}; it was cancelled but did not end in time"
                ),
                json!({ "kind": "not_replaced", "run_id": RUN, "until": TIME }),
            ),
            (
                Reason::AlreadyRunning { run_id },
                format!("already_running: run {RUN} has already begun"),
                json!({ "kind": "already_running", "run_id": RUN }),
            ),
            (
                Reason::TickRan { scheduled_for: until },
                format!("already_ran: the scheduled time {TIME} has already had its run"),
                json!({ "kind": "tick_ran", "scheduled_for": TIME }),
            ),
            (
                Reason::DeploymentRan { entry: format!("{TIME}#r") },
                format!("already_ran: the deployment {TIME}#r has already had its run"),
                json!({ "kind": "deployment_ran", "entry": format!("{TIME}#r") }),
            ),
            (
                Reason::AlreadyOver { run_id },
                format!("already_ran: run {RUN} has already ended"),
                json!({ "kind": "already_over", "run_id": RUN }),
            ),
            (Reason::NotDue, "not_due: the task's schedule function returned false".into(), kind("not_due")),
            (
                Reason::NeverRan { task: task() },
                "`purge-expired` has never run, and this task depends on it".into(),
                json!({ "kind": "never_ran", "task": "purge-expired" }),
            ),
            (
                Reason::DependencyFailed { task: task(), run_id, status },
                format!(
                    "the last run of `purge-expired` ended FAILED, and this task depends on it: run {RUN}"
                ),
                json!({ "kind": "dependency_failed", "task": "purge-expired", "run_id": RUN, "status": "FAILED" }),
            ),
            (
                Reason::DependencyIncomplete { task: task() },
                "`purge-expired`, which it depends on, did not complete".into(),
                json!({ "kind": "dependency_incomplete", "task": "purge-expired" }),
            ),
            (
                Reason::EarlierFailed { task: task() },
                "`purge-expired` failed before it could start".into(),
                json!({ "kind": "earlier_failed", "task": "purge-expired" }),
            ),
            (
                Reason::JobNotCompleted { task: task(), run_id, status },
                format!("the earlier job purge-expired/{RUN} is FAILED"),
                json!({ "kind": "job_not_completed", "task": "purge-expired", "run_id": RUN, "status": "FAILED" }),
            ),
            (
                Reason::JobMissing { task: task(), run_id },
                format!("the earlier job purge-expired/{RUN} has no record (any more)"),
                json!({ "kind": "job_missing", "task": "purge-expired", "run_id": RUN }),
            ),
            (
                Reason::Lost { until },
                format!("lost: the run did not record its end before its lease expired at {TIME}"),
                json!({ "kind": "lost", "until": TIME }),
            ),
            (
                Reason::HostEnded,
                "lost: the program that hosted its function ended first".into(),
                kind("host_ended"),
            ),
            (
                Reason::AttemptLost { attempt: 2, until },
                format!("lost: attempt 2 did not record its end before its lease expired at {TIME}"),
                json!({ "kind": "attempt_lost", "attempt": 2, "until": TIME }),
            ),
            (
                Reason::AttemptUnanswered { failure: failure() },
                "lost: the function did not end the attempt: no memory".into(),
                json!({ "kind": "attempt_unanswered", "failure": "no memory" }),
            ),
            (
                Reason::LeaseLost,
                "the runner lost the task's lease: the table was not reachable in time, or another runner has the task"
                    .into(),
                kind("lease_lost"),
            ),
            (
                Reason::KilledLate,
                "its process did not end in time after SIGTERM, and was killed".into(),
                kind("killed_late"),
            ),
            (
                Reason::ProcessEnded { how: "ended (exit status: 1)".into() },
                "its process ended (exit status: 1) without a result".into(),
                json!({ "kind": "process_ended", "how": "ended (exit status: 1)" }),
            ),
            (
                Reason::FunctionEnded { failure: failure() },
                "the function ended before the run did: no memory".into(),
                json!({ "kind": "function_ended", "failure": "no memory" }),
            ),
            (
                Reason::FunctionTimedOut { failure: failure() },
                "the function ended before the run did: no memory".into(),
                json!({ "kind": "function_timed_out", "failure": "no memory" }),
            ),
            (
                Reason::FunctionNotStarted { failure: failure() },
                "the function was not started: no memory".into(),
                json!({ "kind": "function_not_started", "failure": "no memory" }),
            ),
            (
                Reason::NotATask { failure: failure() },
                "the function is not a Lamplighter task; it returned an invalid response: no memory".into(),
                json!({ "kind": "not_a_task", "failure": "no memory" }),
            ),
            (
                Reason::LaterDeploymentRan,
                "a later deployment has run the task since".into(),
                kind("later_deployment_ran"),
            ),
            (
                Reason::Unrecorded,
                "the function reports that the run is over, but the table has no record of it".into(),
                kind("unrecorded"),
            ),
            (
                Reason::Expired { start_by: until },
                format!("expired: no worker started the job by {TIME}"),
                json!({ "kind": "expired", "start_by": TIME }),
            ),
            (
                Reason::TimedOut { after_ms: 1_250, since: Moment::AttemptBegan { attempt: 2 } },
                "timed out: the deadline passed 1.2 s after attempt 2 began".into(),
                json!({ "kind": "timed_out", "after_ms": 1250, "since": "attempt_began", "attempt": 2 }),
            ),
            (
                Reason::TimedOut { after_ms: 3_000, since: Moment::ScheduleFunction },
                "timed out: the deadline passed 3.0 s after the schedule function was called".into(),
                json!({ "kind": "timed_out", "after_ms": 3000, "since": "schedule_function" }),
            ),
            (
                Reason::Cancelled {
                    after_ms: 40,
                    since: Moment::AttemptFailed { attempt: 1, failure: failure() },
                },
                "cancelled on request, 0.0 s after attempt 1 failed: no memory"
                    .into(),
                json!({
                    "kind": "cancelled", "after_ms": 40, "since": "attempt_failed", "attempt": 1, "failure": "no memory"
                }),
            ),
            (
                Reason::Cancelled { after_ms: 0, since: Moment::Begin },
                "cancelled on request, 0.0 s after its start, before the body began".into(),
                json!({ "kind": "cancelled", "after_ms": 0, "since": "begin" }),
            ),
            (
                Reason::CancelledBeforeStart,
                "cancelled before its start".into(),
                kind("cancelled_before_start"),
            ),
            (
                Reason::CancelledAndLost,
                "cancelled on request, and its worker was lost".into(),
                kind("cancelled_and_lost"),
            ),
            (
                Reason::CancelledOrDisabled,
                "cancelled: the run was cancelled, or the task was disabled".into(),
                kind("cancelled_or_disabled"),
            ),
            (
                Reason::RunnerStopped,
                "cancelled: its runner was stopped before the run ended".into(),
                kind("runner_stopped"),
            ),
            (
                Reason::StackMovedOn { phase: "it is rolling back".into() },
                "the stack no longer waits for it: it is rolling back".into(),
                json!({ "kind": "stack_moved_on", "phase": "it is rolling back" }),
            ),
            (
                Reason::LaterRequest,
                "a later request for this resource has started".into(),
                kind("later_request"),
            ),
            (Reason::LaterUpdate, "another update of the stack has started".into(), kind("later_update")),
            (Reason::RolledBack, "the stack rolled back before the run started".into(), kind("rolled_back")),
            (
                Reason::Missed { first: until, last: until, ticks: 1 },
                format!("the run scheduled for {TIME} did not begin"),
                json!({ "kind": "missed", "first": TIME, "last": TIME, "ticks": 1 }),
            ),
            (
                Reason::Missed { first: Timestamp::UNIX_EPOCH, last: until, ticks: 3 },
                format!("3 runs did not begin, scheduled for 1970-01-01T00:00:00Z to {TIME}"),
                json!({ "kind": "missed", "first": "1970-01-01T00:00:00Z", "last": TIME, "ticks": 3 }),
            ),
            (
                Reason::Other { text: "disabled by hand".into() },
                "disabled by hand".into(),
                json!({ "kind": "other", "text": "disabled by hand" }),
            ),
        ]
    }

    #[test]
    fn each_reason_has_its_sentence_and_its_fields() {
        for (reason, text, fields) in table() {
            assert_eq!(reason.to_string(), text);
            assert_eq!(serde_json::to_value(&reason).unwrap(), fields, "{text}");
            assert_eq!(serde_json::from_value::<Reason>(fields).unwrap(), reason, "{text}");
        }
    }

    #[test]
    fn an_unknown_or_missing_kind_is_no_reason() {
        #[derive(Deserialize)]
        struct Record {
            #[serde(default, deserialize_with = "lenient")]
            why: Option<Reason>,
        }
        let why = |record: Value| serde_json::from_value::<Record>(record).unwrap().why;
        assert_eq!(why(json!({ "why": { "kind": "disabled" } })), Some(Reason::Disabled));
        for other in [
            json!({}),
            json!({ "why": null }),
            json!({ "why": "disabled" }),
            json!({ "why": { "kind": "eclipse", "at": 1 } }),
            json!({ "why": { "kind": "held" } }),
        ] {
            assert_eq!(why(other.clone()), None, "{other}");
        }
    }

    #[test]
    fn a_reason_is_written_beside_its_sentence() {
        #[derive(Serialize)]
        struct Answer {
            run_id: u8,
            #[serde(flatten, serialize_with = "beside")]
            reason: Option<Reason>,
        }
        let written = |reason| serde_json::to_value(Answer { run_id: 1, reason }).unwrap();
        assert_eq!(written(None), json!({ "run_id": 1, "reason": null, "why": null }));
        let expected = json!({ "run_id": 1, "reason": "disabled", "why": { "kind": "disabled" } });
        assert_eq!(written(Some(Reason::Disabled)), expected);
        let other = Some(Reason::Other { text: "no".into() });
        assert_eq!(written(other), json!({ "run_id": 1, "reason": "no", "why": null }));
    }

    #[test]
    fn a_platforms_text_is_bounded() {
        let Reason::FunctionEnded { failure } = Reason::of_function(&"ä".repeat(9_000), false) else {
            panic!()
        };
        assert!(failure.len() <= MAX_FAILURE && failure.ends_with("ä…"), "{}", failure.len());
        assert_eq!(Reason::not_started(&"away"), Reason::FunctionNotStarted { failure: "away".into() });
    }

    fn reason() -> impl Strategy<Value = Reason> {
        let run = any::<u128>().prop_map(|random| RunId::new(time(), random));
        let at = (-9_000_000_000_i64..9_000_000_000, 0_i32..1_000_000_000)
            .prop_map(|(second, nano)| Timestamp::new(second, nano * second.signum() as i32).unwrap());
        let status = prop::sample::select(Status::ALL.to_vec());
        let parts = (prop::sample::select(table()), run, at, status, any::<u64>(), any::<u32>(), ".{0,40}");
        parts.prop_map(|((reason, ..), run, at, new_status, number, small, text)| {
            let moment = |since| match since {
                Moment::AttemptBegan { .. } => Moment::AttemptBegan { attempt: small },
                Moment::AttemptFailed { failure, .. } => Moment::AttemptFailed { attempt: small, failure },
                since => since,
            };
            let changed = match reason {
                Reason::Held { .. } => Reason::Held { run_id: run, until: at },
                Reason::NotReplaced { .. } => Reason::NotReplaced { run_id: run, until: at },
                Reason::AlreadyRunning { .. } => Reason::AlreadyRunning { run_id: run },
                Reason::AlreadyOver { .. } => Reason::AlreadyOver { run_id: run },
                Reason::TickRan { .. } => Reason::TickRan { scheduled_for: at },
                Reason::DeploymentRan { .. } => Reason::DeploymentRan { entry: text.clone() },
                Reason::DependencyFailed { task, .. } => {
                    Reason::DependencyFailed { task, run_id: run, status: new_status }
                }
                Reason::JobNotCompleted { task, .. } => {
                    Reason::JobNotCompleted { task, run_id: run, status: new_status }
                }
                Reason::JobMissing { task, .. } => Reason::JobMissing { task, run_id: run },
                Reason::Lost { .. } => Reason::Lost { until: at },
                Reason::AttemptLost { .. } => Reason::AttemptLost { attempt: number, until: at },
                Reason::Expired { .. } => Reason::Expired { start_by: at },
                Reason::TimedOut { since, .. } => Reason::TimedOut { after_ms: number, since: moment(since) },
                Reason::Cancelled { since, .. } => {
                    Reason::Cancelled { after_ms: number, since: moment(since) }
                }
                Reason::StackMovedOn { .. } => Reason::StackMovedOn { phase: text.clone() },
                Reason::Missed { first, .. } => {
                    Reason::Missed { first, last: at, ticks: usize::try_from(small).unwrap() }
                }
                reason => reason,
            };
            changed.map_texts(|_| text)
        })
    }

    proptest! {
        #[test]
        fn every_reason_survives_its_json(reason in reason()) {
            let fields = serde_json::to_string(&reason).unwrap();
            prop_assert_eq!(serde_json::from_str::<Reason>(&fields).unwrap(), reason.clone());
            prop_assert_eq!(serde_json::from_value::<Reason>(serde_json::to_value(&reason).unwrap()).unwrap(), reason);
        }
    }
}
