//! Lost connections.

use std::time::Duration;

use lamplighter_core::status::Status;

use crate::support::{
    FALLBACK, Stage, event, probe,
    proxy::{Fault, Proxy},
};

const LAMBDA: &str = "AWS_ENDPOINT_URL_LAMBDA";
const TABLE: &str = "AWS_ENDPOINT_URL_DYNAMODB";
const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn l21_an_invoke_whose_connection_is_lost_runs_its_task_once() {
    for fault in [
        Fault::CutAfter(Duration::from_millis(700)),
        Fault::Silence,
        Fault::ResponseLost,
        Fault::CutAfter(Duration::ZERO),
        Fault::Refused,
    ] {
        let stage = Stage::new().await;
        let proxy = Proxy::before(&stage.endpoints[LAMBDA]).await;
        stage.dispatcher(TIMEOUT, &[(LAMBDA, &proxy.endpoint)]);
        let tasks = [probe("migrate").sleeps(1500), probe("seed").needs(&["migrate"])];
        stage.install_all(&tasks);
        let met = proxy.fail("shop-migrate/invocations", 1, fault);
        let answer = stage.send(&event("Create", "r1", "1", &tasks)).await;
        assert_eq!(answer["Status"], "SUCCESS", "{fault:?}: {answer}");
        assert_eq!(*met.lock().unwrap(), 1);
        assert_eq!(stage.journal(), ["run migrate", "run seed"], "{fault:?}");
        stage.end().await;
    }
}

#[tokio::test]
async fn l21_the_failure_of_a_task_whose_connection_was_lost_is_read_from_its_record() {
    let stage = Stage::new().await;
    let proxy = Proxy::before(&stage.endpoints[LAMBDA]).await;
    stage.dispatcher(TIMEOUT, &[(LAMBDA, &proxy.endpoint)]);
    let tasks = [probe("migrate").sleeps(1500).mode("fail")];
    stage.install(&tasks[0]);
    proxy.fail("shop-migrate/invocations", 1, Fault::Silence);
    let answer = stage.send(&event("Create", "r1", "1", &tasks)).await;
    assert!(answer["Reason"].as_str().unwrap().contains("failed on request"), "{answer}");
    assert_eq!(stage.journal(), ["run migrate"]);
    stage.end().await;
}

#[tokio::test]
async fn l21_a_process_that_dies_after_its_connection_is_lost_when_its_lease_ends() {
    let stage = Stage::new().await;
    let proxy = Proxy::before(&stage.endpoints[LAMBDA]).await;
    stage.dispatcher(TIMEOUT, &[(LAMBDA, &proxy.endpoint)]);
    let tasks = [probe("migrate").sleeps(1500).mode("abort")];
    stage.install(&tasks[0]);
    let mut spec =
        lamplighter_local::FunctionSpec::new("shop-migrate", crate::support::example("dispatcher-probe"));
    spec.environment.clone_from(&stage.endpoints);
    spec.environment.insert("PROBE_NAME".into(), "migrate".into());
    let config = serde_json::json!({ "config": { "sleep_ms": 100, "mode": "abort" } });
    spec.environment.insert("LAMPLIGHTER_SETTINGS".into(), config.to_string());
    spec.timeout = Duration::from_secs(5);
    stage.host.register(spec);
    proxy.fail("shop-migrate/invocations", 1, Fault::Silence);
    let answer = stage.send(&event("Create", "r1", "1", &tasks)).await;
    let reason = answer["Reason"].as_str().unwrap();
    assert!(reason.contains("lost: the run did not record its end"), "{reason}");
    let run = stage.run_of(&stage.newest().await, "migrate").await;
    assert_eq!((run.status, run.environment.as_str()), (Status::Failed, "dev"));
    stage.end().await;
}

#[tokio::test]
async fn l21_a_lost_response_of_the_table_repeats_nothing() {
    // The dispatcher opens, records progress, closes, and records delivery; the task claims, records and releases.
    for lost in 0..4 {
        let stage = Stage::new().await;
        let of_dispatcher = Proxy::before(&stage.endpoints[TABLE]).await;
        let of_task = Proxy::before(&stage.endpoints[TABLE]).await;
        stage.dispatcher(TIMEOUT, &[(TABLE, &of_dispatcher.endpoint)]);
        let tasks = [probe("migrate").with(TABLE, &of_task.endpoint)];
        stage.install(&tasks[0]);
        for proxy in [&of_dispatcher, &of_task] {
            let mut writes = 0;
            proxy.rule(move |head| {
                let is_write =
                    ["TransactWriteItems", "UpdateItem", "PutItem"].iter().any(|w| head.contains(w));
                writes += usize::from(is_write);
                if is_write && writes == lost + 1 { Fault::ResponseLost } else { Fault::None }
            });
        }
        let expected = stage.deliver(&event("Create", "r1", "1", &tasks));
        let answer = stage.answer(&expected).await;
        assert_eq!(answer["Status"], "SUCCESS", "{lost}: {answer}");
        assert_eq!(stage.journal(), ["run migrate"], "{lost}");
        assert_eq!(expected.received().len(), 1, "{lost}");
        let entry = stage.newest().await;
        assert_eq!(entry.answer.map(|answer| answer.success), Some(true));
        assert_eq!(stage.table.state(&"migrate".parse().unwrap()).await.unwrap().lease, None);
        stage.end().await;
    }
}

#[tokio::test]
async fn l19_a_table_that_fails_during_a_deployment_causes_another_delivery() {
    let stage = Stage::new().await;
    let proxy = Proxy::before(&stage.endpoints[TABLE]).await;
    stage.dispatcher(TIMEOUT, &[(TABLE, &proxy.endpoint)]);
    let tasks = [probe("migrate").sleeps(500), probe("other").sleeps(500), probe("seed").needs(&["migrate"])];
    stage.install_all(&tasks);
    // Fails every read of a run or a task, until the retries of the SDK and of one delivery are used up.
    let (log, mut opened) = (stage.log.clone(), false);
    proxy.rule(move |head| {
        opened |= head.contains("TransactWriteItems");
        let has_failed = || log.text().contains("read a run");
        if opened && head.contains("GetItem") && !has_failed() { Fault::Refused } else { Fault::None }
    });
    let answer = stage.send(&event("Create", "r1", "1", &tasks)).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}\n{}", stage.log.text());
    assert!(stage.log.text().contains("read a run"), "{}", stage.log.text());
    assert_eq!(stage.journal().len(), 3);
    stage.end().await;
}

#[tokio::test]
async fn l19_without_a_table_a_deployment_is_answered_failed_with_the_cause() {
    let stage = Stage::new().await;
    for name in [crate::support::DISPATCHER, FALLBACK] {
        stage.register(name, TIMEOUT, &[(TABLE, "http://127.0.0.1:9")]);
    }
    let expected = stage.deliver(&event("Create", "r1", "1", &[probe("migrate")]));
    let answer = stage.answer(&expected).await;
    assert_eq!(answer["Status"], "FAILED");
    assert!(answer["Reason"].as_str().unwrap().contains("read a ledger"), "{answer}");
    stage.end().await;
}
