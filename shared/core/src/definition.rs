//! What a task says of itself: its kind, its limits, and what it needs. `describe` prints it as JSON.

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{assets::Asset, catch_up::CatchUp, name::TaskName, retry::Retry, schedule::Schedule};

/// The longest time a task may take: what Lambda allows one invocation.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(900);
/// How long a run's record is kept unless its task says otherwise.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// By how much a task's ticks may be put off at most.
pub const MAX_JITTER: Duration = Duration::from_secs(3600);
/// The time a task may take unless it says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// A task's definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Its name, one word everywhere.
    pub name: TaskName,
    /// What it does, for people: the doc comment of its function.
    pub description: String,
    /// How it is started, and what only such tasks have.
    #[serde(flatten)]
    pub kind: Kind,
    /// The time one run may take, all its attempts together.
    #[serde(rename = "timeout_ms", with = "crate::duration::as_millis")]
    pub timeout: Duration,
    /// How often its body is tried.
    pub retry: Retry,
    /// Files and folders that go with the binary.
    pub copy_assets: Vec<Asset>,
    /// Whether it can undo what it did.
    pub rollback: bool,
    /// What it belongs to, for lists: `billing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Further words to find it by.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// How long the records of its runs are kept.
    #[serde(default = "default_retention", rename = "retention_ms", with = "crate::duration::as_millis")]
    pub retention: Duration,
    /// The queue tasks for which it enqueues jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enqueues: Vec<TaskName>,
    /// Its configuration where nothing overrides it.
    pub config: Value,
    /// The JSON Schema of its configuration.
    pub config_schema: Value,
    /// The JSON Schema of its data, if it promises one.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub result_schema: Value,
}

fn default_retention() -> Duration {
    DEFAULT_RETENTION
}

/// The four kinds of task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// Started by a deployment.
    Lifecycle(Lifecycle),
    /// Started by a schedule.
    Cron(Cron),
    /// Started by whoever enqueues a job for it.
    Queue(Queue),
    /// Runs as long as the runner does; never in Lambda.
    Side(Side),
}

/// What a lifecycle task has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Which changes of the stack start it.
    pub run_on: BTreeSet<RunOn>,
    /// Whether the application waits for it.
    pub phase: Phase,
    /// What must have changed for it to run again.
    pub once_per: OncePer,
    /// The tasks that must have completed before it starts.
    pub depends_on: Vec<TaskName>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            run_on: BTreeSet::from([RunOn::Deploy, RunOn::Update]),
            phase: Phase::Before,
            once_per: OncePer::Deployment,
            depends_on: Vec::new(),
        }
    }
}

/// What a cron task has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cron {
    /// When it runs. Nothing if the task's own function is asked, each minute.
    pub schedule: Option<Schedule>,
    /// The IANA name of the time zone the schedule is read in.
    pub timezone: String,
    /// Which of several due tasks goes first.
    pub priority: Priority,
    /// What a tick does that comes while a run is in progress.
    #[serde(default)]
    pub overlap: Overlap,
    /// What becomes of ticks that had no run because nothing was there to start it.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// The tasks whose last run must have completed before it starts.
    #[serde(default)]
    pub depends_on: Vec<TaskName>,
    /// By how much its ticks may be put off, so that not all tasks start at once. Each task has its own fixed share of it.
    #[serde(default, rename = "jitter_ms", with = "crate::duration::as_millis")]
    pub jitter: Duration,
    /// Whether it is disabled after its first run.
    #[serde(default)]
    pub run_once: bool,
}

impl Cron {
    /// A cron task of that schedule, in UTC, without overlaps.
    pub fn new(schedule: Option<Schedule>) -> Self {
        Self {
            schedule,
            timezone: "UTC".to_owned(),
            priority: Priority::default(),
            overlap: Overlap::default(),
            catch_up: CatchUp::default(),
            depends_on: Vec::new(),
            jitter: Duration::ZERO,
            run_once: false,
        }
    }
}

/// What a queue task has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Which of several waiting jobs goes first, where whoever enqueues one does not say. SQS does not know priorities:
    /// they hold under the runner.
    #[serde(default)]
    pub priority: Priority,
    /// How many of its jobs may run at once; as many as there are workers for if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// The JSON Schema of its arguments: of an object with one key for each.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub arguments_schema: Value,
}

/// What a side task has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {}

/// A word of a closed set, as authors write it in an attribute and as it is stored.
macro_rules! words {
    ($(#[$doc:meta])* $type:ident: $what:literal, $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "&'static str", try_from = "String")]
        pub enum $type { $($(#[$variant_doc])* $variant),+ }

        impl $type {
            /// Each, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Every word there is, in order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The stored word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The name of the variant that the word stands for, for generated code.
            pub fn variant(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            /// Reads the word in any letter case, so that `Deploy` in code is `deploy` in a file.
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word.to_ascii_lowercase().as_str() {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { what: $what, word: word.to_owned(), words: Self::WORDS }),
                }
            }
        }

        impl From<$type> for &'static str {
            fn from(word: $type) -> Self {
                word.as_str()
            }
        }

        impl TryFrom<String> for $type {
            type Error = UnknownWord;

            fn try_from(word: String) -> Result<Self, UnknownWord> {
                word.parse()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

/// A word that is not one of those which may stand in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a {what}: it must be one of {}", words.join(", "))]
pub struct UnknownWord {
    /// What was wanted.
    pub what: &'static str,
    /// What was given.
    pub word: String,
    /// What may be given.
    pub words: &'static [&'static str],
}

words! {
    /// Which change of the stack starts a lifecycle task.
    RunOn: "change to run on",
    /// The stack is created.
    #[default]
    Deploy = "deploy",
    /// The stack is updated.
    Update = "update",
}

words! {
    /// Where a lifecycle task stands to the application's own functions.
    Phase: "phase",
    /// They wait for it: migrations, seeding, assets.
    #[default]
    Before = "before",
    /// It waits for them: cache warming, smoke tests.
    After = "after",
}

words! {
    /// What must have changed for a lifecycle task to run again.
    OncePer: "scope of once_per",
    /// Nothing: each deployment runs it.
    #[default]
    Deployment = "deployment",
    /// Its code, its assets or its configuration.
    Content = "content",
}

words! {
    /// What a tick does that comes while a run is in progress.
    Overlap: "policy of overlap",
    /// It is skipped, and recorded as such.
    #[default]
    Skip = "skip",
    /// It starts another run beside the first.
    Allow = "allow",
    /// It waits until the run is over; of several that wait the last one runs.
    Buffer = "buffer",
    /// It ends the run in progress, which is recorded as CANCELLED, and takes its place.
    Replace = "replace",
}

words! {
    /// Which of several tasks goes first.
    Priority: "priority",
    /// Before all others.
    Critical = "critical",
    /// Before most.
    High = "high",
    /// As most.
    #[default]
    Medium = "medium",
    /// After most.
    Low = "low",
    /// After all others.
    Background = "background",
}

/// The longest category or tag, in bytes.
const MAX_LABEL: usize = 64;

/// A text to find tasks by: a category or a tag. 1 to 64 bytes, without control characters and without spaces at its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

/// A text that is no category or tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a category or a tag: it must be 1 to 64 bytes of text, without spaces at its ends")]
pub struct InvalidLabel(pub String);

impl Label {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = InvalidLabel;

    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        let fits = (1..=MAX_LABEL).contains(&text.len()) && text.trim() == text;
        if fits && !text.contains(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidLabel(text.to_owned()))
        }
    }
}

/// Something in a definition that cannot stand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {reason}")]
pub struct Fault {
    /// The key at fault, as the author writes it.
    pub key: &'static str,
    /// Why, and what may stand there.
    pub reason: String,
}

impl Definition {
    /// A task of that name and kind that says nothing else: everything is what it is by default.
    pub fn new(name: TaskName, kind: Kind) -> Self {
        Self {
            name,
            description: String::new(),
            kind,
            timeout: DEFAULT_TIMEOUT,
            retry: Retry::default(),
            copy_assets: Vec::new(),
            rollback: false,
            category: None,
            tags: BTreeSet::new(),
            retention: DEFAULT_RETENTION,
            enqueues: Vec::new(),
            config: Value::Null,
            config_schema: Value::Null,
            result_schema: Value::Null,
        }
    }

    /// What a run does that would begin beside another one. Only cron tasks may choose; jobs are beside each other anyway.
    pub fn overlap(&self) -> Overlap {
        match &self.kind {
            Kind::Cron(cron) => cron.overlap,
            Kind::Queue(_) => Overlap::Allow,
            Kind::Lifecycle(_) | Kind::Side(_) => Overlap::Skip,
        }
    }

    /// Whether it is disabled after its first run.
    pub fn runs_once(&self) -> bool {
        matches!(&self.kind, Kind::Cron(Cron { run_once: true, .. }))
    }

    /// What in this definition cannot stand by itself; what tasks demand of each other, [`waves`] checks.
    ///
    /// [`waves`]: crate::deployment::waves
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |key, reason| faults.push(Fault { key, reason });
        if self.timeout.is_zero() || self.timeout > MAX_TIMEOUT {
            fault(
                "timeout",
                format!("{} is not within 1 ms and 900 s", humantime::format_duration(self.timeout)),
            );
        }
        if self.retry.max_attempts == 0 {
            fault("attempts", "0 attempts never run the body: give at least 1".into());
        }
        if self.retention.is_zero() {
            fault("retention", "records that are not kept at all cannot tell what ran".into());
        }
        let labels =
            self.category.iter().map(|it| ("category", it)).chain(self.tags.iter().map(|it| ("tags", it)));
        for (key, label) in labels {
            if let Err(error) = label.parse::<Label>() {
                fault(key, error.to_string());
            }
        }
        if let Some(cron) = self.cron()
            && cron.jitter > MAX_JITTER
        {
            fault("jitter", format!("{} is more than 1 h", humantime::format_duration(cron.jitter)));
        }
        if let Some(queue) = self.queue()
            && queue.concurrency == Some(0)
        {
            fault("concurrency", "0 jobs at once never run any: give at least 1".into());
        }
        for (i, asset) in self.copy_assets.iter().enumerate() {
            if let Some(twin) = self.copy_assets[..i].iter().find(|a| a.to == asset.to) {
                let reason = format!("`{}` and `{}` both go to `{}`", twin.from, asset.from, asset.to);
                fault("copy_assets", reason);
            }
        }
        if let Kind::Lifecycle(lifecycle) = &self.kind
            && lifecycle.run_on.is_empty()
        {
            fault("run_on", format!("an empty list never runs: give some of {}", RunOn::WORDS.join(", ")));
        }
        faults
    }

    /// What the task has if it is a lifecycle task.
    pub fn lifecycle(&self) -> Option<&Lifecycle> {
        match &self.kind {
            Kind::Lifecycle(lifecycle) => Some(lifecycle),
            Kind::Cron(_) | Kind::Queue(_) | Kind::Side(_) => None,
        }
    }

    /// What the task has if it is a cron task.
    pub fn cron(&self) -> Option<&Cron> {
        match &self.kind {
            Kind::Cron(cron) => Some(cron),
            Kind::Lifecycle(_) | Kind::Queue(_) | Kind::Side(_) => None,
        }
    }

    /// What the task has if it is a queue task.
    pub fn queue(&self) -> Option<&Queue> {
        match &self.kind {
            Kind::Queue(queue) => Some(queue),
            Kind::Lifecycle(_) | Kind::Cron(_) | Kind::Side(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition() -> Definition {
        let kind = Kind::Lifecycle(Lifecycle::default());
        Definition { config_schema: json!({}), ..Definition::new("run-migrations".parse().unwrap(), kind) }
    }

    #[test]
    fn l02_what_cannot_stand_names_its_key() {
        assert_eq!(definition().faults(), []);
        let faulty = Definition {
            timeout: Duration::from_secs(901),
            retry: Retry { max_attempts: 0, ..Retry::default() },
            retention: Duration::ZERO,
            category: Some(String::new()),
            tags: BTreeSet::from([" daily".to_owned()]),
            kind: Kind::Lifecycle(Lifecycle { run_on: BTreeSet::new(), ..Lifecycle::default() }),
            copy_assets: vec![Asset::new("a/x", None).unwrap(), Asset::new("b/x", None).unwrap()],
            ..definition()
        };
        let keys: Vec<_> = faulty.faults().iter().map(|f| f.key).collect();
        assert_eq!(keys, ["timeout", "attempts", "retention", "category", "tags", "copy_assets", "run_on"]);
    }

    #[test]
    fn l02_an_unknown_word_is_named_with_what_may_stand_there() {
        let error = "delete".parse::<RunOn>().unwrap_err();
        assert_eq!(error.to_string(), "`delete` is not a change to run on: it must be one of deploy, update");
    }

    #[test]
    fn a_definition_survives_its_json() {
        let json = serde_json::to_value(definition()).unwrap();
        assert_eq!(json["kind"], "lifecycle");
        assert_eq!(json["run_on"], json!(["deploy", "update"]));
        assert_eq!(json["timeout_ms"], 300_000);
        assert_eq!(serde_json::from_value::<Definition>(json).unwrap(), definition());
    }
}
