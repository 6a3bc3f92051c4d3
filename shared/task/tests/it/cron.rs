//! Cron tasks: schedule functions, buffered ticks, and tasks that run once.

use std::time::Duration;

use lamplighter_core::{run::ErrorKind, status::Status};
use serde_json::json;
use tokio::time::timeout;

use crate::world::{RUN, World, answer, task, tick};

const AT: &str = "2026-11-21T06:00:00Z";

/// A cron task that is due if the file `due` says so.
async fn dynamic(says: &str) -> World {
    let world = World::cron(json!({ "timeout_ms": 2000 }), &["PROBE_DYNAMIC"]).await;
    std::fs::write(world.folder().join("due"), says).unwrap();
    world
}

#[tokio::test]
async fn c04_a_task_that_is_not_due_does_not_run_and_is_not_recorded() {
    let world = dynamic("no").await;
    let invocation = world.invoke(tick(AT)).await;
    assert!(!invocation.failed);
    assert_eq!(answer(&invocation)["refused"], json!({ "reason": "not_due" }));
    assert_eq!((world.bodies(), world.runs().await), (0, vec![]));
    assert_eq!(world.table.state(&task()).await.unwrap().last_tick, None, "nothing was claimed");
    assert!(world.marks("asked")[0].starts_with(AT), "{:?}", world.marks("asked"));

    std::fs::write(world.folder().join("due"), "yes").unwrap();
    assert_eq!(answer(&world.invoke(tick(AT)).await)["status"], "COMPLETED");
    assert_eq!(world.last().await.scheduled_for.unwrap().to_string(), AT);
    let again = answer(&world.invoke(tick(AT)).await);
    assert_eq!(again["refused"]["reason"], "already_ran", "{again}");
}

#[tokio::test]
async fn c04_a_failing_schedule_function_is_recorded_and_the_body_does_not_run() {
    for (says, kind, wanted) in [
        ("panic", ErrorKind::Execution, "the schedule function failed: panicked: who knows"),
        ("sleep", ErrorKind::Timeout, "the schedule function failed: timed out: "),
        ("block", ErrorKind::Timeout, "the schedule function failed: timed out: "),
    ] {
        let world = dynamic(says).await;
        assert!(world.invoke(tick(AT)).await.failed);
        let run = world.last().await;
        let error = run.error.unwrap();
        assert_eq!((run.status, error.kind), (Status::Failed, kind), "{says}");
        assert!(error.message.starts_with(wanted), "{}", error.message);
        assert_eq!((world.bodies(), run.attempts.len(), run.fencing_token), (0, 0, 0));
        assert_eq!(world.table.state(&task()).await.unwrap().lease, None);
    }
    let world = dynamic("no").await;
    std::fs::remove_file(world.folder().join("due")).unwrap();
    world.invoke(tick(AT)).await;
    let error = world.last().await.error.unwrap();
    assert!(error.message.starts_with("the schedule function failed: No such file"), "{}", error.message);
}

#[tokio::test]
async fn c04_a_run_by_hand_does_not_call_the_schedule_function() {
    let world = dynamic("no").await;
    assert_eq!(world.run().await.status, Status::Completed);
    assert_eq!(world.marks("asked"), [""; 0]);
}

#[tokio::test]
async fn overlap_buffer_does_not_record_a_waiting_tick() {
    let settings = json!({ "config": { "mode": "wait-for-go" }, "overlap": "buffer" });
    let world = World::cron(settings, &[]).await;
    let (_, (waits, manual)) = tokio::join!(world.invoke(tick(AT)), async {
        world.body_begun().await;
        let waits = world.invoke(tick("2026-11-21T06:05:00Z")).await;
        let manual = world.invoke(json!({})).await;
        world.go();
        (waits, manual)
    });
    assert_eq!(answer(&waits)["refused"]["reason"], "previous_instance_running");
    assert_eq!(answer(&manual)["status"], "SKIPPED");
    let statuses: Vec<_> = world.runs().await.iter().map(|run| (run.status, run.trigger.as_str())).collect();
    assert_eq!(statuses, [(Status::Skipped, "manual"), (Status::Completed, "pulse")]);
    let later = world.invoke(tick("2026-11-21T06:05:00Z")).await;
    assert_eq!(answer(&later)["status"], "COMPLETED", "the buffered tick can still run");
}

#[tokio::test]
async fn c14_with_overlap_allow_both_run() {
    let settings = json!({ "config": { "mode": "wait-for-go" }, "overlap": "allow" });
    let world = World::cron(settings, &[]).await;
    let both = async {
        while world.bodies() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (first, second, ()) = tokio::join!(world.invoke(json!({})), world.invoke(json!({})), async {
        timeout(Duration::from_secs(30), both).await.expect("the second body did not start");
        world.go();
    });
    assert_eq!(
        (&answer(&first)["status"], &answer(&second)["status"]),
        (&json!("COMPLETED"), &json!("COMPLETED"))
    );
    assert_eq!((world.runs().await.len(), world.marks("overlaps").len()), (2, 1));
    assert_eq!(world.table.state(&task()).await.unwrap().leases().count(), 0);
}

#[tokio::test]
async fn c23_a_run_once_task_is_disabled_after_its_run() {
    let world = World::cron(json!({}), &["PROBE_RUN_ONCE"]).await;
    assert_eq!(world.run().await.status, Status::Completed);
    let next = answer(&world.invoke(tick(AT)).await);
    assert_eq!(next["refused"]["reason"], "disabled", "{next}");
    assert_eq!(world.bodies(), 1);
    world.table.enable(&task(), true).await.unwrap();
    assert_eq!(world.run().await.status, Status::Completed);
}

#[tokio::test]
async fn c23_a_run_once_task_is_disabled_even_if_its_process_dies() {
    let world = World::cron(json!({ "config": { "mode": "wait-for-go" } }), &["PROBE_RUN_ONCE"]).await;
    let (killed, ()) = tokio::join!(world.invoke(tick(AT)), async {
        world.body_begun().await;
        // No other tick starts during the run, whatever the overlap policy.
        let next = answer(&world.invoke(tick("2026-11-21T06:05:00Z")).await);
        assert_eq!(next["refused"]["reason"], "disabled", "{next}");
        assert!(world.host.kill("probe") > 0);
    });
    assert!(killed.failed);
    world.go();
    let state = world.table.state(&task()).await.unwrap();
    assert!(state.disabled && state.lease.is_some(), "the lost run is not ended yet");
    let later = state.lease.unwrap().until.checked_add(std::time::Duration::from_secs(1)).unwrap();
    let lost = world.table.state(&task()).await.unwrap().lost(later).remove(0);
    let run = world.table.end_lost(&task(), &lost, later).await.unwrap();
    assert_eq!(run.status, Status::Failed);
    let next = answer(&world.invoke(tick("2026-11-21T06:10:00Z")).await);
    assert_eq!((&next["refused"]["reason"], world.bodies()), (&json!("disabled"), 1), "{next}");
}

#[tokio::test]
async fn c24_a_repeated_run_names_the_original() {
    let world = World::with(json!({ "mode": "fatal" })).await;
    let failed = world.run().await;
    world.switch("context");
    world.invoke(json!({ "run_id": RUN, "retry_of": failed.id })).await;
    let retried = world.table.run(&task(), RUN.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((retried.status, retried.retry_of), (Status::Completed, Some(failed.id)));
}

#[tokio::test]
async fn c08_data_that_does_not_match_the_result_type_fails_the_run() {
    let world = World::cron(json!({ "config": { "mode": "large", "bytes": 10 } }), &[]).await;
    let run = world.run().await;
    let error = run.error.unwrap();
    assert_eq!((run.status, error.kind), (Status::Failed, ErrorKind::Execution));
    assert_eq!(
        error.message,
        "the outcome's data does not match the task's result type: it must be an object or null, and is a text"
    );
    assert_eq!((run.attempts.len(), run.data), (1, None), "a wrong result is not retried");

    world.switch("error-once");
    let error = world.run().await.error.unwrap();
    assert_eq!(
        error.message,
        "the outcome's data does not match the task's result type: `attempt` must be at most 1"
    );
    world.switch("context");
    assert_eq!(world.run().await.status, Status::Completed);
}
