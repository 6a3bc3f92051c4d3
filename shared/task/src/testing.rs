//! Tasks under test: run in the test's own process, with the real pipeline, on an embedded table of the test's own.
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
//! What cannot be done panics, as in a test it should.

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
    table::{Found, Table, create},
};
use lamplighter_core::{definition::Priority, holder::Holder, job::JobKey, name::TaskName, run::Run};
use lamplighter_local::Engine;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::{AssetsSource, Bodies, Edges, Hosted, Invocation, Task, execute::execute, job};

/// What a run may take beyond its task's timeout, as by hand.
const MARGIN: Duration = Duration::from_secs(10);
/// How many waiting jobs of one priority are looked at.
const MOST: u16 = 1000;
const TABLE: &str = "lamplighter";

/// A table of a test's own, and what tasks are run with on it. Nothing is left when it is dropped.
pub struct World {
    edges: Edges,
    table: Table,
    bodies: Option<Runtime>,
    _engine: Engine,
}

impl Drop for World {
    fn drop(&mut self) {
        // A runtime cannot wait for its end within another one.
        if let Some(bodies) = self.bodies.take() {
            bodies.shutdown_background();
        }
    }
}

impl World {
    /// An empty table, in the environment `test`.
    pub async fn new() -> Self {
        let engine = Engine::memory().expect("an engine in memory opens");
        let endpoint = engine.serve().await.expect("there is a free port");
        let clients = Arc::new(Clients::local(&endpoint));
        let client = clients.dynamodb().await.clone();
        create(&client, TABLE).await.expect("the engine takes the table");
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("there are threads");
        let environment = "test".to_owned();
        let bodies = Bodies { clients: Arc::clone(&clients), ..Bodies::new(runtime.handle().clone()) };
        let table = Table::new(client, TABLE).with_environment(&environment);
        let edges = Edges {
            clients,
            bodies,
            table: Some(TABLE.to_owned()),
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
        Self { edges, table, bodies: Some(runtime), _engine: engine }
    }

    /// The same in another environment.
    #[must_use]
    pub fn with_environment(mut self, name: &str) -> Self {
        name.clone_into(&mut self.edges.environment);
        self
    }

    /// The same with that folder as the tasks' working directory.
    #[must_use]
    pub fn with_assets(mut self, folder: &Path) -> Self {
        self.edges.assets = AssetsSource::Folder(folder.to_owned());
        self
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The jobs of the table.
    pub fn jobs(&self) -> Jobs {
        Jobs::new(self.table.clone(), Waker::Runner { to: None })
    }

    /// Runs a task as by hand, with these keys of its configuration in the place of its defaults, and gives its record.
    pub async fn run<T: Task>(&self, task: T, config: &impl Serialize) -> Run {
        self.execute(task, json!({ "config": of(config) })).await
    }

    /// The same as its schedule runs it at that time.
    pub async fn run_at<T: Task>(&self, task: T, at: Timestamp, config: &impl Serialize) -> Run {
        self.execute(task, json!({ "trigger": "schedule", "scheduled_for": at, "config": of(config) })).await
    }

    async fn execute<T: Task>(&self, task: T, payload: Value) -> Run {
        let task = Arc::new(Hosted::from(task));
        let executed = Box::pin(execute(Arc::clone(&task), invocation::<T>(payload), &self.edges)).await;
        task.end(&self.edges.bodies.runtime).await;
        let report = executed.expect("the run comes to its record").report;
        let run = self.table.run(&report.task, report.run_id).await.expect("the table is there");
        run.unwrap_or_else(|| panic!("the run has no record: {report:?}"))
    }

    /// The jobs of a task that are not over, with their arguments, those of higher priorities first.
    pub async fn enqueued(&self, task: &str) -> Vec<(JobKey, Value)> {
        let task = task.parse().expect("it is a task's name");
        let mut enqueued = Vec::new();
        for key in self.due(&task, Timestamp::MAX).await {
            if let Some(Found::Open(job)) = self.table.job(&key).await.expect("the table is there") {
                enqueued.push((key, job.arguments));
            }
        }
        enqueued
    }

    /// Runs every job of the task that may start now, and those that may then, each once, and gives the records of those that
    /// are over. One whose attempt failed waits for its next.
    pub async fn drain<T: Task>(&self, task: T) -> Vec<Run> {
        let name = T::definition().name;
        let task = Arc::new(Hosted::from(task));
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
                let taken = Box::pin(job::take_messages(&task, invocation, &self.edges)).await;
                assert!(taken.is_ok_and(|taken| !taken.stuck), "the body of {key} does not stop");
                runs.extend(self.table.run(&key.task, key.run_id).await.expect("the table is there"));
            }
        }
        task.end(&self.edges.bodies.runtime).await;
        runs
    }

    async fn due(&self, task: &TaskName, by: Timestamp) -> Vec<JobKey> {
        let mut keys = Vec::new();
        for priority in Priority::ALL {
            let due = self.table.due_for_runner(task, *priority, MOST).await;
            let due = due.expect("the table is there").into_iter();
            keys.extend(due.filter(|(_, at)| *at <= by).map(|(key, _)| key));
        }
        keys
    }
}

fn of(config: &impl Serialize) -> Value {
    serde_json::to_value(config).expect("a configuration has JSON")
}

fn invocation<T: Task>(payload: Value) -> Invocation {
    let limit = T::definition().timeout + MARGIN;
    let deadline = Timestamp::now().saturating_add(limit).unwrap_or(Timestamp::MAX);
    Invocation { payload, holder: Holder::new("test", format_args!("{:032x}", random())), deadline }
}
