//! `lamplighter.toml`: what a project and its environments say differently from the tasks.

use std::{collections::BTreeMap, fs, io, path::Path};

use lamplighter_core::notify::Target;
use serde::{Deserialize, Serialize};

use crate::{architecture::Architecture, fault::Faults};

/// The file's name, in the workspace's folder.
pub const FILE: &str = "lamplighter.toml";

/// For how many days CloudWatch can keep logs. Source: CloudWatch Logs API Reference, `PutRetentionPolicy`.
pub const LOG_RETENTION_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// The writes that a crash of the machine may cost the local table, in SQLite's words. A crash of the process loses nothing with
/// either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// The last writes, never their order or the file.
    #[default]
    Normal,
    /// None: each write is on the disk before it is acknowledged.
    Full,
}

/// The file as it is written. Everything may be left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The project's name. Left out: the workspace folder's.
    pub name: Option<String>,
    /// The environment where the command line names none. Left out: `dev`.
    pub environment: Option<String>,
    /// How it is built and deployed.
    pub build: Build,
    /// The table on this machine.
    pub table: Table,
    /// Who is told when a task fails. Left out: nobody.
    pub notify: Option<Notify>,
    /// What the application's own functions do with tasks, by the logical ids of the functions.
    pub functions: BTreeMap<String, FunctionConfig>,
    /// Overrides by task.
    pub tasks: BTreeMap<String, TaskConfig>,
    /// What one environment says differently again.
    pub environments: BTreeMap<String, EnvironmentConfig>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// How a project is built and deployed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Build {
    /// The processor that functions run on.
    pub architecture: Architecture,
    /// A SAM template with the user's own resources, relative to the workspace.
    pub application: Option<String>,
    /// How long logs are kept.
    pub log_retention_days: u32,
    #[serde(flatten)]
    unknown: Unknown,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            architecture: Architecture::default(),
            application: None,
            log_retention_days: 30,
            unknown: Unknown::new(),
        }
    }
}

/// How the table is kept on this machine; in AWS it is always on several.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Table {
    /// What a crash of the machine may cost: `normal` the last writes, `full` nothing.
    pub synchronous: Synchronous,
    #[serde(flatten)]
    unknown: Unknown,
}

/// Who is told when a task fails: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Notify {
    /// The ARN of an SNS topic, with `${...}` as in `Fn::Sub`.
    pub topic: Option<String>,
    /// The name or the ARN of an event bus, with `${...}` as in `Fn::Sub`.
    pub event_bus: Option<String>,
    /// A URL that takes a POST of JSON.
    pub webhook: Option<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// What a function of the application does with tasks.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct FunctionConfig {
    /// The queue tasks for which it enqueues jobs.
    pub enqueues: Vec<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// What one environment says differently.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct EnvironmentConfig {
    /// Who is told when a task fails, instead of whom the project tells.
    pub notify: Option<Notify>,
    /// Overrides by task, over those of the project.
    pub tasks: BTreeMap<String, TaskConfig>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// Overrides of one task.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TaskConfig {
    /// The time one run may take, as people write it: `1m`.
    pub timeout: Option<String>,
    /// How often its body is tried, in total.
    pub attempts: Option<u32>,
    /// When it runs, of a cron task.
    pub schedule: Option<String>,
    /// The time zone its schedule is read in.
    pub timezone: Option<String>,
    /// Which of several due tasks goes first.
    pub priority: Option<String>,
    /// What a tick does that comes while a run is in progress.
    pub overlap: Option<String>,
    /// What becomes of ticks that had no run because nothing was there to start it: `all within 1h`.
    pub catch_up: Option<String>,
    /// How long the records of its runs are kept.
    pub retention_days: Option<u32>,
    /// The memory of its function.
    pub memory_mb: Option<u32>,
    /// What its configuration has instead of the defaults, key by key.
    pub config: toml::Table,
    /// Further statements of its function's role.
    pub permissions: Vec<Permission>,
    /// Further environment variables.
    pub environment: BTreeMap<String, String>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// A statement of a role: what is allowed, and on what.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Permission {
    /// IAM actions, such as `s3:PutObject`.
    pub actions: Vec<String>,
    /// ARNs, with `${...}` as in `Fn::Sub`.
    pub resources: Vec<String>,
    #[serde(flatten, skip_serializing)]
    unknown: Unknown,
}

/// Keys that nobody knows. They are collected, so that all of them can be told at once.
type Unknown = BTreeMap<String, toml::Value>;

impl Config {
    /// The file of the workspace in `root`; a missing one is an empty one.
    pub fn load(root: &Path) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        match fs::read_to_string(root.join(FILE)) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => {
                faults.add(FILE, "", format!("cannot be read: {error}"));
                Err(faults)
            }
        }
    }

    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        match toml::from_str::<Self>(text) {
            Ok(config) => {
                config.unknown_keys(&mut faults);
                faults.none_or(config)
            }
            Err(error) => {
                let line = error.span().map(|span| text[..span.start].lines().count().max(1));
                let place = line.map(|line| format!("line {line}")).unwrap_or_default();
                faults.add(FILE, place, error.message());
                Err(faults)
            }
        }
    }

    /// The overrides of one task in one environment, weakest first, each with its key in the file.
    pub fn layers(&self, task: &str, environment: &str) -> Vec<(String, &TaskConfig)> {
        let project = self.tasks.get(task).map(|config| (format!("tasks.{task}"), config));
        let environment_config = self.environments.get(environment).and_then(|e| e.tasks.get(task));
        let of_environment =
            environment_config.map(|config| (format!("environments.{environment}.tasks.{task}"), config));
        project.into_iter().chain(of_environment).collect()
    }

    /// Who is told in one environment, with the key in the file; nothing if nobody is.
    pub fn notify(&self, environment: &str, faults: &mut Faults) -> Option<Target> {
        let of_environment = self.environments.get(environment).and_then(|config| config.notify.as_ref());
        let (prefix, notify) = match of_environment {
            Some(notify) => (format!("environments.{environment}.notify"), notify),
            None => ("notify".to_owned(), self.notify.as_ref()?),
        };
        let targets = [
            notify.topic.clone().map(Target::Topic),
            notify.event_bus.clone().map(Target::EventBus),
            notify.webhook.clone().map(Target::Webhook),
        ];
        let mut targets = targets.into_iter().flatten();
        let (Some(target), None) = (targets.next(), targets.next()) else {
            let reason = format!("must have exactly one of {}", Target::KEYS.join(", "));
            faults.add(FILE, prefix, reason);
            return None;
        };
        let key = format!("{prefix}.{}", target.key());
        target.checked().map_err(|error| faults.add(FILE, key, error)).ok()
    }

    /// Every task that is named, each with its key in the file.
    pub fn named_tasks(&self) -> impl Iterator<Item = (String, &str)> {
        let project = self.tasks.keys().map(|task| (format!("tasks.{task}"), task.as_str()));
        let environments = self.environments.iter().flat_map(|(environment, config)| {
            config
                .tasks
                .keys()
                .map(move |task| (format!("environments.{environment}.tasks.{task}"), task.as_str()))
        });
        project.chain(environments)
    }

    fn unknown_keys(&self, faults: &mut Faults) {
        let mut report = |prefix: &str, unknown: &Unknown, known: &str| {
            for key in unknown.keys() {
                faults.add(FILE, format!("{prefix}{key}"), format!("is not a key here: there are {known}"));
            }
        };
        report("", &self.unknown, "name, environment, build, table, notify, functions, tasks, environments");
        report("build.", &self.build.unknown, "architecture, application, log_retention_days");
        report("table.", &self.table.unknown, "synchronous");
        let targets = Target::KEYS.join(", ");
        if let Some(notify) = &self.notify {
            report("notify.", &notify.unknown, &targets);
        }
        for (function, config) in &self.functions {
            report(&format!("functions.{function}."), &config.unknown, "enqueues");
        }
        for (environment, config) in &self.environments {
            if let Some(notify) = &config.notify {
                report(&format!("environments.{environment}.notify."), &notify.unknown, &targets);
            }
        }
        let mut report_tasks = |prefix: &str, tasks: &BTreeMap<String, TaskConfig>| {
            for (task, config) in tasks {
                let prefix = format!("{prefix}tasks.{task}.");
                let known = "timeout, attempts, schedule, timezone, priority, overlap, catch_up, retention_days, \
                             memory_mb, config, permissions, environment";
                report(&prefix, &config.unknown, known);
                for (i, permission) in config.permissions.iter().enumerate() {
                    report(&format!("{prefix}permissions[{i}]."), &permission.unknown, "actions, resources");
                }
            }
        };
        report_tasks("", &self.tasks);
        for (environment, config) in &self.environments {
            report_tasks(&format!("environments.{environment}."), &config.tasks);
        }
        for (environment, config) in &self.environments {
            for key in config.unknown.keys() {
                let key = format!("environments.{environment}.{key}");
                faults.add(FILE, key, "is not a key here: there are notify, tasks");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        Config::parse(text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn l02_every_unknown_key_is_named_with_its_file() {
        let text = r#"
            naem = "shop"
            [build]
            architektur = "arm64"
            [tasks.a]
            time_out = "1m"
            [[tasks.a.permissions]]
            resource = ["x"]
            [environments.production]
            task = 1
            [environments.production.tasks.a]
            memory = 1
        "#;
        let keys: Vec<_> = Config::parse(text).unwrap_err().iter().map(|fault| fault.key.clone()).collect();
        assert_eq!(
            keys,
            [
                "naem",
                "build.architektur",
                "tasks.a.time_out",
                "tasks.a.permissions[0].resource",
                "environments.production.tasks.a.memory",
                "environments.production.task",
            ]
        );
        assert!(faults(text)[0].starts_with("lamplighter.toml: naem: is not a key here: there are name,"));
    }

    #[test]
    fn l02_a_value_of_a_wrong_type_is_placed() {
        let [fault] = &faults("[tasks.a]\n\nattempts = \"two\"\n")[..] else { panic!("one fault") };
        assert!(fault.starts_with("lamplighter.toml: line 3: invalid type: string \"two\""), "{fault}");
        let [fault] = &faults("[build]\narchitecture = \"arm\"\n")[..] else { panic!("one fault") };
        assert!(fault.contains("unknown variant `arm`, expected `x86_64` or `arm64`"), "{fault}");
    }

    #[test]
    fn p06_who_is_told_is_one_and_a_mistake_is_named() {
        let notify = |text: &str, environment: &str| {
            let mut faults = Faults::default();
            let target = Config::parse(text).unwrap().notify(environment, &mut faults);
            (target, faults.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let both =
            "[notify]\nevent_bus = \"default\"\n[environments.p.notify]\nwebhook = \"https://x.example/\"";
        assert_eq!(notify(both, "dev").0, Some(Target::EventBus("default".into())));
        assert_eq!(notify(both, "p").0, Some(Target::Webhook("https://x.example/".into())));
        for (text, wanted) in [
            ("[notify]", "lamplighter.toml: notify: must have exactly one of topic, event_bus, webhook"),
            (
                "[notify]\ntopic = \"${A}\"\nwebhook = \"https://x.example/\"",
                "lamplighter.toml: notify: must have exactly one of topic, event_bus, webhook",
            ),
            (
                "[environments.dev.notify]\ntopic = \"alerts\"",
                "lamplighter.toml: environments.dev.notify.topic: `alerts` is not the ARN of an SNS topic",
            ),
        ] {
            let (target, faults) = notify(text, "dev");
            assert_eq!(target, None);
            assert!(faults[0].starts_with(wanted), "{faults:?}");
        }
        assert!(Config::parse("[notify]\nslack = \"x\"").is_err());
    }

    #[test]
    fn an_environment_goes_over_the_project() {
        let config =
            Config::parse("[tasks.a]\nattempts = 1\n[environments.p.tasks.a]\nattempts = 2").unwrap();
        let attempts = |environment| {
            let layers = config.layers("a", environment);
            layers.into_iter().map(|(key, layer)| (key, layer.attempts)).collect::<Vec<_>>()
        };
        assert_eq!(attempts("dev"), [("tasks.a".to_owned(), Some(1))]);
        assert_eq!(attempts("p")[1], ("environments.p.tasks.a".to_owned(), Some(2)));
    }
}
