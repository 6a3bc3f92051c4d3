//! One stack through its life: created, updated, failed and rolled back, repaired, disturbed, and deleted.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lamplighter_e2e::repository;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::pages::{Pages, version};
use super::processes::variable;
use super::version::Version;
use super::world::{Stack, World, statuses};

pub const BEFORE: &str = "LamplighterBefore";
pub const AFTER: &str = "LamplighterAfter";

/// The path and the text of an executable asset.
const SCRIPT: (&str, &str) = ("scripts/later/check.sh", "#!/bin/sh\n");

/// A stack in the middle of its life.
pub struct Life {
    pub stack: Stack,
    pub pages: Pages,
    /// Contains the database and the dispatcher's events.
    folder: TempDir,
}

#[tokio::test(flavor = "multi_thread")]
async fn g05_a_stack_is_created_updated_rolled_back_and_deleted() {
    let world = tokio::task::spawn_blocking(World::shared).await.unwrap();
    let stack = world.stack("life");
    let pages = Pages::start(&world.aws, &stack.function("site")).await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("events")).unwrap();
    let life = Life { stack, pages, folder };

    life.l04_it_is_created().await;
    life.l10_assets_are_in_the_working_directory().await;
    life.q16_its_site_enqueues_jobs().await;
    life.l15_it_is_updated().await;
    life.l13_a_failed_migration_rolls_it_back().await;
    life.l07_the_next_update_gets_the_last_successful_version().await;
    life.l14_events_delivered_again_run_nothing().await;
    life.l22_malformed_events_are_answered_or_logged().await;
    life.l19_after_a_kill_of_the_dispatcher_the_deployment_resumes().await;
    life.g04_a_tick_runs_its_task_once().await;
    life.g03_a_role_without_its_permission_fails_the_deployment().await;
    life.l18_if_another_resource_fails_the_completed_tasks_are_undone().await;
    life.l23_no_secret_is_logged_or_stored().await;
    life.l06_a_delete_runs_nothing().await;
}

impl Life {
    async fn l04_it_is_created(&self) {
        let (deployed, status) = self.stack.deploy(&self.version(), "1").await;
        let succeeded = deployed.success && status == "CREATE_COMPLETE";
        assert!(succeeded, "{status}: {:#?}\n{}", self.stack.events().await, deployed.output);
        for task in ["run-migrations", "seed-data", "process-assets", "warm-cache"] {
            let runs = self.stack.runs(task).await;
            assert_eq!(statuses(&runs), ["COMPLETED"], "{task}: {runs:#?}");
            let (run, deployment) = (&runs[0], &runs[0]["deployment"]);
            assert_eq!((&run["trigger"], &run["environment"]), (&json!("deploy"), &json!("dev")), "{task}");
            assert_eq!(
                (&deployment["version"], &deployment["is_first_deploy"]),
                (&json!("1"), &json!(true)),
                "{task}"
            );
            assert_eq!(
                deployment.get("previous_version").filter(|version| !version.is_null()),
                None,
                "{task}"
            );
        }
        assert_eq!(self.message("seed-data").await, "added 2 of 2 initial users");
        assert_eq!(self.version_served().await, "1");
        // When the page was requested, this version was already live.
        assert_eq!(self.pages.versions(), ["1"]);

        let answer = self.answer(BEFORE).await;
        assert_eq!(answer["Status"], "SUCCESS");
        let data = &answer["Data"];
        assert_eq!((&data["Version"], &data["IsFirstDeploy"]), (&json!("1"), &json!("true")));
        assert_eq!(data["seed-data.status"], "COMPLETED");
        assert_eq!(data["seed-data.message"], "added 2 of 2 initial users");
    }

    /// The files in the function's folder are the package's, byte for byte and with their executable bits. The migrations and
    /// the published files come from there.
    async fn l10_assets_are_in_the_working_directory(&self) {
        let function = self.stack.function("process-assets");
        let root = variable(&self.stack.world.endpoint(), &function, "LAMBDA_TASK_ROOT").unwrap();
        let assets = Path::new(&root).join("assets");
        let executable = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o111;
        let originals = repository().join("functions/tasks/process-assets/public");
        for name in fs::read_dir(originals).unwrap().map(|file| file.unwrap().path()) {
            let deployed = assets.join("public").join(name.file_name().unwrap());
            assert_eq!(fs::read(&deployed).unwrap(), fs::read(&name).unwrap(), "{}", deployed.display());
            assert_eq!(executable(&deployed), executable(&name), "{}", deployed.display());
        }
        let script = assets.join(SCRIPT.0);
        assert_eq!((fs::read_to_string(&script).unwrap(), executable(&script)), (SCRIPT.1.to_owned(), 0o111));

        let migrations = self.message("run-migrations").await;
        assert!(migrations.contains("2 migrations"), "{migrations}");
        let bucket = self.stack.world.aws.physical_id(&self.stack.name, "LamplighterBucket").await;
        let keys = self.stack.world.aws.keys(&bucket).await;
        assert!(keys.iter().any(|key| key == "public/manifest.json"), "{keys:?}");
        assert!(keys.len() > 1 && keys.iter().all(|key| key.starts_with("public/")), "{keys:?}");
    }

    async fn l15_it_is_updated(&self) {
        let ids = self.physical_ids().await;
        self.expect_update("2").await;
        assert_eq!(self.physical_ids().await, ids);
        assert_eq!(self.stack.runs("run-migrations").await.len(), 2);
        self.expect_versions("run-migrations", "2", "1").await;
        self.expect_versions("warm-cache", "2", "1").await;
        // The first runs on deploy only, the second only if its content has changed.
        assert_eq!(self.stack.runs("seed-data").await.len(), 1);
        assert_eq!(self.stack.runs("process-assets").await.len(), 1);
        assert_eq!(self.answer(BEFORE).await["Data"]["process-assets.status"], "SKIPPED");
        assert_eq!(self.version_served().await, "2");
        assert_eq!(self.pages.versions(), ["1", "2"]);

        let events = self.stack.events().await;
        let last = |id: &str, status: &str| {
            let found = events.iter().rposition(|event| event.logical_id == id && event.status == status);
            found.unwrap_or_else(|| panic!("no {status} of {id} in {events:#?}"))
        };
        assert!(last(BEFORE, "UPDATE_COMPLETE") < last("SiteFunction", "UPDATE_IN_PROGRESS"), "{events:#?}");
        assert!(last("SiteFunction", "UPDATE_COMPLETE") < last(AFTER, "UPDATE_IN_PROGRESS"), "{events:#?}");
        assert!(!events.iter().any(|event| event.status.starts_with("DELETE")), "{events:#?}");
    }

    async fn l13_a_failed_migration_rolls_it_back(&self) {
        let others = ["seed-data", "process-assets", "warm-cache"];
        let mut before = Vec::new();
        for task in others {
            before.push(self.stack.runs(task).await.len());
        }
        let broken = self
            .version()
            .with_migration("V3__add_orders", "CREATE TABLE orders (id INTEGER,, total INTEGER);");
        let over = Arc::new(AtomicBool::new(false));
        let watching = tokio::spawn(watch(self.stack.clone(), Arc::clone(&over)));
        let (deployed, status) = self.stack.deploy(&broken, "3").await;
        over.store(true, Ordering::Relaxed);
        let served = watching.await.unwrap();
        deployed.expect_failure("sam deploy of a version whose migration fails");
        assert_eq!(status, "UPDATE_ROLLBACK_COMPLETE");
        assert!(served.len() > 3 && served.iter().all(|version| version == "2"), "{served:?}");

        let runs = self.stack.runs("run-migrations").await;
        assert_eq!(statuses(&runs), ["COMPLETED", "COMPLETED", "FAILED"]);
        let reason = self.stack.reason(BEFORE, "UPDATE_FAILED").await;
        let run_id = runs[2]["sk"].as_str().unwrap();
        for expected in [
            format!("run-migrations FAILED (run {run_id})"),
            "V3__add_orders failed".into(),
            "syntax error".into(),
        ] {
            assert!(reason.contains(&expected), "no `{expected}` in: {reason}");
        }
        // No other task ran, forward or back, and the ledger has the direction of each request.
        for (task, before) in others.into_iter().zip(before) {
            assert_eq!(self.stack.runs(task).await.len(), before, "{task}");
        }
        let courses: Vec<_> =
            self.stack.deployments(BEFORE).await.iter().map(|entry| entry["course"].clone()).collect();
        assert_eq!(courses, ["deploy", "update", "update", "rollback"]);
        assert_eq!(self.pages.versions(), ["1", "2"]);
    }

    async fn l07_the_next_update_gets_the_last_successful_version(&self) {
        let ids = self.physical_ids().await;
        self.expect_update("4").await;
        self.expect_versions("run-migrations", "4", "2").await;
        self.expect_versions("warm-cache", "4", "2").await;
        assert_eq!(self.physical_ids().await, ids);
        assert_eq!(self.version_served().await, "4");
    }

    pub fn version(&self) -> Version {
        let database = format!("sqlite:{}", self.folder.path().join("app.sqlite").display());
        Version::new(&database)
            .with_asset("process-assets", SCRIPT.0, SCRIPT.1, 0o755)
            .warming(&self.pages.url)
            .tapped(&self.events_folder())
    }

    fn events_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("events")
    }

    async fn expect_update(&self, number: &str) {
        let (deployed, status) = self.stack.deploy(&self.version(), number).await;
        let succeeded = deployed.success && status == "UPDATE_COMPLETE";
        assert!(succeeded, "{status}: {:#?}\n{}", self.stack.events().await, deployed.output);
    }

    /// Expects that a task's newest run completed and received these versions.
    pub async fn expect_versions(&self, task: &str, version: &str, previous: &str) {
        let runs = self.stack.runs(task).await;
        let run = runs.last().unwrap();
        assert_eq!((&run["status"], &run["trigger"]), (&json!("COMPLETED"), &json!("update")), "{run:#}");
        let deployment = &run["deployment"];
        assert_eq!(deployment["version"], version, "{run:#}");
        assert_eq!(deployment["previous_version"], previous, "{run:#}");
        assert_eq!(deployment["is_first_deploy"], false, "{run:#}");
    }

    /// The message of a task's newest run.
    async fn message(&self, task: &str) -> String {
        let runs = self.stack.runs(task).await;
        runs.last().and_then(|run| run["message"].as_str()).unwrap_or_default().to_owned()
    }

    /// The newest answer of a resource.
    pub async fn answer(&self, logical_id: &str) -> Value {
        let deployments = self.stack.deployments(logical_id).await;
        let body = deployments.last().and_then(|entry| entry["answer"]["body"].as_str());
        serde_json::from_str(body.unwrap()).unwrap()
    }

    /// All runs with a record.
    pub async fn all_runs(&self) -> BTreeSet<String> {
        let items = self.stack.items().await;
        let keys = items.iter().map(|item| format!("{} / {}", item["pk"], item["sk"]));
        keys.filter(|key| key.starts_with("\"RUNS#")).collect()
    }

    pub async fn version_served(&self) -> String {
        version(&self.stack.world.aws, &self.stack.function("site")).await
    }

    async fn physical_ids(&self) -> Vec<String> {
        let mut ids = Vec::new();
        for logical_id in [BEFORE, AFTER] {
            ids.push(self.stack.world.aws.physical_id(&self.stack.name, logical_id).await);
        }
        ids
    }

    /// All events that the dispatcher received, in order.
    pub fn events(&self) -> Vec<Value> {
        let mut files: Vec<_> =
            fs::read_dir(self.events_folder()).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files.iter().filter_map(|file| read(file)).collect()
    }

    /// The newest event of a resource.
    pub fn last_event(&self, logical_id: &str) -> Value {
        let events = self.events();
        events.into_iter().rfind(|event| event["LogicalResourceId"] == logical_id).unwrap()
    }
}

/// Reads an event. Returns `None` if its file is incomplete.
fn read(file: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(file).unwrap()).ok()
}

/// Requests the site's version repeatedly until `over` is set.
async fn watch(stack: Stack, over: Arc<AtomicBool>) -> Vec<String> {
    let mut versions = Vec::new();
    while !over.load(Ordering::Relaxed) {
        versions.push(version(&stack.world.aws, &stack.function("site")).await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    versions
}
