//! Q06, Q07, Q12, Q13: enqueued jobs with ids, unique keys, dependencies and priorities, and batches of them.

use std::{collections::BTreeSet, net::UdpSocket, time::Duration};

use lamplighter_aws::{
    jobs::{Accepted, EnqueueError, JobOutcome, Jobs, RunnerAddress, Waker},
    table::AbortOutcome,
};
use lamplighter_core::{
    definition::Priority,
    job::{NewJob, OnConflict, Refusal, Scope, Unique, When},
    status::Status,
};
use serde_json::json;

use super::{enqueue, jobs, new, status, succeed, worker};
use crate::support::embedded;

#[tokio::test]
async fn q07_a_second_job_with_the_same_id_or_unique_key_is_joined_or_refused() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let named = NewJob { id: Some("order-42".into()), ..new() };
    let first = jobs.enqueue(named.clone()).await.unwrap();
    assert_eq!(jobs.enqueue(named.clone()).await.unwrap(), Accepted { joined: true, ..first.clone() });
    succeed(&jobs, &first.key).await;
    // An id stays taken as long as its job's record is kept.
    assert_eq!(jobs.enqueue(named).await.unwrap().key, first.key);

    let within = Duration::from_secs(60);
    for scope in [Scope::Task, Scope::Arguments, Scope::Key("k".into())] {
        let only =
            |on_twin| NewJob { unique: Some(Unique { scope: scope.clone(), within, on_twin }), ..new() };
        let first = enqueue(&jobs, only(OnConflict::Refuse)).await;
        match jobs.enqueue(only(OnConflict::Refuse)).await {
            Err(EnqueueError::NotUnique(twin)) => assert_eq!(twin, first),
            other => panic!("{other:?}"),
        }
        assert_eq!(enqueue(&jobs, only(OnConflict::Join)).await, first);
        if scope == Scope::Arguments {
            assert_ne!(
                enqueue(&jobs, NewJob { arguments: json!({}), ..only(OnConflict::Refuse) }).await,
                first
            );
        }
        succeed(&jobs, &first).await;
        assert_ne!(enqueue(&jobs, only(OnConflict::Refuse)).await, first);
    }
}

#[tokio::test]
async fn q07_twenty_concurrent_enqueues_with_one_id_make_one_job() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let wanted = NewJob { id: Some("order-42".into()), ..new() };
    let all = futures::future::join_all((0..20).map(|_| jobs.enqueue(wanted.clone()))).await;
    let keys: BTreeSet<_> = all.into_iter().map(|it| it.unwrap().key).collect();
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn q12_a_job_starts_after_its_dependencies_and_is_blocked_by_a_failure() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let (one, two) = (enqueue(&jobs, new()).await, enqueue(&jobs, new()).await);
    let both = enqueue(&jobs, NewJob { after: vec![one.clone(), two.clone()], ..new() }).await;
    let outcome = jobs.process(&both, &worker("w"), async |_| panic!("it ran")).await.unwrap();
    assert_eq!(outcome, JobOutcome::Refused(Refusal::Waits));
    succeed(&jobs, &one).await;
    succeed(&jobs, &two).await;
    let run = succeed(&jobs, &both).await;
    assert_eq!(run.status, Status::Completed);
    let receives = Some("receipt".to_owned());
    let then = enqueue(&jobs, NewJob { after: vec![both], receives, ..new() }).await;
    assert_eq!(succeed(&jobs, &then).await.arguments["receipt"], run.data.unwrap());

    let bad = enqueue(&jobs, new()).await;
    let next = enqueue(&jobs, NewJob { after: vec![bad.clone()], ..new() }).await;
    let last = enqueue(&jobs, NewJob { after: vec![next.clone()], ..new() }).await;
    assert!(matches!(jobs.abort(&bad).await.unwrap(), AbortOutcome::Ended(..)));
    assert_eq!(status(&jobs, &next).await, Status::Blocked);
    assert_eq!(status(&jobs, &last).await, Status::Blocked);
}

#[tokio::test]
async fn q06_q13_many_jobs_are_enqueued_at_once_and_found_by_priority() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let low = NewJob { priority: Priority::Low, ..new() };
    let keys = jobs.enqueue_many(vec![low; 130]).await.unwrap();
    assert_eq!(keys.len(), 130);
    let high = enqueue(&jobs, NewJob { priority: Priority::High, ..new() }).await;
    let due = async |priority| {
        let due = jobs.table().due_for_runner(&high.task, priority, 200).await.unwrap();
        due.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(due(Priority::Low).await.len(), 130);
    assert_eq!(due(Priority::High).await, std::slice::from_ref(&high));
    succeed(&jobs, &high).await;
    assert_eq!(due(Priority::High).await, []);

    let wrong = NewJob { arguments: json!(1), ..new() };
    let error = jobs.enqueue_many(vec![new(), wrong, new()]).await.unwrap_err();
    assert_eq!((error.accepted.len(), error.failed[0].0), (2, 1));
}

#[tokio::test]
async fn q13_ten_thousand_jobs_are_enqueued_by_one_call_in_batches_of_25() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    embedded.meter.spent();
    let keys = jobs.enqueue_many(vec![new(); 10_000]).await.unwrap();
    let requests = embedded.meter.spent();
    assert!(requests.iter().all(|(operation, _)| operation == "BatchWriteItem"), "{requests:?}");
    assert_eq!(requests.len(), 10_000 / 25);
    let ids: BTreeSet<_> = keys.iter().map(|key| key.run_id.to_string()).collect();
    let pages = embedded.table.client().scan().table_name("lamplighter").projection_expression("sk");
    let stored: Vec<_> = pages.into_paginator().items().send().collect::<Result<_, _>>().await.unwrap();
    let stored: BTreeSet<_> = stored.iter().map(|item| item["sk"].as_s().unwrap().clone()).collect();
    assert_eq!((ids.len(), ids == stored), (10_000, true));
}

#[tokio::test]
async fn q13_a_runner_is_notified_of_each_job_that_can_start_before_the_whole_batch_is_written() {
    let embedded = embedded().await;
    let waker = UdpSocket::bind("127.0.0.1:0").unwrap();
    waker.set_nonblocking(true).unwrap();
    let to = RunnerAddress::new(waker.local_addr().unwrap(), "key-3f");
    let jobs = Jobs::new(embedded.table.clone(), Waker::Runner { to: Some(to) });
    let received = || {
        let mut text = [0; 512];
        let length = waker.recv(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text[..length]);
        Some(text.strip_prefix("key-3f ").expect("it begins with the runner's key").to_owned())
    };
    let key = enqueue(&jobs, new()).await;
    assert_eq!(received(), Some(key.to_string()));
    enqueue(&jobs, NewJob { when: When::In(Duration::from_secs(60)), ..new() }).await;
    assert_eq!(
        received(),
        Some("send-mail".to_owned()),
        "a delayed job cannot start: the wake-up names its task"
    );

    let many = jobs.enqueue_many(vec![new(); 1100]);
    tokio::pin!(many);
    let mut received_before_the_end = 0;
    loop {
        tokio::select! {
            biased;
            keys = &mut many => break assert_eq!(keys.unwrap().len(), 1100),
            () = tokio::task::yield_now() => received_before_the_end += usize::from(received().is_some()),
        }
    }
    assert!(received_before_the_end > 0, "no wake-up before all jobs are written");
}
