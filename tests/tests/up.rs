//! `lamplighter up` and `history` as processes in this repository, with a home and a database of the test's own.
//!
//! All checks are in one test, since they package the same functions into the same folder.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use lamplighter_e2e::{CommandOutput, Home, lamplighter, processes_with, repository, wait_until};
use serde_json::{Value, json};

/// An unreachable database: nothing listens on its port.
const AWAY: &str = "postgres://shop@127.0.0.1:9/shop";

#[test]
fn k01_up_deploys_fails_and_continues() {
    let home = Home::new();
    versions_are_deployed_in_sequence(&home);
    history_lists_the_runs(&home);
    a_relative_database_is_one_file_whatever_the_environment_has();
    a_killed_up_leaves_no_process_and_the_next_one_continues();
    the_demo_succeeds();
}

fn versions_are_deployed_in_sequence(home: &Home) {
    let first = up(home, "1", &database(home));
    assert_eq!(first.code, Some(0), "{first:?}");
    assert_eq!((&first.json()["status"], &first.json()["version"]), (&json!("CREATE_COMPLETE"), &json!("1")));
    assert_eq!(
        statuses(&first, "LamplighterBefore"),
        json!({
            "process-assets": "COMPLETED", "run-migrations": "COMPLETED", "seed-data": "COMPLETED",
        })
    );
    assert_eq!(statuses(&first, "LamplighterAfter"), json!({ "warm-cache": "COMPLETED" }));

    let second = up(home, "2", &database(home));
    assert_eq!(second.code, Some(0), "{second:?}");
    assert_eq!((&second.json()["version_before"], &second.json()["version"]), (&json!("1"), &json!("2")));
    assert_eq!(
        statuses(&second, "LamplighterBefore"),
        json!({
            "process-assets": "SKIPPED", "run-migrations": "COMPLETED", "seed-data": "SKIPPED",
        })
    );

    let third = up(home, "3", AWAY);
    assert_eq!(third.code, Some(1), "{third:?}");
    let report = third.json();
    assert_eq!(report["status"], "UPDATE_ROLLBACK_COMPLETE");
    assert_eq!((&report["version_before"], &report["version"]), (&json!("2"), &json!("2")));
    let failure = report["failure"].as_str().unwrap();
    assert!(failure.contains("run-migrations FAILED") && failure.contains("127.0.0.1:9"), "{failure}");
    assert!(third.stderr.contains("error: version 3 was not deployed"), "{}", third.stderr);
    let resources = report["resources"].as_array().unwrap();
    let courses: Vec<_> =
        resources.iter().map(|resource| (&resource["logical_id"], &resource["course"])).collect();
    let before = json!("LamplighterBefore");
    assert_eq!(courses, [(&before, &json!("update")), (&before, &json!("rollback"))]);

    let fourth = up(home, "4", &database(home));
    assert_eq!(fourth.code, Some(0), "{fourth:?}");
    assert_eq!((&fourth.json()["version_before"], &fourth.json()["version"]), (&json!("2"), &json!("4")));
    assert_eq!(fourth.json()["failure"], Value::Null);
}

fn history_lists_the_runs(home: &Home) {
    let whole = home.run(&["history", "--json"]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let runs = whole.json();
    let runs = runs["runs"].as_array().unwrap();
    let of = |task: &str| runs.iter().filter(|run| run["task"] == task).collect::<Vec<_>>();
    assert_eq!((of("run-migrations").len(), of("warm-cache").len()), (4, 3));
    assert_eq!(of("seed-data").iter().filter(|run| run["status"] == "COMPLETED").count(), 1);
    let newest = of("run-migrations")[0];
    assert_eq!(
        (&newest["status"], &newest["deployment"]["previous_version"]),
        (&json!("COMPLETED"), &json!("2"))
    );

    let failed = home.run(&["history", "run-migrations", "--status", "FAILED"]);
    assert_eq!(failed.code, Some(0), "{failed:?}");
    let lines: Vec<_> = failed.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "the run, and how many there are: {lines:?}");
    for word in ["run-migrations", "FAILED", "update 3", "127.0.0.1:9"] {
        assert!(lines[0].contains(word), "no `{word}` in: {}", lines[0]);
    }
}

fn a_relative_database_is_one_file_whatever_the_environment_has() {
    let home = Home::new();
    // Relative to the current folder of all processes, in a folder that git ignores.
    let file = format!("target/relative-{}.sqlite", std::process::id());
    let url = format!("sqlite:{file}");
    for (version, seeded) in [("1", "COMPLETED"), ("2", "SKIPPED")] {
        let mut command = home.command(&["up", "--json", "--version", version]);
        // A value in Latin-1, as old settings files have them.
        command.env("DATABASE_URL", &url).env("BAD", OsStr::from_bytes(b"\xa3"));
        let ended = CommandOutput::of(&mut command);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let before = statuses(&ended, "LamplighterBefore");
        assert_eq!((&before["run-migrations"], &before["seed-data"]), (&json!("COMPLETED"), &json!(seeded)));
    }
    assert!(repository().join(&file).is_file());
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(repository().join(format!("{file}{ending}")));
    }
}

fn a_killed_up_leaves_no_process_and_the_next_one_continues() {
    let home = Home::new();
    // A database that accepts connections and never responds, so that the migrations wait.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let waiting = format!("postgres://shop@{}/shop", silent.local_addr().unwrap());
    let mut command = home.command(&["up", "--version", "1"]);
    command.env("DATABASE_URL", &waiting).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    let connection = silent.accept().unwrap();
    let variable = format!("DATABASE_URL={waiting}");
    assert!(processes_with(&variable).len() > 1, "no function process has started");
    process.kill().unwrap();
    process.wait().unwrap();
    wait_until("its functions are gone", || processes_with(&variable).is_empty());
    drop(connection);

    let next = up(&home, "1", &database(&home));
    assert_eq!(next.code, Some(0), "{next:?}");
    assert_eq!(statuses(&next, "LamplighterBefore")["run-migrations"], "COMPLETED");
    // The next deployment did not wait for the lost run's lease, and the history has the lost run.
    assert!(next.json()["duration_ms"].as_u64().unwrap() < 60_000, "{next:?}");
    let lost = home.run(&["history", "run-migrations", "--status", "FAILED", "--json"]).json();
    let lost = &lost["runs"][0];
    assert_eq!(lost["error"]["kind"], "system", "{lost:#}");
    assert!(lost["error"]["message"].as_str().unwrap().starts_with("lost: "), "{lost:#}");
}

fn the_demo_succeeds() {
    lamplighter();
    let home = Home::new();
    let mut demo = Command::new(repository().join("tests/demo"));
    let output = demo.env("DEMO_HOME", home.path()).env("RUST_BACKTRACE", "0").output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    let serving: Vec<_> =
        ["version 1 is live", "version 2 is live", "version 2 stays live", "version 4 is live"]
            .into_iter()
            .map(|word| report.find(word).unwrap_or_else(|| panic!("no `{word}` in:\n{report}")))
            .collect();
    assert!(serving.is_sorted(), "{report}");
    let history = ["history", "--json", "--limit", "200", "--home"];
    let history = CommandOutput::of(lamplighter().args(history).arg(home.path())).json();
    let mut runs: BTreeMap<String, usize> = BTreeMap::new();
    // At 3:00 UTC a runner of the demo also starts the purge.
    for run in history["runs"].as_array().unwrap().iter().filter(|run| run["trigger"] != "pulse") {
        let words = ["task", "trigger", "status"].map(|key| run[key].as_str().unwrap());
        *runs.entry(words.join(" ")).or_default() += 1;
    }
    assert_eq!(
        json!(runs),
        json!({
            "run-migrations deploy COMPLETED": 1,
            "seed-data deploy COMPLETED": 1,
            "process-assets deploy COMPLETED": 1,
            "warm-cache deploy COMPLETED": 1,
            // Versions 2, 4 and 5; version 3 has no database.
            "run-migrations update COMPLETED": 3,
            "run-migrations update FAILED": 1,
            // Version 5 has an unreachable page, and its notice is withdrawn.
            "warm-cache update COMPLETED": 2,
            "warm-cache update FAILED": 1,
            "process-assets update COMPLETED": 1,
            "process-assets rollback COMPLETED": 1,
            "purge-expired manual COMPLETED": 2,
            "purge-expired manual CANCELLED": 1,
            "purge-expired manual SKIPPED": 2,
            "import-users queue COMPLETED": 2,
            "import-users queue CANCELLED": 1,
            "import-users queue FAILED": 1,
        })
    );
}

/// Runs `up --json` as a process.
fn up(home: &Home, version: &str, database: &str) -> CommandOutput {
    let started = Instant::now();
    let ended = CommandOutput::of(
        home.command(&["up", "--json", "--version", version]).env("DATABASE_URL", database),
    );
    eprintln!("up {version}: {:?} after {:.1} s", ended.code, started.elapsed().as_secs_f64());
    ended
}

/// The URL of a home's database.
fn database(home: &Home) -> String {
    format!("sqlite:{}", home.database().display())
}

/// The status of each task of a resource, by name.
fn statuses(ended: &CommandOutput, logical_id: &str) -> Value {
    let report = ended.json();
    let resources = report["resources"].as_array().unwrap();
    let resource = resources.iter().find(|resource| resource["logical_id"] == logical_id).unwrap();
    let tasks = resource["tasks"].as_array().unwrap();
    tasks.iter().map(|task| (task["task"].as_str().unwrap().to_owned(), task["status"].clone())).collect()
}
