//! Data that is too large for the table is stored in the bucket without secrets. Runs whose bucket fails are recorded.

use lamplighter_core::{run::ErrorKind, status::Status};
use lamplighter_local::Bucket;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::{
    shell::{command, output},
    world::{World, objects},
};

/// Creates a world whose function has this bucket and configuration.
async fn world(bucket: &Bucket, config: Value) -> World {
    let world = World::new().await;
    let mut spec = world.spec(json!({ "config": config }));
    spec.environment.extend(bucket.variables());
    spec.environment.insert("LAMPLIGHTER_BUCKET".to_owned(), "values".to_owned());
    world.host.register(spec);
    world
}

async fn bucket() -> (Bucket, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Bucket::serve(folder.path(), "values").await.unwrap(), folder)
}

#[tokio::test]
async fn l12_data_too_large_for_a_record_is_stored_whole() {
    let (bucket, _folder) = bucket().await;
    let world = world(&bucket, json!({ "mode": "large", "bytes": 5_000_000 })).await;
    let run = world.run().await;
    assert_eq!((run.status, run.message.as_deref(), &run.data), (Status::Completed, Some("large"), &None));
    assert_eq!(run.large["data"].bytes, 5_000_002);
    let table = world.table.clone().with_objects(objects(&bucket));
    let whole = table.whole(run).await.unwrap();
    assert_eq!(whole.data.unwrap().as_str().unwrap().len(), 5_000_000);
}

#[tokio::test]
async fn q02_secrets_are_masked_before_a_value_leaves_the_process() {
    let (bucket, folder) = bucket().await;
    let names = vec!["x".repeat(200); 600];
    let config = json!({ "mode": "large-with-secret", "bytes": 20_000, "names": names, "secret": "hunter2" });
    let world = world(&bucket, config).await;
    let run = world.run().await;
    assert_eq!(run.status, Status::Completed, "{:?}", run.error);
    assert_eq!(run.large.keys().collect::<Vec<_>>(), ["config", "data"]);
    for stored in run.large.values() {
        let text = std::fs::read_to_string(folder.path().join("values").join(&stored.key)).unwrap();
        assert!(text.contains("[secret]") && !text.contains("hunter2"), "{}: {}", stored.key, &text[..200]);
    }
}

#[tokio::test]
async fn l12_a_run_whose_bucket_is_down_is_recorded_with_a_system_error() {
    let (bucket, _folder) = bucket().await;
    let world = world(&bucket, json!({ "mode": "large", "bytes": 200_000 })).await;
    drop(bucket);
    let run = world.run().await;
    let error = run.error.unwrap();
    assert_eq!((run.status, error.kind, run.message), (Status::Failed, ErrorKind::System, None));
    let said = "cannot store the run's values: bucket `values`: put `runs/probe/";
    assert!(error.message.starts_with(said), "{}", error.message);
    assert_eq!(run.config["mode"], "large", "what is small is recorded");
    assert_eq!(world.table.state(&run.task).await.unwrap().lease, None);
}

#[tokio::test]
async fn l12_a_bucket_that_never_responds_does_not_prevent_the_record() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let world = World::new().await;
    let config = json!({ "mode": "large", "bytes": 200_000 });
    // By hand, nothing kills a process that is late on a busy machine.
    let mut run = command(&world, &config);
    let settings = world.spec(json!({ "config": config, "timeout_ms": 1000 }));
    run.arg("run").envs(settings.environment);
    run.env("AWS_ENDPOINT_URL_S3", endpoint).env("LAMPLIGHTER_BUCKET", "values");
    assert_eq!(output(run).await.status.code(), Some(1));
    let error = world.last().await.error.unwrap();
    assert_eq!(error.kind, ErrorKind::System);
    assert!(error.message.ends_with("the function's time ran out"), "{}", error.message);
}
