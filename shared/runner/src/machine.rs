//! The AWS services of one stack on this machine, with their state in one folder.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use lamplighter_core::{name::TaskName, notify::Target, secret::Secrets, side::Pace};
use lamplighter_local::{
    Answers, FunctionSpec, HostOptions, LambdaHost, LogLine, Stacks, Synchronous, mask_keys,
};
use lamplighter_project::{Project, Task, config::Build, package::Package, workspace::PULSE};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{home, process_environment::ProcessEnvironment, side::Side, storage::Storage};
use crate::logs::LogFiles;

/// The name of the dispatcher's function, behind the stack's name.
const DISPATCHER: &str = "lamplighter-dispatcher";
/// The name of the fallback responder's function, behind the stack's name.
const FALLBACK: &str = "lamplighter-fallback";
/// The package whose binary both functions run.
const DISPATCHER_PACKAGE: &str = "dispatcher";
/// The name of the pulse's function, behind the stack's name.
const PULSE_NAME: &str = "lamplighter-pulse";
/// The timeout of the pulse.
const PULSE_TIMEOUT: Duration = Duration::from_secs(55);
/// The timeout of the dispatcher, as in Lambda.
const DISPATCHER_TIMEOUT: Duration = Duration::from_secs(900);
/// The fields of a log line that identify its origin.
const OF_A_LINE: [&str; 7] = ["timestamp", "level", "task", "run_id", "attempt", "trigger", "target"];
/// The region for a process that the Lambda host does not start.
const REGION: (&str, &str) = ("AWS_REGION", "us-east-1");

/// The AWS services of one stack on this machine.
pub struct Machine {
    /// The table and the bucket.
    pub storage: Storage,
    /// The Lambda host.
    pub host: Arc<LambdaHost>,
    /// The stacks' status, for CloudFormation's API.
    pub stacks: Stacks,
    /// The response URLs of custom resources.
    pub answers: Answers,
    stack: String,
    process_environment: ProcessEnvironment,
    sink: Arc<dyn Fn(LogLine) + Send + Sync>,
    /// The secrets that no log line of a function may show, by the function's name.
    hidden: Arc<Hidden>,
    logs: Arc<LogFiles>,
    /// The number of days for which an unchanged log file is kept.
    log_days: AtomicU32,
}

/// The secrets in the configuration of functions, by the functions' names.
type Hidden = RwLock<BTreeMap<String, Secrets>>;

impl Machine {
    /// Starts the services. `tasks` are those of [`Storage::open`]. Each function's output goes to a file below `home/logs`.
    pub async fn start(
        home: &Path,
        stack: &str,
        process_environment: ProcessEnvironment,
        synchronous: Synchronous,
        tasks: impl IntoIterator<Item = &TaskName>,
    ) -> anyhow::Result<Self> {
        let storage = Storage::open(home, stack, synchronous, tasks).await?;
        Self::start_with(storage, home, stack, process_environment, HostOptions::default(), |_, _| {}).await
    }

    /// Starts the services around an open table. `on_line` receives each line that functions print after it was written to the
    /// log file, and the text that was written. It must not block.
    pub async fn start_with(
        storage: Storage,
        home: &Path,
        stack: &str,
        process_environment: ProcessEnvironment,
        options: HostOptions,
        on_line: impl Fn(&LogLine, &str) + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        home::make(home)?;
        let logs = Arc::new(LogFiles::new(home.join("logs"))?);
        let log_files = Arc::clone(&logs);
        let prefix = format!("{stack}-");
        let hidden: Arc<Hidden> = Arc::default();
        let of_functions = Arc::clone(&hidden);
        let sink: Arc<dyn Fn(LogLine) + Send + Sync> = Arc::new(move |mut line: LogLine| {
            // A function has the keys of the endpoints, and a library may print them.
            line.line = mask_keys(&line.line).into_owned();
            if let Some(secrets) =
                of_functions.read().unwrap_or_else(PoisonError::into_inner).get(&line.function)
            {
                line.line = masked(secrets, line.line);
            }
            let text = log_text(&line, &prefix);
            log_files.append(&line.function, &text);
            on_line(&line, &text);
        });
        let of_host = Arc::clone(&sink);
        let options = HostOptions { label: Some(run_of), ..options };
        Ok(Self {
            storage,
            host: Arc::new(LambdaHost::start_with(options, move |line| of_host(line)).await?),
            stacks: Stacks::serve().await?,
            answers: Answers::serve().await?,
            stack: stack.to_owned(),
            process_environment,
            sink,
            hidden,
            logs,
            log_days: AtomicU32::new(Build::default().log_retention_days),
        })
    }

    /// Deletes the log files that are older than the project that was installed last allows.
    pub fn delete_old_logs(&self) {
        let days = u64::from(self.log_days.load(Ordering::Relaxed));
        self.logs.delete_older(Duration::from_secs(days * 24 * 3600));
    }

    /// Logs a line of a process that the host does not run, as if it came from a function.
    pub fn log(&self, line: LogLine) {
        (self.sink)(line);
    }

    /// Masks the secrets of one run's configuration in all later lines of the task's function.
    pub fn hide(&self, task: &Task, of_run: &Value) {
        let secrets = task.given_secrets(of_run);
        let function = self.function(task.name().as_str());
        self.hidden.write().unwrap_or_else(PoisonError::into_inner).insert(function, secrets);
    }

    /// The name of a function of the stack.
    pub fn function(&self, name: &str) -> String {
        format!("{}-{name}", self.stack)
    }

    /// The name of the dispatcher's function.
    pub fn dispatcher(&self) -> String {
        self.function(DISPATCHER)
    }

    /// The name of the pulse's function.
    pub fn pulse(&self) -> String {
        self.function(PULSE_NAME)
    }

    /// Registers the functions of a project.
    pub fn install(&self, project: &Project, packages: &[Package]) -> anyhow::Result<()> {
        let package = |name: &str| packages.iter().find(|package| package.name == name);
        let Some(dispatcher) = package(DISPATCHER_PACKAGE) else {
            bail!(
                "this workspace has no `functions/{DISPATCHER_PACKAGE}`, which runs the tasks of a deployment"
            );
        };
        for (name, on_failure) in [(DISPATCHER, Some(self.function(FALLBACK))), (FALLBACK, None)] {
            let spec = self.spec(name, dispatcher, DISPATCHER_TIMEOUT, BTreeMap::new());
            self.host.register(FunctionSpec { on_failure, ..spec });
        }
        let pulse = package(PULSE);
        if let Some(pulse) = pulse {
            self.host.register(self.spec(PULSE_NAME, pulse, PULSE_TIMEOUT, self.pulse_variables(project)));
        }
        // A task with an unresolved value does not run here: otherwise the command would have failed before.
        for task in project.tasks.iter().filter(|task| !task.is_unresolved()) {
            self.install_task(project, task, packages, pulse.map(|_| self.pulse()))?;
        }
        Ok(())
    }

    /// Registers the function of a task. `on_failure` is the function that receives the failures of a cron task.
    pub fn install_task(
        &self,
        project: &Project,
        task: &Task,
        packages: &[Package],
        on_failure: Option<String>,
    ) -> anyhow::Result<()> {
        self.log_days.store(project.build.log_retention_days, Ordering::Relaxed);
        let mut spec = self.task_spec(project, task, packages)?;
        if task.definition.cron().is_some() {
            // As in the template. On this machine a run whose process died is also ended at once.
            spec.max_retries = 0;
            spec.on_failure = on_failure;
        }
        self.host.register(spec);
        Ok(())
    }

    /// A side task, for the runner of this name.
    pub fn side(
        &self,
        project: &Project,
        task: &Task,
        packages: &[Package],
        runner: &str,
    ) -> anyhow::Result<Side> {
        let spec = self.task_spec(project, task, packages)?;
        let mut variables = spec.environment;
        variables.entry(REGION.0.to_owned()).or_insert_with(|| REGION.1.to_owned());
        Ok(Side {
            task: task.name().clone(),
            built: fs::metadata(&spec.command).and_then(|binary| binary.modified()).ok(),
            command: spec.command,
            folder: spec.task_root,
            current_folder: spec.current_folder,
            inherited: spec.inherited,
            variables,
            runner: runner.to_owned(),
            environment: project.environment.clone(),
            pace: Pace::default(),
        })
    }

    fn task_spec(
        &self,
        project: &Project,
        task: &Task,
        packages: &[Package],
    ) -> anyhow::Result<FunctionSpec> {
        let name = task.name().as_str();
        let package = packages.iter().find(|package| package.name == name);
        let package = package.with_context(|| format!("there is no package of the task `{name}`"))?;
        let timeout = Duration::from_secs(task.function_seconds());
        let secrets = task.given_secrets(&Value::Null);
        self.hidden.write().unwrap_or_else(PoisonError::into_inner).insert(self.function(name), secrets);
        Ok(self.spec(name, package, timeout, Self::variables(project, task)))
    }

    fn spec(
        &self,
        name: &str,
        package: &Package,
        timeout: Duration,
        variables: BTreeMap<String, String>,
    ) -> FunctionSpec {
        let mut environment = variables;
        environment.extend(self.endpoints());
        FunctionSpec {
            environment,
            inherited: self.process_environment.variables.clone(),
            timeout,
            task_root: Some(package.folder.clone()),
            current_folder: Some(self.process_environment.folder.clone()),
            ..FunctionSpec::new(self.function(name), package.folder.join("bootstrap"))
        }
    }

    /// The variables of a task's function beside the endpoints, as in the template.
    fn variables(project: &Project, task: &Task) -> BTreeMap<String, String> {
        let mut variables = task.variables();
        variables.insert("LAMPLIGHTER_ENVIRONMENT".into(), project.environment.clone());
        variables
    }

    /// The variables of the pulse beside the endpoints. On this machine it starts every cron task, and notifies only webhooks.
    fn pulse_variables(&self, project: &Project) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::from([
            ("LAMPLIGHTER_STACK".to_owned(), self.stack.clone()),
            ("LAMPLIGHTER_ENVIRONMENT".to_owned(), project.environment.clone()),
            ("LAMPLIGHTER_SCHEDULER".to_owned(), "pulse".to_owned()),
        ]);
        let reachable = |target: &&Target| matches!(target, Target::Webhook(_)) && !target.is_template();
        if let Some(target) = project.notify.as_ref().filter(reachable) {
            let target = serde_json::to_value(target).unwrap_or_default();
            variables.insert("LAMPLIGHTER_NOTIFY".to_owned(), target.to_string());
        }
        variables
    }

    fn endpoints(&self) -> Vec<(String, String)> {
        let parts = [
            ("AWS_ENDPOINT_URL_LAMBDA", self.host.endpoint()),
            ("AWS_ENDPOINT_URL_CLOUDFORMATION", self.stacks.endpoint()),
            ("LAMPLIGHTER_ANSWER_ENDPOINT", self.answers.endpoint()),
            ("LAMPLIGHTER_TABLE", self.storage.table.name().to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        // They come last, since those of a table in AWS remove some of the others.
        parts.into_iter().chain(self.storage.variables.iter().cloned()).collect()
    }

    /// Ends every process and closes the table. `waits` is called if another process uses the table through this one.
    pub async fn stop(self, waits: impl FnOnce()) {
        self.host.shutdown().await;
        self.storage.close(waits).await;
    }
}

/// Masks the secrets in a line that a body printed. The task's own log is masked already, and the fields that identify its lines
/// stay readable.
fn masked(secrets: &Secrets, line: String) -> String {
    let text = secrets.mask(&line);
    if text == line {
        return line;
    }
    let Ok(Value::Object(mut fields)) = serde_json::from_str(&line) else { return text };
    for (name, value) in &mut fields {
        if !OF_A_LINE.contains(&name.as_str()) {
            *value = secrets.mask_value(value.take());
        }
    }
    Value::Object(fields).to_string()
}

/// The run of an invocation, if its payload names one.
fn run_of(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        run_id: Option<String>,
    }
    serde_json::from_slice::<Named>(payload).ok()?.run_id
}

/// The text of a line for the log file. A JSON line is unchanged, and a plain line becomes one with the run's id.
fn log_text(line: &LogLine, prefix: &str) -> String {
    let Some(run) = &line.label else { return line.line.clone() };
    if line.line.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(&line.line).is_ok() {
        return line.line.clone();
    }
    let task = line.function.strip_prefix(prefix).unwrap_or(&line.function);
    let at = format!("{:.3}", Timestamp::now());
    let whole =
        json!({ "timestamp": at, "level": "INFO", "task": task, "run_id": run, "message": line.line });
    whole.to_string()
}

#[cfg(test)]
mod tests {
    use lamplighter_core::hidden;

    use super::*;

    #[test]
    fn o04_a_printed_secret_is_masked_and_the_line_stays_readable() {
        let (texts, schema) = hidden::texts(["run", "hunter2"]);
        let (secrets, _) = hidden::take_all([(&texts, &schema)]);
        let of = |line: &str| masked(&secrets, line.to_owned());
        assert_eq!(of("printed hunter2"), "printed [secret]");
        assert_eq!(of("nothing"), "nothing");
        let line = json!({ "run_id": "1", "level": "INFO", "message": "run hunter2", "n": ["hunter2"] });
        let masked: Value = serde_json::from_str(&of(&line.to_string())).unwrap();
        let wanted =
            json!({ "run_id": "1", "level": "INFO", "message": "[secret] [secret]", "n": ["[secret]"] });
        assert_eq!(masked, wanted);
    }
}
