//! The world of one test: an engine with the table, a Lambda host, and a folder for the probe's marks.

use std::{ops::Deref, path::PathBuf, time::Duration};

use lamplighter_aws::{clients::signed_config, objects::Objects, table::History};
use lamplighter_core::{name::TaskName, run::Run};
use lamplighter_local::{Bucket, FunctionSpec, Invocation};
use lamplighter_testkit::{example, machine::Machine};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// The name of the function and of the task.
pub(crate) const PROBE: &str = "probe";

/// The binary of `examples/task_probe.rs`, which `cargo test` builds. Its name is unique, since all packages share the
/// folder.
pub(crate) fn binary() -> PathBuf {
    example("task_probe")
}

pub(crate) struct World(Machine);

impl Deref for World {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.0
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self(Machine::new().await)
    }

    /// Creates a world whose probe has this configuration.
    pub(crate) async fn with(config: Value) -> Self {
        let world = Self::new().await;
        world.register(json!({ "config": config }));
        world
    }

    /// Creates a world whose probe is a cron task with these settings and environment variables.
    pub(crate) async fn cron(settings: Value, words: &[&str]) -> Self {
        let world = Self::new().await;
        let mut spec = world.spec(settings);
        for word in ["PROBE_CRON"].iter().chain(words) {
            spec.environment.insert((*word).to_owned(), "yes".to_owned());
        }
        world.host.register(spec);
        world
    }

    /// Returns the function with these settings. The world's folder is added to their configuration.
    pub(crate) fn spec(&self, mut settings: Value) -> FunctionSpec {
        settings["config"]["folder"] = json!(self.folder());
        let mut spec = FunctionSpec::new(PROBE, binary());
        spec.timeout = Duration::from_secs(20);
        let folder = self.folder().display().to_string();
        spec.environment = self.variables();
        for (name, value) in [("LAMPLIGHTER_SETTINGS", settings.to_string()), ("TMPDIR", folder)] {
            spec.environment.insert(name.to_owned(), value);
        }
        spec
    }

    /// Registers the function with these settings.
    pub(crate) fn register(&self, settings: Value) {
        self.host.register(self.spec(settings));
    }

    pub(crate) async fn invoke(&self, payload: Value) -> Invocation {
        self.host.invoke(PROBE, payload.to_string()).await.unwrap()
    }

    /// Invokes the function by hand and returns the run's record.
    pub(crate) async fn run(&self) -> Run {
        self.invoke(json!({})).await;
        self.last().await
    }

    /// Sets the mode of all further bodies.
    pub(crate) fn switch(&self, mode: &str) {
        std::fs::write(self.folder().join("mode"), mode).unwrap();
    }

    /// Lets a waiting body continue.
    pub(crate) fn go(&self) {
        std::fs::write(self.folder().join("go"), "").unwrap();
    }

    /// Returns all records, newest first.
    pub(crate) async fn runs(&self) -> Vec<Run> {
        self.table.history(&History::of(task(), 100)).await.unwrap().runs
    }

    pub(crate) async fn last(&self) -> Run {
        self.runs().await.into_iter().next().expect("no run was recorded")
    }

    /// Returns the lines of one of the probe's files: `bodies`, `rollbacks`, `overlaps`.
    pub(crate) fn marks(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn bodies(&self) -> usize {
        self.marks("bodies").len()
    }

    /// Waits until a body has started, and returns its process id.
    pub(crate) async fn body_begun(&self) -> String {
        let begun = async {
            loop {
                if let Some(line) = self.marks("bodies").last() {
                    return line.rsplit(' ').next().unwrap().to_owned();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), begun).await.expect("no body started")
    }

    /// Returns all output of the functions.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.log.all().into_iter().map(|line| line.line).collect()
    }

    /// Returns all output of the functions as JSON.
    pub(crate) fn logged(&self) -> Vec<Value> {
        let parse =
            |line: String| serde_json::from_str(&line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"));
        self.lines().into_iter().map(parse).collect()
    }

    /// Waits for a line that contains a text, and returns it.
    pub(crate) async fn line(&self, text: &str) -> Value {
        self.log.containing(text).await;
        self.logged().into_iter().find(|line| line.to_string().contains(text)).unwrap()
    }
}

/// A proxy for the table that can be closed.
pub(crate) struct Gate {
    endpoint: String,
    passing: JoinHandle<()>,
}

impl Gate {
    pub(crate) async fn open(endpoint: &str) -> Self {
        let (target, key) = endpoint.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let target = target.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/{key}", listener.local_addr().unwrap());
        let passing = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut far = TcpStream::connect(&target).await.unwrap();
                connections.spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { endpoint, passing }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// Closes all connections, and rejects new ones.
    pub(crate) fn shut(&mut self) {
        self.passing.abort();
    }
}

pub(crate) fn task() -> TaskName {
    PROBE.parse().unwrap()
}

/// Returns the objects in the bucket `values`.
pub(crate) fn objects(bucket: &Bucket) -> Objects {
    let signing = bucket.credentials();
    let config = signed_config(&bucket.endpoint(), &signing.access_key_id, &signing.secret_access_key);
    Objects::new("values", &config)
}

/// Returns the response's payload.
pub(crate) fn answer(invocation: &Invocation) -> Value {
    serde_json::from_slice(&invocation.payload).unwrap()
}

/// Returns the payload of a deployment.
pub(crate) fn deploy(trigger: &str, run_id: &str, request: &str) -> Value {
    json!({
        "trigger": trigger,
        "run_id": run_id,
        "deployment": {
            "ledger": "shop#Tasks",
            "entry": format!("2026-11-21T06:00:00.000Z#{request}"),
            "version": "2",
            "previous_version": "1",
            "is_first_deploy": false,
        },
    })
}

/// Returns the payload of the pulse.
pub(crate) fn tick(at: &str) -> Value {
    json!({ "trigger": "pulse", "scheduled_for": at })
}

/// Creates a run id.
pub(crate) const RUN: &str = "01KAJ0000000000000000000RN";
