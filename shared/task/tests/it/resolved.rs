//! References resolved by CloudFormation, in a real process of a task.

use lamplighter_core::{
    resolve::{self, Packed},
    run::{ErrorKind, Run},
    settings::Settings,
    status::Status,
};
use serde_json::{Value, json};

use crate::world::{World, binary};

const TOKEN: &str = "{{resolve:secretsmanager:shop:SecretString:token}}";
const PARAMETER: &str = "{{resolve:ssm:/shop/name}}";

/// Texts that could break a format or be mistaken for something else.
const TEXTS: [&str; 9] = [
    "hunter2",
    "a \"quoted\" back\\slash",
    "two\nlines\r\nand\ttabs",
    "\",\"names\":[\"added\"],\"x\":\"",
    "{\"user\": \"ada\"}",
    "[1, 2]",
    "17",
    "grüße 🕯 \u{202e}",
    "{{resolve:ssm:/shop/other}} ${AWS::StackName}",
];

/// Returns the variables of a function with this configuration, with each reference resolved to `value`.
fn resolved(config: Value, value: &str) -> Vec<(String, String)> {
    let Packed { settings, variables } = resolve::pack(&Settings { config, ..Settings::default() });
    let variables = variables.into_iter().map(|(name, text)| {
        let text = [TOKEN, PARAMETER].iter().fold(text, |text, reference| text.replace(reference, value));
        (name, text)
    });
    variables.chain([("LAMPLIGHTER_SETTINGS".to_owned(), settings.to_string())]).collect()
}

/// Runs the probe with this configuration, resolved to `value`.
async fn run(world: &World, mut config: Value, value: &str) -> Run {
    config["folder"] = json!(world.folder());
    let mut spec = world.spec(json!({ "config": {} }));
    spec.environment.extend(resolved(config, value));
    world.host.register(spec);
    world.invoke(json!({})).await;
    world.last().await
}

fn kept(world: &World) -> Value {
    serde_json::from_slice(&std::fs::read(world.folder().join("texts")).unwrap()).unwrap()
}

#[tokio::test]
async fn o04_any_text_arrives_unchanged_and_is_masked_everywhere() {
    for text in TEXTS {
        let world = World::new().await;
        let names = json!([TOKEN, format!("postgres://u:{TOKEN}@h/shop"), "plain"]);
        let run = run(&world, json!({ "mode": "keep-texts", "secret": TOKEN, "names": names }), text).await;
        assert_eq!(run.status, Status::Completed, "{text:?}: {:?}", run.error);
        let url = format!("postgres://u:{text}@h/shop");
        assert_eq!(kept(&world), json!([text, [text, url, "plain"], 1, false]), "{text:?}");

        // `names` are not of type `Secret`, but one of them is from Secrets Manager.
        assert_eq!(run.config["secret"], "[secret]");
        assert_eq!(run.config["names"], json!(["[secret]", "[secret]", "plain"]), "{text:?}");
        assert_eq!(run.data, Some(json!(["[secret]", "[secret]", "plain"])));
        assert_eq!(run.message.as_deref(), Some("kept [secret] [secret] plain"));
        let forms = [text.to_owned(), format!("{text:?}"), json!(text).to_string()];
        for line in world.lines() {
            let line: Value = serde_json::from_str(&line).unwrap();
            let told =
                [&line["message"], &line["names"]].map(|it| it.as_str().unwrap_or_default().to_owned());
            let shown = |told: &String| forms.iter().any(|form| told.contains(form.trim_matches('"')));
            assert!(text == "17" || !told.iter().any(shown), "{text:?}: {line}");
        }
    }
}

#[tokio::test]
async fn o04_an_empty_text_arrives_empty() {
    let world = World::new().await;
    let config = json!({ "mode": "keep-texts", "secret": TOKEN, "names": [TOKEN], "folder": world.folder() });
    // By hand, since the local host passes no empty variables.
    let mut task = std::process::Command::new(binary());
    let ended = task.arg("run").env_remove("LAMPLIGHTER_TABLE").envs(resolved(config, "")).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(kept(&world), json!(["", [""], 1, false]));
}

#[tokio::test]
async fn o04_a_text_is_converted_to_the_type_of_its_field() {
    let world = World::new().await;
    let config = |mode: &str| json!({ "mode": mode, "count": TOKEN, "secret": TOKEN });
    let run = run(&world, config("keep-texts"), "4711").await;
    assert_eq!(run.status, Status::Completed, "{:?}", run.error);
    assert_eq!(kept(&world), json!(["4711", [], 4711, false]), "a text stays a text");
    assert_eq!(run.config["count"], "[secret]");

    let unfit = self::run(&world, config("keep-texts"), "many").await;
    let error = unfit.error.unwrap();
    assert_eq!(error.kind, ErrorKind::Configuration);
    assert_eq!(error.message, "invalid configuration: `count` must be a whole number, and is a text");
}

#[tokio::test]
async fn o04_a_parameter_is_not_masked() {
    let world = World::new().await;
    let run = run(&world, json!({ "mode": "keep-texts", "names": [PARAMETER] }), "shop").await;
    assert_eq!((run.config["names"].clone(), run.message), (json!(["shop"]), Some("kept shop".to_owned())));
}

#[tokio::test]
async fn o04_a_missing_variable_fails_the_run_and_is_named() {
    let world = World::new().await;
    let mut spec = world.spec(json!({ "config": {} }));
    let variables = resolved(json!({ "secret": TOKEN, "folder": world.folder() }), "hunter2");
    spec.environment.extend(variables.into_iter().filter(|(name, _)| name == "LAMPLIGHTER_SETTINGS"));
    world.host.register(spec);
    world.invoke(json!({})).await;
    let error = world.last().await.error.unwrap();
    assert_eq!(error.kind, ErrorKind::Configuration);
    let name = "the variable LAMPLIGHTER_SECRET_";
    assert!(error.message.starts_with(&format!("LAMPLIGHTER_SETTINGS: {name}")), "{}", error.message);
    assert!(
        error.message.ends_with("it must hold the text of `/secret` in the configuration"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn o04_an_unresolved_reference_does_not_reach_the_body() {
    let world = World::with(json!({ "mode": "keep-texts" })).await;
    let of_run = json!({ "config": { "names": ["plain", format!("u:{TOKEN}")] } });
    let invoked = world.invoke(of_run).await;
    assert!(String::from_utf8_lossy(&invoked.payload).contains("`names[1]` is an unresolved reference"));
    let error = world.last().await.error.unwrap();
    assert_eq!(error.kind, ErrorKind::Configuration);
    assert!(error.message.starts_with("`names[1]` is an unresolved reference"), "{}", error.message);

    world.register(json!({ "config": { "mode": "keep-texts", "secret": TOKEN } }));
    let error = world.run().await.error.unwrap();
    assert!(
        error.message.starts_with("LAMPLIGHTER_SETTINGS: `secret` is an unresolved reference"),
        "{}",
        error.message
    );
    assert!(!world.folder().join("texts").exists(), "no body ran");
}
