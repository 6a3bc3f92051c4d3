//! Jobs on an embedded engine: their records from the enqueue to the end.

mod enqueue;
mod group_commit;
mod limit;

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::{
    jobs::{JobOutcome, Jobs, Waker, Worker},
    table::{AbortOutcome, Conditional, History, JobKeys, JobRecord, JobStart, Transport},
};
use lamplighter_core::{
    definition::Priority,
    id::RunId,
    job::{AttemptOutcome, Job, JobKey, NewJob, Refusal, StartRequest, When},
    reason::Reason,
    retry::Retry,
    run::{Attempt, ErrorKind, Run, RunError, Trigger},
    status::Status,
};
use serde_json::json;

use crate::support::{Embedded, embedded};

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
    let outcome = jobs.process(key, &worker("w"), async |job| tried(job, None)).await.unwrap();
    let JobOutcome::Over(run) = outcome else { panic!("{outcome:?}") };
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
async fn q01_q02_an_enqueued_job_is_pending_and_its_values_return_unchanged() {
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
    // A repeated delivery finds the job over and runs nothing.
    let again = jobs.process(&key, &worker("v"), async |_| panic!("it ran twice")).await.unwrap();
    assert_eq!(again, JobOutcome::Over(Box::new(run)));
}

#[tokio::test]
async fn a_job_costs_three_write_units_plus_those_of_the_index_under_a_runner() {
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
async fn q10_a_zombie_can_neither_end_nor_release_a_job_that_was_taken_over() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let key = enqueue(&jobs, new()).await;
    let past = Timestamp::now().saturating_sub(Duration::from_secs(1)).unwrap();
    let zombie = Worker { until: past, ..worker("zombie") };
    let theirs = jobs.start(&key, &zombie).await.unwrap().done().unwrap();
    let mine = jobs.start(&key, &worker("successor")).await.unwrap().done().unwrap();
    assert_eq!((theirs.fencing_token, mine.fencing_token, mine.attempts.len()), (1, 2, 1));
    for error in [None, Some(failure())] {
        let late = jobs.conclude(&theirs, tried(&theirs, error), &zombie).await.unwrap();
        assert_eq!(late, JobOutcome::Lost);
    }
    let JobOutcome::Over(run) = jobs.conclude(&mine, tried(&mine, None), &worker("successor")).await.unwrap()
    else {
        panic!("the job is not over")
    };
    assert_eq!((run.status, run.attempts.len()), (Status::Completed, 2));
    let late = jobs.conclude(&theirs, tried(&theirs, None), &zombie).await.unwrap();
    assert_eq!(late, JobOutcome::Over(run));
}

#[tokio::test]
async fn q10_the_leases_of_a_dead_runner_are_revoked_and_no_others() {
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
    assert_eq!(jobs.revoke_leases(&task, "dead", longest).await.unwrap(), 0, "no lease is left to revoke");
    for key in &keys[..2] {
        let run = succeed(&jobs, key).await;
        assert_eq!((run.fencing_token, run.attempts.len()), (2, 2));
        assert!(run.attempts[0].error.as_ref().unwrap().message.starts_with("lost: "), "{run:?}");
    }
    let refused = jobs.start(&keys[2], &worker("successor")).await.unwrap();
    assert!(
        matches!(refused, Conditional::Refused(JobOutcome::Refused(Refusal::Running { .. }))),
        "{refused:?}"
    );
    assert_eq!(status(&jobs, &waiting).await, Status::Pending);
    // If the runner is still alive, it cannot end a job that another worker has started, and keeps a job that was not
    // started again.
    let late = jobs.conclude(&theirs[0], tried(&theirs[0], None), &worker("w").of("dead")).await.unwrap();
    assert!(matches!(late, JobOutcome::Over(run) if run.fencing_token == 2));
    assert_eq!(jobs.revoke_leases(&task, "alive", longest).await.unwrap(), 1);
    assert!(jobs.renew(&theirs[2], worker("w").until).await.unwrap());
    let refused = jobs.start(&keys[2], &worker("successor")).await.unwrap();
    assert!(
        matches!(refused, Conditional::Refused(JobOutcome::Refused(Refusal::Running { .. }))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn q09_a_failed_attempt_is_retried_and_the_last_one_ends_the_job() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded).with_failure_messages("shop");
    let key = enqueue(&jobs, new()).await;
    let messages = async || embedded.table.outbox(Timestamp::now(), 10).await.unwrap();
    for _ in 0..2 {
        let outcome =
            jobs.process(&key, &worker("w"), async |job| tried(job, Some(failure()))).await.unwrap();
        assert!(matches!(outcome, JobOutcome::Again { .. }), "{outcome:?}");
        assert_eq!(status(&jobs, &key).await, Status::Pending);
    }
    let outcome = jobs.process(&key, &worker("w"), async |job| tried(job, Some(failure()))).await.unwrap();
    let JobOutcome::Over(run) = outcome else { panic!("{outcome:?}") };
    assert_eq!((run.status, run.attempts.len()), (Status::Failed, 3));
    // A failed job leaves one notification, however often it is delivered. A completed job leaves none.
    let [message] = &messages().await[..] else { panic!("no message, or several") };
    let message = &message.message;
    assert_eq!((message.run_id, message.status.as_str()), (Some(key.run_id), "FAILED"));
    assert_eq!((message.stack.as_str(), &message.task), ("shop", &key.task));
    let again = jobs.process(&key, &worker("w"), async |_| panic!("it ran again")).await.unwrap();
    assert!(matches!(again, JobOutcome::Over(_)), "{again:?}");
    let good = enqueue(&jobs, new()).await;
    let outcome = jobs.process(&good, &worker("w"), async |job| tried(job, None)).await.unwrap();
    assert!(matches!(outcome, JobOutcome::Over(_)), "{outcome:?}");
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
    let run = tokio::time::timeout(Duration::from_secs(60), over).await.expect("the job did not end");
    assert_eq!((run.status, run.attempts.len()), (Status::Failed, 4));
    assert_eq!(pauses, [40, 80, 80].map(Duration::from_millis));
    for ((attempts, pause), start) in run.attempts.windows(2).zip(pauses).zip(starts) {
        // The table stores whole milliseconds.
        assert!(start.as_millisecond() >= (attempts[0].started_at + pause).as_millisecond(), "{run:?}");
        assert!(attempts[1].started_at.as_millisecond() >= start.as_millisecond(), "{run:?}");
    }
}

#[tokio::test]
async fn q04_an_abort_ends_a_pending_job_cancels_a_running_one_and_leaves_a_finished_one() {
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
    let unknown = JobKey { run_id: RunId::new(Timestamp::now(), 1), ..done };
    assert_eq!(jobs.abort(&unknown).await.unwrap(), AbortOutcome::Unknown);
}

#[tokio::test]
async fn q05_q08_a_job_starts_neither_before_its_time_nor_after_it_expired() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded);
    let delayed = enqueue(&jobs, NewJob { when: When::In(Duration::from_secs(60)), ..new() }).await;
    let outcome = jobs.process(&delayed, &worker("w"), async |_| panic!("it ran")).await.unwrap();
    assert!(matches!(outcome, JobOutcome::Refused(Refusal::NotBefore { .. })), "{outcome:?}");
    let due = jobs.table().due_for_runner(&delayed.task, Priority::Medium, 10).await.unwrap();
    assert!(matches!(&due[..], [(key, at)] if *key == delayed && *at > Timestamp::now()), "{due:?}");

    let hasty = enqueue(&jobs, NewJob { expires_in: Some(Duration::from_millis(1)), ..new() }).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let outcome = jobs.process(&hasty, &worker("w"), async |_| panic!("it ran")).await.unwrap();
    let JobOutcome::Over(run) = outcome else { panic!("{outcome:?}") };
    assert!(matches!(run.why, Some(Reason::Expired { .. })), "{run:?}");
    assert!(run.reason().unwrap().starts_with("expired"), "{run:?}");
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
