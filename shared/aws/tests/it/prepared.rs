//! Jobs that an application's own transaction enqueues.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put};
use jiff::Timestamp;
use lamplighter_aws::{
    jobs::{EnqueueError, Jobs, PreparedJob, Waker},
    table::{AbortOutcome, CommitError, JobRecord, TransactWriteItem, transact},
};
use lamplighter_core::{
    definition::Priority,
    job::{NewJob, OnConflict, Scope, Unique},
};
use serde_json::json;

use crate::support::{Embedded, embedded};

fn new() -> NewJob {
    NewJob { arguments: json!({ "to": "ada" }), ..NewJob::of("send-mail".parse().unwrap()) }
}

fn unique(on_twin: OnConflict) -> NewJob {
    let unique = Unique { scope: Scope::Task, within: Duration::from_secs(3600), on_twin };
    NewJob { unique: Some(unique), ..new() }
}

fn jobs(embedded: &Embedded) -> Jobs {
    Jobs::new(embedded.table.clone(), Waker::Runner { to: None })
}

fn order() -> [(&'static str, AttributeValue); 2] {
    [("pk", AttributeValue::S("ORDER".into())), ("sk", AttributeValue::S("42".into()))]
}

/// Commits the writes of a job and an order, which must be new.
async fn commit(embedded: &Embedded, prepared: &PreparedJob) -> Result<(), CommitError> {
    let put = Put::builder().table_name("lamplighter").condition_expression("attribute_not_exists(pk)");
    let put = order().into_iter().fold(put, |put, (name, value)| put.item(name, value)).build().unwrap();
    let put = TransactWriteItem::builder().put(put).build();
    transact(embedded.table.client(), [&[put], prepared.writes()].concat()).await
}

async fn has_order(embedded: &Embedded) -> bool {
    let get = embedded.table.client().get_item().table_name("lamplighter");
    let get = order().into_iter().fold(get, |get, (name, value)| get.key(name, value));
    get.send().await.unwrap().item.is_some()
}

async fn cancel_order(embedded: &Embedded) {
    let delete = Delete::builder().table_name("lamplighter");
    let delete = order().into_iter().fold(delete, |delete, (name, value)| delete.key(name, value));
    let delete = TransactWriteItem::builder().delete(delete.build().unwrap()).build();
    transact(embedded.table.client(), vec![delete]).await.unwrap();
}

#[tokio::test]
async fn q17_a_job_and_the_applications_item_exist_together_or_not_at_all() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let prepared = jobs.prepare(new()).await.unwrap();
    assert_eq!(jobs.find(prepared.key()).await.unwrap(), None, "it is not enqueued yet");
    commit(&embedded, &prepared).await.unwrap();
    assert!(has_order(&embedded).await);

    // Without a wake-up, a runner finds the job in the index.
    let due =
        embedded.table.due_for_runner(&"send-mail".parse().unwrap(), Priority::Medium, 10).await.unwrap();
    assert_eq!(due.iter().map(|(key, _)| key).collect::<Vec<_>>(), [prepared.key()]);
    let key = prepared.key().clone();
    let accepted = prepared.wake().await.unwrap();
    assert_eq!((&accepted.key, accepted.joined), (&key, false));
    let Some(JobRecord::Open(job)) = jobs.find(&key).await.unwrap() else { panic!("not open") };
    assert_eq!(job.arguments, new().arguments);

    // The order exists, so the transaction is cancelled, and there is no second job.
    let second = jobs.prepare(new()).await.unwrap();
    let refused = commit(&embedded, &second).await.unwrap_err();
    assert!(matches!(refused, CommitError::Refused { index: 0 }), "{refused}");
    assert_eq!(jobs.find(second.key()).await.unwrap(), None);
}

#[tokio::test]
async fn q07_q17_a_unique_key_cancels_the_transaction_of_a_second_job() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    // Both are prepared before either is committed.
    let first = jobs.prepare(unique(OnConflict::Refuse)).await.unwrap();
    let second = jobs.prepare(unique(OnConflict::Refuse)).await.unwrap();
    transact(embedded.table.client(), first.writes().to_vec()).await.unwrap();
    let refused = commit(&embedded, &second).await.unwrap_err();
    assert!(matches!(refused, CommitError::Refused { index: 2 }), "{refused}");
    assert!(!has_order(&embedded).await);

    let refused = jobs.prepare(unique(OnConflict::Refuse)).await.unwrap_err();
    assert!(matches!(&refused, EnqueueError::NotUnique(key) if key == first.key()), "{refused}");
    let joined = jobs.prepare(unique(OnConflict::Join)).await.unwrap();
    assert_eq!((joined.key(), joined.writes()), (first.key(), &[][..]));
    assert!(joined.wake().await.unwrap().joined);

    // A key whose job is over can be claimed by another job.
    let aborted = jobs.abort(first.key()).await.unwrap();
    assert!(matches!(aborted, AbortOutcome::Ended(..)), "{aborted:?}");
    let third = jobs.prepare(unique(OnConflict::Refuse)).await.unwrap();
    commit(&embedded, &third).await.unwrap();
    let fourth = jobs.enqueue(unique(OnConflict::Refuse)).await.unwrap_err();
    assert!(matches!(&fourth, EnqueueError::NotUnique(key) if key == third.key()), "{fourth}");
}

#[tokio::test]
async fn q17_an_id_makes_a_transaction_repeatable() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let with_id = || NewJob { id: Some("order-42".into()), ..new() };
    let first = jobs.prepare(with_id()).await.unwrap();
    commit(&embedded, &first).await.unwrap();
    cancel_order(&embedded).await;
    let again = jobs.prepare(with_id()).await.unwrap();
    assert_eq!((again.key(), again.writes().len()), (first.key(), 0));
}

#[tokio::test]
async fn q17_a_transaction_costs_the_same_as_an_enqueue_with_keys() {
    let embedded = embedded().await;
    let jobs =
        Jobs::new(embedded.table.clone(), Waker::queues("http://127.0.0.1:1/", std::sync::Arc::default()));
    let key = |key: &str| {
        let (scope, within) = (Scope::Key(key.to_owned()), Duration::from_secs(3600));
        NewJob { unique: Some(Unique { scope, within, on_twin: OnConflict::Refuse }), ..new() }
    };
    let now = Timestamp::now();
    let job = key("a").job(lamplighter_core::id::RunId::of_job(now, 1), now).unwrap();
    let keys = lamplighter_aws::table::JobKeys { unique: key("a").unique, ..Default::default() };
    let _ = embedded.table.enqueue(&job, &keys, lamplighter_aws::table::Transport::Queue, now).await.unwrap();
    let ordinary = embedded.meter.spent();
    assert_eq!(ordinary, [("TransactWriteItems".to_owned(), Some(4.0))]);

    let prepared = jobs.prepare(key("b")).await.unwrap();
    let reads: Vec<_> = embedded.meter.spent().into_iter().map(|(operation, _)| operation).collect();
    assert_eq!(reads, ["GetItem"], "a free key is read once");
    transact(embedded.table.client(), prepared.writes().to_vec()).await.unwrap();
    assert_eq!(embedded.meter.spent(), ordinary);

    let prepared = jobs.prepare(new()).await.unwrap();
    assert_eq!(embedded.meter.spent(), []);
    transact(embedded.table.client(), prepared.writes().to_vec()).await.unwrap();
    // A write in a transaction costs two units.
    assert_eq!(embedded.meter.spent(), [("TransactWriteItems".to_owned(), Some(2.0))]);
}
