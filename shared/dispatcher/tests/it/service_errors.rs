//! Services that hang, throttle, conflict or refuse.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    Stage,
    answer_server::{AnswerServer, Reply},
    event, eventually, probe,
    proxy::{CONFLICT, DENIED, Fault, Proxy, TOO_MANY, WRITE_CONFLICT},
};

const TABLE: &str = "AWS_ENDPOINT_URL_DYNAMODB";
const LAMBDA: &str = "AWS_ENDPOINT_URL_LAMBDA";
const STACKS: &str = "AWS_ENDPOINT_URL_CLOUDFORMATION";
const TIMEOUT: Duration = Duration::from_secs(60);

/// A stage with a proxy between the dispatcher and one of its services.
async fn behind(service: &str, timeout: Duration) -> (Stage, Proxy) {
    let stage = Stage::new().await;
    let proxy = Proxy::before(&stage.endpoints[service]).await;
    stage.dispatcher(timeout, &[(service, &proxy.endpoint)]);
    (stage, proxy)
}

/// The answer is sent within the `ServiceTimeout`, counted from the first delivery, whichever service hangs.
#[tokio::test]
async fn d05_the_answer_is_in_time_whichever_service_hangs() {
    let cases = [
        (STACKS, "", "CloudFormation did not answer"),
        (LAMBDA, "configuration", "GetFunctionConfiguration"),
        (TABLE, "_20120810.TransactWriteItems", "TransactWriteItems"),
        (TABLE, "_20120810.GetItem", "table"),
        (TABLE, "_20120810.UpdateItem", "table"),
        (TABLE, "", "table"),
    ];
    // The short timeout makes the dispatcher hand the request over as well.
    let timeouts = [TIMEOUT, Duration::from_secs(3)];
    let cases = cases.into_iter().flat_map(|case| timeouts.map(|timeout| tokio::spawn(hangs(case, timeout))));
    for case in cases.collect::<Vec<_>>() {
        case.await.unwrap();
    }
}

async fn hangs((service, word, named): (&'static str, &'static str, &'static str), timeout: Duration) {
    let (stage, proxy) = behind(service, timeout).await;
    proxy.rule(move |head| if head.contains(word) { Fault::Swallowed } else { Fault::None });
    let tasks = [probe("migrate").once_per_content()];
    stage.install_all(&tasks);
    let mut event = event("Create", "r1", "1", &tasks);
    event["ResourceProperties"]["ServiceTimeout"] = json!("12");
    let began = Instant::now();
    let expected = stage.deliver(&event);
    let answer = stage.answer(&expected).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(12), "{service} {word} {timeout:?}: {took:?}\n{}", stage.log.text());
    let reason = answer["Reason"].as_str().unwrap_or_default();
    assert_eq!(answer["Status"], "FAILED", "{service} {word}: {answer}");
    assert!(reason.contains(named), "{service} {word}: {reason}");
    assert_eq!(expected.received().len(), 1, "{service} {word}");
    stage.end().await;
}

#[tokio::test]
async fn d10_a_refusal_by_a_service_is_reported_in_plain_text() {
    let (stage, proxy) = behind(STACKS, TIMEOUT).await;
    proxy.rule(|_| DENIED);
    let mut event = event("Create", "r1", "1", &[]);
    event["ResourceProperties"]["ServiceTimeout"] = json!("8");
    let answer = stage.send(&event).await;
    let reason = answer["Reason"].as_str().unwrap();
    assert!(
        reason.contains("User is not authorized to perform: cloudformation:DescribeStacks (AccessDenied)"),
        "{reason}"
    );
    for text in [reason, &stage.log.text()] {
        assert!(!text.contains("Error {") && !text.contains("unhandled"), "{text}");
    }
    stage.end().await;
}

/// The last call comes while the end of a completed task is being recorded.
#[tokio::test]
async fn d05_a_task_completed_before_the_last_call_is_a_success_although_it_is_not_recorded() {
    let (stage, proxy) = behind(TABLE, TIMEOUT).await;
    let opened = Arc::new(Mutex::new(false));
    let is_open = Arc::clone(&opened);
    proxy.rule(move |head| {
        let mut opened = is_open.lock().unwrap();
        *opened |= head.contains("TransactWriteItems");
        if *opened && head.contains("UpdateItem") { Fault::Swallowed } else { Fault::None }
    });
    let tasks = [probe("migrate")];
    stage.install_all(&tasks);
    let mut event = event("Create", "r1", "1", &tasks);
    event["ResourceProperties"]["ServiceTimeout"] = json!("8");
    let answer = stage.send(&event).await;
    assert_eq!(
        (&answer["Status"], &answer["Data"]["migrate.status"]),
        (&json!("SUCCESS"), &json!("COMPLETED")),
        "{answer}"
    );
    stage.end().await;
}

/// Only a failed condition is final.
#[tokio::test]
async fn d09_conflicts_and_throttling_are_retried() {
    let (stage, proxy) = behind(TABLE, TIMEOUT).await;
    let mut met = [0; 2];
    proxy.rule(move |head| {
        for (i, (word, fault, times)) in
            [("TransactWriteItems", CONFLICT, 5), ("UpdateItem", WRITE_CONFLICT, 2)].into_iter().enumerate()
        {
            if head.contains(word) {
                met[i] += 1;
                // The first attempts to open and, later, to close the entry.
                return if met[i] % (times + 1) == 0 { Fault::None } else { fault };
            }
        }
        Fault::None
    });
    let tasks = [probe("migrate")];
    stage.install_all(&tasks);
    let answer = stage.send(&event("Create", "r1", "1", &tasks)).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}\n{}", stage.log.text());
    let latest = stage.ledger().await.latest.unwrap();
    assert_eq!(latest.successful.map(|it| it.version).as_deref(), Some("1"));
    assert_eq!(stage.journal(), ["run migrate"]);
    stage.end().await;
}

#[tokio::test]
async fn d09_a_throttled_configuration_is_retried_within_the_delivery() {
    let (stage, proxy) = behind(LAMBDA, TIMEOUT).await;
    let met = proxy.fail("configuration", 1, TOO_MANY);
    let tasks = [probe("migrate").once_per_content()];
    stage.install_all(&tasks);
    let answer = stage.send(&event("Create", "r1", "1", &tasks)).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    assert_eq!(*met.lock().unwrap(), 1);
    assert_eq!(stage.journal(), ["run migrate"]);
    stage.end().await;
}

/// An invocation that starts nothing is repeated, long before the next hand-over.
#[tokio::test]
async fn d05_an_invocation_that_starts_nothing_is_repeated() {
    let (stage, proxy) = behind(LAMBDA, TIMEOUT).await;
    let tasks = [probe("migrate")];
    stage.install_all(&tasks);
    let met = proxy.fail("shop-migrate/invocations", 1, Fault::Swallowed);
    let began = Instant::now();
    let answer = stage.send(&event("Create", "r1", "1", &tasks)).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    assert_eq!(*met.lock().unwrap(), 1);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(!stage.log.text().contains("handing over"));
    assert_eq!(stage.journal(), ["run migrate"]);
    stage.end().await;
}

/// A ledger of many years costs as many reads as a new one.
#[tokio::test]
async fn d09_a_long_ledger_costs_as_many_requests_as_a_short_one() {
    let (stage, proxy) = behind(TABLE, TIMEOUT).await;
    let tasks = [probe("migrate").on(&[])];
    let requests: Arc<Mutex<usize>> = Arc::default();
    let count = Arc::clone(&requests);
    proxy.rule(move |head| {
        *count.lock().unwrap() += usize::from(head.contains("x-amz-target"));
        Fault::None
    });
    assert_eq!(stage.send(&event("Create", "r0", "0", &tasks)).await["Status"], "SUCCESS");
    eventually("recorded", || stage.log.text().contains("answered SUCCESS")).await;
    let mut costs = Vec::new();
    for i in 1..=60 {
        let before = *requests.lock().unwrap();
        let answer = stage.send(&event("Update", &format!("r{i}"), &i.to_string(), &tasks)).await;
        assert_eq!(answer["Status"], "SUCCESS", "{answer}");
        eventually("recorded", || stage.log.text().matches("answered SUCCESS").count() == i + 1).await;
        costs.push(*requests.lock().unwrap() - before);
    }
    assert_eq!(costs[0], costs[59], "{costs:?}");
    assert!(costs[0] <= 8, "{costs:?}");
    stage.end().await;
}

/// Once the answer is accepted, an unreachable table changes nothing.
#[tokio::test]
async fn d08_no_second_answer_follows_although_the_table_is_unreachable() {
    let (stage, proxy) = behind(TABLE, TIMEOUT).await;
    let server = Arc::new(AnswerServer::start(&[Reply::Status(200)]).await);
    stage.dispatcher(TIMEOUT, &[(TABLE, &proxy.endpoint), ("LAMPLIGHTER_ANSWER_ENDPOINT", &server.endpoint)]);
    let accepted = Arc::clone(&server);
    proxy.rule(move |_| if accepted.received().is_empty() { Fault::None } else { Fault::Refused });
    let tasks = [probe("migrate")];
    stage.install_all(&tasks);
    stage.deliver_to(&event("Create", "r1", "1", &tasks), &server.url());
    eventually("logged", || stage.log.text().contains("answered SUCCESS")).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(server.accepted().len(), 1, "{:?}", server.received());
    stage.end().await;
}
