//! L01: how the tasks of a workspace are found.

use serde_json::{Value, json};

use crate::fixture::Workspace;

#[test]
fn l01_tasks_are_found_by_their_folders() {
    let workspace = Workspace::new();
    workspace.task("db/migrate", "db-migrate", json!({ "timeout_ms": 1000 }));
    workspace.task("seed", "seed", json!({ "depends_on": ["db-migrate"] }));
    workspace.write("lamplighter.toml", "[environments.production.tasks.seed]\nattempts = 7\n");
    let json = workspace.run(&["tasks", "--json", "--environment", "production"]).succeeded();
    let tasks: Vec<Value> = serde_json::from_str(&json).unwrap();
    let names: Vec<_> = tasks.iter().map(|task| task["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["db-migrate", "seed"]);
    assert_eq!(tasks[1]["retry"]["max_attempts"], 7);
    let text = workspace.run(&["tasks"]).succeeded();
    assert!(
        text.contains("seed        deploy update (before, needs db-migrate)  5 min, 3 attempts"),
        "{text}"
    );
}

#[test]
fn l01_a_target_folder_elsewhere_is_used() {
    let workspace = Workspace::new();
    workspace.task("seed", "seed", json!({}));
    let target = tempfile::tempdir().unwrap();
    workspace.run_with(&["tasks"], &[("CARGO_TARGET_DIR", target.path())]).succeeded();
    assert!(target.path().join("debug/seed").is_file() && !workspace.path("target/debug").exists());
}

#[test]
fn l01_a_task_has_the_name_of_its_definition() {
    let workspace = Workspace::new();
    workspace.task("Folder_of_its_own", "some-package", json!({ "name": "tidy" }));
    workspace.dispatcher();
    assert_eq!(names(&workspace), ["tidy"]);
    workspace.run(&["build", "--dev"]).succeeded();
    let packages = workspace.path("target/lamplighter");
    assert!(packages.join("tidy.zip").is_file() && !packages.join("some-package.zip").exists());
    // Without a change nothing is compiled or run again, and a name that is not known is looked for once more.
    let [first, second] = [(); 2].map(|()| workspace.run(&["tasks"]));
    assert_eq!((first.succeeded(), second.stderr.as_str()), (second.stdout.clone(), ""));
    workspace.task("other", "other", json!({}));
    assert_eq!(workspace.run(&["history", "other"]).succeeded(), "no runs\n");
}

#[test]
fn l01_tasks_are_found_in_the_projects_configured_folders() {
    let workspace = Workspace::new();
    workspace.package("crates/mail-jobs", "mail-jobs", "fn main() {}");
    let program = |name: &str| Workspace::program(name, json!({}));
    workspace.write("crates/mail-jobs/src/bin/receipt.rs", &program("send-receipt"));
    workspace.write("crates/mail-jobs/src/bin/reminder.rs", &program("send-reminder"));
    std::fs::remove_file(workspace.path("crates/mail-jobs/src/main.rs")).unwrap();
    workspace.package("crates/mail", "mail", "fn main() { std::process::exit(1) }");
    workspace.task("old", "old", json!({}));
    workspace.members(&["crates/mail", "crates/mail-jobs", "functions/tasks/old"]);
    workspace.write("lamplighter.toml", "[project]\ntasks = [\"crates/*-jobs\", \"./functions/tasks/*/\"]\n");
    assert_eq!(names(&workspace), ["old", "send-receipt", "send-reminder"]);

    workspace.write("crates/more-jobs/Cargo.toml", "[package]\nname = \"more-jobs\"\n");
    workspace.write(
        "lamplighter.toml",
        "[project]\ntasks = [\"crates/*-jobs\", \"nowhere/*\", \"/tmp/*\", \"crates/{a\"]\ntask = 1\n",
    );
    let error = workspace.run(&["tasks"]).failed();
    assert!(error.contains("project.task: unknown key: expected one of tasks"), "{error}");
    let patterns = "[project]\ntasks = [\"crates/*-jobs\", \"/tmp/*\", \"crates/{a\"]\n";
    workspace.write("lamplighter.toml", patterns);
    let error = workspace.run(&["tasks"]).failed();
    for fault in [
        "lamplighter.toml: project.tasks[1]: `/tmp/*` is not a folder below the workspace",
        "lamplighter.toml: project.tasks[2]: `crates/{a` is not a pattern",
    ] {
        assert!(error.contains(fault), "{error}");
    }
    workspace.write("lamplighter.toml", "[project]\ntasks = [\"crates/*-jobs\", \"nowhere/*\"]\n");
    let error = workspace.run(&["tasks"]).failed();
    for fault in [
        "crates/more-jobs/Cargo.toml: is not in the workspace: add `crates/more-jobs` to `members` in Cargo.toml",
        "lamplighter.toml: project.tasks[1]: `nowhere/*` matches no package of the workspace",
    ] {
        assert!(error.contains(fault), "{error}");
    }
}

#[test]
fn l01_a_package_without_a_task_is_named() {
    let workspace = Workspace::new();
    workspace.package("functions/tasks/other", "other", "");
    std::fs::rename(
        workspace.path("functions/tasks/other/src/main.rs"),
        workspace.path("functions/tasks/other/src/lib.rs"),
    )
    .unwrap();
    workspace.write("functions/tasks/db/forgotten/Cargo.toml", "[package]\nname = \"forgotten\"\n");
    let error = workspace.run(&["tasks"]).failed();
    assert!(error.starts_with("error: 2 faults\n"), "{error}");
    for fault in [
        "functions/tasks/other/Cargo.toml: bin: package `other` has no task: it needs a binary",
        "functions/tasks/db/forgotten/Cargo.toml: is not in the workspace: add `functions/tasks/db/forgotten`",
    ] {
        assert!(error.contains(fault), "{error}");
    }
}

#[test]
fn l01_a_binary_that_describes_no_task_is_named() {
    let workspace = Workspace::new();
    workspace.package(
        "functions/tasks/a",
        "a",
        "fn main() { eprintln!(\"no such file\"); std::process::exit(3) }",
    );
    workspace.package("functions/tasks/b", "b", "fn main() { println!(\"hello\") }");
    let error = workspace.run(&["tasks"]).failed();
    for fault in [
        "functions/tasks/a/src/main.rs: the binary `a` of package `a` has no usable task: `a describe` failed with exit status: 3: \
         no such file",
        "functions/tasks/b/src/main.rs: the binary `b` of package `b` has no usable task: `b describe` printed no definition: \
         expected value",
    ] {
        assert!(error.contains(fault), "{error}");
    }
}

#[test]
fn n05_a_package_of_another_version_is_refused_with_a_remedy() {
    let workspace = Workspace::new();
    workspace.task("old", "old", json!({ "lamplighter": "0.0.3" }));
    workspace.task("new", "new", json!({ "lamplighter": "99.1.2" }));
    let error = workspace.run(&["tasks"]).failed();
    for expected in [
        "functions/tasks/old/src/main.rs: the binary `old` of package `old` has no usable task: it was built with `lamplighter` \
         0.0.3, but this program is lamplighter 0.1.0: set the version of `lamplighter` to `0.1` in `[workspace.dependencies]`, or in the manifest of `old`",
        "it was built with `lamplighter` 99.1.2, but this program is lamplighter 0.1.0: run `cargo install 'lamplighter-cli@^99'`",
    ] {
        assert!(error.contains(expected), "{error}");
    }
    // A dependency in a manifest is refused before anything is compiled.
    workspace.task("old", "old", json!({}));
    workspace.remove("functions/tasks/new");
    let manifest = "functions/tasks/old/Cargo.toml";
    workspace
        .write(manifest, &format!("{}[dependencies]\nlamplighter = \"0.0.3\"\n", workspace.read(manifest)));
    let error = workspace.run(&["tasks"]).failed();
    assert_eq!(
        error,
        "error: functions/tasks/old/Cargo.toml: dependencies: depends on `lamplighter` 0.0.3, but this program is lamplighter \
         0.1.0: set the version of `lamplighter` to `0.1` in `[workspace.dependencies]`, or in the manifest of `old`\n"
    );
}

#[test]
fn l02_an_error_names_both_tasks_with_the_same_name() {
    let workspace = Workspace::new();
    workspace.task("db/migrate", "db-migrate", json!({}));
    workspace.task("twin", "twin", json!({ "name": "db-migrate" }));
    let error = workspace.run(&["tasks"]).failed();
    let expected = "functions/tasks/twin/src/main.rs: name: `db-migrate` is also the name of \
                    functions/tasks/db/migrate/src/main.rs";
    assert!(error.contains(expected), "{error}");
    workspace.remove("functions/tasks/twin");

    workspace.package("functions/tasks/twin", "twin", "fn main() {}");
    let binary = "\n[[bin]]\nname = \"db-migrate\"\npath = \"src/main.rs\"\n";
    let manifest = workspace.read("functions/tasks/twin/Cargo.toml");
    workspace.write("functions/tasks/twin/Cargo.toml", &format!("{manifest}{binary}"));
    let error = workspace.run(&["tasks"]).failed();
    assert!(error.contains("the binary `db-migrate` is also that of"), "{error}");
}

fn names(workspace: &Workspace) -> Vec<String> {
    let tasks: Vec<Value> = serde_json::from_str(&workspace.run(&["tasks", "--json"]).succeeded()).unwrap();
    tasks.iter().map(|task| task["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_task_that_does_not_compile_shows_the_compilers_error() {
    let workspace = Workspace::new();
    workspace.package("functions/tasks/a", "a", "fn main() { nonsense }");
    let ended = workspace.run(&["tasks"]);
    assert!(ended.stderr.contains("cannot find value `nonsense`"), "{}", ended.stderr);
    assert!(ended.failed().contains("`cargo build` failed with exit status: 101: see its output above"));
}
