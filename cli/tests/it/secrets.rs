//! O04: secrets on this machine, through the program, a real task and the table's file.

use std::{fs, path::Path};

use lamplighter_testkit::example;
use serde_json::{Value, json};

use crate::fixture::{CommandOutput, Workspace};

const TOKEN: &str = "{{resolve:secretsmanager:shop:SecretString:token}}";
const WORD: &str = "{{resolve:ssm:/shop/word}}";
/// A secret that needs escaping in JSON and TOML.
const SECRET: &str = "tok\"en\\ \n\",\"mode\":\"panic\",\"x\":\"🕯";
const GIVEN: &str = "LAMPLIGHTER_SECRETS";

/// A workspace whose task prints its secrets wherever it can. One of them belongs to a value that is not a `Secret`.
fn shop() -> Workspace {
    let workspace = Workspace::new();
    workspace.dispatcher();
    workspace.probe("secret-probe", &example("secret-probe"));
    configure(&workspace, &format!("auth.token = \"{TOKEN}\"\nurl = \"postgres://u:{TOKEN}@{WORD}\"\n"));
    workspace
}

fn configure(workspace: &Workspace, config: &str) {
    let texts = workspace.path("texts").display().to_string();
    let file = format!("name = \"shop\"\n[tasks.secret-probe.config]\ntexts = {texts:?}\n{config}");
    workspace.write("lamplighter.toml", &file);
}

/// Writes a file with the values of the references.
fn give(workspace: &Workspace, token: &str, word: &str) {
    workspace.write("given.toml", &format!("{TOKEN:?} = {}\n{WORD:?} = {}\n", json!(token), json!(word)));
}

fn said(ended: &CommandOutput) -> String {
    format!("{}{}", ended.stdout, ended.stderr)
}

/// Fails if a file in a folder contains the secret, plain or escaped.
fn nowhere_below(folder: &Path, secret: &str) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files += nowhere_below(&path, secret);
        } else if path.is_file() {
            nowhere(&fs::read(&path).unwrap(), secret, &path.display().to_string());
            files += 1;
        }
    }
    files
}

fn nowhere(bytes: &[u8], secret: &str, place: &str) {
    let quoted =
        [json!(secret).to_string(), json!(json!(secret).to_string()).to_string(), format!("{secret:?}")];
    let quoted = quoted.map(|text| text.trim_matches(['"', '\\']).to_owned());
    for form in quoted.iter().map(String::as_str).chain([secret]) {
        assert!(!bytes.windows(form.len()).any(|window| window == form.as_bytes()), "{form:?} is in {place}");
    }
}

#[test]
fn o04_a_reference_without_a_value_is_refused_and_no_secret_is_printed() {
    let workspace = shop();
    for command in [&["run", "secret-probe"][..], &["start"], &["dev"], &["pulse", "execute"]] {
        let refused = workspace.run(command).failed();
        for part in [
            &format!("tasks.secret-probe.config.auth.token: `{TOKEN}` has no value on this machine"),
            "tasks.secret-probe.config.url: ",
            "--secrets or LAMPLIGHTER_SECRETS",
            "LAMPLIGHTER_RESOLVE_SECRETSMANAGER_SHOP_SECRETSTRING_TOKEN",
        ] {
            assert!(refused.contains(part), "{command:?}: {part}: {refused}");
        }
    }
    assert!(!workspace.path("texts").exists(), "nothing ran");

    give(&workspace, SECRET, "db");
    let arrived = |workspace: &Workspace| serde_json::from_str::<Value>(&workspace.read("texts")).unwrap();
    let answer = workspace.run(&["run", "secret-probe", "--secrets", "given.toml", "--json"]);
    assert_eq!(answer.code, 0, "{}", said(&answer));
    assert_eq!(arrived(&workspace), json!([SECRET, format!("postgres://u:{SECRET}@db")]));
    nowhere(said(&answer).as_bytes(), SECRET, "run --json");
    let run: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(
        (&run["config"]["auth"]["token"], &run["config"]["url"]),
        (&json!("[secret]"), &json!("[secret]"))
    );
    assert_eq!(run["data"], json!({ "used": "[secret]", "[secret]": "[secret]" }));

    for mode in ["fail", "panic"] {
        let config = json!({ "mode": mode }).to_string();
        let given = [(GIVEN, Path::new("given.toml"))];
        let failed = workspace.run_with(&["run", "secret-probe", "--config", &config], &given);
        assert!(failed.code == 1 && said(&failed).contains("refused"), "{}", said(&failed));
        nowhere(said(&failed).as_bytes(), SECRET, mode);
    }
    for command in [
        &["history", "--json"][..],
        &["history"],
        &["logs", "secret-probe"],
        &["tasks", "--json"],
        &["types", "--json"],
    ] {
        nowhere(workspace.run(command).succeeded().as_bytes(), SECRET, &format!("{command:?}"));
    }
    assert!(nowhere_below(&workspace.path(".lamplighter"), SECRET) >= 2, "a table and a log");
    let log = workspace.read(".lamplighter/logs/shop-secret-probe.log");
    assert!(log.contains("printed [secret]") && !log.contains('🕯'), "{log}");

    let variable = [
        ("LAMPLIGHTER_RESOLVE_SECRETSMANAGER_SHOP_SECRETSTRING_TOKEN", Path::new("of the environment")),
        ("LAMPLIGHTER_RESOLVE_SSM_SHOP_WORD", Path::new("")),
    ];
    workspace.run_with(&["run", "secret-probe"], &variable).succeeded();
    assert_eq!(arrived(&workspace), json!(["of the environment", "postgres://u:of the environment@"]));
    nowhere_below(&workspace.path(".lamplighter"), "of the environment");
}

#[test]
fn o04_a_secret_for_one_run_is_masked_and_a_stored_one_is_refused() {
    let workspace = shop();
    give(&workspace, "given", "db");
    let run = |config: &Value| {
        let config = config.to_string();
        workspace.run(&["run", "secret-probe", "--secrets", "given.toml", "--json", "--config", &config])
    };
    let answer = run(&json!({ "auth": { "token": SECRET }, "url": "none" }));
    assert_eq!(answer.code, 0, "{}", said(&answer));
    assert_eq!(serde_json::from_str::<Value>(&workspace.read("texts")).unwrap(), json!([SECRET, "none"]));
    nowhere(said(&answer).as_bytes(), SECRET, "run --json");
    let refused = run(&json!({ "url": format!("http://{TOKEN}/") }));
    assert_eq!(refused.code, 2, "{}", said(&refused));
    assert!(refused.stderr.contains("--config: `url` is a reference"), "{}", refused.stderr);

    for (config, wanted) in [
        (
            json!({ "auth": { "basic": { "user": "u", "password": SECRET } } }),
            "`auth.basic.password` is secret",
        ),
        (json!({ "auth": { "token": TOKEN } }), "`auth.token` is secret"),
        (json!({ "url": format!("http://{TOKEN}/") }), "`url` is a reference"),
    ] {
        let refused = workspace.run(&["set", "secret-probe", "--config", &config.to_string()]);
        assert_eq!(refused.code, 2, "{}", said(&refused));
        assert!(refused.stderr.contains(wanted), "{wanted}: {}", refused.stderr);
        assert!(refused.stderr.contains("lamplighter.toml"), "{}", refused.stderr);
        nowhere(said(&refused).as_bytes(), SECRET, "set");
    }
    assert!(nowhere_below(&workspace.path(".lamplighter"), SECRET) >= 2, "a table and a log");
    let log = workspace.read(".lamplighter/logs/shop-secret-probe.log");
    assert!(log.contains("printed [secret]") && !log.contains('🕯'), "{log}");

    let in_clear = [
        ("auth.token = \"tok999\"\n", "tasks.secret-probe.config.auth.token: is secret"),
        (
            "auth.basic = { user = \"u\", password = \"tok999\" }\n",
            "tasks.secret-probe.config.auth.basic.password: is secret",
        ),
    ];
    for (config, wanted) in in_clear {
        configure(&workspace, config);
        let refused = workspace.run(&["generate"]).failed();
        assert!(refused.contains(wanted) && !refused.contains("tok999"), "{refused}");
        assert!(!workspace.path("infra/template.yaml").exists());
    }
}

#[test]
fn o04_a_template_has_references_only_as_whole_values() {
    let workspace = shop();
    workspace.run(&["generate"]).succeeded();
    let template = workspace.read("infra/template.yaml");
    let lines: Vec<_> = template.lines().filter(|line| line.contains("{{resolve:")).map(str::trim).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in lines {
        let (name, text) = line.split_once(": ").unwrap();
        assert!(name.starts_with("LAMPLIGHTER_SECRET_"), "{line}");
        let text = text.trim_matches(['"', '\'']);
        assert!(
            [TOKEN.to_owned(), format!("postgres://u:{TOKEN}@{WORD}")].contains(&text.to_owned()),
            "{line}"
        );
    }
}

#[test]
fn o04_a_secret_is_refused_as_an_argument_of_a_job() {
    let workspace = Workspace::new();
    let schema = json!({
        "type": "object", "properties": {
            "to": { "type": "string" },
            "login": { "anyOf": [{ "type": "object", "properties": { "word": { "type": "string", "writeOnly": true } } }] },
        },
    });
    workspace.task("mail", "mail", json!({ "kind": "queue", "arguments_schema": schema }));
    let arguments = json!({ "to": "ada", "login": { "word": "hunter2" } }).to_string();
    let refused = workspace.run(&["enqueue", "mail", &arguments]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("`login.word` is secret"), "{}", refused.stderr);
    assert!(refused.stderr.contains("put the secret into the task's configuration"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
    let empty = json!({ "to": "ada", "login": { "word": "" } }).to_string();
    workspace.run(&["enqueue", "mail", &empty]).succeeded();
    nowhere_below(&workspace.path(".lamplighter"), "hunter2");
}
