//! A project for tests, with one task of each kind.

use std::collections::BTreeMap;

use lamplighter_core::definition::Definition;
use serde_json::{Value, json};

use crate::{config::Config, describe::DescribedTask, tasks::Project};

/// The definition of a task with all defaults, changed by these keys.
pub fn definition(name: &str, keys: Value) -> Definition {
    let mut definition = json!({
        "name": name,
        "description": "",
        "kind": "lifecycle",
        "timeout_ms": 300_000,
        "retry": { "max_attempts": 3, "initial_ms": 500, "max_ms": 30_000 },
        "copy_assets": [],
        "rollback": false,
        "config": null,
        "config_schema": {},
    });
    if keys.get("kind").is_none_or(|kind| kind == "lifecycle") {
        definition["run_on"] = json!(["deploy", "update"]);
        definition["phase"] = json!("before");
        definition["once_per"] = json!("deployment");
        definition["depends_on"] = json!([]);
    }
    let keys: BTreeMap<String, Value> = serde_json::from_value(keys).unwrap();
    for (key, value) in keys {
        definition[key] = value;
    }
    serde_json::from_value(definition).unwrap()
}

/// The same task as it is found on disk.
pub fn described(name: &str, keys: Value) -> DescribedTask {
    DescribedTask {
        definition: definition(name, keys),
        binary: name.to_owned(),
        source: format!("functions/tasks/{name}/src/lib.rs"),
        folder: format!("/shop/functions/tasks/{name}").into(),
    }
}

/// The lamplighter.toml of the shop.
pub const CONFIG: &str = r#"
    [build]
    architecture = "arm64"
    log_retention_days = 14

    [functions.SiteFunction]
    enqueues = ["send-receipt"]

    [tasks.warm-cache]
    timeout = "1m"
    attempts = 2
    memory_mb = 512
    [tasks.warm-cache.config]
    urls = ["https://shop.example/"]
    token = "{{resolve:secretsmanager:shop:SecretString:token}}"

    [[tasks.process-assets.permissions]]
    actions = ["s3:PutObject"]
    resources = ["${LamplighterBucket.Arn}/public/*"]
    [tasks.process-assets.environment]
    CDN = "https://cdn.example"

    [environments.production.tasks.warm-cache]
    timeout = "2m"
"#;

/// The tasks of a shop.
pub fn tasks() -> Vec<DescribedTask> {
    vec![
        described(
            "process-assets",
            json!({ "depends_on": ["run-migrations"], "once_per": "content", "copy_assets": [] }),
        ),
        described(
            "purge-expired",
            json!({
                "kind": "cron", "schedule": "*/5 * * * *", "timezone": "Europe/Berlin", "priority": "low",
                "description": "Deletes what has expired.\n\nIn batches.", "timeout_ms": 1500,
            }),
        ),
        described(
            "run-migrations",
            json!({ "description": "Applies the SQL \"migrations\".", "timeout_ms": 120_000, "rollback": true }),
        ),
        described(
            "send-receipt",
            json!({
                "kind": "queue", "priority": "high", "concurrency": 8, "timeout_ms": 20_000,
                "enqueues": ["write-invoice"],
            }),
        ),
        described("write-invoice", json!({ "kind": "queue", "concurrency": 1 })),
        described("seed-data", json!({ "run_on": ["deploy"], "depends_on": ["run-migrations"] })),
        described("stream", json!({ "kind": "side" })),
        described(
            "warm-cache",
            json!({
                "phase": "after", "depends_on": ["run-migrations"], "config": { "urls": [], "token": "" },
                "config_schema": { "properties": { "urls": {}, "token": { "writeOnly": true } } },
            }),
        ),
    ]
}

/// The shop.
pub fn shop() -> Project {
    Project::resolve("shop", tasks(), &Config::parse(CONFIG).unwrap(), None).unwrap()
}
