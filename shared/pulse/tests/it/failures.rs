//! Failures around a pulse: unreadable items, throttled functions, lost runs.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_core::{
    claim::{Decision, Occasion, Request},
    definition::Overlap,
    id::RunId,
    run::Trigger,
    status::Status,
};
use serde_json::json;

use crate::stage::{Stage, name, probe, tick};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_item_is_reported_and_other_tasks_run() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![probe("a", now, [0]), probe("b", now, [0])]).await;
    stage.damage("a").await;
    let report = stage.pulse().await;
    assert_eq!((&report["due"], &report["succeeded"], &report["waiting"]), (&json!(2), &json!(1), &json!(1)));
    let error = report["errors"][0].as_str().unwrap();
    assert!(error.contains("TASK#a"), "{error}");
    assert_eq!(stage.started(), ["b"]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c20_c21_twenty_minutes_of_throttling_lose_no_run_and_repeat_none() {
    let now = Timestamp::now();
    let probes = vec![
        probe("a", now, 0..=19).catches_up("all within 1h"),
        probe("b", now, 0..=19).catches_up("last"),
        probe("c", now, 0..=19).catches_up("none"),
    ];
    let stage = Stage::new(now, 19, probes).await;
    stage.throttled.lock().unwrap().extend(["shop-a".to_owned(), "shop-b".to_owned(), "shop-c".to_owned()]);
    for _ in 0..20 {
        let report = stage.pulse().await;
        assert_eq!(report["executed"], 0, "{report}");
        stage.next_minute(0).await;
    }
    let waiting = stage.table.pulse_state().await.unwrap().waiting;
    assert_eq!(waiting.iter().filter(|it| it.task == name("a")).count(), 20);
    stage.throttled.lock().unwrap().clear();
    let report = stage.pulse().await;
    assert_eq!((&report["succeeded"], &report["waiting"]), (&json!(21), &json!(0)), "{report}");
    let a: Vec<_> = (0..=19).rev().map(|ago| format!("a {}", tick(now, ago))).collect();
    let ran: Vec<_> = stage.journal().into_iter().filter(|line| line.starts_with("a ")).collect();
    assert_eq!(ran, a);
    assert!(stage.journal().contains(&format!("b {}", tick(now, 0))));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c15_a_lost_run_is_recorded_and_notified_by_the_next_pulse() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![probe("a", now, [20])]).await;
    let lost = tick(now, 20);
    let began = now.checked_sub(Duration::from_secs(100)).unwrap();
    let request = Request {
        run_id: RunId::new(began, 7),
        holder: "dead".into(),
        trigger: Trigger::Schedule,
        occasion: Occasion::Tick(lost),
        overlap: Overlap::Skip,
        runs_once: false,
        now: began,
        until: now.checked_sub(Duration::from_secs(50)).unwrap(),
    };
    assert!(matches!(stage.table.claim(&name("a"), &request).await.unwrap(), Decision::Granted(_)));
    let report = stage.pulse().await;
    assert_eq!((&report["lost"], &report["due"]), (&json!(1), &json!(0)), "{report}");
    let run = stage.table.run(&name("a"), request.run_id).await.unwrap().unwrap();
    assert_eq!(run.status, Status::Failed);
    let [message] = &stage.hook.messages()[..] else { panic!("{:?}", stage.hook.messages()) };
    assert_eq!((&message["status"], &message["kind"]), (&json!("FAILED"), &json!("system")));
    assert_eq!(message["scheduled_for"], json!(lost.to_string()));
    stage.end().await;
}
