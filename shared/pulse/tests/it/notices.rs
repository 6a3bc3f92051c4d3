//! Notifications: one for each failure, none for a success.

use std::{sync::atomic::Ordering, time::Duration};

use jiff::Timestamp;
use lamplighter_core::{
    claim::KnownSchedule,
    pulse::{Record, State},
    status::Status,
};
use serde_json::json;

use crate::stage::{PULSE, Stage, eventually, minute_of, name, probe, queue, tick};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p06_a_failure_is_notified_once_and_a_success_never() {
    let now = Timestamp::now();
    let probes = vec![probe("good", now, [0]), probe("bad", now, [0]).set("mode", "fail")];
    let stage = Stage::new(now, 0, probes).await;
    // The first delivery fails; the message is kept.
    stage.hook.refusals.store(1, Ordering::SeqCst);
    let report = stage.pulse().await;
    assert_eq!((&report["succeeded"], &report["failed"]), (&json!(1), &json!(1)), "{report}");
    eventually("it was tried", || stage.hook.refusals.load(Ordering::SeqCst) == 0).await;
    let run = stage.run("bad", tick(now, 0)).await.unwrap();
    stage.next_minute(0).await;
    stage.pulse().await;
    assert_eq!(stage.hook.messages(), [] as [serde_json::Value; 0], "not before the next attempt is due");
    stage.messages_are_due().await;
    stage.next_minute(0).await;
    stage.pulse().await;
    let wanted = json!({
        "task": "bad", "run_id": run.id, "status": "FAILED", "kind": "execution", "message": "failed on request",
        "scheduled_for": tick(now, 0).to_string(), "environment": "test", "stack": "shop",
    });
    assert_eq!(stage.hook.messages(), [wanted]);
    // The same failure again, as Lambda may deliver it.
    let record = json!({
        "requestContext": { "requestId": "r", "functionArn": "arn:aws:lambda:us-east-1:0:function:shop-bad:$LATEST" },
        "requestPayload": { "trigger": "pulse", "run_id": run.id, "scheduled_for": tick(now, 0).to_string() },
        "responsePayload": { "errorType": "FAILED", "errorMessage": "failed on request" },
    });
    stage.send(record).await;
    assert_eq!(stage.hook.messages().len(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p06_a_run_whose_process_died_is_ended_and_notified_at_once() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![probe("a", now, [20]).set("mode", "exit")]).await;
    let envelope = json!({ "trigger": "schedule", "scheduled_for": tick(now, 0).to_string() });
    stage.host.invoke_event("shop-a", envelope.to_string()).unwrap();
    eventually("a notification arrives", || !stage.hook.messages().is_empty()).await;
    let message = stage.hook.messages().remove(0);
    assert!(message["message"].as_str().unwrap().contains("Runtime.ExitError"), "{message}");
    let run = stage.table.run_for(&name("a"), tick(now, 0)).await.unwrap().unwrap();
    assert_eq!((run.status, message["run_id"].clone()), (Status::Failed, json!(run.id)));
    assert!(stage.table.state(&name("a")).await.unwrap().lease.is_none(), "the lease is released");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c22_an_undelivered_tick_is_noticed_and_notified() {
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
async fn o08_a_tick_from_before_the_task_was_known_is_not_missed() {
    let now = Timestamp::now();
    // The tasks were deployed during nine minutes without a pulse.
    let probes = vec![
        probe("schedule", now, [5]).of_eventbridge(),
        probe("last", now, [4]),
        probe("all", now, [2, 3, 5]).catches_up("all within 1h"),
        probe("old", now, [5]).of_eventbridge(),
    ];
    let stage = Stage::new(now, 9, probes).await;
    stage.forget_the_plan().await;
    let old = KnownSchedule {
        schedule: format!("{} UTC", minute_of(tick(now, 5))),
        since: tick(now, 60),
        is_changed: false,
    };
    stage.table.know(&name("old"), &old, None).await.unwrap();
    let report = stage.pulse().await;
    assert_eq!((&report["missed"], &report["due"]), (&json!(1), &json!(0)), "{report}");
    assert_eq!(report["misses"][0]["task"], "old");
    assert_eq!(stage.journal(), [] as [&str; 0]);
    for task in ["schedule", "last", "all"] {
        let known = stage.table.state(&name(task)).await.unwrap().known.unwrap();
        let ago = now.duration_since(known.since).as_secs();
        assert!((0..=120).contains(&ago) && !known.is_changed, "{task}: {known:?}");
    }
    assert_eq!(stage.table.state(&name("old")).await.unwrap().known, Some(old));
    // The next pulse has the same plan, and considers the same minutes again.
    stage.next_minute(9).await;
    assert_eq!(stage.pulse().await["missed"], 1);
    assert_eq!(stage.hook.messages().len(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o08_a_target_that_does_not_respond_delays_no_tick_and_gets_its_message_later() {
    let now = Timestamp::now();
    let probes = vec![probe("a", now, [0]), probe("missed", now, [5]).of_eventbridge()];
    let stage = Stage::new(now, 9, probes).await;
    stage.hook.hangs.store(true, Ordering::SeqCst);
    let report = stage.pulse().await;
    assert_eq!((&report["missed"], &report["succeeded"]), (&json!(1), &json!(1)), "{report}");
    let said = report["errors"][0].as_str().unwrap();
    assert!(
        said.contains("the notification about missed (missed ") && said.contains("is sent again at "),
        "{said}"
    );
    stage.hook.hangs.store(false, Ordering::SeqCst);
    stage.messages_are_due().await;
    stage.next_minute(0).await;
    stage.pulse().await;
    let messages = stage.hook.messages();
    let statuses: Vec<_> = messages.iter().map(|message| message["status"].as_str().unwrap()).collect();
    assert!(statuses.contains(&"MISSED"), "{messages:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o08_a_failing_pulse_is_notified_once_until_it_succeeds() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![probe("a", now, [30]), probe("b", now, [30])]).await;
    let of_the_pulse = || {
        let all = stage.hook.messages();
        all.into_iter().filter(|message| message["task"] == "lamplighter-pulse").collect::<Vec<_>>()
    };
    stage.damage("b").await;
    for _ in 0..3 {
        assert_eq!(stage.pulse().await["errors"].as_array().unwrap().len(), 1);
        stage.next_minute(0).await;
    }
    let [message] = &of_the_pulse()[..] else { panic!("{:?}", stage.hook.messages()) };
    assert!(message["message"].as_str().unwrap().contains("TASK#b"), "{message}");
    stage.repair("b").await;
    assert_eq!(stage.pulse().await["errors"], json!([]));
    stage.next_minute(0).await;
    stage.damage("b").await;
    stage.pulse().await;
    assert_eq!(of_the_pulse().len(), 2, "a new failure is notified again");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o08_an_invocation_that_lambda_dropped_is_notified() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![probe("a", now, [30])]).await;
    let record = json!({
        "requestContext": {
            "requestId": "r", "functionArn": "arn:aws:lambda:us-east-1:0:function:shop-a:$LATEST",
            "condition": "EventAgeExceeded",
        },
        "requestPayload": { "trigger": "pulse", "scheduled_for": tick(now, 30).to_string() },
    });
    for _ in 0..2 {
        stage.send(record.clone()).await;
    }
    let [message] = &stage.hook.messages()[..] else { panic!("{:?}", stage.hook.messages()) };
    assert_eq!(message["message"], "EventAgeExceeded: the function did not run: EventAgeExceeded");
    assert_eq!(message["scheduled_for"], tick(now, 30).to_string());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o08_a_pulse_that_was_cut_off_is_notified_by_the_next_one() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let cut_off = Record::begun(tick(now, 2));
    assert!(stage.table.begin_pulse(&cut_off).await.unwrap());
    stage.pulse().await;
    let [message] = &stage.hook.messages()[..] else { panic!("{:?}", stage.hook.messages()) };
    assert_eq!(message["task"], "lamplighter-pulse");
    let said = message["message"].as_str().unwrap();
    assert!(said.ends_with(&format!("the pulse that began at {} was cut off", tick(now, 2))), "{said}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_an_invalid_event_is_refused_with_a_valid_example() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![]).await;
    let refused = stage.host.invoke(PULSE, json!({ "Records": [] }).to_string()).await.unwrap();
    let said = String::from_utf8_lossy(&refused.payload).into_owned();
    assert!(refused.failed && said.contains("send `{}` for the minute's work"), "{said}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(stage.hook.messages(), [] as [serde_json::Value; 0]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o08_dead_letters_are_notified_once_a_day_and_counted_every_ten_minutes() {
    let now = Timestamp::now();
    let stage = Stage::new(now, 0, vec![queue("mail"), probe("good", now, [20])]).await;
    stage.pulse().await;
    assert_eq!((stage.queues.counts(), stage.hook.messages().len()), (1, 0), "no dead letters yet");
    stage.queues.set_dead(3);
    for _ in 0..2 {
        stage.next_minute(0).await;
        stage.pulse().await;
    }
    assert_eq!(stage.queues.counts(), 1, "the queues are not counted each minute");
    for _ in 0..2 {
        let seen = stage.table.pulse_state().await.unwrap();
        let before = seen.letters.unwrap().checked_sub(Duration::from_secs(601)).unwrap();
        let aged = State { letters: Some(before), ..seen.clone() };
        assert!(stage.table.keep_pulse_state(&aged, &seen).await.unwrap());
        stage.next_minute(0).await;
        stage.pulse().await;
    }
    assert_eq!(stage.queues.counts(), 3);
    let messages = stage.hook.messages();
    assert_eq!(messages.len(), 1, "{messages:#?}");
    assert_eq!((&messages[0]["task"], &messages[0]["status"]), (&json!("mail"), &json!("FAILED")));
    let text = "3 messages are in the dead-letter queue: see `lamplighter jobs dead`";
    assert_eq!(messages[0]["message"], text);
    stage.end().await;
}
