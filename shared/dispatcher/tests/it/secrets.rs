//! Secrets of tasks are in no answer, event, log line or item of the table.

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use lamplighter_core::{resolve, settings::Settings};
use serde_json::{Value, json};

use crate::support::{Probe, Stage, back, event, probe};

const SECRETS: [&str; 3] =
    ["hunter2", "a \"quoted\" back\\slash", "-----BEGIN KEY-----\nMIIB\t1\n-----END KEY-----"];

/// The forms in which a text may be quoted in another one.
fn forms(secret: &str) -> Vec<String> {
    let json = json!(secret).to_string();
    let all = [
        secret.to_owned(),
        format!("{secret:?}"),
        json.clone(),
        json!(json).to_string(),
        format!("{json:?}"),
    ];
    all.map(|form| form.trim_matches(['"', '\\']).to_owned()).into()
}

/// Everything in the table, as text.
async fn table(stage: &Stage) -> String {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::for_tests())
        .endpoint_url(&stage.endpoints["AWS_ENDPOINT_URL_DYNAMODB"])
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let scan = aws_sdk_dynamodb::Client::from_conf(config).scan().table_name("lamplighter").send();
    let items = scan.await.unwrap().items.unwrap_or_default();
    assert!(items.len() > 3, "the runs and the ledger are in it: {items:?}");
    let texts = items.iter().flat_map(|item| item.values()).map(|value| match value.as_s() {
        Ok(text) => text.clone(),
        Err(other) => format!("{other:?}"),
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn assert_nowhere(secret: &str, places: &[(&str, String)]) {
    for (place, text) in places {
        for form in forms(secret) {
            assert!(!text.contains(&form), "{form:?} is in the {place}: {text}");
        }
    }
}

#[tokio::test]
async fn l23_a_secret_is_in_no_answer_event_log_line_or_item() {
    for secret in SECRETS {
        let stage = Stage::new().await;
        let leaking = |mode: &str| [probe("migrate").mode(mode).set("secret", secret).undoes()];
        let tasks = leaking("leak");
        stage.install_all(&tasks);
        let created = stage.send(&event("Create", "r1", "1", &tasks)).await;
        assert_eq!(created["Status"], "SUCCESS", "{}", stage.log.text());
        assert_eq!(created["Data"]["migrate.message"], "leaked [secret]");

        let mut answers = vec![created];
        for (request, version, mode) in [("r2", "2", "leak-fail"), ("r3", "3", "leak-panic")] {
            stage.install_all(&leaking(mode));
            let failed = stage.send(&event("Update", request, version, &tasks)).await;
            assert_eq!(failed["Status"], "FAILED");
            // CloudFormation shows the reason in the stack's event.
            let reason = failed["Reason"].as_str().unwrap();
            assert!(reason.contains("refused") && reason.contains("[secret]"), "{reason}");
            answers.push(failed);
            stage.status("UPDATE_ROLLBACK_IN_PROGRESS");
            answers.push(stage.send(&back(&format!("b{request}"), "1", version, &tasks)).await);
            stage.status_of_events();
        }
        let answers = answers.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
        let log = stage.log.text();
        assert!(log.contains("the secret is [secret]"), "{log}");
        assert_nowhere(secret, &[("answers", answers), ("log", log), ("table", table(&stage).await)]);
        stage.end().await;
    }
}

/// The task of a deployment whose reference was resolved to this value.
fn resolved(reference: &str, value: &str, journal: &str) -> Probe {
    let config = json!({ "mode": "leak", "secret": reference, "journal": journal });
    let packed = resolve::pack(&Settings { config, ..Settings::default() });
    let it = probe("assets").once_per_content().with("LAMPLIGHTER_SETTINGS", &packed.settings.to_string());
    packed.variables.keys().fold(it, |it, name| it.with(name, value))
}

#[tokio::test]
async fn o04_the_content_of_a_task_depends_on_its_references_and_not_on_their_values() {
    let stage = Stage::new().await;
    let journal = stage.journal_file().display().to_string();
    let send = async |kind: &str, request: &str, version: &str, reference: &str, value: &str| {
        let tasks = [resolved(reference, value, &journal)];
        stage.install_all(&tasks);
        let answer = stage.send(&event(kind, request, version, &tasks)).await;
        assert_eq!(answer["Status"], "SUCCESS", "{}", stage.log.text());
        let contents = stage.newest().await.tasks.into_iter().filter_map(|task| task.content);
        (answer["Data"]["assets.status"].clone(), contents.collect::<Vec<_>>())
    };
    let (old, new) = ("{{resolve:secretsmanager:old}}", "{{resolve:secretsmanager:new}}");
    let (ran, first) = send("Create", "r1", "1", old, "hunter2").await;
    assert_eq!((ran, first.len()), (json!("COMPLETED"), 1));
    let (ran, second) = send("Update", "r2", "2", old, "an \"other\" one").await;
    assert_eq!((ran, &second), (json!("SKIPPED"), &first), "the content does not depend on the value");
    let (ran, third) = send("Update", "r3", "3", new, "hunter2").await;
    assert_eq!(ran, json!("COMPLETED"));
    assert_ne!(third, first);
    assert_nowhere("hunter2", &[("table", table(&stage).await)]);
    stage.end().await;
}
