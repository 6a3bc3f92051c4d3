//! Successful deployments: which tasks run, their order and context, and the answer.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, time::Duration};

use lamplighter_aws::table::History;
use lamplighter_core::{deployment::MAX_ANSWER_BYTES, run::Run, status::Status};
use serde_json::{Value, json};

use crate::support::{STACK, Stage, event, example, probe};

#[tokio::test]
async fn l04_l07_l12_create_and_update_run_their_tasks_with_their_context() {
    let stage = Stage::new().await;
    let tasks = [probe("migrate"), probe("seed").needs(&["migrate"])];
    stage.install_all(&tasks);

    let created = stage.send(&event("Create", "r1", "1", &tasks)).await;
    assert_eq!(created["Status"], "SUCCESS", "{created}\n{}", stage.log.text());
    assert_eq!(created["Data"]["seed.message"], "ran for version 1");
    assert_eq!(stage.journal(), ["run migrate", "run seed"]);

    stage.status("UPDATE_IN_PROGRESS");
    let updated = stage.send(&event("Update", "r2", "2", &tasks)).await;
    assert_eq!(updated["PhysicalResourceId"], created["PhysicalResourceId"]);
    let data = stage.run_of(&stage.newest().await, "seed").await.data;
    assert_eq!(seen(data.as_ref()), (false, "2", Some("1")));
    stage.end().await;
}

/// The context that a probe received: `is_first_deploy`, the version and the previous version.
fn seen(data: Option<&Value>) -> (bool, &str, Option<&str>) {
    let data = data.unwrap();
    (data["first"].as_bool().unwrap(), data["version"].as_str().unwrap(), data["previous"].as_str())
}

#[tokio::test]
async fn l04_a_task_that_run_on_excludes_is_not_invoked() {
    let stage = Stage::new().await;
    let tasks = [probe("seed").on(&["deploy"]), probe("move").on(&["update"]), probe("never").on(&[])];
    // `never` is not installed.
    stage.install_all(&tasks[..2]);
    let created = stage.send(&event("Create", "r1", "1", &tasks)).await;
    assert_eq!((&created["Status"], &created["Data"]["move.status"]), (&json!("SUCCESS"), &json!("SKIPPED")));
    let updated = stage.send(&event("Update", "r2", "2", &tasks)).await;
    assert_eq!((&updated["Status"], &updated["Data"]["seed.status"]), (&json!("SUCCESS"), &json!("SKIPPED")));
    assert_eq!(updated["Data"]["never.message"], "does not run on update");
    assert_eq!(stage.journal(), ["run seed", "run move"]);
    stage.end().await;
}

#[tokio::test]
async fn l07_is_first_deploy_until_a_deployment_has_succeeded_and_was_kept() {
    let stage = Stage::new().await;
    let tasks = [probe("migrate")];
    let context = async |kind: &str, id: &str, version: &str, mode: &str| {
        stage.install(&probe("migrate").mode(mode));
        let answer = stage.send(&event(kind, id, version, &tasks)).await;
        assert_eq!(answer["Status"], if mode == "fail" { "FAILED" } else { "SUCCESS" }, "{answer}");
        let Run { deployment, .. } = stage.run_of(&stage.newest().await, "migrate").await;
        let it = deployment.unwrap();
        (it.is_first_deploy, it.previous_version)
    };
    let delete = async |id: &str, status: &str| {
        stage.status(status);
        let answer = stage.send(&event("Delete", id, "1", &[])).await;
        assert_eq!(answer["Status"], "SUCCESS");
        stage.status_of_events();
    };
    assert_eq!(context("Create", "r1", "1", "fail").await, (true, None));
    delete("d1", "ROLLBACK_IN_PROGRESS").await;
    assert_eq!(context("Create", "r2", "2", "").await, (true, None));
    // Another resource of the stack failed.
    delete("d2", "ROLLBACK_IN_PROGRESS").await;
    assert_eq!(context("Create", "r3", "3", "").await, (true, None));
    assert_eq!(context("Update", "r4", "4", "fail").await, (false, Some("3".to_owned())));
    assert_eq!(context("Update", "r5", "5", "").await, (false, Some("3".to_owned())));
    // The ledger outlives the resource, so that a database that was seeded once is not seeded again.
    delete("d3", "DELETE_IN_PROGRESS").await;
    assert_eq!(context("Create", "r6", "6", "").await, (false, Some("5".to_owned())));
    stage.end().await;
}

#[tokio::test]
async fn l07_a_create_that_is_rolled_back_while_it_runs_is_no_success() {
    let stage = Stage::new().await;
    let tasks = [probe("migrate").sleeps(1500)];
    stage.install_all(&tasks);
    let created = stage.deliver(&event("Create", "r1", "1", &tasks));
    stage.journal_has("run migrate").await;
    stage.status("ROLLBACK_IN_PROGRESS");
    assert_eq!(stage.send(&event("Delete", "d1", "1", &[])).await["Status"], "SUCCESS");
    stage.answer(&created).await;
    stage.status("CREATE_IN_PROGRESS");
    stage.send(&event("Create", "r2", "2", &tasks)).await;
    let data = stage.run_of(&stage.newest().await, "migrate").await.data;
    assert_eq!(seen(data.as_ref()), (true, "2", None));
    stage.end().await;
}

#[tokio::test]
async fn l12_data_that_exceeds_the_answer_is_stored_in_full() {
    let stage = Stage::new().await;
    let tasks = [probe("small").set("bytes", 100), probe("migrate").set("bytes", 50_000)];
    stage.install_all(&tasks);
    let expected = stage.deliver(&event("Create", "r1", "1", &tasks));
    let answer = stage.answer(&expected).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    assert!(expected.received()[0].body.len() <= MAX_ANSWER_BYTES);
    assert!(answer["Data"]["small.data"].as_str().unwrap().contains("xxx"), "{answer}");
    let stored = stage.run_of(&stage.newest().await, "migrate").await.data.unwrap();
    assert_eq!(stored["text"].as_str().unwrap().len(), 50_000);
    stage.end().await;
}

#[tokio::test]
async fn l15_the_physical_id_never_changes() {
    let stage = Stage::new().await;
    let mut ids = Vec::new();
    for (i, (kind, mode)) in
        [("Create", ""), ("Update", "fail"), ("Update", ""), ("Delete", "")].iter().enumerate()
    {
        let tasks = [probe("migrate").mode(mode)];
        stage.install_all(&tasks);
        let mut event = event(kind, &format!("r{i}"), &i.to_string(), &tasks);
        if let Some(id) = ids.last() {
            event["PhysicalResourceId"] = json!(id);
        }
        let answer = stage.send(&event).await;
        ids.push(answer["PhysicalResourceId"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids, ["lamplighter-shop-Tasks"; 4]);
    stage.end().await;
}

#[tokio::test]
async fn l16_a_diamond_of_dependencies_runs_in_waves_and_a_wave_in_parallel() {
    let stage = Stage::new().await;
    let tasks = [
        probe("last").needs(&["left", "right"]),
        probe("left").needs(&["first"]).set("beside", json!(["right"])),
        probe("right").needs(&["first"]).set("beside", json!(["left"])),
        probe("first"),
    ];
    stage.install_all(&tasks);
    let answer = stage.send(&event("Create", "r1", "1", &tasks)).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    let entry = stage.newest().await;
    let mut runs = Vec::new();
    for name in ["first", "left", "right", "last"] {
        runs.push(stage.run_of(&entry, name).await);
    }
    let [first, left, right, last] = &runs[..] else { unreachable!() };
    assert!(first.completed_at <= left.started_at.min(right.started_at));
    assert!(left.started_at < right.completed_at && right.started_at < left.completed_at);
    assert!(left.completed_at.max(right.completed_at) <= last.started_at);
    stage.end().await;
}

#[tokio::test]
async fn l16_ten_independent_tasks_run_in_parallel() {
    const NAMES: [&str; 10] = ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"];
    let stage = Stage::new().await;
    let tasks = NAMES.map(|name| probe(name).set("beside", json!(NAMES)));
    stage.install_all(&tasks);
    let answer = stage.send(&event("Create", "r1", "1", &tasks)).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    let entry = stage.newest().await;
    let mut runs = Vec::new();
    for name in NAMES {
        runs.push(stage.run_of(&entry, name).await);
    }
    let last_start = runs.iter().map(|run| run.started_at).max();
    let first_end = runs.iter().map(|run| run.completed_at).min();
    assert!(last_start < first_end, "{last_start:?} {first_end:?}");
    stage.end().await;
}

#[tokio::test]
async fn l16_direct_and_indirect_dependents_of_a_failed_task_are_blocked() {
    let stage = Stage::new().await;
    let tasks = [
        probe("a").mode("fail"),
        probe("b").needs(&["a"]),
        probe("c").needs(&["b"]),
        probe("x"),
        probe("y").needs(&["x"]),
    ];
    stage.install_all(&tasks);
    let answer = stage.send(&event("Create", "r1", "1", &tasks)).await;
    assert_eq!(answer["Status"], "FAILED");
    let entry = stage.newest().await;
    for (name, status, reason) in [
        ("b", Status::Blocked, "`a`, which it depends on, did not complete"),
        ("c", Status::Blocked, "`b`, which it depends on, did not complete"),
        ("y", Status::Skipped, "`a` failed before it could start"),
    ] {
        let run = stage.run_of(&entry, name).await;
        assert_eq!((run.status, run.reason()), (status, Some(reason)), "{name}");
    }
    let mut journal = stage.journal();
    journal.sort();
    assert_eq!(journal, ["run a", "run x"]);
    stage.end().await;
}

#[tokio::test]
async fn l17_once_per_content_runs_only_when_something_changed() {
    let stage = Stage::new().await;
    let tasks = [probe("assets").once_per_content(), probe("migrate")];
    stage.install_all(&tasks);
    let deploy = async |kind: &str, id: &str| {
        let answer = stage.send(&event(kind, id, id, &tasks)).await;
        assert_eq!(answer["Status"], "SUCCESS", "{answer}");
        answer["Data"]["assets.status"].as_str().unwrap().to_owned()
    };
    assert_eq!(deploy("Create", "r1").await, "COMPLETED");
    assert_eq!(deploy("Update", "r2").await, "SKIPPED");
    stage.install(&tasks[0].clone().sleeps(1));
    assert_eq!(deploy("Update", "r3").await, "COMPLETED");
    // The port of a local endpoint differs each time and is no part of the content.
    stage.install(&tasks[0].clone().sleeps(1).with("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9"));
    assert_eq!(deploy("Update", "r4").await, "SKIPPED");
    // A failed run does not count as a run of the new content.
    stage.install(&tasks[0].clone().mode("fail"));
    assert_eq!(stage.send(&event("Update", "r5", "5", &tasks)).await["Status"], "FAILED");
    assert_eq!(stage.send(&event("Update", "r6", "6", &tasks)).await["Status"], "FAILED");
    // The earlier content is still the last one that ran.
    stage.install(&tasks[0].clone().sleeps(1));
    assert_eq!(deploy("Update", "r7").await, "SKIPPED");
    let migrated = stage.journal().iter().filter(|line| *line == "run migrate").count();
    assert_eq!(migrated, 7, "each deployment runs a task that is not once per content");
    stage.end().await;
}

#[tokio::test]
async fn l17_changed_code_and_changed_assets_are_changed_content() {
    let stage = Stage::new().await;
    let package = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| std::fs::write(package.path().join(path), text).unwrap();
    let code = |version: u8| {
        let probe = example("dispatcher-probe");
        write("bootstrap", &format!("#!/bin/sh\nexec '{}' # version {version}\n", probe.display()));
    };
    code(1);
    std::fs::set_permissions(package.path().join("bootstrap"), Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(package.path().join("assets")).unwrap();
    write("assets/V1.sql", "create table a;");
    let tasks = [probe("assets").once_per_content().packaged(package.path())];
    let deploy = async |kind: &str, id: &str| {
        stage.install_all(&tasks);
        let answer = stage.send(&event(kind, id, id, &tasks)).await;
        assert_eq!(answer["Status"], "SUCCESS", "{answer}");
        answer["Data"]["assets.status"].as_str().unwrap().to_owned()
    };
    assert_eq!(deploy("Create", "r1").await, "COMPLETED");
    assert_eq!(deploy("Update", "r2").await, "SKIPPED");
    code(2);
    assert_eq!(deploy("Update", "r3").await, "COMPLETED", "other code");
    assert_eq!(deploy("Update", "r4").await, "SKIPPED");
    write("assets/V1.sql", "create table b;");
    assert_eq!(deploy("Update", "r5").await, "COMPLETED", "another text of an asset");
    write("assets/V2.sql", "");
    assert_eq!(deploy("Update", "r6").await, "COMPLETED", "one more asset");
    assert_eq!(deploy("Update", "r7").await, "SKIPPED");
    stage.end().await;
}

#[tokio::test]
async fn l26_two_resources_of_a_stack_have_ledgers_of_their_own() {
    let stage = Stage::new().await;
    let (before, after) = ([probe("migrate")], [probe("warm")]);
    stage.install_all(&before);
    stage.install_all(&after);
    let mut second = event("Create", "r2", "1", &after);
    second["LogicalResourceId"] = json!("After");
    assert_eq!(stage.send(&event("Create", "r1", "1", &before)).await["Data"]["IsFirstDeploy"], "true");
    let answer = stage.send(&second).await;
    assert_eq!(answer["Data"]["IsFirstDeploy"], "true");
    assert_eq!(answer["PhysicalResourceId"], "lamplighter-shop-After");
    assert_eq!(stage.newest_of(STACK, "After").await.unwrap().tasks.len(), 1);
    stage.end().await;
}

#[tokio::test]
async fn l26_two_stacks_do_not_see_each_other() {
    let (one, two) = (Stage::new().await, Stage::new().await);
    let tasks = [probe("migrate").sleeps(300)];
    one.install_all(&tasks);
    two.install_all(&tasks);
    // Stacks with different tables share nothing. Stacks with one table share only the lock, so their tasks run one
    // after the other.
    let first = event("Create", "r1", "1", &tasks);
    let mut other = first.clone();
    let mill = STACK.replace("shop", "mill");
    other["StackId"] = json!(mill);
    let expected = [one.deliver(&first), one.deliver(&other), two.deliver(&first)];
    for expected in &expected {
        let answer = one.answer(expected).await;
        assert_eq!(
            (&answer["Status"], &answer["Data"]["IsFirstDeploy"]),
            (&json!("SUCCESS"), &json!("true"))
        );
    }
    let runs = [
        one.run_of(&one.newest().await, "migrate").await,
        one.run_of(&one.newest_of(&mill, "Tasks").await.unwrap(), "migrate").await,
    ];
    assert!(runs[0].completed_at <= runs[1].started_at || runs[1].completed_at <= runs[0].started_at);
    assert!(two.newest_of(&mill, "Tasks").await.is_none());
    one.end().await;
    two.end().await;
}

#[tokio::test]
async fn l26_a_task_that_runs_holds_up_no_other_stack_and_no_other_resource() {
    let (one, two) = (Stage::new().await, Stage::new().await);
    let running = [probe("migrate").sleeps(15_000)];
    one.install_all(&running);
    two.install(&probe("migrate"));
    let held = one.deliver(&event("Create", "r1", "1", &running));
    one.journal_has("run migrate").await;

    assert_eq!(two.send(&event("Create", "r1", "1", &running)).await["Status"], "SUCCESS");
    let after = [probe("warm")];
    one.install_all(&after);
    let mut resource = event("Create", "r2", "1", &after);
    resource["LogicalResourceId"] = json!("After");
    assert_eq!(one.send(&resource).await["Status"], "SUCCESS");

    // The first stack's task still holds its lock, and its history has no run of the other stack.
    let migrate = "migrate".parse().unwrap();
    assert!(one.table.state(&migrate).await.unwrap().lease.is_some());
    assert_eq!(two.table.state(&migrate).await.unwrap().lease, None);
    let history = |stage: &Stage| {
        let table = stage.table.clone();
        let migrate = migrate.clone();
        async move { table.history(&History::of(migrate, 10)).await.unwrap().runs.len() }
    };
    assert_eq!((history(&one).await, history(&two).await), (0, 1));
    one.host.kill("shop-migrate");
    assert_eq!(one.answer(&held).await["Status"], "FAILED");
    one.end().await;
    two.end().await;
}

#[tokio::test]
async fn l14_a_deployment_waits_for_another_run_of_its_task() {
    let stage = Stage::new().await;
    let tasks = [probe("migrate").sleeps(2000), probe("other")];
    stage.install_all(&tasks);
    let host = std::sync::Arc::clone(&stage.host);
    let by_hand = tokio::spawn(async move { host.invoke("shop-migrate", "{}").await.unwrap() });
    stage.journal_has("run migrate").await;
    let answer = stage.send(&event("Create", "r1", "1", &tasks)).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    assert!(!by_hand.await.unwrap().failed);
    let mut journal = stage.journal();
    journal.sort();
    assert_eq!(journal, ["run migrate", "run migrate", "run other"]);
    let run = stage.run_of(&stage.newest().await, "migrate").await;
    assert_eq!(run.status, Status::Completed);
    assert!(run.duration_ms() >= Duration::from_secs(2).as_millis().try_into().unwrap());
    stage.end().await;
}
