//! A task's state, built and torn down once per process, and the shared HTTP client.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use lamplighter_core::{
    run::{ErrorKind, Run},
    status::Status,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    shell::command,
    world::{RUN, World, deploy},
};

/// Creates a world whose probe has a state.
async fn world(config: Value) -> World {
    let world = World::new().await;
    let mut spec = world.spec(json!({ "config": config }));
    spec.environment.insert("PROBE_STATE".to_owned(), "yes".to_owned());
    world.host.register(spec);
    world
}

fn uses(run: &Run) -> &Value {
    &run.data.as_ref().expect("the body returned nothing")["uses"]
}

/// Waits for a line in a file.
async fn marked(world: &World, file: &str) -> Vec<String> {
    let marked = async {
        while world.marks(file).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), marked).await.expect("nothing was marked");
    world.marks(file).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn q03_a_state_is_built_once_per_process_and_torn_down_once() {
    let world = world(json!({})).await;
    for wanted in 1..=3 {
        assert_eq!(uses(&world.run().await), wanted);
    }
    assert_eq!(world.marks("opened").len(), 1);
    assert_eq!(world.marks("closed").len(), 0);
    let process = world.body_begun().await;
    // The record is written before the process is idle, and a busy process needs a second signal.
    let by = Instant::now() + Duration::from_secs(20);
    while world.marks("closed").is_empty() {
        assert!(Instant::now() < by, "the state is not torn down");
        assert!(Command::new("kill").args(["-s", "TERM", &process]).status().unwrap().success());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(marked(&world, "closed").await, ["3"]);
    // The host sends no event to a stopping process; the test waits until it is gone.
    let gone = async {
        // A process that was not waited for is a zombie.
        while std::fs::read_to_string(format!("/proc/{process}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the process did not end");

    assert_eq!(uses(&world.run().await), 1, "a new process builds a new state");
    assert_eq!(world.marks("opened").len(), 2);
}

#[tokio::test]
async fn q03_a_first_signal_cancels_the_run_and_a_second_one_ends_the_process() {
    // If the tests run under `nohup`, the processes inherit its ignored SIGHUP.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let has_hang_up = u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 == 0;
    let rounds = [("TERM", "TERM"), ("HUP", "TERM"), ("TERM", "HUP")];
    for (first, second) in rounds.into_iter().take(if has_hang_up { 3 } else { 1 }) {
        let world = world(json!({ "mode": "wait-for-go" })).await;
        let tell = |process: &str, signal: &str| {
            assert!(Command::new("kill").args(["-s", signal, process]).status().unwrap().success());
        };
        let (run, process) = tokio::join!(world.run(), async {
            let process = world.body_begun().await;
            tell(&process, first);
            process
        });
        assert_eq!(run.status, Status::Cancelled, "{run:?}");
        assert_eq!(world.marks("closed").len(), 0);
        tell(&process, second);
        assert_eq!(marked(&world, "closed").await, ["1"]);
    }
}

#[tokio::test]
async fn q03_a_run_by_hand_tears_its_state_down() {
    let world = world(json!({})).await;
    let mut by_hand = command(&world, &json!({}));
    by_hand.env("PROBE_STATE", "yes").arg("run");
    let output = tokio::task::spawn_blocking(move || by_hand.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(marked(&world, "closed").await, ["1"]);
}

#[tokio::test]
async fn q03_a_state_is_dropped_in_the_bodys_runtime_where_a_panic_does_no_harm() {
    for mode in ["", "panic-in-drop"] {
        let world = world(json!({})).await;
        let mut by_hand = command(&world, &json!({ "mode": mode }));
        by_hand.env("PROBE_STATE", "yes").arg("run");
        let output = tokio::task::spawn_blocking(move || by_hand.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{mode}: {output:?}");
        assert_eq!(marked(&world, "dropped").await, ["inside"], "{mode}");
    }
}

#[tokio::test]
async fn q03_building_the_state_is_retried() {
    let world = world(json!({ "mode": "away-at-first" })).await;
    let run = world.run().await;
    assert_eq!((run.status, run.attempts.len(), world.bodies()), (Status::Completed, 2, 1), "{run:?}");
    let error = run.attempts[0].error.as_ref().unwrap();
    assert_eq!(error.kind, ErrorKind::Dependency);
    assert_eq!(error.message, "cannot build the task's state: the database is down");
}

#[tokio::test]
async fn q03_a_run_without_its_state_fails_and_the_next_one_builds_it() {
    let world = world(json!({})).await;
    for (mode, kind, attempts) in [
        ("away", ErrorKind::Dependency, 2),
        ("no-password", ErrorKind::Configuration, 1),
        ("panic", ErrorKind::Execution, 2),
    ] {
        world.switch(mode);
        let run = world.run().await;
        let error = run.error.clone().unwrap();
        assert_eq!((run.status, error.kind, run.attempts.len()), (Status::Failed, kind, attempts), "{mode}");
    }
    assert_eq!(world.bodies(), 0);
    world.switch("");
    assert_eq!(uses(&world.run().await), 1);
}

#[tokio::test]
async fn q03_a_rollback_has_the_state_too() {
    let world = world(json!({ "mode": "failure" })).await;
    world.run().await;
    assert_eq!(marked(&world, "rollbacks").await, ["1"]);
    world.invoke(deploy("rollback", RUN, "r1")).await;
    assert_eq!(world.marks("opened").len(), 1, "it is the same process");
}

#[tokio::test]
async fn q03_bodies_share_an_http_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (connected, mut connections) = tokio::sync::watch::channel(0);
    let router = Router::new().route("/", get(async || "here"));
    tokio::spawn(async move {
        use axum::serve::ListenerExt as _;
        let counted = listener.tap_io(move |_| connected.send_modify(|count| *count += 1));
        axum::serve(counted, router).await
    });
    let world = world(json!({ "mode": "http", "names": [url] })).await;
    for _ in 0..3 {
        assert_eq!(world.run().await.data.unwrap()["status"], 200);
    }
    assert_eq!(*connections.borrow_and_update(), 1, "the connection is kept");
}
