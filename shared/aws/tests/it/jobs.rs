//! Jobs on an embedded engine: their records from the enqueue to the end.

use std::{
    collections::BTreeSet,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::support::{Embedded, embedded};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use lamplighter_aws::{
    clients::Clients,
    jobs::{Accepted, EnqueueError, JobOutcome, Jobs, RunnerAddress, Waker, Worker},
    table::{
        AbortOutcome, Conditional, GroupCommit, History, Item, JobEnd, JobKeys, JobRecord, JobStart, JobStep,
        StepOutcome, Transport,
    },
};
use lamplighter_core::{
    definition::Priority,
    id::RunId,
    job::{
        AttemptOutcome, Job, JobKey, Limit, NewJob, OnConflict, Refusal, Scope, StartRequest, Unique, When,
    },
    reason::Reason,
    retry::Retry,
    run::{Attempt, ErrorKind, Run, RunError, Trigger},
    status::Status,
};
use lamplighter_local::LocalCommit;
use serde_json::json;

fn new() -> NewJob {
    NewJob {
        arguments: json!({ "to": "żółw", "deep": [{ "n": null }, 1.5] }),
        ..NewJob::of("send-mail".parse().unwrap())
    }
}

fn jobs(embedded: &Embedded) -> Jobs {
    Jobs::new(embedded.table.clone(), Waker::Runner { to: None })
}

fn worker(holder: &str) -> Worker {
    let until = Timestamp::now().saturating_add(Duration::from_secs(60)).unwrap();
    Worker { holder: holder.into(), until, retry: Retry::default(), jitter: 0.0 }
}

fn tried(job: &Job, error: Option<RunError>) -> AttemptOutcome {
    let now = Timestamp::now();
    let status = if error.is_some() { Status::Failed } else { Status::Completed };
    let attempts = vec![Attempt { started_at: now, duration_ms: 1, error: error.clone() }];
    let data = error.is_none().then(|| json!({ "sent": job.arguments["to"] }));
    let run = Run::begun(job.id, job.task.clone(), Trigger::Queue, now);
    AttemptOutcome { run: Run { status, attempts, data, error, ..run }, retryable: true }
}

fn failure() -> RunError {
    RunError::new(ErrorKind::Execution, "no")
}

async fn succeed(jobs: &Jobs, key: &JobKey) -> Run {
    let carried = jobs.process(key, &worker("w"), async |job| tried(job, None)).await.unwrap();
    let JobOutcome::Over(run) = carried else { panic!("{carried:?}") };
    *run
}

async fn status(jobs: &Jobs, key: &JobKey) -> Status {
    match jobs.find(key).await.unwrap().expect("it has a record") {
        JobRecord::Open(job) => job.status,
        JobRecord::Over(run) => run.status,
    }
}

async fn enqueue(jobs: &Jobs, new: NewJob) -> JobKey {
    jobs.enqueue(new).await.unwrap().key
}

#[tokio::test]
async fn q01_q02_a_job_waits_from_its_enqueue_and_its_values_come_back() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    embedded.meter.spent();
    let key = enqueue(&jobs, new()).await;
    assert_eq!(status(&jobs, &key).await, Status::Pending);
    assert_eq!(jobs.wait(&key, Duration::from_millis(30)).await.unwrap(), None);
    let run = succeed(&jobs, &key).await;
    assert_eq!((run.status, run.fencing_token), (Status::Completed, 1));
    assert_eq!(run.arguments, new().arguments);
    assert_eq!(run.data, Some(json!({ "sent": "żółw" })));
    assert_eq!(jobs.wait(&key, Duration::ZERO).await.unwrap(), Some(run.clone()));
    // A delivery that comes again finds it over, and runs nothing.
    let again = jobs.process(&key, &worker("v"), async |_| panic!("it ran twice")).await.unwrap();
    assert_eq!(again, JobOutcome::Over(Box::new(run)));
}

#[tokio::test]
async fn a_job_costs_three_write_units_and_under_a_runner_the_indexs_besides() {
    let embedded = embedded().await;
    for (transport, units) in [(Transport::Queue, [1.0, 1.0, 1.0]), (Transport::Runner, [2.0, 3.0, 2.0])] {
        let now = Timestamp::now();
        let job = new().job(RunId::of_job(now, transport as u128), now).unwrap();
        let _ = embedded.table.enqueue(&job, &JobKeys::default(), transport, now).await.unwrap();
        let request = StartRequest { holder: "w".into(), now, until: worker("w").until, max_attempts: 3 };
        let started = embedded.table.start_job(&job.key(), &request, transport).await.unwrap();
        let JobStart::Granted(job) = started else { panic!("{started:?}") };
        let _ = embedded.table.end_job(&job, &tried(&job, None).run).await.unwrap();
        let spent = embedded.meter.spent();
        let wanted = ["PutItem", "UpdateItem", "PutItem"].map(str::to_owned).into_iter();
        assert_eq!(spent, wanted.zip(units.map(Some)).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn q10_a_zombie_can_neither_end_nor_give_back_a_job_that_was_taken_over() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let key = enqueue(&jobs, new()).await;
    let past = Timestamp::now().saturating_sub(Duration::from_secs(1)).unwrap();
    let zombie = Worker { until: past, ..worker("zombie") };
    let theirs = jobs.start(&key, &zombie).await.unwrap().done().unwrap();
    let mine = jobs.start(&key, &worker("heir")).await.unwrap().done().unwrap();
    assert_eq!((theirs.fencing_token, mine.fencing_token, mine.attempts.len()), (1, 2, 1));
    for error in [None, Some(failure())] {
        let late = jobs.conclude(&theirs, tried(&theirs, error), &zombie).await.unwrap();
        assert_eq!(late, JobOutcome::Lost);
    }
    let JobOutcome::Over(run) = jobs.conclude(&mine, tried(&mine, None), &worker("heir")).await.unwrap()
    else {
        panic!("it is not over")
    };
    assert_eq!((run.status, run.attempts.len()), (Status::Completed, 2));
    let late = jobs.conclude(&theirs, tried(&theirs, None), &zombie).await.unwrap();
    assert_eq!(late, JobOutcome::Over(run));
}

#[tokio::test]
async fn q10_a_dead_runners_jobs_are_free_at_once_and_nobody_elses() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let task = "send-mail".parse().unwrap();
    let longest = Duration::from_secs(60);
    let low = NewJob { priority: Priority::Low, ..new() };
    let keys = [enqueue(&jobs, low).await, enqueue(&jobs, new()).await, enqueue(&jobs, new()).await];
    let waiting = enqueue(&jobs, NewJob { when: When::In(Duration::from_secs(30)), ..new() }).await;
    let mut theirs = Vec::new();
    for (key, runner) in keys.iter().zip(["dead", "dead", "alive"]) {
        theirs.push(jobs.start(key, &worker("w").of(runner)).await.unwrap().done().unwrap());
    }
    assert_eq!(jobs.revoke_leases(&task, "dea", longest).await.unwrap(), 0);
    assert_eq!(jobs.revoke_leases(&task, "dead", longest).await.unwrap(), 2);
    assert_eq!(jobs.revoke_leases(&task, "dead", longest).await.unwrap(), 0, "nothing is left to do");
    for key in &keys[..2] {
        let run = succeed(&jobs, key).await;
        assert_eq!((run.fencing_token, run.attempts.len()), (2, 2));
        assert!(run.attempts[0].error.as_ref().unwrap().message.starts_with("lost: "), "{run:?}");
    }
    let refused = jobs.start(&keys[2], &worker("heir")).await.unwrap();
    assert!(
        matches!(refused, Conditional::Refused(JobOutcome::Refused(Refusal::Running { .. }))),
        "{refused:?}"
    );
    assert_eq!(status(&jobs, &waiting).await, Status::Pending);
    // One that was only taken for dead ends nothing that was started since, and keeps what was not.
    let late = jobs.conclude(&theirs[0], tried(&theirs[0], None), &worker("w").of("dead")).await.unwrap();
    assert!(matches!(late, JobOutcome::Over(run) if run.fencing_token == 2));
    assert_eq!(jobs.revoke_leases(&task, "alive", longest).await.unwrap(), 1);
    assert!(jobs.renew(&theirs[2], worker("w").until).await.unwrap());
    let refused = jobs.start(&keys[2], &worker("heir")).await.unwrap();
    assert!(
        matches!(refused, Conditional::Refused(JobOutcome::Refused(Refusal::Running { .. }))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn q09_a_failed_attempt_is_made_again_and_the_last_one_ends_the_job() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded).with_failure_messages("shop");
    let key = enqueue(&jobs, new()).await;
    let messages = async || embedded.table.outbox(Timestamp::now(), 10).await.unwrap();
    for _ in 0..2 {
        let carried =
            jobs.process(&key, &worker("w"), async |job| tried(job, Some(failure()))).await.unwrap();
        assert!(matches!(carried, JobOutcome::Again { .. }), "{carried:?}");
        assert_eq!(status(&jobs, &key).await, Status::Pending);
    }
    let carried = jobs.process(&key, &worker("w"), async |job| tried(job, Some(failure()))).await.unwrap();
    let JobOutcome::Over(run) = carried else { panic!("{carried:?}") };
    assert_eq!((run.status, run.attempts.len()), (Status::Failed, 3));
    // It leaves one message to people, however often it is delivered, and what completes leaves none.
    let [message] = &messages().await[..] else { panic!("no message, or several") };
    let message = &message.message;
    assert_eq!((message.run_id, message.status.as_str()), (Some(key.run_id), "FAILED"));
    assert_eq!((message.stack.as_str(), &message.task), ("shop", &key.task));
    let again = jobs.process(&key, &worker("w"), async |_| panic!("it ran again")).await.unwrap();
    assert!(matches!(again, JobOutcome::Over(_)), "{again:?}");
    let good = enqueue(&jobs, new()).await;
    let carried = jobs.process(&good, &worker("w"), async |job| tried(job, None)).await.unwrap();
    assert!(matches!(carried, JobOutcome::Over(_)), "{carried:?}");
    assert_eq!(messages().await, []);
}

#[tokio::test]
async fn q09_the_pauses_of_a_failing_job_double_and_no_attempt_starts_before_their_end() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let key = enqueue(&jobs, new()).await;
    let retry = Retry { max_attempts: 4, initial: Duration::from_millis(40), max: Duration::from_millis(80) };
    let worker = Worker { retry, jitter: 1.0, ..worker("w") };
    let (mut pauses, mut starts) = (Vec::new(), Vec::new());
    let over = async {
        loop {
            let failed = async |job: &Job| tried(job, Some(failure()));
            match jobs.process(&key, &worker, failed).await.unwrap() {
                JobOutcome::Refused(Refusal::NotBefore { .. }) => tokio::task::yield_now().await,
                JobOutcome::Again { pause, .. } => {
                    let Some(JobRecord::Open(job)) = jobs.find(&key).await.unwrap() else { panic!("over") };
                    pauses.push(pause);
                    starts.push(job.not_before.unwrap());
                }
                JobOutcome::Over(run) => break run,
                other => panic!("{other:?}"),
            }
        }
    };
    let run = tokio::time::timeout(Duration::from_secs(60), over).await.expect("it does not end");
    assert_eq!((run.status, run.attempts.len()), (Status::Failed, 4));
    assert_eq!(pauses, [40, 80, 80].map(Duration::from_millis));
    for ((attempts, pause), start) in run.attempts.windows(2).zip(pauses).zip(starts) {
        // The table stores whole milliseconds.
        assert!(start.as_millisecond() >= (attempts[0].started_at + pause).as_millisecond(), "{run:?}");
        assert!(attempts[1].started_at.as_millisecond() >= start.as_millisecond(), "{run:?}");
    }
}

#[tokio::test]
async fn q04_a_waiting_a_running_and_a_finished_job_are_aborted_each_in_its_way() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let delayed = enqueue(&jobs, NewJob { when: When::In(Duration::from_secs(60)), ..new() }).await;
    assert!(matches!(jobs.abort(&delayed).await.unwrap(), AbortOutcome::Ended(..)));
    assert_eq!(status(&jobs, &delayed).await, Status::Cancelled);

    let running = enqueue(&jobs, new()).await;
    let job = jobs.start(&running, &worker("w")).await.unwrap().done().unwrap();
    assert!(!jobs.table().is_aborted(&running, job.fencing_token).await.unwrap());
    assert_eq!(jobs.abort(&running).await.unwrap(), AbortOutcome::Asked);
    assert!(jobs.table().is_aborted(&running, job.fencing_token).await.unwrap());

    let done = enqueue(&jobs, new()).await;
    succeed(&jobs, &done).await;
    assert!(
        matches!(jobs.abort(&done).await.unwrap(), AbortOutcome::Over(run) if run.status == Status::Completed)
    );
    let nobody = JobKey { run_id: RunId::new(Timestamp::now(), 1), ..done };
    assert_eq!(jobs.abort(&nobody).await.unwrap(), AbortOutcome::Unknown);
}

#[tokio::test]
async fn q05_q08_a_job_starts_neither_before_its_time_nor_after_it_expired() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let delayed = enqueue(&jobs, NewJob { when: When::In(Duration::from_secs(60)), ..new() }).await;
    let carried = jobs.process(&delayed, &worker("w"), async |_| panic!("it ran")).await.unwrap();
    assert!(matches!(carried, JobOutcome::Refused(Refusal::NotBefore { .. })), "{carried:?}");
    let due = jobs.table().due_for_runner(&delayed.task, Priority::Medium, 10).await.unwrap();
    assert!(matches!(&due[..], [(key, at)] if *key == delayed && *at > Timestamp::now()), "{due:?}");

    let hasty = enqueue(&jobs, NewJob { expires_in: Some(Duration::from_millis(1)), ..new() }).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let carried = jobs.process(&hasty, &worker("w"), async |_| panic!("it ran")).await.unwrap();
    let JobOutcome::Over(run) = carried else { panic!("{carried:?}") };
    assert!(matches!(run.why, Some(Reason::Expired { .. })), "{run:?}");
    assert!(run.reason().unwrap().starts_with("expired"), "{run:?}");
}

#[tokio::test]
async fn q07_of_two_jobs_with_one_key_there_is_one() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let named = NewJob { id: Some("order-42".into()), ..new() };
    let first = jobs.enqueue(named.clone()).await.unwrap();
    assert_eq!(jobs.enqueue(named.clone()).await.unwrap(), Accepted { joined: true, ..first.clone() });
    succeed(&jobs, &first.key).await;
    // An id is the job's own for as long as its record is kept.
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
async fn q07_twenty_at_once_with_one_key_make_one_job() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let wanted = NewJob { id: Some("order-42".into()), ..new() };
    let all = futures::future::join_all((0..20).map(|_| jobs.enqueue(wanted.clone()))).await;
    let keys: BTreeSet<_> = all.into_iter().map(|it| it.unwrap().key).collect();
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn q12_a_job_starts_after_all_others_and_is_blocked_by_a_failure() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let (one, two) = (enqueue(&jobs, new()).await, enqueue(&jobs, new()).await);
    let both = enqueue(&jobs, NewJob { after: vec![one.clone(), two.clone()], ..new() }).await;
    let carried = jobs.process(&both, &worker("w"), async |_| panic!("it ran")).await.unwrap();
    assert_eq!(carried, JobOutcome::Refused(Refusal::Waits));
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
async fn q13_a_runner_is_told_which_job_can_start_and_of_many_before_the_last_is_written() {
    let embedded = embedded().await;
    let waker = UdpSocket::bind("127.0.0.1:0").unwrap();
    waker.set_nonblocking(true).unwrap();
    let to = RunnerAddress::new(waker.local_addr().unwrap(), "key-3f");
    let jobs = Jobs::new(embedded.table.clone(), Waker::Runner { to: Some(to) });
    let heard = || {
        let mut text = [0; 512];
        let length = waker.recv(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text[..length]);
        Some(text.strip_prefix("key-3f ").expect("it has the runner's key").to_owned())
    };
    let key = enqueue(&jobs, new()).await;
    assert_eq!(heard(), Some(key.to_string()));
    enqueue(&jobs, NewJob { when: When::In(Duration::from_secs(60)), ..new() }).await;
    assert_eq!(heard(), Some("send-mail".to_owned()), "this one cannot start");

    let many = jobs.enqueue_many(vec![new(); 1100]);
    tokio::pin!(many);
    let mut told_before_the_end = 0;
    loop {
        tokio::select! {
            biased;
            keys = &mut many => break assert_eq!(keys.unwrap().len(), 1100),
            () = tokio::task::yield_now() => told_before_the_end += usize::from(heard().is_some()),
        }
    }
    assert!(told_before_the_end > 0, "nothing is heard before all are written");
}

#[tokio::test]
async fn p04_the_history_has_jobs_of_every_partition_newest_first() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let mut keys = jobs.enqueue_many(vec![new(); 40]).await.unwrap();
    succeed(&jobs, &keys[0]).await;
    keys.sort();
    let mut wanted = History { jobs: true, ..History::of(keys[0].task.clone(), 7) };
    let mut seen = Vec::new();
    loop {
        let page = jobs.table().history(&wanted).await.unwrap();
        seen.extend(page.runs.into_iter().map(|run| run.id));
        let Some(next) = page.next else { break };
        wanted.cursor = Some(next);
    }
    seen.reverse();
    assert_eq!(seen, keys.into_iter().map(|key| key.run_id).collect::<Vec<_>>());
    let completed = History { statuses: vec![Status::Completed], ..History { cursor: None, ..wanted } };
    assert_eq!(jobs.table().history(&completed).await.unwrap().runs.len(), 1);
}

#[tokio::test]
async fn q11_so_many_jobs_with_a_key_run_at_once_and_the_others_find_a_place_later() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let of = |key: &str| NewJob { limit: Some(Limit { key: key.into(), at_once: 2 }), ..new() };
    let keys = jobs.enqueue_many(vec![of("a"), of("a"), of("a"), of("b")]).await.unwrap();
    let one = jobs.start(&keys[0], &worker("one")).await.unwrap().done().unwrap();
    let two = jobs.start(&keys[1], &worker("two")).await.unwrap().done().unwrap();
    let full = jobs.start(&keys[2], &worker("three")).await.unwrap();
    let Conditional::Refused(JobOutcome::Refused(Refusal::Full { until })) = full else { panic!("{full:?}") };
    let Some(JobRecord::Open(waits)) = jobs.find(&keys[2]).await.unwrap() else { panic!("it is open") };
    assert_eq!((waits.status, waits.fencing_token), (Status::Pending, 0));
    assert_eq!(waits.not_before.unwrap().as_millisecond(), until.as_millisecond());
    succeed(&jobs, &keys[3]).await;

    // A lost response: who has it already has its place, and starts it again.
    assert_eq!(
        jobs.start(&keys[0], &worker("one")).await.unwrap().done().unwrap().fencing_token,
        one.fencing_token
    );
    assert!(jobs.renew(&two, until + Duration::from_secs(3600)).await.unwrap());
    let over = jobs.conclude(&one, tried(&one, None), &worker("one")).await.unwrap();
    assert!(matches!(over, JobOutcome::Over(_)), "{over:?}");
    tokio::time::sleep_until(tokio::time::Instant::now() + until_then(until)).await;
    assert_eq!(succeed(&jobs, &keys[2]).await.status, Status::Completed);

    // An attempt that failed gives its place back, until the next one.
    let again = jobs.conclude(&two, tried(&two, Some(failure())), &worker("two")).await.unwrap();
    assert!(matches!(again, JobOutcome::Again { .. }), "{again:?}");
    let alone = NewJob { limit: Some(Limit { key: "a".into(), at_once: 1 }), ..new() };
    let alone = jobs.enqueue(alone).await.unwrap().key;
    assert_eq!(succeed(&jobs, &alone).await.status, Status::Completed);
}

#[tokio::test]
async fn q02_q11_what_cannot_be_told_to_a_queue_is_kept_for_whoever_looks() {
    let embedded = embedded().await;
    // Nobody listens there.
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
        "the pulse tells of both"
    );

    let _ = jobs.start(&one, &worker("one")).await.unwrap().done().unwrap();
    let refused = jobs.start(&two, &worker("two")).await.unwrap();
    let message_comes_again =
        matches!(refused, Conditional::Refused(JobOutcome::Refused(Refusal::NotBefore { .. })));
    assert!(message_comes_again, "no other message was sent: {refused:?}");
}

fn until_then(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default() + Duration::from_millis(1)
}

#[tokio::test]
async fn q11_sixteen_workers_that_race_never_have_more_places_than_there_are() {
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

/// An engine that counts its changes.
struct Counted {
    engine: LocalCommit,
    changes: AtomicUsize,
}

impl Counted {
    fn of(embedded: &Embedded) -> Arc<Self> {
        Arc::new(Self { engine: embedded.engine.local_commit(), changes: AtomicUsize::new(0) })
    }
}

impl GroupCommit for Counted {
    fn change(
        &self,
        table: &str,
        keys: &[(String, String)],
        decide: &mut dyn FnMut(usize, Option<Item>) -> Option<Item>,
    ) -> Result<(), String> {
        self.changes.fetch_add(1, Relaxed);
        self.engine.change(table, keys, decide)
    }
}

#[tokio::test]
async fn starts_and_ends_that_wait_share_changes_and_each_job_has_one_record() {
    let embedded = embedded().await;
    let counted = Counted::of(&embedded);
    let jobs = jobs(&embedded).with_group_commit(Arc::clone(&counted) as Arc<dyn GroupCommit>);
    let keys = jobs.enqueue_many((0..60).map(|_| new()).collect()).await.unwrap();
    embedded.meter.spent();
    let carrying = keys.iter().enumerate().map(async |(i, key)| {
        let worker = worker(&format!("w{i}"));
        jobs.process(key, &worker, async |job| {
            tokio::task::yield_now().await;
            tried(job, None)
        })
        .await
        .unwrap()
    });
    for (carried, key) in futures::future::join_all(carrying).await.into_iter().zip(&keys) {
        let JobOutcome::Over(run) = carried else { panic!("{carried:?}") };
        assert_eq!((run.id, run.status, run.fencing_token), (key.run_id, Status::Completed, 1));
        assert_eq!(jobs.wait(key, Duration::ZERO).await.unwrap().as_ref(), Some(&*run));
    }
    let spent = embedded.meter.spent();
    let count = |of: &str| spent.iter().filter(|(operation, _)| operation == of).count();
    let changes = counted.changes.load(Relaxed);
    assert!((2..20).contains(&changes), "{changes}");
    assert!(count("UpdateItem") + count("PutItem") < 4, "{spent:?}");
    assert!(jobs.table().due_for_runner(&keys[0].task, Priority::default(), 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_step_that_cannot_be_taken_does_not_keep_the_others_from_theirs() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded).with_group_commit(Counted::of(&embedded));
    let usual = enqueue(&jobs, new()).await;
    let aborted = enqueue(&jobs, new()).await;
    assert!(matches!(jobs.abort(&aborted).await.unwrap(), AbortOutcome::Ended(..)));
    let later = NewJob { when: When::In(Duration::from_secs(60)), ..new() };
    let later = enqueue(&jobs, later).await;
    let limit = Limit { key: "ada".into(), at_once: 1 };
    let limited = enqueue(&jobs, NewJob { limit: Some(limit), ..new() }).await;
    let first = enqueue(&jobs, new()).await;
    let second = enqueue(&jobs, NewJob { after: vec![first.clone()], ..new() }).await;
    let unknown = JobKey { run_id: RunId::new(Timestamp::now(), 7), ..usual.clone() };
    let carry_all = async |keys: &[&JobKey]| {
        let carrying = keys.iter().map(async |key| {
            jobs.process(key, &worker(&key.to_string()), async |job| tried(job, None)).await.unwrap()
        });
        futures::future::join_all(carrying).await
    };
    let carried = carry_all(&[&usual, &aborted, &later, &limited, &second, &unknown]).await;
    let statuses: Vec<_> = carried
        .iter()
        .map(|carried| match carried {
            JobOutcome::Over(run) => run.status.as_str(),
            JobOutcome::Refused(Refusal::NotBefore { .. }) => "not before",
            JobOutcome::Refused(Refusal::Waits) => "waits",
            JobOutcome::Unknown => "unknown",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(statuses, ["COMPLETED", "CANCELLED", "not before", "COMPLETED", "waits", "unknown"]);
    // The end of the first wakes what comes after it, which nobody would know from a transaction.
    let beside = enqueue(&jobs, new()).await;
    let carried = carry_all(&[&beside, &first]).await;
    assert!(carried.iter().all(|carried| matches!(carried, JobOutcome::Over(_))), "{carried:?}");
    let Some(JobRecord::Open(woken)) = jobs.find(&second).await.unwrap() else { panic!("it is over") };
    assert_eq!(woken.after, []);
    assert_eq!(succeed(&jobs, &second).await.status, Status::Completed);
}

#[tokio::test]
async fn a_step_is_taken_once_whatever_became_of_its_answer() {
    let embedded = embedded().await;
    let engine = Counted::of(&embedded);
    let jobs = jobs(&embedded);
    let table = jobs.table();
    let take = |steps| table.commit_steps(&*engine, steps, Transport::Runner);
    let mut open = Vec::new();
    for _ in 0..3 {
        let key = enqueue(&jobs, new()).await;
        let Some(JobRecord::Open(job)) = jobs.find(&key).await.unwrap() else { panic!("it is over") };
        open.push(*job);
    }
    let now = Timestamp::now();
    let request = StartRequest { holder: "w".into(), now, until: worker("w").until, max_attempts: 3 };
    let step = |job: &Job| JobStep::Start(job.key(), request.clone());
    // A change that cannot be is made for none of its steps.
    assert!(take(vec![step(&open[0]), step(&open[1]), step(&open[0])]).is_err());
    let started = jobs.start(&open[1].key(), &worker("other")).await.unwrap().done().unwrap();
    assert_eq!(started.fencing_token, 1);
    let granted = |job: &Job| Some(StepOutcome::Started(Box::new(job.clone().started(&request))));
    let wanted = [granted(&open[0]), None, granted(&open[2])];
    assert_eq!(take(open.iter().map(step).collect()).unwrap(), wanted);
    // The answer was lost: the worker asks again, alone, and has what it has started, as it was.
    let again = jobs.start(&open[0].key(), &worker("w")).await.unwrap().done().unwrap();
    let granted = open[0].clone().started(&request);
    assert_eq!((again.fencing_token, again.started_at), (granted.fencing_token, granted.started_at));
    assert_eq!((again.status, &again.arguments), (Status::Running, &granted.arguments));
    // An end whose answer was lost is one's own, and a zombie's is refused.
    let run = tried(&again, None).run;
    let run = Run { fencing_token: 1, arguments: again.arguments.clone(), ..run };
    let zombie = Job { fencing_token: 0, ..again.clone() };
    assert_eq!(take(vec![table.end_step(&zombie, &run).unwrap()]).unwrap(), [None]);
    assert_eq!(take(vec![table.end_step(&again, &run).unwrap()]).unwrap(), [Some(StepOutcome::Ended)]);
    assert_eq!(take(vec![table.end_step(&again, &run).unwrap()]).unwrap(), [None]);
    assert_eq!(table.end_job(&again, &run).await.unwrap(), JobEnd::Written(Vec::new()));
    let other = Run { message: Some("another".into()), ..run.clone() };
    assert_eq!(table.end_job(&again, &other).await.unwrap(), JobEnd::Before(Box::new(run)));
}

#[tokio::test]
async fn a_step_leaves_the_record_that_the_usual_way_would() {
    let embedded = embedded().await;
    let engine = Counted::of(&embedded);
    let item = async |key: &JobKey| {
        let get = embedded.table.client().get_item().table_name("lamplighter");
        let pk = AttributeValue::S(format!("RUNS#{}#{}", key.task, key.run_id.shard()));
        let get = get.key("pk", pk).key("sk", AttributeValue::S(key.run_id.to_string()));
        get.send().await.unwrap().item.unwrap()
    };
    for transport in [Transport::Runner, Transport::Queue] {
        let jobs = jobs(&embedded);
        let table = jobs.table();
        let (alone, together) = (enqueue(&jobs, new()).await, enqueue(&jobs, new()).await);
        let now = Timestamp::now();
        let request = StartRequest { holder: "w".into(), now, until: worker("w").until, max_attempts: 3 };
        let JobStart::Granted(job) = table.start_job(&alone, &request, transport).await.unwrap() else {
            panic!()
        };
        let step = JobStep::Start(together.clone(), request);
        let taken = table.commit_steps(&*engine, vec![step], transport).unwrap();
        let [Some(StepOutcome::Started(other))] = &taken[..] else { panic!("{taken:?}") };
        let same = |mut one: Item, other: Item| {
            for name in ["pk", "sk", "id"] {
                one.insert(name.into(), other[name].clone());
            }
            assert_eq!(one, other);
        };
        same(item(&alone).await, item(&together).await);
        let run = tried(&job, None).run;
        assert_eq!(table.end_job(&job, &run).await.unwrap(), JobEnd::Written(Vec::new()));
        let run = Run { id: together.run_id, ..run };
        let ended = table.commit_steps(&*engine, vec![table.end_step(other, &run).unwrap()], transport);
        assert_eq!(ended.unwrap(), [Some(StepOutcome::Ended)]);
        same(item(&alone).await, item(&together).await);
    }
}
