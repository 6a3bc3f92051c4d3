//! A stack on one machine.

pub mod answer_server;

pub use lamplighter_testkit::{eventually, example, proxy};

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use lamplighter_core::{
    deployment::{Entry, Ledger},
    name::TaskName,
    run::Run,
};
use lamplighter_local::{Answers, Expectation, FunctionSpec, Stacks};
use lamplighter_testkit::machine::Machine;
use serde_json::{Value, json};

pub const STACK: &str = "arn:aws:cloudformation:us-east-1:000000000000:stack/shop/0a1b";
pub const DISPATCHER: &str = "shop-dispatcher";
pub const FALLBACK: &str = "shop-fallback";

pub struct Stage {
    machine: Machine,
    pub stacks: Stacks,
    pub answers: Answers,
    /// The environment variables of every function.
    pub endpoints: BTreeMap<String, String>,
    /// True if a test has set the stack's status. Otherwise the stack waits for each event that it sends.
    pinned: AtomicBool,
    /// The requests sent so far.
    requests: Mutex<BTreeSet<String>>,
}

/// A task of the stack, and the behaviour of its process.
#[derive(Clone)]
pub struct Probe {
    pub name: &'static str,
    pub needs: &'static [&'static str],
    pub config: Value,
    pub rollback: bool,
    pub run_on: &'static [&'static str],
    pub once_per: &'static str,
    pub environment: BTreeMap<String, String>,
    /// The timeout in its settings.
    pub timeout_ms: Option<u64>,
    /// Its code, if that is not the probe's binary itself.
    pub bootstrap: Option<PathBuf>,
    /// The folder with its code and assets.
    pub task_root: Option<PathBuf>,
}

pub fn probe(name: &'static str) -> Probe {
    Probe {
        name,
        needs: &[],
        config: json!({}),
        rollback: false,
        run_on: &["deploy", "update"],
        once_per: "deployment",
        environment: BTreeMap::new(),
        timeout_ms: None,
        bootstrap: None,
        task_root: None,
    }
}

impl Probe {
    pub fn mode(mut self, mode: &str) -> Self {
        self.config["mode"] = json!(mode);
        self
    }

    pub fn sleeps(self, ms: u64) -> Self {
        self.set("sleep_ms", ms)
    }

    /// Sets a value of the task's configuration.
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.config[key] = value.into();
        self
    }

    /// Sets a variable of the function's environment.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn times_out(self, ms: u64) -> Self {
        Self { timeout_ms: Some(ms), ..self }
    }

    /// Sets the folder with the file `bootstrap`, which is the function's code, and its assets.
    pub fn packaged(self, folder: &Path) -> Self {
        Self { bootstrap: Some(folder.join("bootstrap")), task_root: Some(folder.to_owned()), ..self }
    }

    pub fn on(self, run_on: &'static [&'static str]) -> Self {
        Self { run_on, ..self }
    }

    pub fn once_per_content(self) -> Self {
        Self { once_per: "content", ..self }
    }

    pub fn needs(self, needs: &'static [&'static str]) -> Self {
        Self { needs, ..self }
    }

    pub fn undoes(self) -> Self {
        Self { rollback: true, ..self }
    }
}

impl Stage {
    pub async fn new() -> Self {
        Self::with_dispatcher_timeout(Duration::from_secs(60)).await
    }

    pub async fn with_dispatcher_timeout(timeout: Duration) -> Self {
        let machine = Machine::new().await;
        let (stacks, answers) = (Stacks::serve().await.unwrap(), Answers::serve().await.unwrap());
        let mut endpoints = machine.variables();
        endpoints.extend([
            ("AWS_ENDPOINT_URL_LAMBDA".to_owned(), machine.host.endpoint()),
            ("AWS_ENDPOINT_URL_CLOUDFORMATION".to_owned(), stacks.endpoint()),
            ("LAMPLIGHTER_ANSWER_ENDPOINT".to_owned(), answers.endpoint()),
        ]);
        let stage = Self {
            machine,
            stacks,
            answers,
            endpoints,
            pinned: AtomicBool::new(false),
            requests: Mutex::default(),
        };
        stage.stacks.set(STACK, "shop", "CREATE_IN_PROGRESS");
        stage.dispatcher(timeout, &[]);
        stage.register(FALLBACK, timeout, &[]);
        stage
    }

    /// Installs the dispatcher with additional environment variables.
    pub fn dispatcher(&self, timeout: Duration, variables: &[(&str, &str)]) {
        self.register(DISPATCHER, timeout, variables);
    }

    pub fn register(&self, name: &str, timeout: Duration, variables: &[(&str, &str)]) {
        let mut environment = self.endpoints.clone();
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.host.register(FunctionSpec {
            environment,
            timeout,
            on_failure: (name == DISPATCHER).then(|| FALLBACK.to_owned()),
            ..FunctionSpec::new(name, example("dispatcher-function"))
        });
    }

    /// Sets the stack's status from now on.
    pub fn status(&self, status: &str) {
        self.pinned.store(true, Ordering::Relaxed);
        self.stacks.set(STACK, "shop", status);
    }

    /// Lets the stack wait for each event again.
    pub fn status_of_events(&self) {
        self.pinned.store(false, Ordering::Relaxed);
    }

    /// Does what CloudFormation does before it first sends an event: sets the stack's status, and publishes the resource's
    /// status. A delivery calls this if the test has not.
    pub fn publish(&self, event: &Value) {
        let word = |key: &str| event[key].as_str().unwrap_or_default();
        let (kind, stack) = (word("RequestType").to_uppercase(), word("StackId"));
        if !self.requests.lock().unwrap().insert(format!("{stack}{}", word("RequestId"))) {
            return;
        }
        let waits = kind == "CREATE" || kind == "UPDATE";
        if waits && (!self.pinned.load(Ordering::Relaxed) || stack != STACK) {
            self.stacks.set(stack, "shop", &format!("{kind}_IN_PROGRESS"));
        }
        let (resource, status) = (word("LogicalResourceId"), format!("{kind}_IN_PROGRESS"));
        self.stacks.publish(stack, resource, &status, &event["ResourceProperties"]);
    }

    pub fn install_all(&self, probes: &[Probe]) {
        for probe in probes {
            self.install(probe);
        }
    }

    /// Installs a task's function, or its new version.
    pub fn install(&self, probe: &Probe) {
        let mut config = probe.config.clone();
        config["journal"] = json!(self.journal_file());
        let mut environment = self.endpoints.clone();
        environment.insert("PROBE_NAME".into(), probe.name.into());
        let mut settings = json!({ "config": config });
        if let Some(timeout_ms) = probe.timeout_ms {
            settings["timeout_ms"] = json!(timeout_ms);
        }
        environment.insert("LAMPLIGHTER_SETTINGS".into(), settings.to_string());
        environment.extend(probe.environment.clone());
        if probe.rollback {
            environment.insert("PROBE_ROLLBACK".into(), "yes".into());
        }
        let code = probe.bootstrap.clone().unwrap_or_else(|| example("dispatcher-probe"));
        self.host.register(FunctionSpec {
            environment,
            timeout: Duration::from_secs(30),
            task_root: probe.task_root.clone(),
            ..FunctionSpec::new(format!("shop-{}", probe.name), code)
        });
    }

    pub fn journal_file(&self) -> PathBuf {
        self.folder().join("journal")
    }

    /// The started bodies, in order: `run a`, `rollback b`.
    pub fn journal(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.journal_file()).unwrap_or_default();
        text.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    }

    /// The started bodies, each with its run id.
    pub fn runs(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.journal_file()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Sends an event and waits for the answer.
    pub async fn send(&self, event: &Value) -> Value {
        self.answer(&self.deliver(event)).await
    }

    /// Sends an event with a response URL of its own, signed now.
    pub fn deliver(&self, event: &Value) -> Expectation {
        let expected = self.answers.expect().unwrap();
        self.deliver_to(event, &signed(&expected.url, 0));
        expected
    }

    pub fn deliver_to(&self, event: &Value, url: &str) {
        self.publish(event);
        let mut event = event.clone();
        event["ResponseURL"] = json!(url);
        self.host.invoke_event(DISPATCHER, event.to_string()).unwrap();
    }

    /// Waits for the answer and returns it.
    pub async fn answer(&self, expected: &Expectation) -> Value {
        match expected.answer(Duration::from_secs(60)).await {
            Ok(answer) => answer.json().unwrap(),
            Err(error) => panic!("{error}\n{}", self.log.text()),
        }
    }

    /// Waits until the journal has a line.
    pub async fn journal_has(&self, line: &str) {
        eventually(line, || self.journal().iter().any(|l| l == line)).await;
    }

    pub async fn run_of(&self, entry: &Entry, task: &str) -> Run {
        let task: TaskName = task.parse().unwrap();
        let id = entry.tasks.iter().find(|t| t.name == task).unwrap().run_id;
        self.table.run(&task, id).await.unwrap().unwrap()
    }

    pub async fn newest(&self) -> Entry {
        self.newest_of(STACK, "Tasks").await.unwrap()
    }

    pub async fn newest_of(&self, stack: &str, resource: &str) -> Option<Entry> {
        self.table.ledger(&format!("{stack}#{resource}"), None).await.unwrap().newest
    }

    /// The ledger of the resource.
    pub async fn ledger(&self) -> Ledger {
        self.table.ledger(&format!("{STACK}#Tasks"), None).await.unwrap()
    }

    pub async fn end(self) {
        self.machine.end().await;
    }
}

impl Deref for Stage {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

pub fn event(kind: &str, request: &str, version: &str, probes: &[Probe]) -> Value {
    let tasks: Vec<_> = probes
        .iter()
        .map(|probe| {
            json!({
                "Name": probe.name,
                "Function": format!("shop-{}", probe.name),
                "RunOn": probe.run_on,
                "DependsOn": probe.needs,
                "OncePer": probe.once_per,
                "Rollback": probe.rollback.to_string(),
                "TimeoutMs": probe.timeout_ms.unwrap_or(20_000).to_string(),
            })
        })
        .collect();
    json!({
        "RequestType": kind,
        "StackId": STACK,
        "RequestId": request,
        "LogicalResourceId": "Tasks",
        "ResourceProperties": { "Version": version, "ServiceTimeout": "120", "Tasks": tasks },
    })
}

/// The event of a rollback from version `from` to version `to`.
pub fn back(request: &str, to: &str, from: &str, probes: &[Probe]) -> Value {
    let mut event = event("Update", request, to, probes);
    event["OldResourceProperties"] = json!({ "Version": from });
    event
}

/// A URL with the date of its signature, as CloudFormation's URLs have it.
pub fn signed(url: &str, seconds_ago: i64) -> String {
    let at = Timestamp::now() - SignedDuration::from_secs(seconds_ago);
    let date = at.strftime("%Y%m%dT%H%M%SZ");
    format!("{url}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={date}&X-Amz-Expires=7200&X-Amz-Signature=1")
}
