//! A task's definition: its kind, its limits, and its requirements. `describe` prints it as JSON.

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{assets::Asset, catch_up::CatchUp, name::TaskName, retry::Retry, schedule::Schedule};

/// The maximum timeout of a task. Source: Lambda quotas, function timeout.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(900);
/// The default time for which a run's record is kept.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// The maximum jitter of a schedule.
pub const MAX_JITTER: Duration = Duration::from_secs(3600);
/// The default timeout of a task.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// A task's definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The name, the same in every place.
    pub name: TaskName,
    /// The description for people: the doc comment of the task's function.
    pub description: String,
    /// The kind of the task, with its own settings.
    #[serde(flatten)]
    pub kind: Kind,
    /// The time limit of one run, all its attempts together.
    #[serde(rename = "timeout_ms", with = "crate::duration::as_millis")]
    pub timeout: Duration,
    /// The number of attempts, and the backoff between them.
    pub retry: Retry,
    /// Files and folders that are copied next to the binary.
    pub copy_assets: Vec<Asset>,
    /// The task has a `rollback` function that undoes its work.
    pub rollback: bool,
    /// A category for lists, such as `billing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Tags for lists.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// The time for which records of runs are kept.
    #[serde(default = "default_retention", rename = "retention_ms", with = "crate::duration::as_millis")]
    pub retention: Duration,
    /// The queue tasks to which it adds jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enqueues: Vec<TaskName>,
    /// The default configuration.
    pub config: Value,
    /// The JSON Schema of the configuration.
    pub config_schema: Value,
    /// The JSON Schema of the returned data; null if the task declares none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub result_schema: Value,
}

/// The output of a task's binary that is run with `describe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The version of the crate `lamplighter` that it was built with.
    pub lamplighter: String,
    /// The task's definition.
    #[serde(flatten)]
    pub definition: Definition,
}

fn default_retention() -> Duration {
    DEFAULT_RETENTION
}

/// The four kinds of task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// A deployment starts it.
    Lifecycle(Lifecycle),
    /// A schedule starts it.
    Cron(Cron),
    /// A job in its queue starts it.
    Queue(Queue),
    /// It runs as long as the runner does, and never in Lambda.
    Side(Side),
}

/// The settings of a lifecycle task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// The changes of the stack that start it.
    pub run_on: BTreeSet<RunOn>,
    /// Before or after the application's own functions are deployed.
    pub phase: Phase,
    /// The change that makes it run again.
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

/// The settings of a cron task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cron {
    /// The schedule; none if the task's schedule function is called each minute instead.
    pub schedule: Option<Schedule>,
    /// The IANA name of the schedule's time zone.
    pub timezone: String,
    /// The priority among tasks that are due at the same time.
    pub priority: Priority,
    /// The policy for a tick that comes while a run is in progress.
    #[serde(default)]
    pub overlap: Overlap,
    /// The policy for missed ticks: those that nothing started at their time.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// The tasks whose last run must have completed before it starts.
    #[serde(default)]
    pub depends_on: Vec<TaskName>,
    /// The maximum delay of the task's ticks, so that not all tasks start at once. Each task has a fixed share
    /// of this delay, derived from its name.
    #[serde(default, rename = "jitter_ms", with = "crate::duration::as_millis")]
    pub jitter: Duration,
    /// The task is disabled after its first run.
    #[serde(default)]
    pub run_once: bool,
}

impl Cron {
    /// Creates the settings of a cron task with this schedule, in UTC, without overlaps.
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

/// The settings of a queue task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// The default priority of its jobs. Only the runner obeys it; SQS has no priorities.
    #[serde(default)]
    pub priority: Priority,
    /// The maximum number of its jobs that run at once; none if only the number of workers limits them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// The JSON Schema of the arguments: an object with one key for each argument.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub arguments_schema: Value,
}

/// The settings of a side task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {}

/// Defines a closed set of words, as authors write them in an attribute and as they are stored.
macro_rules! words {
    ($(#[$doc:meta])* $type:ident: $what:literal, $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "&'static str", try_from = "String")]
        pub enum $type { $($(#[$variant_doc])* $variant),+ }

        impl $type {
            /// All values, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// All words, in order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// Returns the stored word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Returns the name of the variant, for generated code.
            pub fn variant(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            /// Reads the word in any letter case. So `Deploy` in code equals `deploy` in a file.
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

/// The error of a word that is not in its set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a {what}: it must be one of {}", words.join(", "))]
pub struct UnknownWord {
    /// The expected kind of word.
    pub what: &'static str,
    /// The given word.
    pub word: String,
    /// The allowed words.
    pub words: &'static [&'static str],
}

words! {
    /// A change of the stack that starts a lifecycle task.
    RunOn: "change to run on",
    /// The stack is created.
    #[default]
    Deploy = "deploy",
    /// The stack is updated.
    Update = "update",
}

words! {
    /// The place of a lifecycle task in a deployment, relative to the application's own functions.
    Phase: "phase",
    /// Before them: migrations, seeding, assets.
    #[default]
    Before = "before",
    /// After them: cache warming, smoke tests.
    After = "after",
}

words! {
    /// The change that makes a lifecycle task run again.
    OncePer: "scope of once_per",
    /// Every deployment.
    #[default]
    Deployment = "deployment",
    /// A change of its code, its assets or its configuration.
    Content = "content",
}

words! {
    /// The policy for a tick that comes while a run is in progress.
    Overlap: "policy of overlap",
    /// The tick is skipped and recorded as SKIPPED.
    #[default]
    Skip = "skip",
    /// The tick starts another run beside the first.
    Allow = "allow",
    /// The tick waits until the run is over. Of several waiting ticks the last one runs.
    Buffer = "buffer",
    /// The run in progress is cancelled and recorded as CANCELLED. The tick's run takes its place.
    Replace = "replace",
}

words! {
    /// The priority of a task or a job.
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

/// The maximum length of a category or tag, in bytes.
const MAX_LABEL: usize = 64;

/// A category or a tag: 1 to 64 bytes, without control characters and without spaces at its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

/// The error of a text that is not a category or tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a category or a tag: it must be 1 to 64 bytes of text, without spaces at its ends")]
pub struct InvalidLabel(pub String);

impl Label {
    /// Returns the text.
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

/// An invalid setting in a definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {reason}")]
pub struct Fault {
    /// The key at fault, as the author writes it.
    pub key: &'static str,
    /// The fault, and what is allowed.
    pub reason: String,
}

impl Definition {
    /// Creates a definition with this name and kind, and defaults for everything else.
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

    /// Returns the overlap policy. Only cron tasks can choose it; jobs always run beside each other.
    pub fn overlap(&self) -> Overlap {
        match &self.kind {
            Kind::Cron(cron) => cron.overlap,
            Kind::Queue(_) => Overlap::Allow,
            Kind::Lifecycle(_) | Kind::Side(_) => Overlap::Skip,
        }
    }

    /// Returns whether the task is disabled after its first run.
    pub fn runs_once(&self) -> bool {
        matches!(&self.kind, Kind::Cron(Cron { run_once: true, .. }))
    }

    /// Returns the faults of this definition by itself. [`waves`] checks the dependencies between tasks.
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

    /// Returns the settings of a lifecycle task.
    pub fn lifecycle(&self) -> Option<&Lifecycle> {
        match &self.kind {
            Kind::Lifecycle(lifecycle) => Some(lifecycle),
            Kind::Cron(_) | Kind::Queue(_) | Kind::Side(_) => None,
        }
    }

    /// Returns the settings of a cron task.
    pub fn cron(&self) -> Option<&Cron> {
        match &self.kind {
            Kind::Cron(cron) => Some(cron),
            Kind::Lifecycle(_) | Kind::Queue(_) | Kind::Side(_) => None,
        }
    }

    /// Returns the settings of a queue task.
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
    fn l02_an_invalid_value_is_reported_with_its_key() {
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
    fn l02_an_unknown_word_is_reported_with_the_allowed_ones() {
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
