//! The ledger of one custom resource: its deployments, the results of their tasks, and the answers.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Deployment, Ordered, Properties};
use crate::{id::RunId, name::TaskName, run::Trigger, status::Status};

/// The key of an entry: its time and its request id, sorted by time.
///
/// The time is that at which CloudFormation sent the request, or else that at which the entry was opened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryKey(String);

/// The error of a text that is not an entry's key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a ledger entry: it must be a time, `#` and a request id")]
pub struct InvalidEntryKey(pub String);

impl EntryKey {
    /// Creates the key of a request at this time.
    pub fn new(now: Timestamp, request_id: &str) -> Self {
        Self(format!("{now:.3}#{request_id}"))
    }

    /// Creates the key of a request at `now` in a ledger whose newest entry is `latest`. The key sorts after
    /// `latest` even if `now` is earlier: its time is then 1 ms after that of `latest`.
    pub fn following(latest: Option<&Self>, now: Timestamp, request_id: &str) -> Self {
        let next = latest.and_then(|latest| latest.time().checked_add(Duration::from_millis(1)).ok());
        Self::new(next.map_or(now, |next| next.max(now)), request_id)
    }

    /// Returns the time, to the millisecond.
    pub fn time(&self) -> Timestamp {
        self.0.split_once('#').and_then(|(time, _)| time.parse().ok()).unwrap_or_default()
    }

    /// Returns the request's id.
    pub fn request_id(&self) -> &str {
        self.0.split_once('#').map_or("", |(_, request_id)| request_id)
    }

    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EntryKey {
    type Err = InvalidEntryKey;

    fn from_str(text: &str) -> Result<Self, InvalidEntryKey> {
        match text.split_once('#') {
            Some((time, request)) if time.parse::<Timestamp>().is_ok() && !request.is_empty() => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidEntryKey(text.to_owned())),
        }
    }
}

impl TryFrom<String> for EntryKey {
    type Error = InvalidEntryKey;

    fn try_from(text: String) -> Result<Self, InvalidEntryKey> {
        text.parse()
    }
}

impl From<EntryKey> for String {
    fn from(key: EntryKey) -> Self {
        key.0
    }
}

/// The parts of a ledger that a request needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    /// The head of the ledger; none if the resource was never deployed.
    pub latest: Option<Latest>,
    /// The newest deployment.
    pub newest: Option<Entry>,
    /// The request's own entry, if it was delivered before.
    pub own: Option<Entry>,
    /// The earlier successful deployments that a rollback undoes together with the newest one, newest first.
    pub before: Vec<Entry>,
}

impl Ledger {
    /// Returns the properties in effect: those of the last deployment that succeeded and was not undone. None
    /// if there is none, or if it was recorded without properties.
    pub fn in_effect(&self) -> Option<&Properties> {
        self.latest.as_ref()?.successful.as_ref()?.properties.as_ref()
    }
}

/// The head of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Latest {
    /// The newest deployment.
    pub entry: EntryKey,
    /// The last deployment that succeeded and was not undone.
    pub successful: Option<Success>,
    /// The time at which the resource was deleted, if no deployment has been opened since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Timestamp>,
}

/// A deployment that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Success {
    /// Its version.
    pub version: String,
    /// The properties. Older ledgers lack them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Properties>,
    /// The entry. Older ledgers lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryKey>,
    /// The content (code, assets, configuration) with which each task last completed, if known.
    pub contents: BTreeMap<TaskName, String>,
}

/// The course of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Course {
    /// Forward, since the stack is created.
    Deploy,
    /// Forward, since the stack is updated.
    Update,
    /// Back to the version before.
    Rollback,
}

impl Course {
    /// Returns the trigger of the runs.
    pub fn trigger(self) -> Trigger {
        match self {
            Self::Deploy => Trigger::Deploy,
            Self::Update => Trigger::Update,
            Self::Rollback => Trigger::Rollback,
        }
    }
}

/// One deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The key in the ledger.
    pub key: EntryKey,
    /// The course.
    pub course: Course,
    /// The time at which it was opened.
    pub started_at: Timestamp,
    /// The context for its tasks.
    pub deployment: Deployment,
    /// The success before it, to which a rollback returns.
    pub previous: Option<Success>,
    /// The properties that it deploys or returns to. Older entries lack them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Properties>,
    /// The deployment that a rollback undoes; none if there is nothing to undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<Undone>,
    /// The tasks and their results.
    pub tasks: Vec<TaskEntry>,
    /// Failed runs of earlier deployments that were kept while rollback was disabled. A rollback of this
    /// deployment undoes them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<TaskEntry>,
    /// The answer, once it is decided.
    pub answer: Option<Answered>,
}

/// A deployment that a rollback undoes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Undone {
    /// Its course.
    pub course: Course,
    /// The context that its tasks had.
    pub deployment: Deployment,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answered {
    /// The answer is SUCCESS.
    pub success: bool,
    /// The body, byte for byte.
    pub body: String,
    /// The time of the decision.
    pub at: Timestamp,
    /// Digests of the response URLs that have accepted the answer. The URLs themselves are secrets.
    #[serde(default)]
    pub delivered_to: Vec<String>,
    /// Digests of the response URLs to which a delivery of the request sends the answer, or has sent it.
    #[serde(default)]
    pub sending_to: Vec<String>,
    /// The time of the last attempt to send the answer; none if the only attempt was made right after the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

/// One task of one deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskEntry {
    /// The name.
    pub name: TaskName,
    /// The Lambda function that runs it.
    pub function: String,
    /// The run id, fixed before the run is started.
    pub run_id: RunId,
    /// The wave. It starts once the waves before it are done.
    pub wave: usize,
    /// The tasks that it depends on.
    pub depends_on: Vec<TaskName>,
    /// The time limit of its run.
    #[serde(rename = "timeout_ms", with = "crate::duration::as_millis")]
    pub timeout: Duration,
    /// The task has a `rollback` function.
    pub rollback: bool,
    /// The present content, if known.
    pub content: Option<String>,
    /// The status.
    pub status: Status,
    /// The message of its success, or the reason why it did not complete.
    pub message: Option<String>,
    /// The returned data as JSON text, if it is short enough for an answer.
    pub data: Option<String>,
    /// The runs that it undoes, in a rollback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undoes: Vec<RunId>,
}

impl Ordered for TaskEntry {
    fn name(&self) -> &TaskName {
        &self.name
    }

    fn depends_on(&self) -> &[TaskName] {
        &self.depends_on
    }
}

impl Entry {
    /// Returns whether the answer was SUCCESS.
    pub fn succeeded(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.success)
    }

    /// Returns the ledger's last success after this deployment has ended.
    ///
    /// A forward deployment that succeeds becomes the last success, with the contents of its tasks. After a
    /// failed deployment or a rollback, the last success is the one before this deployment.
    pub fn successful_after(&self, success: bool) -> Option<Success> {
        if self.course == Course::Rollback || !success {
            return self.previous.clone();
        }
        let mut contents = self.previous.as_ref().map(|p| p.contents.clone()).unwrap_or_default();
        for task in self.tasks.iter().filter(|task| task.status == Status::Completed) {
            if let Some(content) = &task.content {
                contents.insert(task.name.clone(), content.clone());
            }
        }
        let properties = self.properties.clone();
        let (version, entry) = (self.deployment.version.clone(), Some(self.key.clone()));
        Some(Success { version, properties, entry, contents })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_time_and_survive_their_text() {
        let key = |ms| EntryKey::new(Timestamp::from_millisecond(ms).unwrap(), "r#1");
        assert!(key(999) < key(1000) && key(1000) < key(1_001));
        assert_eq!(key(1000).as_str(), "1970-01-01T00:00:01.000Z#r#1");
        assert_eq!(key(1000).as_str().parse(), Ok(key(1000)));
        assert_eq!(key(1000).request_id(), "r#1");
        assert!("LATEST".parse::<EntryKey>().is_err());
    }

    #[test]
    fn a_key_follows_the_latest_one_despite_clock_skew() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let latest = EntryKey::new(at(1000), "r2");
        for now in [400, 1000, 1001, 5000] {
            assert!(EntryKey::following(Some(&latest), at(now), "r1") > latest, "{now}");
        }
        assert_eq!(EntryKey::following(Some(&latest), at(5000), "r1"), EntryKey::new(at(5000), "r1"));
        assert_eq!(EntryKey::following(None, at(5), "r1"), EntryKey::new(at(5), "r1"));
    }
}
