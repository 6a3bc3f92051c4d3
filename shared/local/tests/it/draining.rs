//! Tests of the Lambda host: concurrency, idle processes, and draining.

use std::time::Duration;

use lamplighter_local::{HostOptions, LambdaError, LambdaHost};
use serde_json::json;
use tokio::sync::mpsc;

use crate::probe::{host_with, json, probe, until_gone};

/// Longer than any step takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_function_with_concurrency_1_runs_its_invocations_in_turn_in_one_process() {
    let mut spec = probe("f");
    spec.concurrency = Some(1);
    let (host, _) = host_with([spec]).await;
    let slow = r#"{"op":"sleep","ms":100}"#;
    let (a, b, c) = tokio::join!(host.invoke("f", slow), host.invoke("f", slow), host.invoke("f", slow));
    let pids = [a, b, c].map(|it| json(&it.unwrap())["pid"].clone());
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
}

#[tokio::test]
async fn a_process_that_is_idle_for_too_long_is_stopped() {
    let options = HostOptions { idle: Duration::from_millis(50), ..HostOptions::default() };
    let host = LambdaHost::start_with(options, |_| {}).await.unwrap();
    host.register(probe("f"));
    let pid = json(&host.invoke("f", "").await.unwrap())["pid"].to_string();
    until_gone(&pid).await;
    assert_ne!(json(&host.invoke("f", "").await.unwrap())["pid"].to_string(), pid);
}

#[tokio::test]
async fn s04_a_draining_host_starts_no_invocation_and_lets_those_in_progress_finish() {
    let (sender, mut failures) = mpsc::unbounded_channel();
    let options = HostOptions {
        retry_pause: Duration::from_secs(3600),
        label: Some(|payload| Some(String::from_utf8_lossy(payload).into_owned())),
        failures: Some(sender),
        ..HostOptions::default()
    };
    let host = std::sync::Arc::new(LambdaHost::start_with(options, |_| {}).await.unwrap());
    host.register(probe("f"));
    let slow = r#"{"op":"sleep","ms":300}"#;
    let running = tokio::spawn({
        let host = std::sync::Arc::clone(&host);
        async move { host.invoke("f", slow).await }
    });
    // Its retry comes in an hour, or not at all while the host drains.
    host.invoke_event("f", r#"{"op":"fail"}"#).unwrap();
    let both = async {
        while host.in_progress().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, both).await.expect("both begin");
    let labels: Vec<_> = host.in_progress().into_iter().filter_map(|it| it.label).collect();
    assert!(labels.contains(&slow.to_owned()), "{labels:?}");
    tokio::time::timeout(LIMIT, host.drain()).await.expect("the one in progress ends");
    assert!(!running.await.unwrap().unwrap().failed);
    assert!(host.in_progress().is_empty());
    assert!(matches!(host.invoke("f", "").await, Err(LambdaError::ShutDown)));
    let failure = tokio::time::timeout(LIMIT, failures.recv()).await.expect("it is reported").unwrap();
    assert_eq!(failure["requestPayload"], json!({ "op": "fail" }));
    host.shutdown().await;
}
