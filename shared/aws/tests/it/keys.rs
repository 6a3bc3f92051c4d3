//! Ids and unique keys of jobs, on an embedded engine, also where DynamoDB reports conflicts between transactions.

use std::{path::Path, sync::Arc, time::Duration};

use crate::support::{Embedded, embedded};
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use jiff::Timestamp;
use lamplighter_aws::{
    clients::{Clients, signed_config},
    jobs::{Accepted, EnqueueError, JobOutcome, Jobs, Waker, Worker},
    objects::Objects,
    table::{CommitError, EnqueueOutcome, History, JobKeys, JobRecord, Table, Transport},
};
use lamplighter_core::{
    id::RunId,
    job::{AttemptOutcome, Job, JobKey, Limit, NewJob, OnConflict, Scope, Unique, When},
    retry::Retry,
    run::{Run, Trigger},
    status::Status,
};
use lamplighter_local::Bucket;
use lamplighter_testkit::proxy::{CONFLICT, Fault, Proxy, WRITE_CONFLICT};
use serde_json::json;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn new() -> NewJob {
    NewJob { arguments: json!({ "to": "ada" }), ..NewJob::of("send-mail".parse().unwrap()) }
}

fn named(id: &str) -> NewJob {
    NewJob { id: Some(id.into()), ..new() }
}

fn only(key: &str) -> Unique {
    Unique { scope: Scope::Key(key.into()), within: DAY, on_twin: OnConflict::Refuse }
}

fn jobs(table: &Table) -> Jobs {
    Jobs::new(table.clone(), Waker::Runner { to: None })
}

fn worker(holder: &str) -> Worker {
    let until = Timestamp::now().saturating_add(Duration::from_secs(60)).unwrap();
    Worker { holder: holder.into(), until, retry: Retry::default(), jitter: 0.0 }
}

fn completed(job: &Job) -> Run {
    let now = Timestamp::now();
    Run { status: Status::Completed, ..Run::begun(job.id, job.task.clone(), Trigger::Queue, now) }
}

/// A proxy for the engine, and the table behind it, with the same kind of client as in a real process.
async fn behind(embedded: &Embedded) -> (Proxy, Table) {
    let proxy = Proxy::before(&embedded.engine.serve().await.unwrap()).await;
    let client = Clients::local(&proxy.endpoint).dynamodb().await.clone();
    (proxy, Table::new(client, "lamplighter"))
}

async fn records(table: &Table) -> usize {
    let wanted = History { jobs: true, ..History::of(new().task, 100) };
    table.jobs(&wanted).await.unwrap().runs.len()
}

/// The sort keys of the items that make jobs unique.
async fn keys(table: &Table) -> Vec<String> {
    let query = table.client().query().table_name("lamplighter").key_condition_expression("pk = :pk");
    let query = query.expression_attribute_values(":pk", AttributeValue::S("JOBS#send-mail".into()));
    let items = query.send().await.unwrap().items.unwrap_or_default();
    items.iter().map(|item| item["sk"].as_s().unwrap().clone()).collect()
}

async fn forget(table: &Table, key: &JobKey) {
    let delete = table.client().delete_item().table_name("lamplighter");
    let pk = AttributeValue::S(format!("RUNS#{}#{}", key.task, key.run_id.shard()));
    let sk = AttributeValue::S(key.run_id.to_string());
    delete.key("pk", pk).key("sk", sk).send().await.unwrap();
}

#[tokio::test]
async fn d09_an_enqueue_is_retried_after_conflicts_and_throttling() {
    let embedded = embedded().await;
    let (proxy, table) = behind(&embedded).await;
    let jobs = jobs(&table);
    let met = proxy.fail("TransactWriteItems", 3, CONFLICT);
    let first = jobs.enqueue(NewJob { unique: Some(only("k")), ..named("order-42") }).await.unwrap();
    assert_eq!(records(&embedded.table).await, 1);
    assert_eq!(*met.lock().unwrap(), 3);
    assert!(!first.joined, "no other job has its keys");
    // After the conflict, the retry finds that the id is taken.
    proxy.fail("TransactWriteItems", 1, CONFLICT);
    let again = jobs.enqueue(named("order-42")).await.unwrap();
    assert_eq!(again, Accepted { joined: true, ..first });
}

#[tokio::test]
async fn d09_twenty_concurrent_enqueues_with_one_id_make_one_job_despite_transaction_conflicts() {
    let embedded = embedded().await;
    let (proxy, table) = behind(&embedded).await;
    let jobs = jobs(&table);
    // Three conflicts on average for each of the 20 callers, so that no caller uses up its ten attempts.
    let met = proxy.fail("TransactWriteItems", 60, CONFLICT);
    let all = futures::future::join_all((0..20).map(|_| jobs.enqueue(named("order-42")))).await;
    let keys: std::collections::BTreeSet<_> = all.into_iter().map(|it| it.unwrap().key).collect();
    assert_eq!((keys.len(), records(&embedded.table).await), (1, 1));
    assert_eq!(*met.lock().unwrap(), 60);
}

#[tokio::test]
async fn d09_single_writes_of_a_job_are_retried_after_a_transaction_conflict() {
    let embedded = embedded().await;
    let (proxy, table) = behind(&embedded).await;
    let jobs = jobs(&table);
    let limit = Some(Limit { key: "a".into(), at_once: 1 });
    // Each write meets a conflict first: the record, the place, the start, the end, and the release of the place.
    let mut turns = 0;
    proxy.rule(move |head| {
        turns += usize::from(head.contains("PutItem") || head.contains("UpdateItem"));
        if turns % 2 == 1 && !head.contains("GetItem") { WRITE_CONFLICT } else { Fault::None }
    });
    let key = jobs.enqueue(NewJob { limit, ..new() }).await.unwrap().key;
    let attempt = async |job: &Job| AttemptOutcome { run: completed(job), retryable: false };
    let carried = jobs.process(&key, &worker("w"), attempt).await.unwrap();
    let JobOutcome::Over(run) = carried else { panic!("{carried:?}") };
    assert_eq!((run.status, run.fencing_token), (Status::Completed, 1));
}

#[tokio::test]
async fn d09_a_commit_ends_only_by_a_failed_condition() {
    let embedded = embedded().await;
    let (proxy, table) = behind(&embedded).await;
    let key = jobs(&table).enqueue(new()).await.unwrap().key;
    let job = jobs(&table).start(&key, &worker("w")).await.unwrap().done().unwrap();
    let write = |condition: &str| {
        let update = Update::builder().table_name("lamplighter");
        let update =
            update.key("pk", AttributeValue::S("own".into())).key("sk", AttributeValue::S("it".into()));
        let update = update.update_expression("SET n = :one").condition_expression(condition);
        let update = update.expression_attribute_values(":one", AttributeValue::N("1".into()));
        TransactWriteItem::builder().update(update.build().unwrap()).build()
    };
    let fresh = || vec![write("attribute_not_exists(n)")];
    let met = proxy.fail("TransactWriteItems", 2, CONFLICT);
    table.commit_job(&key, job.fencing_token, fresh()).await.unwrap();
    assert_eq!(*met.lock().unwrap(), 2);
    // A condition that does not hold is final, even if another write meets a conflict.
    let met = proxy.fail("TransactWriteItems", 9, Fault::Answer(400, CONFLICT_AND_CONDITION));
    let refused = table.commit_job(&key, job.fencing_token, fresh()).await.unwrap_err();
    assert!(matches!(refused, CommitError::Refused { index: 0 }), "{refused}");
    assert_eq!(*met.lock().unwrap(), 1);
    // A reason that a retry cannot fix is returned at once.
    let met = proxy.fail("TransactWriteItems", 9, Fault::Answer(400, TOO_LARGE));
    let refused = table.commit_job(&key, job.fencing_token, fresh()).await.unwrap_err().to_string();
    assert!(refused.contains("ValidationError") && *met.lock().unwrap() == 1, "{refused}");
}

const CONFLICT_AND_CONDITION: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"m","CancellationReasons":[{"Code":"TransactionConflict"},{"Code":"ConditionalCheckFailed"}]}"#;
const TOO_LARGE: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"m","CancellationReasons":[{"Code":"None"},{"Code":"ValidationError"}]}"#;

#[tokio::test]
async fn q07_an_id_is_taken_until_its_jobs_record_expires() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded.table);
    // The job was enqueued longer ago than records are kept, and has not started yet.
    let then = Timestamp::now().saturating_sub(DAY * 100).unwrap();
    let delayed = NewJob { when: When::In(DAY * 200), ..new() };
    let job = delayed.job(RunId::of_job(then, 7), then).unwrap();
    let ids = JobKeys { id: Some("order-42".into()), ..JobKeys::default() };
    let enqueued = embedded.table.enqueue(&job, &ids, Transport::Runner, then).await.unwrap();
    assert_eq!(enqueued, EnqueueOutcome::New);
    let twin = Accepted { key: job.key(), joined: true };
    assert_eq!(jobs.enqueue(named("order-42")).await.unwrap(), twin);
    // The item of the id does not expire while the job may still start, run or be replayed.
    let item = embedded.table.client().get_item().table_name("lamplighter");
    let item = item.key("pk", AttributeValue::S("JOBS#send-mail".into()));
    let item = item.key("sk", AttributeValue::S("ID#order-42".into())).send().await.unwrap().item.unwrap();
    let expires: i64 = item["expires_at"].as_n().unwrap().parse().unwrap();
    assert!(expires > then.saturating_add(DAY * (366 + 28 + 30)).unwrap().as_second());

    let _ = embedded.table.end_job(&job, &completed(&job)).await.unwrap();
    assert_eq!(jobs.enqueue(named("order-42")).await.unwrap(), twin);
    forget(&embedded.table, &job.key()).await;
    let other = jobs.enqueue(named("order-42")).await.unwrap();
    assert!(!other.joined && other.key != job.key());
    assert_eq!(jobs.enqueue(named("order-42")).await.unwrap().key, other.key);
}

#[tokio::test]
async fn q07_an_id_that_resembles_a_replays_is_a_different_id() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded.table);
    let old = RunId::of_job(Timestamp::now(), 3);
    let replay = NewJob { retry_of: Some(old), is_replay: true, ..new() };
    let first = jobs.enqueue(replay.clone()).await.unwrap();
    let id = format!("replay of {old}");
    let users = jobs.enqueue(named(&id)).await.unwrap();
    assert!(!users.joined && users.key != first.key);
    assert_eq!(jobs.enqueue(named(&id)).await.unwrap().key, users.key);
    assert_eq!(jobs.enqueue(replay).await.unwrap(), Accepted { joined: true, ..first });
}

/// The number of objects with arguments of jobs. The bucket keeps files of its own beside them.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            if path.is_dir() {
                return files(&path);
            }
            usize::from(path.file_name().unwrap().to_string_lossy().starts_with("arguments-"))
        })
        .sum()
}

#[tokio::test]
async fn q07_a_refused_enqueue_leaves_neither_an_id_nor_an_object() {
    let embedded = embedded().await;
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(folder.path(), "values").await.unwrap();
    let signing = bucket.credentials();
    let config = signed_config(&bucket.endpoint(), &signing.access_key_id, &signing.secret_access_key);
    let objects = Objects::new("values", &config);
    let jobs = jobs(&embedded.table.clone().with_objects(objects));
    let arguments = json!({ "to": "x".repeat(200_000) });
    let large = |id: &str| NewJob { arguments: arguments.clone(), unique: Some(only("k")), ..named(id) };
    let first = jobs.enqueue(large("one")).await.unwrap().key;
    let Some(JobRecord::Open(job)) = jobs.find(&first).await.unwrap() else { panic!("not open") };
    let stored = &job.large["arguments"].key;
    assert!(stored.starts_with(&format!("jobs/send-mail/{}/arguments-", first.run_id)), "{stored}");

    let refused = jobs.enqueue(large("two")).await.unwrap_err();
    assert!(matches!(refused, EnqueueError::NotUnique(twin) if twin == first));
    assert!(jobs.enqueue(NewJob { unique: None, ..large("one") }).await.unwrap().joined);
    assert_eq!((files(folder.path()), records(&embedded.table).await), (1, 1));
    assert_eq!(keys(&embedded.table).await, ["ID#one", "KEY#k"]);
    assert!(!jobs.enqueue(named("two")).await.unwrap().joined, "the refused job left its id free");
    assert_eq!(jobs.table().arguments_of(&job).await.unwrap(), arguments);

    // A job without a queue is withdrawn with its keys and its objects.
    let withdrawn = large("three");
    let keys_of = JobKeys { id: withdrawn.id.clone(), ..JobKeys::default() };
    let now = Timestamp::now();
    let job = NewJob { unique: None, ..withdrawn }.job(RunId::of_job(now, 9), now).unwrap();
    let _ = jobs.table().enqueue(&job, &keys_of, Transport::Queue, now).await.unwrap();
    assert_eq!(files(folder.path()), 2);
    jobs.table().withdraw(&job, &keys_of, now).await.unwrap();
    assert_eq!((files(folder.path()), jobs.find(&job.key()).await.unwrap()), (1, None));
    assert_eq!(keys(&embedded.table).await, ["ID#one", "ID#two", "KEY#k"]);
}

#[tokio::test]
async fn q04_an_unlimited_wait_returns_when_the_job_ends() {
    let embedded = embedded().await;
    let jobs = Arc::new(jobs(&embedded.table));
    let key = jobs.enqueue(new()).await.unwrap().key;
    let waits = {
        let (jobs, key) = (Arc::clone(&jobs), key.clone());
        tokio::spawn(async move { jobs.wait(&key, Duration::MAX).await })
    };
    let attempt = async |job: &Job| AttemptOutcome { run: completed(job), retryable: false };
    assert!(matches!(jobs.process(&key, &worker("w"), attempt).await.unwrap(), JobOutcome::Over(_)));
    assert_eq!(waits.await.unwrap().unwrap().unwrap().status, Status::Completed);
}
