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
    assert!(target.path().join("debug/seed").is_file() && !workspace.path("target").exists());
}

#[test]
fn l01_a_package_without_a_task_is_named() {
    let workspace = Workspace::new();
    workspace.package("functions/tasks/other", "something-else", "fn main() {}");
    workspace.package("functions/tasks/Upper", "upper", "fn main() {}");
    workspace.write("functions/tasks/db/forgotten/Cargo.toml", "[package]\nname = \"forgotten\"\n");
    let error = workspace.run(&["tasks"]).failed();
    assert!(error.starts_with("error: 3 faults\n"), "{error}");
    for fault in [
        "functions/tasks/other/Cargo.toml: bin: package `something-else` has no task: it needs a binary `other`",
        "functions/tasks/Upper/Cargo.toml: the folder of package `upper`: `Upper` is not a task name",
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
    workspace.task("c", "c", json!({ "name": "d" }));
    let error = workspace.run(&["tasks"]).failed();
    for fault in [
        "functions/tasks/a/src/main.rs: package `a` has no task: `a describe` failed with exit status: 3: no such file",
        "functions/tasks/b/src/main.rs: package `b` has no task: `b describe` printed no definition: expected value",
        "functions/tasks/c/src/main.rs: package `c` has no task: the task is named `d`, but its folder is named `c`",
    ] {
        assert!(error.contains(fault), "{error}");
    }
}

#[test]
fn l02_an_error_names_both_tasks_with_the_same_name() {
    let workspace = Workspace::new();
    workspace.task("db/migrate", "db-migrate", json!({}));
    workspace.package("functions/tasks/db-migrate", "twin", "fn main() {}");
    let binary = "\n[[bin]]\nname = \"db-migrate\"\npath = \"src/main.rs\"\n";
    let manifest = workspace.read("functions/tasks/db-migrate/Cargo.toml");
    workspace.write("functions/tasks/db-migrate/Cargo.toml", &format!("{manifest}{binary}"));
    let error = workspace.run(&["tasks"]).failed();
    let expected = "functions/tasks/db/migrate/src/main.rs: name: `db-migrate` is also the name of \
                    functions/tasks/db-migrate/src/main.rs";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_task_that_does_not_compile_shows_the_compilers_error() {
    let workspace = Workspace::new();
    workspace.package("functions/tasks/a", "a", "fn main() { nonsense }");
    let ended = workspace.run(&["tasks"]);
    assert!(ended.stderr.contains("cannot find value `nonsense`"), "{}", ended.stderr);
    assert!(ended.failed().contains("`cargo build` failed with exit status: 101: see its output above"));
}
