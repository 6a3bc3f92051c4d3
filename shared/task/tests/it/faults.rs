//! Cron tasks and jobs on a table with random faults: each tick has at most one body, each job one record and one end.
//!
//! `ROUNDS` sets the number of rounds, and `SEED` repeats a run.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use lamplighter_aws::{
    clients::Clients,
    jobs::{Jobs, Waker},
    table::Table,
};
use lamplighter_core::{
    id::RunId,
    job::{JobKey, NewJob},
    status::Status,
};
use lamplighter_local::FunctionSpec;
use lamplighter_testkit::{
    dice::Dice,
    proxy::{Fault, Proxy},
    variable::number,
};
use serde_json::{Value, json};

use crate::world::{World, answer, binary, task};

/// The number of worlds at a time.
const WORLDS: u64 = 8;
/// One of this many requests meets a fault.
const EVERY: usize = 5;
/// The time of one invocation. A request can be three seconds late, so that some invocations time out.
const TIMEOUT: Duration = Duration::from_secs(6);
/// The time by which a lease exceeds [`TIMEOUT`], and a margin.
const LEASE: Duration = Duration::from_secs(6);

/// Runs `rounds` rounds, in several worlds at a time.
async fn in_worlds<F: Future<Output = ()>>(rounds: u64, world: impl Fn(u64, u64) -> F) {
    let (rounds, seed) = (number("ROUNDS", rounds), number("SEED", 13));
    println!("ROUNDS={rounds} SEED={seed}");
    let worlds = (0..WORLDS).map(|number| world(rounds.div_ceil(WORLDS), seed * WORLDS + number));
    futures::future::join_all(worlds).await;
}

/// Creates a proxy for the world's table that fails by a seed's dice.
async fn faulty(world: &World, seed: u64) -> Proxy {
    let proxy = Proxy::before(&world.dynamodb).await;
    fail(&proxy, seed);
    proxy
}

fn fail(proxy: &Proxy, seed: u64) {
    let mut dice = Dice::new(seed);
    proxy.rule(move |head| Fault::of_table(&mut dice, EVERY, head));
}

/// Puts the faulty proxy in front of a function's table.
fn before(mut spec: FunctionSpec, proxy: &Proxy) -> FunctionSpec {
    spec.environment.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), proxy.endpoint.clone());
    spec.timeout = TIMEOUT;
    spec
}

/// Returns the number of started bodies of a run.
fn bodies(world: &World, run: RunId) -> usize {
    world.marks("bodies").iter().filter(|line| line.starts_with(&run.to_string())).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c20_a_tick_has_at_most_one_body_despite_faults_of_the_table() {
    in_worlds(80, async |rounds, seed| {
        let world = World::new().await;
        let proxy = faulty(&world, seed).await;
        let mut spec = before(world.spec(json!({ "config": { "mode": "context" } })), &proxy);
        spec.environment.insert("PROBE_CRON".to_owned(), "yes".to_owned());
        world.host.register(spec);
        let first = Timestamp::now();
        for round in 0..rounds {
            let at = first + Duration::from_secs(60 * round);
            let run = RunId::new(at, seed.into());
            let tick = json!({ "trigger": "pulse", "scheduled_for": at, "run_id": run });
            // It is delivered twice, and again after a failure.
            let (one, other) = tokio::join!(world.invoke(tick.clone()), world.invoke(tick.clone()));
            let third = world.invoke(tick.clone()).await;
            let said_so =
                [one, other, third].iter().any(|told| !told.failed && answer(told)["status"] == "COMPLETED");
            proxy.rule(|_| Fault::None);
            // The next claim after the lease's end records the run of a dead process as lost.
            let by = Instant::now() + TIMEOUT + LEASE;
            let record = loop {
                if let Some(record) = world.table.run(&task(), run).await.unwrap() {
                    break record;
                }
                assert!(Instant::now() < by, "round {round} of {seed}: no record of {run}");
                tokio::time::sleep(Duration::from_millis(300)).await;
                world.table.look(&task(), run, Timestamp::now()).await.unwrap();
                world.invoke(tick.clone()).await;
            };
            let bodies = bodies(&world, run);
            assert!(bodies <= 1, "round {round} of {seed}: {bodies} bodies, {record:?}");
            assert!(record.status != Status::Completed || bodies == 1, "round {round} of {seed}: {record:?}");
            assert!(!said_so || record.status == Status::Completed, "round {round} of {seed}: {record:?}");
            fail(&proxy, seed + round * 1000);
        }
        assert!(world.marks("overlaps").is_empty(), "two bodies at a time");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q10_a_job_has_one_record_and_one_end_despite_faults_of_the_table() {
    in_worlds(80, async |rounds, seed| {
        const PROBE: &str = "job-probe";
        let world = World::new().await;
        let proxy = faulty(&world, seed).await;
        let mut spec = FunctionSpec::new(PROBE, binary().with_file_name("job_probe"));
        spec.environment = world.spec(json!({})).environment;
        world.host.register(before(spec, &proxy));
        let client = Clients::local(&proxy.endpoint).dynamodb().await.clone();
        let jobs = Jobs::new(Table::new(client, world.table.name()), Waker::Runner { to: None });
        let calm = Jobs::new(world.table.clone(), Waker::Runner { to: None });
        let mut dice = Dice::new(seed);
        for round in 0..rounds {
            let mode = *dice.pick(&["echo", "error-once", "error"]);
            let arguments = json!({ "mode": mode, "value": round });
            let new = || NewJob {
                id: Some(format!("order-{round}")),
                arguments: arguments.clone(),
                ..NewJob::of(PROBE.parse().unwrap())
            };
            // A failed enqueue may have succeeded. It is repeated until it succeeds.
            let mut keys: BTreeSet<JobKey> = BTreeSet::new();
            for _ in 0..20 {
                if let Ok(accepted) = jobs.enqueue(new()).await {
                    keys.insert(accepted.key);
                    if keys.len() == 1 && dice.one_in(2) {
                        break;
                    }
                }
            }
            keys.insert(calm.enqueue(new()).await.unwrap().key);
            assert_eq!(keys.len(), 1, "round {round} of {seed}: one id, several jobs");
            let key = keys.pop_first().unwrap();
            let by = Instant::now() + 3 * (TIMEOUT + LEASE);
            let run = loop {
                if let Some(run) = calm.wait(&key, Duration::ZERO).await.unwrap() {
                    break run;
                }
                assert!(Instant::now() < by, "round {round} of {seed}: {key} does not end");
                // Two concurrent deliveries, as SQS may make.
                tokio::join!(deliver(&world, PROBE, &key), deliver(&world, PROBE, &key));
                tokio::time::sleep(Duration::from_millis(50)).await;
                if dice.one_in(4) {
                    proxy.rule(|_| Fault::None);
                }
            };
            let bodies = bodies(&world, key.run_id);
            assert!(bodies <= 3, "round {round} of {seed}: {bodies} bodies, {run:?}");
            match run.status {
                Status::Completed => assert!(mode != "error" && bodies >= 1, "{mode}: {run:?}"),
                Status::Failed => assert!(mode == "error" || bodies >= run.attempts.len(), "{mode}: {run:?}"),
                other => panic!("round {round} of {seed}: {other:?}: {run:?}"),
            }
            // A job that has ended never changes.
            deliver(&world, PROBE, &key).await;
            assert_eq!(calm.wait(&key, Duration::ZERO).await.unwrap().as_ref(), Some(&run));
            fail(&proxy, seed + round * 1000);
        }
    })
    .await;
}

/// Delivers a job's message to the function.
async fn deliver(world: &World, function: &str, key: &JobKey) {
    let record =
        json!({ "messageId": "m", "receiptHandle": "r", "body": serde_json::to_string(key).unwrap() });
    let payload: Value = json!({ "Records": [record] });
    let _ = world.host.invoke(function, payload.to_string()).await;
}
