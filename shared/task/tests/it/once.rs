//! Never twice: locks and ledgers, with real processes.

use std::{process::Stdio, time::Duration};

use lamplighter_core::{run::ErrorKind, status::Status};
use serde_json::{Value, json};

use crate::{
    shell::command,
    world::{RUN, World, answer, deploy, task},
};

#[tokio::test]
async fn c12_a_trigger_during_a_run_is_skipped_and_names_that_run() {
    let world = World::with(json!({ "mode": "wait-for-go" })).await;
    let (first, second) = tokio::join!(world.invoke(json!({})), async {
        world.body_begun().await;
        let second = world.invoke(json!({})).await;
        world.go();
        second
    });
    let (first, second) = (answer(&first), answer(&second));
    assert_eq!((&first["status"], &second["status"]), (&json!("COMPLETED"), &json!("SKIPPED")));
    assert_eq!(second["refused"]["reason"], "previous_instance_running");
    assert_eq!(second["refused"]["run_id"], first["run_id"]);
    let skipped = world.runs().await.into_iter().find(|run| run.status == Status::Skipped).unwrap();
    let reason = skipped.skipped_reason.unwrap();
    let wanted = format!("previous_instance_running: {}", first["run_id"].as_str().unwrap());
    assert!(reason.starts_with(&wanted), "{reason}");
    assert_eq!((world.bodies(), world.runs().await.len()), (1, 2));
}

#[tokio::test]
async fn c05_a_disabled_task_is_skipped_until_it_is_enabled() {
    let world = World::with(json!({})).await;
    world.table.enable(&task(), false).await.unwrap();
    assert_eq!(world.run().await.skipped_reason.as_deref(), Some("disabled"));
    assert_eq!(world.bodies(), 0);
    world.table.enable(&task(), true).await.unwrap();
    assert_eq!(world.run().await.status, Status::Completed);
}

#[tokio::test]
async fn c13_of_twenty_processes_at_once_one_runs() {
    let world = World::with(json!({ "mode": "wait-for-go" })).await;
    let start = || {
        let mut command = tokio::process::Command::from(command(&world, &json!({ "mode": "wait-for-go" })));
        command.arg("run").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let processes: Vec<_> = (0..20).map(|_| start()).collect();
    let (sender, mut reports) = tokio::sync::mpsc::unbounded_channel();
    for process in processes {
        let sender = sender.clone();
        tokio::spawn(async move {
            let output = process.wait_with_output().await.unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let report: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
            sender.send((report["status"].clone(), output.status.code())).unwrap();
        });
    }
    let mut next = async || {
        let report = tokio::time::timeout(Duration::from_secs(60), reports.recv()).await;
        report.expect("a process does not end").unwrap()
    };
    for _ in 0..19 {
        assert_eq!(next().await, (json!("SKIPPED"), Some(1)));
    }
    world.go();
    assert_eq!(next().await, (json!("COMPLETED"), Some(0)));
    let runs = world.runs().await;
    let skipped = runs.iter().filter(|run| run.status == Status::Skipped).count();
    assert_eq!((world.bodies(), runs.len(), skipped), (1, 20, 19));
}

#[tokio::test]
async fn c15_a_run_that_was_killed_ends_as_lost_and_the_task_runs_again() {
    let world = World::new().await;
    // The lease ends after the invocation's time and the clock margin.
    let mut spec = world.spec(json!({ "config": { "mode": "wait-for-go" } }));
    spec.timeout = Duration::from_secs(6);
    world.host.register(spec);
    let (killed, ()) = tokio::join!(world.invoke(deploy("deploy", RUN, "r1")), async {
        world.body_begun().await;
        assert_eq!(world.host.kill("probe"), 1);
    });
    assert!(killed.failed);
    assert_eq!(world.runs().await, [], "the killed run has no record yet");
    world.go();
    let next = async {
        loop {
            let report = answer(&world.invoke(deploy("update", "01KAJ0000000000000000000RP", "r2")).await);
            if report["refused"].is_null() {
                break report;
            }
            assert_eq!(report["refused"]["reason"], "previous_instance_running");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let next = tokio::time::timeout(Duration::from_secs(40), next).await.unwrap();
    assert_eq!(next["status"], "COMPLETED");
    let lost = world.table.run(&task(), RUN.parse().unwrap()).await.unwrap().unwrap();
    let error = lost.error.as_ref().unwrap();
    assert_eq!((lost.status, error.kind), (Status::Failed, ErrorKind::System));
    assert!(error.message.starts_with("lost: "), "{}", error.message);
    assert_eq!(lost.environment, "dev");
    assert_eq!(world.marks("bodies").len(), 2);

    // Another delivery of the first deployment runs nothing, and the record of its lost run stays.
    world.invoke(deploy("deploy", RUN, "r1")).await;
    assert_eq!(world.bodies(), 2);
    assert_eq!(world.table.run(&task(), RUN.parse().unwrap()).await.unwrap(), Some(lost));
}

#[tokio::test]
async fn l14_repeated_deliveries_of_an_envelope_run_the_body_once() {
    for envelope in [
        deploy("deploy", RUN, "r1"),
        json!({ "run_id": RUN }),
        json!({ "trigger": "schedule", "scheduled_for": "2026-11-21T06:00:00Z", "run_id": RUN }),
    ] {
        let world = World::with(json!({ "mode": "wait-for-go" })).await;
        let (first, ()) = tokio::join!(world.invoke(envelope.clone()), async {
            world.body_begun().await;
            let second = answer(&world.invoke(envelope.clone()).await);
            assert_eq!(second["refused"], json!({ "reason": "already_running", "run_id": RUN }));
            world.go();
        });
        assert_eq!(answer(&first)["status"], "COMPLETED");
        let record = world.last().await;
        let later = answer(&world.invoke(envelope).await);
        assert_eq!(later["refused"]["reason"], "already_ran", "{later}");
        assert_eq!((world.bodies(), world.runs().await), (1, vec![record]), "one body, one record");
        let state = world.table.state(&task()).await.unwrap();
        assert_eq!(state.lease, None, "the lease is released");

        world.invoke(json!({})).await;
        assert_eq!(world.bodies(), 2, "a request without the id starts a new run");
    }
}

#[tokio::test]
async fn l14_a_failed_run_is_not_run_again_by_its_own_envelope() {
    let world = World::with(json!({ "mode": "fatal" })).await;
    world.invoke(json!({ "run_id": RUN })).await;
    world.switch("context");
    let again = answer(&world.invoke(json!({ "run_id": RUN })).await);
    assert_eq!((&again["refused"]["reason"], world.bodies()), (&json!("already_ran"), 1), "{again}");
    assert_eq!(world.last().await.status, Status::Failed);
}

#[tokio::test]
async fn c20_one_tick_from_two_triggers_is_one_run() {
    let world = World::with(json!({})).await;
    let tick = |trigger: &str, at: &str| json!({ "trigger": trigger, "scheduled_for": at });
    let reports = [
        world.invoke(tick("schedule", "2026-11-21T06:00:00Z")).await,
        world.invoke(tick("pulse", "2026-11-21T06:00:00Z")).await,
        world.invoke(tick("pulse", "2026-11-21T05:55:00Z")).await,
        world.invoke(tick("pulse", "2026-11-21T06:05:00Z")).await,
    ];
    let refused = reports.map(|report| answer(&report)["refused"]["reason"].clone());
    assert_eq!(refused, [Value::Null, json!("already_ran"), json!("already_ran"), Value::Null]);
    assert_eq!((world.bodies(), world.runs().await.len()), (2, 2));
}

#[tokio::test]
async fn a_waiting_deployment_is_not_recorded_and_can_run_later() {
    let world = World::with(json!({ "mode": "wait-for-go" })).await;
    let (_, ()) = tokio::join!(world.invoke(json!({})), async {
        world.body_begun().await;
        let waits = answer(&world.invoke(deploy("deploy", RUN, "r1")).await);
        assert_eq!(waits["refused"]["reason"], "previous_instance_running");
        world.go();
    });
    assert_eq!(world.runs().await.len(), 1);
    let report = answer(&world.invoke(deploy("deploy", RUN, "r1")).await);
    assert_eq!((&report["status"], &report["run_id"]), (&json!("COMPLETED"), &json!(RUN)));
}
