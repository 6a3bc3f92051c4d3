//! Due ticks: their order by priority and dependencies, their policies, and one run for each.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_core::status::Status;
use serde_json::json;

use crate::stage::{PULSE, Stage, eventually, name, probe, tick};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c06_one_pulse_runs_five_priorities_in_order() {
    let now = Timestamp::now();
    let words = ["low", "critical", "background", "high", "medium"];
    let probes = words.map(|word| probe(word, now, [0]).cron(|cron| cron.priority = word.parse().unwrap()));
    let stage = Stage::new(now, 0, probes.into()).await;
    let report = stage.pulse().await;
    let mut starts = Vec::new();
    for word in words {
        starts.push((stage.run(word, tick(now, 0)).await.unwrap().started_at, word));
    }
    starts.sort();
    let started: Vec<_> = starts.into_iter().map(|(_, word)| word).collect();
    assert_eq!(started, ["critical", "high", "medium", "low", "background"]);
    for (key, wanted) in [("due", 5), ("executed", 5), ("succeeded", 5), ("failed", 0), ("waiting", 0)] {
        assert_eq!(report[key], wanted, "{key} of {report}");
    }
    let pulses = stage.table.pulses(5).await.unwrap();
    assert_eq!((pulses.records.len(), pulses.records[0].tally.succeeded), (1, 5));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c05_a_disabled_task_is_skipped_until_it_is_enabled() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![probe("a", now, [0, 1])]).await;
    stage.table.enable(&name("a"), false).await.unwrap();
    let report = stage.pulse().await;
    assert_eq!((&report["skipped"], &report["executed"]), (&json!(1), &json!(0)), "{report}");
    let run = stage.run("a", tick(now, 0)).await.unwrap();
    assert_eq!((run.status, run.skipped_reason.as_deref()), (Status::Skipped, Some("disabled")));
    assert_eq!((run.scheduled_for, run.environment.as_str()), (Some(tick(now, 0)), "test"));
    stage.table.enable(&name("a"), true).await.unwrap();
    // The same tick again finds its record; no run is started.
    stage.next_minute(1).await;
    assert_eq!(stage.pulse().await["skipped"], 1);
    // The same holds if Lambda delivers an invocation of that tick late.
    let late = json!({ "trigger": "pulse", "run_id": run.id, "scheduled_for": tick(now, 0).to_string() });
    let refused = stage.host.invoke("shop-a", late.to_string()).await.unwrap();
    let refused: serde_json::Value = serde_json::from_slice(&refused.payload).unwrap();
    assert_eq!(refused["refused"]["reason"], "already_ran", "{refused}");
    assert_eq!(stage.journal(), [] as [&str; 0]);
    // Another tick runs.
    let next = json!({ "trigger": "pulse", "scheduled_for": now.to_string() });
    assert!(!stage.host.invoke("shop-a", next.to_string()).await.unwrap().failed);
    assert_eq!(stage.journal().len(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c10_a_dependency_blocks_until_it_has_completed() {
    let now = Timestamp::now();
    let probes =
        || vec![probe("a", now, [10]), probe("b", now, [0]).needs("a"), probe("c", now, [0]).needs("b")];
    let stage = Stage::new(now, 0, probes()).await;
    let report = stage.pulse().await;
    assert_eq!((&report["blocked"], &report["executed"]), (&json!(2), &json!(0)), "{report}");
    let run = stage.run("b", tick(now, 0)).await.unwrap();
    assert_eq!(run.status, Status::Blocked);
    assert_eq!(run.reason(), Some("`a` has never run, and this task depends on it"));
    let reason = stage.run("c", tick(now, 0)).await.unwrap().reason().unwrap().to_owned();
    assert!(reason.starts_with("the last run of `b` ended BLOCKED"), "{reason}");
    stage.end().await;

    // All three are due at once: each runs after its dependency.
    let mut probes = probes();
    probes[0] = probe("a", now, [0]).set("sleep_ms", 500);
    let stage = Stage::new(now, 0, probes).await;
    let report = stage.pulse().await;
    assert_eq!((&report["succeeded"], &report["blocked"]), (&json!(3), &json!(0)), "{report}");
    assert_eq!(stage.started(), ["a", "b", "c"]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c20_schedule_and_pulse_deliver_one_tick_and_there_is_one_run() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![probe("a", now, [0]).set("sleep_ms", 1500)]).await;
    let envelope = json!({ "trigger": "schedule", "scheduled_for": tick(now, 0).to_string() }).to_string();
    for order in ["before", "during", "after"] {
        if order != "after" {
            stage.host.invoke_event("shop-a", envelope.clone()).unwrap();
        }
        if order == "during" {
            eventually("the run begins", || stage.journal().len() == 1).await;
        }
        stage.pulse().await;
        stage.next_minute(1).await;
    }
    assert_eq!((stage.journal().len(), stage.records("a").await), (1, 1), "{}", stage.log.text());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c21_after_ten_minutes_without_a_pulse_each_catch_up_policy_applies() {
    let now = Timestamp::now();
    let probes = vec![
        probe("none", now, 4..=9).catches_up("none"),
        probe("last", now, 0..=9).catches_up("last"),
        probe("all", now, 0..=9).catches_up("all within 1h"),
        probe("some", now, 0..=9).catches_up("all within 4m 59s"),
    ];
    let stage = Stage::new(now, 9, probes).await;
    let report = stage.pulse().await;
    let of = |task: &str| stage.journal().iter().filter(|line| line.starts_with(&format!("{task} "))).count();
    // The window of `some` excludes the oldest ticks. Its edge may have moved past one more by now.
    assert_eq!([of("none"), of("last"), of("all")], [0, 1, 10], "{report}");
    assert!((4..=5).contains(&of("some")), "{report}");
    assert!(stage.journal().contains(&format!("last {}", tick(now, 0))));
    let all: Vec<_> = (0..=9).rev().map(|ago| format!("all {}", tick(now, ago))).collect();
    let ran: Vec<_> = stage.journal().into_iter().filter(|line| line.starts_with("all ")).collect();
    assert_eq!(ran, all, "oldest first");
    assert!(report["missed"].as_u64().unwrap() >= 6 + 9 + 5, "{report}");
    // The next pulse starts nothing more.
    stage.next_minute(0).await;
    stage.pulse().await;
    assert_eq!(stage.journal().len(), 11 + of("some"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c14_a_tick_of_a_buffering_task_waits_for_the_run_in_progress() {
    let now = Timestamp::now();
    let folder = tempfile::tempdir().unwrap();
    let end = folder.path().join("end");
    let slow = probe("a", now, [0]).overlaps("buffer").set("wait_for", end.display().to_string());
    let stage = Stage::new(now, 0, vec![slow]).await;
    stage.host.invoke_event("shop-a", "{}").unwrap();
    eventually("the run begins", || stage.journal().len() == 1).await;
    let report = stage.pulse().await;
    assert_eq!((&report["waiting"], &report["due"]), (&json!(1), &json!(1)), "{report}");
    assert_eq!(report["ticks"][0]["became"], "WAITING for its run in progress");
    std::fs::write(end, "").unwrap();
    let over = async {
        while stage.table.state(&name("a")).await.unwrap().lease.is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), over).await.unwrap();
    stage.next_minute(0).await;
    let report = stage.pulse().await;
    assert_eq!((&report["succeeded"], stage.journal().len()), (&json!(1), 2), "{report}");
    assert_eq!(stage.records("a").await, 2, "nothing was skipped");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_dry_run_runs_nothing_and_force_runs_the_chosen_task() {
    let now = Timestamp::now();
    let probes =
        vec![probe("a", now, [0]), probe("b", now, [0]), probe("c", now, [20]), probe("d", now, [20])];
    let stage = Stage::new(now, 0, probes).await;
    let dry = stage.send(json!({ "dry_run": true })).await;
    assert_eq!((&dry["dry_run"], &dry["due"], &dry["executed"]), (&json!(true), &json!(2), &json!(0)));
    assert_eq!(dry["ticks"][0]["became"], "DUE");
    assert_eq!(stage.journal(), [] as [&str; 0]);
    let chosen = stage.send(json!({ "task": "b" })).await;
    assert_eq!((&chosen["due"], &chosen["succeeded"]), (&json!(1), &json!(1)), "{chosen}");
    let forced = stage.send(json!({ "force": true, "task": "c" })).await;
    assert_eq!((&forced["due"], &forced["succeeded"]), (&json!(1), &json!(1)), "{forced}");
    assert_eq!(stage.started(), ["b", "c"]);
    let unknown = stage.send(json!({ "task": "x" })).await;
    assert_eq!(unknown["errors"][0], "there is no task `x`; the tasks are a, b, c, d");
    // The minute's own work is not done yet. The tick of `b` already has its run.
    let report = stage.pulse().await;
    assert_eq!((&report["due"], &report["succeeded"]), (&json!(2), &json!(2)), "{report}");
    assert_eq!(stage.started(), ["b", "c", "a"]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_of_two_pulses_in_one_minute_one_works() {
    // Near the end of a minute, waits for the next one, so that both fall into the same.
    let second = Timestamp::now().as_second().rem_euclid(60);
    if second > 50 {
        tokio::time::sleep(Duration::from_secs(61 - second.unsigned_abs())).await;
    }
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![probe("a", now, [0])]).await;
    let (one, other) = tokio::join!(stage.send(json!({})), stage.send(json!({})));
    let worked = |report: &serde_json::Value| usize::from(report["worked"] == true);
    assert_eq!(worked(&one) + worked(&other), 1, "{one} {other}");
    assert_eq!(stage.started(), ["a"]);
    assert_eq!(stage.table.pulses(5).await.unwrap().records.len(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c20_after_a_killed_pulse_the_next_one_continues_and_nothing_runs_twice() {
    let now = Timestamp::now();
    let probes = vec![
        probe("a", now, [0]).set("sleep_ms", 2000),
        probe("b", now, [0]).needs("a"),
        probe("c", now, [0]),
    ];
    let stage = Stage::new(now, 0, probes).await;
    stage.host.invoke_event(PULSE, "{}").unwrap();
    eventually("both have begun", || stage.journal().len() == 2).await;
    assert_eq!(stage.host.kill(PULSE), 1);
    // Lambda delivers the event again; that delivery does nothing, since its minute is taken. The next minute's pulse works.
    eventually("the event was delivered again", || {
        stage.host.in_progress().iter().all(|invocation| invocation.function != PULSE)
    })
    .await;
    stage.next_minute(0).await;
    let report = stage.pulse().await;
    let mut started = stage.started();
    started.sort();
    assert_eq!(started, ["a", "b", "c"], "{report}");
    assert_eq!(
        (&report["due"], &report["failed"], &report["missed"]),
        (&json!(3), &json!(0), &json!(0)),
        "{report}"
    );
    for task in ["a", "b", "c"] {
        assert_eq!(stage.records(task).await, 1);
    }
    stage.end().await;
}
