//! Q11: the limit of a key.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::{
    clients::Clients,
    jobs::{JobOutcome, Jobs, Waker},
    table::{Conditional, JobRecord},
};
use lamplighter_core::{
    job::{Limit, NewJob, Refusal},
    status::Status,
};

use super::{enqueue, failure, jobs, new, succeed, tried, worker};
use crate::support::embedded;

#[tokio::test]
async fn q11_a_limited_key_runs_two_jobs_at_once_and_the_others_later() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let of = |key: &str| NewJob { limit: Some(Limit { key: key.into(), at_once: 2 }), ..new() };
    let keys = jobs.enqueue_many(vec![of("a"), of("a"), of("a"), of("b")]).await.unwrap();
    let one = jobs.start(&keys[0], &worker("one")).await.unwrap().done().unwrap();
    let two = jobs.start(&keys[1], &worker("two")).await.unwrap().done().unwrap();
    let full = jobs.start(&keys[2], &worker("three")).await.unwrap();
    let Conditional::Refused(JobOutcome::Refused(Refusal::Full { until })) = full else { panic!("{full:?}") };
    let Some(JobRecord::Open(waits)) = jobs.find(&keys[2]).await.unwrap() else { panic!("not open") };
    assert_eq!((waits.status, waits.fencing_token), (Status::Pending, 0));
    assert_eq!(waits.not_before.unwrap().as_millisecond(), until.as_millisecond());
    succeed(&jobs, &keys[3]).await;

    // A worker whose response was lost has its place already, and starts the job again.
    assert_eq!(
        jobs.start(&keys[0], &worker("one")).await.unwrap().done().unwrap().fencing_token,
        one.fencing_token
    );
    assert!(jobs.renew(&two, until + Duration::from_secs(3600)).await.unwrap());
    let over = jobs.conclude(&one, tried(&one, None), &worker("one")).await.unwrap();
    assert!(matches!(over, JobOutcome::Over(_)), "{over:?}");
    tokio::time::sleep_until(tokio::time::Instant::now() + until_then(until)).await;
    assert_eq!(succeed(&jobs, &keys[2]).await.status, Status::Completed);

    // A failed attempt releases its place until the next one.
    let again = jobs.conclude(&two, tried(&two, Some(failure())), &worker("two")).await.unwrap();
    assert!(matches!(again, JobOutcome::Again { .. }), "{again:?}");
    let alone = NewJob { limit: Some(Limit { key: "a".into(), at_once: 1 }), ..new() };
    let alone = jobs.enqueue(alone).await.unwrap().key;
    assert_eq!(succeed(&jobs, &alone).await.status, Status::Completed);
}

#[tokio::test]
async fn q02_q11_a_job_whose_message_cannot_be_sent_is_indexed_for_the_pulse() {
    let embedded = embedded().await;
    // There is no SQS server at this address.
    let clients = Arc::new(Clients::local("http://127.0.0.1:1"));
    let jobs =
        Jobs::new(embedded.table.clone(), Waker::queues("http://127.0.0.1:1/123456789012/shop-", clients));
    let limited = || NewJob { limit: Some(Limit { key: "a".into(), at_once: 1 }), ..new() };
    let (one, two) = tokio::join!(enqueue(&jobs, limited()), enqueue(&jobs, limited()));
    let mut parked = Vec::new();
    for partition in 0..8 {
        let later = Timestamp::now().saturating_add(Duration::from_secs(60)).unwrap();
        parked.extend(jobs.table().due_for_queues(partition, later, None).await.unwrap().keys);
    }
    parked.sort();
    assert_eq!(
        parked,
        [one.clone().min(two.clone()), one.clone().max(two.clone())],
        "the pulse sends messages of both"
    );

    let _ = jobs.start(&one, &worker("one")).await.unwrap().done().unwrap();
    let refused = jobs.start(&two, &worker("two")).await.unwrap();
    let message_is_redelivered =
        matches!(refused, Conditional::Refused(JobOutcome::Refused(Refusal::NotBefore { .. })));
    assert!(message_is_redelivered, "no other message was sent: {refused:?}");
}

fn until_then(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default() + Duration::from_millis(1)
}

#[tokio::test]
async fn q11_sixteen_racing_workers_never_exceed_the_limit() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let limited = NewJob { limit: Some(Limit { key: "a".into(), at_once: 3 }), ..new() };
    let keys = jobs.enqueue_many(vec![limited; 16]).await.unwrap();
    let mut race = tokio::task::JoinSet::new();
    for (i, key) in keys.into_iter().enumerate() {
        let jobs = jobs.clone();
        race.spawn(async move { jobs.start(&key, &worker(&i.to_string())).await.unwrap().is_done() });
    }
    let started = race.join_all().await.into_iter().filter(|started| *started).count();
    assert_eq!(started, 3);
}
