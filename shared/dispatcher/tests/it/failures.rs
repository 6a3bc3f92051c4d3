//! Tasks that fail: by their result, an error, a panic, an exit, a signal, want of memory, their timeout, or a function that
//! is no task.

use std::time::{Duration, Instant};

use lamplighter_core::{deployment::MAX_ANSWER_BYTES, status::Status};
use serde_json::json;

use crate::support::{Stage, event, probe};

#[tokio::test]
async fn l13_l16_each_kind_of_failure_is_in_the_answer_and_dependents_are_blocked() {
    const MODES: [(&str, &str); 6] = [
        ("fail", "failed on request [execution error, attempt 1]"),
        ("error", "refused on request [execution error, attempt 3]"),
        ("panic", "panicked: panicked on request [execution error, attempt 3]"),
        ("exit", "exit status 7"),
        ("abort", "signal: aborted"),
        ("memory", "signal: aborted"),
    ];
    let stage = Stage::new().await;
    let failing = MODES.map(|(mode, _)| probe(mode).mode(mode).with("PROBE_MEMORY_KB", "2000000"));
    let tasks = [&failing[..], &[probe("seed").needs(&["memory"]), probe("other")]].concat();
    stage.install_all(&tasks);
    let answer = stage.send(&event("Create", "r1", "1", &tasks)).await;
    let reason = answer["Reason"].as_str().unwrap();
    assert_eq!(answer["Status"], "FAILED");
    assert!(reason.contains("seed BLOCKED (run "), "{reason}");
    let entry = stage.newest().await;
    for (mode, expected_text) in MODES {
        let failure = reason.split("; ").find(|part| part.starts_with(&format!("{mode} FAILED (run ")));
        assert!(failure.is_some_and(|failure| failure.contains(expected_text)), "{mode}: {reason}");
        assert_eq!(stage.run_of(&entry, mode).await.status, Status::Failed, "{mode}");
    }
    assert_eq!(stage.run_of(&entry, "seed").await.status, Status::Blocked);
    assert_eq!(stage.run_of(&entry, "other").await.status, Status::Completed);
    assert!(stage.log.text().contains("memory allocation of "), "{}", stage.log.text());
    let attempts = |mode: &str| stage.journal().iter().filter(|line| **line == format!("run {mode}")).count();
    assert_eq!(MODES.map(|(mode, _)| attempts(mode)), [1, 3, 3, 1, 1, 1]);
    stage.end().await;
}

#[tokio::test]
async fn l05_a_task_past_its_timeout_fails_the_deployment() {
    let stage = Stage::new().await;
    let tasks = [probe("migrate").sleeps(15_000).times_out(2000), probe("seed").needs(&["migrate"])];
    stage.install_all(&tasks);
    let started = Instant::now();
    let answer = stage.send(&event("Create", "r1", "1", &tasks)).await;
    assert!(started.elapsed() < Duration::from_secs(12), "answered at once, not after the body's 15 seconds");
    assert_eq!(answer["Status"], "FAILED");
    let reason = answer["Reason"].as_str().unwrap();
    assert!(reason.starts_with("migrate TIMEOUT (run "), "{reason}");
    assert!(reason.contains("timed out: the deadline passed "), "{reason}");
    assert!(reason.contains("seed BLOCKED (run "), "{reason}");
    let run = stage.run_of(&stage.newest().await, "migrate").await;
    assert_eq!((run.status, run.attempts.len()), (Status::Timeout, 1));
    assert!((2000..10_000).contains(&run.duration_ms()), "{run:?}");
    assert_eq!(stage.journal(), ["run migrate"]);
    stage.end().await;
}

#[tokio::test]
async fn l13_a_task_that_is_killed_fails_its_deployment_at_once() {
    let stage = Stage::new().await;
    let tasks = [probe("migrate").sleeps(15_000)];
    stage.install(&tasks[0]);
    let expected = stage.deliver(&event("Create", "r1", "1", &tasks));
    stage.journal_has("run migrate").await;
    stage.host.kill("shop-migrate");
    let answer = stage.answer(&expected).await;
    let reason = answer["Reason"].as_str().unwrap();
    assert!(reason.starts_with("migrate FAILED") && reason.contains("signal: killed"), "{reason}");
    let run = stage.run_of(&stage.newest().await, "migrate").await;
    assert!(run.duration_ms() < 10_000, "{run:?}");
    assert_eq!(run.deployment.map(|it| it.version).as_deref(), Some("1"));
    // The lease is released: the next deployment does not wait for its end.
    stage.install(&probe("migrate"));
    assert_eq!(stage.send(&event("Update", "r2", "2", &tasks)).await["Status"], "SUCCESS");
    stage.end().await;
}

#[tokio::test]
async fn l13_functions_that_are_missing_or_no_tasks_fail_their_deployment() {
    let stage = Stage::new().await;
    let tasks = [
        probe("missing"),
        probe("stranger").with("PROBE_NO_TASK", "returns"),
        probe("angry").with("PROBE_NO_TASK", "fails").with("PROBE_BYTES", "1000000"),
        probe("exits").with("PROBE_NAME", "not a name"),
    ];
    stage.install_all(&tasks[1..]);
    stage.host.register(lamplighter_local::FunctionSpec::new("shop-exits", "/bin/false"));
    let expected = stage.deliver(&event("Create", "r1", "1", &tasks));
    let answer = stage.answer(&expected).await;
    assert!(expected.received()[0].body.len() <= MAX_ANSWER_BYTES);
    assert_eq!(answer["Status"], "FAILED");
    let entry = stage.newest().await;
    for (name, expected_text) in [
        ("missing", "was not started: function `shop-missing`"),
        ("stranger", "is not a Lamplighter task"),
        ("angry", "nonono"),
        ("exits", "exit status 1"),
    ] {
        let run = stage.run_of(&entry, name).await;
        let reason = run.reason().unwrap();
        assert!(run.status == Status::Failed && reason.contains(expected_text), "{name}: {reason}");
        assert!(answer["Reason"].as_str().unwrap().contains(name), "{name}: {answer}");
    }
    stage.end().await;
}

#[tokio::test]
async fn l13_a_function_failure_in_a_later_delivery_does_not_end_the_first_ones_run() {
    let stage = Stage::new().await;
    let tasks = [probe("migrate").sleeps(3000)];
    stage.install(&tasks[0]);
    let event = event("Create", "r1", "1", &tasks);
    let first = stage.deliver(&event);
    stage.journal_has("run migrate").await;
    stage.host.register(lamplighter_local::FunctionSpec::new("shop-migrate", "/bin/false"));
    let second = stage.deliver(&event);
    let (first, second) = (stage.answer(&first).await, stage.answer(&second).await);
    assert_eq!(first["Status"], "SUCCESS", "{first}");
    assert_eq!(first, second);
    assert_eq!(stage.journal(), ["run migrate"]);
    stage.end().await;
}

#[tokio::test]
async fn l13_many_long_messages_fit_in_the_ledger_and_the_answer() {
    const NAMES: [&str; 60] = names();
    let stage = Stage::new().await;
    let tasks = NAMES.map(|name| probe(name).mode("fail").set("bytes", 20_000));
    stage.install_all(&tasks);
    let expected = stage.deliver(&event("Create", "r1", "1", &tasks));
    let answer = stage.answer(&expected).await;
    assert!(expected.received()[0].body.len() <= MAX_ANSWER_BYTES);
    let reason = answer["Reason"].as_str().unwrap();
    assert!(reason.contains("failed on requestxxx"), "{reason}");
    assert_eq!(stage.journal().len(), 60);
    stage.end().await;
}

const fn names() -> [&'static str; 60] {
    [
        "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "b0", "b1", "b2", "b3", "b4", "b5", "b6",
        "b7", "b8", "b9", "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9", "d0", "d1", "d2", "d3",
        "d4", "d5", "d6", "d7", "d8", "d9", "e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8", "e9", "f0",
        "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9",
    ]
}

#[tokio::test]
async fn l23_neither_the_response_url_nor_its_token_is_logged_or_stored() {
    let stage = Stage::new().await;
    let tasks = [probe("migrate"), probe("seed").mode("fail")];
    stage.install_all(&tasks);
    let mut urls = Vec::new();
    let mut bodies = String::new();
    let mut malformed = event("Update", "r2", "2", &tasks);
    malformed["ResourceProperties"]["Tasks"] = json!("none");
    for event in [event("Create", "r1", "1", &tasks), malformed, event("Delete", "r3", "1", &tasks)] {
        let expected = stage.deliver(&event);
        bodies.push_str(&stage.answer(&expected).await.to_string());
        urls.push(expected.url.clone());
    }
    // One answer that is never accepted, so that its failure is logged, and one event that cannot be answered.
    stage.deliver_to(&event("Delete", "r4", "1", &tasks), "http://elsewhere.invalid/secret-token");
    urls.push("http://elsewhere.invalid/secret-token".to_owned());
    let gone = stage.answers.expect().unwrap();
    urls.push(gone.url.clone());
    stage.deliver_to(&event("Delete", "r5", "1", &tasks), &urls[4]);
    drop(gone);
    crate::support::eventually("the refusal is logged", || stage.log.text().contains("not https")).await;
    crate::support::eventually("the failure is logged", || stage.log.text().contains("was not accepted"))
        .await;
    let items = stage.table.client().scan().table_name("lamplighter").send().await.unwrap();
    let everything = format!("{}{bodies}{:?}", stage.log.text(), items.items());
    for url in &urls {
        let token = url.rsplit_once('/').unwrap().1;
        assert!(!everything.contains(token), "{token} is logged or stored");
    }
    assert!(everything.contains("migrate"));
    stage.end().await;
}
