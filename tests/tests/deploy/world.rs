//! One emulator for every test here, and a look into a stack on it.

use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use lamplighter_e2e::{Aws, Emulator, Finished, OnFailure, Sam, StackEvent, lamplighter, run};
use serde_json::Value;

use crate::version::Version;

/// The emulator, and those who talk to it.
pub struct World {
    pub aws: Aws,
    sam: Sam,
    /// Whether the bucket is there that all deployments share.
    has_bucket: tokio::sync::Mutex<bool>,
    emulator: Emulator,
}

impl World {
    /// The one that is there, or a new one; it ends with the last test that has it. The packages are built before.
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

    /// A stack, which need not be there yet.
    pub fn stack(self: &Arc<Self>, name: &str) -> Stack {
        Stack { world: Arc::clone(self), name: name.to_owned() }
    }

    /// Where the emulator is.
    pub fn endpoint(&self) -> String {
        self.emulator.endpoint()
    }

    /// `sam deploy`, without holding up the test's own runtime. Only the first one may make the shared bucket.
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
    /// Deploys a version under a number, and returns how that ended and the stack's status then.
    pub async fn deploy(&self, version: &Version, number: &str) -> (Finished, String) {
        self.deploy_or(version, number, OnFailure::RollBack).await
    }

    /// Deploys a version that fails, and leaves the stack as it is then.
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

    /// Deletes it.
    pub async fn delete(&self) -> Finished {
        let stack = self.clone();
        tokio::task::spawn_blocking(move || stack.world.sam.delete(&stack.name)).await.unwrap()
    }

    /// The name of one of its functions.
    pub fn function(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// The dispatcher's name.
    pub fn dispatcher(&self) -> String {
        self.function("lamplighter-dispatcher")
    }

    /// Its table's items.
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

    /// Its events, oldest first.
    pub async fn events(&self) -> Vec<StackEvent> {
        self.world.aws.stack_events(&self.name).await
    }

    /// The reason of the newest event in which the resource came to this status.
    pub async fn reason(&self, logical_id: &str, status: &str) -> String {
        let events = self.events().await;
        let found = events.iter().rfind(|event| event.logical_id == logical_id && event.status == status);
        found.unwrap_or_else(|| panic!("no {status} of {logical_id} in {events:#?}")).reason.clone()
    }
}

/// How often each run of a task ended as what: `["COMPLETED", "FAILED"]`.
pub fn statuses(runs: &[Value]) -> Vec<&str> {
    runs.iter().filter_map(|run| run["status"].as_str()).collect()
}
