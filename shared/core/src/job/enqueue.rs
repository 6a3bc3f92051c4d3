//! What somebody may enqueue.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Job, JobKey, Limit, MAX_AT_ONCE};
use crate::{
    definition::Priority,
    hidden,
    id::RunId,
    name::TaskName,
    value::{MAX_NESTING, is_too_deep},
};

/// The longest key that tells jobs apart, in bytes.
pub const MAX_KEY: usize = 512;
/// How many jobs another one may come after.
pub const MAX_AFTER: usize = 50;
/// How far ahead a job may be enqueued.
pub const MAX_AHEAD: Duration = Duration::from_secs(366 * 24 * 3600);

/// How long it may take from a job's enqueue until its last message is gone: it was to start as far ahead as it may, waited in
/// its queue as long as SQS keeps a message, and so long again among the dead letters. Its arguments are kept for that long.
pub const LONGEST_LIFE: Duration = Duration::from_secs((366 + 14 + 14) * 24 * 3600);

/// A job that somebody wants.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// Its task.
    pub task: TaskName,
    /// What its body is given: an object with one key for each argument.
    pub arguments: Value,
    /// Which of several waiting jobs goes first.
    pub priority: Priority,
    /// When it may start.
    pub when: When,
    /// How long it may wait for its first start.
    pub expires_in: Option<Duration>,
    /// By what it is told from every other job, for as long as its record is kept: of two with the same, there is one.
    pub id: Option<String>,
    /// What it must be the only one of.
    pub unique: Option<Unique>,
    /// The jobs that must have completed before it may start.
    pub after: Vec<JobKey>,
    /// The argument that is the data of the one job it comes after.
    pub receives: Option<String>,
    /// Of how many with the same key it may be one, while it runs.
    pub limit: Option<Limit>,
    /// The run that it does over.
    pub retry_of: Option<RunId>,
    /// Whether of all that do that run over there is one, for as long as its record is kept.
    pub is_replay: bool,
}

/// When a job may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// At once.
    #[default]
    Now,
    /// So long after it was enqueued.
    In(Duration),
    /// Then. A time that has passed is now.
    At(Timestamp),
}

/// Of what a job must be the only one that is not over, and for how long at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unique {
    /// Of what.
    pub scope: Scope,
    /// For how long at most. It ends when the job is over.
    #[serde(rename = "within_ms", with = "crate::duration::as_millis")]
    pub within: Duration,
    /// What becomes of a second one.
    pub on_twin: OnConflict,
}

/// Of what a job is the only one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Of its task.
    Task,
    /// Of its task with these arguments.
    Arguments,
    /// Of its task with this key.
    Key(String),
}

/// What becomes of a job that has a twin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// It is refused.
    #[default]
    Refuse,
    /// Whoever wants it is given the twin.
    Join,
}

/// Why a job cannot be enqueued as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJob {
    /// Its arguments are no object.
    #[error("the arguments are {0}: they must be an object with one key for each argument")]
    Arguments(&'static str),
    /// Its arguments cannot be written down.
    #[error("the arguments have no JSON: {0}")]
    Unwritable(String),
    /// Its arguments are lists and objects in one another, too many of them.
    #[error("the arguments are nested more than {MAX_NESTING} levels deep")]
    TooDeep,
    /// An argument is secret, and a job's record has its arguments for as long as it is kept.
    #[error("{}", in_clear(.0))]
    Secret(String),
    /// Its task's name is none.
    #[error("`{0}` is not a task's name: it must be lowercase words with hyphens")]
    Task(String),
    /// A delay and a time, or two of them.
    #[error("it is given more than one time to start at: give one delay or one time")]
    TwoTimes,
    /// It is to start too far ahead.
    #[error("it is to start at {0}: that is more than 366 days ahead")]
    TooFarAhead(Timestamp),
    /// A key is no key.
    #[error("the {what} has {bytes} bytes: it must have 1 to {MAX_KEY}")]
    Key {
        /// Which.
        what: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// None with its key may ever run, or too many.
    #[error("{0} jobs with its key are to run at once: it must be 1 to {MAX_AT_ONCE}")]
    Places(u32),
    /// Something lasts no time at all.
    #[error("`{0}` is no time at all: give a duration, such as 10 minutes")]
    NoTime(&'static str),
    /// It would expire before it may start.
    #[error("it expires {expires_in:?} after it was enqueued, and may not start before {not_before}")]
    ExpiresFirst {
        /// How long it may wait.
        expires_in: Duration,
        /// When it may start.
        not_before: Timestamp,
    },
    /// It comes after too many.
    #[error("it comes after {0} jobs: at most {MAX_AFTER}")]
    After(usize),
    /// What it would be given is the data of no one job.
    #[error(
        "the argument `{argument}` is to be another job's data, but it comes after {after} jobs: it must be 1"
    )]
    Receives {
        /// The argument.
        argument: String,
        /// After how many it comes.
        after: usize,
    },
}

/// Why arguments cannot have a secret, and where it belongs.
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
    /// Refuses arguments in which `schema` marks something as secret that is not empty.
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

    /// A job without arguments, which may start at once.
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

    /// The record with which it begins at `now`.
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

    fn new() -> NewJob {
        NewJob::of("send-mail".parse().unwrap())
    }

    fn made(new: NewJob) -> Result<Job, InvalidJob> {
        new.job(RunId::new(Timestamp::UNIX_EPOCH, 1), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn q05_a_delay_and_a_time_say_when_a_job_may_start() {
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
    fn o04_a_secret_is_no_argument() {
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
    fn what_cannot_be_enqueued_says_why() {
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
