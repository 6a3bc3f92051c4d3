//! Runs that are rejected before their body, and the errors.

use lamplighter_core::{run::ErrorKind, status::Status};
use lamplighter_local::FunctionSpec;
use serde_json::{Value, json};

use crate::world::{World, answer, task};

#[tokio::test]
async fn c11_a_failed_validation_is_a_configuration_error_and_nothing_runs() {
    let world = World::with(json!({ "mode": "refuse", "secret": "hunter2" })).await;
    let run = world.run().await;
    let error = run.error.unwrap();
    assert_eq!((run.status, error.kind), (Status::Failed, ErrorKind::Configuration));
    assert_eq!(error.message, "validation failed: not with [secret]");
    assert_eq!((world.bodies(), run.attempts.len()), (0, 0));
    assert_eq!(world.marks("rollbacks"), [""; 0], "nothing was done that could be undone");
    assert_eq!(world.table.state(&task()).await.unwrap().lease, None);
}

#[tokio::test]
async fn a_payload_that_is_not_an_envelope_is_rejected_and_claims_nothing() {
    let world = World::with(json!({})).await;
    world.invoke(json!({})).await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for payload in [
        r#"{"Records":[]}"#,
        "1",
        r#""x""#,
        "[]",
        "false",
        r#"{"trigger":"never"}"#,
        r#"{"trigger":"deploy"}"#,
        r#"{"trigger":"schedule"}"#,
        r#"{"run_id":"7"}"#,
        r#"{"trigger":"schedule","scheduled_for":"tomorrow"}"#,
        &format!(r#"{{"x":{}}}"#, "[".repeat(120) + &"]".repeat(120)),
    ] {
        let invocation = world.host.invoke("probe", payload).await.unwrap();
        assert!(invocation.failed, "{payload}");
        let error = answer(&invocation);
        assert_eq!(error["errorType"], "configuration", "{payload}: {error}");
        assert!(error["errorMessage"].as_str().unwrap().contains("payload"), "{error}");
    }
    // The Lambda runtime itself rejects a payload that is not JSON.
    if let Ok(invocation) = world.host.invoke("probe", deep).await {
        assert!(invocation.failed);
    }
    assert_eq!((world.bodies(), world.runs().await.len()), (1, 1));
    assert_eq!(world.table.state(&task()).await.unwrap().lease, None);
    for line in world.logged().iter().filter(|line| line["message"].as_str().unwrap().contains("payload")) {
        assert!(line["run_id"].is_null(), "the line has no run id: {line}");
        assert_eq!((&line["level"], &line["task"]), (&json!("ERROR"), &json!("probe")));
    }
    // `null` has no fields, so it counts as a run by hand.
    assert!(!world.host.invoke("probe", "null").await.unwrap().failed);
}

async fn refused_settings(settings: &str) -> String {
    let world = World::with(json!({})).await;
    let mut spec = world.spec(json!({}));
    spec.environment.insert("LAMPLIGHTER_SETTINGS".to_owned(), settings.to_owned());
    // Without settings the body writes its marks into the working directory.
    spec.task_root = Some(world.folder().to_path_buf());
    world.host.register(spec);
    let run = world.run().await;
    let error = run.error.unwrap_or_else(|| panic!("not refused: {settings}"));
    assert_eq!((run.status, error.kind), (Status::Failed, ErrorKind::Configuration), "{settings}");
    assert_eq!((world.bodies(), run.attempts.len()), (0, 0));
    assert_eq!(world.table.state(&task()).await.unwrap().lease, None);
    for text in world.lines().iter().chain([&serde_json::to_string(&world.runs().await).unwrap()]) {
        assert!(!text.contains("hunter2"), "L23: {text}");
    }
    error.message
}

#[tokio::test]
async fn c08_invalid_settings_are_a_configuration_error() {
    for (settings, wanted) in [
        (r#"{"config":{"secret":"hunter2"}"#, "LAMPLIGHTER_SETTINGS: EOF while parsing an object"),
        (r#"{"config":{"secret":"hunter2"},"x":1}"#, "LAMPLIGHTER_SETTINGS: unknown field `x`"),
        ("7", "LAMPLIGHTER_SETTINGS: invalid type: integer `7`, expected a map"),
        ("[1000,2]", "LAMPLIGHTER_SETTINGS: invalid type: sequence, expected a map"),
        (r#"{"max_attempts":"many"}"#, "LAMPLIGHTER_SETTINGS: invalid type: string \"many\", expected u32"),
        (r#"{"config":{"secret":"[secret]"}}"#, "invalid configuration: the secret is not set"),
        (
            r#"{"config":{"count":"many"}}"#,
            "invalid configuration: `count` must be a whole number, and is a text",
        ),
        (
            r#"{"config":{"bytes":10000001}}"#,
            "invalid configuration: `bytes` must be a whole number from 0 to 10000000",
        ),
        (r#"{"config":{"names":["a",7]}}"#, "invalid configuration: `names[1]` must be a text"),
        (r#"{"config":{"secret":["hunter2"]}}"#, "invalid configuration: "),
        (r#"{"config":7}"#, "invalid configuration: "),
        (r#"{"timeout_ms":0}"#, "`timeout`: 0s is not within 1 ms and 900 s"),
        (r#"{"timeout_ms":900001}"#, "`timeout`: 15m 1ms is not within 1 ms and 900 s"),
        (r#"{"max_attempts":0}"#, "`attempts`: 0 attempts never run the body"),
    ] {
        let message = refused_settings(settings).await;
        assert!(message.starts_with(wanted), "{settings}: {message}");
    }
}

/// Returns the log lines of a function that cannot start, and the invocation's error.
async fn start(change: impl FnOnce(&mut FunctionSpec)) -> (Vec<String>, Value) {
    let world = World::with(json!({})).await;
    let mut spec = world.spec(json!({ "config": {} }));
    change(&mut spec);
    world.host.register(spec);
    let invocation = world.invoke(json!({})).await;
    assert!(invocation.failed);
    assert_eq!((world.bodies(), world.runs().await), (0, vec![]));
    (world.lines(), answer(&invocation))
}

#[tokio::test]
async fn an_invalid_environment_variable_is_named() {
    let (lines, error) = start(|spec| drop(spec.environment.remove("LAMPLIGHTER_TABLE"))).await;
    let wanted = "error: LAMPLIGHTER_TABLE is not set: expected the name of the table for locks and history";
    assert_eq!(lines, [wanted]);
    assert_eq!(error["errorType"], "Runtime.ExitError");

    let wrong = |spec: &mut FunctionSpec| {
        spec.environment.insert("LAMPLIGHTER_LOG".to_owned(), "loud".to_owned());
    };
    let (lines, _) = start(wrong).await;
    let wanted = "error: LAMPLIGHTER_LOG is `loud`: expected off, error, warn, info, debug or trace";
    assert_eq!(lines, [wanted]);
}

#[tokio::test]
async fn without_the_table_the_body_does_not_run_and_the_error_is_the_systems() {
    let missing = |spec: &mut FunctionSpec| {
        spec.environment.insert("LAMPLIGHTER_TABLE".to_owned(), "elsewhere".to_owned());
    };
    let (lines, error) = start(missing).await;
    assert_eq!(error["errorType"], "system", "{error}");
    let message = error["errorMessage"].as_str().unwrap();
    assert!(message.starts_with("table `elsewhere`: claim: "), "{message}");
    assert_eq!(lines.iter().filter(|line| line.contains("\"ERROR\"")).count(), 1, "{lines:#?}");

    let away = |spec: &mut FunctionSpec| {
        // A reserved port without a listener.
        let nowhere = "http://127.0.0.1:1".to_owned();
        spec.environment.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), nowhere);
    };
    let (_, error) = start(away).await;
    assert_eq!(error["errorType"], "system", "{error}");
    assert!(error["errorMessage"].as_str().unwrap().starts_with("table `lamplighter`: claim: "), "{error}");
}
