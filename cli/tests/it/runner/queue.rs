//! Q01 to Q11, S05: jobs under `lamplighter start`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lamplighter_core::{
    id::RunId,
    job::{JobKey, Limit, NewJob},
    run::Run,
    status::Status,
};
use lamplighter_runner::queue::LEASE;
use std::process::Stdio;

use serde_json::{Value, json};

use super::stage::{LIMIT, Stage, until};

fn id_of(job: &str) -> RunId {
    job.split_once('/').unwrap().1.parse().unwrap()
}

fn time(run: &Value, key: &str) -> Timestamp {
    run[key].as_str().unwrap().parse().unwrap()
}

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
    let at = Timestamp::now() + Duration::from_secs(2);
    let timed = stage.enqueue("send-mail", "", "timed", &["--at", &at.to_string()]);
    let delayed = stage.enqueue("send-mail", "", "later", &["--delay", "2s"]);
    for (job, start) in [(timed, at), (delayed.clone(), id_of(&delayed).made_at() + Duration::from_secs(2))] {
        let run = stage.over(&job);
        let late = time(&run, "started_at").duration_since(start);
        // On an idle machine it is some milliseconds late.
        let on_time = SignedDuration::ZERO..SignedDuration::from_secs(10);
        assert!(on_time.contains(&late), "{late:?} late: {run:#}");
    }
    let obeying = stage.enqueue("send-mail", "obey", "obeying", &[]);
    stage.until_noted(3);
    let id = id_of(&obeying).to_string();
    let runs = stage.workspace.run(&["jobs", "replay", "send-mail", &id]).failed();
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
fn q08_a_job_that_no_worker_started_in_time_fails_as_expired() {
    let stage = Stage::new().queue("send-mail", &json!({}));
    let job = stage.enqueue("send-mail", "", "expired", &["--expires-in", "1ms"]);
    let runner = stage.start(&["start"], &[]);
    let run = stage.over(&job);
    assert_eq!((&run["status"], &run["why"]["kind"]), (&json!("FAILED"), &json!("expired")), "{run:#}");
    assert!(run["error"]["message"].as_str().unwrap().starts_with("expired"), "{run:#}");
    assert!(time(&run["why"], "start_by") <= time(&run, "completed_at"), "{run:#}");
    assert_eq!(
        stage.enqueue("send-mail", "", "in time", &["--expires-in", "1h", "--wait", "60s"]),
        "\"in time\""
    );
    assert_eq!(stage.noted(), ["in time"], "the body of the other job did not run");
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
}

#[test]
fn q09_a_job_that_keeps_failing_is_listed_as_dead_and_replayed() {
    let retry = json!({ "max_attempts": 3, "initial_ms": 50, "max_ms": 100 });
    let stage = Stage::new().queue("send-mail", &json!({ "retry": retry }));
    let runner = stage.start(&["start"], &[]);
    let job = stage.enqueue("send-mail", "never", "again", &[]);
    let failed = stage.over(&job);
    let attempts = failed["attempts"].as_array().unwrap();
    assert_eq!((&failed["status"], attempts.len()), (&json!("FAILED"), 3), "{failed:#}");
    for pair in attempts.windows(2) {
        assert_eq!(pair[0]["error"]["message"], "never works", "{failed:#}");
        let ended = time(&pair[0], "started_at")
            + SignedDuration::from_millis(pair[0]["duration_ms"].as_i64().unwrap());
        assert!(time(&pair[1], "started_at") >= ended, "{failed:#}");
    }
    assert_eq!(stage.noted().len(), 3);

    let dead = stage.workspace.run(&["jobs", "dead", "--json"]).succeeded();
    let dead: Value = serde_json::from_str(&dead).unwrap();
    let [letter] = &dead["failed"].as_array().unwrap()[..] else { panic!("{dead:#}") };
    for key in ["id", "task", "error", "attempts", "completed_at"] {
        assert_eq!(letter[key], failed[key], "{key} of {letter:#}");
    }
    let text = stage.workspace.run(&["jobs", "dead"]).succeeded();
    let ended = format!("{:.0}", time(&failed, "completed_at"));
    for part in ["send-mail", &id_of(&job).to_string(), "never works", "3 attempts", &ended] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    let replayed = stage.workspace.run(&["jobs", "replay", "send-mail", "--all", "--json"]).succeeded();
    let replayed: Value = serde_json::from_str(&replayed).unwrap();
    let again = stage.over(replayed[0]["run_id"].as_str().unwrap());
    assert_eq!((&again["retry_of"], &again["arguments"]), (&failed["id"], &failed["arguments"]), "{again:#}");
    assert_eq!(stage.noted().len(), 6, "it ran again");
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
}

/// The largest number of these runs whose attempts overlap.
fn most_at_once(runs: &[Run]) -> i32 {
    let attempts = runs.iter().flat_map(|run| &run.attempts);
    let mut changes: Vec<_> = attempts
        .flat_map(|attempt| {
            let start = attempt.started_at.as_millisecond();
            let end = start + i64::try_from(attempt.duration_ms).unwrap();
            // Times are whole milliseconds, so that one that ends as another one starts may seem to end later.
            [(start, 1), (end - 1, -1)]
        })
        .collect();
    changes.sort_unstable();
    let running = changes.iter().scan(0, |running, (_, change)| {
        *running += change;
        Some(*running)
    });
    running.max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn q11_the_limits_of_process_task_and_key_are_reached_and_not_exceeded() {
    let stage = Stage::new().queue("mail", &json!({})).queue("press", &json!({ "concurrency": 3 }));
    let runner = stage.start(&["start", "--concurrency", "16"], &[]);
    let jobs = stage.jobs();
    // The bodies wait for the file.
    let enqueue = async |task: &str, count: usize, file: &str, limit: Option<Limit>| {
        let arguments = json!({ "mode": "await", "mark": file });
        let job = NewJob { arguments, limit, ..NewJob::of(task.parse().unwrap()) };
        jobs.enqueue_many(vec![job; count]).await.unwrap()
    };
    let ended = async |keys: Vec<JobKey>| {
        let mut runs = Vec::new();
        for key in keys {
            runs.push(jobs.wait(&key, LIMIT).await.unwrap().expect("the job does not end"));
        }
        assert!(runs.iter().all(|run| run.status == Status::Completed), "{runs:#?}");
        runs
    };
    let of_process = enqueue("mail", 40, "first", None).await;
    stage.until_noted(16);
    // Times are whole milliseconds: the first end must not seem to come before the last start.
    tokio::time::sleep(Duration::from_millis(50)).await;
    stage.workspace.write("first", "");
    assert_eq!(most_at_once(&ended(of_process).await), 16);

    let of_task = enqueue("press", 7, "second", None).await;
    let of_key = enqueue("mail", 5, "second", Some(Limit { key: "ada".into(), at_once: 2 })).await;
    stage.until_noted(40 + 3 + 2);
    tokio::time::sleep(Duration::from_millis(50)).await;
    stage.workspace.write("second", "");
    let (of_task, of_key) = (ended(of_task).await, ended(of_key).await);
    assert_eq!((most_at_once(&of_task), most_at_once(&of_key)), (3, 2));
    assert_eq!(stage.noted().len(), 40 + 7 + 5);
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
    let liveness_locks = stage.workspace.path(".lamplighter/runners/shop-lamplighter");
    assert_eq!(
        liveness_locks.read_dir().unwrap().count(),
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
    let endpoint_file = stage.workspace.path(".lamplighter/table.sqlite.endpoint");
    until("the command has the table", || endpoint_file.exists().then_some(()));
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
    // Either of the two runners may run this job, whichever process serves the table.
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
    // From here on the endpoint file names another address.
    let endpoint_file = ".lamplighter/table.sqlite.endpoint";
    stage.workspace.write(endpoint_file, &json!({ "pid": 1, "dynamodb": "http://127.0.0.1:9" }).to_string());
    let (code, _, said) = second.ended();
    assert_eq!(code, Some(1), "{said:#?}");
    assert_eq!(said.last().unwrap()["event"], "stopped", "{said:#?}");
    first.signal("TERM");
    assert_eq!(first.ended().0, Some(0));
}
