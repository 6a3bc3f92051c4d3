//! Q01 to Q11, S05: jobs under `lamplighter start`.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_runner::queue::LEASE;
use std::process::Stdio;

use serde_json::{Value, json};

use super::stage::{Stage, until};

#[test]
fn q01_q03_waiting_jobs_run_when_a_runner_starts_and_later_ones_at_once() {
    let stage = Stage::new().queue("send-mail", &json!({}));
    let waited = stage.enqueue("send-mail", "", "waited", &[]);
    let runner = stage.start(&["start"], &[]);
    let run = stage.over(&waited);
    assert_eq!((&run["status"], &run["data"]), (&json!("COMPLETED"), &json!("waited")), "{run:#}");
    let result = stage.enqueue("send-mail", "", "now", &["--wait", "30s"]);
    assert_eq!(result, "\"now\"");
    let failing = stage.over(&stage.enqueue("send-mail", "fail", "failing", &[]));
    assert_eq!(
        (&failing["status"], &failing["error"]["message"]),
        (&json!("FAILED"), &json!("told to fail"))
    );
    let again = stage.over(&stage.enqueue("send-mail", "once", "again", &[]));
    assert_eq!((&again["status"], again["attempts"].as_array().unwrap().len()), (&json!("COMPLETED"), 2));
    let crashed = stage.over(&stage.enqueue("send-mail", "exit", "crashed", &[]));
    assert_eq!(crashed["attempts"][0]["error"]["kind"], "system", "{crashed:#}");
    assert_eq!(crashed["status"], "COMPLETED", "{crashed:#}");
    runner.signal("TERM");
    let (code, _, said) = runner.ended();
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(said.iter().all(|line| line["event"] != "warning"), "{said:#?}");
    assert_eq!(stage.processes(), 0);
}

#[test]
fn q10_a_crashing_job_costs_the_other_jobs_of_its_process_no_attempt() {
    let stage = Stage::new().queue("send-mail", &json!({}));
    let mode = |i| if i == 12 { "exit" } else { "" };
    let jobs: Vec<_> = (0..16).map(|i| stage.enqueue("send-mail", mode(i), &i.to_string(), &[])).collect();
    let runner = stage.start(&["start"], &[]);
    for (i, job) in jobs.iter().enumerate() {
        let run = stage.over(job);
        let attempts = run["attempts"].as_array().map_or(0, Vec::len);
        let wanted = if i == 12 { 2 } else { 1 };
        assert_eq!((&run["status"], attempts), (&json!("COMPLETED"), wanted), "{i}: {run:#}");
    }
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
}

#[test]
fn q06_q11_high_priority_jobs_go_first_and_one_at_a_time() {
    let stage = Stage::new().queue("send-mail", &json!({ "concurrency": 1 }));
    for mark in ["low-1", "low-2", "low-3"] {
        stage.enqueue("send-mail", "", mark, &["--priority", "low"]);
    }
    for mark in ["high-1", "high-2", "high-3"] {
        stage.enqueue("send-mail", "", mark, &["--priority", "high"]);
    }
    let runner = stage.start(&["start"], &[]);
    assert_eq!(stage.until_noted(6), ["high-1", "high-2", "high-3", "low-1", "low-2", "low-3"]);
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
}

#[test]
fn q11_one_job_of_a_limited_key_runs_at_a_time_and_other_jobs_are_not_delayed() {
    let stage = Stage::new().queue("send-mail", &json!({}));
    let limited = ["--at-most", "1", "--key", "ada"];
    let limited: Vec<_> =
        (0..3).map(|i| stage.enqueue("send-mail", "sleep", &format!("{i}"), &limited)).collect();
    let free = stage.enqueue("send-mail", "sleep", "free", &["--at-most", "1", "--key", "bob"]);
    let runner = stage.start(&["start"], &[]);
    let mut runs: Vec<_> = limited.iter().map(|job| stage.over(job)).collect();
    let time = |run: &Value, key: &str| run[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    runs.sort_by_key(|run| time(&run["attempts"][0], "started_at"));
    for pair in runs.windows(2) {
        assert_eq!(pair[1]["status"], "COMPLETED", "{pair:#?}");
        assert!(time(&pair[0], "completed_at") <= time(&pair[1]["attempts"][0], "started_at"), "{pair:#?}");
    }
    let free = stage.over(&free);
    assert!(time(&free, "completed_at") < time(&runs[2], "completed_at"), "{free:#}");
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
}

#[test]
fn q04_q05_a_delayed_job_starts_at_its_time_and_a_running_job_can_be_aborted() {
    let stage = Stage::new().queue("send-mail", &json!({}));
    let runner = stage.start(&["start"], &[]);
    let delayed = stage.over(&stage.enqueue("send-mail", "", "later", &["--delay", "2s"]));
    let time = |key: &str| delayed[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let id: lamplighter_core::id::RunId = delayed["id"].as_str().unwrap().parse().unwrap();
    let waited = time("started_at").duration_since(id.made_at()).as_millis();
    assert!(waited >= 2000, "it started after {waited} ms");
    let obeying = stage.enqueue("send-mail", "obey", "obeying", &[]);
    stage.until_noted(2);
    let (_, id) = obeying.split_once('/').unwrap();
    let runs = stage.workspace.run(&["jobs", "replay", "send-mail", id]).failed();
    assert!(runs.contains("`lamplighter jobs abort` cancels it"), "{runs}");
    stage.workspace.run(&["abort", &obeying]).succeeded();
    assert_eq!(stage.over(&obeying)["status"], "CANCELLED");
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
}

#[test]
fn q02_q09_a_failed_job_with_large_arguments_is_replayed_with_them() {
    let stage = Stage::new().queue("send-mail", &json!({}));
    let runner = stage.start(&["start"], &[]);
    // Too large for its item, but small enough for a command line.
    let large = "x".repeat(110_000);
    let failed = stage.over(&stage.enqueue("send-mail", "fail", &large, &[]));
    assert_eq!(failed["error"]["message"], "told to fail");
    let replayed = stage.workspace.run(&["jobs", "replay", "send-mail", "--all", "--json"]).succeeded();
    let replayed: Value = serde_json::from_str(&replayed).unwrap();
    assert_eq!(replayed[0]["retry_of"], failed["id"]);
    let again = stage.over(replayed[0]["run_id"].as_str().unwrap());
    // The body received the value that makes it fail.
    assert_eq!((&again["error"]["message"], &again["retry_of"]), (&json!("told to fail"), &failed["id"]));
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
}

#[test]
fn s05_a_killed_runners_job_is_completed_by_the_next_one() {
    let stage = Stage::new().queue("send-mail", &json!({}));
    let runner = stage.start(&["start"], &[]);
    let jobs: Vec<_> = (0..3).map(|i| stage.enqueue("send-mail", "sleep", &format!("{i}"), &[])).collect();
    stage.until_noted(1);
    let held = stage.enqueue("send-mail", "hang", "held", &[]);
    until("the last one", || stage.noted().contains(&"held".to_owned()).then_some(()));
    runner.signal("KILL");
    drop(runner);
    until("its processes are gone", || (stage.processes() == 0).then_some(()));
    let runner = stage.start(&["start"], &[]);
    let again = Timestamp::now();
    for job in &jobs {
        assert_eq!(stage.over(job)["status"], "COMPLETED");
    }
    // The dead runner was noticed long before the end of the lease.
    let held = stage.over(&held);
    assert_eq!((&held["status"], &held["epoch"]), (&json!("COMPLETED"), &json!(2)), "{held:#}");
    let lost = &held["attempts"][0];
    let began: Timestamp = lost["started_at"].as_str().unwrap().parse().unwrap();
    let ended = began + Duration::from_millis(lost["duration_ms"].as_u64().unwrap());
    assert!(ended < began + LEASE || began + LEASE < again, "{held:#}");
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
    let lifelines = stage.workspace.path(".lamplighter/runners/shop-lamplighter");
    assert_eq!(
        lifelines.read_dir().unwrap().count(),
        0,
        "the lock of the dead runner was reclaimed, the other left none"
    );
}

#[test]
fn s05_a_command_that_opened_the_table_first_leaves_it_to_the_runner() {
    let stage = Stage::new().queue("send-mail", &json!({}));
    let job = stage.enqueue("send-mail", "", "first", &[]);
    let mut result = stage.command(&["result", &job, "--timeout", "60s"], &[]);
    let mut result = result.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let sign = stage.workspace.path(".lamplighter/table.sqlite.endpoint");
    until("the command has the table", || sign.exists().then_some(()));
    let mut runner = stage.start(&["start"], &[]);
    until("the command's end", || result.try_wait().unwrap());
    let result = result.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&result.stdout).trim(), "\"first\"", "{result:?}");
    runner.until("the table is the runner's", |line| line["event"] == "table-inherited");
    assert_eq!(stage.enqueue("send-mail", "", "second", &["--wait", "30s"]), "\"second\"");
    runner.signal("TERM");
    let (code, _, said) = runner.ended();
    assert_eq!(code, Some(0), "{said:#?}");
}

#[test]
fn s05_a_second_runner_takes_the_table_over_from_a_killed_one() {
    let stage = Stage::new().queue("send-mail", &json!({}));
    let first = stage.start(&["start"], &[]);
    let theirs = stage.enqueue("send-mail", "hang", "theirs", &[]);
    stage.until_noted(1);
    let mut second = stage.start(&["start"], &[]);
    first.signal("KILL");
    drop(first);
    second.until("the table", |line| line["event"] == "table-inherited");
    let third = stage.start(&["start", "--concurrency", "1"], &[]);
    // The next runner may take it, whichever process serves the table.
    assert_eq!(stage.enqueue("send-mail", "", "now", &["--wait", "60s"]), "\"now\"");
    let run = stage.over(&theirs);
    assert_eq!((&run["status"], &run["epoch"]), (&json!("COMPLETED"), &json!(2)), "{run:#}");
    for runner in [third, second] {
        runner.signal("TERM");
        let (code, _, said) = runner.ended();
        assert_eq!(code, Some(0), "{said:#?}");
        assert!(said.iter().all(|line| line["event"] != "warning"), "{said:#?}");
    }
    assert_eq!(stage.processes(), 0);
    stage.workspace.run(&["status", &theirs]).succeeded();
}

#[test]
fn s05_a_runner_that_loses_the_table_reports_it_and_ends() {
    let stage = Stage::new().queue("send-mail", &json!({}));
    let first = stage.start(&["start"], &[]);
    let second = stage.start(&["start", "--grace", "0"], &[]);
    // From here on another address is announced as the table server.
    let sign = ".lamplighter/table.sqlite.endpoint";
    stage.workspace.write(sign, &json!({ "pid": 1, "dynamodb": "http://127.0.0.1:9" }).to_string());
    let (code, _, said) = second.ended();
    assert_eq!(code, Some(1), "{said:#?}");
    assert_eq!(said.last().unwrap()["event"], "stopped", "{said:#?}");
    first.signal("TERM");
    assert_eq!(first.ended().0, Some(0));
}
