//! Cancellation of a run in progress, on request or by a run that replaces it.

use std::time::Duration;

use lamplighter_core::{run::ErrorKind, status::Status};
use serde_json::json;

use crate::world::{World, answer, task, tick};

/// Cancels the run in progress.
async fn cancel(world: &World) {
    world.body_begun().await;
    let lease = world.table.state(&task()).await.unwrap().leases().next().cloned().unwrap();
    assert!(world.table.cancel(&task(), lease.run_id).await.unwrap());
}

#[tokio::test]
async fn c19_a_cancelled_run_stops_and_is_recorded() {
    let world = World::with(json!({ "mode": "wait-for-cancellation" })).await;
    let (invocation, ()) = tokio::join!(world.invoke(json!({})), cancel(&world));
    assert!(world.folder().join("cancelled").exists(), "the body had time to clean up");
    let run = world.last().await;
    let error = run.error.unwrap();
    assert_eq!((run.status, error.kind), (Status::Cancelled, ErrorKind::Execution));
    assert!(error.message.starts_with("cancelled on request"), "{}", error.message);
    assert_eq!(answer(&invocation)["errorType"], "CANCELLED");
    assert_eq!((run.attempts.len(), world.marks("rollbacks").len()), (1, 1), "one attempt and one rollback");
    assert_eq!(world.table.state(&task()).await.unwrap().lease, None);

    world.switch("context");
    assert_eq!(world.run().await.status, Status::Completed, "the cancellation does not affect the next run");
}

#[tokio::test]
async fn c19_one_of_several_overlapping_runs_can_be_cancelled() {
    let settings = json!({ "config": { "mode": "wait-for-cancellation" }, "overlap": "allow" });
    let world = World::cron(settings, &[]).await;
    let (_, ()) = tokio::join!(world.invoke(json!({})), cancel(&world));
    assert_eq!(world.last().await.status, Status::Cancelled);
}

#[tokio::test]
async fn c19_a_cancelled_body_that_never_yields_ends_with_its_process() {
    let world = World::with(json!({ "mode": "block" })).await;
    let (invocation, ()) = tokio::join!(world.invoke(json!({})), cancel(&world));
    assert!(invocation.failed);
    assert_eq!(world.last().await.status, Status::Cancelled);
    assert_eq!(world.host.kill("probe"), 0, "the process is gone, and the body with it");
}

#[tokio::test]
async fn overlap_replace_cancels_the_run_in_progress_and_runs() {
    let settings = json!({ "config": { "mode": "wait-for-cancellation" }, "overlap": "replace" });
    let world = World::cron(settings, &[]).await;
    let (first, second) = tokio::join!(world.invoke(tick("2026-11-21T06:00:00Z")), async {
        world.body_begun().await;
        world.switch("context");
        world.invoke(tick("2026-11-21T06:05:00Z")).await
    });
    assert_eq!(answer(&first)["errorType"], "CANCELLED");
    assert_eq!(answer(&second)["status"], "COMPLETED", "{}", answer(&second));
    let runs = world.runs().await;
    let ends: Vec<_> = runs.iter().map(|run| (run.status, run.scheduled_for.unwrap().to_string())).collect();
    assert_eq!(
        ends,
        [
            (Status::Completed, "2026-11-21T06:05:00Z".to_owned()),
            (Status::Cancelled, "2026-11-21T06:00:00Z".to_owned())
        ]
    );
    assert!(runs[0].started_at >= runs[1].completed_at, "the second run starts after the first has ended");
    assert_eq!(world.marks("overlaps"), [""; 0]);
}

#[tokio::test]
async fn overlap_replace_is_skipped_if_the_run_in_progress_does_not_end() {
    let settings = json!({ "config": { "mode": "wait-for-go" }, "overlap": "replace" });
    let world = World::cron(settings.clone(), &[]).await;
    // The second run has too little time to wait for the first one's next check.
    let (_, second) = tokio::join!(world.invoke(tick("2026-11-21T06:00:00Z")), async {
        world.body_begun().await;
        let mut spec = world.spec(settings);
        spec.timeout = Duration::from_secs(4);
        spec.environment.insert("PROBE_CRON".to_owned(), "yes".to_owned());
        world.host.register(spec);
        let second = world.invoke(tick("2026-11-21T06:05:00Z")).await;
        world.go();
        second
    });
    assert_eq!(answer(&second)["refused"]["reason"], "previous_instance_running", "{}", answer(&second));
    let skipped = world.runs().await.into_iter().find(|run| run.status == Status::Skipped).unwrap();
    let reason = skipped.skipped_reason.unwrap();
    assert!(reason.ends_with("; it was cancelled but did not end in time"), "{reason}");
}
