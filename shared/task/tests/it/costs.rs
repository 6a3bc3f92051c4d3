//! The cost of a run: all requests of an invocation, counted on the wire.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::world::{PROBE, RUN, World, deploy};

/// The text before an operation's name in a request's head.
const TARGET: &str = "x-amz-target: DynamoDB_20120810.";

/// The operations so far, in order.
type Passed = Arc<Mutex<Vec<String>>>;

/// A proxy for the engine that notes each operation. Requests are small, so each head arrives in one read.
async fn meter(engine: &str) -> (String, Passed) {
    let (engine, key) = engine.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let engine = engine.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/{key}", listener.local_addr().unwrap());
    let passed = Passed::default();
    let noting = Arc::clone(&passed);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, noting) = (TcpStream::connect(&engine).await.unwrap(), Arc::clone(&noting));
            let ((mut from, mut back), (mut answer, mut to)) = (client.into_split(), server.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut answer, &mut back).await });
            tokio::spawn(async move {
                let mut piece = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = from.read(&mut piece).await {
                    let text = String::from_utf8_lossy(&piece[..read]).into_owned();
                    let operations = text.split(TARGET).skip(1).filter_map(|rest| rest.split("\r\n").next());
                    noting.lock().unwrap().extend(operations.map(str::to_owned));
                    to.write_all(&piece[..read]).await.unwrap();
                }
            });
        }
    });
    (endpoint, passed)
}

#[tokio::test]
async fn a_recorded_run_costs_three_writes_and_a_refused_one_costs_one() {
    let world = World::new().await;
    let (endpoint, passed) = meter(&world.dynamodb).await;
    let mut spec = world.spec(json!({}));
    spec.environment.insert("AWS_ENDPOINT_URL_DYNAMODB".into(), endpoint);
    world.host.register(spec);
    let spent = || std::mem::take(&mut *passed.lock().unwrap());

    for payload in [json!({}), deploy("deploy", RUN, "r1"), tick("2026-11-21T06:00:00Z")] {
        let invocation = world.host.invoke(PROBE, payload.to_string()).await.unwrap();
        assert!(!invocation.failed, "{payload}");
        assert_eq!(spent(), ["UpdateItem", "PutItem", "UpdateItem"], "{payload}");
    }
    for payload in [deploy("deploy", RUN, "r1"), tick("2026-11-21T06:00:00Z")] {
        world.host.invoke(PROBE, payload.to_string()).await.unwrap();
        assert_eq!(spent(), ["UpdateItem"], "refused: {payload}");
    }
}

/// An idle process and an open table send no request for a minute. The other tests run meanwhile.
#[tokio::test]
async fn idle_costs_nothing() {
    let world = World::new().await;
    let (endpoint, passed) = meter(&world.dynamodb).await;
    let mut spec = world.spec(json!({}));
    spec.environment.insert("AWS_ENDPOINT_URL_DYNAMODB".into(), endpoint);
    world.host.register(spec);
    let process = async || world.run().await.data.unwrap()["pid"].clone();
    let first = process().await;
    assert_eq!(std::mem::take(&mut *passed.lock().unwrap()).len(), 3, "the proxy counts the requests");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*passed.lock().unwrap(), [""; 0]);
    assert_eq!(process().await, first, "the same process served both runs");
}

fn tick(at: &str) -> serde_json::Value {
    json!({ "trigger": "schedule", "scheduled_for": at })
}
