//! The checks of a project: of each task by itself, and across tasks.

use std::collections::BTreeMap;

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneName},
};
use lamplighter_core::{
    definition::{Kind, Phase},
    deployment::{OrderError, waves},
    name::TaskName,
    resolve,
    schema::Violation,
    zone::UnknownZone,
};
use serde_json::Value;

use super::{Task, secrets};
use crate::{
    config::{self, Config, TaskConfig},
    describe::DescribedTask,
    fault::Faults,
    phases::InOrder,
    variables::{NO_NAME, is_name, reserved},
};

/// The limits of a function's memory. Source: AWS Lambda Developer Guide, "Lambda quotas".
const MEMORY_MB: std::ops::RangeInclusive<u32> = 128..=10_240;

/// The most bytes of the variables that a project sets for one function: Lambda's 4 KB without those that the template
/// adds. Source: AWS Lambda Developer Guide, "Lambda quotas".
const VARIABLES_BYTES: usize = 3584;
/// The prefix of the framework's own variables.
const OWN_PREFIX: &str = "LAMPLIGHTER_";
/// The variables with this prefix that a project may set: the location of the assets, and the log level.
const SETTABLE: [&str; 2] = ["LAMPLIGHTER_ASSETS", "LAMPLIGHTER_LOG"];

pub(super) fn environment(name: &str, faults: &mut Faults) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(is_word) {
        let reason = format!("`{name}` is not a valid name: use letters, digits, `-` and `_`");
        faults.add(config::FILE, "environment", reason);
    }
}

/// Adds a fault for each task in the file that does not exist.
pub(super) fn named_tasks(config: &Config, described: &[DescribedTask], faults: &mut Faults) {
    let known: Vec<_> = described.iter().map(|d| d.definition.name.as_str()).collect();
    for (key, task) in config.named_tasks() {
        if !known.contains(&task) {
            let reason = match known.as_slice() {
                [] => format!("there is no task `{task}`: functions/tasks is empty"),
                known => format!("there is no task `{task}`: the tasks are {}", known.join(", ")),
            };
            faults.add(config::FILE, key, reason);
        }
    }
}

/// Checks one task by itself. A fault in an overridden value is reported for the file with the override.
pub(super) fn task(task: &Task, layers: &[(String, &TaskConfig)], faults: &mut Faults) {
    let place = |key: &str, set: &dyn Fn(&TaskConfig) -> bool| {
        let layer = layers.iter().rev().find(|(_, layer)| set(layer));
        let overridden = layer.map(|(prefix, _)| (config::FILE.to_owned(), format!("{prefix}.{key}")));
        overridden.unwrap_or_else(|| (task.source.clone(), key.to_owned()))
    };
    for fault in task.definition.faults() {
        let (file, key) = match fault.key {
            "timeout" => place("timeout", &|layer| layer.timeout.is_some()),
            "attempts" => place("attempts", &|layer| layer.attempts.is_some()),
            key => (task.source.clone(), key.to_owned()),
        };
        faults.add(file, key, fault.reason);
    }
    if let Some(cron) = task.definition.cron()
        && let Err(error) = check_zone(&cron.timezone)
    {
        let (file, key) = place("timezone", &|layer| layer.timezone.is_some());
        faults.add(file, key, error);
    }
    if !MEMORY_MB.contains(&task.memory_mb) {
        let (file, key) = place("memory_mb", &|layer| layer.memory_mb.is_some());
        let reason =
            format!("{} is not between {} and {} MB", task.memory_mb, MEMORY_MB.start(), MEMORY_MB.end());
        faults.add(file, key, reason);
    }
    for path in secrets::in_clear(&task.definition.config, &task.definition.config_schema) {
        let [first, ..] = path.as_slice() else { continue };
        let (file, key) =
            place(&format!("config.{}", path.join(".")), &|layer| layer.config.contains_key(first));
        let reason = "is secret and must not be in plain text: use a reference such as `{{resolve:secretsmanager:...}}` or \
                      `{{resolve:ssm:...}}`, which CloudFormation resolves";
        faults.add(file, key, reason);
    }
    for found in resolve::find(&task.definition.config) {
        let first = found.path.split(['.', '[']).next().unwrap_or_default();
        let (file, key) = place(&format!("config.{}", found.path), &|layer| layer.config.contains_key(first));
        if found.is_key {
            let reason = format!(
                "has the key `{}`, but CloudFormation resolves only values: write the key out",
                found.text
            );
            faults.add(file, key, reason);
        } else if let Err(error) = resolve::references(found.text) {
            faults.add(file, key, error);
        }
    }
    for (prefix, layer) in layers {
        layer_keys(task, prefix, layer, faults);
    }
    if let Some((key, violation)) = invalid_config(task, layers) {
        let (file, _) = place("config", &|layer| layer.config.contains_key(&key));
        let prefix = layers.iter().rev().find(|(_, layer)| layer.config.contains_key(&key));
        let prefix = prefix.map_or("", |(prefix, _)| prefix);
        faults.add(file, format!("{prefix}.config.{}", violation.path), violation.reason);
    }
}

/// Checks the configuration against the task's schema, and returns the first key of the file that violates it.
///
/// Keys that the file leaves out are not checked: they can be set at run time, and the file is not to blame for the defaults.
fn invalid_config(task: &Task, layers: &[(String, &TaskConfig)]) -> Option<(String, Violation)> {
    let schema = &task.definition.config_schema;
    let properties = closed_properties(schema);
    let is_overridden = |key: &str| layers.iter().any(|(_, layer)| layer.config.contains_key(key));
    // An unknown key is already reported.
    let is_known = |key: &str| properties.is_none_or(|properties| properties.contains_key(key));
    let config = task.definition.config.as_object()?.iter();
    let overridden = config.filter(|(key, _)| is_overridden(key) && is_known(key));
    let overridden = overridden.map(|(key, value)| (key.clone(), value.clone())).collect();
    let violation = match properties {
        Some(_) => {
            let mut schema = schema.clone();
            schema.as_object_mut()?.remove("required");
            resolve::check(&Value::Object(overridden), &schema).err()?
        }
        None => resolve::check(&task.definition.config, schema).err()?,
    };
    let key = violation.path.split(['.', '[']).next().unwrap_or_default().to_owned();
    is_overridden(&key).then_some((key, violation))
}

/// The properties of a schema, if it allows no others.
fn closed_properties(schema: &Value) -> Option<&serde_json::Map<String, Value>> {
    let is_closed = ["additionalProperties", "patternProperties", "anyOf", "oneOf", "allOf", "$ref"]
        .iter()
        .all(|word| matches!(schema.get(*word), None | Some(Value::Bool(false))));
    schema["properties"].as_object().filter(|_| is_closed)
}

/// Checks that the database has a time zone of exactly this name, since EventBridge is case-sensitive.
fn check_zone(name: &str) -> Result<(), UnknownZone> {
    let known: Vec<_> = jiff::tz::db().available().collect();
    let known = known.iter().map(TimeZoneName::as_str);
    if known.clone().any(|known| known == name) { Ok(()) } else { Err(UnknownZone::new(name, known)) }
}

/// Checks the keys of one table of overrides.
fn layer_keys(task: &Task, prefix: &str, layer: &TaskConfig, faults: &mut Faults) {
    if let Some(properties) = closed_properties(&task.definition.config_schema) {
        for key in layer.config.keys().filter(|key| !properties.contains_key(*key)) {
            let mut known: Vec<_> = properties.keys().map(String::as_str).collect();
            known.sort_unstable();
            let reason = format!("is not in the task's configuration: expected one of {}", known.join(", "));
            faults.add(config::FILE, format!("{prefix}.config.{key}"), reason);
        }
    }
    for (i, permission) in layer.permissions.iter().enumerate() {
        for (key, values) in [("actions", &permission.actions), ("resources", &permission.resources)] {
            if values.is_empty() {
                let key = format!("{prefix}.permissions[{i}].{key}");
                faults.add(config::FILE, key, "is empty: a statement needs at least one");
            }
        }
    }
    for (name, value) in &layer.environment {
        let key = format!("{prefix}.environment.{name}");
        if !is_name(name) {
            faults.add(config::FILE, key, reserved(name).unwrap_or(NO_NAME));
        } else if name.starts_with(OWN_PREFIX) && !SETTABLE.contains(&name.as_str()) {
            let reason = format!(
                "is reserved for Lamplighter, as all names with `{OWN_PREFIX}` except for {}: use another name",
                SETTABLE.join(" and ")
            );
            faults.add(config::FILE, key, reason);
        } else if let Err(error) = resolve::references(value) {
            faults.add(config::FILE, key, error);
        }
    }
}

/// Checks names, dependencies and queues across tasks.
pub(super) fn across_tasks(tasks: &[Task], faults: &mut Faults) {
    let mut by_name: BTreeMap<&TaskName, &Task> = BTreeMap::new();
    for task in tasks {
        if let Some(first) = by_name.insert(task.name(), task) {
            let reason =
                format!("{}, the other one in {}", OrderError::Duplicate(task.name().clone()), first.source);
            faults.add(&task.source, "name", reason);
        }
    }
    cron_dependencies(&by_name, faults);
    enqueues(&by_name, faults);
    let lifecycle: BTreeMap<_, _> = by_name
        .iter()
        .filter_map(|(name, task)| Some((*name, (*task, task.definition.lifecycle()?))))
        .collect();
    let mut known = Vec::new();
    for (name, (task, own)) in &lifecycle {
        for needed in &own.depends_on {
            let reason = match (lifecycle.get(needed), by_name.get(needed)) {
                (Some((_, theirs)), _) if own.phase == Phase::Before && theirs.phase == Phase::After => {
                    Some(format!(
                        "`{name}` runs before the application, but depends on `{needed}`, which runs after it"
                    ))
                }
                (Some(_), _) => None,
                (None, Some(_)) => Some(format!(
                    "`{name}` depends on `{needed}`, which is not a lifecycle task: deployments run only those"
                )),
                (None, None) => Some(
                    OrderError::Unknown {
                        task: (*name).clone(),
                        unknown: needed.clone(),
                        known: lifecycle.keys().map(|name| (*name).clone()).collect(),
                    }
                    .to_string(),
                ),
            };
            if let Some(reason) = reason {
                faults.add(&task.source, "depends_on", reason);
            }
        }
        let depends_on = own.depends_on.iter().filter(|n| lifecycle.contains_key(n)).cloned().collect();
        known.push(InOrder { name, depends_on });
    }
    if let Err(error) = waves(&known) {
        let first = match &error {
            OrderError::Cycle(names) => names.first().and_then(|name| by_name.get(name)),
            OrderError::Duplicate(name) | OrderError::Unknown { task: name, .. } => by_name.get(name),
        };
        let source = first.map_or(crate::workspace::TASKS, |task| task.source.as_str());
        faults.add(source, "depends_on", error);
    }
}

/// Checks that cron tasks depend on tasks that have runs, and not on each other in a circle.
fn cron_dependencies(by_name: &BTreeMap<&TaskName, &Task>, faults: &mut Faults) {
    let has_runs = |task: &Task| !matches!(task.definition.kind, Kind::Side(_));
    let known: Vec<_> =
        by_name.iter().filter(|(_, task)| has_runs(task)).map(|(name, _)| (*name).clone()).collect();
    let mut order = Vec::new();
    for (name, task) in by_name {
        let needs = task.definition.cron().map_or(&[][..], |cron| &cron.depends_on);
        for needed in needs.iter().filter(|needed| !known.contains(needed)) {
            let (task_name, unknown) = ((*name).clone(), needed.clone());
            let error = OrderError::Unknown { task: task_name, unknown, known: known.clone() };
            faults.add(&task.source, "depends_on", error);
        }
        let depends_on = needs.iter().filter(|needed| by_name.contains_key(needed)).cloned().collect();
        order.push(InOrder { name, depends_on });
    }
    if let Err(error @ OrderError::Cycle(_)) = waves(&order) {
        let OrderError::Cycle(names) = &error else { return };
        let first = names.first().and_then(|name| by_name.get(name));
        let source = first.map_or(crate::workspace::TASKS, |task| task.source.as_str());
        faults.add(source, "depends_on", error);
    }
}

/// Checks that tasks enqueue jobs only for queue tasks.
fn enqueues(by_name: &BTreeMap<&TaskName, &Task>, faults: &mut Faults) {
    let queues = by_name.values().filter(|task| task.definition.queue().is_some()).map(|task| task.name());
    let queues: Vec<_> = queues.collect();
    for task in by_name.values() {
        for name in &task.definition.enqueues {
            if let Err(reason) = queue_task(name.as_str(), &queues) {
                faults.add(&task.source, "enqueues", reason);
            }
        }
    }
}

/// Returns the queue tasks for which each function of the application enqueues jobs.
pub(super) fn functions(
    config: &Config,
    tasks: &[Task],
    faults: &mut Faults,
) -> BTreeMap<String, Vec<TaskName>> {
    let queues: Vec<_> =
        tasks.iter().filter(|task| task.definition.queue().is_some()).map(Task::name).collect();
    let mut functions = BTreeMap::new();
    for (function, function_config) in &config.functions {
        let mut named = Vec::new();
        for (i, name) in function_config.enqueues.iter().enumerate() {
            match queue_task(name, &queues) {
                Ok(task) => named.push(task.clone()),
                Err(reason) => {
                    faults.add(config::FILE, format!("functions.{function}.enqueues[{i}]"), reason);
                }
            }
        }
        named.sort();
        named.dedup();
        functions.insert(function.clone(), named);
    }
    functions
}

fn queue_task<'a>(name: &str, queues: &[&'a TaskName]) -> Result<&'a TaskName, String> {
    let known = queues.iter().map(|task| task.as_str()).collect::<Vec<_>>().join(", ");
    let found = queues.iter().find(|task| task.as_str() == name).copied();
    found.ok_or_else(|| match queues {
        [] => format!("there is no queue task `{name}`: the project has none"),
        _ => format!("there is no queue task `{name}`: the queue tasks are {known}"),
    })
}

impl super::Project {
    /// Returns the faults that prevent a deployment to AWS, though the project may run on one machine. Reads the tasks' assets.
    pub fn undeployable(&self, now: Timestamp) -> Faults {
        let mut faults = Faults::default();
        for (task, cron) in self.cron() {
            let Some(schedule) = &cron.schedule else { continue };
            // An unknown time zone is reported separately.
            let Ok(zone) = TimeZone::get(&cron.timezone) else { continue };
            if let Err(error) = schedule.first_after(&zone, now) {
                match task.settings.schedule {
                    Some(_) => faults.add(config::FILE, format!("tasks.{}.schedule", task.name()), error),
                    None => faults.add(&task.source, "schedule", error),
                }
            }
        }
        let allowed = crate::config::LOG_RETENTION_DAYS;
        if !allowed.contains(&self.build.log_retention_days) {
            let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
            let reason = format!(
                "CloudWatch cannot keep logs for {} days: use one of {}",
                self.build.log_retention_days,
                allowed.join(", ")
            );
            faults.add(config::FILE, "build.log_retention_days", reason);
        }
        for phase in [Phase::Before, Phase::After] {
            if let Some((task, reason)) = crate::phases::fault(self, phase) {
                faults.add(&task.source, "timeout", reason);
            }
        }
        for task in &self.tasks {
            for (name, key) in &task.environment_keys {
                if let Some(reason) = reserved(name) {
                    faults.add(config::FILE, key, reason);
                }
            }
            if task.definition.queue().is_some() {
                for (key, reason) in crate::queues::faults(self, task) {
                    faults.add(&task.source, key, reason);
                }
            }
            let bytes: usize = task.variables().iter().map(|(name, value)| name.len() + value.len()).sum();
            if bytes > VARIABLES_BYTES {
                let reason = format!(
                    "its configuration and environment are {bytes} bytes, but a function can have {VARIABLES_BYTES}: \
                     move long values to a file in `copy_assets`"
                );
                faults.add(config::FILE, format!("tasks.{}", task.name()), reason);
            }
            for asset in &task.definition.copy_assets {
                if let Err(error) = crate::assets::files(&task.folder, asset) {
                    faults.add(&task.source, "copy_assets", error);
                }
            }
        }
        faults
    }
}
