//! A project: its tasks with the overrides of `lamplighter.toml` applied, checked each by itself and all together.

mod checks;
pub mod local_values;
mod overrides;
pub mod properties;
pub mod secrets;

use std::{collections::BTreeMap, path::PathBuf};

use lamplighter_core::{
    claim::REPLACE_WAIT,
    definition::{Cron, Definition, Lifecycle, Overlap, Phase, Queue},
    duration,
    name::TaskName,
    notification::Target,
    pulse::{self, Plan, PlannedTask},
    resolve::{self, Packed},
    schedule::{Driver, driver},
    settings::{DEFAULT_ENVIRONMENT, Settings},
    value::sorted,
};
use serde_json::Value;

use self::{local_values::LocalValues, properties::Properties};
use crate::{
    config::{Build, Config, Permission, TaskConfig},
    describe::DescribedTask,
    fault::Faults,
};

/// The default memory of a function. Lambda assigns processor time by memory: less memory costs more through slower
/// cold starts than it saves.
const DEFAULT_MEMORY_MB: u32 = 256;
/// The time that a function needs besides its task's own: for the claim before it and the record after it.
const MARGIN_SECONDS: u64 = 10;
/// The longest timeout of a function. Source: AWS Lambda Developer Guide, "Lambda quotas".
const MAX_FUNCTION_SECONDS: u64 = 900;
/// The most jobs in one invocation of a queue task. For a larger batch Lambda would wait. Source: AWS Lambda Developer Guide,
/// "Using Lambda with Amazon SQS".
const MAX_BATCH: u64 = 10;
/// The longest time of all jobs of one batch, one after the other. It bounds how long a job waits for the others in its
/// batch. If the process dies, its jobs are visible again in about half an hour.
const BATCH_SECONDS: u64 = 300;

/// A project in one environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// The project's name.
    pub name: String,
    /// The environment.
    pub environment: String,
    /// Settings for building and deploying.
    pub build: Build,
    /// The target of failure notifications.
    pub notify: Option<Target>,
    /// The properties of the framework's own functions and their roles. The roles of schedules have those of roles, too.
    pub framework: Properties,
    /// The queue tasks for which the application's functions enqueue jobs, by the functions' logical ids.
    pub functions: BTreeMap<String, Vec<TaskName>>,
    /// The tasks, by name.
    pub tasks: Vec<Task>,
}

/// A task of a project.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The definition, with the overrides applied.
    pub definition: Definition,
    /// The overrides that its function receives.
    pub settings: Settings,
    /// The memory of its function, in megabytes.
    pub memory_mb: u32,
    /// Further statements of its function's role.
    pub permissions: Vec<Permission>,
    /// Further properties of its function and of its role.
    pub properties: Properties,
    /// Further environment variables.
    pub environment: BTreeMap<String, String>,
    /// The keys in lamplighter.toml that set these variables, by the variables' names.
    pub environment_keys: BTreeMap<String, String>,
    /// The file that defines it, relative to the workspace.
    pub source: String,
    /// The folder of its package.
    pub folder: PathBuf,
    /// The values of references on this machine. For a template there are none.
    pub local_values: LocalValues,
}

impl Project {
    /// Applies the overrides to the tasks, and returns the project or all of its faults.
    ///
    /// `name` is the workspace's. `environment` takes precedence over the file's.
    pub fn resolve(
        name: &str,
        described: Vec<DescribedTask>,
        config: &Config,
        environment: Option<&str>,
    ) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let environment =
            environment.or(config.environment.as_deref()).unwrap_or(DEFAULT_ENVIRONMENT).to_owned();
        checks::environment(&environment, &mut faults);
        checks::named_tasks(config, &described, &mut faults);
        let of_all = Properties::of_all(config, &environment, &mut faults);
        let mut tasks = Vec::new();
        for described in described {
            let layers = config.layers(described.definition.name.as_str(), &environment);
            let properties = of_all.clone().with_task(&described.definition, &layers, &mut faults);
            let task = Task::resolve(described, &layers, properties, &mut faults);
            checks::task(&task, &layers, &mut faults);
            tasks.push(task);
        }
        checks::across_tasks(&tasks, &mut faults);
        let name = name.to_owned();
        let notify = config.notify(&environment, &mut faults);
        let functions = checks::functions(config, &tasks, &mut faults);
        let (build, framework) = (config.build.clone(), of_all.of_framework());
        faults.none_or(Self { name, environment, build, notify, framework, functions, tasks })
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

    /// The pulse's plan of the tasks.
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
    fn resolve(
        described: DescribedTask,
        layers: &[(String, &TaskConfig)],
        properties: Properties,
        faults: &mut Faults,
    ) -> Self {
        let DescribedTask { definition, source, folder, .. } = described;
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
            properties,
            environment,
            environment_keys,
            source,
            folder,
            local_values: LocalValues::default(),
        }
    }

    /// The task's name.
    pub fn name(&self) -> &TaskName {
        &self.definition.name
    }

    /// The timeout of its function, in seconds: the task's own, with a margin for claim and record.
    ///
    /// A task that replaces the run in progress also has time to wait for its end. A queue task has time for a whole batch.
    pub fn function_seconds(&self) -> u64 {
        let waits = if self.definition.overlap() == Overlap::Replace { REPLACE_WAIT.as_secs() } else { 0 };
        (self.own_seconds() * self.batch() + waits + MARGIN_SECONDS).min(MAX_FUNCTION_SECONDS)
    }

    /// The batch size of a queue task: the number of jobs that can each take their whole timeout, one after the other.
    ///
    /// So no job has to be returned to the queue for lack of time, which would count as a delivery.
    pub fn batch(&self) -> u64 {
        match self.definition.queue() {
            Some(_) => (BATCH_SECONDS / self.own_seconds().max(1)).clamp(1, MAX_BATCH),
            None => 1,
        }
    }

    /// The timeout of one run, in seconds, rounded up.
    fn own_seconds(&self) -> u64 {
        duration::millis(self.definition.timeout).div_ceil(1000)
    }

    /// The environment variables that the project decides: the overrides, and the variables from lamplighter.toml. A reference
    /// is replaced by its value if this machine has one.
    ///
    /// [`task_variables`](crate::functions::task_variables) adds those that name the parts of the stack.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let mut settings = self.settings.clone();
        // A reference in the task's own defaults is also resolved, so it has to be in the variables.
        if resolve::find(&self.definition.config).len() > resolve::find(&settings.config).len() {
            settings.config = self.definition.config.clone();
        }
        let resolved = |text| self.local_values.put_into(text);
        let Packed { settings: packed, mut variables } = resolve::pack(&settings).mapped(resolved);
        if settings != Settings::default() {
            variables.insert("LAMPLIGHTER_SETTINGS".to_owned(), sorted(&packed));
        }
        variables.extend(self.environment.iter().map(|(name, text)| (name.clone(), resolved(text.clone()))));
        variables
    }
}

/// Converts TOML to JSON. Fails with the key and the text of the first number that JSON cannot represent. A date becomes text.
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
        let converted = value(item).map_err(|(path, name)| (format!("{key}{path}"), name));
        converted.map(|value| (key.clone(), value))
    };
    table.iter().map(entry).collect()
}

#[cfg(test)]
mod tests;
