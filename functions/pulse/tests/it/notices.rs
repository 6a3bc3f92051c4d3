//! Who is told: once of each failure, never of a success.

use std::{sync::atomic::Ordering, time::Duration};

use jiff::Timestamp;
use lamplighter_core::status::Status;
use serde_json::json;

use crate::stage::{PULSE, Stage, eventually, name, probe, tick};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p06_a_failure_is_told_once_and_a_success_never() {
    let now = Timestamp::now();
    let probes = vec![probe("good", now, [0]), probe("bad", now, [0]).set("mode", "fail")];
    let stage = Stage::new(now, 0, probes).await;
    // Whoever is told is not there the first time; Lambda delivers the failure again.
    stage.hook.refusals.store(1, Ordering::SeqCst);
    let report = stage.pulse().await;
    assert_eq!((&report["succeeded"], &report["failed"]), (&json!(1), &json!(1)), "{report}");
    eventually("somebody is told", || !stage.hook.messages().is_empty()).await;
    let run = stage.run("bad", tick(now, 0)).await.unwrap();
    let wanted = json!({
        "task": "bad", "run_id": run.id, "status": "FAILED", "kind": "execution", "message": "told to fail",
        "scheduled_for": tick(now, 0).to_string(), "environment": "test", "stack": "shop",
    });
    assert_eq!(stage.hook.messages(), [wanted]);
    // The same failure again, as Lambda may deliver it.
    let record = json!({
        "requestContext": { "requestId": "r", "functionArn": "arn:aws:lambda:us-east-1:0:function:shop-bad:$LATEST" },
        "requestPayload": { "trigger": "pulse", "run_id": run.id, "scheduled_for": tick(now, 0).to_string() },
        "responsePayload": { "errorType": "FAILED", "errorMessage": "told to fail" },
    });
    stage.send(record).await;
    assert_eq!(stage.hook.messages().len(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p06_a_run_whose_process_died_is_ended_and_told_at_once() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![probe("a", now, [20]).set("mode", "exit")]).await;
    let envelope = json!({ "trigger": "schedule", "scheduled_for": tick(now, 0).to_string() });
    stage.host.invoke_event("shop-a", envelope.to_string()).unwrap();
    eventually("somebody is told", || !stage.hook.messages().is_empty()).await;
    let message = stage.hook.messages().remove(0);
    assert!(message["message"].as_str().unwrap().contains("Runtime.ExitError"), "{message}");
    let run = stage.table.run_for(&name("a"), tick(now, 0)).await.unwrap().unwrap();
    assert_eq!((run.status, message["run_id"].clone()), (Status::Failed, json!(run.id)));
    assert!(stage.table.state(&name("a")).await.unwrap().lease.is_none(), "it is free for the next run");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c22_a_tick_that_nothing_delivered_is_noticed_and_told() {
    let now = Timestamp::now();
    let probes = ["delivered", "missed", "disabled"].map(|task| probe(task, now, [5]).of_eventbridge());
    let stage = Stage::new(now, 9, probes.into()).await;
    stage.table.enable(&name("disabled"), false).await.unwrap();
    let envelope = json!({ "trigger": "schedule", "scheduled_for": tick(now, 5).to_string() });
    let delivered = stage.host.invoke("shop-delivered", envelope.to_string()).await.unwrap();
    assert!(!delivered.failed);
    let report = stage.pulse().await;
    assert_eq!((&report["missed"], &report["due"]), (&json!(1), &json!(0)), "{report}");
    assert_eq!(report["misses"][0]["task"], "missed");
    let [message] = &stage.hook.messages()[..] else { panic!("{:?}", stage.hook.messages()) };
    assert_eq!((&message["task"], &message["status"]), (&json!("missed"), &json!("MISSED")));
    stage.next_minute(9).await;
    stage.pulse().await;
    assert_eq!(stage.hook.messages().len(), 1, "once");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_event_for_the_pulse_is_refused_with_what_is() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let refused = stage.host.invoke(PULSE, json!({ "Records": [] }).to_string()).await.unwrap();
    let said = String::from_utf8_lossy(&refused.payload).into_owned();
    assert!(refused.failed && said.contains("send `{}` for the minute's work"), "{said}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(stage.hook.messages(), [] as [serde_json::Value; 0]);
    stage.end().await;
}
