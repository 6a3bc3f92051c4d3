//! Generated events, many of them malformed: each that can be answered gets one valid answer.
//!
//! `FUZZ_SEED` repeats a run, and `FUZZ_EVENTS` sets the number of events. `make soak` generates 20 000.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use lamplighter_aws::{clients::local_config, functions::Functions, stacks::Stacks};
use lamplighter_dispatcher::{answer, dispatch::dispatch, services::Dispatcher};
use lamplighter_testkit::{dice::Dice, variable::number};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{STACK, Stage, event, probe};

/// The number of events handled at once.
const AT_ONCE: usize = 400;

/// The number of further deliveries after one that failed.
const RETRIES: usize = 2;

/// Texts that some JSON parsers accept and others refuse.
fn odd(dice: &mut Dice) -> String {
    let deep = |open: &str, close: &str, times| format!("{}1{}", open.repeat(times), close.repeat(times));
    match dice.roll(14) {
        0 => deep("[", "]", 200),
        1 => deep("{\"a\":", "}", 130),
        2 => "\"\\ud800\"".to_owned(),
        3 => "1e999".to_owned(),
        4 => "{\"\\udc00\": -0.0}".to_owned(),
        5 => "null".to_owned(),
        6 => "[]".to_owned(),
        7 => "\"\"".to_owned(),
        8 => "18446744073709551616".to_owned(),
        9 => json!("x".repeat(dice.roll(3000))).to_string(),
        10 => json!("\u{1}\u{202e}👩‍👩‍👧".repeat(dice.roll(80))).to_string(),
        11 => "{}".to_owned(),
        12 => "true".to_owned(),
        _ => "-7".to_owned(),
    }
}

/// The keys of an event that are replaced, as JSON pointers.
const PLACES: [&str; 16] = [
    "/RequestType",
    "/RequestId",
    "/StackId",
    "/LogicalResourceId",
    "/PhysicalResourceId",
    "/ResponseURL",
    "/ResourceProperties",
    "/OldResourceProperties",
    "/requestPayload",
    "/ResourceProperties/Version",
    "/ResourceProperties/ServiceTimeout",
    "/ResourceProperties/Tasks",
    "/ResourceProperties/Environment",
    "/ResourceProperties/Tasks/0/Name",
    "/ResourceProperties/Tasks/0/RunOn",
    "/ResourceProperties/Tasks/0/Rollback",
];

/// A placeholder for a text that `serde_json` cannot write.
const MARK: &str = "odd-text-placeholder";

/// Generates an event as text. Returns it with its ids if it can be answered.
fn draw(dice: &mut Dice, url: &str) -> (String, Option<[String; 3]>) {
    let kind = *dice.pick(&["Create", "Update", "Update", "Update", "Delete", "Upsert"]);
    let tasks = [probe("migrate").on(&[]), probe("seed").on(&[]).undoes()];
    let count = dice.roll(3);
    let version = dice.roll(4).to_string();
    // CloudFormation never gives two requests the same id.
    let mut whole = event(kind, &format!("{kind}-{}", dice.roll(4)), &version, &tasks[..count]);
    whole["StackId"] = json!(format!("{STACK}{}", dice.roll(1000)));
    whole["LogicalResourceId"] = json!(format!("Tasks{}", dice.roll(8)));
    whole["ResponseURL"] = json!(url);
    whole["ResourceProperties"]["ServiceTimeout"] = json!("40");
    if dice.one_in(2) {
        whole["OldResourceProperties"] =
            event("Update", "", &dice.roll(4).to_string(), &tasks[..count])["ResourceProperties"].clone();
    }
    if dice.one_in(3) {
        whole["PhysicalResourceId"] = json!("lamplighter-shop-Tasks");
    }
    let mut text = if dice.one_in(3) {
        let place = *dice.pick(&PLACES);
        let (parent, key) = place.rsplit_once('/').unwrap();
        if let Some(parent) = whole.pointer_mut(parent).filter(|parent| parent.is_object()) {
            parent[key] = json!(MARK);
        }
        if key == "RequestType" {
            whole["RequestId"] = json!("unknown");
        }
        whole.to_string().replace(&json!(MARK).to_string(), &odd(dice))
    } else {
        whole.to_string()
    };
    // A second parser decides from the text alone if the event can be answered.
    let top: BTreeMap<String, Box<serde_json::value::RawValue>> = match serde_json::from_str(&text) {
        Ok(top) => top,
        Err(_) => return (text, None),
    };
    let of = |key: &str| serde_json::from_str::<String>(top.get(key)?.get()).ok();
    let id = |key: &str| of(key).filter(|id| (1..=512).contains(&(json!(id).to_string().len() - 2)));
    let answerable = of("ResponseURL")
        .filter(|given| given == url)
        .and_then(|_| Some([id("StackId")?, id("RequestId")?, id("LogicalResourceId")?]));
    if dice.one_in(12) {
        // As Lambda sends it to the fallback responder.
        text = format!(
            "{{\"version\":\"1.0\",\"requestContext\":{{}},\"requestPayload\":{text},\"responsePayload\":{{\"errorMessage\":\"killed\"}}}}"
        );
    }
    (text, answerable)
}

/// The bodies received at each path.
type Received = Arc<Mutex<HashMap<String, Vec<String>>>>;

async fn listen(received: Received) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, Arc::clone(&received)));
        }
    });
    endpoint
}

/// Accepts every PUT of a connection.
async fn serve(mut client: TcpStream, received: Received) -> std::io::Result<()> {
    let mut text = Vec::new();
    loop {
        let so_far = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length.split_once("content-length: ").map_or("0", |(_, rest)| rest);
            let length: usize = length.lines().next().unwrap_or("0").trim().parse().unwrap_or(0);
            if body.len() >= length {
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                received.lock().unwrap().entry(path).or_default().push(body.to_owned());
                text.clear();
                client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
            }
        }
        if client.read_buf(&mut text).await? == 0 {
            return Ok(());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d10_each_event_that_can_be_answered_has_one_valid_answer() {
    let (seed, events) = (number("FUZZ_SEED", 12), number("FUZZ_EVENTS", 4_000));
    println!("FUZZ_SEED={seed} FUZZ_EVENTS={events}");
    let stage = Arc::new(Stage::new().await);
    let received = Received::default();
    let endpoint = listen(Arc::clone(&received)).await;
    let dispatcher = Arc::new(Dispatcher {
        table: stage.direct_table(),
        functions: Functions::new(&local_config("http://127.0.0.1:9")),
        stacks: Stacks::new(&local_config(&stage.stacks.endpoint())),
        http: answer::client().unwrap(),
        local: Some(endpoint.clone()),
        definitions: None,
        own_function: "none".into(),
        random: lamplighter::random,
    });
    let mut dice = Dice::new(seed);
    let deadline = Timestamp::now() + std::time::Duration::from_secs(900);
    let drawn: Vec<_> = (0..events)
        .map(|i| {
            let path = format!("/{i}");
            let (text, ids) = draw(&mut dice, &format!("{endpoint}{path}"));
            (path, text, ids)
        })
        .collect();
    let statuses =
        ["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_COMPLETE"];
    let mut known = BTreeSet::new();
    let dealt = stream::iter(drawn.iter().enumerate().map(|(i, (_, text, ids))| {
        if let Some([stack, ..]) = ids
            && (known.insert(stack.clone()) || i % 50 == 0)
        {
            stage.stacks.set(stack, "shop", statuses[i / 50 % statuses.len()]);
        }
        let (dispatcher, stage) = (Arc::clone(&dispatcher), Arc::clone(&stage));
        let (text, ids) = (text.clone(), ids.clone());
        let is_answerable = ids.is_some();
        tokio::spawn(async move {
            if let Some([stack, _, resource]) = ids {
                let whole: Value = serde_json::from_str(&text).unwrap_or_default();
                stage.stacks.publish(&stack, &resource, "UPDATE_IN_PROGRESS", &whole["ResourceProperties"]);
            }
            let deliver = async || dispatch(&dispatcher, &text, deadline).await.map_err(|it| it.to_string());
            let mut done = deliver().await;
            // Lambda retries as well. On a busy machine the table may time out.
            for _ in 0..RETRIES {
                if done.is_err() && is_answerable {
                    done = deliver().await;
                }
            }
            (i, done)
        })
    }));
    // Some wait for events of their stack that are never published, while the others continue.
    let mut done: Vec<_> = dealt.buffer_unordered(AT_ONCE).map(Result::unwrap).collect().await;
    done.sort_by_key(|(i, _)| *i);
    let received = received.lock().unwrap().clone();
    let mut answers: BTreeMap<&[String; 3], &String> = BTreeMap::new();
    let mut answered = 0;
    for ((path, text, ids), (_, done)) in drawn.iter().zip(done) {
        let bodies = received.get(path).map_or(&[][..], Vec::as_slice);
        let Some(ids) = ids else {
            assert!(done.is_err() && bodies.is_empty(), "{path}: {text}\n{done:?} {bodies:?}");
            continue;
        };
        assert_eq!((&done.is_ok(), bodies.len()), (&true, 1), "{path}: {text}\n{done:?} {bodies:?}");
        let body = &bodies[0];
        let answer: Value = serde_json::from_str(body).unwrap();
        let ids_of_answer =
            ["StackId", "RequestId", "LogicalResourceId"].map(|key| answer[key].as_str().unwrap_or_default());
        assert_eq!(&ids_of_answer, ids, "{path}: {text}");
        let physical = answer["PhysicalResourceId"].as_str().unwrap_or_default();
        let is_valid = body.len() <= 4096
            && (1..=1024).contains(&physical.len())
            && match answer["Status"].as_str() {
                Some("SUCCESS") => true,
                Some("FAILED") => answer["Reason"].as_str().is_some_and(|reason| !reason.is_empty()),
                _ => false,
            };
        assert!(is_valid, "{path}: {text}\n{body}");
        // A request keeps its answer in later deliveries, whatever their properties.
        assert_eq!(*answers.entry(ids).or_insert(body), body, "{path}: {text}");
        answered += 1;
    }
    println!("{answered} of {events} could be answered, {} requests", answers.len());
    assert!(answered > events * 3 / 4);
    drop(dispatcher);
    if let Ok(stage) = Arc::try_unwrap(stage) {
        stage.end().await;
    }
}
