//! The results of bodies, and their records.

use std::time::{Duration, Instant};

use lamplighter_core::{run::ErrorKind, status::Status};
use serde_json::json;

use crate::world::{Gate, RUN, World, answer, deploy, task};

/// A timeout that ends a body, but not before it has started on a busy machine.
const SHORT_MS: u32 = 2000;

/// Returns the status, error kind and message of a failed run.
async fn failure(mode: &str) -> (World, Status, ErrorKind, String) {
    let world = World::with(json!({ "mode": mode })).await;
    let run = world.run().await;
    let error = run.error.unwrap_or_else(|| panic!("{mode} did not fail"));
    (world, run.status, error.kind, error.message)
}

#[tokio::test]
async fn c18_a_runs_record_has_every_column() {
    let world = World::with(json!({ "count": 7 })).await;
    let invocation = world.invoke(json!({})).await;
    let run = world.last().await;
    assert!(!invocation.failed);
    assert_eq!(
        answer(&invocation),
        json!({
            "run_id": run.id, "task": "probe", "status": "COMPLETED", "message": "seen", "attempts": 1,
            "duration_ms": run.duration_ms(),
        })
    );
    assert_eq!((run.status, run.fencing_token, run.environment.as_str()), (Status::Completed, 1, "dev"));
    assert_eq!(run.config["count"], 7);
    assert!(run.log.unwrap().starts_with("/aws/lambda/probe local/[$LATEST]"));
    let [attempt] = &run.attempts[..] else { panic!("{:?}", run.attempts) };
    assert!(run.started_at <= attempt.started_at && attempt.error.is_none());

    let state = world.table.state(&run.task).await.unwrap();
    assert_eq!((state.lease, state.fencing_token), (None, 1), "the lease is released");
    let item = world.table.client().get_item().table_name("lamplighter");
    let key = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let item = item.key("pk", key("RUNS#probe#0")).key("sk", key(&run.id.to_string()));
    let item = item.send().await.unwrap().item.unwrap();
    let number = |name: &str| item[name].as_n().unwrap().parse::<i64>().unwrap();
    let took = run.completed_at.as_millisecond() - run.started_at.as_millisecond();
    assert!((number("duration_ms") - took).abs() <= 1, "duration = completed - started");
    assert_eq!(number("expires_at"), run.completed_at.as_second() + 30 * 24 * 3600);

    world.run().await;
    assert_eq!(world.last().await.fencing_token, 2);
}

#[tokio::test]
async fn l13_a_failure_outcome_is_final() {
    let (world, status, kind, message) = failure("failure").await;
    assert_eq!((status, kind, message.as_str()), (Status::Failed, ErrorKind::Execution, "it cannot be done"));
    assert_eq!(world.bodies(), 1);
}

#[tokio::test]
async fn c16_an_error_is_retried_and_then_final() {
    let (world, status, kind, message) = failure("error").await;
    assert_eq!((status, kind, message.as_str()), (Status::Failed, ErrorKind::Execution, "it does not work"));
    let run = world.last().await;
    assert_eq!((run.attempts.len(), world.bodies()), (2, 2));
    assert!(run.attempts[0].started_at <= run.attempts[1].started_at);
    assert!(run.attempts.iter().all(|a| a.error.as_ref().is_some_and(|e| e.message == "it does not work")));
    assert_eq!(world.marks("rollbacks").len(), 1, "undone once, after the final failure");

    world.register(json!({ "config": { "mode": "error" }, "max_attempts": 4 }));
    assert_eq!(world.run().await.attempts.len(), 4);
}

#[tokio::test]
async fn c16_a_body_that_fails_once_completes_with_two_attempts() {
    let world = World::with(json!({ "mode": "error-once" })).await;
    let run = world.run().await;
    assert_eq!((run.status, run.attempts.len()), (Status::Completed, 2));
    assert_eq!(run.attempts[0].error.as_ref().unwrap().message, "not at first");
    assert_eq!((&run.attempts[1].error, &run.error), (&None, &None));
    assert!(world.marks("rollbacks").is_empty());
    assert_eq!(run.data.unwrap()["attempt"], 2);
}

#[tokio::test]
async fn c16_the_pauses_between_attempts_grow_and_have_jitter() {
    let world = World::cron(json!({ "config": { "mode": "error" } }), &["PROBE_RETRIES"]).await;
    let run = world.run().await;
    assert_eq!((run.status, run.attempts.len(), world.bodies()), (Status::Failed, 12, 12));
    let pauses: Vec<_> = world.logged().iter().filter_map(|line| line["pause_ms"].as_i64()).collect();
    let bounds: Vec<_> = (0..11).map(|failures| 1 << failures).collect();
    assert_eq!(pauses.len(), bounds.len(), "{:#?}", world.lines());
    for (attempts, (pause, bound)) in run.attempts.windows(2).zip(pauses.iter().zip(&bounds)) {
        assert!(pause <= bound, "{pauses:?}");
        let waited = attempts[1].started_at.as_millisecond() - attempts[0].started_at.as_millisecond();
        assert!(waited >= pause - 1, "{waited} ms instead of {pause} ms");
    }
    // By chance, each of these two assertions fails in fewer than one of a million runs.
    assert!(pauses[6..].iter().sum::<i64>() > bounds[..5].iter().sum::<i64>(), "they grow: {pauses:?}");
    assert_ne!(pauses, bounds, "each is a random part of its bound");
}

#[tokio::test]
async fn c16_a_fatal_error_is_not_retried_and_has_its_cause() {
    let (world, status, kind, message) = failure("fatal").await;
    assert_eq!((status, kind, world.bodies()), (Status::Failed, ErrorKind::Execution, 1));
    assert!(message.contains("No such file"), "{message}");
}

#[tokio::test]
async fn c17_a_body_sets_the_kind_of_its_error() {
    for (mode, kind, attempts) in
        [("configuration", ErrorKind::Configuration, 1), ("dependency", ErrorKind::Dependency, 2)]
    {
        let (world, status, recorded, _) = failure(mode).await;
        assert_eq!((status, recorded, world.bodies()), (Status::Failed, kind, attempts), "{mode}");
        assert!(world.last().await.attempts.iter().all(|it| it.error.as_ref().unwrap().kind == kind));
    }
    // Timeout: l05 and c07. Execution: c16. System: c15.
}

#[tokio::test]
async fn a_commit_is_written_once_and_names_the_failed_condition() {
    let world = World::with(json!({ "mode": "commit" })).await;
    let run = world.run().await;
    assert_eq!(run.status, Status::Completed, "{:?}", run.error);
    assert_eq!(run.data.unwrap(), "the condition of write 0 does not hold, so that nothing was written");
}

#[tokio::test]
async fn p04_a_record_is_kept_for_the_tasks_retention() {
    let world = World::new().await;
    world.register(json!({ "config": {}, "retention_days": 7 }));
    assert_eq!(expires_after(&world).await, 7 * 24 * 3600);
    world.table.set(&task(), Some(r#"{"retention_days":90}"#)).await.unwrap();
    assert_eq!(expires_after(&world).await, 90 * 24 * 3600);
}

/// Returns the retention of a run's record, in seconds.
async fn expires_after(world: &World) -> i64 {
    let run = world.run().await;
    let key = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let item = world.table.client().get_item().table_name("lamplighter");
    let item = item.key("pk", key("RUNS#probe#0")).key("sk", key(&run.id.to_string()));
    let item = item.send().await.unwrap().item.unwrap();
    item["expires_at"].as_n().unwrap().parse::<i64>().unwrap() - run.completed_at.as_second()
}

#[tokio::test]
async fn l13_a_panic_fails_the_run_and_not_the_process() {
    for (mode, wanted) in [
        ("panic-str", "panicked: as asked"),
        ("panic-string", "panicked: as asked in dev"),
        ("panic-other", "panicked: without a message"),
    ] {
        let (world, status, kind, message) = failure(mode).await;
        assert_eq!((status, kind, message.as_str()), (Status::Failed, ErrorKind::Execution, wanted));
        assert_eq!(world.bodies(), 2, "a panic is retried");
        assert_lives_on(&world).await;
    }
}

#[tokio::test]
async fn panics_outside_the_body_are_recorded_too() {
    for (config, wanted) in [
        (json!({ "mode": "panic-in-validate" }), "invalid validation"),
        (json!({ "mode": "unspeakable" }), "beyond words"),
        (json!({ "brittle": "panic" }), "broken while it was read"),
    ] {
        let world = World::with(config).await;
        let run = world.run().await;
        let error = run.error.unwrap_or_else(|| panic!("{wanted}: {:?}", run.status));
        assert_eq!((run.status, error.message), (Status::Failed, format!("panicked: {wanted}")));
        assert_eq!(world.table.state(&run.task).await.unwrap().lease, None);
    }
}

#[tokio::test]
async fn a_configuration_that_panics_when_it_is_dropped_does_not_fail_the_run() {
    let world = World::with(json!({ "brittle": "panic-in-drop" })).await;
    assert_eq!(world.run().await.status, Status::Completed);
    world.line("dropped badly").await;
    assert_eq!(world.run().await.status, Status::Completed);
}

#[tokio::test]
async fn a_definition_that_panics_fails_the_invocation_and_claims_nothing() {
    let world = World::new().await;
    let mut spec = world.spec(json!({ "config": {} }));
    spec.environment.insert("PROBE_DEFAULT".to_owned(), "panic".to_owned());
    world.host.register(spec);
    let invocation = world.invoke(json!({})).await;
    assert!(invocation.failed);
    assert_eq!(answer(&invocation)["errorMessage"], "the task's definition panicked: no default today");
    assert!(world.line("no default today").await["message"].as_str().unwrap().starts_with("panicked at "));
    assert_eq!(world.table.state(&task()).await.unwrap().lease, None);
}

/// Checks that the process of the last body still serves, and has released its task.
async fn assert_lives_on(world: &World) {
    let before = world.marks("bodies").pop().unwrap();
    world.switch("context");
    let run = world.run().await;
    assert_eq!(run.status, Status::Completed);
    assert!(before.ends_with(&format!(" {}", run.data.unwrap()["pid"])), "another process: {before}");
}

#[tokio::test]
async fn l13_a_body_that_ends_the_process_fails_the_invocation_at_once() {
    for (mode, reason) in
        [("exit", "exited without providing a reason"), ("abort", "exited with error: signal: aborted")]
    {
        let world = World::with(json!({ "mode": mode })).await;
        let started = Instant::now();
        let invocation = world.invoke(json!({})).await;
        assert!(started.elapsed() < Duration::from_secs(10), "noticed long before the timeout");
        assert!(answer(&invocation)["errorMessage"].as_str().unwrap().contains(reason));
        assert_eq!(world.bodies(), 1);
        let state = world.table.state(&task()).await.unwrap();
        assert!(state.lease.is_some(), "the lease stays until a process finds it expired and ends the run");
    }
}

#[tokio::test]
async fn l05_a_body_past_its_timeout_is_stopped_and_recorded_as_timeout() {
    let world = World::new().await;
    world.register(json!({ "config": { "mode": "sleep" }, "timeout_ms": SHORT_MS }));
    let started = Instant::now();
    let invocation = world.invoke(json!({})).await;
    let took = started.elapsed();
    let run = world.last().await;
    assert_eq!(run.status, Status::Timeout);
    let error = run.error.unwrap();
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(error.message.starts_with("timed out: the deadline passed "), "{}", error.message);
    assert_eq!(answer(&invocation), json!({ "errorType": "TIMEOUT", "errorMessage": error.message }));
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!((world.bodies(), run.attempts.len()), (1, 1));
    assert_eq!(world.marks("rollbacks").len(), 1);
    assert_lives_on(&world).await;
}

#[tokio::test]
async fn l05_an_earlier_end_of_the_invocation_is_the_deadline() {
    let world = World::new().await;
    let mut spec = world.spec(json!({ "config": { "mode": "sleep" } }));
    spec.timeout = Duration::from_secs(5);
    world.host.register(spec);
    let run = world.run().await;
    assert_eq!(run.status, Status::Timeout, "the timeout is recorded before the process is killed");
    assert_eq!(world.table.state(&run.task).await.unwrap().lease, None);
    // No time is left for a rollback.
    world.line("no time is left").await;
    assert!(world.marks("rollbacks").is_empty());
}

#[tokio::test]
async fn c07_cancellation_fires_and_leaves_time_to_clean_up() {
    let world = World::new().await;
    world.register(json!({ "config": { "mode": "wait-for-cancellation" }, "timeout_ms": SHORT_MS }));
    assert_eq!(world.run().await.status, Status::Timeout);
    assert!(world.folder().join("cancelled").exists());
    assert_lives_on(&world).await;
}

#[tokio::test]
async fn c07_a_body_that_never_yields_is_recorded_and_ends_with_its_process() {
    for mode in ["block", "spin", "block-everywhere", "use-the-table-then-block"] {
        let world = World::new().await;
        world.register(json!({ "config": { "mode": mode }, "timeout_ms": SHORT_MS }));
        let started = Instant::now();
        let invocation = world.invoke(json!({})).await;
        assert!(started.elapsed() < Duration::from_secs(10), "{mode}: ended by itself, not by the host");
        assert!(invocation.failed);
        let run = world.last().await;
        assert_eq!((run.status, run.error.unwrap().kind), (Status::Timeout, ErrorKind::Timeout), "{mode}");
        assert_eq!(world.table.state(&run.task).await.unwrap().lease, None);
        assert!(world.marks("rollbacks").is_empty(), "no rollback runs while the body still runs");
        assert_fresh(&world).await;
    }
}

#[tokio::test]
async fn c07_a_body_that_never_yields_ends_with_its_process_even_without_the_table() {
    let world = World::new().await;
    let mut gate = Gate::open(&world.dynamodb).await;
    let mut spec = world.spec(json!({ "config": { "mode": "block" }, "timeout_ms": SHORT_MS }));
    spec.environment.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), gate.endpoint());
    world.host.register(spec);
    let (invocation, ()) = tokio::join!(world.invoke(json!({})), async {
        world.body_begun().await;
        gate.shut();
    });
    assert!(invocation.failed);
    assert_eq!(world.runs().await, []);
    assert_eq!(world.host.kill("probe"), 0, "the process is gone, and the body with it");
}

/// Checks that the next run is in another process, and that no two bodies ran at once.
async fn assert_fresh(world: &World) {
    let before = world.marks("bodies").pop().unwrap();
    world.switch("context");
    let run = world.run().await;
    assert_eq!(run.status, Status::Completed);
    assert!(!before.ends_with(&format!(" {}", run.data.unwrap()["pid"])), "the same process: {before}");
    assert_eq!(world.marks("overlaps"), [""; 0]);
}

#[tokio::test]
async fn l12_the_history_has_the_whole_message_and_data() {
    let world = World::with(json!({ "mode": "large", "bytes": 250_000 })).await;
    let run = world.run().await;
    assert_eq!((run.status, run.message.as_deref()), (Status::Completed, Some("large")));
    assert_eq!(run.data.unwrap().as_str().unwrap().len(), 250_000);
}

#[tokio::test]
async fn data_too_large_for_a_record_fails_the_run() {
    let world = World::with(json!({ "mode": "large", "bytes": 5_000_000 })).await;
    let invocation = world.invoke(json!({})).await;
    let run = world.last().await;
    let error = run.error.unwrap();
    assert_eq!((run.status, error.kind), (Status::Failed, ErrorKind::Execution));
    assert!(error.message.starts_with("data has 5000002 bytes"), "{}", error.message);
    assert_eq!(answer(&invocation)["errorMessage"], error.message, "not the body's message of success");
    assert_eq!(run.message, None);
    assert_eq!(world.table.state(&run.task).await.unwrap().lease, None);
}

#[tokio::test]
async fn data_too_large_beside_the_configuration_fails_the_run_too() {
    let names = vec!["x".repeat(97); 1100];
    let world = World::with(json!({ "mode": "large", "bytes": 295_000, "names": names })).await;
    let run = world.run().await;
    assert_eq!(run.status, Status::Failed);
    assert!(run.reason().unwrap().contains("the table alone keeps at most 300000"), "{:?}", run.reason());
}

#[tokio::test]
async fn a_long_message_is_cut_between_characters() {
    let world = World::with(json!({ "mode": "long-message", "bytes": 100_000 })).await;
    let run = world.run().await;
    let message = run.error.unwrap().message;
    assert!(message.len() <= 8192 && message.len() > 8000 && message.chars().all(|c| c == '🕯'));
    assert!(run.attempts.iter().all(|a| a.error.as_ref().unwrap().message.len() <= 1024));
}

#[tokio::test]
async fn a_failed_rollback_is_logged_and_keeps_the_record() {
    let world = World::with(json!({ "mode": "failure", "names": ["bad-rollback"] })).await;
    let run = world.run().await;
    assert_eq!((run.status, run.reason()), (Status::Failed, Some("it cannot be done")));
    assert_eq!(world.marks("rollbacks").len(), 1, "tried once");
    world.line("rollback failed: cannot be undone").await;
}

#[tokio::test]
async fn a_rollback_of_the_stack_runs_only_the_rollback() {
    let world = World::with(json!({})).await;
    let run = deploy("rollback", RUN, "r2");
    let invocation = world.invoke(run).await;
    assert_eq!(answer(&invocation)["message"], "undone");
    assert_eq!((world.bodies(), world.marks("rollbacks").len()), (0, 1));

    world.register(json!({ "config": { "names": ["bad-rollback"] } }));
    let again = deploy("rollback", "01KAJ0000000000000000000RP", "r3");
    assert_eq!(answer(&world.invoke(again).await)["errorMessage"], "cannot be undone");
    assert_eq!(world.marks("rollbacks").len(), 2, "a failed rollback is not repeated");
    assert_eq!(world.last().await.status, Status::Failed);
}
