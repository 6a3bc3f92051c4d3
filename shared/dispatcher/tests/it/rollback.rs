//! Updates that the stack rolls back.

use lamplighter_core::{deployment::Course, status::Status};
use serde_json::json;

use crate::support::{Probe, Stage, back, event, probe};

const BACK: &str = "UPDATE_ROLLBACK_IN_PROGRESS";
const FORWARD: &str = "UPDATE_IN_PROGRESS";

fn tasks() -> [Probe; 3] {
    [probe("migrate").undoes(), probe("seed").needs(&["migrate"]).undoes(), probe("other")]
}

/// A stack at version 1 whose journal is empty again.
async fn at_version_1(tasks: &[Probe]) -> Stage {
    let stage = Stage::new().await;
    stage.install_all(tasks);
    let created = stage.send(&event("Create", "r1", "1", tasks)).await;
    assert_eq!(created["Status"], "SUCCESS", "{created}");
    std::fs::remove_file(stage.journal_file()).ok();
    stage.status(FORWARD);
    stage
}

async fn previous_of_the_next(stage: &Stage, id: &str) -> Option<String> {
    stage.status(FORWARD);
    stage.install_all(&tasks());
    let next = stage.send(&event("Update", id, "9", &tasks())).await;
    assert_eq!(next["Status"], "SUCCESS", "{next}");
    stage.newest().await.deployment.previous_version
}

#[tokio::test]
async fn l18_a_rolled_back_update_is_undone_in_reverse_order_once() {
    let stage = at_version_1(&tasks()).await;
    assert_eq!(stage.send(&event("Update", "r2", "2", &tasks())).await["Status"], "SUCCESS");
    stage.status(BACK);
    let answer = stage.send(&back("r3", "1", "2", &tasks())).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    let journal = stage.journal();
    assert_eq!(journal[3..], ["rollback seed", "rollback migrate"]);
    let entry = stage.newest().await;
    assert_eq!(entry.course, Course::Rollback);
    assert_eq!(entry.deployment.rolled_back_version.as_deref(), Some("2"));
    // A further rollback has nothing to undo.
    assert_eq!(stage.send(&back("r4", "1", "2", &tasks())).await["Status"], "SUCCESS");
    assert_eq!(stage.journal().len(), 5);
    assert_eq!(previous_of_the_next(&stage, "r5").await.as_deref(), Some("1"));
    stage.end().await;
}

#[tokio::test]
async fn l18_of_a_failed_update_only_the_completed_tasks_are_undone() {
    let stage = at_version_1(&tasks()).await;
    stage.install(&tasks()[1].clone().mode("fail"));
    assert_eq!(stage.send(&event("Update", "r2", "2", &tasks())).await["Status"], "FAILED");
    // The failed run undid itself.
    let before = stage.journal();
    assert_eq!(before.last().unwrap(), "rollback seed");
    stage.status(BACK);
    assert_eq!(stage.send(&back("r3", "1", "2", &tasks())).await["Status"], "SUCCESS");
    assert_eq!(stage.journal()[before.len()..], ["rollback migrate"]);
    assert_eq!(previous_of_the_next(&stage, "r4").await.as_deref(), Some("1"));
    stage.end().await;
}

#[tokio::test]
async fn l18_a_rollback_cancels_a_run_in_progress_waits_for_it_and_undoes_it() {
    let stage = at_version_1(&tasks()).await;
    stage.install(&tasks()[0].clone().sleeps(1500));
    let update = stage.deliver(&event("Update", "r2", "2", &tasks()));
    stage.journal_has("run migrate").await;
    stage.status(BACK);
    let answer = stage.send(&back("r3", "1", "2", &tasks())).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    let overtaken = stage.answer(&update).await;
    assert_eq!(overtaken["Status"], "FAILED", "{overtaken}");
    let mut journal = stage.journal();
    assert_eq!(journal.pop().unwrap(), "rollback migrate");
    journal.sort();
    assert_eq!(journal, ["run migrate", "run other"]);
    assert_eq!(previous_of_the_next(&stage, "r4").await.as_deref(), Some("1"));
    stage.end().await;
}

#[tokio::test]
async fn l18_a_rollback_prevents_the_start_of_an_invoked_run() {
    let stage = at_version_1(&tasks()).await;
    // Its process starts when the rollback is over.
    let start = stage.journal_file().with_file_name("start");
    stage.install(&tasks()[0].clone().with("PROBE_STARTS_WITH", &start.display().to_string()));
    let update = stage.deliver(&event("Update", "r2", "2", &tasks()));
    stage.journal_has("run other").await;
    stage.status(BACK);
    assert_eq!(stage.send(&back("r3", "1", "2", &tasks())).await["Status"], "SUCCESS");
    std::fs::write(start, "").unwrap();
    let overtaken = stage.answer(&update).await;
    assert_eq!(overtaken["Status"], "FAILED", "{overtaken}");
    assert_eq!(stage.journal(), ["run other"]);
    stage.end().await;
}

#[tokio::test]
async fn l18_a_rollback_waits_for_a_run_longer_than_one_invocation() {
    let stage = at_version_1(&tasks()).await;
    stage.install(&tasks()[0].clone().sleeps(9000));
    stage.dispatcher(std::time::Duration::from_secs(3), &[]);
    let _update = stage.deliver(&event("Update", "r2", "2", &tasks()));
    stage.journal_has("run migrate").await;
    stage.status(BACK);
    let answer = stage.send(&back("r3", "1", "2", &tasks())).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    assert_eq!(stage.journal().last().unwrap(), "rollback migrate");
    stage.end().await;
}

#[tokio::test]
async fn l18_a_failed_rollback_is_recorded_and_blocks_nothing() {
    let stage = at_version_1(&tasks()).await;
    stage.install(&tasks()[1].clone().set("rollback_mode", "fail"));
    assert_eq!(stage.send(&event("Update", "r2", "2", &tasks())).await["Status"], "SUCCESS");
    stage.status(BACK);
    let answer = stage.send(&back("r3", "1", "2", &tasks())).await;
    assert_eq!((&answer["Status"], &answer["Data"]["seed.status"]), (&json!("SUCCESS"), &json!("FAILED")));
    assert!(answer["Reason"].as_str().unwrap().contains("cannot undo"), "{answer}");
    let entry = stage.newest().await;
    assert_eq!(stage.run_of(&entry, "seed").await.status, Status::Failed);
    assert_eq!(stage.run_of(&entry, "migrate").await.status, Status::Completed);
    assert_eq!(previous_of_the_next(&stage, "r4").await.as_deref(), Some("1"));
    stage.end().await;
}

#[tokio::test]
async fn l18_the_rollback_of_a_refused_update_does_not_undo_the_deployment_before_it() {
    let stage = at_version_1(&tasks()).await;
    // The version stays the same, and the new properties are malformed.
    let mut circle = event("Update", "r2", "1", &[probe("a").needs(&["a"])]);
    assert_eq!(stage.send(&circle).await["Status"], "FAILED");
    stage.status(BACK);
    assert_eq!(stage.send(&back("r3", "1", "1", &tasks())).await["Status"], "SUCCESS");
    stage.status(FORWARD);
    circle["RequestId"] = json!("r4");
    circle["ResourceProperties"]["Tasks"] = json!("none");
    assert_eq!(stage.send(&circle).await["Status"], "FAILED");
    stage.status(BACK);
    assert_eq!(stage.send(&back("r5", "1", "1", &tasks())).await["Status"], "SUCCESS");
    assert_eq!(stage.journal().len(), 0);
    stage.end().await;
}
