//! The ledger of one custom resource: what was deployed, how each task fared, and what was answered.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Deployment, Ordered, Properties};
use crate::{id::RunId, name::TaskName, run::Trigger, status::Status};

/// A deployment's place in its ledger: its time and its request, in the order of time. The time is that at which
/// CloudFormation sent the request, where that is known, else that at which the entry was opened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryKey(String);

/// A text that is not an entry's key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a ledger entry: it must be a time, `#` and a request id")]
pub struct InvalidEntryKey(pub String);

impl EntryKey {
    /// The key of a request of this time.
    pub fn new(now: Timestamp, request_id: &str) -> Self {
        Self(format!("{now:.3}#{request_id}"))
    }

    /// The key of a request of the time `now` in a ledger that stands at `latest`. It sorts after it, whatever
    /// the clocks say.
    pub fn following(latest: Option<&Self>, now: Timestamp, request_id: &str) -> Self {
        let next = latest.and_then(|latest| latest.time().checked_add(Duration::from_millis(1)).ok());
        Self::new(next.map_or(now, |next| next.max(now)), request_id)
    }

    /// Its time, to the millisecond.
    pub fn time(&self) -> Timestamp {
        self.0.split_once('#').and_then(|(time, _)| time.parse().ok()).unwrap_or_default()
    }

    /// The request's id.
    pub fn request_id(&self) -> &str {
        self.0.split_once('#').map_or("", |(_, request_id)| request_id)
    }

    /// The key as text.
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

/// What a ledger says to somebody who has a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    /// Where the ledger stands; nothing if the resource was never deployed.
    pub latest: Option<Latest>,
    /// The newest deployment.
    pub newest: Option<Entry>,
    /// The request's own entry, if it was delivered before.
    pub own: Option<Entry>,
    /// The successes before the newest deployment, newest first, as far as a rollback returns over them.
    pub before: Vec<Entry>,
}

impl Ledger {
    /// The properties that are in effect: those of the last deployment that succeeded and was not undone. Nothing if
    /// there is none, or if it was recorded before the ledger knew of properties.
    pub fn in_effect(&self) -> Option<&Properties> {
        self.latest.as_ref()?.successful.as_ref()?.properties.as_ref()
    }
}

/// Where a ledger stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Latest {
    /// The newest deployment.
    pub entry: EntryKey,
    /// The last deployment that succeeded and was not undone.
    pub successful: Option<Success>,
    /// When the resource was deleted, if no deployment has been opened since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Timestamp>,
}

/// A deployment that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Success {
    /// Its version.
    pub version: String,
    /// Its properties. Older ledgers do not have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Properties>,
    /// Its entry. Older ledgers do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryKey>,
    /// The content (code, assets, configuration) with which each task last completed, where it is known.
    pub contents: BTreeMap<TaskName, String>,
}

/// Which way a deployment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Course {
    /// The stack is created.
    Deploy,
    /// The stack is updated.
    Update,
    /// The stack returns to the version before.
    Rollback,
}

impl Course {
    /// The trigger of the runs.
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
    /// Its place in the ledger.
    pub key: EntryKey,
    /// Which way it goes.
    pub course: Course,
    /// When it was opened.
    pub started_at: Timestamp,
    /// What its tasks are told.
    pub deployment: Deployment,
    /// The success before it, to which a rollback returns.
    pub previous: Option<Success>,
    /// The properties that it deploys, or returns to. Older entries do not have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Properties>,
    /// The deployment that it undoes, of a rollback that has something to undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<Undone>,
    /// Its tasks and how they fare.
    pub tasks: Vec<TaskEntry>,
    /// The runs of earlier deployments that failed and were kept, since rollback was disabled. A rollback of this
    /// deployment undoes them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<TaskEntry>,
    /// What was answered, once it was decided.
    pub answer: Option<Answered>,
}

/// A deployment that a rollback undoes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Undone {
    /// Which way it went.
    pub course: Course,
    /// What its tasks are told.
    pub deployment: Deployment,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answered {
    /// Whether it said SUCCESS.
    pub success: bool,
    /// The body, byte for byte.
    pub body: String,
    /// When it was decided.
    pub at: Timestamp,
    /// Where it is known to have arrived: digests of the response URLs, which themselves are secrets.
    #[serde(default)]
    pub delivered_to: Vec<String>,
    /// Where a delivery of the request sends it, as such digests.
    #[serde(default)]
    pub sending_to: Vec<String>,
    /// When it was last sent, if not at once by the delivery that decided it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

/// One task of one deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskEntry {
    /// Its name.
    pub name: TaskName,
    /// The Lambda function that runs it.
    pub function: String,
    /// Its run, fixed before it is started.
    pub run_id: RunId,
    /// Its place in the order: a wave starts when those before it are done.
    pub wave: usize,
    /// The tasks it needs.
    pub depends_on: Vec<TaskName>,
    /// The time its run may take.
    #[serde(rename = "timeout_ms", with = "crate::duration::as_millis")]
    pub timeout: Duration,
    /// Whether it can undo what it did.
    pub rollback: bool,
    /// Its content now, where it is known.
    pub content: Option<String>,
    /// How it fares.
    pub status: Status,
    /// What it said of its success, or why it did not complete.
    pub message: Option<String>,
    /// What it returned, as JSON text, if that is short enough for an answer.
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
    /// Whether it was answered SUCCESS.
    pub fn succeeded(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.success)
    }

    /// What the ledger's last success is once this deployment has ended.
    ///
    /// A forward deployment that succeeded is the last success, with the contents of its tasks. One that failed
    /// leaves what was before it, and so does a rollback, which returns to it.
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
    fn a_key_follows_the_latest_whatever_the_clocks_say() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let latest = EntryKey::new(at(1000), "r2");
        for now in [400, 1000, 1001, 5000] {
            assert!(EntryKey::following(Some(&latest), at(now), "r1") > latest, "{now}");
        }
        assert_eq!(EntryKey::following(Some(&latest), at(5000), "r1"), EntryKey::new(at(5000), "r1"));
        assert_eq!(EntryKey::following(None, at(5), "r1"), EntryKey::new(at(5), "r1"));
    }
}
