//! Queue tasks: batches of SQS messages, and jobs started by a runner.

use std::time::Duration;

use lamplighter::Enqueue;
use lamplighter_aws::{
    jobs::{JobOutcome, Jobs, Waker, Worker},
    table::{AbortOutcome, JobRecord},
};
use lamplighter_core::{
    definition::Priority,
    id::RunId,
    job::{
        AttemptOutcome, Job, JobKey, NewJob,
        attempts::{AttemptReport, Attempts},
    },
    retry::Retry,
    run::{ErrorKind, Run},
    status::Status,
};
use lamplighter_local::{Bucket, FunctionSpec};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::world::{World, binary, objects};

const PROBE: &str = "job-probe";

async fn world() -> (World, Jobs) {
    world_with(None).await
}

async fn world_with(bucket: Option<&Bucket>) -> (World, Jobs) {
    let world = World::new().await;
    let mut spec = FunctionSpec::new(PROBE, binary().with_file_name("job_probe"));
    spec.timeout = Duration::from_secs(20);
    spec.environment = world.spec(json!({})).environment;
    let mut table = world.table.clone();
    if let Some(bucket) = bucket {
        spec.environment.extend(bucket.variables());
        spec.environment.insert("LAMPLIGHTER_BUCKET".to_owned(), "values".to_owned());
        table = table.with_objects(objects(bucket));
    }
    world.host.register(spec);
    (world, Jobs::new(table, Waker::Runner { to: None }))
}

fn new(arguments: Value) -> NewJob {
    NewJob { arguments, ..NewJob::of(PROBE.parse().unwrap()) }
}

async fn enqueue(jobs: &Jobs, mode: &str) -> JobKey {
    jobs.enqueue(new(json!({ "mode": mode, "value": { "n": null, "ż": [1.5] } }))).await.unwrap().key
}

/// Delivers messages with these bodies to the function. Returns the positions of those to redeliver.
async fn deliver(world: &World, bodies: &[String]) -> Vec<usize> {
    let records: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(i, body)| json!({ "messageId": i.to_string(), "receiptHandle": "r", "body": body }))
        .collect();
    let invocation = world.host.invoke(PROBE, json!({ "Records": records }).to_string()).await.unwrap();
    let answer: Value = serde_json::from_slice(&invocation.payload).unwrap();
    assert!(!invocation.failed, "{answer}");
    let failures = answer["batchItemFailures"].as_array().unwrap().iter();
    failures.map(|it| it["itemIdentifier"].as_str().unwrap().parse().unwrap()).collect()
}

fn message(key: &JobKey) -> String {
    serde_json::to_string(key).unwrap()
}

async fn over(jobs: &Jobs, key: &JobKey) -> Run {
    jobs.wait(key, Duration::ZERO).await.unwrap().expect("the job has not ended")
}

#[tokio::test]
async fn q02_a_message_starts_its_job_once_and_the_result_is_the_bodys() {
    let (world, jobs) = world().await;
    let key = enqueue(&jobs, "echo").await;
    assert_eq!(deliver(&world, &[message(&key)]).await, [0; 0]);
    let run = over(&jobs, &key).await;
    assert_eq!((run.status, run.message.as_deref()), (Status::Completed, Some("said")));
    assert_eq!(run.data, Some(json!({ "n": null, "ż": [1.5] })));
    assert_eq!(deliver(&world, &[message(&key)]).await, [0; 0]);
    assert_eq!(world.bodies(), 1);
}

#[tokio::test]
async fn q02_ten_megabytes_of_arguments_are_returned_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(folder.path(), "values").await.unwrap();
    let (world, jobs) = world_with(Some(&bucket)).await;
    let value = json!({ "null": null, "ż": ["ółw".repeat(2_500_000), { "deep": [[1.5]] }] });
    assert!(value.to_string().len() > 10_000_000);
    let arguments = json!({ "mode": "echo", "value": value });
    let one = jobs.enqueue(new(arguments.clone())).await.unwrap().key;
    let many = jobs.enqueue_many(vec![new(arguments.clone())]).await.unwrap().remove(0);
    assert_eq!(deliver(&world, &[message(&one)]).await, [0; 0]);
    let run = jobs.table().whole(over(&jobs, &one).await).await.unwrap();
    assert_eq!((run.status, run.error), (Status::Completed, None));
    assert!(run.arguments == arguments && run.data == Some(value.clone()));
    // A runner sends only the location of the arguments.
    let job = jobs.start(&many, &worker()).await.unwrap().done().unwrap();
    let tried = started(&world, &job).await;
    assert_eq!(jobs.table().whole(tried.run.clone()).await.unwrap().data, Some(value));
    assert!(matches!(jobs.conclude(&job, tried, &worker()).await.unwrap(), JobOutcome::Over(_)));
    let run = jobs.table().whole(over(&jobs, &many).await).await.unwrap();
    assert!(run.arguments == arguments);
}

/// The case `big-result`: waiting without a limit returns a result of any size.
#[tokio::test]
async fn q02_a_large_result_is_returned_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(folder.path(), "values").await.unwrap();
    let (world, jobs) = world_with(Some(&bucket)).await;
    let text = "x".repeat(200_000);
    let arguments = json!({ "mode": "echo", "value": text });
    let job = Enqueue::<String>::new(&jobs, PROBE, Priority::default(), &arguments).await.unwrap();
    let (delivered, result) =
        tokio::join!(async { deliver(&world, &[message(job.id())]).await }, job.result(Duration::MAX));
    assert_eq!(delivered, [0; 0]);
    assert!(result.unwrap() == text);
    let run = over(&jobs, job.id()).await;
    assert!(run.data.is_none() && run.large.contains_key("data"), "it is in the bucket");
    // Without access to the bucket the error says so, instead of a type mismatch.
    let without = Jobs::new(world.table.clone(), Waker::Runner { to: None });
    let other = lamplighter::Job::<String>::of(without, job.id().clone());
    let error = other.result(Duration::ZERO).await.unwrap_err().to_string();
    assert!(error.contains("LAMPLIGHTER_BUCKET"), "{error}");
}

#[tokio::test]
async fn q15_in_a_batch_of_ten_with_one_poisonous_message_nine_complete_and_one_is_redelivered() {
    let (world, jobs) = world().await;
    let mut keys = Vec::new();
    for i in 0..10 {
        keys.push(enqueue(&jobs, if i == 4 { "error" } else { "echo" }).await);
    }
    let bodies: Vec<_> = keys.iter().map(message).collect();
    assert_eq!(deliver(&world, &bodies).await, [4]);
    for (i, key) in keys.iter().enumerate() {
        let status = match jobs.find(key).await.unwrap().unwrap() {
            JobRecord::Open(job) => job.status,
            JobRecord::Over(run) => run.status,
        };
        assert_eq!(status, if i == 4 { Status::Pending } else { Status::Completed }, "{i}");
    }
}

#[tokio::test]
async fn q14_a_foreign_message_is_left_to_the_dead_letter_queue() {
    let (world, jobs) = world().await;
    let key = enqueue(&jobs, "echo").await;
    let other = JobKey { task: "another".parse().unwrap(), ..key.clone() };
    let bodies = ["hello", "{}", "[]"].map(str::to_owned).into_iter().chain([message(&other), message(&key)]);
    assert_eq!(deliver(&world, &bodies.collect::<Vec<_>>()).await, [0, 1, 2, 3]);
    assert_eq!(over(&jobs, &key).await.status, Status::Completed);
}

#[tokio::test]
async fn q09_each_delivery_makes_one_attempt_until_none_is_left() {
    let (world, jobs) = world().await;
    let (never, later) = (enqueue(&jobs, "error").await, enqueue(&jobs, "error-once").await);
    let bodies = [message(&never), message(&later)];
    let mut rounds = 0;
    while !deliver(&world, &bodies).await.is_empty() {
        rounds += 1;
        assert!(rounds < 200, "the messages are still redelivered after 200 rounds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let run = over(&jobs, &never).await;
    assert_eq!((run.status, run.attempts.len()), (Status::Failed, 3));
    assert_eq!(run.error.unwrap().message, "it does not work");
    let run = over(&jobs, &later).await;
    assert_eq!((run.status, run.attempts.len()), (Status::Completed, 2));
    assert_eq!(world.bodies(), 5);
}

#[tokio::test]
async fn q02_invalid_arguments_fail_the_job_at_once() {
    let (world, jobs) = world().await;
    let key = jobs.enqueue(new(json!({ "mood": "echo" }))).await.unwrap().key;
    assert_eq!(deliver(&world, &[message(&key)]).await, [0; 0]);
    let run = over(&jobs, &key).await;
    let error = run.error.unwrap();
    assert_eq!((error.kind, run.attempts.len()), (ErrorKind::Configuration, 1));
    assert!(error.message.contains("missing field `mode`"), "{error}");
}

fn worker() -> Worker {
    let until = "2100-01-01T00:00:00Z".parse().unwrap();
    Worker { holder: "w".into(), until, retry: Retry::default(), jitter: 0.0 }
}

/// Makes the attempt at a started job, as a runner does, and returns its outcome.
async fn started(world: &World, job: &Job) -> AttemptOutcome {
    let payload = serde_json::to_string(&Attempts { jobs: vec![job.into()] }).unwrap();
    let invocation = world.host.invoke(PROBE, payload).await.unwrap();
    assert!(!invocation.failed, "{}", String::from_utf8_lossy(&invocation.payload));
    let mut reports: Vec<AttemptReport> = serde_json::from_slice(&invocation.payload).unwrap();
    let Some(AttemptReport::Attempted { tried, .. }) = reports.pop() else { panic!("{reports:?}") };
    *tried
}

#[tokio::test]
async fn a_job_started_by_a_runner_is_attempted_and_not_recorded() {
    let (world, jobs) = world().await;
    let key = enqueue(&jobs, "error").await;
    let JobRecord::Open(job) = jobs.find(&key).await.unwrap().unwrap() else { panic!("it is over") };
    let tried = started(&world, &Job { fencing_token: 2, ..*job }).await;
    assert!(tried.retryable);
    assert_eq!((tried.run.status, tried.run.attempts.len()), (Status::Failed, 1));
    assert_eq!(world.marks("bodies"), [format!("{} 2", key.run_id)]);
    assert!(matches!(jobs.find(&key).await.unwrap(), Some(JobRecord::Open(_))));
}

/// Jobs started by a runner, one for each mode.
async fn waiting(jobs: &Jobs, modes: &[&str]) -> Vec<Job> {
    let mut open = Vec::new();
    for mode in modes {
        let JobRecord::Open(job) = jobs.find(&enqueue(jobs, mode).await).await.unwrap().unwrap() else {
            panic!("it is over")
        };
        open.push(Job { fencing_token: 1, ..*job });
    }
    open
}

/// The results of jobs that share an invocation: those during the invocation, and those at its end.
async fn together(world: &World, jobs: &[Job]) -> (Vec<AttemptReport>, Vec<AttemptReport>) {
    let payload = serde_json::to_vec(&Attempts { jobs: jobs.iter().map(Into::into).collect() }).unwrap();
    let (lines, mut heard) = mpsc::unbounded_channel();
    let invocation = world.host.invoke_by_line(PROBE, payload, None, lines).await.unwrap();
    assert!(!invocation.failed, "{}", String::from_utf8_lossy(&invocation.payload));
    let mut meanwhile = Vec::new();
    while let Ok(line) = heard.try_recv() {
        meanwhile.push(serde_json::from_slice::<AttemptReport>(&line).unwrap());
    }
    let at_last = if invocation.payload.is_empty() { b"[]" } else { &invocation.payload[..] };
    (meanwhile, serde_json::from_slice(at_last).unwrap())
}

fn status(report: &AttemptReport) -> (RunId, Status) {
    let AttemptReport::Attempted { tried, .. } = report else { panic!("{report:?}") };
    (tried.run.id, tried.run.status)
}

#[tokio::test]
async fn jobs_that_share_an_invocation_are_attempted_in_order() {
    let (world, jobs) = world().await;
    let started = waiting(&jobs, &["echo", "error", "echo"]).await;
    let mut all = Vec::new();
    // On a busy machine an attempt may take long, so that the jobs behind it are returned.
    for _ in 0..20 {
        if all.len() == started.len() {
            break;
        }
        let (meanwhile, at_last) = together(&world, &started[all.len()..]).await;
        let tried =
            meanwhile.iter().chain(&at_last).filter(|told| matches!(told, AttemptReport::Attempted { .. }));
        all.extend(tried.map(status));
    }
    let wanted = [Status::Completed, Status::Failed, Status::Completed];
    assert_eq!(all, started.iter().map(|job| job.id).zip(wanted).collect::<Vec<_>>());
    let bodies: Vec<_> = started.iter().map(|job| format!("{} 1", job.id)).collect();
    assert_eq!(world.marks("bodies"), bodies);
}

#[tokio::test]
async fn jobs_behind_a_long_attempt_are_returned_unstarted() {
    let (world, jobs) = world().await;
    let started = waiting(&jobs, &["echo", "sleep", "echo", "echo"]).await;
    let (meanwhile, at_last) = together(&world, &started).await;
    assert_eq!(at_last, []);
    let from = meanwhile.iter().find_map(|told| match told {
        AttemptReport::GivenBack { from } => Some(*from),
        AttemptReport::Attempted { .. } => None,
    });
    let kept = started.iter().position(|job| Some(job.id) == from).expect("no job was returned");
    // The third job waits for the second; on a busy machine the second may wait for the first.
    assert!((1..=2).contains(&kept), "{meanwhile:#?}");
    let tried = meanwhile.iter().filter(|told| matches!(told, AttemptReport::Attempted { .. }));
    let wanted = started[..kept].iter().map(|job| (job.id, Status::Completed));
    assert_eq!(tried.map(status).collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    // The result was sent before the long attempt ended.
    assert!(!matches!(meanwhile.last(), Some(AttemptReport::GivenBack { .. })), "{meanwhile:#?}");
    assert_eq!(world.marks("bodies").len(), kept);
}

#[tokio::test]
async fn q04_a_running_job_that_is_aborted_is_cancelled() {
    let (world, jobs) = world().await;
    let key = enqueue(&jobs, "wait").await;
    let job = jobs.start(&key, &worker()).await.unwrap().done().unwrap();
    let aborting = async {
        world.body_begun().await;
        assert_eq!(jobs.abort(&key).await.unwrap(), AbortOutcome::Asked);
    };
    let (tried, ()) = tokio::join!(started(&world, &job), aborting);
    assert_eq!(tried.run.status, Status::Cancelled);
}
