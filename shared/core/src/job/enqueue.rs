//! New jobs, and their validation.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Job, JobKey};
use crate::{
    constraint::{Limit, MAX_AT_ONCE, Scope, Unique},
    definition::Priority,
    hidden,
    id::RunId,
    name::TaskName,
    value::{MAX_NESTING, is_too_deep},
};

/// The maximum length of an id or a key, in bytes.
pub const MAX_KEY: usize = 512;
/// The maximum number of jobs that a job waits for.
pub const MAX_AFTER: usize = 50;
/// The maximum time from the enqueue of a job to its start.
pub const MAX_AHEAD: Duration = Duration::from_secs(366 * 24 * 3600);

/// The maximum time from a job's enqueue to the end of its last message: the longest delay, SQS's retention
/// in its queue, and the same again in the dead-letter queue. Arguments are kept for this time.
pub const LONGEST_LIFE: Duration = Duration::from_secs((366 + 14 + 14) * 24 * 3600);

/// A job that is to be enqueued.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// Its task.
    pub task: TaskName,
    /// The arguments: an object with one key for each.
    pub arguments: Value,
    /// The priority among waiting jobs.
    pub priority: Priority,
    /// The time at which it may start.
    pub when: When,
    /// The maximum time until its first start.
    pub expires_in: Option<Duration>,
    /// An idempotency key. Of two jobs with the same one, only the first exists, for as long as its record is
    /// kept.
    pub id: Option<String>,
    /// The uniqueness among jobs that are not over.
    pub unique: Option<Unique>,
    /// The jobs that must have completed before it may start.
    pub after: Vec<JobKey>,
    /// The argument that receives the data of the one job in `after`.
    pub receives: Option<String>,
    /// The limit by key.
    pub limit: Option<Limit>,
    /// The earlier run that it repeats.
    pub retry_of: Option<RunId>,
    /// Only one job repeats that run, for as long as its record is kept.
    pub is_replay: bool,
}

/// The time at which a job may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// At once.
    #[default]
    Now,
    /// This long after the enqueue.
    In(Duration),
    /// At this time. A past time means at once.
    At(Timestamp),
}

/// The error of a job that cannot be enqueued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJob {
    /// The arguments are not an object.
    #[error("the arguments are {0}: they must be an object with one key for each argument")]
    Arguments(&'static str),
    /// The arguments cannot be written as JSON.
    #[error("the arguments cannot be written as JSON: {0}")]
    Unwritable(String),
    /// The arguments are nested too deeply.
    #[error("the arguments are nested more than {MAX_NESTING} levels deep")]
    TooDeep,
    /// An argument is secret. A job's record has its arguments for as long as it is kept.
    #[error("{}", in_clear(.0))]
    Secret(String),
    /// The task's name is invalid.
    #[error("`{0}` is not a task's name: it must be lowercase words with hyphens")]
    Task(String),
    /// More than one start time is given.
    #[error("more than one start time is given: give one delay or one time")]
    TwoTimes,
    /// The start time is too far ahead.
    #[error("the start time {0} is more than 366 days ahead")]
    TooFarAhead(Timestamp),
    /// A key is empty or too long.
    #[error("the {what} has {bytes} bytes: it must have 1 to {MAX_KEY}")]
    Key {
        /// The kind of key.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The limit by key is out of range.
    #[error("the limit by key is {0}: it must be 1 to {MAX_AT_ONCE}")]
    Places(u32),
    /// A duration is zero.
    #[error("`{0}` is zero: give a duration, such as 10 minutes")]
    NoTime(&'static str),
    /// The job would expire before it may start.
    #[error("it expires {expires_in:?} after the enqueue, before its start time {not_before}")]
    ExpiresFirst {
        /// The time until it expires.
        expires_in: Duration,
        /// The time at which it may start.
        not_before: Timestamp,
    },
    /// The job waits for too many others.
    #[error("it waits for {0} jobs: the maximum is {MAX_AFTER}")]
    After(usize),
    /// An argument receives another job's data, but the job does not wait for exactly one.
    #[error(
        "the argument `{argument}` receives another job's data, but the job waits for {after} jobs: it must be 1"
    )]
    Receives {
        /// The argument.
        argument: String,
        /// The number of jobs that it waits for.
        after: usize,
    },
}

/// Explains why an argument cannot be secret, and where the secret belongs.
fn in_clear(argument: &str) -> String {
    let (the, which) = match argument {
        "" => ("the arguments", "are"),
        argument => (argument, "is"),
    };
    format!(
        "`{the}` {which} secret, and a job's arguments stand in the table until its record ends: put the secret into the \
         task's configuration, and pass what says which one"
    )
}

impl NewJob {
    /// Refuses arguments that `schema` marks as secret, unless they are empty.
    pub fn without_secrets(&self, schema: &Value) -> Result<(), InvalidJob> {
        let marked = hidden::marked(&self.arguments, schema).into_iter().next();
        let given = self.receives.as_ref().filter(|argument| {
            let received = serde_json::json!({ argument.as_str(): "received" });
            !hidden::marked(&received, schema).is_empty()
        });
        match marked.map(|words| hidden::path(&words)).or_else(|| given.cloned()) {
            Some(path) => Err(InvalidJob::Secret(path)),
            None => Ok(()),
        }
    }

    /// Creates a job without arguments that may start at once.
    pub fn of(task: TaskName) -> Self {
        Self {
            task,
            arguments: Value::Object(serde_json::Map::new()),
            priority: Priority::default(),
            when: When::Now,
            expires_in: None,
            id: None,
            unique: None,
            after: Vec::new(),
            receives: None,
            limit: None,
            retry_of: None,
            is_replay: false,
        }
    }

    /// Creates the job's first record at `now`.
    pub fn job(self, id: RunId, now: Timestamp) -> Result<Job, InvalidJob> {
        self.check()?;
        let later = |wait: Duration| now.saturating_add(wait).unwrap_or(Timestamp::MAX);
        let not_before = match self.when {
            When::Now => None,
            When::In(delay) => Some(later(delay)),
            When::At(at) => Some(at),
        };
        let not_before = not_before.filter(|at| *at > now);
        if let Some(at) = not_before.filter(|at| *at > later(MAX_AHEAD)) {
            return Err(InvalidJob::TooFarAhead(at));
        }
        let start_by = self.expires_in.map(later);
        if let (Some(expires_in), Some(by), Some(not_before)) = (self.expires_in, start_by, not_before)
            && by < not_before
        {
            return Err(InvalidJob::ExpiresFirst { expires_in, not_before });
        }
        Ok(Job {
            arguments: self.arguments,
            priority: self.priority,
            not_before,
            start_by,
            after: self.after,
            receives: self.receives,
            limit: self.limit,
            unique: self.unique,
            retry_of: self.retry_of,
            ..Job::begun(id, self.task)
        })
    }

    fn check(&self) -> Result<(), InvalidJob> {
        let is = match &self.arguments {
            Value::Object(_) => None,
            Value::Null => Some("null"),
            Value::Bool(_) => Some("a boolean"),
            Value::Number(_) => Some("a number"),
            Value::String(_) => Some("a text"),
            Value::Array(_) => Some("a list"),
        };
        if let Some(is) = is {
            return Err(InvalidJob::Arguments(is));
        }
        if is_too_deep(&self.arguments) {
            return Err(InvalidJob::TooDeep);
        }
        let key = match &self.unique {
            Some(Unique { scope: Scope::Key(key), .. }) => Some(("unique key", key)),
            _ => None,
        };
        let limit = self.limit.as_ref().map(|limit| ("key of the limit", &limit.key));
        for (what, key) in self.id.iter().map(|id| ("id", id)).chain(key).chain(limit) {
            if !(1..=MAX_KEY).contains(&key.len()) {
                return Err(InvalidJob::Key { what, bytes: key.len() });
            }
        }
        if let Some(limit) = self.limit.as_ref().filter(|it| !(1..=MAX_AT_ONCE).contains(&it.at_once)) {
            return Err(InvalidJob::Places(limit.at_once));
        }
        if self.expires_in.is_some_and(|it| it.is_zero()) {
            return Err(InvalidJob::NoTime("expires_in"));
        }
        if self.unique.as_ref().is_some_and(|unique| unique.within.is_zero()) {
            return Err(InvalidJob::NoTime("unique within"));
        }
        if self.after.len() > MAX_AFTER {
            return Err(InvalidJob::After(self.after.len()));
        }
        match &self.receives {
            Some(argument) if self.after.len() != 1 => {
                Err(InvalidJob::Receives { argument: argument.clone(), after: self.after.len() })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::constraint::OnConflict;

    fn new() -> NewJob {
        NewJob::of("send-mail".parse().unwrap())
    }

    fn made(new: NewJob) -> Result<Job, InvalidJob> {
        new.job(RunId::new(Timestamp::UNIX_EPOCH, 1), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn q05_a_delay_or_a_time_sets_the_earliest_start() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let starts = |when| made(NewJob { when, ..new() }).unwrap().not_before;
        assert_eq!(starts(When::Now), None);
        assert_eq!(starts(When::In(Duration::from_secs(1200))), Some(at(1200)));
        assert_eq!(starts(When::At(at(30 * 86_400))), Some(at(30 * 86_400)));
        assert_eq!(starts(When::At(at(-1))), None);
        let far = When::At(at(400 * 86_400));
        assert!(matches!(made(NewJob { when: far, ..new() }), Err(InvalidJob::TooFarAhead(_))));
    }

    #[test]
    fn o04_a_secret_is_refused_as_an_argument() {
        let schema = json!({
            "properties": { "to": { "type": "string" }, "login": { "$ref": "#/$defs/Login" } },
            "$defs": { "Login": { "properties": { "word": { "type": "string", "writeOnly": true } } } },
        });
        let of = |arguments| NewJob { arguments, ..new() };
        let refused = |new: NewJob| new.without_secrets(&schema).map_err(|error| error.to_string());
        assert_eq!(refused(of(json!({ "to": "ada", "login": { "word": "" } }))), Ok(()));
        for word in ["hunter2", crate::secret::MASK] {
            let error = refused(of(json!({ "to": "ada", "login": { "word": word } }))).unwrap_err();
            assert!(error.starts_with("`login.word` is secret, and"), "{error}");
            assert!(error.contains("put the secret into the task's configuration"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let received = |argument: &str| NewJob { receives: Some(argument.to_owned()), ..new() };
        assert_eq!(refused(received("to")), Ok(()));
    }

    #[test]
    fn a_job_that_cannot_be_enqueued_is_refused_with_the_reason() {
        let second = Duration::from_secs(1);
        let unique = |scope, within| Some(Unique { scope, within, on_twin: OnConflict::Refuse });
        let key = JobKey { task: new().task, run_id: RunId::new(Timestamp::UNIX_EPOCH, 2) };
        let deep = (0..MAX_NESTING).fold(json!(1), |inner, _| json!([inner]));
        let unfit = [
            (NewJob { arguments: json!({ "a": deep }), ..new() }, "more than 120 levels deep"),
            (NewJob { arguments: json!([1]), ..new() }, "a list"),
            (NewJob { id: Some(String::new()), ..new() }, "the id has 0 bytes"),
            (
                NewJob { unique: unique(Scope::Key("x".repeat(513)), second), ..new() },
                "the unique key has 513",
            ),
            (NewJob { unique: unique(Scope::Task, Duration::ZERO), ..new() }, "unique within"),
            (NewJob { limit: Some(Limit { key: "a".into(), at_once: 0 }), ..new() }, "it must be 1 to 1000"),
            (
                NewJob { limit: Some(Limit { key: String::new(), at_once: 1 }), ..new() },
                "the key of the limit has 0",
            ),
            (NewJob { expires_in: Some(Duration::ZERO), ..new() }, "expires_in"),
            (NewJob { expires_in: Some(second), when: When::In(second * 2), ..new() }, "it expires"),
            (NewJob { after: vec![key; 51], ..new() }, "51 jobs"),
            (NewJob { receives: Some("x".into()), ..new() }, "the argument `x`"),
        ];
        for (new, says) in unfit {
            let error = made(new).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
