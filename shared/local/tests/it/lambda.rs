//! Tests of the Lambda host in process: the environment of functions, and the ends of invocations.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use lamplighter_local::{Clock, LambdaError, LambdaHost, LogLine};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::probe::{error, host_by, host_with, json, parent_of, probe, runs, until_gone};

#[tokio::test]
async fn a_function_has_the_environment_and_the_context_of_lambda() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let mut spec = probe("echo");
    spec.memory_mb = 256;
    spec.task_root = Some(root.clone());
    spec.environment.insert("GREETING".to_owned(), "hello".to_owned());
    let (host, _) = host_with([spec]).await;

    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let invocation = host.invoke("echo", r#"{"a":1}"#).await.unwrap();
    let seen = json(&invocation);
    assert!(!invocation.failed);
    assert_eq!(seen["payload"], json!({ "a": 1 }));
    assert_eq!(seen["request_id"], json!(invocation.request_id));
    assert_eq!(seen["arn"], "arn:aws:lambda:us-east-1:000000000000:function:echo");
    assert_eq!(seen["folder"], json!(root));
    let deadline = u128::from(seen["deadline_ms"].as_u64().unwrap());
    assert!((before + 20_000..before + 40_000).contains(&deadline), "{before} {deadline}");

    let environment = &seen["environment"];
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_NAME"], "echo");
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_VERSION"], "$LATEST");
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "256");
    assert_eq!(environment["AWS_REGION"], "us-east-1");
    assert_eq!(environment["AWS_ACCESS_KEY_ID"], "test");
    assert_eq!(environment["LAMBDA_TASK_ROOT"], json!(root));
    assert_eq!(environment["GREETING"], "hello");
    let address = environment["AWS_LAMBDA_RUNTIME_API"].as_str().unwrap();
    assert!(address.starts_with("http://127.0.0.1:"), "{address}");
    assert!(environment["CARGO_MANIFEST_DIR"].is_null(), "the host's own environment is not inherited");
}

#[tokio::test]
async fn idle_sandboxes_are_reused_and_busy_ones_are_not() {
    let (host, _) = host_with([probe("f")]).await;
    let first = json(&host.invoke("f", "").await.unwrap());
    let second = json(&host.invoke("f", "").await.unwrap());
    assert_eq!(first["pid"], second["pid"]);
    assert_eq!(first["payload"], json!({}), "an empty payload is an empty object");
    assert_ne!(first["request_id"], second["request_id"]);

    let slow = r#"{"op":"sleep","ms":300}"#;
    let (a, b) = tokio::join!(host.invoke("f", slow), host.invoke("f", slow));
    assert_ne!(json(&a.unwrap())["pid"], json(&b.unwrap())["pid"]);
}

/// While the machine is suspended, timers stop, but the wall clock advances. Leases end by the wall clock.
#[tokio::test]
async fn a_process_past_its_deadline_after_a_suspend_is_killed_before_another_starts() {
    let slept = Arc::new(AtomicU64::new(0));
    let clock = {
        let slept = Arc::clone(&slept);
        Clock::of(move || SystemTime::now() + Duration::from_secs(slept.load(Relaxed)))
    };
    let mut spec = probe("f");
    spec.timeout = Duration::from_secs(1000);
    let (host, lines) = host_by(clock, [spec]).await;
    let first = {
        let host = Arc::clone(&host);
        tokio::spawn(async move { host.invoke("f", r#"{"op":"child"}"#).await })
    };
    let child = lines.containing("child ").await.line;
    let child = child.split_whitespace().last().unwrap();
    let parent = parent_of(child);
    slept.store(3600, Relaxed);
    // The next invocation could take over the lease of the first one.
    let second = json(&host.invoke("f", r#"{"op":"echo"}"#).await.unwrap());
    assert_ne!(second["pid"].to_string(), parent, "the overdue process took another event");
    assert!(!runs(&parent), "the first process runs beside the second");
    until_gone(child).await;
    let first = tokio::time::timeout(Duration::from_secs(10), first).await.unwrap().unwrap().unwrap();
    assert!(error(&first, "Sandbox.Timedout").contains("timed out after 1000.00 seconds"), "{first:?}");
}

#[tokio::test]
async fn every_end_of_a_process_is_reported_as_in_lambda() {
    let (host, _) = host_with([probe("f")]).await;
    let ends = [
        (json!({ "op": "exit", "code": 1 }), "Runtime exited with error: exit status 1"),
        (json!({ "op": "exit", "code": 0 }), "Runtime exited without providing a reason"),
        (json!({ "op": "abort" }), "Runtime exited with error: signal: aborted"),
    ];
    for (event, reason) in ends {
        let started = Instant::now();
        let invocation = host.invoke("f", event.to_string()).await.unwrap();
        let wanted = format!("RequestId: {} Error: {reason}", invocation.request_id);
        assert_eq!(error(&invocation, "Runtime.ExitError"), wanted);
        assert!(started.elapsed() < Duration::from_secs(10), "it is noticed at once, not at the timeout");
    }
    // The runtime catches these two itself, and its process goes on.
    let failed = host.invoke("f", r#"{"op":"fail"}"#).await.unwrap();
    assert!(failed.failed);
    assert_eq!(json(&failed)["errorMessage"], "as asked");
    let panicked = host.invoke("f", r#"{"op":"panic"}"#).await.unwrap();
    assert!(json(&panicked)["errorMessage"].as_str().unwrap().contains("as asked"));
}

#[tokio::test]
async fn a_timeout_kills_the_process_and_its_child_processes() {
    let mut spec = probe("slow");
    spec.timeout = Duration::from_secs(3);
    let (host, lines) = host_with([spec]).await;
    let invocation = host.invoke("slow", r#"{"op":"child"}"#).await.unwrap();
    let wanted = format!("RequestId: {} Error: Task timed out after 3.00 seconds", invocation.request_id);
    assert_eq!(error(&invocation, "Sandbox.Timedout"), wanted);
    let line = lines.containing("child ").await;
    assert_eq!(line.request_id, Some(invocation.request_id));
    until_gone(line.line.strip_prefix("child ").unwrap()).await;
}

#[tokio::test]
async fn a_function_may_start_for_longer_than_the_init_phase_and_not_for_longer_than_its_timeout_as_well() {
    let mut late = probe("late");
    late.environment.insert("PROBE_START".to_owned(), "late".to_owned());
    let mut hasty = late.clone();
    (hasty.name, hasty.timeout) = ("hasty".to_owned(), Duration::from_millis(100));
    let (host, _) = host_with([late, hasty]).await;
    let (late, hasty) = tokio::join!(host.invoke("late", "{}"), host.invoke("hasty", "{}"));
    assert!(!late.unwrap().failed);
    assert!(error(&hasty.unwrap(), "Sandbox.Timedout").ends_with("timed out after 0.10 seconds"));
}

#[tokio::test]
async fn the_error_of_a_function_that_cannot_start_has_the_reason() {
    let mut broken = probe("broken");
    broken.environment.insert("PROBE_START".to_owned(), "fail".to_owned());
    let mut missing = probe("missing");
    missing.command = "/nowhere/bootstrap".into();
    let (host, lines) = host_with([broken, missing]).await;

    let invocation = host.invoke("broken", "{}").await.unwrap();
    assert!(error(&invocation, "Runtime.ExitError").ends_with("exit status 3"));
    let [line] = &lines.all()[..] else { panic!("{:?}", lines.all()) };
    assert_eq!((line.line.as_str(), &line.request_id), ("cannot start like this", &None));

    let invocation = host.invoke("missing", "{}").await.unwrap();
    let message = error(&invocation, "Runtime.InvalidEntrypoint");
    assert!(message.contains("cannot start /nowhere/bootstrap: No such file"), "{message}");
}

#[tokio::test]
async fn printed_lines_carry_their_invocation() {
    let (host, lines) = host_with([probe("f")]).await;
    let invocation = host.invoke("f", r#"{"op":"print"}"#).await.unwrap();
    for text in ["to stdout", "to stderr"] {
        let line = lines.containing(text).await;
        assert_eq!(line.function, "f");
        assert_eq!(line.request_id.as_ref(), Some(&invocation.request_id));
    }
    host.invoke("f", r#"{"op":"print-and-exit"}"#).await.unwrap();
    assert!(lines.all().iter().any(|it| it.line == "last words"), "the last lines come before the answer");
}

#[tokio::test]
async fn killed_functions_fail_at_once_and_start_again() {
    let (host, lines) = host_with([probe("f")]).await;
    let running = tokio::spawn({
        let host = host.clone();
        async move { host.invoke("f", r#"{"op":"child"}"#).await }
    });
    lines.containing("child ").await;
    assert_eq!(host.kill("other"), 0);
    assert_eq!(host.kill("f"), 1);
    let killed = running.await.unwrap().unwrap();
    assert!(error(&killed, "Runtime.ExitError").ends_with("Runtime exited with error: signal: killed"));

    // Killing an idle process loses no event.
    let idle = json(&host.invoke("f", "{}").await.unwrap());
    assert_eq!(host.kill("f"), 1);
    let next = host.invoke("f", "{}").await.unwrap();
    assert!(!next.failed);
    assert_ne!(json(&next)["pid"], idle["pid"]);
}

#[tokio::test]
async fn registering_again_replaces_idle_processes_and_spares_busy_ones() {
    let (host, lines) = host_with([probe("f")]).await;
    let idle = json(&host.invoke("f", "{}").await.unwrap())["pid"].to_string();
    let busy = tokio::spawn({
        let host = host.clone();
        // Two at once: one in the idle sandbox, one in a new one.
        async move {
            tokio::join!(
                host.invoke("f", r#"{"op":"sleep","ms":400}"#),
                host.invoke("f", r#"{"op":"print"}"#)
            )
        }
    });
    lines.containing("to stdout").await;
    let mut replacement = probe("f");
    replacement.environment.insert("VERSION".to_owned(), "2".to_owned());
    host.register(replacement);
    let new = json(&host.invoke("f", "{}").await.unwrap());
    assert_eq!(new["environment"]["VERSION"], "2");
    let (slow, quick) = busy.await.unwrap();
    assert!(!slow.unwrap().failed && !quick.unwrap().failed);
    until_gone(&idle).await;
    assert_eq!(host.kill("f"), 1, "only the replacement's process is left");
}

#[tokio::test]
async fn an_invocation_goes_on_after_its_caller_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mark");
    let (host, _) = host_with([probe("f")]).await;
    let event = json!({ "op": "append", "ms": 300, "path": path }).to_string();
    let caller = tokio::time::timeout(Duration::from_millis(50), host.invoke("f", event));
    assert!(caller.await.is_err());
    let written = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), written).await.unwrap();
}

#[tokio::test]
async fn no_process_outlives_its_host() {
    for by_drop in [false, true] {
        let (host, lines) = host_with([probe("f")]).await;
        let idle = json(&host.invoke("f", "{}").await.unwrap())["pid"].to_string();
        let busy = {
            let host = host.clone();
            tokio::spawn(async move { host.invoke("f", r#"{"op":"child"}"#).await })
        };
        let child = lines.containing("child ").await.line.replace("child ", "");
        if by_drop {
            busy.abort();
            assert!(busy.await.is_err());
            drop(std::sync::Arc::into_inner(host).unwrap());
        } else {
            host.shutdown().await;
            assert!(matches!(busy.await.unwrap(), Err(LambdaError::ShutDown)));
            assert!(matches!(host.invoke("f", "{}").await, Err(LambdaError::ShutDown)));
        }
        until_gone(&idle).await;
        until_gone(&child).await;
    }
}

#[tokio::test]
async fn a_failed_event_is_retried_and_its_record_is_sent_to_the_destination() {
    let mut work = probe("work");
    work.on_failure = Some("failures".to_owned());
    let mut failures = probe("failures");
    failures.environment.insert("PROBE_PRINT_EVENTS".to_owned(), "1".to_owned());
    let (host, lines) = host_with([work, failures]).await;
    let id = host.invoke_event("work", r#"{"op":"print-and-exit"}"#).unwrap();
    let line = lines.containing("event ").await;
    assert_eq!(line.function, "failures");

    let tries: Vec<_> = lines.all().into_iter().filter(|it| it.line == "last words").collect();
    assert_eq!(tries.len(), 3);
    assert!(tries.iter().all(|it| it.request_id.as_ref() == Some(&id)), "one request id for all: {tries:?}");
    let record: Value = serde_json::from_str(line.line.strip_prefix("event ").unwrap()).unwrap();
    assert_eq!(record["requestContext"]["requestId"], json!(id));
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(record["requestPayload"], json!({ "op": "print-and-exit" }));
    assert_eq!(record["responsePayload"]["errorType"], "Runtime.ExitError");
}

#[tokio::test]
async fn a_record_that_cannot_be_delivered_is_logged() {
    let mut spec = probe("work");
    spec.max_retries = 0;
    spec.on_failure = Some("nobody".to_owned());
    let (host, lines) = host_with([spec]).await;
    let id = host.invoke_event("work", r#"{"op":"fail"}"#).unwrap();
    let line = lines.containing("cannot deliver the record of the failed event to nobody").await;
    assert_eq!(line.request_id, Some(id));
}

/// The host of [`no_process_outlives_a_killed_host`], in a process of its own.
#[tokio::test]
#[ignore = "runs until it is killed"]
async fn the_host_that_is_killed() {
    let print = |line: LogLine| println!("{}", line.line);
    let host = LambdaHost::start(print).await.unwrap();
    host.register(probe("f"));
    host.invoke("f", r#"{"op":"sleep"}"#).await.unwrap();
    // The killed process has not ended when the next event comes, and does not receive it.
    assert_eq!(host.kill("f"), 1);
    host.invoke("f", r#"{"op":"child"}"#).await.unwrap();
}

#[tokio::test]
async fn no_process_outlives_a_killed_host() {
    let mut host = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lambda::the_host_that_is_killed", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let started = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the host ended by itself");
            if let Some((_, pid)) = line.split_once("child ") {
                break pid.to_owned();
            }
        }
    };
    let started = tokio::time::timeout(Duration::from_secs(10), started).await.expect("it has no child");
    let parent = parent_of(&started);
    host.kill().await.unwrap();
    until_gone(&started).await;
    until_gone(&parent).await;
}
