//! The AWS parts of one stack on this machine, kept in one folder between deployments.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use lamplighter_core::{name::TaskName, notification::Target, secret::Secrets, side::Pace};
use lamplighter_local::{
    Answers, FunctionSpec, HostOptions, LambdaHost, LogLine, Stacks, Synchronous, mask_keys,
};
use lamplighter_project::{
    Project, Task,
    config::Build,
    functions::{
        BUCKET, DISPATCHER_FUNCTION, Destination, FunctionKind, FunctionPlan, PULSE_FUNCTION, Variable,
        VariableValue, functions, task_function, task_variables,
    },
    package::Package,
    workspace::{DISPATCHER, PULSE},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{home, process_environment::ProcessEnvironment, side::Side, storage::Storage};
use crate::logs::LogFiles;

/// The fields of a log line that identify its run. Secrets are never masked in them.
const RUN_FIELDS: [&str; 7] = ["timestamp", "level", "task", "run_id", "attempt", "trigger", "target"];
/// The region of a process that the host does not start. The local table ignores it, but the SDK needs one.
const REGION: (&str, &str) = ("AWS_REGION", "us-east-1");

/// The AWS parts of one stack on this machine.
pub struct Machine {
    /// The stack's table and its bucket.
    pub storage: Storage,
    /// The host of the functions.
    pub host: Arc<LambdaHost>,
    /// The local CloudFormation, which knows the stack's status.
    pub stacks: Stacks,
    /// The endpoint for the answers of custom resources.
    pub answers: Answers,
    stack: String,
    process_environment: ProcessEnvironment,
    sink: Arc<dyn Fn(LogLine) + Send + Sync>,
    /// The secrets that are masked in the log lines of each function.
    secrets: Arc<SecretsByFunction>,
    logs: Arc<LogFiles>,
    /// The days for which a log file is kept after its last line.
    log_days: AtomicU32,
}

/// The secrets that functions have on this machine, by the functions' names.
type SecretsByFunction = RwLock<BTreeMap<String, Secrets>>;

impl Machine {
    /// Starts the parts. `tasks` are as in [`Storage::open`]. The output of each function goes to a file below `home/logs`.
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

    /// Starts the parts around an open table. `on_line` is called with each line that a function prints, and with the text that
    /// was written to its log file. It must not block.
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
        let secrets: Arc<SecretsByFunction> = Arc::default();
        let of_functions = Arc::clone(&secrets);
        let sink: Arc<dyn Fn(LogLine) + Send + Sync> = Arc::new(move |mut line: LogLine| {
            // The endpoints' URLs have keys in them, and a library may print a URL.
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
            secrets,
            logs,
            log_days: AtomicU32::new(Build::default().log_retention_days),
        })
    }

    /// Removes log files that are older than the retention of the project that was installed last.
    pub fn delete_old_logs(&self) {
        let days = u64::from(self.log_days.load(Ordering::Relaxed));
        self.logs.delete_older(Duration::from_secs(days * 24 * 3600));
    }

    /// Logs a line of a process that the host does not run, as if it were a function's.
    pub fn log(&self, line: LogLine) {
        (self.sink)(line);
    }

    /// Masks the task's secrets in the lines of its function from now on, with those in this configuration of one run.
    pub fn hide(&self, task: &Task, of_run: &Value) {
        let secrets = task.local_secrets(of_run);
        let function = self.function(task.name().as_str());
        self.secrets.write().unwrap_or_else(PoisonError::into_inner).insert(function, secrets);
    }

    /// The name of a function of the stack.
    pub fn function(&self, name: &str) -> String {
        format!("{}-{name}", self.stack)
    }

    /// The name of the dispatcher's function.
    pub fn dispatcher(&self) -> String {
        self.function(DISPATCHER_FUNCTION)
    }

    /// The name of the pulse's function.
    pub fn pulse(&self) -> String {
        self.function(PULSE_FUNCTION)
    }

    /// Registers the functions of a project with the host.
    ///
    /// A task is skipped if a reference in its configuration has no value. Callers must reject such a task beforehand
    /// if it is to run.
    pub fn install(&self, project: &Project, packages: &[Package]) -> anyhow::Result<()> {
        let is_packaged = |name: &str| packages.iter().any(|package| package.name == name);
        if !is_packaged(DISPATCHER) {
            bail!(
                "the folder functions/{DISPATCHER} is missing: its function runs the tasks of a deployment"
            );
        }
        for plan in functions(project) {
            match plan.kind.task() {
                Some(task) if task.is_unresolved() => {}
                Some(task) => {
                    self.install_task(project, task, packages, is_packaged(PULSE).then(|| self.pulse()))?;
                }
                None if is_packaged(plan.package) => self.host.register(self.spec(&plan, packages)?),
                None => {}
            }
        }
        Ok(())
    }

    /// Registers the function of a task with the host. `on_failure` is the function that receives the record of each failed
    /// invocation of a cron task.
    pub fn install_task(
        &self,
        project: &Project,
        task: &Task,
        packages: &[Package],
        on_failure: Option<String>,
    ) -> anyhow::Result<()> {
        self.log_days.store(project.build.log_retention_days, Ordering::Relaxed);
        let plan = task_function(project, task)
            .with_context(|| format!("`{}` is a side task: it has no function", task.name()))?;
        let spec = self.spec(&plan, packages)?;
        // In AWS the records are sent only if the project notifies somebody. Here the pulse also uses them to end at once a
        // run whose process died.
        let on_failure = if task.definition.cron().is_some() { on_failure } else { spec.on_failure };
        self.host.register(FunctionSpec { on_failure, ..spec });
        Ok(())
    }

    /// Returns a side task as the runner of that name starts it on this machine.
    pub fn side(
        &self,
        project: &Project,
        task: &Task,
        packages: &[Package],
        runner: &str,
    ) -> anyhow::Result<Side> {
        let package = package(packages, task.name().as_str())?;
        self.hide(task, &Value::Null);
        let command = bootstrap(package);
        let mut variables = self.environment(&task_variables(project, task));
        variables.entry(REGION.0.to_owned()).or_insert_with(|| REGION.1.to_owned());
        Ok(Side {
            task: task.name().clone(),
            built: fs::metadata(&command).and_then(|binary| binary.modified()).ok(),
            command,
            folder: Some(package.folder.clone()),
            current_folder: Some(self.process_environment.folder.clone()),
            inherited: self.process_environment.variables.clone(),
            variables,
            runner: runner.to_owned(),
            environment: project.environment.clone(),
            pace: Pace::default(),
        })
    }

    /// The function of a plan as the host runs it.
    fn spec(&self, plan: &FunctionPlan<'_>, packages: &[Package]) -> anyhow::Result<FunctionSpec> {
        let package = package(packages, plan.package)?;
        if let Some(task) = plan.kind.task() {
            self.hide(task, &Value::Null);
        }
        let mut environment = self.environment(&plan.variables);
        if plan.kind == FunctionKind::Pulse {
            // There is no EventBridge Scheduler here, so the pulse starts every cron task.
            environment.insert("LAMPLIGHTER_SCHEDULER".to_owned(), "pulse".to_owned());
        }
        let on_failure = match plan.on_failure {
            Some(Destination::Function(name)) => Some(self.function(name)),
            Some(Destination::Target(_)) | None => None,
        };
        Ok(FunctionSpec {
            environment,
            inherited: self.process_environment.variables.clone(),
            timeout: Duration::from_secs(plan.timeout_seconds),
            memory_mb: plan.memory_mb,
            task_root: Some(package.folder.clone()),
            current_folder: Some(self.process_environment.folder.clone()),
            on_failure,
            max_retries: plan.max_retries,
            ..FunctionSpec::new(self.function(plan.name), bootstrap(package))
        })
    }

    /// The environment of a process: its variables with their values on this machine, and the endpoints of the machine's
    /// parts.
    fn environment(&self, variables: &[Variable<'_>]) -> BTreeMap<String, String> {
        let own = variables.iter().filter_map(|it| Some((it.name.clone(), self.value(&it.value)?)));
        let endpoints = [
            ("AWS_ENDPOINT_URL_LAMBDA", self.host.endpoint()),
            ("AWS_ENDPOINT_URL_CLOUDFORMATION", self.stacks.endpoint()),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        // The storage's variables come last, since those of a table in AWS remove some of the others.
        let of_storage = self.storage.variables.iter().filter(|(name, _)| name != BUCKET);
        own.chain(endpoints).chain(of_storage.cloned()).collect()
    }

    /// The value of a variable on this machine; none if the variable is only for AWS.
    fn value(&self, value: &VariableValue<'_>) -> Option<String> {
        match value {
            VariableValue::Text(text) => Some(text.clone()),
            VariableValue::Table => Some(self.storage.table.name().to_owned()),
            VariableValue::Bucket => {
                let bucket = self.storage.variables.iter().find(|(name, _)| name == BUCKET);
                bucket.map(|(_, value)| value.clone())
            }
            VariableValue::Environment(name) => Some((*name).to_owned()),
            VariableValue::Stack => Some(self.stack.clone()),
            VariableValue::AnswerEndpoint => Some(self.answers.endpoint()),
            // Without credentials only a webhook can be reached from here.
            VariableValue::NotifyTarget(target @ Target::Webhook(_)) if !target.is_template() => {
                Some(target.packed().0.to_string())
            }
            // Jobs wait in the table, and nothing replaces `${..}`.
            VariableValue::NotifyTarget(_) | VariableValue::QueueUrlPrefix | VariableValue::Template(_) => {
                None
            }
        }
    }

    /// Ends every process and closes the table.
    /// `waits` is called if another process still uses the table through this one.
    pub async fn stop(self, waits: impl FnOnce()) {
        self.host.shutdown().await;
        self.storage.close(waits).await;
    }
}

fn package<'a>(packages: &'a [Package], name: &str) -> anyhow::Result<&'a Package> {
    let package = packages.iter().find(|package| package.name == name);
    package.with_context(|| format!("`{name}` was not packaged: run `lamplighter build`"))
}

/// The binary of a package.
fn bootstrap(package: &Package) -> PathBuf {
    package.folder.join("bootstrap")
}

/// Masks the secrets in a line that a body may have printed. The fields that identify the run stay readable, even where they
/// contain the text of a secret.
fn masked(secrets: &Secrets, line: String) -> String {
    let text = secrets.mask(&line);
    if text == line {
        return line;
    }
    let Ok(Value::Object(mut fields)) = serde_json::from_str(&line) else { return text };
    for (name, value) in &mut fields {
        if !RUN_FIELDS.contains(&name.as_str()) {
            *value = secrets.mask_value(value.take());
        }
    }
    Value::Object(fields).to_string()
}

/// The run of an invocation, if its payload names one.
fn run_of(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Payload {
        run_id: Option<String>,
    }
    serde_json::from_slice::<Payload>(payload).ok()?.run_id
}

/// The text of a line in the log file. A line of JSON names its run itself; any other text is wrapped together with its run.
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
    use std::collections::BTreeSet;

    use lamplighter_core::hidden;
    use lamplighter_project::fixtures;
    use lamplighter_template::render;
    use serde_yaml_ng::Value as Yaml;

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

    /// The variables that functions have only on one machine.
    const ONLY_HERE: [&str; 2] = ["LAMPLIGHTER_SCHEDULER", "LAMPLIGHTER_TABLE_IS_LOCAL"];

    /// The properties of each function in a template, with its retries, by name.
    fn of_template(template: &Yaml) -> BTreeMap<String, (Yaml, u64)> {
        let resources = template["Resources"].as_mapping().unwrap();
        let retries_of = |id: &Yaml, properties: &Yaml| {
            let own = resources.values().map(|resource| &resource["Properties"]);
            let mut own = own.filter(|config| &config["FunctionName"]["Ref"] == id);
            let config = own.next().unwrap_or(&properties["EventInvokeConfig"]);
            // Lambda's default.
            config["MaximumRetryAttempts"].as_u64().unwrap_or(2)
        };
        let functions = resources.iter().filter(|(_, of)| of["Type"] == "AWS::Serverless::Function");
        let by_name = functions.map(|(id, of)| {
            let properties = &of["Properties"];
            let name = properties["FunctionName"]["Fn::Sub"].as_str().unwrap();
            let name = name.replace("${AWS::StackName}", "shop");
            (name, (properties.clone(), retries_of(id, properties)))
        });
        by_name.collect()
    }

    #[tokio::test]
    async fn g06_a_function_is_the_same_on_one_machine_as_in_the_template() {
        let mut project = fixtures::shop();
        project.functions.clear();
        project.notify = Some(Target::Webhook("https://hooks.example/".to_owned()));
        let template = serde_yaml_ng::from_str(&render(&project, None).unwrap()).unwrap();
        let template = of_template(&template);
        let folder = tempfile::tempdir().unwrap();
        let process_environment =
            ProcessEnvironment { folder: folder.path().to_owned(), variables: Vec::new() };
        let machine = Machine::start(folder.path(), "shop", process_environment, Synchronous::Normal, [])
            .await
            .unwrap();
        let package = |plan: &FunctionPlan<'_>| Package {
            name: plan.package.to_owned(),
            zip: PathBuf::new(),
            zip_bytes: 0,
            folder: folder.path().join(plan.package),
            task: None,
        };
        let plans = functions(&project);
        let packages: Vec<_> = plans.iter().map(package).collect();
        for plan in &plans {
            let spec = machine.spec(plan, &packages).unwrap();
            let (properties, retries) = &template[&spec.name];
            assert_eq!(properties["Timeout"], spec.timeout.as_secs(), "{}", spec.name);
            assert_eq!(properties["MemorySize"], spec.memory_mb, "{}", spec.name);
            assert_eq!(*retries, u64::from(spec.max_retries), "{}", spec.name);
            let code = properties["CodeUri"].as_str().unwrap();
            assert_eq!(code, format!("../target/lamplighter/{}.zip", plan.package));
            // Jobs are in no queues here, and the pulse drives every cron task.
            let in_aws = properties["Environment"]["Variables"].as_mapping().unwrap().keys();
            let in_aws: BTreeSet<_> =
                in_aws.filter_map(Yaml::as_str).filter(|name| *name != "LAMPLIGHTER_QUEUES").collect();
            let here = spec.environment.keys().map(String::as_str);
            let here: BTreeSet<_> =
                here.filter(|name| !name.starts_with("AWS_") && !ONLY_HERE.contains(name)).collect();
            assert_eq!(here, in_aws, "{}", spec.name);
        }
        assert_eq!(template.len(), plans.len());
        machine.stop(|| {}).await;
    }
}
