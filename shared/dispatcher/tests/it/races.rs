//! Concurrent deliveries and deployments: in any order, each body runs once.
//!
//! `RACES` sets the number of rounds. `make soak` runs 1000.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lamplighter_testkit::variable::number;
use serde_json::{Value, json};

use crate::support::{Stage, event, probe};

/// The resources whose requests race, one for each lane.
const LANES: [&str; 8] = ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"];
/// The number of rounds of one resource. A new one follows, since reading a long ledger takes longer.
const ROUNDS_PER_RESOURCE: usize = 5;

/// The number of rounds: a multiple of the lanes.
fn rounds() -> usize {
    let rounds = number("RACES", 240);
    assert!(rounds >= LANES.len(), "expected at least {} rounds", LANES.len());
    rounds / LANES.len() * LANES.len()
}

/// Sends two events at once, round by round in each lane. Returns their answers by lane and round.
async fn race(stage: &Arc<Stage>, rounds: usize, requests: [&'static str; 2]) -> Vec<[Value; 2]> {
    let lanes = LANES.map(|lane| {
        let stage = Arc::clone(stage);
        tokio::spawn(async move {
            let mut answers = Vec::new();
            for round in 0..rounds / LANES.len() {
                let events = requests.map(|request| {
                    let kind = if round.is_multiple_of(ROUNDS_PER_RESOURCE) { "Create" } else { "Update" };
                    let id = format!("{lane}-{round}{request}");
                    // CloudFormation sends an Update only if a property differs.
                    let mut event = event(kind, &id, &format!("{round}{request}"), &[probe(lane)]);
                    event["LogicalResourceId"] = json!(format!("{lane}x{}", round / ROUNDS_PER_RESOURCE));
                    event
                });
                let expected = events.each_ref().map(|event| stage.deliver(event));
                answers.push([stage.answer(&expected[0]).await, stage.answer(&expected[1]).await]);
                for expected in &expected {
                    assert_eq!(expected.received().len(), 1);
                }
            }
            answers
        })
    });
    let mut answers = Vec::new();
    for lane in lanes {
        answers.extend(lane.await.unwrap());
    }
    answers
}

async fn stage() -> Arc<Stage> {
    let stage = Stage::new().await;
    stage.install_all(&LANES.map(probe));
    stage.status("UPDATE_IN_PROGRESS");
    Arc::new(stage)
}

/// The number of starts of each run's body.
fn starts(stage: &Stage) -> BTreeMap<String, usize> {
    stage.runs().into_iter().fold(BTreeMap::new(), |mut starts, run| {
        *starts.entry(run).or_default() += 1;
        starts
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l14_of_two_racing_deliveries_of_one_request_each_body_runs_once() {
    let stage = stage().await;
    let began = tokio::time::Instant::now();
    let rounds = rounds();
    let answers = race(&stage, rounds, ["", ""]).await;
    eprintln!("{rounds} rounds in {:?}", began.elapsed());
    assert_eq!(answers.len(), rounds);
    for [one, other] in &answers {
        assert_eq!(one["Status"], "SUCCESS", "{one}");
        assert_eq!(one, other);
    }
    let starts = starts(&stage);
    assert_eq!(starts.len(), rounds);
    assert!(starts.values().all(|times| *times == 1));
    finish(stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l14_of_two_racing_requests_no_body_runs_twice() {
    let stage = stage().await;
    let rounds = rounds();
    let answers = race(&stage, rounds, ["a", "b"]).await;
    for pair in &answers {
        // The newer one always succeeds; the older one may be superseded.
        let succeeded = pair.iter().filter(|answer| answer["Status"] == "SUCCESS").count();
        assert!(succeeded >= 1, "{pair:?}");
        for overtaken in pair.iter().filter(|answer| answer["Status"] == "FAILED") {
            let reason = overtaken["Reason"].as_str().unwrap();
            assert!(
                reason.contains("a later deployment") || reason.contains("superseded by request"),
                "{reason}"
            );
        }
    }
    let starts = starts(&stage);
    assert!(starts.len() >= rounds && starts.values().all(|times| *times == 1));
    finish(stage).await;
}

async fn finish(stage: Arc<Stage>) {
    // Late deliveries may still be waiting for the answer to arrive.
    tokio::time::sleep(Duration::from_millis(500)).await;
    match Arc::try_unwrap(stage) {
        Ok(stage) => stage.end().await,
        Err(_) => unreachable!("all lanes have ended"),
    }
}
