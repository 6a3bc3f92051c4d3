//! The file `lamplighter.toml`: settings of the project, and overrides of its tasks for each environment.

use std::{collections::BTreeMap, fs, io, path::Path};

use lamplighter_core::notification::Target;
use serde::{Deserialize, Serialize};

use crate::{architecture::Architecture, fault::Faults};

/// The name of the file in the workspace's folder.
pub const FILE: &str = "lamplighter.toml";

/// The log retentions that CloudWatch offers, in days. Source: CloudWatch Logs API Reference, `PutRetentionPolicy`.
pub const LOG_RETENTION_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// The durability of the local table, in SQLite's terms. A crash of the process alone loses nothing in either mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// A crash of the machine may lose the last writes. It never corrupts the file.
    #[default]
    Normal,
    /// A crash of the machine loses nothing: each write is on the disk before it is acknowledged.
    Full,
}

/// The content of the file. All keys are optional.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The project's name. Default: the name of the workspace's folder.
    pub name: Option<String>,
    /// The environment that is used unless the command line names one. Default: `dev`.
    pub environment: Option<String>,
    /// The place of the tasks in the workspace.
    pub project: Layout,
    /// Settings for building and deploying.
    pub build: Build,
    /// Settings of the local table.
    pub table: Table,
    /// The target of failure notifications. Default: none.
    pub notify: Option<Notify>,
    /// Properties of the functions of all tasks, by their names in a template.
    pub function: toml::Table,
    /// Properties of their roles.
    pub role: toml::Table,
    /// Settings of the application's functions, by their logical ids.
    pub functions: BTreeMap<String, FunctionConfig>,
    /// Overrides, by task.
    pub tasks: BTreeMap<String, TaskConfig>,
    /// Settings and overrides of single environments, by name.
    pub environments: BTreeMap<String, EnvironmentConfig>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// The place of the tasks in the workspace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Layout {
    /// The folders of the packages with tasks, as glob patterns relative to the workspace. Default: `functions/tasks/**`.
    pub tasks: Option<Vec<String>>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// Settings for building and deploying.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Build {
    /// The processor that functions run on.
    pub architecture: Architecture,
    /// The SAM template with the user's own resources, relative to the workspace.
    pub application: Option<String>,
    /// The file to which the stack's template is written, relative to the workspace. None for `infra/template.yaml`.
    pub template: Option<String>,
    /// The retention of logs, in days.
    pub log_retention_days: u32,
    #[serde(flatten)]
    unknown: Unknown,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            architecture: Architecture::default(),
            application: None,
            template: None,
            log_retention_days: 30,
            unknown: Unknown::new(),
        }
    }
}

/// Settings of the local table.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Table {
    /// The table's durability: `normal` or `full`.
    pub synchronous: Synchronous,
    #[serde(flatten)]
    unknown: Unknown,
}

/// The target of failure notifications: exactly one of these.
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

/// Settings of a function of the application.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct FunctionConfig {
    /// The queue tasks for which it enqueues jobs.
    pub enqueues: Vec<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// Settings and overrides of one environment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct EnvironmentConfig {
    /// The target of failure notifications, instead of the project's.
    pub notify: Option<Notify>,
    /// Properties of the functions of all tasks, in addition to the project's.
    pub function: toml::Table,
    /// Properties of their roles, in addition to the project's.
    pub role: toml::Table,
    /// Overrides by task. They take precedence over those of the project.
    pub tasks: BTreeMap<String, TaskConfig>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// Overrides of one task.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TaskConfig {
    /// The timeout of one run, such as `1m`.
    pub timeout: Option<String>,
    /// The number of attempts, with the first one.
    pub attempts: Option<u32>,
    /// The schedule of a cron task.
    pub schedule: Option<String>,
    /// The time zone of its schedule.
    pub timezone: Option<String>,
    /// The priority among due tasks.
    pub priority: Option<String>,
    /// The policy for a tick that is due while a run is in progress.
    pub overlap: Option<String>,
    /// The policy for missed ticks, such as `all within 1h`.
    pub catch_up: Option<String>,
    /// The retention of its records, in days.
    pub retention_days: Option<u32>,
    /// The memory of its function, in megabytes.
    pub memory_mb: Option<u32>,
    /// Overrides of single keys of its configuration.
    pub config: toml::Table,
    /// Further statements of its function's role.
    pub permissions: Vec<Permission>,
    /// Further environment variables.
    pub environment: BTreeMap<String, String>,
    /// Properties of its function, by their names in a template.
    pub function: toml::Table,
    /// Properties of its function's role.
    pub role: toml::Table,
    #[serde(flatten)]
    unknown: Unknown,
}

/// A statement of a role.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Permission {
    /// The IAM actions that it allows, such as `s3:PutObject`.
    pub actions: Vec<String>,
    /// The ARNs of the resources, with `${...}` as in `Fn::Sub`.
    pub resources: Vec<String>,
    #[serde(flatten, skip_serializing)]
    unknown: Unknown,
}

/// Unknown keys. They are collected, so that all of them are reported at once.
type Unknown = BTreeMap<String, toml::Value>;

impl Config {
    /// Reads the file of the workspace in `root`. A missing file is like an empty one.
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

    /// Parses the text of the file.
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

    /// Returns the target of failure notifications in one environment, if it has one. An invalid target is a fault.
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
            let reason = format!("expected exactly one of {}", Target::KEYS.join(", "));
            faults.add(FILE, prefix, reason);
            return None;
        };
        let key = format!("{prefix}.{}", target.key());
        target.checked().map_err(|error| faults.add(FILE, key, error)).ok()
    }

    /// Iterates over the tasks with overrides, each with its key in the file.
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
                faults.add(FILE, format!("{prefix}{key}"), format!("unknown key: expected one of {known}"));
            }
        };
        report(
            "",
            &self.unknown,
            "name, environment, project, build, table, notify, function, role, functions, tasks, environments",
        );
        report("project.", &self.project.unknown, "tasks");
        report("build.", &self.build.unknown, "architecture, application, template, log_retention_days");
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
                             memory_mb, config, permissions, environment, function, role";
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
                faults.add(FILE, key, "unknown key: expected one of notify, function, role, tasks");
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
    fn l02_every_unknown_key_is_reported_with_its_file() {
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
        assert!(faults(text)[0].starts_with("lamplighter.toml: naem: unknown key: expected one of name,"));
    }

    #[test]
    fn l02_a_value_of_a_wrong_type_is_reported_with_its_line() {
        let [fault] = &faults("[tasks.a]\n\nattempts = \"two\"\n")[..] else { panic!("one fault") };
        assert!(fault.starts_with("lamplighter.toml: line 3: invalid type: string \"two\""), "{fault}");
        let [fault] = &faults("[build]\narchitecture = \"arm\"\n")[..] else { panic!("one fault") };
        assert!(fault.contains("unknown variant `arm`, expected `x86_64` or `arm64`"), "{fault}");
    }

    #[test]
    fn p06_there_is_one_notification_target_and_a_mistake_in_it_is_reported() {
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
            ("[notify]", "lamplighter.toml: notify: expected exactly one of topic, event_bus, webhook"),
            (
                "[notify]\ntopic = \"${A}\"\nwebhook = \"https://x.example/\"",
                "lamplighter.toml: notify: expected exactly one of topic, event_bus, webhook",
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
    fn an_environment_overrides_the_project() {
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
