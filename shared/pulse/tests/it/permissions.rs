//! The permissions of the pulse: it uses each of those in the example's template, and no other.

use jiff::Timestamp;
use lamplighter_aws::{clients::signed_config, jobs::Jobs, objects::Objects, table::JobRecord};
use lamplighter_core::{
    job::{JobKey, NewJob},
    run::{Run, Trigger},
    status::Status,
};
use lamplighter_local::Bucket;
use lamplighter_testkit::permissions::{Watch, allowed};
use serde_json::{Value, json};

use crate::stage::{Stage, eventually, name, probe, queue};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g03_the_pulse_uses_each_of_its_permissions_and_no_other() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![probe("cron", now, [0]).set("mode", "fail"), queue("mail")]).await;
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(folder.path(), "values").await.unwrap();
    let used = Watch::of(&[
        ("DYNAMODB", stage.endpoint("DYNAMODB")),
        ("LAMBDA", stage.endpoint("LAMBDA")),
        ("S3", &bucket.endpoint()),
        ("SQS", &stage.queues.url),
    ])
    .await;
    let of_bucket = bucket.variables();
    let of_bucket = of_bucket.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let variables = of_bucket.chain([("LAMPLIGHTER_BUCKET", "values")]).chain(used.variables());
    stage.install_pulse(&variables.collect::<Vec<_>>());

    let signing = bucket.credentials();
    let config = signed_config(&bucket.endpoint(), &signing.access_key_id, &signing.secret_access_key);
    let table = stage.table.clone().with_objects(Objects::new("values", &config));
    let jobs = stage.queues.jobs(&table);
    let large = json!("x".repeat(150_000));
    let [done, failed] =
        [enqueue(&jobs, NewJob::of(name("mail"))).await, enqueue(&jobs, NewJob::of(name("mail"))).await];
    // The first follower receives a large result. The second is blocked, and its record has large arguments.
    let after = |first: &JobKey| NewJob { after: vec![first.clone()], ..NewJob::of(name("mail")) };
    enqueue(&jobs, NewJob { receives: Some("text".to_owned()), ..after(&done) }).await;
    enqueue(&jobs, NewJob { arguments: json!({ "text": large }), ..after(&failed) }).await;
    // The workers that ended the first jobs died before they woke the followers.
    end(&jobs, &done, Status::Completed, Some(large)).await;
    end(&jobs, &failed, Status::Failed, None).await;

    let report = stage.pulse().await;
    assert_eq!(report["errors"], json!([]), "{report}");
    stage.messages_are_due().await;
    stage.next_minute(0).await;
    stage.pulse().await;
    // The on-failure invocation delivers the message and deletes it, beside the pulse.
    eventually("a message is deleted", || used.actions().contains("dynamodb:DeleteItem")).await;
    let mut used = used.take();
    // Only a stack with notifications counts its dead letters, which the example is not.
    assert!(used.remove("sqs:GetQueueAttributes"), "{used:?}");
    assert_eq!(used, allowed("LamplighterPulseRole"));
    stage.end().await;
}

async fn enqueue(jobs: &Jobs, new: NewJob) -> JobKey {
    jobs.enqueue(new).await.unwrap().key
}

async fn end(jobs: &Jobs, key: &JobKey, status: Status, data: Option<Value>) {
    let Some(JobRecord::Open(job)) = jobs.table().job(key).await.unwrap() else { panic!("{key} is open") };
    let begun = Run::begun(job.id, job.task.clone(), Trigger::Queue, Timestamp::now());
    let _ = jobs.table().end_job(&job, &Run { status, data, ..begun }).await.unwrap();
}
