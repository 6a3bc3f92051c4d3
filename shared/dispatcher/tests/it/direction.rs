//! Events that are hard to classify: forward or rollback, in time or late.

use std::time::Duration;

use lamplighter_core::status::Status;
use serde_json::{Value, json};

use crate::support::{DISPATCHER, FALLBACK, Probe, Stage, back, event, eventually, probe, signed};

const FORWARD: &str = "UPDATE_IN_PROGRESS";
const BACK: &str = "UPDATE_ROLLBACK_IN_PROGRESS";

fn tasks() -> [Probe; 2] {
    [probe("migrate").undoes(), probe("seed").needs(&["migrate"]).undoes()]
}

/// A stack at version 1 whose journal is empty again.
async fn at_version_1() -> Stage {
    let stage = Stage::new().await;
    stage.install_all(&tasks());
    assert_eq!(stage.send(&event("Create", "r1", "1", &tasks())).await["Status"], "SUCCESS");
    std::fs::remove_file(stage.journal_file()).unwrap();
    stage
}

/// Expects of the next update that its previous version is 1 and that it is not the first.
async fn expect_next_after_version_1(stage: &Stage, id: &str) {
    stage.status(FORWARD);
    stage.install_all(&tasks());
    let next = stage.send(&event("Update", id, id, &tasks())).await;
    let context = (&next["Status"], &next["Data"]["PreviousVersion"], &next["Data"]["IsFirstDeploy"]);
    assert_eq!(context, (&json!("SUCCESS"), &json!("1"), &json!("false")), "{next}");
}

#[tokio::test]
async fn d01_a_forward_update_that_meets_a_rollback_runs_nothing() {
    let stage = at_version_1().await;
    let update = event("Update", "r2", "2", &tasks());
    stage.publish(&update);
    stage.status(BACK);
    let forward = stage.send(&update).await;
    assert_eq!(forward["Status"], "FAILED");
    assert!(forward["Reason"].as_str().unwrap().contains("it is rolling back"), "{forward}");
    let rollback = stage.send(&back("r3", "1", "2", &tasks())).await;
    assert_eq!(rollback["Status"], "SUCCESS", "{rollback}");
    assert_eq!(stage.journal().len(), 0);
    expect_next_after_version_1(&stage, "r4").await;
    stage.end().await;
}

/// The stack begins to roll back while the dispatcher starts, reads, opens its entry or runs tasks.
#[tokio::test]
async fn d01_an_update_races_with_the_failure_of_another_resource() {
    const ROUNDS: u64 = 50;
    let stage = at_version_1().await;
    let mut begun = 0;
    for round in 0..ROUNDS {
        std::fs::remove_file(stage.journal_file()).ok();
        stage.status(FORWARD);
        let version = format!("v{round}");
        let forward = stage.deliver(&event("Update", &format!("f{round}"), &version, &tasks()));
        if round + 1 < ROUNDS {
            tokio::time::sleep(Duration::from_millis(200 * round / ROUNDS)).await;
        } else {
            stage.journal_has("run migrate").await;
        }
        stage.status(BACK);
        let rollback = stage.send(&back(&format!("b{round}"), "1", &version, &tasks())).await;
        assert_eq!(rollback["Status"], "SUCCESS", "{round}: {rollback}");
        let forward = stage.answer(&forward).await;
        let journal = stage.journal();
        let times = |line: &str| journal.iter().filter(|it| *it == line).count();
        for task in ["migrate", "seed"] {
            let (run, undone) = (times(&format!("run {task}")), times(&format!("rollback {task}")));
            assert!(run <= 1 && undone <= run, "{round}: {journal:?}");
            // A completed run is undone. A cancelled run may have failed; then it undid itself.
            assert_eq!(run, undone, "{round}: {journal:?} {forward} {rollback}");
            begun += run;
        }
    }
    assert!(begun > 0, "in the last round a body begins");
    expect_next_after_version_1(&stage, "next").await;
    stage.end().await;
}

#[tokio::test]
async fn d02_the_rollback_of_an_unopened_update_with_the_same_version_undoes_nothing() {
    let stage = at_version_1().await;
    // Another property has changed, and the event never arrived.
    stage.status(BACK);
    let rollback = stage.send(&back("r3", "1", "1", &tasks())).await;
    assert_eq!(rollback["Status"], "SUCCESS", "{rollback}");
    assert_eq!(stage.journal().len(), 0);
    expect_next_after_version_1(&stage, "r4").await;
    stage.end().await;
}

#[tokio::test]
async fn d03_events_after_the_end_of_their_stacks_update_run_nothing() {
    let stage = at_version_1().await;
    for (i, status) in [
        "UPDATE_ROLLBACK_COMPLETE",
        "UPDATE_ROLLBACK_FAILED",
        "UPDATE_COMPLETE",
        "UPDATE_FAILED",
        "DELETE_IN_PROGRESS",
        "DELETE_COMPLETE",
        "CREATE_COMPLETE",
    ]
    .into_iter()
    .enumerate()
    {
        stage.status(status);
        let late = stage.send(&event("Update", &format!("u{i}"), "2", &tasks())).await;
        assert_eq!(late["Status"], "FAILED", "{status}: {late}");
        if status.contains("ROLLBACK") {
            let late = stage.send(&back(&format!("b{i}"), "1", "2", &tasks())).await;
            assert_eq!(late["Status"], "SUCCESS", "{status}: {late}");
        }
        let late = stage.send(&event("Create", &format!("c{i}"), "2", &tasks())).await;
        assert_eq!(late["Status"], "FAILED", "{status}: {late}");
    }
    assert_eq!(stage.journal().len(), 0);
    expect_next_after_version_1(&stage, "next").await;
    stage.end().await;
}

/// The dispatcher is killed, its event is retried, and the stack has rolled back in the meantime.
#[tokio::test]
async fn d03_a_retried_event_of_a_stack_that_has_rolled_back_starts_no_further_wave() {
    let stage = at_version_1().await;
    stage.install(&tasks()[0].clone().sleeps(1500));
    let update = stage.deliver(&event("Update", "r2", "2", &tasks()));
    stage.journal_has("run migrate").await;
    stage.status("UPDATE_ROLLBACK_COMPLETE");
    assert_ne!(stage.host.kill(DISPATCHER), 0);
    let answer = stage.answer(&update).await;
    assert_eq!(answer["Status"], "FAILED", "{answer}");
    assert_eq!(stage.journal(), ["run migrate"]);
    stage.end().await;
}

#[tokio::test]
async fn d03_a_create_that_is_retried_after_its_delete_runs_nothing() {
    let stage = Stage::new().await;
    stage.install_all(&tasks());
    let create = event("Create", "r1", "1", &tasks());
    for status in ["ROLLBACK_IN_PROGRESS", "ROLLBACK_COMPLETE", "DELETE_COMPLETE"] {
        stage.status(status);
        assert_eq!(stage.send(&event("Delete", &format!("d-{status}"), "1", &[])).await["Status"], "SUCCESS");
        let late = stage.send(&create).await;
        assert_eq!(late["Status"], "FAILED", "{status}: {late}");
    }
    assert_eq!(stage.journal().len(), 0);
    stage.status_of_events();
    let next = stage.send(&event("Create", "r2", "2", &tasks())).await;
    assert_eq!(
        (&next["Status"], &next["Data"]["IsFirstDeploy"]),
        (&json!("SUCCESS"), &json!("true")),
        "{next}"
    );
    stage.end().await;
}

#[tokio::test]
async fn d03_an_event_older_than_a_later_one_or_than_its_timeout_runs_nothing() {
    let stage = at_version_1().await;
    stage.status(FORWARD);
    for (request, seconds_ago) in [("before", 20), ("too-late", 600)] {
        let expected = stage.answers.expect().unwrap();
        let late = event("Update", request, "2", &tasks());
        stage.deliver_to(&late, &signed(&expected.url, seconds_ago));
        let answer = stage.answer(&expected).await;
        assert_eq!(answer["Status"], "FAILED", "{answer}");
    }
    assert_eq!(stage.journal().len(), 0);
    let expected = stage.answers.expect().unwrap();
    stage.deliver_to(&event("Update", "now", "2", &tasks()), &signed(&expected.url, 0));
    assert_eq!(stage.answer(&expected).await["Status"], "SUCCESS");
    stage.end().await;
}

#[tokio::test]
async fn d04_no_further_wave_starts_once_the_stack_no_longer_waits() {
    for (i, status) in [
        "DELETE_IN_PROGRESS",
        "DELETE_COMPLETE",
        "ROLLBACK_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
        "UPDATE_COMPLETE",
        BACK,
    ]
    .into_iter()
    .enumerate()
    {
        let stage = at_version_1().await;
        stage.install(&tasks()[0].clone().sleeps(400));
        let update = stage.deliver(&event("Update", &format!("u{i}"), "2", &tasks()));
        stage.journal_has("run migrate").await;
        stage.status(status);
        let answer = stage.answer(&update).await;
        assert_eq!(answer["Status"], "FAILED", "{status}: {answer}");
        assert_eq!(stage.journal(), ["run migrate"], "{status}");
        let run = stage.run_of(&stage.newest().await, "seed").await;
        assert_eq!((run.status, run.environment.as_str()), (Status::Cancelled, "dev"), "{status}");
        stage.end().await;
    }
}

/// An update that deliberately returns to the previous properties runs its tasks.
#[tokio::test]
async fn d01_a_deliberate_return_is_a_deployment() {
    let stage = at_version_1().await;
    assert_eq!(stage.send(&event("Update", "r2", "2", &tasks())).await["Status"], "SUCCESS");
    let answer = stage.send(&back("r3", "1", "2", &tasks())).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    assert_eq!(answer["Data"]["PreviousVersion"], "2", "{answer}");
    assert_eq!(stage.journal(), ["run migrate", "run seed", "run migrate", "run seed"]);
    // An update that meets a rollback runs nothing, and version 1 stays.
    let cancelled = back("r4", "2", "1", &tasks());
    stage.publish(&cancelled);
    stage.status(BACK);
    let answer = stage.send(&cancelled).await;
    // The order of events shows an update, although the status shows a rollback.
    assert_eq!(answer["Status"], "FAILED", "{answer}");
    assert_eq!(stage.journal().len(), 4);
    stage.end().await;
}

/// A rollback is answered in time although a run does not end.
#[tokio::test]
async fn d06_a_rollback_is_answered_in_time_although_a_run_does_not_end() {
    let stage = at_version_1().await;
    // The body ignores its cancellation.
    stage.install(&tasks()[0].clone().sleeps(14_000));
    let _update = stage.deliver(&event("Update", "r2", "2", &tasks()));
    stage.journal_has("run migrate").await;
    stage.status(BACK);
    let mut rollback = back("r3", "1", "2", &tasks());
    rollback["ResourceProperties"]["ServiceTimeout"] = json!("6");
    // The properties in effect before had another timeout.
    let began = std::time::Instant::now();
    let expected = stage.deliver(&rollback);
    let answer = stage.answer(&expected).await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    stage.end().await;
}

/// The timeout is short before the update, so that the rollback's properties are those in effect before.
#[tokio::test]
async fn d06_a_continued_rollback_undoes_the_rest() {
    let short = |mut event: Value| {
        event["ResourceProperties"]["ServiceTimeout"] = json!("7");
        event
    };
    let stage = at_version_1().await;
    assert_eq!(stage.send(&short(event("Update", "r1-short", "1", &tasks()))).await["Status"], "SUCCESS");
    std::fs::remove_file(stage.journal_file()).unwrap();
    let ends = || stage.log.text().matches("migrate COMPLETED").count();
    let ended_before = ends();
    stage.install(&tasks()[0].clone().sleeps(9_000));
    let update = stage.deliver(&short(event("Update", "r2", "2", &tasks())));
    stage.journal_has("run migrate").await;
    stage.status(BACK);
    let began = std::time::Instant::now();
    let answer = stage.send(&short(back("r3", "1", "2", &tasks()))).await;
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    let reason = answer["Reason"].as_str().unwrap();
    assert!(reason.contains("not undone within the 7 s") && reason.contains("migrate"), "{reason}");
    let lock = stage.table.state(&"migrate".parse().unwrap()).await.unwrap();
    assert!(lock.lease.is_none_or(|lease| lease.cancelled), "the run was not cancelled");
    assert_eq!(stage.answer(&update).await["Status"], "FAILED");
    eventually("the run is over", || ends() > ended_before).await;
    // Another resource could not be rolled back, and the rollback is continued.
    let answer = stage.send(&short(back("r4", "1", "2", &tasks()))).await;
    assert_eq!(
        (&answer["Status"], &answer["Data"]["migrate.status"]),
        (&json!("SUCCESS"), &json!("COMPLETED")),
        "{answer}"
    );
    let undone = stage.journal().iter().filter(|line| *line == "rollback migrate").count();
    assert_eq!(undone, 1, "{:?}", stage.journal());
    let again = stage.send(&short(back("r5", "1", "2", &tasks()))).await;
    assert_eq!(again["Status"], "SUCCESS");
    assert_eq!(stage.journal().iter().filter(|line| *line == "rollback migrate").count(), 1);
    stage.end().await;
}

/// The fallback responder distinguishes deployments from rollbacks.
#[tokio::test]
async fn d07_the_fallback_responder_decides_as_the_dispatcher_does() {
    let nowhere = "http://127.0.0.1:9";
    let table = "AWS_ENDPOINT_URL_DYNAMODB";
    let stage = at_version_1().await;
    // The dispatcher's table is unreachable, so that each delivery fails.
    stage.dispatcher(Duration::from_secs(60), &[(table, nowhere)]);
    stage.status(FORWARD);
    let forward = stage.send(&event("Update", "r2", "2", &tasks())).await;
    assert_eq!(forward["Status"], "FAILED", "{forward}");
    assert!(forward["Reason"].as_str().unwrap().contains("on every delivery of request r2"), "{forward}");
    stage.status(BACK);
    assert_eq!(stage.send(&back("r3", "1", "2", &tasks())).await["Status"], "SUCCESS");
    // Without a table the stack's status decides.
    stage.register(FALLBACK, Duration::from_secs(60), &[(table, nowhere)]);
    assert_eq!(stage.send(&back("r4", "1", "2", &tasks())).await["Status"], "SUCCESS");
    stage.status(FORWARD);
    assert_eq!(stage.send(&event("Update", "r5", "5", &tasks())).await["Status"], "FAILED");
    // Without the stack's status the ledger decides.
    let stacks = "AWS_ENDPOINT_URL_CLOUDFORMATION";
    stage.register(FALLBACK, Duration::from_secs(60), &[(stacks, nowhere)]);
    stage.status(BACK);
    assert_eq!(stage.send(&back("r6", "1", "5", &tasks())).await["Status"], "SUCCESS");
    assert_eq!(stage.send(&event("Update", "r7", "7", &tasks())).await["Status"], "FAILED");
    assert_eq!(stage.journal().len(), 0);
    stage.dispatcher(Duration::from_secs(60), &[]);
    expect_next_after_version_1(&stage, "next").await;
    stage.end().await;
}
