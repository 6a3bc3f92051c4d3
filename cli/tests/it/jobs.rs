//! Jobs from the command line, in this machine's table, without a worker.

use serde_json::{Value, json};

use crate::fixture::Workspace;

fn workspace() -> Workspace {
    let workspace = Workspace::new();
    let schema = json!({
        "type": "object", "required": ["to"], "properties": { "to": { "type": "string" } },
    });
    let keys = json!({ "kind": "queue", "priority": "medium", "arguments_schema": schema });
    workspace.task("send-mail", "send-mail", keys);
    workspace.task("migrate", "migrate", json!({}));
    workspace
}

const GIVEN: &str = r#"{"to": "żółw"}"#;

#[test]
fn q01_q04_a_job_is_enqueued_found_and_aborted() {
    let workspace = workspace();
    let job = workspace.run(&["enqueue", "send-mail", GIVEN]).succeeded().trim().to_owned();
    let answer = workspace.run(&["status", &job]).succeeded();
    assert!(answer.contains("PENDING: waiting for a worker"), "{answer}");
    assert_eq!(workspace.run(&["jobs", "status", &job]).succeeded(), answer, "both forms are the same");
    let (_, id) = job.split_once('/').unwrap();
    let record: Value = serde_json::from_str(&workspace.run(&["status", id, "--json"]).succeeded()).unwrap();
    assert_eq!((&record["status"], &record["arguments"]["to"]), (&json!("PENDING"), &json!("żółw")));
    let open = workspace.run(&["result", &job, "--timeout", "10ms"]).failed();
    assert!(open.contains("has not ended yet and continues"), "{open}");
    let aborted = workspace.run(&["abort", &job]).succeeded();
    assert!(aborted.contains("CANCELLED"), "{aborted}");
    let again = workspace.run(&["abort", &job]).failed();
    assert!(again.contains("has already ended: CANCELLED"), "{again}");
    let result = workspace.run(&["result", &job]).failed();
    assert!(result.contains("is CANCELLED: "), "{result}");
}

#[test]
fn q02_q14_invalid_jobs_are_refused_with_the_reason() {
    let workspace = workspace();
    for (line, says) in [
        (&["send-mial", GIVEN][..], "did you mean `send-mail`?"),
        (&["migrate"], "migrate is not a queue task"),
        (&["send-mail"], "invalid arguments for send-mail"),
        (&["send-mail", r#"{"to": 1}"#], "invalid arguments for send-mail"),
        (&["send-mail", "[]"], "expected an object"),
        (&["send-mail", GIVEN, "--delay", "1h", "--at", "2026-11-21T00:00:00Z"], "cannot be used with"),
        (&["send-mail", GIVEN, "--unique", "task"], "--within"),
        (&["send-mail", GIVEN, "--at-most", "2"], "--key"),
        (&["send-mail", GIVEN, "--at-most", "0", "--key", "a"], "0 is not in 1"),
    ] {
        let ended = workspace.run(&[&["enqueue"], line].concat());
        assert_eq!(ended.code, 2, "{line:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{line:?}: {}", ended.stderr);
    }
    let far = workspace.run(&["enqueue", "send-mail", GIVEN, "--at", "2999-01-01T00:00:00Z"]).failed();
    assert!(far.contains("more than 366 days ahead"), "{far}");
    let unknown = workspace.run(&["status", "send-mail/01ARZ3NDEKTSV4RRFFQ69G5FAV"]).failed();
    assert!(unknown.contains("there is no job"), "{unknown}");
}

#[test]
fn q05_q07_q12_the_status_shows_delays_unique_keys_and_dependencies() {
    let workspace = workspace();
    let enqueue = |more: &[&str]| {
        let line = [&["enqueue", "send-mail", GIVEN], more].concat();
        workspace.run(&line).succeeded().trim().to_owned()
    };
    let later = enqueue(&["--delay", "20m", "--unique", "task", "--within", "1h"]);
    assert!(workspace.run(&["status", &later]).succeeded().contains("at the earliest"));
    assert_eq!(enqueue(&["--unique", "task", "--within", "1h", "--join"]), later);
    let copy = workspace.run(&["enqueue", "send-mail", GIVEN, "--unique", "task", "--within", "1h"]).failed();
    assert!(copy.contains(&later) && copy.contains("a job with this unique key already exists"), "{copy}");
    let follower = enqueue(&["--after", &later]);
    assert!(workspace.run(&["status", &follower]).succeeded().contains("waiting for another job"));
    workspace.run(&["abort", &later]).succeeded();
    assert!(workspace.run(&["status", &follower]).succeeded().contains("BLOCKED"));
}

#[test]
fn q04_jobs_of_every_status_are_listed_newest_first() {
    let workspace = workspace();
    let jobs: Vec<_> = (0..3)
        .map(|_| workspace.run(&["enqueue", "send-mail", GIVEN]).succeeded().trim().to_owned())
        .collect();
    let ids: Vec<_> = jobs.iter().map(|job| job.split_once('/').unwrap().1).collect();
    workspace.run(&["abort", &jobs[1]]).succeeded();
    let answer = workspace.run(&["jobs", "list"]).succeeded();
    let lines: Vec<_> = answer.lines().collect();
    assert_eq!(lines.len(), 3, "{answer}");
    for (line, (id, says)) in lines.iter().zip([
        (ids[2], "PENDING: waiting for a worker"),
        (ids[1], "CANCELLED: "),
        (ids[0], "PENDING: waiting for a worker"),
    ]) {
        assert!(line.contains(id) && line.contains(says), "{answer}");
    }
    let list = |more: &[&str]| {
        let answer = workspace.run(&[&["jobs", "list", "send-mail", "--json"], more].concat()).succeeded();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let jobs = answer["jobs"].as_array().unwrap();
        let ids = jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        (ids, answer["next"].as_str().map(str::to_owned))
    };
    assert_eq!(list(&["--status", "PENDING"]).0, [ids[2], ids[0]]);
    let (first, cursor) = list(&["--limit", "2"]);
    assert_eq!(first, [ids[2], ids[1]]);
    assert_eq!(list(&["--cursor", &cursor.unwrap()]).0, [ids[0]]);
    let none = workspace.run(&["jobs", "list", "migrate"]).succeeded();
    assert!(none.contains("no jobs"), "{none}");
}

#[test]
fn q09_a_replay_notifies_workers_of_a_waiting_job_and_enqueues_a_cancelled_one_again() {
    let workspace = workspace();
    let job = workspace.run(&["enqueue", "send-mail", GIVEN]).succeeded().trim().to_owned();
    let (_, id) = job.split_once('/').unwrap();
    let answer = workspace.run(&["jobs", "replay", "send-mail", id]).succeeded();
    assert!(answer.contains("workers were notified again"), "{answer}");
    workspace.run(&["abort", &job]).succeeded();
    let again = workspace.run(&["jobs", "replay", "send-mail", id]).succeeded();
    assert!(again.contains("was enqueued again"), "{again}");
    let twice = workspace.run(&["jobs", "replay", "send-mail", id]).succeeded();
    assert!(twice.contains("had already been enqueued again"), "{twice}");
}

#[test]
fn q09_a_replay_keeps_priority_limit_and_keys() {
    let workspace = workspace();
    let how = [
        ["--priority", "high"],
        ["--at-most", "2"],
        ["--key", "customer-7"],
        ["--unique", "order-42"],
        ["--within", "1h"],
    ];
    let job = workspace.run(&[&["enqueue", "send-mail", GIVEN], &how.concat()[..]].concat()).succeeded();
    let (_, id) = job.trim().split_once('/').unwrap();
    workspace.run(&["abort", id]).succeeded();
    let replayed = workspace.run(&["jobs", "replay", "send-mail", id, "--json"]).succeeded();
    let replayed: Value = serde_json::from_str(&replayed).unwrap();
    let again = workspace.run(&["status", replayed[0]["run_id"].as_str().unwrap(), "--json"]).succeeded();
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!((&again["retry_of"], &again["priority"]), (&json!(id), &json!("high")), "{again}");
    assert_eq!(again["place_limit"], json!({ "key": "customer-7", "at_once": 2 }));
    assert_eq!(again["unique"]["scope"], json!({ "key": "order-42" }));
    // The replayed job has the unique key of the first one.
    let copy = ["enqueue", "send-mail", GIVEN, "--unique", "order-42", "--within", "1h"];
    assert!(workspace.run(&copy).failed().contains("a job with this unique key already exists"));
}
