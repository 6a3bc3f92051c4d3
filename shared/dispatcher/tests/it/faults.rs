//! Deployments with a table that fails at random: each has one answer, and each of its tasks runs once.
//!
//! `ROUNDS` sets the number of deployments, and `SEED` repeats a run. `make soak` runs 400.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use lamplighter_testkit::{
    dice::Dice,
    proxy::{Fault, Proxy},
    variable::number,
};

use crate::support::{Stage, event, probe};

/// The number of concurrent stages.
const STAGES: u64 = 4;
/// One of this many requests fails.
const EVERY: usize = 5;
const TABLE: &str = "AWS_ENDPOINT_URL_DYNAMODB";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l14_a_deployment_has_one_answer_and_its_tasks_run_once_although_the_table_fails() {
    let (rounds, seed) = (number("ROUNDS", 40_u64), number("SEED", 13));
    println!("ROUNDS={rounds} SEED={seed}");
    join_all((0..STAGES).map(|stage| on_stage(rounds.div_ceil(STAGES), seed * STAGES + stage))).await;
}

async fn on_stage(rounds: u64, seed: u64) {
    let stage = Stage::new().await;
    let proxy = Proxy::before(&stage.endpoints[TABLE]).await;
    let mut dice = Dice::new(seed);
    proxy.rule(move |head| Fault::of_table(&mut dice, EVERY, head));
    stage.dispatcher(Duration::from_secs(60), &[(TABLE, &proxy.endpoint)]);
    let behind = |name| probe(name).with(TABLE, &proxy.endpoint);
    let tasks = [behind("migrate"), behind("seed").needs(&["migrate"]), behind("warm")];
    stage.install_all(&tasks);
    for round in 0..rounds {
        let kind = if round == 0 { "Create" } else { "Update" };
        let event = event(kind, &format!("r{round}"), &(round + 1).to_string(), &tasks);
        let (first, again) = (stage.deliver(&event), stage.deliver(&event));
        let answers = [stage.answer(&first).await, stage.answer(&again).await];
        assert_eq!(answers[0], answers[1], "round {round} of {seed}");
        let runs = stage.runs();
        let once: BTreeSet<_> = runs.iter().collect();
        assert_eq!(runs.len(), once.len(), "round {round} of {seed}: {runs:?}");
        if answers[0]["Status"] == "SUCCESS" {
            let entry = stage.newest().await;
            for task in ["migrate", "seed", "warm"] {
                let run = stage.run_of(&entry, task).await;
                assert_eq!(run.status.as_str(), "COMPLETED", "round {round} of {seed}: {run:?}");
                let of_run = format!("run {task} {}", run.id);
                assert_eq!(runs.iter().filter(|line| **line == of_run).count(), 1, "{runs:?}");
            }
        } else {
            let reason = answers[0]["Reason"].as_str().unwrap_or_default();
            assert!(!reason.is_empty(), "round {round} of {seed}: {}", answers[0]);
        }
        for expected in [&first, &again] {
            assert_eq!(expected.received().len(), 1, "round {round} of {seed}");
        }
    }
    stage.end().await;
}
