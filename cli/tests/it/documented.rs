//! K03: the JSON of the commands has the fields that docs/json.md lists, and no others.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::{manners::used, runner::stage::Stage};

/// The sections of the page, by the commands in their headings.
struct Page(String);

impl Page {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
        Self(fs::read_to_string(path).unwrap())
    }

    /// The text of the section whose heading begins with this command.
    fn section(&self, command: &str) -> &str {
        let sections = self.0.split("\n## ");
        let heading = format!("`lamplighter {command}");
        let mut found = sections.filter(|section| section.starts_with(&heading));
        found.next().unwrap_or_else(|| panic!("no section of `{command}`"))
    }

    /// Checks that an object has only fields that a command's section names.
    fn names(&self, command: &str, object: &Value) {
        let named = words(self.section(command));
        let fields = object.as_object().unwrap_or_else(|| panic!("{command}: {object}"));
        for field in fields.keys() {
            assert!(
                named.contains(field.as_str()),
                "`{field}` is not in the section of `{command}`: {object:#}"
            );
        }
    }

    /// Checks that an object has exactly the fields of a command's table.
    fn lists(&self, command: &str, object: &Value) {
        self.names(command, object);
        let rows = self.section(command).lines().filter(|line| line.starts_with("| `"));
        let listed = rows.filter_map(|row| row.split('|').nth(1)).flat_map(words);
        for field in listed {
            assert!(object.get(field).is_some(), "no `{field}` in the JSON of `{command}`: {object:#}");
        }
    }
}

/// The words in backquotes.
fn words(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn k03_the_json_of_each_reading_command_is_as_documented() {
    let (workspace, open) = used();
    let page = Page::read();
    let json = |arguments: &[&str]| {
        let text = workspace.run(&[arguments, &["--json"]].concat()).succeeded();
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    };
    let each = |list: &Value, check: &dyn Fn(&Value)| {
        let list = list.as_array().unwrap();
        assert!(!list.is_empty());
        list.iter().for_each(check);
    };

    let history = json(&["history", "--totals"]);
    let top: Value = history.as_object().unwrap().iter().map(|(key, _)| (key.clone(), Value::Null)).collect();
    page.names("history", &top);
    for field in ["runs", "unreadable", "next", "totals"] {
        assert!(history.get(field).is_some(), "{field}");
    }
    let is_record = |run: &Value| page.names("history", run);
    each(&history["runs"], &is_record);
    each(&json(&["stats"]), &|task| page.lists("stats", task));
    let cost = json(&["cost"]);
    page.names("cost", &cost);
    page.names("cost", &cost["prices"]);
    each(&cost["functions"], &|function| page.lists("cost", function));
    each(&json(&["tasks"]), &|task| page.names("tasks", &task["state"]));
    each(&json(&["next"]), &|task| {
        page.names("next", task);
        each(&task["coming"], &|coming| page.names("next", coming));
    });
    page.names("why", &json(&["why", "purge-expired-sessions-and-carts"]));
    page.names("enqueue", &json(&["enqueue", "mail", "{}"]));

    let job = open.to_string();
    let record = json(&["status", &job]);
    page.names("jobs status", &record);
    assert_eq!(record, json(&["jobs", "status", &job]));
    let is_job = |job: &Value| {
        page.names(if job["status"] == "PENDING" { "jobs status" } else { "history" }, job);
    };
    let list = json(&["jobs", "list"]);
    page.names("jobs list", &list);
    each(&list["jobs"], &is_job);
    let dead = json(&["jobs", "dead"]);
    page.names("jobs dead", &dead);
    each(&dead["failed"], &is_job);

    page.lists("pulse status", &json(&["pulse", "status"]));
    page.names("pulse status", &json(&["pulse", "status"])["last"]);
    each(&json(&["runner", "status"]), &|runner| {
        page.lists("runner status", runner);
        each(&runner["running"], &|run| page.names("runner status", run));
    });
    each(&json(&["types"]), &|task| page.names("types", task));
}

#[test]
fn c24_k01_k03_the_json_of_commands_that_act_is_as_documented() {
    let stage = Stage::new().task("tick", "@yearly", "");
    stage.workspace.dispatcher();
    let page = Page::read();
    let (_, acting) = page.0.split_once("\n## Commands that act\n").unwrap();
    let is_documented = |command: &str, value: &Value| {
        let mut rows = acting.lines().filter(|line| line.starts_with("| `"));
        let row = rows.find(|row| words(row.split('|').nth(1).unwrap()).contains(command));
        let named = words(row.unwrap_or_else(|| panic!("no row of `{command}`")));
        for field in value.as_object().unwrap().keys() {
            assert!(named.contains(field.as_str()), "`{field}` is not in the row of `{command}`: {value:#}");
        }
    };
    let json = |arguments: &[&str]| {
        let text = stage.workspace.run(&[arguments, &["--json"]].concat()).succeeded();
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    };
    let package = &json(&["build", "--dev"])[0];
    is_documented("build", package);
    is_documented("disable", &json(&["disable", "tick"]));
    is_documented("enable", &json(&["enable", "tick"]));
    let set = json(&["set", "tick", "--timeout", "2m", "--attempts", "2", "--config", r#"{"mode": ""}"#]);
    is_documented("set", &set);
    is_documented("set", &set["settings"]);
    let generated = json(&["generate"]);
    is_documented("generate", &generated);
    is_documented("generate", &generated["schedules"][0]);

    // It fails as long as the folder of its journal is missing.
    let journal = stage.workspace.path("later/journal");
    let config = serde_json::json!({ "journal": journal }).to_string();
    let failed = stage.workspace.run(&["run", "tick", "--config", &config, "--json"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    let failed: Value = serde_json::from_str(&failed.stdout).unwrap();
    page.names("history", &failed);
    assert_eq!(failed["attempts"].as_array().unwrap().len(), 2, "{failed:#}");
    fs::create_dir(journal.parent().unwrap()).unwrap();
    let retried = json(&["retry", "tick"]);
    page.names("history", &retried);
    assert_eq!(
        (&retried["status"], &retried["retry_of"]),
        (&"COMPLETED".into(), &failed["id"]),
        "{retried:#}"
    );
}
