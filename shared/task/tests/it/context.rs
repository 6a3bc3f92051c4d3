//! The context of a body: configuration, environment, deployment, and assets from a folder or from S3.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use lamplighter_aws::assets::publish;
use lamplighter_core::{run::ErrorKind, status::Status};
use lamplighter_local::Bucket;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{RUN, World, deploy};

async fn seen(world: &World) -> Value {
    world.run().await.data.expect("the body returned nothing")
}

#[tokio::test]
async fn l08_the_environment_is_dev_by_default() {
    let world = World::with(json!({})).await;
    assert_eq!(seen(&world).await["environment"], "dev");
    let mut spec = world.spec(json!({}));
    spec.environment.insert("LAMPLIGHTER_ENVIRONMENT".to_owned(), "production".to_owned());
    world.host.register(spec);
    assert_eq!(seen(&world).await["environment"], "production");
    assert_eq!(world.last().await.environment, "production");
}

#[tokio::test]
async fn l09_the_configuration_is_the_default_with_the_overrides_and_keeps_its_types() {
    let names = ["1", "true", "größe 🕯"];
    let world = World::with(json!({ "count": i64::MAX, "on": true, "names": names })).await;
    let config = &seen(&world).await["config"];
    assert_eq!((&config["count"], &config["on"]), (&json!(i64::MAX), &json!(true)));
    assert_eq!((&config["names"], &config["ratio"]), (&json!(names), &json!(0.5)), "the default stays");
    assert_eq!(world.last().await.config["names"], json!(names));
}

#[tokio::test]
async fn c08_a_run_can_override_the_configuration() {
    let world = World::with(json!({ "count": 1, "names": ["a"] })).await;
    world.invoke(json!({ "config": { "count": 2 } })).await;
    let run = world.last().await;
    assert_eq!((&run.config["count"], &run.config["names"]), (&json!(2), &json!(["a"])));
    assert_eq!(run.data.unwrap()["config"]["count"], 2);
    assert_eq!(seen(&world).await["config"]["count"], 1, "the next run has the task's configuration");
}

#[tokio::test]
async fn l07_the_context_has_the_deployment() {
    let world = World::with(json!({})).await;
    world.invoke(deploy("update", RUN, "r1")).await;
    let data = world.last().await.data.unwrap();
    assert_eq!((&data["version"], &data["previous_version"]), (&json!("2"), &json!("1")));
    assert_eq!(data["is_first_deploy"], false);
    assert_eq!(world.last().await.deployment.unwrap().ledger, "shop#Tasks");
    world.invoke(json!({ "trigger": "schedule", "scheduled_for": "2026-11-21T06:00:00Z" })).await;
    let run = world.last().await;
    assert_eq!(run.scheduled_for.unwrap().to_string(), "2026-11-21T06:00:00Z");
    assert_eq!(run.data.unwrap()["scheduled_for"], "2026-11-21T06:00:00Z");
}

/// The author's files, and the files that the body must see.
fn files() -> (TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("migrations/deep/er")).unwrap();
    fs::write(path("setup.sql"), "create 🕯").unwrap();
    fs::write(path("migrations/deep/er/V1.sql"), "").unwrap();
    fs::write(path("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(path("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let seen = json!([
        ["migrations/deep/er/V1.sql", 0, ""],
        ["run.sh", 0o111, "#!/bin/sh\n"],
        ["setup.sql", 0, "create 🕯"]
    ]);
    (folder, seen)
}

#[tokio::test]
async fn l10_the_working_directory_is_the_folder_beside_the_binary() {
    let world = World::with(json!({})).await;
    let root = tempfile::tempdir().unwrap();
    let (files, wanted) = files();
    fs::rename(files.path(), root.path().join("assets")).unwrap();
    let mut spec = world.spec(json!({ "config": { "mode": "files" } }));
    spec.task_root = Some(root.path().to_path_buf());
    world.host.register(spec);
    assert_eq!(seen(&world).await, wanted);
}

/// A bucket with an archive, and a function that fetches it.
struct Archived {
    world: World,
    store: TempDir,
    url: String,
    wanted: Value,
    bucket: Bucket,
    client: aws_sdk_s3::Client,
}

impl Archived {
    async fn new() -> Self {
        let world = World::new().await;
        let store = tempfile::tempdir().unwrap();
        let bucket = Bucket::serve(store.path(), "artifacts").await.unwrap();
        let of_bucket = bucket.credentials();
        let client = aws_sdk_s3::Client::from_conf(
            aws_sdk_s3::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(Credentials::new(
                    &of_bucket.access_key_id,
                    &of_bucket.secret_access_key,
                    None,
                    None,
                    "test",
                ))
                .endpoint_url(bucket.endpoint())
                .force_path_style(true)
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .build(),
        );
        let (files, wanted) = files();
        let url = publish(&client, "artifacts", "probe", files.path()).await.unwrap();
        let again = publish(&client, "artifacts", "probe", files.path()).await.unwrap();
        assert_eq!(url, again, "the same files have the same address");
        Self { world, store, url, wanted, bucket, client }
    }

    fn object(&self) -> std::path::PathBuf {
        self.store.path().join(self.url.strip_prefix("s3://").unwrap())
    }

    /// Registers the function with an empty folder for fetched archives.
    fn register(&self, url: &str, cache: &Path) {
        let mut spec = self.world.spec(json!({ "config": { "mode": "files" } }));
        spec.environment.extend(self.bucket.variables());
        for (name, value) in [("LAMPLIGHTER_ASSETS", url.to_owned()), ("TMPDIR", cache.display().to_string())]
        {
            spec.environment.insert(name.to_owned(), value);
        }
        self.world.host.register(spec);
    }
}

#[tokio::test]
async fn l10_an_archive_is_fetched_once_per_environment() {
    let archived = Archived::new().await;
    let cache = tempfile::tempdir().unwrap();
    archived.register(&archived.url, cache.path());
    assert_eq!(seen(&archived.world).await, archived.wanted);

    fs::remove_file(archived.object()).unwrap();
    assert_eq!(seen(&archived.world).await, archived.wanted, "the same process");
    archived.register(&archived.url, cache.path());
    assert_eq!(seen(&archived.world).await, archived.wanted, "another process of the same environment");
    let kept: Vec<_> = fs::read_dir(cache.path()).unwrap().collect();
    assert_eq!(kept.len(), 1, "nothing else is left: {kept:?}");

    let elsewhere = tempfile::tempdir().unwrap();
    archived.register(&archived.url, elsewhere.path());
    let run = archived.world.run().await;
    let error = run.error.unwrap();
    assert_eq!((run.status, error.kind), (Status::Failed, ErrorKind::System));
    assert!(error.message.contains(&archived.url), "{}", error.message);
    assert_eq!(archived.world.bodies(), 3, "without its files the body is not run");
}

#[tokio::test]
async fn a_corrupt_archive_is_named_and_a_later_good_one_is_used() {
    let archived = Archived::new().await;
    let cache = tempfile::tempdir().unwrap();
    let good = fs::read(archived.object()).unwrap();
    let put = async |content: &[u8]| {
        let key = archived.url.strip_prefix("s3://artifacts/").unwrap();
        let put = archived.client.put_object().bucket("artifacts").key(key);
        put.body(content.to_vec().into()).send().await.unwrap();
    };
    put(&good[..good.len() / 2]).await;
    archived.register(&archived.url, cache.path());
    let run = archived.world.run().await;
    let error = run.error.unwrap();
    assert_eq!((run.status, error.kind), (Status::Failed, ErrorKind::Configuration));
    assert!(
        error.message.contains(&archived.url) && error.message.contains("publish it again"),
        "{}",
        error.message
    );
    put(&good).await;
    assert_eq!(seen(&archived.world).await, archived.wanted);
}

#[tokio::test]
async fn an_invalid_address_is_a_configuration_error() {
    let archived = Archived::new().await;
    for url in ["s3://artifacts", "/etc", "https://x/y.tar", "s3://artifacts/probe/latest.tar"] {
        archived.register(url, archived.world.folder());
        let error = archived.world.run().await.error.unwrap();
        assert_eq!(error.kind, ErrorKind::Configuration);
        let wanted = format!("assets: `{url}` is not the address of an archive");
        assert!(error.message.starts_with(&wanted), "{}", error.message);
    }
    assert_eq!(archived.world.bodies(), 0);
}
