//! Values arrive unchanged, from the command line to the body of a real task and back.

use std::{
    io::Write as _,
    process::{Output, Stdio},
};

use lamplighter_testkit::example;
use serde_json::{Value, json};

use crate::{fixture::CommandOutput, runner::stage::Stage};

const QUEUE: &str = "values-probe";
const CRON: &str = "config-probe";

/// A workspace with both probes, which describe themselves.
fn stage() -> Stage {
    let stage = Stage::new();
    for name in [QUEUE, CRON] {
        stage.workspace.probe(name, &example(name));
    }
    stage.workspace.dispatcher();
    stage.workspace.write("lamplighter.toml", "name = \"shop\"\n");
    stage
}

fn refused(ended: &CommandOutput, says: &str) {
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains(says), "{}", ended.stderr);
}

fn nested(depth: usize) -> Value {
    let filter =
        (0..depth).fold(json!({ "type": "eq", "value": "x" }), |of, _| json!({ "type": "not", "of": of }));
    json!({ "lat": 0, "big": 0, "filter": filter })
}

/// Runs a command with a text on its standard input.
fn sent(stage: &Stage, arguments: &[&str], text: &str) -> Output {
    let mut command = stage.command(arguments, &[]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn v08_v06_numbers_nesting_and_large_values_reach_a_job_and_return_unchanged() {
    let stage = stage();
    let enqueue =
        |given: &str, more: &[&str]| stage.workspace.run(&[&["enqueue", QUEUE, given], more].concat());
    // Equal by type, so they are one job, stored as the task's own `enqueue` writes it.
    let unique = ["--unique", "arguments", "--within", "1h", "--join"];
    let first = enqueue(r#"{"lat": 1, "big": 7}"#, &unique).succeeded();
    let same = enqueue(r#"{"text": null, "big": 7, "lat": 1.0}"#, &unique).succeeded();
    assert_eq!(same, first);
    assert_ne!(enqueue(r#"{"lat": 1, "big": 8}"#, &unique).succeeded(), first);
    let stored: Value =
        serde_json::from_str(&stage.workspace.run(&["status", first.trim(), "--json"]).succeeded()).unwrap();
    assert_eq!(stored["arguments"].to_string(), r#"{"big":7,"filter":null,"lat":1.0,"text":null}"#);

    let runner = stage.start(&["start"], &[]);
    let result = |given: &str| -> Value {
        serde_json::from_str(&enqueue(given, &["--wait", "60s"]).succeeded()).unwrap()
    };
    for lat in [117.633_311_394_000_17, 5e-324, f64::MAX, f64::MIN_POSITIVE, -0.0, 0.1, 1e23] {
        let answer = result(&format!(r#"{{"lat": {lat:?}, "big": 18446744073709551615}}"#));
        assert_eq!(answer, json!([lat.to_bits(), u64::MAX, 0, 0, lat]));
        assert_eq!(answer[4].as_f64().unwrap().to_bits(), lat.to_bits());
    }
    for depth in [18, 100, 118] {
        assert_eq!(result(&nested(depth).to_string())[2], depth);
    }
    let failed = stage.over(enqueue(r#"{"lat": 1, "big": 1, "text": "nan"}"#, &[]).succeeded().trim());
    let answer = failed["error"]["message"].as_str().unwrap();
    assert!(answer.contains("`[1]`: it is NaN, for which JSON has no number"), "{failed:#}");
    assert_eq!(failed["attempts"].as_array().unwrap().len(), 1, "{failed:#}");
    for length in [240_000, 10_000_000] {
        let text = json!({ "lat": 1, "big": 1, "text": "x".repeat(length) }).to_string();
        stage.workspace.write("a.json", &text);
        assert_eq!(result("@a.json")[3], length);
        let answer = sent(&stage, &["enqueue", QUEUE, "-", "--wait", "60s"], &text);
        let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
        assert_eq!(answer[3], length);
    }
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
}

#[test]
fn v03_invalid_values_are_refused_before_anything_is_stored() {
    let stage = stage();
    let run = |arguments: &[&str]| stage.workspace.run(arguments);
    let deeper = nested(119).to_string();
    let deepest = nested(200).to_string();
    let u64s = "`big` must be a whole number from 0 to 18446744073709551615";
    for (given, says) in [
        (r#"{"lat": 1, "big": 18446744073709551616}"#, u64s),
        (r#"{"lat": 1, "big": -1}"#, u64s),
        (r#"{"lat": 1, "big": 1.0}"#, u64s),
        (r#"{"lat": "1", "big": 1}"#, "`lat` must be a number, and is a text"),
        (r#"{"lat": NaN, "big": 1}"#, "expected an object"),
        (r#"{"lat": 1e999, "big": 1}"#, "number out of range"),
        (&deeper, "it is nested more than 120 levels deep"),
        (&deepest, "it is nested more than 120 levels deep"),
        ("@none.json", "ARGUMENTS: none.json: No such file or directory"),
        ("@", "expected the name of a file after `@`"),
    ] {
        refused(&run(&["enqueue", QUEUE, given]), says);
    }
    refused(&run(&["run", QUEUE, "--arguments", r#"{"lat": 1, "big": -1}"#]), u64s);
    let both = run(&["run", QUEUE, "--arguments", "-", "--config", "-"]);
    refused(&both, "--config and --arguments: only one of them can read stdin");
    let jobs: Value = serde_json::from_str(&run(&["jobs", "list", "--json"]).succeeded()).unwrap();
    assert!(!jobs.to_string().contains("run_id") && !jobs.to_string().contains("\"id\""), "{jobs:#}");

    let u32s = "--config: `batch_size` must be a whole number from 0 to 4294967295";
    for command in ["set", "run"] {
        refused(&run(&[command, CRON, "--config", r#"{"batch_size": 5000000000}"#]), u32s);
        let unknown = "--config: `auth` must have one of the keys `token`, `basic`";
        refused(&run(&[command, CRON, "--config", r#"{"auth": {"tokn": 7}}"#]), unknown);
    }
    let basic = r#"{"auth": {"basic": {"user": "u", "password": "hunter2"}}}"#;
    refused(&run(&["set", CRON, "--config", basic]), "`auth.basic.password` is secret");
    let large = json!({ "note": "x".repeat(400_000) }).to_string();
    stage.workspace.write("large.json", &large);
    refused(&run(&["set", CRON, "--config", "@large.json"]), "and the table holds 300000");
    assert!(run(&["set", CRON]).succeeded().contains("has no run-time settings"));
    assert_eq!(stage.history(CRON), Vec::<Value>::new());

    for (config, says) in [
        ("batch_size = 5_000_000_000", "batch_size: must be a whole number from 0 to 4294967295"),
        ("batch_size = -1", "batch_size: must be a whole number from 0 to 4294967295"),
        ("rate = nan", "rate: is nan, which JSON cannot represent"),
        ("auth = [{ basic = [1, -inf] }]", "auth[0].basic[1]: is -inf, which JSON cannot represent"),
        ("auth.token = \"tok999\"", "auth.token: is secret"),
        ("note = 1979-05-27\nauth.basic.user = 7", "auth.basic.user: must be a text, and is a number"),
    ] {
        let of_table = format!("name = \"shop\"\n[tasks.{CRON}.config]\n{config}\n");
        stage.workspace.write("lamplighter.toml", &of_table);
        let failed = run(&["generate"]).failed();
        assert!(failed.contains(&format!("lamplighter.toml: tasks.{CRON}.config.{says}")), "{failed}");
        assert!(!stage.workspace.path("infra/template.yaml").exists());
    }
}

#[test]
fn v04_a_variant_is_replaced_whole_and_a_large_configuration_arrives() {
    let stage = stage();
    let run = |config: &str| -> Value {
        let answer = stage.workspace.run(&["run", CRON, "--json", "--config", config]).succeeded();
        serde_json::from_str(&answer).unwrap()
    };
    let token = run(r#"{"auth": {"token": "tok123"}}"#);
    assert_eq!(token["message"], "by a token: [secret]");
    assert_eq!(token["config"]["auth"], json!({ "token": "[secret]" }));
    let part = run(r#"{"auth": {"basic": {"user": "ada"}}, "rate": 117.63331139400017}"#);
    assert_eq!(part["message"], "ada: ");
    assert_eq!(part["data"], json!([100, 4_637_978_125_333_125_774_u64, 0]));
    for length in [240_000, 3_000_000] {
        stage.workspace.write("c.json", &json!({ "note": "x".repeat(length) }).to_string());
        assert_eq!(run("@c.json")["data"][2], length);
    }
    let sent = sent(&stage, &["run", CRON, "--json", "--config", "-"], r#"{"note": "four"}"#);
    let sent: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(sent["data"][2], 4);

    // Run-time settings override the file, and the configuration of one run overrides both.
    let config = format!("name = \"shop\"\n[tasks.{CRON}.config]\nrate = 1e23\nbatch_size = 7\n");
    stage.workspace.write("lamplighter.toml", &config);
    stage.workspace.write("s.json", &json!({ "note": "x".repeat(240_000) }).to_string());
    stage.workspace.run(&["set", CRON, "--config", "@s.json"]).succeeded();
    let over_it = run("{}");
    assert_eq!(over_it["data"], json!([7, 1e23_f64.to_bits(), 240_000]));
    let history = stage.workspace.run(&["history", CRON, "--json"]).succeeded();
    assert!(!history.contains("tok123"), "{history}");
}
