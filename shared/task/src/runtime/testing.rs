//! Tests of tasks: a [`World`] runs tasks in the test's process, with the real pipeline and an in-memory table.
//!
//! ```
//! # use lamplighter::{prelude::*, testing::World};
//! /// Greets somebody.
//! #[task(queue, result = String)]
//! pub async fn greet(_ctx: Context, name: String) -> TaskResult {
//!     Outcome::success("greeted").with_data(&format!("hello, {name}"))
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let world = World::new().await;
//! let job = Greet::enqueue(&world.jobs(), "Ada".to_owned()).await?;
//! assert_eq!(world.enqueued("greet").await[0].1["name"], "Ada");
//! world.drain(Greet).await;
//! assert_eq!(job.result(std::time::Duration::ZERO).await?, "hello, Ada");
//! # Ok(())
//! # }
//! ```
//!
//! Every method panics on failure.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use lamplighter_aws::{
    clients::Clients,
    jobs::{Jobs, Waker},
    random::random,
    table::{JobRecord, Table, create},
};
use lamplighter_core::{definition::Priority, holder::Holder, job::JobKey, name::TaskName, run::Run};
use lamplighter_local::Engine;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::runtime::{
    AssetsSource, BodyRuntime, Invocation, ProcessEnvironment, Task, TaskInstance, execute::execute,
};

/// The time a run has beyond its task's timeout, as by hand.
const MARGIN: Duration = Duration::from_secs(10);
/// The maximum number of waiting jobs per priority.
const MAX_JOBS: u16 = 1000;
const TABLE: &str = "lamplighter";

/// An in-memory table and the environment for runs on it. Dropping it leaves nothing behind.
///
/// Without AWS: the clients of a task's [`Context`](crate::Context) reach the in-memory table only.
pub struct World {
    process: ProcessEnvironment,
    table: Table,
    body_runtime: Option<Runtime>,
    _engine: Engine,
}

impl Drop for World {
    fn drop(&mut self) {
        // A runtime must not block on its shutdown within another one.
        if let Some(runtime) = self.body_runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl World {
    /// Creates an empty table, in the environment `test`.
    pub async fn new() -> Self {
        let engine = Engine::memory().expect("the in-memory engine opens");
        let endpoint = engine.serve().await.expect("there is a free port");
        let clients = Arc::new(Clients::local(&endpoint));
        let client = clients.dynamodb().await.clone();
        create(&client, TABLE).await.expect("the engine creates the table");
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("the runtime starts");
        let environment = "test".to_owned();
        let body_runtime =
            BodyRuntime { clients: Arc::clone(&clients), ..BodyRuntime::new(runtime.handle().clone()) };
        let table = Table::new(client, TABLE).with_environment(&environment);
        let process = ProcessEnvironment {
            clients,
            body_runtime,
            table: Some(TABLE.to_owned()),
            table_is_local: true,
            bucket: None,
            environment,
            settings: None,
            resolved: BTreeMap::new(),
            assets: AssetsSource::Folder("assets".into()),
            log: None,
            queues: None,
            notifies: None,
            waker: None,
        };
        Self { process, table, body_runtime: Some(runtime), _engine: engine }
    }

    /// Sets the environment's name.
    #[must_use]
    pub fn with_environment(mut self, name: &str) -> Self {
        name.clone_into(&mut self.process.environment);
        self
    }

    /// Sets the folder of the assets, which is the tasks' working directory.
    #[must_use]
    pub fn with_assets(mut self, folder: &Path) -> Self {
        self.process.assets = AssetsSource::Folder(folder.to_owned());
        self
    }

    /// Returns the table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Returns the client for jobs on the table.
    pub fn jobs(&self) -> Jobs {
        Jobs::new(self.table.clone(), Waker::Runner { to: None })
    }

    /// Runs a task once, as by hand, and returns its record. `config` overrides keys of the default configuration.
    pub async fn run<T: Task>(&self, task: T, config: &impl Serialize) -> Run {
        self.execute(task, json!({ "config": of(config) })).await
    }

    /// Runs a task once as its schedule does, with the tick `at`, and returns its record.
    pub async fn run_at<T: Task>(&self, task: T, at: Timestamp, config: &impl Serialize) -> Run {
        self.execute(task, json!({ "trigger": "schedule", "scheduled_for": at, "config": of(config) })).await
    }

    async fn execute<T: Task>(&self, task: T, payload: Value) -> Run {
        let task = TaskInstance::from(task);
        let executed = Box::pin(execute(&task, invocation::<T>(payload), &self.process)).await;
        Arc::new(task).tear_down(&self.process.body_runtime.handle).await;
        let report = executed.expect("the run is recorded").report;
        let run = self.table.run(&report.task, report.run_id).await.expect("the table responds");
        run.unwrap_or_else(|| panic!("the run has no record: {report:?}"))
    }

    /// Returns the unfinished jobs of a task with their arguments, those with the highest priority first.
    pub async fn enqueued(&self, task: &str) -> Vec<(JobKey, Value)> {
        let task = task.parse().expect("the task's name is valid");
        let mut enqueued = Vec::new();
        for key in self.due(&task, Timestamp::MAX).await {
            if let Some(JobRecord::Open(job)) = self.table.job(&key).await.expect("the table responds") {
                enqueued.push((key, job.arguments));
            }
        }
        enqueued
    }

    /// Makes one attempt at each job of the task that can start now, or can start as a result. Returns the records of the
    /// jobs that ended. A job whose attempt failed waits for its retry.
    pub async fn drain<T: Task>(&self, task: T) -> Vec<Run> {
        let name = T::definition().name;
        let task = TaskInstance::from(task);
        let (mut seen, mut runs) = (BTreeSet::new(), Vec::new());
        loop {
            let due = self.due(&name, Timestamp::now()).await;
            let new: Vec<_> = due.into_iter().filter(|key| seen.insert(key.clone())).collect();
            if new.is_empty() {
                break;
            }
            for key in new {
                let record =
                    json!({ "messageId": "1", "receiptHandle": "1", "body": json!(key).to_string() });
                let invocation = invocation::<T>(json!({ "Records": [record] }));
                let handlers = task.parts.jobs.expect("the task's `TAKES_JOBS` is true");
                let taken = (handlers.process_messages)(&task, invocation, &self.process).await;
                assert!(taken.is_ok_and(|taken| !taken.stuck), "the body of job {key} did not stop");
                runs.extend(self.table.run(&key.task, key.run_id).await.expect("the table responds"));
            }
        }
        Arc::new(task).tear_down(&self.process.body_runtime.handle).await;
        runs
    }

    async fn due(&self, task: &TaskName, by: Timestamp) -> Vec<JobKey> {
        let mut keys = Vec::new();
        for priority in Priority::ALL {
            let due = self.table.due_for_runner(task, *priority, MAX_JOBS).await;
            let due = due.expect("the table responds").into_iter();
            keys.extend(due.filter(|(_, at)| *at <= by).map(|(key, _)| key));
        }
        keys
    }
}

fn of(config: &impl Serialize) -> Value {
    serde_json::to_value(config).expect("the configuration serializes to JSON")
}

fn invocation<T: Task>(payload: Value) -> Invocation {
    let limit = T::definition().timeout + MARGIN;
    let deadline = Timestamp::now().saturating_add(limit).unwrap_or(Timestamp::MAX);
    Invocation { payload, holder: Holder::new("test", format_args!("{:032x}", random())), deadline }
}
