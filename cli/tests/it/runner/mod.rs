//! S04 to S07, K01: `lamplighter start`, `dev` and `runner` as processes, with tasks that really run.

mod disk;
mod killed;
mod neighbours;
mod notifications;
mod output;
mod queue;
mod sides;
pub(crate) mod stage;
mod started;

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use lamplighter_core::{
    claim::{Decision, Occasion, Request},
    definition::Overlap,
    id::RunId,
    run::Trigger,
};
use serde_json::{Value, json};

use stage::{LIMIT, Stage, until};

#[test]
fn s04_a_runner_starts_due_tasks_to_the_second_and_leaves_no_process_behind() {
    let stage = Stage::new().task("tick", "every 2 seconds", "");
    let mut runner = stage.start(&["start"], &[]);
    let first = &runner.said[0];
    assert_eq!((&first["environment"], &first["stack"]), (&json!("dev"), &json!("shop")));
    assert_eq!((&first["tasks"][0]["task"], &first["tasks"][0]["kind"]), (&json!("tick"), &json!("cron")));
    assert!(first["tasks"][0]["next"].is_string(), "{first:#}");
    let printed = runner.until("a printed line", |line| line["message"] == "first");
    assert!(printed["run_id"].is_string(), "a line has its run: {printed:#}");
    stage.until_noted(3);
    runner.signal("TERM");
    let (code, took, said) = runner.ended();
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(stage.processes(), 0);
    let ends: Vec<_> = said.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(ends[ends.len() - 2..], ["stopping", "stopped"]);

    let runs = stage.history("tick");
    assert!(runs.iter().all(|run| run["trigger"] == "pulse"), "{runs:#?}");
    let ticks: BTreeSet<_> = runs.iter().map(|run| run["scheduled_for"].to_string()).collect();
    assert_eq!(ticks.len(), runs.len(), "one run a tick");
    // On a busy machine a process may take longer to start than until the next tick.
    let started: Vec<_> = runs.into_iter().filter(|run| !is_held(run)).collect();
    assert!(started.iter().all(|run| run["status"] == "COMPLETED"), "{started:#?}");
    assert_eq!(started.len(), stage.noted().len());
    let run = printed["run_id"].as_str().unwrap();
    let log = stage.workspace.run(&["logs", run, "--json"]).succeeded();
    assert!(log.contains("\"first\"") && log.contains("COMPLETED"), "{log}");
}

/// Returns true if another run held the task.
fn is_held(run: &Value) -> bool {
    run["status"] == "SKIPPED" && run["why"]["kind"] == "held"
}

/// Checks that one run was cancelled, and that it kept out all others.
fn assert_only_cancelled(runs: &[Value]) {
    let started: Vec<_> = runs.iter().filter(|run| !is_held(run)).collect();
    assert!(started.len() == 1 && started[0]["status"] == "CANCELLED", "{runs:#?}");
}

#[test]
fn s04_a_run_longer_than_the_grace_is_cancelled_and_recorded() {
    let stage = Stage::new().task("obey", "every 1 seconds", "obey");
    let runner = stage.start(&["start", "--grace", "1s"], &[]);
    stage.until_noted(1);
    runner.signal("INT");
    let (code, took, said) = runner.ended();
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(stage.processes(), 0);
    let noted = stage.noted();
    assert_eq!(noted[1], "cancelled", "its cancellation fired: {noted:?}");
    let runs = stage.history("obey");
    assert_only_cancelled(&runs);
}

#[test]
fn c19_a_cancelled_run_on_this_machine_ends_at_once() {
    let stage = Stage::new().task("obey", "every 1 seconds", "obey");
    let runner = stage.start(&["start", "--grace", "0"], &[]);
    stage.until_noted(1);
    let cancelled = stage.workspace.run(&["cancel", "obey", "--json"]).succeeded();
    let runs: Value = serde_json::from_str(&cancelled).unwrap();
    assert_ended_at_once(&runs[0]);
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
}

/// Checks that a run was cancelled, and earlier than in AWS: there, a process first looks for a cancellation after 10 s.
pub(crate) fn assert_ended_at_once(run: &Value) {
    assert_eq!(run["status"], "CANCELLED", "{run:#}");
    let at = |field: &str| run[field].as_str().unwrap().parse::<Timestamp>().unwrap();
    let took = at("completed_at").duration_since(at("started_at"));
    assert!(took < SignedDuration::from_secs(9), "{took:?}: {run:#}");
}

#[test]
fn s04_a_second_signal_kills_a_body_that_ignores_cancellation_and_records_it() {
    let stage = Stage::new().task("block", "every 1 seconds", "block");
    let mut runner = stage.start(&["start", "--grace", "10m"], &[]);
    stage.until_noted(1);
    runner.signal("TERM");
    runner.until("event `stopping`", |line| line["event"] == "stopping");
    runner.signal("TERM");
    let (code, took, said) = runner.ended();
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(stage.processes(), 0);
    let runs = stage.history("block");
    assert_only_cancelled(&runs);
}

#[test]
fn s04_all_kinds_of_tasks_run_together_and_end_within_the_grace_or_cancelled() {
    let stage =
        Stage::new().task("obey", "every 1 seconds", "obey").queue("mail", &json!({})).side("side-probe", "");
    for (round, command) in [(1, "start"), (2, "dev")] {
        let mut runner = stage.start(&[command, "--grace", "10m"], &[]);
        runner.until("the side task", |line| line["message"] == "listening");
        // The body waits until a file named `command` exists.
        let job = stage.enqueue("mail", "await", command, &[]);
        let is_tick = |note: &&String| note.starts_with("obey ");
        until("a run of each kind", || {
            let noted = stage.noted();
            let ticks = noted.iter().filter(is_tick).count();
            (ticks == round && noted.iter().any(|note| note == command)).then_some(())
        });
        runner.signal("TERM");
        runner.until("event `stopping`", |line| line["event"] == "stopping");
        stage.workspace.write(command, "");
        assert_eq!(stage.over(&job)["status"], "COMPLETED", "{command}");
        // The other run would take the whole grace period.
        runner.signal("TERM");
        let (code, took, said) = runner.ended();
        assert_eq!(code, Some(0), "{said:#?}");
        assert!(took < Duration::from_secs(30), "{took:?}");
        assert_eq!(stage.processes(), 0);
        assert_eq!(stage.noted().iter().filter(is_tick).count(), round, "nothing began");
        let began = |run: &&Value| run["status"] != "SKIPPED";
        let ticks = stage.history("obey");
        let ticks: Vec<_> = ticks.iter().filter(began).map(|run| &run["status"]).collect();
        assert_eq!(ticks, vec!["CANCELLED"; round]);
        let sides: Vec<_> = stage.history("side-probe");
        assert_eq!(sides.iter().filter(|run| run["status"] == "COMPLETED").count(), round, "{sides:#?}");
        assert_eq!(stage.workspace.read("shutdowns").lines().count(), round);
    }
}

#[test]
fn s05_after_a_kill_a_new_runner_records_the_lost_runs_and_continues() {
    let stage = Stage::new().task("block", "every 1 seconds", "block");
    let runner = stage.start(&["start"], &[]);
    stage.until_noted(1);
    runner.signal("KILL");
    drop(runner);
    until("its processes are gone", || (stage.processes() == 0).then_some(()));

    let runner = stage.start(&["start", "--grace", "0"], &[]);
    // The new runner does not wait for the lease of the lost run, which lasts minutes.
    stage.until_noted(2);
    runner.signal("TERM");
    let (code, _, said) = runner.ended();
    assert_eq!(code, Some(0), "{said:#?}");
    let runs = stage.history("block");
    let lost = runs.iter().rfind(|run| !is_held(run)).unwrap();
    assert_eq!((&lost["status"], &lost["error"]["kind"]), (&json!("FAILED"), &json!("system")), "{lost:#}");
    assert!(lost["error"]["message"].as_str().unwrap().starts_with("lost: "), "{lost:#}");
}

#[test]
fn s05_two_runners_share_one_table_and_run_each_tick_once() {
    let stage = Stage::new().task("tick", "every 1 seconds", "");
    let first = stage.start(&["start"], &[]);
    let served = stage.workspace.read(".lamplighter/table.sqlite.endpoint");
    let served: Value = serde_json::from_str(&served).unwrap();
    // As in AWS, the two runners share only the table.
    let aws = [
        ("AWS_ENDPOINT_URL_DYNAMODB", served["dynamodb"].as_str().unwrap()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
    ];
    let second = stage.start(&["start", "--table", "shop-lamplighter"], &aws);
    // A runner says that it has started before its first heartbeat is written.
    until("both runners are listed", || {
        let status = stage.workspace.run(&["runner", "status", "--json"]).succeeded();
        let status: Value = serde_json::from_str(&status).unwrap();
        let standing: Vec<_> = status.as_array().unwrap().iter().map(|it| it["status"].clone()).collect();
        (standing == ["RUNNING", "RUNNING"]).then_some(())
    });
    let before = stage.noted().len();
    stage.until_noted(before + 6);
    for runner in [second, first] {
        runner.signal("TERM");
        let (code, _, said) = runner.ended();
        assert_eq!(code, Some(0), "{said:#?}");
        assert!(said.iter().all(|line| line["event"] != "warning"), "{said:#?}");
    }
    let noted = stage.noted();
    let ticks: BTreeSet<_> = noted.iter().collect();
    assert_eq!(ticks.len(), noted.len(), "{noted:#?}");
    let runs = stage.history("tick");
    // On a busy machine a run may last until the next tick.
    let (held, started): (Vec<_>, Vec<_>) = runs.iter().partition(|run| is_held(run));
    assert_eq!(started.len(), noted.len(), "nothing is recorded of a tick that another runner had");
    let tick = |run: &Value| format!("tick {}", run["scheduled_for"].as_str().unwrap());
    assert!(held.iter().all(|run| !ticks.contains(&tick(run))), "{held:#?}");
}

#[test]
fn k01_a_runner_is_listed_stopped_and_removed() {
    let stage = Stage::new().task("tick", "@hourly", "");
    let none = stage.workspace.run(&["runner", "status"]).succeeded();
    assert_eq!(none, "no runner uses this table\n");
    assert!(stage.workspace.run(&["runner", "stop"]).failed().contains("no runner uses"));
    let runner = stage.start(&["start"], &[]);
    let instance = runner.said[0]["instance"].as_str().unwrap().to_owned();
    // A runner says that it has started before its first heartbeat is written.
    let seen = until("it is listed", || {
        let seen = stage.workspace.run(&["runner", "status"]).succeeded();
        seen.starts_with(&instance).then_some(seen)
    });
    assert!(seen.contains("running"), "{seen}");
    let unknown = stage.workspace.run(&["runner", "stop", "other"]);
    assert_eq!((unknown.code, unknown.stderr.contains(&instance)), (2, true), "{}", unknown.stderr);
    let stopped = stage.workspace.run(&["runner", "stop", &instance]).succeeded();
    assert_eq!(stopped, format!("{instance} has stopped\n"));
    assert_eq!(runner.ended().0, Some(0));
    assert_eq!(stage.workspace.run(&["runner", "status", "--json"]).succeeded(), "[]\n");
}

#[test]
fn s07_an_invalid_variable_aborts_startup_and_a_disabled_runner_does_not_start() {
    let stage = Stage::new();
    for (name, value) in [
        ("TASK_RUNNER_ENABLED", "maybe"),
        ("TASK_DEFAULT_TIMEOUT", "2h"),
        ("TASK_DEFAULT_RETRIES", "-1"),
        ("TASK_OVERLAP_PREVENTION", "2"),
        ("PULSE_INTERVAL", "never"),
        ("SIDE_TASKS_ENABLED", "?"),
    ] {
        let output = stage.command(&["start"], &[(name, value)]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("error: {name} is `{value}`: it must be ")), "{said}");
    }
    let output = stage.command(&["start"], &[("TASK_RUNNER_ENABLED", "false")]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"the runner does not start: TASK_RUNNER_ENABLED is off\n");
}

#[test]
fn s07_variables_change_the_environment_the_attempts_and_the_overlap() {
    let stage = Stage::new().task("fail", "every 5 seconds", "fail").task("obey", "every 1 seconds", "obey");
    let variables = [
        ("TASK_RUNNER_ENVIRONMENT", "staging"),
        ("TASK_DEFAULT_RETRIES", "1"),
        ("TASK_OVERLAP_PREVENTION", "false"),
    ];
    let runner = stage.start(&["start", "--grace", "0"], &variables);
    assert_eq!(runner.said[0]["environment"], "staging");
    // The note is written before the record.
    until("a failure", || stage.history("fail").iter().any(|run| run["status"] == "FAILED").then_some(()));
    until("two at once", || {
        (stage.noted().iter().filter(|note| note.starts_with("obey")).count() >= 2).then_some(())
    });
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
    let failed = stage.history("fail");
    let failed = failed.last().unwrap();
    assert_eq!((&failed["environment"], &failed["status"]), (&json!("staging"), &json!("FAILED")));
    assert_eq!(failed["attempts"].as_array().unwrap().len(), 2, "{failed:#}");
    let overlapping = stage.history("obey");
    assert!(overlapping.iter().filter(|run| run["status"] == "CANCELLED").count() >= 2, "{overlapping:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_variables_change_the_timeout_and_the_pause_between_searches() {
    let stage = Stage::new()
        .queue("usual", &json!({}))
        .queue("patient", &json!({ "timeout_ms": 600_000 }))
        .task("rare", "@yearly", "");
    let variables = [("TASK_DEFAULT_TIMEOUT", "1"), ("PULSE_INTERVAL", "1")];
    let runner = stage.start(&["start", "--grace", "0"], &variables);
    let patient = stage.enqueue("patient", "obey", "patient", &[]);
    let usual = stage.over(&stage.enqueue("usual", "obey", "usual", &[]));
    assert_eq!(
        (&usual["status"], &usual["why"]["kind"]),
        (&json!("TIMEOUT"), &json!("timed_out")),
        "{usual:#}"
    );
    let patient = stage.workspace.run(&["status", &patient, "--json"]).succeeded();
    let patient: Value = serde_json::from_str(&patient).unwrap();
    assert_eq!(patient["status"], "RUNNING", "its own timeout is longer: {patient:#}");

    // Each search ends one lost run. Without the variable the second one would end up to a minute after the first.
    let (table, task) = (stage.table(), "rare".parse().unwrap());
    let mut ended = Vec::new();
    for _ in 0..2 {
        let now = Timestamp::now();
        let request = Request {
            run_id: RunId::new(now, 1),
            holder: "nobody".into(),
            trigger: Trigger::Manual,
            occasion: Occasion::Manual,
            overlap: Overlap::Skip,
            runs_once: false,
            now,
            until: now,
        };
        assert!(matches!(table.claim(&task, &request).await.unwrap(), Decision::Granted(_)));
        let found = async {
            loop {
                if let Some(run) = table.run(&task, request.run_id).await.unwrap() {
                    break run;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let run = tokio::time::timeout(LIMIT, found).await.expect("the lost run is not recorded");
        assert!(run.error.as_ref().unwrap().message.starts_with("lost: "), "{run:?}");
        ended.push(run.completed_at);
    }
    let pause = ended[1].duration_since(ended[0]);
    assert!(pause < SignedDuration::from_secs(30), "{pause:?}");
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
}

#[test]
fn s06_dev_rebuilds_changed_tasks_and_keeps_the_previous_build_if_that_fails() {
    let stage = Stage::new().task("tick", "every 1 seconds", "").task("other", "@hourly", "");
    let mut runner = stage.start(&["dev"], &[]);
    let says = |word: &'static str| move |line: &Value| line["message"] == word;
    runner.until("the first code", says("first"));
    stage.write("tick", "every 1 seconds", "second");
    let built = runner.until("the build", |line| line["event"] == "built");
    assert_eq!(built["tasks"], json!(["tick"]), "only what changed");
    runner.until("the second code", says("second"));

    stage.workspace.write("functions/tasks/tick/src/main.rs", "fn main() { this is not rust }");
    let failed = runner.until("the failed build", |line| line["event"] == "build_failed");
    assert!(failed["message"].as_str().unwrap().contains("cargo build"), "{failed:#}");
    runner.until("the second code, still", says("second"));

    stage.write("tick", "every 2 seconds", "third");
    runner.until("the third code", says("third"));
    runner.signal("INT");
    let (code, took, said) = runner.ended();
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(stage.processes(), 0, "Ctrl-C leaves nothing behind");
    // On a busy machine a process may take longer to start than until the next tick.
    let runs = stage.history("tick");
    assert!(runs.iter().all(|run| is_held(run) || run["status"] == "COMPLETED"), "{runs:#?}");
}

#[test]
fn s06_ctrl_c_ends_a_build_in_progress() {
    let stage = Stage::new().task("tick", "@hourly", "");
    let runner = stage.start(&["dev"], &[]);
    // A build script that never ends.
    let sleeps = "fn main() { std::fs::write(std::env::var(\"PROBE_STAGE\").unwrap() + \"/builds\", \"\").unwrap(); \
                  loop { std::thread::park() } }";
    stage.workspace.write("functions/tasks/tick/build.rs", sleeps);
    until("the build", || stage.workspace.path("builds").exists().then_some(()));
    runner.signal("INT");
    let (code, took, said) = runner.ended();
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    until("every process is gone", || (stage.processes() == 0).then_some(()));
}

#[test]
fn s06_dev_restarts_a_changed_side_task() {
    let stage = Stage::new().side("side-probe", "");
    let mut runner = stage.start(&["dev"], &[]);
    runner.until("its word", |line| line["message"] == "listening");
    stage.change("side-probe");
    runner.until("the build", |line| line["event"] == "built");
    runner.until("its end", |line| line["event"] == "side-ended");
    runner.until("its word again", |line| line["message"] == "listening");
    assert_eq!(stage.workspace.read("shutdowns").lines().count(), 1);
    runner.signal("INT");
    let (code, _, said) = runner.ended();
    assert_eq!(code, Some(0), "{said:#?}");
    assert_eq!(stage.workspace.read("shutdowns").lines().count(), 2);
    assert_eq!(stage.processes(), 0);
    // Its log has its output, with the id of the run.
    let logs = stage.workspace.run(&["logs", "side-probe", "--json"]).succeeded();
    assert_eq!(logs.lines().filter(|line| line.contains("listening")).count(), 2, "{logs}");
}

#[test]
fn s02_a_side_task_runs_as_long_as_the_runner_and_is_shut_down_with_it() {
    let stage = Stage::new().side("side-probe", "");
    let mut runner = stage.start(&["start"], &[]);
    runner.until("the side task", |line| line["event"] == "side-began");
    runner.until("its word", |line| line["message"] == "listening");
    runner.signal("TERM");
    let (code, took, said) = runner.ended();
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(stage.workspace.read("shutdowns").lines().count(), 1);
    assert_eq!(stage.processes(), 0);
    let runs = stage.history("side-probe");
    assert_eq!(runs.len(), 1, "{runs:#?}");

    let runner = stage.start(&["start"], &[("SIDE_TASKS_ENABLED", "false")]);
    runner.signal("TERM");
    let (_, _, said) = runner.ended();
    assert!(said.iter().all(|line| line["event"] != "side-began"), "{said:#?}");
}
