//! Conditions of the start: bytes in the environment that are not UTF-8, hang-ups, folders, and the builds of `dev`.

use std::{
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt as _, fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{
    assert_ended_at_once, assert_only_cancelled,
    stage::{Runner, Stage, until, within},
};
use crate::fixture::Workspace;

fn foreign(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// Runs a command with these variables, which may have any bytes.
fn ended(stage: &Stage, line: &[&str], variables: &[(OsString, OsString)]) -> (Option<i32>, String) {
    let output = stage.command(line, &[]).envs(variables.iter().cloned()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn bytes_that_are_not_utf_8_are_passed_on_unchanged() {
    let stage = Stage::new().task("where", "every 1 seconds", "where").task("other", "@hourly", "");
    let variables = [
        (OsString::from("PROBED"), foreign(b"\xa3")),
        (foreign(b"PROBED\xff"), foreign(b"name")),
        (OsString::from("PROBED_EMPTY"), OsString::new()),
        (OsString::from("LAMPLIGHTER_PROBED"), foreign(b"\xa3")),
        (OsString::from("AWS_PROBED"), foreign(b"\xa3")),
    ];
    // This workspace has no dispatcher.
    let (code, said) = ended(&stage, &["up"], &variables);
    assert!(code == Some(1) && said.contains("functions/dispatcher"), "{code:?}: {said}");
    stage.workspace.dispatcher();
    for line in [
        &["tasks"][..],
        &["types"],
        &["next"],
        &["history"],
        &["stats"],
        &["runner", "status"],
        &["jobs", "list"],
        &["disable", "other"],
        &["build", "--dev"],
        &["generate"],
        &["run", "where"],
    ] {
        let (code, said) = ended(&stage, line, &variables);
        assert_eq!(code, Some(0), "{line:?}: {said}");
    }
    for command in ["start", "dev"] {
        let before = stage.noted().len();
        let mut runner = stage.command(&[command, "--json"], &[]);
        runner.envs(variables.iter().cloned()).stdout(Stdio::null()).process_group(0);
        let mut runner = runner.spawn().unwrap();
        until("runs", || (stage.noted().len() > before).then_some(()));
        assert!(Command::new("kill").arg(runner.id().to_string()).status().unwrap().success());
        let status = until("the end of the runner", || runner.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{command}");
    }
    let root = stage.workspace.path("").canonicalize().unwrap();
    let folder = root.display();
    for note in stage.noted().iter().filter(|note| note.starts_with("where /")) {
        let of = |name: &[u8], value: &[u8]| format!("{:?}: {:?}", name.to_vec(), value.to_vec());
        for passed in [
            of(b"PROBED", b"\xa3"),
            of(b"PROBED\xff", b"name"),
            of(b"PROBED_EMPTY", b""),
            of(b"PWD", folder.to_string().as_bytes()),
        ] {
            assert!(note.contains(&passed), "{passed} in {note}");
        }
        assert!(note.starts_with(&format!("where {folder} ")) && note.ends_with(" false"), "{note}");
    }
}

#[test]
fn s07_a_variable_that_is_read_and_not_utf_8_is_named() {
    let stage = Stage::new().task("tick", "@hourly", "");
    for (name, line) in [
        ("LAMPLIGHTER_LOCALE", &["tasks"][..]),
        ("COLUMNS", &["tasks"]),
        ("TASK_RUNNER_ENVIRONMENT", &["start"]),
        ("TASK_RUNNER_ENABLED", &["start"]),
        ("PULSE_INTERVAL", &["dev"]),
        ("AWS_PROFILE", &["history", "--aws"]),
        ("AWS_REGION", &["start", "--table", "shop"]),
        ("LAMPLIGHTER_BUCKET", &["history", "--table", "shop"]),
    ] {
        let (code, said) = ended(&stage, line, &[(name.into(), foreign(b"de\xa3"))]);
        let last = said.lines().last().unwrap_or_default();
        assert_eq!((code, last), (Some(2), format!("error: {name} is not UTF-8 text").as_str()), "{line:?}");
    }
    let (code, said) =
        ended(&stage, &["tasks", "--locale", "de"], &[("LAMPLIGHTER_LOCALE".into(), foreign(b"\xa3"))]);
    assert_eq!(code, Some(0), "an unused variable may have any bytes: {said}");
}

/// The command with SIGHUP set to `how`, independent of how this test was started.
fn with_hang_up(command: &Command, how: &str) -> Command {
    within(&["env", how], command)
}

#[test]
fn sighup_stops_a_runner_as_sigterm_does_and_counts_once() {
    let stage = Stage::new().task("obey", "every 1 seconds", "obey");
    let command = stage.command(&["start", "--grace", "3s", "--json"], &[]);
    let runner = Stage::follow(with_hang_up(&command, "--default-signal=HUP"));
    stage.until_noted(1);
    // A closing terminal sends SIGHUP twice: through its shell, and through the kernel.
    let began = Instant::now();
    let process = Pid::from_raw(runner.id().cast_signed()).unwrap();
    kill_process(process, Signal::HUP).unwrap();
    kill_process(process, Signal::HUP).unwrap();
    let (code, _, said) = runner.ended();
    let took = began.elapsed();
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(took >= Duration::from_secs(2), "the run in progress has the grace period: {took:?}");
    assert_eq!(said.last().unwrap()["event"], "stopped", "{said:#?}");
    assert_eq!(stage.processes(), 0);
    assert_only_cancelled(&stage.history("obey"));
}

#[test]
fn a_runner_under_nohup_outlives_its_terminal() {
    let stage = Stage::new().task("tick", "every 1 seconds", "");
    let command = stage.command(&["start", "--json"], &[]);
    let runner = Stage::follow(with_hang_up(&command, "--ignore-signal=HUP"));
    runner.signal("HUP");
    let before = stage.noted().len();
    stage.until_noted(before + 3);
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
}

#[test]
fn c19_a_signal_to_the_command_run_cancels_its_run_at_once() {
    for signal in ["HUP", "TERM", "INT"] {
        let stage = Stage::new().task("obey", "@hourly", "obey");
        stage.workspace.dispatcher();
        let mut command = with_hang_up(&stage.command(&["run", "obey"], &[]), "--default-signal=HUP");
        let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
        stage.until_noted(1);
        assert!(Command::new("kill").args(["-s", signal, &run.id().to_string()]).status().unwrap().success());
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_ended_at_once(&stage.history("obey")[0]);
        assert_eq!(stage.processes(), 0);
    }
}

#[test]
fn all_processes_have_the_projects_folder_and_no_build_removes_what_they_write() {
    let stage = Stage::new().task("where", "every 1 seconds", "where").side("side-probe", "where");
    let stage = stage.queue("queue-probe", &json!({}));
    stage.workspace.dispatcher();
    let root = stage.workspace.path("").canonicalize().unwrap();
    // From any folder.
    let below = stage.workspace.path("functions/tasks/where");
    let run = stage.command(&["run", "where"], &[]).current_dir(&below).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let mut runner = stage.command(&["dev", "--json"], &[]);
    runner.current_dir(&below);
    let mut runner = Stage::follow(runner);
    let job = stage.enqueue("queue-probe", "where", "x", &[]);
    assert_eq!(stage.over(&job)["data"], json!(root), "a job's process");
    let beside = until("the side task", || {
        fs::read_to_string(stage.workspace.path("where")).ok().filter(|it| it.ends_with('\n'))
    });
    assert_eq!(Path::new(beside.trim_end()), root, "a side task's process");
    stage.until_noted(3);
    stage.write("where", "every 1 seconds", "second");
    runner.until("the build", |line| line["event"] == "built");
    let before = stage.noted().len();
    stage.until_noted(before + 1);
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
    let folders: Vec<_> = stage.noted().into_iter().filter(|note| note.starts_with("where /")).collect();
    assert!(
        folders.iter().all(|note| note.starts_with(&format!("where {} ", root.display()))),
        "{folders:#?}"
    );
    let written = stage.workspace.read("written");
    let lines: Vec<_> = written.lines().collect();
    assert_eq!(lines.len(), folders.len() + 2, "nothing is lost: {written}");
    assert!(lines.contains(&"side") && lines.contains(&"queue"), "{written}");
    assert!(!stage.workspace.path("target/lamplighter/where/written").exists());
}

/// Each command that reads a workspace, with its required arguments.
const COMMANDS: [&[&str]; 25] = [
    &["abort", "a/01ARZ3NDEKTSV4RRFFQ69G5FAV"],
    &["build", "--dev"],
    &["cancel", "a"],
    &["dev"],
    &["disable", "a"],
    &["enable", "a"],
    &["enqueue", "a"],
    &["generate"],
    &["history"],
    &["jobs", "dead"],
    &["logs", "a"],
    &["next"],
    &["pulse", "status"],
    &["result", "a/01ARZ3NDEKTSV4RRFFQ69G5FAV"],
    &["retry", "a"],
    &["run", "a"],
    &["runner", "status"],
    &["set", "a"],
    &["start"],
    &["stats"],
    &["status", "a/01ARZ3NDEKTSV4RRFFQ69G5FAV"],
    &["tasks"],
    &["types"],
    &["up"],
    &["why", "a"],
];

#[test]
fn a_folder_whose_name_is_invalid_is_refused_by_all_commands_before_they_compile() {
    for (folder, suggested) in
        [("my_shop", "my-shop"), ("My Shop", "My-Shop"), ("123", "my-project"), ("ünï", "my-project")]
    {
        let workspace = Workspace::called(folder);
        workspace.task("a", "a", json!({}));
        let commands = if folder == "my_shop" { &COMMANDS[..] } else { &COMMANDS[20..] };
        for line in commands {
            let said = workspace.run(line).failed();
            assert!(
                said.starts_with(&format!(
                    "error: lamplighter.toml: name: is missing, and the workspace's folder `{folder}` gives none: "
                )) && said.contains(&format!("write `name = \"{suggested}\"`")),
                "{line:?}: {said}"
            );
        }
        assert!(!workspace.path("target").exists() && !workspace.path(".lamplighter").exists());
        workspace.write("lamplighter.toml", &format!("name = \"{suggested}\"\n"));
        workspace.run(&["generate"]).succeeded();
        workspace.run(&["history"]).succeeded();
    }
    let workspace = Workspace::called("shop");
    workspace.task("a", "a", json!({}));
    workspace.write("lamplighter.toml", "name = \"my_shop\"\n");
    let said = workspace.run(&["generate"]).failed();
    assert!(
        said.starts_with("error: lamplighter.toml: name: `my_shop` is not a stack's name: it must be "),
        "{said}"
    );
    workspace.write("lamplighter.toml", "");
    let refused = workspace.run(&["history", "--stack", "my_shop"]);
    assert!(
        refused.code == 2 && refused.stderr.contains("`my_shop` is not a stack's name"),
        "{}",
        refused.stderr
    );
}

#[test]
fn without_a_home_folder_of_the_user_the_projects_folder_is_used() {
    let stage = Stage::new().task("tick", "@hourly", "");
    stage.workspace.dispatcher();
    let user = std::env::home_dir().unwrap();
    let of_user =
        |name: &str, folder: &str| std::env::var_os(name).unwrap_or_else(|| user.join(folder).into());
    let mut command = stage.command(&["run", "tick"], &[]);
    command
        .env("CARGO_HOME", of_user("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", of_user("RUSTUP_HOME", ".rustup"));
    let output = command.env_remove("HOME").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stage.history("tick").len(), 1);
}

/// A `cargo` that writes a line for each build before it builds.
fn counted(stage: &Stage) -> (String, impl Fn() -> usize) {
    let (cargo, log) = (stage.workspace.path("../cargo"), stage.workspace.path("../builds"));
    let real = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let script =
        format!("#!/bin/sh\n[ \"$1\" = build ] && echo build >> '{}'\nexec '{real}' \"$@\"\n", log.display());
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let count = move || fs::read_to_string(&log).unwrap_or_default().lines().count();
    (cargo.display().to_string(), count)
}

/// Checks that a runner of `dev` builds changed tasks and nothing else.
fn builds_what_changes(stage: &Stage, runner: &mut Runner, builds: &impl Fn() -> usize, cargos: &[PathBuf]) {
    let workspace = &stage.workspace;
    let source = "functions/tasks/tick/src/main.rs";
    let text = workspace.read(source);
    // The first build may have written Cargo.lock, which is a source, too.
    let before = until("the builds of the beginning", || {
        let count = builds();
        thread::sleep(Duration::from_secs(2));
        (builds() == count).then_some(count)
    });
    for path in
        ["notes.ignored", "functions/tasks/tick/x.ignored", "made/deep/er.rs", "app.sqlite", ".hidden/x.rs"]
    {
        workspace.write(path, "1");
    }
    for folder in cargos {
        fs::create_dir_all(folder.join("more/deep")).unwrap();
        fs::write(folder.join("more/deep/x.rs"), "1").unwrap();
    }
    thread::sleep(Duration::from_secs(2));
    assert_eq!(builds(), before, "none of these files is a source");

    let built = |runner: &mut Runner, word: &'static str| {
        runner.until(word, |line| line["event"] == "built");
    };
    workspace.write(source, &text.replace("first", "second"));
    built(runner, "a written file");
    // As many editors write files.
    workspace.write("functions/tasks/tick/src/main.rs~", &text.replace("first", "third"));
    fs::rename(workspace.path("functions/tasks/tick/src/main.rs~"), workspace.path(source)).unwrap();
    built(runner, "a file over another");
    workspace.write("functions/tasks/tick/src/deep/er/mod.rs", "pub const X: u8 = 1;");
    workspace.write(source, &format!("#[path = \"deep/er/mod.rs\"] mod er;\n{text}"));
    built(runner, "a new folder");
    workspace.write(
        "functions/tasks/tick/src/deep/er/mod.rs",
        "pub const X: u8 = 2; pub fn f() {}\n#[used] static Y: [u8; 9] = [3; 9];",
    );
    built(runner, "a file in it");
    fs::remove_file(workspace.path("functions/tasks/tick/src/deep/er/mod.rs")).unwrap();
    runner.until("a deleted file", |line| line["event"] == "build_failed");
}

#[test]
fn dev_rebuilds_changed_tasks_and_ignores_gitignored_files_and_cargos_folders() {
    let stage = Stage::new().task("tick", "@hourly", "");
    stage.workspace.write(".gitignore", "*.ignored\n/made/\n");
    let target = stage.workspace.path("out");
    let (cargo, builds) = counted(&stage);
    let intermediate = stage.workspace.path("intermediate");
    let variables = [
        ("CARGO", cargo.as_str()),
        ("CARGO_TARGET_DIR", target.to_str().unwrap()),
        ("CARGO_BUILD_BUILD_DIR", intermediate.to_str().unwrap()),
    ];
    let mut runner = stage.start(&["dev"], &variables);
    assert!(runner.said.iter().all(|line| line["event"] != "looking"), "{:#?}", runner.said);
    builds_what_changes(&stage, &mut runner, &builds, &[target, intermediate]);
    runner.signal("TERM");
    let (code, _, said) = runner.ended();
    assert_eq!(code, Some(0));
    assert!(said.iter().all(|line| line["event"] != "looking"), "{said:#?}");
}

#[test]
fn dev_polls_the_sources_if_the_system_has_no_watches_left() {
    if !can(&["unshare", "-r", "true"]) {
        eprintln!(
            "skipped: this machine does not permit a user namespace, in which watches could be limited"
        );
        return;
    }
    let stage = Stage::new().task("tick", "@hourly", "");
    stage.workspace.write(".gitignore", "*.ignored\n/made/\n");
    let (cargo, builds) = counted(&stage);
    let command = stage.command(&["dev", "--json"], &[("CARGO", &cargo)]);
    let limited = "echo 3 > /proc/sys/user/max_inotify_watches; exec \"$0\" \"$@\"";
    let mut runner = Stage::follow(within(&["unshare", "-r", "sh", "-c", limited], &command));
    let looks = runner.until("event `looking`", |line| line["event"] == "looking");
    assert!(looks["message"].as_str().unwrap().contains("watch limit"), "{looks:#}");
    builds_what_changes(&stage, &mut runner, &builds, &[stage.workspace.path("target")]);
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
}

fn can(line: &[&str]) -> bool {
    let status = Command::new(line[0]).args(&line[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
