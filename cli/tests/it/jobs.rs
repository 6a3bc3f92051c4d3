//! Jobs from the command line, on this machine's table: before any worker is there.

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
    let told = workspace.run(&["status", &job]).succeeded();
    assert!(told.contains("PENDING: it waits for a worker"), "{told}");
    let (_, id) = job.split_once('/').unwrap();
    let record: Value = serde_json::from_str(&workspace.run(&["status", id, "--json"]).succeeded()).unwrap();
    assert_eq!((&record["status"], &record["arguments"]["to"]), (&json!("PENDING"), &json!("żółw")));
    let open = workspace.run(&["result", &job, "--timeout", "10ms"]).failed();
    assert!(open.contains("is not over yet, and goes on"), "{open}");
    let aborted = workspace.run(&["abort", &job]).succeeded();
    assert!(aborted.contains("CANCELLED"), "{aborted}");
    let again = workspace.run(&["abort", &job]).failed();
    assert!(again.contains("is over: CANCELLED"), "{again}");
    let result = workspace.run(&["result", &job]).failed();
    assert!(result.contains("is CANCELLED: "), "{result}");
}

#[test]
fn q02_q14_what_cannot_be_enqueued_is_refused_with_the_reason() {
    let workspace = workspace();
    for (line, says) in [
        (&["send-mial", GIVEN][..], "did you mean `send-mail`?"),
        (&["migrate"], "migrate is no queue task"),
        (&["send-mail"], "the arguments do not fit send-mail"),
        (&["send-mail", r#"{"to": 1}"#], "the arguments do not fit send-mail"),
        (&["send-mail", "[]"], "it must be an object"),
        (&["send-mail", GIVEN, "--delay", "1h", "--at", "2026-11-21T00:00:00Z"], "cannot be used with"),
        (&["send-mail", GIVEN, "--unique", "task"], "--within"),
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
fn q05_q07_q12_delays_keys_and_what_comes_after_are_told() {
    let workspace = workspace();
    let enqueue = |more: &[&str]| {
        let line = [&["enqueue", "send-mail", GIVEN], more].concat();
        workspace.run(&line).succeeded().trim().to_owned()
    };
    let later = enqueue(&["--delay", "20m", "--unique", "task", "--within", "1h"]);
    assert!(workspace.run(&["status", &later]).succeeded().contains("it may not start before"));
    assert_eq!(enqueue(&["--unique", "task", "--within", "1h", "--join"]), later);
    let twin = workspace.run(&["enqueue", "send-mail", GIVEN, "--unique", "task", "--within", "1h"]).failed();
    assert!(twin.contains(&later) && twin.contains("must be the only one"), "{twin}");
    let follower = enqueue(&["--after", &later]);
    assert!(workspace.run(&["status", &follower]).succeeded().contains("it waits for another job"));
    workspace.run(&["abort", &later]).succeeded();
    assert!(workspace.run(&["status", &follower]).succeeded().contains("BLOCKED"));
}
