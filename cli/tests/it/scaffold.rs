//! New projects and tasks, and existing workspaces that take Lamplighter in. Nothing is compiled here.

use std::{fs, path::Path};

use crate::fixture::Workspace;

/// The repository, as a source of the crates.
const SOURCE: &str = concat!("--source=path:", env!("CARGO_MANIFEST_DIR"), "/..");

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn n01_a_new_project_has_what_it_needs_and_its_own_name() {
    let place = Workspace::empty();
    let line = ["new", "cart", "--no-input", "--kinds", "side,cron,cron", SOURCE];
    let said = place.run(&line).succeeded();
    assert!(said.contains("created functions/tasks/tidy/src/lib.rs\n"), "{said}");
    assert!(said.ends_with("next: cd cart && lamplighter up\n"), "{said}");
    let all = files(&place.path("cart"));
    assert_eq!(said.lines().count(), all.len() + 1);
    for file in [
        ".github/workflows/deploy.yml",
        ".gitignore",
        "Cargo.toml",
        "README.md",
        "functions/dispatcher/src/main.rs",
        "functions/pulse/src/main.rs",
        "functions/tasks/look/src/main.rs",
        "infra/application.yaml",
        "infra/template.yaml",
        "lamplighter.toml",
        "samconfig.toml",
    ] {
        assert!(all.iter().any(|other| other == file), "{file} is missing: {all:?}");
    }
    for file in &all {
        let text = place.read(&format!("cart/{file}"));
        assert!(!text.contains("{{project}}") && !text.contains("{{task}}"), "{file}: {text}");
    }
    assert!(place.read("cart/lamplighter.toml").contains("name = \"cart\"\n"));
    assert!(place.read("cart/samconfig.toml").contains("stack_name = \"cart\"\n"));
    assert!(place.read("cart/infra/template.yaml").contains("TidyFunction:"));

    for (line, error) in [
        (&["new", "cart", "--no-input"][..], "is not empty"),
        (&["new", "bad name", "--no-input"], "`bad name` is not a stack's name"),
        (&["new", "x", "--source", "nowhere"], "`nowhere` is not a source"),
        (&["new", "x", "--no-input", "--source", "path:cart/infra"], "has no crate `lamplighter`"),
        (&["new", "x", "--kinds", "cron,daily"], "invalid value 'daily'"),
    ] {
        let refused = place.run(line);
        assert_ne!(refused.code, 0, "{line:?}");
        assert!(refused.stderr.contains(error), "{line:?}: {}", refused.stderr);
        assert!(!place.path("x").exists() && !place.path("bad name").exists(), "nothing is half written");
    }
    assert_eq!(files(&place.path("cart")), all);
}

#[test]
fn n02_a_task_is_added_and_nothing_is_overwritten() {
    let place = Workspace::empty();
    place.run(&["new", "cart", "--no-input", "--kinds", "cron", SOURCE]).succeeded();
    let before = place.read("cart/Cargo.toml");
    let add = |words: &[&str]| {
        let root = place.path("cart");
        place.run_in(&root, &[&["add"][..], words].concat())
    };
    let said = add(&["queue", "send-receipt"]).succeeded();
    assert!(said.starts_with("created functions/tasks/send-receipt/Cargo.toml\n"), "{said}");
    assert_eq!(place.read("cart/Cargo.toml"), before, "the pattern of the members has it already");
    let source = place.read("cart/functions/tasks/send-receipt/src/main.rs");
    assert!(source.contains("lamplighter::main!(send_receipt::SendReceipt);"), "{source}");
    add(&["cron", "nightly", "--schedule", "every day"]).succeeded();
    assert!(place.read("cart/functions/tasks/nightly/src/lib.rs").contains("schedule = \"every day\""));

    let all = files(&place.path("cart"));
    for (words, error) in [
        (&["queue", "send-receipt"][..], "the workspace already has a binary `send-receipt`"),
        (&["cron", "match"], "`match` cannot be the name of a task's package"),
        (&["cron", "dispatcher"], "`dispatcher` cannot be the name"),
        (&["cron", "Tidy"], "`Tidy` is not a task name"),
        (&["cron", "../x"], "`../x` is not a task name"),
        (&["side", "x", "--schedule", "every day"], "--schedule is for cron tasks"),
        (&["cron", "x", "--schedule", "now and then"], "--schedule: `now and then` is not"),
        (&["daily", "x"], "invalid value 'daily'"),
    ] {
        let refused = add(words);
        assert_ne!(refused.code, 0, "{words:?}");
        assert!(refused.stderr.contains(error), "{words:?}: {}", refused.stderr);
    }
    add(&["cron", "mine", "--dry-run"]).succeeded();
    assert_eq!(files(&place.path("cart")), all);
}

/// A workspace as many are: a Lambda, a library, and a SAM template with `Globals` at the root.
fn existing(place: &Workspace) {
    place.write("Cargo.toml", "# The shop.\n[workspace]\nmembers = [\n    \"lambdas/*\", # each is a function\n    \"libs/prices\",\n]\nresolver = \"2\"\n\n[profile.release]\nlto = true\n");
    for (folder, name, file) in [("lambdas/api", "api", "main.rs"), ("libs/prices", "prices", "lib.rs")] {
        place.write(
            &format!("{folder}/Cargo.toml"),
            &format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2021\"\n"),
        );
        place.write(&format!("{folder}/src/{file}"), if file == "main.rs" { "fn main() {}" } else { "" });
    }
    place.write(
        "template.yaml",
        "AWSTemplateFormatVersion: \"2010-09-09\"\nTransform: AWS::Serverless-2016-10-31\nGlobals:\n  Function:\n    Timeout: 5\n\
         Resources:\n  Api:\n    Type: AWS::Serverless::Function\n    Properties: { CodeUri: lambdas/api, Handler: bootstrap, Runtime: provided.al2023 }\n",
    );
    place.write(".gitignore", "/target");
}

#[test]
fn n03_init_adds_to_an_existing_workspace_without_moving_a_file() {
    let place = Workspace::empty();
    existing(&place);
    let before = files(&place.path(""));
    let shown = place.run(&["init", "--dry-run", SOURCE]).succeeded();
    assert_eq!(files(&place.path("")), before);
    assert!(shown.contains("changed Cargo.toml\n") && shown.ends_with("nothing was written\n"), "{shown}");

    let said = place.run(&["init", SOURCE]).succeeded();
    assert!(said.contains("template.yaml is the application"), "{said}");
    let after = files(&place.path(""));
    assert!(before.iter().all(|file| after.contains(file)), "{after:?}");
    let manifest = place.read("Cargo.toml");
    assert!(
        manifest.starts_with(
            "# The shop.\n[workspace]\nmembers = [\n    \"lambdas/*\", # each is a function\n    \"libs/prices\",\n    \
             \"functions/dispatcher\",\n    \"functions/pulse\",\n]\nresolver = \"2\"\n"
        ),
        "{manifest}"
    );
    assert!(manifest.contains("[profile.release]\nlto = true\n"), "{manifest}");
    assert!(place.read("lamplighter.toml").contains("application = \"template.yaml\"\n"));
    assert_eq!(place.read(".gitignore"), "/target\n.aws-sam/\n.lamplighter/\n");
    let added = place.run(&["add", "cron", "tidy"]).succeeded();
    assert!(added.contains("changed Cargo.toml\n"), "{added}");
    assert!(place.read("Cargo.toml").contains("    \"functions/tasks/*\",\n"));

    let again = place.run(&["init"]).failed();
    assert!(again.contains("lamplighter.toml exists, so this is a project already"), "{again}");
}

#[test]
fn n03_a_template_at_the_default_path_stays_and_another_is_written() {
    let place = Workspace::empty();
    existing(&place);
    std::fs::create_dir(place.path("infra")).unwrap();
    std::fs::rename(place.path("template.yaml"), place.path("infra/template.yaml")).unwrap();
    place.write("samconfig.toml", "version = 0.1\n");
    let own = place.read("infra/template.yaml");
    let said = place.run(&["init", SOURCE]).succeeded();
    assert!(said.contains("set `template_file = \"infra/lamplighter.yaml\"` in samconfig.toml"), "{said}");
    let settings = place.read("lamplighter.toml");
    let expected = "application = \"infra/template.yaml\"\ntemplate = \"infra/lamplighter.yaml\"\n";
    assert!(settings.contains(expected), "{settings}");
    // Without its packages the rest of the project needs no crate.
    std::fs::remove_dir_all(place.path("functions")).unwrap();
    place.write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"lambdas/*\"]\n");
    place.run(&["generate"]).succeeded();
    assert_eq!(place.read("infra/template.yaml"), own);
    assert!(place.read("infra/lamplighter.yaml").contains("Api:"));
}

#[test]
fn n03_a_single_package_becomes_a_workspace() {
    let place = Workspace::empty();
    place.write("Cargo.toml", "[package]\nname = \"api\"\nversion = \"1.0.0\"\nedition = \"2024\"\n");
    place.write("src/main.rs", "fn main() {}");
    place.run(&["init", SOURCE, "--name", "web"]).succeeded();
    let manifest = place.read("Cargo.toml");
    assert!(
        manifest.contains("[workspace]\nmembers = [\"functions/dispatcher\", \"functions/pulse\"]\n"),
        "{manifest}"
    );
    assert!(place.read("lamplighter.toml").contains("name = \"web\"\n"));
}

#[test]
fn n03_an_unsuitable_project_is_named_and_nothing_is_written() {
    let nowhere = Workspace::empty();
    let error = nowhere.run(&["init"]).stderr;
    assert!(error.contains("there is no cargo workspace or package in"), "{error}");
    for (file, text, line, expected) in [
        ("Cargo.toml", "[workspace", &["init"][..], "there is no cargo workspace"),
        (
            "notes.yaml",
            "a: 1\n",
            &["init", SOURCE, "--application", "notes.yaml"],
            "notes.yaml is not a SAM template",
        ),
        (
            "functions/pulse/src/main.rs",
            "// mine",
            &["init", SOURCE],
            "functions/pulse/src/main.rs already exists",
        ),
        (
            "x",
            "",
            &["init", SOURCE, "--application", "missing.yaml"],
            "cannot read the template missing.yaml",
        ),
        ("x", "", &["init", SOURCE, "--name", "a b"], "give another one with --name"),
    ] {
        let place = Workspace::empty();
        existing(&place);
        fs::remove_file(place.path("template.yaml")).unwrap();
        place.write(file, text);
        let before = files(&place.path(""));
        let refused = place.run(line);
        assert_ne!(refused.code, 0, "{line:?}");
        assert!(refused.stderr.contains(expected), "{line:?}: {}", refused.stderr);
        assert_eq!(files(&place.path("")), before, "{line:?}: nothing is half written");
    }
}
