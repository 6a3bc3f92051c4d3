//! One emulator for all tests of this target, and access to its stacks.

use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use lamplighter_e2e::{Aws, Emulator, Finished, OnFailure, Sam, StackEvent, lamplighter, run};
use serde_json::Value;

use super::version::Version;

/// The emulator and its clients.
pub struct World {
    pub aws: Aws,
    sam: Sam,
    /// True once the bucket that all deployments share exists.
    has_bucket: tokio::sync::Mutex<bool>,
    emulator: Emulator,
}

impl World {
    /// Returns the running emulator or starts one, with the packages built. It ends with the last test that uses it.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<World>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(world) = shared.upgrade() {
            return world;
        }
        run(lamplighter().args(["generate", "--check"])).expect_success("lamplighter generate --check");
        run(lamplighter().args(["build", "--dev"])).expect_success("lamplighter build --dev");
        let emulator = Emulator::start();
        let (aws, sam) = (Aws::new(&emulator.endpoint()), Sam::new(&emulator.endpoint()));
        let world = Arc::new(Self { aws, sam, has_bucket: false.into(), emulator });
        *shared = Arc::downgrade(&world);
        world
    }

    /// A stack, which need not exist yet.
    pub fn stack(self: &Arc<Self>, name: &str) -> Stack {
        Stack { world: Arc::clone(self), name: name.to_owned() }
    }

    /// The emulator's endpoint.
    pub fn endpoint(&self) -> String {
        self.emulator.endpoint()
    }

    /// Runs `sam deploy` without blocking the test's runtime. Only the first one creates the shared bucket.
    async fn deploy(
        self: &Arc<Self>,
        template: &Path,
        stack: &str,
        number: &str,
        on_failure: OnFailure,
    ) -> Finished {
        let mut has_bucket = self.has_bucket.lock().await;
        let alone = (!*has_bucket).then(|| std::mem::replace(&mut *has_bucket, true));
        let held = alone.map(|_| has_bucket);
        let (world, template, stack) = (Arc::clone(self), template.to_owned(), stack.to_owned());
        let (number, endpoint) = (number.to_owned(), self.endpoint());
        let deploy = move || {
            let parameters = [("Version", number.as_str()), ("AnswerEndpoint", endpoint.as_str())];
            world.sam.deploy(&template, &stack, &parameters, on_failure)
        };
        let deployed = tokio::task::spawn_blocking(deploy).await.unwrap();
        drop(held);
        deployed
    }
}

/// A stack by its name.
#[derive(Clone)]
pub struct Stack {
    pub world: Arc<World>,
    pub name: String,
}

impl Stack {
    /// Deploys a version under a number. Returns the result and the stack's status.
    pub async fn deploy(&self, version: &Version, number: &str) -> (Finished, String) {
        self.deploy_or(version, number, OnFailure::RollBack).await
    }

    /// Deploys a version that may fail, without a rollback.
    pub async fn deploy_or_stop(&self, version: &Version, number: &str) -> (Finished, String) {
        self.deploy_or(version, number, OnFailure::Stop).await
    }

    async fn deploy_or(&self, version: &Version, number: &str, on_failure: OnFailure) -> (Finished, String) {
        let started = Instant::now();
        let finished = self.world.deploy(&version.template(), &self.name, number, on_failure).await;
        let status = self.world.aws.stack_status(&self.name).await.unwrap_or_default();
        eprintln!("{} {number}: {status} after {:.1} s", self.name, started.elapsed().as_secs_f64());
        (finished, status)
    }

    /// Deletes the stack.
    pub async fn delete(&self) -> Finished {
        let stack = self.clone();
        tokio::task::spawn_blocking(move || stack.world.sam.delete(&stack.name)).await.unwrap()
    }

    /// The name of one of the stack's functions.
    pub fn function(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// The dispatcher's name.
    pub fn dispatcher(&self) -> String {
        self.function("lamplighter-dispatcher")
    }

    /// The items of the stack's table.
    pub async fn items(&self) -> Vec<Value> {
        let table = self.world.aws.physical_id(&self.name, "LamplighterTable").await;
        self.world.aws.scan(&table).await
    }

    /// The records of a task, oldest first.
    pub async fn runs(&self, task: &str) -> Vec<Value> {
        self.partition(&format!("RUNS#{task}#0")).await
    }

    /// The deployments of a resource, oldest first.
    pub async fn deployments(&self, logical_id: &str) -> Vec<Value> {
        let mut items = self.items().await;
        let (stack, resource) = (format!(":stack/{}/", self.name), format!("#{logical_id}"));
        items.retain(|item| {
            let pk = item["pk"].as_str().unwrap_or_default();
            let is_its = pk.starts_with("DEPLOYMENT#") && pk.contains(&stack) && pk.ends_with(&resource);
            is_its && item["sk"] != "LATEST"
        });
        items.sort_by_key(|item| item["sk"].as_str().unwrap_or_default().to_owned());
        items
    }

    async fn partition(&self, pk: &str) -> Vec<Value> {
        let mut items = self.items().await;
        items.retain(|item| item["pk"] == pk);
        items.sort_by_key(|item| item["sk"].as_str().unwrap_or_default().to_owned());
        items
    }

    /// The stack's events, oldest first.
    pub async fn events(&self) -> Vec<StackEvent> {
        self.world.aws.stack_events(&self.name).await
    }

    /// The reason of the newest event with this resource and status.
    pub async fn reason(&self, logical_id: &str, status: &str) -> String {
        let events = self.events().await;
        let found = events.iter().rfind(|event| event.logical_id == logical_id && event.status == status);
        found.unwrap_or_else(|| panic!("no {status} of {logical_id} in {events:#?}")).reason.clone()
    }
}

/// The statuses of runs, e.g. `["COMPLETED", "FAILED"]`.
pub fn statuses(runs: &[Value]) -> Vec<&str> {
    runs.iter().filter_map(|run| run["status"].as_str()).collect()
}
