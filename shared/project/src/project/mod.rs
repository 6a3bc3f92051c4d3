//! A project: its tasks as `lamplighter.toml` and the environment change them, known to stand together.

mod checks;
pub mod given;
mod overrides;
pub mod secrets;

use std::{collections::BTreeMap, path::PathBuf};

use lamplighter_core::{
    claim::REPLACE_WAIT,
    definition::{Cron, Definition, Lifecycle, Overlap, Phase, Queue},
    duration,
    name::TaskName,
    notify::Target,
    pulse::{self, Plan, PlannedTask},
    resolve::{self, Packed},
    schedule::{Driver, driver},
    settings::{DEFAULT_ENVIRONMENT, Settings},
    value::sorted,
};
use serde_json::Value;

use self::given::Known;
use crate::{
    config::{Build, Config, Permission, TaskConfig},
    describe::Described,
    fault::Faults,
};

/// The memory of a function that says nothing of it: a megabyte buys processor time too, and with less than
/// this a cold start takes longer than it saves.
const DEFAULT_MEMORY_MB: u32 = 256;
/// What Lambda adds to a task's own time: the claim before it and the record after it.
const MARGIN_SECONDS: u64 = 10;
/// The longest time of one invocation. Source: AWS Lambda Developer Guide, "Lambda quotas".
const MAX_FUNCTION_SECONDS: u64 = 900;
/// The most jobs that one invocation of a queue task is given. Source: AWS Lambda Developer Guide, "Using Lambda with
/// Amazon SQS": with more, it would wait for them.
const MAX_BATCH: u64 = 10;
/// What the jobs of one batch may take together, one after the other. So no job waits longer than this for those before
/// it, and those of a process that dies come back within half an hour.
const BATCH_SECONDS: u64 = 300;

/// A project in one environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// The environment.
    pub environment: String,
    /// How it is built and deployed.
    pub build: Build,
    /// Who is told when a task fails.
    pub notify: Option<Target>,
    /// The application's functions that enqueue jobs, by logical id, and for which tasks.
    pub functions: BTreeMap<String, Vec<TaskName>>,
    /// Its tasks, by name.
    pub tasks: Vec<Task>,
}

/// A task of a project.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its definition, with the overrides applied.
    pub definition: Definition,
    /// The overrides that its function is told of.
    pub settings: Settings,
    /// The memory of its function.
    pub memory_mb: u32,
    /// Further statements of its function's role.
    pub permissions: Vec<Permission>,
    /// Further environment variables.
    pub environment: BTreeMap<String, String>,
    /// The keys in lamplighter.toml that those are from, by name.
    pub environment_keys: BTreeMap<String, String>,
    /// The file that defines it, relative to the workspace.
    pub source: String,
    /// Its package's folder.
    pub folder: PathBuf,
    /// The values that references have on this machine; in a template none.
    pub known: Known,
}

impl Project {
    /// The project of these tasks, or everything in it that cannot stand.
    ///
    /// `name` is that of the workspace. `environment` goes before the file's own.
    pub fn resolve(
        name: &str,
        described: Vec<Described>,
        config: &Config,
        environment: Option<&str>,
    ) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let environment =
            environment.or(config.environment.as_deref()).unwrap_or(DEFAULT_ENVIRONMENT).to_owned();
        checks::environment(&environment, &mut faults);
        checks::named_tasks(config, &described, &mut faults);
        let mut tasks = Vec::new();
        for described in described {
            let layers = config.layers(described.definition.name.as_str(), &environment);
            let task = Task::resolve(described, &layers, &mut faults);
            checks::task(&task, &layers, &mut faults);
            tasks.push(task);
        }
        checks::together(&tasks, &mut faults);
        let name = name.to_owned();
        let notify = config.notify(&environment, &mut faults);
        let functions = checks::functions(config, &tasks, &mut faults);
        faults.none_or(Self { name, environment, build: config.build.clone(), notify, functions, tasks })
    }

    /// The lifecycle tasks of a phase.
    pub fn phase(&self, phase: Phase) -> impl Iterator<Item = (&Task, &Lifecycle)> {
        let lifecycle = self.tasks.iter().filter_map(|task| Some((task, task.definition.lifecycle()?)));
        lifecycle.filter(move |(_, lifecycle)| lifecycle.phase == phase)
    }

    /// The cron tasks.
    pub fn cron(&self) -> impl Iterator<Item = (&Task, &Cron)> {
        self.tasks.iter().filter_map(|task| Some((task, task.definition.cron()?)))
    }

    /// The queue tasks.
    pub fn queues(&self) -> impl Iterator<Item = (&Task, &Queue)> {
        self.tasks.iter().filter_map(|task| Some((task, task.definition.queue()?)))
    }

    /// What the pulse knows of the tasks.
    pub fn plan(&self) -> Plan {
        let planned = self.tasks.iter().map(|task| {
            let driver = match task.definition.cron().map(driver) {
                None => pulse::Driver::Other,
                Some(Driver::EventBridge { .. }) => pulse::Driver::Schedule,
                Some(Driver::Pulse { .. }) => pulse::Driver::Pulse,
            };
            PlannedTask::new(task.definition.clone(), driver)
        });
        planned.collect::<Vec<_>>().into()
    }
}

impl Task {
    fn resolve(described: Described, layers: &[(String, &TaskConfig)], faults: &mut Faults) -> Self {
        let Described { definition, source, folder } = described;
        let mut settings = Settings::default();
        let mut memory_mb = DEFAULT_MEMORY_MB;
        let mut permissions = Vec::new();
        let mut environment = BTreeMap::new();
        let mut environment_keys = BTreeMap::new();
        for (key, layer) in layers {
            let layer_settings = overrides::settings(key, layer, &definition, faults);
            settings = settings.overridden_by(layer_settings, &definition.config_schema);
            memory_mb = layer.memory_mb.unwrap_or(memory_mb);
            permissions.extend(layer.permissions.iter().cloned());
            environment.extend(layer.environment.clone());
            let names = layer.environment.keys();
            environment_keys.extend(names.map(|name| (name.clone(), format!("{key}.environment.{name}"))));
        }
        let definition = settings.applied_to(definition);
        Self {
            definition,
            settings,
            memory_mb,
            permissions,
            environment,
            environment_keys,
            source,
            folder,
            known: Known::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &TaskName {
        &self.definition.name
    }

    /// The time its function may take: its own time in whole seconds, and some for what is around it. If it replaces the
    /// run in progress, also what it waits for that to end. If it is a queue task, the time of a whole batch.
    pub fn function_seconds(&self) -> u64 {
        let waits = if self.definition.overlap() == Overlap::Replace { REPLACE_WAIT.as_secs() } else { 0 };
        (self.own_seconds() * self.batch() + waits + MARGIN_SECONDS).min(MAX_FUNCTION_SECONDS)
    }

    /// How many jobs one invocation of its function is given, if it is a queue task: as many as may each take their whole
    /// time, one after the other. So none has to be given back for want of time, which would count as a delivery.
    pub fn batch(&self) -> u64 {
        match self.definition.queue() {
            Some(_) => (BATCH_SECONDS / self.own_seconds().max(1)).clamp(1, MAX_BATCH),
            None => 1,
        }
    }

    /// The time of one run, in whole seconds.
    fn own_seconds(&self) -> u64 {
        duration::millis(self.definition.timeout).div_ceil(1000)
    }

    /// The environment variables that tell its function what was overridden and declared, with the values of references as
    /// far as they are known here. The table, the bucket and the environment's name are the deployment's to add.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let mut settings = self.settings.clone();
        // One in the task's own defaults is resolved as any other: it stands in the template too.
        if resolve::find(&self.definition.config).len() > resolve::find(&settings.config).len() {
            settings.config = self.definition.config.clone();
        }
        let known = |text| self.known.put_into(text);
        let Packed { settings: packed, mut variables } = resolve::pack(&settings).mapped(known);
        if settings != Settings::default() {
            variables.insert("LAMPLIGHTER_SETTINGS".to_owned(), sorted(&packed));
        }
        variables.extend(self.environment.iter().map(|(name, text)| (name.clone(), known(text.clone()))));
        variables
    }
}

/// TOML as JSON, or the key of the first number that JSON has no number for, and its name. A date is its text.
fn json(table: &toml::Table) -> Result<Value, (String, String)> {
    fn value(of: &toml::Value) -> Result<Value, (String, String)> {
        Ok(match of {
            toml::Value::String(text) => text.as_str().into(),
            toml::Value::Integer(number) => (*number).into(),
            toml::Value::Float(number) if number.is_finite() => (*number).into(),
            toml::Value::Float(number) => {
                let name = if number.is_nan() { "nan".to_owned() } else { number.to_string() };
                return Err((String::new(), name));
            }
            toml::Value::Boolean(word) => (*word).into(),
            toml::Value::Datetime(date) => date.to_string().into(),
            toml::Value::Array(items) => {
                let item = |(i, item)| value(item).map_err(|(path, name)| (format!("[{i}]{path}"), name));
                items.iter().enumerate().map(item).collect::<Result<_, _>>()?
            }
            toml::Value::Table(table) => json(table).map_err(|(path, name)| (format!(".{path}"), name))?,
        })
    }
    let entry = |(key, item): (&String, _)| {
        let placed = value(item).map_err(|(path, name)| (format!("{key}{path}"), name));
        placed.map(|value| (key.clone(), value))
    };
    table.iter().map(entry).collect()
}

#[cfg(test)]
mod tests;
