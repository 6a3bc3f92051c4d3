//! Q05: wake-ups for jobs that are delayed longer than SQS delays a message, and for jobs whose message was not sent.

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use lamplighter_aws::{
    jobs::{JobOutcome, Worker},
    table::{Conditional, EnqueueOutcome, JobKeys, JobRecord, JobWrites, Transport, transact},
};
use lamplighter_core::{
    definition::{Kind, Priority, Queue},
    id::RunId,
    job::{Job, JobKey, Limit, NewJob, Refusal, Wait, When},
    pulse::State,
    retry::Retry,
    run::{Run, Trigger},
    status::Status,
};
use serde_json::json;

use crate::{
    queues::Message,
    stage::{Probe, Stage, name, probe},
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_add(by).unwrap()
}

/// Stores a job that was enqueued at `at`, without sending its message.
async fn enqueue(stage: &Stage, task: &str, at: Timestamp, number: u128, when: When) -> Job {
    let new = NewJob { when, ..NewJob::of(name(task)) };
    let job = new.job(RunId::of_job(at, number << 70), at).unwrap();
    let enqueued = stage.table.enqueue(&job, &JobKeys::default(), Transport::Queue, at).await.unwrap();
    assert_eq!(enqueued, EnqueueOutcome::New);
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q05_delays_of_20_minutes_and_30_days_send_messages_in_time_and_never_early() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let jobs = stage.queues.jobs(&stage.table);
    let soon = enqueue(&stage, "mail", now, 1, When::In(20 * MINUTE)).await;
    let far = enqueue(&stage, "mail", now, 2, When::In(30 * DAY)).await;
    let wake = async |at: Timestamp| {
        let report = jobs.wake_due(at, Timestamp::MAX).await.unwrap();
        assert_eq!((report.errors, report.looked_at), (Vec::new(), 0));
        stage.queues.sent().into_iter().map(|it| (it.run_id, it.delay_s)).collect::<Vec<_>>()
    };
    // One pulse each minute, from the time of the enqueue.
    let mut sent = Vec::new();
    for minute in 0..25 {
        let at = later(now, minute * MINUTE);
        sent.extend(wake(at).await.into_iter().map(|(id, delay)| (minute, id, delay)));
    }
    // After five minutes 15 are left, which is the longest delay that SQS supports.
    assert_eq!(sent, [(5, soon.id.to_string(), 900)]);
    assert_eq!(wake(later(now, 29 * DAY)).await, []);
    // A late pulse sends the message with the remaining delay, or without one if the time has passed.
    assert_eq!(wake(later(now, 29 * DAY + 1438 * MINUTE)).await, [(far.id.to_string(), 120)]);
    assert_eq!(wake(later(now, 31 * DAY)).await, []);
    let late = enqueue(&stage, "mail", now, 3, When::In(20 * MINUTE)).await;
    assert_eq!(wake(later(now, DAY)).await, [(late.id.to_string(), 0)]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q05_a_pulse_sends_the_messages_of_due_jobs_once_and_counts_them() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let before = now.checked_sub(10 * MINUTE).unwrap();
    let soon = enqueue(&stage, "mail", before, 1, When::In(20 * MINUTE)).await;
    for number in 0..120 {
        enqueue(&stage, "report", before, 2 + number, When::In(16 * MINUTE)).await;
    }
    enqueue(&stage, "mail", now, 1000, When::In(DAY)).await;
    let report = stage.pulse().await;
    assert_eq!((&report["rung"], &report["errors"]), (&json!(121), &json!([])), "{report}");
    let sent = stage.queues.sent();
    let mail: Vec<_> = sent.iter().filter(|it| it.task == "mail").collect();
    assert!((1..=600).contains(&mail[0].delay_s) && mail[0].run_id == soon.id.to_string(), "{mail:?}");
    assert_eq!((mail.len(), sent.len()), (1, 121));
    // A request has at most ten jobs, all of one partition.
    assert!(stage.queues.requests() <= 8 * 2 + 12, "{}", stage.queues.requests());
    stage.next_minute(0).await;
    let report = stage.pulse().await;
    assert_eq!((&report["rung"], stage.queues.sent().len()), (&json!(0), 0), "{report}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q05_the_next_pulse_sends_a_message_that_was_not_sent() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let jobs = stage.queues.jobs(&stage.table);
    stage.queues.down(true);
    let parked = jobs.enqueue(NewJob::of(name("mail"))).await.unwrap().key;
    let report = stage.pulse().await;
    assert_eq!(report["rung"], 0, "{report}");
    assert!(report["errors"][0].as_str().unwrap().contains("AccessDenied"), "{report}");
    stage.queues.down(false);
    // A removed task's missing queue affects no other task.
    let gone = enqueue(&stage, "gone", now.checked_sub(DAY).unwrap(), 1, When::In(20 * MINUTE)).await;
    stage.queues.delete("gone");
    stage.next_minute(0).await;
    let report = stage.pulse().await;
    assert_eq!(report["rung"], 1, "{report}");
    assert!(report["errors"][0].as_str().unwrap().contains("`gone` has no queue"), "{report}");
    assert_eq!(stage.queues.sent()[0].run_id, parked.run_id.to_string());
    let found = stage.table.job(&gone.key()).await.unwrap();
    assert!(matches!(found, Some(JobRecord::Open(job)) if job.status == Status::Pending));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q12_the_pulse_wakes_a_follower_whose_wake_up_was_lost() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let first = enqueue(&stage, "mail", now, 1, When::Now).await;
    let after = |key: &JobKey| NewJob { after: vec![key.clone()], ..NewJob::of(name("report")) };
    let jobs = stage.queues.jobs(&stage.table);
    let follower = jobs.enqueue(after(&first.key())).await.unwrap().key;
    let report = stage.pulse().await;
    assert_eq!((&report["rung"], stage.queues.sent().len()), (&json!(0), 0), "{report}");
    // The worker that ended the first job died before it woke the follower.
    let run =
        Run { status: Status::Completed, ..Run::begun(first.id, first.task.clone(), Trigger::Queue, now) };
    let _ = stage.table.end_job(&first, &run).await.unwrap();
    stage.next_minute(0).await;
    stage.pulse().await;
    let sent = stage.queues.sent();
    assert_eq!((sent.len(), &sent[0].run_id), (1, &follower.run_id.to_string()));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q05_an_orphan_whose_enqueuer_died_before_its_message_is_woken_once() {
    let now = Timestamp::now();
    let mut mail = probe("mail", now, [0]);
    let queue = Queue { priority: Priority::default(), concurrency: None, arguments_schema: json!({}) };
    mail.planned.definition.kind = Kind::Queue(queue);
    let stage = Stage::new(now, 0, vec![mail]).await;
    let ago = |minutes: u32| now.checked_sub(MINUTE * minutes).unwrap();
    let orphan = enqueue(&stage, "mail", ago(30), 3, When::Now).await;
    let other = enqueue(&stage, "mail", ago(21), 7, When::In(15 * MINUTE)).await;
    // Not orphans: SQS may still hold the message of the first, and the second is in the index.
    enqueue(&stage, "mail", ago(15), 4, When::In(15 * MINUTE)).await;
    enqueue(&stage, "mail", ago(30), 5, When::In(DAY)).await;
    // A limit refused this one a moment ago, and a message for its next attempt was sent.
    let full = enqueue(&stage, "mail", ago(30), 8, When::Now).await;
    assert!(stage.table.put_off(&full, now, Wait::in_queue(Duration::ZERO), Transport::Queue).await.unwrap());
    let over = enqueue(&stage, "mail", ago(30), 6, When::Now).await;
    let run =
        Run { status: Status::Completed, ..Run::begun(over.id, over.task.clone(), Trigger::Queue, now) };
    let _ = stage.table.end_job(&over, &run).await.unwrap();
    let search_from = async |minutes: u32| {
        let seen = stage.table.pulse_state().await.unwrap();
        let next = State { orphans_checked_until: Some(ago(minutes)), ..seen.clone() };
        assert!(stage.table.keep_pulse_state(&next, &seen).await.unwrap());
    };
    search_from(36).await;
    stage.queues.down(true);
    let report = stage.pulse().await;
    assert_eq!(report["rung"], 0, "{report}");
    stage.queues.down(false);
    // The unsent messages were parked, and the same span is not searched twice.
    stage.next_minute(0).await;
    let report = stage.pulse().await;
    assert_eq!((&report["rung"], &report["errors"]), (&json!(2), &json!([])), "{report}");
    let sent: BTreeSet<_> = stage.queues.sent().into_iter().map(|it| it.run_id).collect();
    assert_eq!(sent, BTreeSet::from([orphan.id.to_string(), other.id.to_string()]));
    stage.next_minute(0).await;
    assert_eq!(stage.pulse().await["rung"], 0);
    search_from(36).await;
    stage.next_minute(0).await;
    assert_eq!(stage.pulse().await["rung"], 2, "the records still show that both were never started");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q17_a_job_of_a_transaction_whose_wake_up_was_lost_is_woken_by_the_pulse() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![queue_task(now, "mail")]).await;
    let at = now.checked_sub(30 * MINUTE).unwrap();
    let job = NewJob::of(name("mail")).job(RunId::of_job(at, 3 << 70), at).unwrap();
    let prepared = stage.table.prepare_job(&job, &JobKeys::default(), Transport::Queue, at).await.unwrap();
    let JobWrites::New(writes) = prepared else { panic!("{prepared:?}") };
    // The process dies after the commit, before it wakes a worker.
    transact(stage.table.client(), writes).await.unwrap();
    search_orphans_from(&stage, now.checked_sub(36 * MINUTE).unwrap()).await;
    let report = stage.pulse().await;
    assert_eq!((&report["rung"], &report["errors"]), (&json!(1), &json!([])), "{report}");
    assert_eq!(stage.queues.sent()[0].run_id, job.id.to_string());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q11_a_job_refused_by_a_limit_gets_a_new_message_or_keeps_its_own() {
    let stage = Stage::new(Timestamp::now(), 0, vec![]).await;
    let jobs = stage.queues.jobs(&stage.table);
    let limit = Some(Limit { key: "ada".into(), at_once: 1 });
    let new = NewJob { limit, ..NewJob::of(name("mail")) };
    let keys = jobs.enqueue_many(vec![new.clone(), new]).await.unwrap();
    let start = async |key: &JobKey| {
        let worker = Worker::new(later(Timestamp::now(), MINUTE), Retry::default());
        jobs.start(key, &worker).await.unwrap()
    };
    let first = start(&keys[0]).await.done().unwrap();
    stage.queues.sent();
    let Conditional::Refused(JobOutcome::Refused(Refusal::Full { until })) = start(&keys[1]).await else {
        panic!("it is full")
    };
    let sent = stage.queues.sent();
    assert_eq!((sent.len(), &sent[0].run_id, sent[0].delay_s), (1, &keys[1].run_id.to_string(), 1));

    let left = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
    tokio::time::sleep(left + Duration::from_millis(1)).await;
    stage.queues.down(true);
    let held = start(&keys[1]).await;
    let is_held = matches!(held, Conditional::Refused(JobOutcome::Refused(Refusal::NotBefore { .. })));
    assert!(is_held, "{held:?}");
    stage.queues.down(false);
    assert_eq!(first.fencing_token, 1);
    stage.end().await;
}

/// Leaves a job with a lease that expired `ago`, as a dead worker does.
async fn lose(stage: &Stage, key: &JobKey, ago: Duration) {
    let jobs = stage.queues.jobs(&stage.table);
    let until = Timestamp::now().checked_sub(ago).unwrap();
    let worker = Worker { holder: "dead".into(), ..Worker::new(until, Retry::default()) };
    jobs.start(key, &worker).await.unwrap().done().unwrap();
}

fn queue_task(now: Timestamp, task: &str) -> Probe {
    let mut probe = probe(task, now, [0]);
    let queue = Queue { priority: Priority::default(), concurrency: None, arguments_schema: json!({}) };
    probe.planned.definition.kind = Kind::Queue(queue);
    probe
}

/// Makes the next pulse search for orphans that were enqueued since `orphans_checked_until`.
async fn search_orphans_from(stage: &Stage, orphans_checked_until: Timestamp) {
    let seen = stage.table.pulse_state().await.unwrap();
    let next = State { orphans_checked_until: Some(orphans_checked_until), ..seen.clone() };
    assert!(stage.table.keep_pulse_state(&next, &seen).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q10_a_running_job_whose_message_is_lost_is_found_and_ended() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![queue_task(now, "mail")]).await;
    let ago = |time: Duration| now.checked_sub(time).unwrap();
    let lost = enqueue(&stage, "mail", ago(25 * MINUTE), 1, When::Now).await;
    lose(&stage, &lost.key(), 5 * MINUTE).await;
    // An old job lost its worker and its message long after it was enqueued.
    let midnight = Timestamp::from_second(now.as_second().div_euclid(86_400) * 86_400).unwrap();
    let midnight = if midnight > ago(30 * MINUTE) { midnight.checked_sub(DAY).unwrap() } else { midnight };
    let old = enqueue(&stage, "mail", midnight.checked_sub(DAY / 2 * 61).unwrap(), 2, When::Now).await;
    lose(&stage, &old.key(), DAY).await;
    // A living worker holds its job's message.
    let lives = enqueue(&stage, "mail", ago(25 * MINUTE), 3, When::Now).await;
    let worker = Worker::new(later(now, MINUTE), Retry::default());
    stage.queues.jobs(&stage.table).start(&lives.key(), &worker).await.unwrap().done().unwrap();

    search_orphans_from(&stage, ago(36 * MINUTE)).await;
    let report = stage.pulse().await;
    assert_eq!(report["errors"], json!([]), "{report}");
    let run_ids = |sent: Vec<Message>| sent.into_iter().map(|it| it.run_id).collect::<BTreeSet<_>>();
    let mut first = run_ids(stage.queues.sent());
    first.remove(&old.id.to_string());
    assert_eq!(first, BTreeSet::from([lost.id.to_string()]));
    search_orphans_from(&stage, midnight.checked_sub(10 * MINUTE).unwrap()).await;
    stage.next_minute(0).await;
    stage.pulse().await;
    assert!(
        run_ids(stage.queues.sent()).contains(&old.id.to_string()),
        "old days are searched every 15 days"
    );

    // A worker that receives the message ends the job if no attempt is left.
    let worker = Worker { retry: Retry { max_attempts: 1, ..Retry::default() }, ..worker };
    for job in [lost, old] {
        let carried =
            stage.queues.jobs(&stage.table).process(&job.key(), &worker, async |_| panic!("it ran")).await;
        let Ok(JobOutcome::Over(run)) = carried else { panic!("{carried:?}") };
        assert!(run.reason().unwrap().starts_with("lost"), "{run:?}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q12_a_follower_starts_although_its_waker_died_at_any_step() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let jobs = stage.queues.jobs(&stage.table);
    let first = enqueue(&stage, "mail", now, 1, When::Now).await;
    let after = vec![first.key()];
    let follower = jobs.enqueue(NewJob { after, ..NewJob::of(name("report")) }).await.unwrap().key;
    let run =
        Run { status: Status::Completed, ..Run::begun(first.id, first.task.clone(), Trigger::Queue, now) };
    let _ = stage.table.end_job(&first, &run).await.unwrap();
    // The message cannot be sent, as if the process had died before: the follower stays in the index and waits.
    stage.queues.down(true);
    jobs.wake_followers(vec![follower.clone()]).await.unwrap();
    let Some(JobRecord::Open(waits)) = stage.table.job(&follower).await.unwrap() else {
        panic!("it is open")
    };
    assert_eq!(waits.after.len(), 1);
    stage.queues.down(false);
    // The waker died after it sent the message: the worker that receives the message starts the job.
    let worker = Worker::new(later(Timestamp::now(), MINUTE), Retry::default());
    let started = jobs.start(&follower, &worker).await.unwrap().done().unwrap();
    assert_eq!((started.fencing_token, started.after.len()), (1, 0));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q11_a_job_that_a_limit_keeps_waiting_waits_in_the_index() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let jobs = stage.queues.jobs(&stage.table);
    let limit = Some(Limit { key: "ada".into(), at_once: 1 });
    let new = NewJob { limit, ..NewJob::of(name("mail")) };
    let keys = jobs.enqueue_many(vec![new.clone(), new]).await.unwrap();
    let start = async |key: &JobKey| {
        let worker = Worker::new(later(Timestamp::now(), MINUTE), Retry::default());
        jobs.start(key, &worker).await.unwrap()
    };
    let first = start(&keys[0]).await.done().unwrap();
    assert!(matches!(start(&keys[1]).await, Conditional::Refused(JobOutcome::Refused(Refusal::Full { .. }))));
    // Makes the refusal five minutes old.
    let Some(JobRecord::Open(waits)) = stage.table.job(&keys[1]).await.unwrap() else { panic!("it is open") };
    assert!(waits.full_since.is_some());
    backdate(&stage, &keys[1], 5 * MINUTE).await;
    stage.queues.sent();
    let Conditional::Refused(JobOutcome::Refused(Refusal::Full { until })) = start(&keys[1]).await else {
        panic!("it is full")
    };
    assert!(until >= later(now, MINUTE), "{until}");
    assert_eq!(stage.queues.sent(), [], "a job that waits in the index gets no message");
    // The pulse sends one message, in time.
    let report = stage.pulse().await;
    assert_eq!((&report["rung"], &report["errors"]), (&json!(1), &json!([])), "{report}");
    let sent = stage.queues.sent();
    assert_eq!(sent[0].run_id, keys[1].run_id.to_string());
    assert!((30..=60).contains(&sent[0].delay_s), "{sent:?}");
    stage.next_minute(0).await;
    assert_eq!(stage.pulse().await["rung"], 0);
    // After it has started, it no longer counts as waiting.
    let run =
        Run { status: Status::Completed, ..Run::begun(first.id, first.task.clone(), Trigger::Queue, now) };
    let _ = stage.table.end_job(&first, &run).await.unwrap();
    backdate(&stage, &keys[1], 5 * MINUTE).await;
    assert_eq!(start(&keys[1]).await.done().unwrap().full_since, None);
    stage.end().await;
}

/// Moves the times of a job's first refusal and of its next attempt back.
async fn backdate(stage: &Stage, key: &JobKey, by: Duration) {
    let text = AttributeValue::S;
    let at = Timestamp::now().checked_sub(by).unwrap().as_millisecond();
    let update = stage.table.client().update_item().table_name("lamplighter");
    let update = update.key("pk", text(format!("RUNS#{}#{}", key.task, key.run_id.shard())));
    let update = update.key("sk", text(key.run_id.to_string()));
    let update = update.update_expression("SET full_since = :at, not_before = :at");
    let update = update.expression_attribute_values(":at", AttributeValue::N(at.to_string()));
    update.send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q05_tasks_named_like_the_indexs_own_entries_are_woken_as_any_other() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let jobs = stage.queues.jobs(&stage.table);
    // Jobs of the tasks `q` and `queues` for a runner, one of each priority.
    let mut of_runner = Vec::new();
    for (number, (task, priority)) in
        ["q", "queues"].iter().flat_map(|task| Priority::ALL.iter().map(move |it| (task, it))).enumerate()
    {
        let new = NewJob { priority: *priority, ..NewJob::of(name(task)) };
        let job = new.job(RunId::of_job(now, (number as u128) << 70), now).unwrap();
        let _ = stage.table.enqueue(&job, &JobKeys::default(), Transport::Runner, now).await.unwrap();
        of_runner.push(job);
    }
    let ago = now.checked_sub(DAY).unwrap();
    let delayed = enqueue(&stage, "q", ago, 1, When::In(20 * MINUTE)).await;
    // An index entry as an earlier version wrote it.
    let old = enqueue(&stage, "mail", ago, 2, When::In(20 * MINUTE)).await;
    let update = stage.table.client().update_item().table_name("lamplighter");
    let update = update.key("pk", AttributeValue::S(format!("RUNS#mail#{}", old.id.shard())));
    let update = update.key("sk", AttributeValue::S(old.id.to_string()));
    let pk = AttributeValue::S(format!("DUE#q#{}", old.id.shard() % 8));
    let update = update.update_expression("SET due_pk = :pk").expression_attribute_values(":pk", pk);
    update.send().await.unwrap();

    let mut woken = BTreeSet::new();
    for minute in 0..8 {
        let report = jobs.wake_due(later(now, minute * MINUTE), Timestamp::MAX).await.unwrap();
        assert_eq!((report.errors, report.looked_at), (Vec::new(), 0));
        woken.extend(stage.queues.sent().into_iter().map(|it| it.run_id));
    }
    assert_eq!(woken, BTreeSet::from([delayed.id, old.id].map(|id| id.to_string())));
    let report = jobs.wake_due(now, Timestamp::MAX).await.unwrap();
    assert_eq!(report.sent, 0, "they were removed from the index");
    // The runner finds its own jobs.
    for job in of_runner {
        let due = stage.table.due_for_runner(&job.task, job.priority, 10).await.unwrap();
        assert_eq!(due.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [job.key()]);
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q07_q14_a_job_without_a_queue_leaves_no_id_behind() {
    let stage = Stage::new(Timestamp::now(), 0, vec![]).await;
    let jobs = stage.queues.jobs(&stage.table);
    stage.queues.delete("mail");
    let new = NewJob { id: Some("order-42".into()), ..NewJob::of(name("mail")) };
    let error = jobs.enqueue(new).await.unwrap_err();
    assert!(error.to_string().contains("has no queue"), "{error}");
    let found = stage.table.client().scan().table_name("lamplighter").send().await.unwrap();
    let left: Vec<_> = found.items().iter().filter_map(|item| item["pk"].as_s().ok()).collect();
    assert!(left.iter().all(|pk| *pk == "PULSE"), "{left:?}");
    stage.end().await;
}
