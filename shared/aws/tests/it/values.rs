//! Large values on a real engine and a real bucket: they are read as written, never change, and are reported if lost.

use std::time::Duration;

use crate::support::{Embedded, embedded};
use jiff::Timestamp;
use lamplighter_aws::{
    clients::{local_dynamodb, signed_config},
    objects::Objects,
    table::{History, LARGE, Recorded, Table, create},
};
use lamplighter_core::{
    id::RunId,
    name::TaskName,
    run::{Run, Trigger},
    status::Status,
};
use lamplighter_local::{Bucket, Engine};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A table with a bucket.
struct World {
    table: Table,
    bucket: Bucket,
    folder: TempDir,
    embedded: Embedded,
}

async fn world() -> World {
    let embedded = embedded().await;
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(folder.path(), "values").await.unwrap();
    let objects = Objects::new("values", &config(&bucket, &bucket.credentials().secret_access_key));
    World { table: embedded.table.clone().with_objects(objects), bucket, folder, embedded }
}

fn config(bucket: &Bucket, secret: &str) -> aws_config::SdkConfig {
    signed_config(&bucket.endpoint(), &bucket.credentials().access_key_id, secret)
}

impl World {
    /// The number of objects in the bucket.
    fn objects(&self) -> usize {
        let Ok(runs) = std::fs::read_dir(self.folder.path().join("values/runs/digest")) else { return 0 };
        let objects = |run: std::io::Result<std::fs::DirEntry>| std::fs::read_dir(run.unwrap().path());
        runs.map(|run| objects(run).unwrap().count()).sum()
    }
}

fn task() -> TaskName {
    "digest".parse().unwrap()
}

fn run(number: u128, config: Value, data: Value) -> Run {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    let begun = Run::begun(RunId::new(at, number), task(), Trigger::Manual, at);
    Run { status: Status::Completed, config, data: Some(data), ..begun }
}

/// A value whose JSON text has that many bytes.
fn text(bytes: usize) -> Value {
    json!("x".repeat(bytes - 2))
}

/// A value with every kind of JSON value in it, of about that many bytes.
fn various(bytes: usize) -> Value {
    let deep = (0..60).fold(json!(null), |inner, _| json!([inner]));
    let one =
        json!({ "": "", "größe": 1e300, "deep": deep, "n": u64::MAX, "null": null, "🕯\u{0}\"": ["a", {}] });
    let each = one.to_string().len();
    Value::Array(vec![one; bytes / each])
}

#[tokio::test]
async fn q02_large_values_are_read_as_written() {
    let world = world().await;
    for (number, config, data, stored) in [
        (1, json!({}), various(10_000_000), vec!["data"]),
        (2, json!({ "a": text(120_000) }), various(120_000), vec!["config", "data"]),
        (3, text(LARGE), text(LARGE + 1), vec!["data"]),
        (4, text(LARGE + 1), text(LARGE), vec!["config"]),
        (5, text(LARGE), text(LARGE), vec![]),
    ] {
        let run = run(number, config, data);
        assert_eq!(world.table.record(&run).await.unwrap(), Recorded::Written);
        let kept = world.table.run(&task(), run.id).await.unwrap().unwrap();
        assert_eq!(kept.large.keys().collect::<Vec<_>>(), stored);
        for (which, stored) in &kept.large {
            let place = format!("runs/digest/{}/{which}-", run.id);
            assert!(stored.key.starts_with(&place) && stored.bytes > LARGE as u64, "{stored:?}");
        }
        assert_eq!(world.table.whole(kept).await.unwrap(), run);
    }
    assert_eq!(world.objects(), 5);
}

#[tokio::test]
async fn q02_a_page_of_the_history_has_references_to_large_values_and_fetches_none() {
    let world = world().await;
    let run = run(1, json!({ "batch": 1 }), text(200_000));
    assert_eq!(world.table.record(&run).await.unwrap(), Recorded::Written);
    drop(world.bucket);
    let page = world.embedded.table.history(&History::of(task(), 10)).await.unwrap();
    let [kept] = &page.runs[..] else { panic!("{page:?}") };
    assert_eq!((&kept.config, &kept.data, kept.large["data"].bytes), (&run.config, &None, 200_000));
    let error = world.embedded.table.whole(kept.clone()).await.unwrap_err().to_string();
    assert!(error.contains(&kept.large["data"].key) && error.contains("set LAMPLIGHTER_BUCKET"), "{error}");
}

#[tokio::test]
async fn q02_the_values_of_a_record_do_not_change_with_later_writes_of_the_same_run() {
    let world = world().await;
    let first = run(1, json!({}), text(200_000));
    assert_eq!(world.table.record(&first).await.unwrap(), Recorded::Written);
    assert_eq!(world.table.record(&first).await.unwrap(), Recorded::Written, "a repeated write");
    assert_eq!(world.objects(), 1);
    let second = Run { data: Some(various(200_000)), ..first.clone() };
    let Recorded::Before(stands) = world.table.record(&second).await.unwrap() else {
        panic!("written twice")
    };
    assert_eq!(world.table.whole(*stands).await.unwrap(), first);
}

#[tokio::test]
async fn q02_a_value_of_a_user_is_never_mistaken_for_a_reference() {
    let world = world().await;
    let place = json!({ "data": { "key": "runs/other/1/data.json", "bytes": 1 } });
    let run = run(1, json!({ "large": place }), json!({ "large": place, "key": "runs/x", "bytes": 7 }));
    assert_eq!(world.table.record(&run).await.unwrap(), Recorded::Written);
    let kept = world.table.run(&task(), run.id).await.unwrap().unwrap();
    assert_eq!((kept.large.len(), world.table.whole(kept).await.unwrap()), (0, run));
}

#[tokio::test]
async fn l12_an_upload_that_the_bucket_refuses_is_reported_and_not_referenced() {
    let world = world().await;
    let run = run(1, json!({}), text(200_000));
    let stranger = config(&world.bucket, "wrong");
    let refused = world.table.clone().with_objects(Objects::new("values", &stranger));
    let error = refused.record(&run).await.unwrap_err().to_string();
    let start = format!("bucket `values`: put `runs/digest/{}/data-", run.id);
    assert!(error.starts_with(&start) && error.contains("SignatureDoesNotMatch"), "{error}");
    assert_eq!(world.objects(), 0);

    assert_eq!(world.table.run(&task(), run.id).await.unwrap(), None);
    assert_eq!(world.table.record(&run).await.unwrap(), Recorded::Written);
    let kept = world.table.run(&task(), run.id).await.unwrap().unwrap();
    std::fs::remove_dir_all(world.folder.path().join("values/runs")).unwrap();
    let error = world.table.whole(kept.clone()).await.unwrap_err().to_string();
    assert!(
        error.starts_with("bucket `values`: get `runs/digest/") && error.contains("NoSuchKey"),
        "{error}"
    );

    drop(world.bucket);
    let error = world.table.whole(kept).await.unwrap_err().to_string();
    assert!(error.starts_with("bucket `values`: get `runs/digest/"), "{error}");
}

#[tokio::test]
async fn records_past_their_retention_are_deleted() {
    let engine = Engine::memory().unwrap();
    let client = local_dynamodb(&engine.serve().await.unwrap());
    create(&client, "lamplighter").await.unwrap();
    create(&client, "lamplighter").await.expect("an existing table is not an error");
    let table = Table::new(client, "lamplighter").with_retention(Duration::from_secs(3600));
    let now = Timestamp::now();
    let run = |ago: u64| {
        let at = now.saturating_sub(Duration::from_secs(ago)).unwrap();
        Run { completed_at: at, ..Run::begun(RunId::new(at, 1), task(), Trigger::Manual, at) }
    };
    for run in [run(3700), run(3500)] {
        let _ = table.record(&run).await.unwrap();
    }
    assert_eq!(engine.sweep().await.unwrap(), 1);
    let kept = table.history(&History::of(task(), 10)).await.unwrap().runs;
    assert_eq!(kept.iter().map(|run| run.id).collect::<Vec<_>>(), [run(3500).id]);
}
