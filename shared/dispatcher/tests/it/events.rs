//! Events that are no deployments: Delete, malformed and unusual events.

use std::time::Duration;

use lamplighter_core::deployment::MAX_ANSWER_BYTES;
use serde_json::{Value, json};

use crate::support::{
    DISPATCHER, Stage, event, probe,
    proxy::{Fault, Proxy},
};

#[tokio::test]
async fn l06_a_delete_runs_nothing_and_succeeds_although_services_fail() {
    let stage = Stage::new().await;
    let tasks = [probe("migrate").mode("fail")];
    stage.install(&tasks[0]);
    assert_eq!(stage.send(&event("Create", "r1", "1", &tasks)).await["Status"], "FAILED");
    let silent = Proxy::before(&stage.endpoints["AWS_ENDPOINT_URL_DYNAMODB"]).await;
    silent.rule(|_| Fault::Swallowed);
    let table = "AWS_ENDPOINT_URL_DYNAMODB";
    let cloudformation = "AWS_ENDPOINT_URL_CLOUDFORMATION";
    for (i, (variable, endpoint)) in [
        (table, stage.endpoints[table].as_str()),
        (table, "http://127.0.0.1:9"),
        (table, &silent.endpoint),
        (cloudformation, "http://127.0.0.1:9"),
        (cloudformation, &silent.endpoint),
    ]
    .into_iter()
    .enumerate()
    {
        stage.dispatcher(Duration::from_secs(30), &[(variable, endpoint)]);
        let mut event = event("Delete", &format!("d{i}"), "1", &tasks);
        event["PhysicalResourceId"] = json!("something-else");
        let expected = stage.deliver(&event);
        let answer = expected.answer(Duration::from_secs(20)).await.unwrap().json().unwrap();
        assert_eq!(answer["Status"], "SUCCESS", "{endpoint}: {answer}");
        assert_eq!(answer["PhysicalResourceId"], "something-else");
        assert_eq!(expected.received().len(), 1);
    }
    // A Delete with properties of an unknown format.
    let mut old = event("Delete", "d9", "1", &[]);
    old["ResourceProperties"] = json!({ "Jobs": "all" });
    assert_eq!(stage.send(&old).await["Status"], "SUCCESS");
    assert_eq!(stage.journal(), ["run migrate"]);
    stage.end().await;
}

#[tokio::test]
async fn l22_a_malformed_event_is_answered_failed_with_the_property() {
    let stage = Stage::new().await;
    stage.install(&probe("migrate"));
    let tasks = [probe("migrate")];
    let long = |n: usize| Value::String("v".repeat(n));
    let mut circle = event("Create", "r", "1", &[probe("a").needs(&["b"]), probe("b").needs(&["a"])]);
    circle["RequestId"] = json!("circle");
    let changed = |id: &str, pointer: &str, value: Value| {
        let mut event = event("Create", id, "1", &tasks);
        *event.pointer_mut(pointer).unwrap() = value;
        event
    };
    let many: Vec<_> = (0..5000)
        .map(|i| json!({ "Name": format!("t{i}"), "Function": "shop-migrate", "RunOn": [] }))
        .collect();
    for (event, expected_text) in [
        (changed("a", "/RequestType", json!("Upgrade")), "RequestType"),
        (changed("b", "/ResourceProperties", json!([])), "ResourceProperties"),
        (changed("c", "/ResourceProperties/Tasks", json!({})), "ResourceProperties.Tasks"),
        (changed("d", "/ResourceProperties/Tasks/0/Name", json!("Migrate")), "Tasks[0].Name"),
        (changed("e", "/ResourceProperties/Version", long(900_000)), "ResourceProperties.Version"),
        (changed("f", "/ResourceProperties/Tasks/0/Function", long(900_000)), "Tasks[0].Function"),
        (changed("g", "/ResourceProperties/Tasks/0/OncePer", long(900_000)), "Tasks[0].OncePer"),
        (changed("h", "/ResourceProperties/Tasks", json!(many)), "ResourceProperties.Tasks"),
        (changed("i", "/ResourceProperties/ServiceTimeout", json!("0")), "ServiceTimeout"),
        (circle, "in a circle"),
    ] {
        let expected = stage.deliver(&event);
        let answer = expected.answer(Duration::from_secs(10)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{expected_text}: {}", stage.log.text()));
        assert!(answer.body.len() <= MAX_ANSWER_BYTES, "{expected_text}");
        let answer = answer.json().unwrap();
        assert_eq!(answer["Status"], "FAILED", "{answer}");
        assert!(answer["Reason"].as_str().unwrap().contains(expected_text), "{expected_text}: {answer}");
    }
    assert_eq!(stage.journal().len(), 0);
    assert!(!stage.log.text().contains("panicked"));
    stage.end().await;
}

#[tokio::test]
async fn l22_unknown_properties_are_ignored() {
    let stage = Stage::new().await;
    stage.install(&probe("migrate"));
    let mut event = event("Create", "r1", "1", &[probe("migrate")]);
    event["ResourceProperties"]["Ballast"] = json!("x".repeat(900_000));
    event["ResourceProperties"]["Version"] = json!(7);
    event["ResourceProperties"]["Tasks"][0]["Colour"] = json!({ "deep": [[[1]]] });
    event["Unknown"] = json!(["of"]);
    let answer = stage.send(&event).await;
    assert_eq!((&answer["Status"], &answer["Data"]["Version"]), (&json!("SUCCESS"), &json!("7")));
    stage.end().await;
}

#[tokio::test]
async fn l22_ids_of_any_legal_length_are_answered() {
    let stage = Stage::new().await;
    stage.install(&probe("migrate"));
    let mut event = event("Create", &"r".repeat(128), "1", &[probe("migrate")]);
    event["LogicalResourceId"] = json!("L".repeat(255));
    event["StackId"] = json!(format!("arn:aws:cloudformation:us-east-1:0:stack/{}/0a1b", "s".repeat(128)));
    event["PhysicalResourceId"] = json!("p".repeat(1024));
    let answer = stage.send(&event).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    assert_eq!(answer["PhysicalResourceId"], event["PhysicalResourceId"]);
    stage.end().await;
}

#[tokio::test]
async fn l22_an_event_that_cannot_be_answered_is_logged() {
    let stage = Stage::new().await;
    let whole = event("Create", "r1", "1", &[]);
    let url = |url: Value| {
        let mut event = whole.clone();
        event["ResponseURL"] = url;
        event
    };
    let mut nameless = url(json!(format!("{}/x", stage.answers.endpoint())));
    nameless.as_object_mut().unwrap().remove("StackId");
    let mut endless = url(json!(format!("{}/x", stage.answers.endpoint())));
    endless["RequestId"] = json!("\u{1}".repeat(1000));
    for (event, expected_text) in [
        (json!({}), "`ResponseURL` is missing"),
        (json!([1, 2]), "`ResponseURL` is missing"),
        (json!({ "requestPayload": 7 }), "`ResponseURL` is missing"),
        (url(json!("http://example.com/secret")), "`ResponseURL` is not https"),
        (url(json!(format!("{}0/secret", stage.answers.endpoint()))), "`ResponseURL` is not https"),
        (url(json!("file:///etc/passwd")), "`ResponseURL` is not https"),
        (nameless, "`StackId` is missing"),
        (endless, "`RequestId` must have"),
    ] {
        let invocation = stage.host.invoke(DISPATCHER, event.to_string()).await.unwrap();
        let payload = String::from_utf8(invocation.payload).unwrap();
        assert!(invocation.failed && payload.contains(expected_text), "{expected_text}: {payload}");
        let logged = stage.log.text().contains(expected_text);
        assert!(logged, "{expected_text}: {}", stage.log.text());
    }
    assert!(!stage.log.text().contains("secret") && !stage.log.text().contains("panicked"));
    stage.end().await;
}
