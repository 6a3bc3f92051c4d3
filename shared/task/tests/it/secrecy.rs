//! The log lines of a run, and the secrets they must not show.

use serde_json::{Value, json};

use crate::world::{World, answer};

const SECRETS: [&str; 3] =
    ["hunter2", "a \"quoted\" back\\slash", "-----BEGIN KEY-----\nMIIB\t1\n-----END KEY-----"];

/// Returns whether a text contains a secret, plainly or escaped as in quotes.
fn shows(text: &str, secret: &str) -> bool {
    let quoted = format!("{secret:?}");
    [secret, quoted.trim_matches('"'), quoted.replace('\\', "\\\\").trim_matches('"')]
        .iter()
        .any(|form| text.contains(form))
}

async fn assert_nowhere(world: &World, payload: &[u8], secret: &str) {
    let records = serde_json::to_string(&world.runs().await).unwrap();
    let payload = String::from_utf8(payload.to_vec()).unwrap();
    for text in world.lines().iter().chain([&records, &payload]) {
        assert!(!shows(text, secret), "{secret:?} in {text}");
        let parsed: Value = serde_json::from_str(text).unwrap();
        assert!(!strings(&parsed).iter().any(|s| shows(s, secret)), "{secret:?} in {text}");
    }
}

fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(entries) => {
            entries.iter().flat_map(|(key, item)| [vec![key.clone()], strings(item)].concat()).collect()
        }
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn l23_a_secret_is_in_no_record_no_line_and_no_report() {
    for secret in SECRETS {
        for mode in ["tell-secrets", "fail-with-secret", "panic-with-secret", "refuse"] {
            let world = World::with(json!({ "mode": mode, "secret": secret })).await;
            let invocation = world.invoke(json!({})).await;
            assert_nowhere(&world, &invocation.payload, secret).await;
            assert!(!world.logged().is_empty());
        }
    }
}

#[tokio::test]
async fn l23_the_body_itself_has_the_secret() {
    let world = World::with(json!({ "secret": "hunter2" })).await;
    let run = world.run().await;
    assert_eq!(run.config["secret"], "[secret]");
    assert_eq!(run.data.unwrap()["secret_length"], 7);
}

#[tokio::test]
async fn l23_a_thread_that_outlives_its_run_does_not_log_the_secret() {
    let world = World::with(json!({ "mode": "leave-a-thread", "secret": "hunter2" })).await;
    world.run().await;
    world.go();
    let line = world.line("left behind").await;
    assert_eq!(line["message"], "left behind with [secret]");
}

#[tokio::test]
async fn a_short_secret_leaves_the_lines_readable() {
    let world = World::with(json!({ "mode": "error", "secret": "e" })).await;
    let run = world.run().await;
    for line in world.logged() {
        assert_eq!((&line["task"], &line["run_id"]), (&json!("probe"), &json!(run.id)), "{line}");
    }
}

#[tokio::test]
async fn l25_every_line_is_json_with_task_and_run() {
    let world = World::with(json!({ "mode": "talk" })).await;
    let invocation = world.invoke(json!({})).await;
    let run = world.last().await;
    let lines = world.logged();
    for line in &lines {
        let whose = ["task", "run_id", "trigger"].map(|key| line[key].clone());
        assert_eq!(whose, [json!("probe"), json!(run.id), json!("manual")], "{line}");
        assert!(line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{line}");
    }
    for attempt in [1, 2] {
        let mine: Vec<_> = lines.iter().filter(|line| line["attempt"] == attempt).collect();
        let of = |text: &str| mine.iter().filter(|l| l["message"].as_str().unwrap().contains(text)).count();
        assert_eq!((of("from thread"), of("from the body")), (200, 1));
    }
    let body = lines.iter().find(|l| l["message"] == "from the body\nin two lines").unwrap();
    assert_eq!(
        ["n", "ratio", "yes", "what"].map(|key| body[key].clone()),
        [json!(7), json!(0.5), json!(true), json!("[1]")]
    );
    assert_eq!(answer(&invocation)["errorMessage"], "said enough");
    let errors: Vec<_> = lines.iter().filter(|line| line["level"] == "ERROR").collect();
    assert_eq!(errors.len(), 1, "a failure is logged once: {errors:#?}");
    assert_eq!(errors[0]["message"], "probe FAILED: said enough");
    assert_eq!((&errors[0]["status"], &errors[0]["error_kind"]), (&json!("FAILED"), &json!("execution")));
}

#[tokio::test]
async fn l25_a_panic_is_logged_as_a_line_and_the_run_ends_with_one_error() {
    let world = World::with(json!({ "mode": "panic-str" })).await;
    let run = world.run().await;
    let lines = world.logged();
    let place = lines.iter().filter(|line| line["message"].as_str().unwrap().contains("task_probe.rs:"));
    assert_eq!(place.count(), 2, "each panic says where: {lines:#?}");
    assert_eq!(lines.iter().filter(|line| line["level"] == "ERROR").count(), 1, "{lines:#?}");
    assert!(lines.iter().all(|line| line["run_id"] == json!(run.id)));
}
