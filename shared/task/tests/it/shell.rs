//! A task's binary by hand.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::world::{World, binary};

/// Creates a command for the binary with an empty environment.
pub(crate) fn bare() -> Command {
    let mut command = Command::new(binary());
    command.env_clear().stdin(Stdio::null());
    command
}

/// Creates a command for the binary in a world.
pub(crate) fn command(world: &World, config: &Value) -> Command {
    let mut command = bare();
    let spec = world.spec(json!({ "config": config }));
    command.envs(&spec.environment);
    for (name, value) in
        [("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]
    {
        command.env(name, value);
    }
    command
}

pub(crate) async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn describe_prints_the_definition() {
    let mut describe = bare();
    describe.arg("describe");
    let output = output(describe).await;
    assert_eq!(output.status.code(), Some(0));
    let definition: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(definition["name"], "probe");
    assert_eq!(definition["description"], "Does what its configuration says.");
    assert_eq!((&definition["kind"], &definition["timeout_ms"]), (&json!("lifecycle"), &json!(20_000)));
    assert_eq!((&definition["retry"]["max_attempts"], &definition["rollback"]), (&json!(2), &json!(true)));
    assert_eq!(definition["copy_assets"], json!([{ "from": "files", "to": "files" }]));
    assert_eq!(definition["config"]["count"], 1);
    assert_eq!(definition["config_schema"]["properties"]["count"]["type"], "integer");
    assert!(serde_json::from_value::<lamplighter::definition::Definition>(definition).is_ok());
}

#[tokio::test]
async fn run_executes_once_and_its_exit_code_is_the_result() {
    let world = World::new().await;
    for (config, arguments, code) in [
        (json!({}), vec!["run"], 0),
        (json!({}), vec!["run", "{}"], 0),
        (json!({ "mode": "fatal" }), vec!["run"], 1),
        (json!({ "mode": "panic-str" }), vec!["run"], 1),
    ] {
        let before = world.runs().await.len();
        let mut run = command(&world, &config);
        run.args(&arguments);
        let output = output(run).await;
        assert_eq!(output.status.code(), Some(code), "{config} {arguments:?}: {}", text(&output.stdout));
        let report: Value = serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
        let record = world.last().await;
        assert_eq!((&report["run_id"], &report["status"]), (&json!(record.id), &json!(record.status)));
        assert_eq!(world.runs().await.len(), before + 1);
    }
}

#[tokio::test]
async fn run_ends_even_if_the_body_does_not() {
    let world = World::new().await;
    let mut run = bare();
    let spec = world.spec(json!({ "config": { "mode": "block-everywhere" }, "timeout_ms": 300 }));
    run.envs(&spec.environment).env_remove("LAMPLIGHTER_TABLE").arg("run");
    let output = output(run).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("LAMPLIGHTER_TABLE is not set: this run has neither a lock"));
    assert!(text(&output.stdout).lines().last().unwrap().contains("\"TIMEOUT\""));
}

#[tokio::test]
async fn run_applies_the_timeout_of_the_settings() {
    let world = World::new().await;
    let mut run = command(&world, &json!({}));
    run.envs(world.spec(json!({ "config": {}, "timeout_ms": 800_000 })).environment).arg("run");
    assert_eq!(output(run).await.status.code(), Some(0));
    let remaining = world.last().await.data.unwrap()["remaining_ms"].as_u64().unwrap();
    assert!(remaining > 700_000, "{remaining}");
}

#[tokio::test]
async fn wrong_usage_exits_with_code_2() {
    use std::os::unix::ffi::OsStringExt as _;
    let raw = std::ffi::OsString::from_vec(vec![0xff]);
    let words = |words: &[&str]| words.iter().map(std::ffi::OsString::from).collect::<Vec<_>>();
    for arguments in
        [words(&[]), words(&["dance"]), words(&["run", "{}", "more"]), words(&["describe", "all"]), vec![raw]]
    {
        let mut command = bare();
        command.args(&arguments);
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).starts_with("usage: probe describe"), "{}", text(&output.stderr));
    }
    for (payload, wanted) in
        [("{", "the payload is not JSON: "), ("{\"Records\":[]}", "the payload is not one for a task: ")]
    {
        let mut command = bare();
        command.args(["run", payload]);
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(wanted), "{}", text(&output.stderr));
    }
}

#[tokio::test]
async fn describe_into_a_closed_pipe_does_not_panic() {
    let mut describe = bare();
    describe.arg("describe").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = describe.spawn().unwrap();
    drop(child.stdout.take());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
}

/// The reader of a run's outputs.
enum Reader {
    Gone,
    Stopped,
    Full,
    Good,
}

#[tokio::test]
async fn a_printing_body_continues_without_a_reader() {
    let world = World::new().await;
    for reader in [Reader::Gone, Reader::Stopped, Reader::Full, Reader::Good] {
        let mut run = command(&world, &json!({ "mode": "print" }));
        run.arg("run").stdout(Stdio::piped()).stderr(Stdio::piped());
        if matches!(reader, Reader::Full) {
            let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
            run.stdout(full()).stderr(full());
        }
        let before = world.runs().await.len();
        let (code, stdout) = tokio::task::spawn_blocking(move || {
            let mut child = run.spawn().unwrap();
            if let Reader::Good = reader {
                let output = child.wait_with_output().unwrap();
                return (output.status.code(), output.stdout);
            }
            if let Reader::Gone = reader {
                drop((child.stdout.take(), child.stderr.take()));
            }
            // An output that is not taken stays open and unread.
            let unread = (child.stdout.take(), child.stderr.take());
            let code = child.wait().unwrap().code();
            drop(unread);
            (code, Vec::new())
        })
        .await
        .unwrap();
        let record = world.last().await;
        assert_eq!((code, record.status.as_str()), (Some(0), "COMPLETED"), "{record:?}");
        assert_eq!(record.attempts.len(), 1);
        assert_eq!(world.runs().await.len(), before + 1);
        if !stdout.is_empty() {
            let lines: Vec<_> = text(&stdout).lines().collect();
            assert_eq!(lines.len(), 3001, "all that was printed, and the report");
            let report: Value = serde_json::from_str(lines[3000]).unwrap();
            assert_eq!(report["run_id"], json!(record.id));
        }
    }
}

#[tokio::test]
async fn wrong_usage_without_a_reader_does_not_panic() {
    let mut usage = bare();
    usage.arg("dance").stderr(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let output = output(usage).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn an_invalid_environment_variable_fails_a_run_by_hand() {
    let mut command = bare();
    command.arg("describe").env("LAMPLIGHTER_LOG", "loud");
    let output = output(command).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("LAMPLIGHTER_LOG is `loud`"));
}
