//! Repeated deliveries, and dispatchers that are killed.

use std::{sync::Arc, time::Duration};

use lamplighter_local::Expectation;
use serde_json::json;

use crate::support::{
    DISPATCHER, Stage,
    answer_server::{AnswerServer, Reply},
    back, event, eventually, probe,
    proxy::{Fault, Proxy},
    signed,
};

const TABLE: &str = "AWS_ENDPOINT_URL_DYNAMODB";
const TIMEOUT: Duration = Duration::from_secs(60);

async fn delivered_to_everyone(stage: &Stage) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while stage.newest().await.answer.is_none_or(|answer| answer.delivered_to.is_empty()) {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn l14_a_repeated_delivery_runs_nothing_twice_and_gets_the_same_answer() {
    let stage = Stage::new().await;
    let tasks = [probe("migrate").sleeps(500), probe("seed").needs(&["migrate"])];
    stage.install_all(&tasks);
    let event = event("Create", "r1", "1", &tasks);
    let first = stage.answers.expect().unwrap();
    let url = signed(&first.url, 0);
    stage.deliver_to(&event, &url);
    stage.deliver_to(&event, &url);
    let second = stage.deliver(&event);
    let answers = [stage.answer(&first).await, stage.answer(&second).await];
    assert_eq!(answers[0]["Status"], "SUCCESS", "{}", answers[0]);
    assert_eq!(answers[0], answers[1]);
    delivered_to_everyone(&stage).await;
    // Later, and with other properties, which are ignored.
    let mut later = event.clone();
    later["ResourceProperties"]["Version"] = json!("2");
    let third = stage.answers.expect().unwrap();
    let url = signed(&third.url, 0);
    stage.deliver_to(&later, &url);
    stage.answer(&third).await;
    stage.deliver_to(&later, &url);
    eventually("all deliveries are done", || stage.log.text().contains("answered SUCCESS")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let bytes = first.received()[0].body.clone();
    for expected in [&first, &second, &third] {
        let received = expected.received();
        assert_eq!(received.len(), 1);
        assert_eq!(received[0].body, bytes);
        assert!(matches!(received[0].content_type.as_deref(), None | Some("")));
    }
    assert_eq!(stage.journal(), ["run migrate", "run seed"]);
    stage.end().await;
}

/// A stage with two tasks, and a faulty network between dispatcher and table.
async fn behind_a_proxy() -> (Stage, Proxy, serde_json::Value) {
    let stage = Stage::new().await;
    let proxy = Proxy::before(&stage.endpoints[TABLE]).await;
    stage.dispatcher(TIMEOUT, &[(TABLE, &proxy.endpoint)]);
    let tasks = [probe("migrate"), probe("seed").needs(&["migrate"])];
    stage.install_all(&tasks);
    (stage, proxy, event("Create", "r1", "1", &tasks))
}

#[tokio::test]
async fn l19_killed_before_the_entry_is_written_the_next_delivery_deploys() {
    let (stage, proxy, event) = behind_a_proxy().await;
    let met = proxy.fail("TransactWriteItems", 1, Fault::Swallowed);
    let expected = stage.deliver(&event);
    eventually("the ledger is to be opened", || *met.lock().unwrap() == 1).await;
    assert_eq!(stage.host.kill(DISPATCHER), 1);
    assert_eq!(stage.answer(&expected).await["Status"], "SUCCESS");
    assert_eq!(stage.journal(), ["run migrate", "run seed"]);
    stage.end().await;
}

#[tokio::test]
async fn l19_killed_during_a_wave_the_next_delivery_continues() {
    let stage = Stage::new().await;
    let tasks = [probe("migrate").sleeps(1500), probe("quick"), probe("seed").needs(&["migrate"])];
    stage.install_all(&tasks);
    let expected = stage.deliver(&event("Create", "r1", "1", &tasks));
    for line in ["run migrate", "run quick"] {
        stage.journal_has(line).await;
    }
    assert_eq!(stage.host.kill(DISPATCHER), 1);
    let answer = stage.answer(&expected).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    assert_eq!(stage.journal().len(), 3);
    assert_eq!(stage.journal()[2], "run seed");
    stage.end().await;
}

#[tokio::test]
async fn l19_killed_after_the_tasks_the_next_delivery_answers() {
    let (stage, proxy, event) = behind_a_proxy().await;
    let mut transactions = 0;
    let met: Arc<std::sync::Mutex<usize>> = Arc::default();
    let count = Arc::clone(&met);
    proxy.rule(move |head| {
        transactions += usize::from(head.contains("TransactWriteItems"));
        if transactions == 2 && *count.lock().unwrap() == 0 {
            *count.lock().unwrap() = 1;
            return Fault::Swallowed;
        }
        Fault::None
    });
    let expected = stage.deliver(&event);
    eventually("the answer is to be decided", || *met.lock().unwrap() == 1).await;
    assert_eq!(stage.host.kill(DISPATCHER), 1);
    assert_eq!(stage.answer(&expected).await["Status"], "SUCCESS");
    assert_eq!(stage.journal(), ["run migrate", "run seed"]);
    stage.end().await;
}

#[tokio::test]
async fn l19_killed_before_a_decided_answer_was_sent_the_next_delivery_sends_it() {
    let stage = Stage::new().await;
    let server = AnswerServer::start(&[Reply::Silence, Reply::Status(200)]).await;
    stage.dispatcher(TIMEOUT, &[("LAMPLIGHTER_ANSWER_ENDPOINT", &server.endpoint)]);
    let tasks = [probe("migrate")];
    stage.install(&tasks[0]);
    stage.deliver_to(&event("Create", "r1", "1", &tasks), &server.url());
    eventually("the answer is on its way", || server.received().len() == 1).await;
    let decided = stage.newest().await.answer.unwrap().body;
    assert_eq!(stage.host.kill(DISPATCHER), 1);
    eventually("accepted", || !server.accepted().is_empty()).await;
    assert_eq!(server.accepted(), [decided]);
    assert_eq!(stage.journal(), ["run migrate"]);
    stage.end().await;
}

/// Kills the dispatcher on every delivery, until the fallback responder has answered.
async fn kill_on_every_delivery(stage: &Stage, expected: &Expectation) {
    eventually("the fallback responder answers", || {
        stage.host.kill(DISPATCHER);
        !expected.received().is_empty()
    })
    .await;
}

#[tokio::test]
async fn l19_killed_on_every_delivery_a_deployment_is_answered_failed() {
    let (stage, proxy, event) = behind_a_proxy().await;
    proxy.rule(|_| Fault::Swallowed);
    let expected = stage.deliver(&event);
    kill_on_every_delivery(&stage, &expected).await;
    let answer = stage.answer(&expected).await;
    assert_eq!(answer["Status"], "FAILED");
    let reason = answer["Reason"].as_str().unwrap();
    assert!(
        reason.contains("on every delivery of request r1") && reason.contains("signal: killed"),
        "{reason}"
    );
    assert_eq!(stage.journal().len(), 0);
    assert_eq!(expected.received().len(), 1);
    stage.end().await;
}

#[tokio::test]
async fn l19_killed_on_every_delivery_during_a_task_it_is_answered_failed() {
    let stage = Stage::new().await;
    let tasks = [probe("migrate").sleeps(2000)];
    stage.install(&tasks[0]);
    let expected = stage.deliver(&event("Create", "r1", "1", &tasks));
    stage.journal_has("run migrate").await;
    kill_on_every_delivery(&stage, &expected).await;
    let answer = stage.answer(&expected).await;
    assert_eq!(answer["Status"], "FAILED", "{answer}");
    assert_eq!(stage.newest().await.answer.map(|answer| answer.success), Some(false));
    assert_eq!(stage.journal(), ["run migrate"]);
    stage.end().await;
}

#[tokio::test]
async fn l19_killed_on_every_delivery_a_rollback_is_answered_success() {
    let stage = Stage::new().await;
    let tasks = [probe("migrate").undoes().set("rollback_mode", "slow")];
    stage.install(&tasks[0]);
    for (kind, version) in [("Create", "1"), ("Update", "2")] {
        stage.status(&format!("{}_IN_PROGRESS", kind.to_uppercase()));
        assert_eq!(stage.send(&event(kind, version, version, &tasks)).await["Status"], "SUCCESS");
    }
    stage.status("UPDATE_ROLLBACK_IN_PROGRESS");
    let expected = stage.deliver(&back("back", "1", "2", &tasks));
    stage.journal_has("rollback migrate").await;
    kill_on_every_delivery(&stage, &expected).await;
    let answer = stage.answer(&expected).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    assert!(
        answer.to_string().contains("on every delivery of request back"),
        "{answer}\n{}",
        stage.log.text()
    );
    stage.end().await;
}

#[tokio::test]
async fn l20_tasks_that_take_longer_than_one_invocation_are_handed_over() {
    let stage = Stage::with_dispatcher_timeout(Duration::from_secs(4)).await;
    let tasks = [
        probe("a").sleeps(2000),
        probe("b").needs(&["a"]).sleeps(5000),
        probe("c").needs(&["b"]).sleeps(2000),
    ];
    stage.install_all(&tasks);
    let expected = stage.deliver(&event("Create", "r1", "1", &tasks));
    let answer = stage.answer(&expected).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    assert_eq!(stage.journal(), ["run a", "run b", "run c"]);
    assert!(stage.log.text().matches("handing over").count() >= 2);
    assert!(!stage.log.text().contains("timed out"), "{}", stage.log.text());
    stage.end().await;
}

#[tokio::test]
async fn l20_before_the_service_timeout_the_answer_names_the_unfinished_tasks() {
    let stage = Stage::new().await;
    let tasks = [probe("quick"), probe("slow").sleeps(15_000), probe("later").needs(&["slow"])];
    stage.install_all(&tasks);
    let mut event = event("Create", "r1", "1", &tasks);
    event["ResourceProperties"]["ServiceTimeout"] = json!("8");
    let began = tokio::time::Instant::now();
    let expected = stage.deliver(&event);
    let answer = stage.answer(&expected).await;
    let took = began.elapsed();
    let reason = answer["Reason"].as_str().unwrap();
    assert_eq!(answer["Status"], "FAILED");
    assert!(reason.contains("within the 8 s of the resource's ServiceTimeout"), "{reason}");
    assert!(reason.contains("slow") && !reason.contains("quick"), "{reason}");
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(8), "{took:?}");
    let mut journal = stage.journal();
    journal.sort();
    assert_eq!(journal, ["run quick", "run slow"]);
    stage.end().await;
}
