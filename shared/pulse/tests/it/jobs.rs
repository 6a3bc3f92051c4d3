//! Q05: jobs whose time is further off than SQS can hold a message back, and those whose message was not sent.

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use lamplighter_aws::{
    jobs::{Carried, Worker},
    table::{Enqueued, Found, JobKeys, Transport},
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

/// Writes down a job that was enqueued at `at`, and tells nobody.
async fn enqueue(stage: &Stage, task: &str, at: Timestamp, number: u128, when: When) -> Job {
    let new = NewJob { when, ..NewJob::of(name(task)) };
    let job = new.job(RunId::of_job(at, number << 70), at).unwrap();
    let enqueued = stage.table.enqueue(&job, &JobKeys::default(), Transport::Queue, at).await.unwrap();
    assert_eq!(enqueued, Enqueued::New);
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q05_20_minutes_and_30_days_are_told_in_time_and_never_early() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let jobs = stage.queues.jobs(&stage.table);
    let soon = enqueue(&stage, "mail", now, 1, When::In(20 * MINUTE)).await;
    let far = enqueue(&stage, "mail", now, 2, When::In(30 * DAY)).await;
    let ring = async |at: Timestamp| {
        let woken = jobs.wake_due(at, Timestamp::MAX).await.unwrap();
        assert_eq!((woken.errors, woken.looked_at), (Vec::new(), 0));
        stage.queues.sent().into_iter().map(|it| (it.run_id, it.delay_s)).collect::<Vec<_>>()
    };
    // A pulse a minute, from the enqueue on.
    let mut told = Vec::new();
    for minute in 0..25 {
        let at = later(now, minute * MINUTE);
        told.extend(ring(at).await.into_iter().map(|(id, delay)| (minute, id, delay)));
    }
    // With five minutes past there are 15 left, which SQS waits for.
    assert_eq!(told, [(5, soon.id.to_string(), 900)]);
    assert_eq!(ring(later(now, 29 * DAY)).await, []);
    // After a pause of the pulse the message is sent with what is left, and later at once.
    assert_eq!(ring(later(now, 29 * DAY + 1438 * MINUTE)).await, [(far.id.to_string(), 120)]);
    assert_eq!(ring(later(now, 31 * DAY)).await, []);
    let late = enqueue(&stage, "mail", now, 3, When::In(20 * MINUTE)).await;
    assert_eq!(ring(later(now, DAY)).await, [(late.id.to_string(), 0)]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q05_a_pulse_sends_what_is_due_once_and_says_so() {
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
    // Ten of a partition with a request, at most.
    assert!(stage.queues.requests() <= 8 * 2 + 12, "{}", stage.queues.requests());
    stage.next_minute(0).await;
    let report = stage.pulse().await;
    assert_eq!((&report["rung"], stage.queues.sent().len()), (&json!(0), 0), "{report}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_message_was_not_sent_is_told_of_by_the_next_pulse() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let jobs = stage.queues.jobs(&stage.table);
    stage.queues.down(true);
    let parked = jobs.enqueue(NewJob::of(name("mail"))).await.unwrap().key;
    let report = stage.pulse().await;
    assert_eq!(report["rung"], 0, "{report}");
    assert!(report["errors"][0].as_str().unwrap().contains("AccessDenied"), "{report}");
    stage.queues.down(false);
    // The queue of a task that was removed is nobody else's fault.
    let gone = enqueue(&stage, "gone", now.checked_sub(DAY).unwrap(), 1, When::In(20 * MINUTE)).await;
    stage.queues.delete("gone");
    stage.next_minute(0).await;
    let report = stage.pulse().await;
    assert_eq!(report["rung"], 1, "{report}");
    assert!(report["errors"][0].as_str().unwrap().contains("`gone` has no queue"), "{report}");
    assert_eq!(stage.queues.sent()[0].run_id, parked.run_id.to_string());
    let found = stage.table.job(&gone.key()).await.unwrap();
    assert!(matches!(found, Some(Found::Open(job)) if job.status == Status::Pending));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_nobody_woke_is_found_by_the_pulse() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let first = enqueue(&stage, "mail", now, 1, When::Now).await;
    let after = |key: &JobKey| NewJob { after: vec![key.clone()], ..NewJob::of(name("report")) };
    let jobs = stage.queues.jobs(&stage.table);
    let follower = jobs.enqueue(after(&first.key())).await.unwrap().key;
    let report = stage.pulse().await;
    assert_eq!((&report["rung"], stage.queues.sent().len()), (&json!(0), 0), "{report}");
    // Whoever ended the first died before it could wake the second.
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
async fn a_job_whose_enqueuer_died_before_its_message_is_found_and_told_of_once() {
    let now = Timestamp::now();
    let mut mail = probe("mail", now, [0]);
    let queue = Queue { priority: Priority::default(), concurrency: None, arguments_schema: json!({}) };
    mail.planned.definition.kind = Kind::Queue(queue);
    let stage = Stage::new(now, 0, vec![mail]).await;
    let ago = |minutes: u32| now.checked_sub(MINUTE * minutes).unwrap();
    let orphan = enqueue(&stage, "mail", ago(30), 3, When::Now).await;
    let other = enqueue(&stage, "mail", ago(21), 7, When::In(15 * MINUTE)).await;
    // SQS may still have the message of the first; the others are known to somebody.
    enqueue(&stage, "mail", ago(15), 4, When::In(15 * MINUTE)).await;
    enqueue(&stage, "mail", ago(30), 5, When::In(DAY)).await;
    // It found no place a moment ago, and has a message for its next look.
    let full = enqueue(&stage, "mail", ago(30), 8, When::Now).await;
    assert!(stage.table.put_off(&full, now, Wait::in_queue(Duration::ZERO), Transport::Queue).await.unwrap());
    let over = enqueue(&stage, "mail", ago(30), 6, When::Now).await;
    let run =
        Run { status: Status::Completed, ..Run::begun(over.id, over.task.clone(), Trigger::Queue, now) };
    let _ = stage.table.end_job(&over, &run).await.unwrap();
    let orphans_checked_until = async |minutes: u32| {
        let seen = stage.table.pulse_state().await.unwrap();
        let next = State { orphans_checked_until: Some(ago(minutes)), ..seen.clone() };
        assert!(stage.table.keep_pulse_state(&next, &seen).await.unwrap());
    };
    orphans_checked_until(36).await;
    stage.queues.down(true);
    let report = stage.pulse().await;
    assert_eq!(report["rung"], 0, "{report}");
    stage.queues.down(false);
    // What could not be sent then is parked, and nothing is looked at twice.
    stage.next_minute(0).await;
    let report = stage.pulse().await;
    assert_eq!((&report["rung"], &report["errors"]), (&json!(2), &json!([])), "{report}");
    let sent: BTreeSet<_> = stage.queues.sent().into_iter().map(|it| it.run_id).collect();
    assert_eq!(sent, BTreeSet::from([orphan.id.to_string(), other.id.to_string()]));
    stage.next_minute(0).await;
    assert_eq!(stage.pulse().await["rung"], 0);
    orphans_checked_until(36).await;
    stage.next_minute(0).await;
    assert_eq!(stage.pulse().await["rung"], 2, "the records themselves still say that nobody started them");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q11_a_job_that_finds_no_place_is_told_of_again_and_else_keeps_its_message() {
    let stage = Stage::new(Timestamp::now(), 0, vec![]).await;
    let jobs = stage.queues.jobs(&stage.table);
    let limit = Some(Limit { key: "ada".into(), at_once: 1 });
    let new = NewJob { limit, ..NewJob::of(name("mail")) };
    let keys = jobs.enqueue_many(vec![new.clone(), new]).await.unwrap();
    let start = async |key: &JobKey| {
        let worker = Worker::new(later(Timestamp::now(), MINUTE), Retry::default());
        jobs.start(key, &worker).await.unwrap()
    };
    let first = start(&keys[0]).await.unwrap();
    stage.queues.sent();
    let Err(Carried::Refused(Refusal::Full { until })) = start(&keys[1]).await else { panic!("it is full") };
    let sent = stage.queues.sent();
    assert_eq!((sent.len(), &sent[0].run_id, sent[0].delay_s), (1, &keys[1].run_id.to_string(), 1));

    let left = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
    tokio::time::sleep(left + Duration::from_millis(1)).await;
    stage.queues.down(true);
    let held = start(&keys[1]).await.unwrap_err();
    assert!(matches!(held, Carried::Refused(Refusal::NotBefore { .. })), "{held:?}");
    stage.queues.down(false);
    assert_eq!(first.fencing_token, 1);
    stage.end().await;
}

/// Ends the lease of a job, as if its worker had died a while ago.
async fn lose(stage: &Stage, key: &JobKey, ago: Duration) {
    let jobs = stage.queues.jobs(&stage.table);
    let until = Timestamp::now().checked_sub(ago).unwrap();
    let worker = Worker { holder: "dead".into(), ..Worker::new(until, Retry::default()) };
    jobs.start(key, &worker).await.unwrap().unwrap();
}

fn queue_task(now: Timestamp, task: &str) -> Probe {
    let mut probe = probe(task, now, [0]);
    let queue = Queue { priority: Priority::default(), concurrency: None, arguments_schema: json!({}) };
    probe.planned.definition.kind = Kind::Queue(queue);
    probe
}

/// Has the pulse look from `heard` on for jobs that no message tells of.
async fn look_from(stage: &Stage, orphans_checked_until: Timestamp) {
    let seen = stage.table.pulse_state().await.unwrap();
    let next = State { orphans_checked_until: Some(orphans_checked_until), ..seen.clone() };
    assert!(stage.table.keep_pulse_state(&next, &seen).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q10_a_running_job_whose_message_is_gone_is_found_and_ends() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![queue_task(now, "mail")]).await;
    let ago = |time: Duration| now.checked_sub(time).unwrap();
    let lost = enqueue(&stage, "mail", ago(25 * MINUTE), 1, When::Now).await;
    lose(&stage, &lost.key(), 5 * MINUTE).await;
    // One that was delayed for long lost its worker and its message much later.
    let midnight = Timestamp::from_second(now.as_second().div_euclid(86_400) * 86_400).unwrap();
    let midnight = if midnight > ago(30 * MINUTE) { midnight.checked_sub(DAY).unwrap() } else { midnight };
    let old = enqueue(&stage, "mail", midnight.checked_sub(DAY / 2 * 61).unwrap(), 2, When::Now).await;
    lose(&stage, &old.key(), DAY).await;
    // A worker that lives has its message.
    let lives = enqueue(&stage, "mail", ago(25 * MINUTE), 3, When::Now).await;
    let worker = Worker::new(later(now, MINUTE), Retry::default());
    stage.queues.jobs(&stage.table).start(&lives.key(), &worker).await.unwrap().unwrap();

    look_from(&stage, ago(36 * MINUTE)).await;
    let report = stage.pulse().await;
    assert_eq!(report["errors"], json!([]), "{report}");
    let told = |sent: Vec<Message>| sent.into_iter().map(|it| it.run_id).collect::<BTreeSet<_>>();
    let mut first = told(stage.queues.sent());
    first.remove(&old.id.to_string());
    assert_eq!(first, BTreeSet::from([lost.id.to_string()]));
    look_from(&stage, midnight.checked_sub(10 * MINUTE).unwrap()).await;
    stage.next_minute(0).await;
    stage.pulse().await;
    assert!(told(stage.queues.sent()).contains(&old.id.to_string()), "it is looked at every 15 days");

    // Whoever gets the message ends it, if it has had its attempts.
    let worker = Worker { retry: Retry { max_attempts: 1, ..Retry::default() }, ..worker };
    for job in [lost, old] {
        let carried =
            stage.queues.jobs(&stage.table).carry(&job.key(), &worker, async |_| panic!("it ran")).await;
        let Ok(Carried::Over(run)) = carried else { panic!("{carried:?}") };
        assert!(run.reason().unwrap().starts_with("lost"), "{run:?}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q12_a_follower_survives_its_wakers_death_at_any_step() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let jobs = stage.queues.jobs(&stage.table);
    let first = enqueue(&stage, "mail", now, 1, When::Now).await;
    let after = vec![first.key()];
    let follower = jobs.enqueue(NewJob { after, ..NewJob::of(name("report")) }).await.unwrap().key;
    let run =
        Run { status: Status::Completed, ..Run::begun(first.id, first.task.clone(), Trigger::Queue, now) };
    let _ = stage.table.end_job(&first, &run).await.unwrap();
    // It died before its message: the follower still stands in the index, and waits.
    stage.queues.down(true);
    jobs.wake(vec![follower.clone()]).await.unwrap();
    let Some(Found::Open(waits)) = stage.table.job(&follower).await.unwrap() else { panic!("it is open") };
    assert_eq!(waits.after.len(), 1);
    stage.queues.down(false);
    // It died after the message and before the write: whoever gets the message lets the job start.
    let worker = Worker::new(later(Timestamp::now(), MINUTE), Retry::default());
    let started = jobs.start(&follower, &worker).await.unwrap().unwrap();
    assert_eq!((started.fencing_token, started.after.len()), (1, 0));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q11_a_job_that_waits_for_a_place_for_long_waits_in_the_index() {
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
    let first = start(&keys[0]).await.unwrap();
    assert!(matches!(start(&keys[1]).await, Err(Carried::Refused(Refusal::Full { .. }))));
    // As if that had been a while ago.
    let Some(Found::Open(waits)) = stage.table.job(&keys[1]).await.unwrap() else { panic!("it is open") };
    assert!(waits.full_since.is_some());
    backdate(&stage, &keys[1], 5 * MINUTE).await;
    stage.queues.sent();
    let Err(Carried::Refused(Refusal::Full { until })) = start(&keys[1]).await else { panic!("it is full") };
    assert!(until >= later(now, MINUTE), "{until}");
    assert_eq!(stage.queues.sent(), [], "it costs no message");
    // The pulse tells of it once, in time.
    let report = stage.pulse().await;
    assert_eq!((&report["rung"], &report["errors"]), (&json!(1), &json!([])), "{report}");
    let sent = stage.queues.sent();
    assert_eq!(sent[0].run_id, keys[1].run_id.to_string());
    assert!((30..=60).contains(&sent[0].delay_s), "{sent:?}");
    stage.next_minute(0).await;
    assert_eq!(stage.pulse().await["rung"], 0);
    // Once it has a place it has not waited at all.
    let run =
        Run { status: Status::Completed, ..Run::begun(first.id, first.task.clone(), Trigger::Queue, now) };
    let _ = stage.table.end_job(&first, &run).await.unwrap();
    backdate(&stage, &keys[1], 5 * MINUTE).await;
    assert_eq!(start(&keys[1]).await.unwrap().full_since, None);
    stage.end().await;
}

/// Makes it so long ago that a job first found no place, and that it was to look again.
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
async fn a_task_named_as_the_queues_own_entries_does_no_harm() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let jobs = stage.queues.jobs(&stage.table);
    // Jobs of such tasks that are a runner's, one of each priority.
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
    // What an earlier version put into the index.
    let old = enqueue(&stage, "mail", ago, 2, When::In(20 * MINUTE)).await;
    let update = stage.table.client().update_item().table_name("lamplighter");
    let update = update.key("pk", AttributeValue::S(format!("RUNS#mail#{}", old.id.shard())));
    let update = update.key("sk", AttributeValue::S(old.id.to_string()));
    let pk = AttributeValue::S(format!("DUE#q#{}", old.id.shard() % 8));
    let update = update.update_expression("SET due_pk = :pk").expression_attribute_values(":pk", pk);
    update.send().await.unwrap();

    let mut told = BTreeSet::new();
    for minute in 0..8 {
        let woken = jobs.wake_due(later(now, minute * MINUTE), Timestamp::MAX).await.unwrap();
        assert_eq!((woken.errors, woken.looked_at), (Vec::new(), 0));
        told.extend(stage.queues.sent().into_iter().map(|it| it.run_id));
    }
    assert_eq!(told, BTreeSet::from([delayed.id, old.id].map(|id| id.to_string())));
    let woken = jobs.wake_due(now, Timestamp::MAX).await.unwrap();
    assert_eq!(woken.sent, 0, "they were taken off the index");
    // The runner's stand where it looks for them.
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
