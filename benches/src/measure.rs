//! Benchmark: the project's promises, each figure beside its baseline. Part of `make bench`.
//!
//! The three binaries of a round start one after the other, so that other load on the machine affects all of them. Figures
//! are medians, and promises are ratios. The exit code is 1 if a promise is broken.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use lamplighter_aws::{clients::local_dynamodb, table::create};
use lamplighter_local::{Answers, Engine, FunctionSpec, LambdaHost, Stacks};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    Measured,
    figures::{median, sign},
};

const STARTS: usize = 120;
const TABLE: &str = "lamplighter";
const STACK: &str = "arn:aws:cloudformation:us-east-1:000000000000:stack/bench/1";

/// Takes all measurements. Returns whether all promises are kept.
pub(crate) async fn measure() -> Measured<bool> {
    let folder = std::env::current_exe()?.parent().ok_or("the benchmark has no folder")?.to_owned();
    let engine = Engine::memory()?;
    let dynamodb = engine.serve().await?;
    create(&local_dynamodb(&dynamodb), TABLE).await?;

    let mut kept = starts(&folder, &dynamodb).await?;
    kept &= sizes(&folder)?;
    kept &= deployments(&folder, &dynamodb).await?;
    Ok(kept)
}

/// Prints a figure, its baseline, their ratio, and the promise in one line.
fn promise(what: &str, ours: f64, baseline: f64, unit: &str, at_most: f64) -> bool {
    let ratio = ours / baseline;
    let kept = ratio <= at_most;
    let sign = sign(kept);
    println!(
        "{sign}  {what:<58} {ours:>8.2} {unit}  against {baseline:>8.2} {unit}  = {ratio:.2} (at most {at_most})"
    );
    kept
}

/// The times from the process's start to its first poll, and to the end of the first run.
async fn starts(folder: &Path, dynamodb: &str) -> Measured<bool> {
    let stage = RuntimeApi::serve().await?;
    let mut polls: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut runs: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..STARTS {
        for binary in ["bare", "handwritten", "noop"] {
            let (poll, run) = stage.start(&folder.join(binary), dynamodb).await?;
            polls.entry(binary).or_default().push(poll);
            runs.entry(binary).or_default().push(run);
        }
    }
    let of = |times: &BTreeMap<&str, Vec<f64>>, binary: &str| median(times[binary].clone());
    println!("cold start, median of {STARTS}");
    let poll = of(&polls, "noop");
    Ok(promise("start to first poll, against bare", poll, of(&polls, "bare"), "ms", 1.6)
        & promise("start to first poll, against handwritten", poll, of(&polls, "handwritten"), "ms", 0.5)
        & promise(
            "start to end of first locked, recorded run, against handwritten",
            of(&runs, "noop"),
            of(&runs, "handwritten"),
            "ms",
            1.15,
        ))
}

fn sizes(folder: &Path) -> Measured<bool> {
    let size = |binary: &str| -> Measured<f64> {
        let bytes = u32::try_from(std::fs::metadata(folder.join(binary))?.len())?;
        Ok(f64::from(bytes) / 1e6)
    };
    println!("size");
    Ok(promise(
        "stripped release binary, against handwritten",
        size("noop")?,
        size("handwritten")?,
        "MB",
        1.3,
    ))
}

/// Measures a whole deployment through the real dispatcher.
async fn deployments(folder: &Path, dynamodb: &str) -> Measured<bool> {
    let host = LambdaHost::start(|_| ()).await?;
    let (stacks, answers) = (Stacks::serve().await?, Answers::serve().await?);
    stacks.set(STACK, "bench", "CREATE_IN_PROGRESS");
    let endpoints: BTreeMap<String, String> = [
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.to_owned()),
        ("AWS_ENDPOINT_URL_LAMBDA", host.endpoint()),
        ("AWS_ENDPOINT_URL_CLOUDFORMATION", stacks.endpoint()),
        ("LAMPLIGHTER_ANSWER_ENDPOINT", answers.endpoint()),
        ("LAMPLIGHTER_TABLE", TABLE.to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    host.register(FunctionSpec {
        environment: endpoints.clone(),
        timeout: Duration::from_secs(120),
        ..FunctionSpec::new("bench-dispatcher", folder.join("dispatcher"))
    });
    for i in 0..10 {
        for (prefix, sleep_ms) in [("noop", 0), ("slow", 2000)] {
            let mut environment = endpoints.clone();
            environment.insert("NOOP_NAME".into(), format!("{prefix}-{i}"));
            let settings = json!({ "config": { "sleep_ms": sleep_ms } });
            environment.insert("LAMPLIGHTER_SETTINGS".into(), settings.to_string());
            host.register(FunctionSpec {
                environment,
                timeout: Duration::from_secs(30),
                ..FunctionSpec::new(format!("bench-{prefix}-{i}"), folder.join("noop"))
            });
        }
    }
    let deploy = async |request: String, tasks: &[String]| -> Measured<f64> {
        let expected = answers.expect()?;
        let tasks: Vec<_> =
            tasks.iter().map(|name| json!({ "Name": name, "Function": format!("bench-{name}") })).collect();
        let event = json!({
            "RequestType": "Create", "ResponseURL": expected.url, "StackId": STACK, "RequestId": request,
            "LogicalResourceId": "Tasks", "ResourceProperties": { "Version": "1", "Tasks": tasks },
        });
        let started = Instant::now();
        host.invoke_event("bench-dispatcher", event.to_string())?;
        let answer = expected.answer(Duration::from_secs(60)).await?.json()?;
        let took = started.elapsed().as_secs_f64() * 1e3;
        if answer["Status"] != "SUCCESS" {
            return Err(format!("the deployment failed: {answer}").into());
        }
        Ok(took)
    };
    println!("deployments on this machine");
    let slow: Vec<_> = (0..10).map(|i| format!("slow-{i}")).collect();
    let ten = deploy("ten".to_owned(), &slow).await?;
    let mut kept = promise("ten independent tasks of 2 s, against 2 s", ten, 2000.0, "ms", 1.25);

    let (mut one, mut two) = (Vec::new(), Vec::new());
    let noops = ["noop-0".to_owned(), "noop-1".to_owned()];
    for i in 0..60 {
        one.push(deploy(format!("one-{i}"), &noops[..1]).await?);
        two.push(deploy(format!("two-{i}"), &noops).await?);
    }
    let added = median(two) - median(one);
    kept &= promise("a no-op task adds, against 20 ms", added.max(0.0), 20.0, "ms", 1.0);
    host.shutdown().await;
    Ok(kept)
}

/// The Runtime API for one process at a time, which notes the times of its calls.
struct RuntimeApi {
    address: String,
    calls: tokio::sync::Mutex<mpsc::UnboundedReceiver<(Call, Instant)>>,
    fresh: Arc<Mutex<bool>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Call {
    Poll,
    Response,
    Error(String),
}

#[derive(Clone)]
struct Calls {
    sender: mpsc::UnboundedSender<(Call, Instant)>,
    fresh: Arc<Mutex<bool>>,
}

impl RuntimeApi {
    async fn serve() -> Measured<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let fresh = Arc::new(Mutex::new(false));
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(Calls { sender, fresh: Arc::clone(&fresh) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, calls: receiver.into(), fresh })
    }

    /// Starts a binary for one invocation and ends it. Returns the milliseconds to the first poll and to the response.
    async fn start(&self, binary: &PathBuf, dynamodb: &str) -> Measured<(f64, f64)> {
        *self.fresh.lock().map_err(|_| "poisoned")? = true;
        let mut calls = self.calls.lock().await;
        let started = Instant::now();
        let mut child = tokio::process::Command::new(binary)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", &self.address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb)
            .env("LAMPLIGHTER_TABLE", TABLE)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut times = [0.0; 2];
        for (time, expected) in times.iter_mut().zip([Call::Poll, Call::Response]) {
            let (call, at) = calls.recv().await.ok_or("the runtime api is gone")?;
            if call != expected {
                return Err(format!("{}: {call:?} came instead of {expected:?}", binary.display()).into());
            }
            *time = at.duration_since(started).as_secs_f64() * 1e3;
        }
        child.kill().await?;
        while calls.try_recv().is_ok() {}
        Ok((times[0], times[1]))
    }
}

async fn next(State(calls): State<Calls>) -> Response {
    let at = Instant::now();
    let first = calls.fresh.lock().is_ok_and(|mut fresh| std::mem::take(&mut *fresh));
    if !first {
        std::future::pending::<()>().await;
    }
    let _ = calls.sender.send((Call::Poll, at));
    let deadline = std::time::SystemTime::now() + Duration::from_secs(30);
    let deadline = deadline.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let id = format!("{:032x}", deadline.as_nanos());
    (
        [
            ("lambda-runtime-aws-request-id", id),
            ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
            ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:0:function:bench".to_owned()),
            ("content-type", "application/json".to_owned()),
        ],
        "{}",
    )
        .into_response()
}

async fn response(State(calls): State<Calls>) -> StatusCode {
    let _ = calls.sender.send((Call::Response, Instant::now()));
    StatusCode::ACCEPTED
}

async fn error(State(calls): State<Calls>, body: String) -> StatusCode {
    let _ = calls.sender.send((Call::Error(body), Instant::now()));
    StatusCode::ACCEPTED
}
