//! Runners and commands work as usual if the reader of their output is gone, does not read or has a full disk. Control
//! characters in their output are escaped.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
};

use serde_json::{Value, json};

use super::stage::{LIMIT, Stage, until};

/// Sets a title, clears the screen, returns the cursor, and reverses the text direction.
const OBEYED: &str = "\u{1b}]0;pwned\u{7}\u{1b}[2Jcleared\r\nsecond line\nthird\u{202e}abc\u{9b}2J";
const SHOWN: &str = r"\u{1b}]0;pwned\u{7}\u{1b}[2Jcleared\r\nsecond line\nthird\u{202e}abc\u{9b}2J";
/// The number of lines that the probe prints.
const FLOOD: usize = 10_000;

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

fn signal(runner: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &runner.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits for the end of a runner, and returns its exit code.
fn ended(mut runner: Child) -> Option<i32> {
    until("the end of the runner", || runner.try_wait().unwrap()).code()
}

/// A stage with a queue task, and a started runner.
fn started(arguments: &[&str], stdout: Stdio, stderr: Stdio) -> (Stage, Child) {
    let stage = Stage::new().queue("queue-probe", &json!({}));
    let mut command = stage.command(arguments, &[]);
    let runner = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0).spawn().unwrap();
    until("the runner", || {
        let standing = stage.workspace.run(&["runner", "status", "--json"]).succeeded();
        (standing != "[]\n").then_some(())
    });
    (stage, runner)
}

/// The first line of a runner.
fn first_line(runner: &mut Child) -> BufReader<ChildStdout> {
    let mut reader = BufReader::with_capacity(512, runner.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("started") || line.contains("is running in"), "{line}");
    reader
}

/// The message of a log line, with or without its run.
fn message(line: &str) -> String {
    let whole = serde_json::from_str::<Value>(line).ok();
    whole.and_then(|line| Some(line["message"].as_str()?.to_owned())).unwrap_or_else(|| line.to_owned())
}

/// Runs three jobs that print, and checks that their log is complete.
fn jobs_go_on(stage: &Stage) {
    for mark in ["one", "two", "three"] {
        let job = stage.enqueue("queue-probe", "flood", mark, &[]);
        let over = stage.over(&job);
        assert_eq!(
            (&over["status"], &over["message"]),
            (&json!("COMPLETED"), &json!("poured out")),
            "{over:#}"
        );
    }
    // The lines of a job may be written shortly after its response.
    until("the whole log", || {
        let log = stage.workspace.run(&["logs", "queue-probe", "--json", "--limit", "65535"]).succeeded();
        let said: Vec<_> = log.lines().map(message).collect();
        let count = |mark: &str| said.iter().filter(|line| line.starts_with(mark)).count();
        (["one ", "two ", "three "].map(count) == [FLOOD; 3]).then_some(())
    });
}

#[test]
fn a_runner_continues_without_a_reader() {
    for arguments in [&["start", "--json"][..], &["start"]] {
        let (stage, mut runner) = started(arguments, Stdio::piped(), Stdio::piped());
        drop((first_line(&mut runner), runner.stderr.take()));
        jobs_go_on(&stage);
        signal(&runner, "TERM");
        assert_eq!(ended(runner), Some(0));
        assert_eq!(stage.processes(), 0);
    }
}

#[test]
fn a_runner_continues_with_a_full_output() {
    for arguments in [&["start", "--json"][..], &["start"]] {
        let (stage, runner) = started(arguments, full(), full());
        jobs_go_on(&stage);
        signal(&runner, "TERM");
        assert_eq!(ended(runner), Some(0));
        assert_eq!(stage.processes(), 0);
    }
}

#[test]
fn a_runner_continues_with_a_stopped_reader_and_reports_the_dropped_lines() {
    let (stage, mut runner) = started(&["start", "--json"], Stdio::piped(), Stdio::piped());
    let (stdout, stderr) = (first_line(&mut runner), runner.stderr.take());
    jobs_go_on(&stage);
    // The reader reads again, until the runner has caught up with it.
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in stdout.lines() {
            let _ = sender.send(serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        }
    });
    let mut said = Vec::new();
    let mut read_until = |is_last: &dyn Fn(&Value) -> bool| {
        while said.last().is_none_or(|line| !is_last(line)) {
            said.push(lines.recv_timeout(LIMIT).unwrap());
        }
    };
    read_until(&|line| line["event"] == "lines_missed");
    let job = stage.enqueue("queue-probe", "say", "afterwards", &[]);
    stage.over(&job);
    read_until(&|line| line["message"] == "afterwards");
    signal(&runner, "TERM");
    assert_eq!(ended(runner), Some(0));
    drop(stderr);
    said.extend(lines.iter());
    let missed: u64 = said
        .iter()
        .filter(|line| line["event"] == "lines_missed")
        .map(|line| line["count"].as_u64().unwrap())
        .sum();
    let shown = said.iter().filter(|line| line["message"].as_str().is_some_and(|it| it.len() > 590)).count();
    assert!(missed > 0 && shown > 0 && shown < 3 * FLOOD, "{missed} missed, {shown} shown");
    assert!(said.iter().any(|line| line["message"] == "afterwards"));
    assert_eq!(said.last().unwrap()["event"], "stopped");
}

#[test]
fn a_runner_stops_gracefully_with_a_reader_that_never_reads_again() {
    let (stage, mut runner) = started(&["start"], Stdio::piped(), Stdio::piped());
    let unread = (first_line(&mut runner), runner.stderr.take());
    jobs_go_on(&stage);
    signal(&runner, "TERM");
    assert_eq!(ended(runner), Some(0));
    drop(unread);
    let status = stage.workspace.run(&["runner", "status", "--json"]).succeeded();
    assert_eq!(status, "[]\n", "it has removed its own record");
}

#[test]
fn logs_are_read_and_followed_from_one_file_to_the_next() {
    let (stage, runner) = started(&["start"], Stdio::null(), Stdio::null());
    stage.over(&stage.enqueue("queue-probe", "say", "begun", &[]));
    let mut follow = stage.command(&["logs", "queue-probe", "--follow", "--json", "--limit", "1"], &[]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut followed = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(followed.next().is_some(), "the last line");
    // Three of them do not fit into one file.
    jobs_go_on(&stage);
    let full = stage.workspace.path(".lamplighter/logs/shop-queue-probe.log.1");
    let size = full.metadata().unwrap().len();
    assert!((9 << 20..=10 << 20).contains(&size), "{size}");
    let poured = |line: &String| ["one ", "two ", "three "].iter().any(|mark| line.starts_with(mark));
    let reading = thread::spawn(move || {
        followed.map(|line| message(&line)).filter(poured).take(3 * FLOOD).collect::<Vec<_>>()
    });
    until("all lines", || reading.is_finished().then_some(()));
    let lines = reading.join().unwrap();
    let expected = ["one", "two", "three"]
        .iter()
        .flat_map(|mark| (0..FLOOD).map(move |number| format!("{mark} {number:0590}")));
    assert!(lines.into_iter().eq(expected), "each line once, in order");
    // The reader is gone with the iterator.
    stage.over(&stage.enqueue("queue-probe", "say", "ended", &[]));
    assert_eq!(until("the end of `logs`", || follow.try_wait().unwrap()).code(), Some(0));
    signal(&runner, "TERM");
    assert_eq!(ended(runner), Some(0));
}

/// Returns true if a text has only printable characters and line ends.
fn is_shown(text: &str) -> bool {
    let is_obeyed = |c: char| c != '\n' && c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
    !text.chars().any(is_obeyed)
}

#[test]
fn control_characters_of_tasks_are_escaped() {
    let stage = Stage::new().task("ansi", "@hourly", "deny").queue("queue-probe", &json!({}));
    stage.workspace.dispatcher();
    stage.write("ansi", "@hourly", OBEYED);
    let ran = stage.workspace.run(&["run", "ansi"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(is_shown(&ran.stdout) && is_shown(&ran.stderr), "{:?}{:?}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(SHOWN), "{}", ran.stdout);

    for line in [&["history"][..], &["logs", "ansi"]] {
        let text = stage.workspace.run(line).succeeded();
        assert!(is_shown(&text) && text.contains(SHOWN), "{line:?}: {text:?}");
        let records = text.lines().filter(|line| line.contains("pwned")).count();
        assert_eq!(records, text.matches("pwned").count(), "one line a record: {text}");
    }
    let history = stage.history("ansi");
    assert!(
        history.iter().all(|run| run["error"]["message"] == OBEYED || run["message"] == OBEYED),
        "{history:#?}"
    );

    let mut start = stage.command(&["start"], &[]);
    let mut runner = start.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
    let mut reader = first_line(&mut runner);
    let job = stage.enqueue("queue-probe", "say", OBEYED, &[]);
    stage.over(&job);
    for line in [&["status", &job][..], &["jobs", "list"], &["history", "queue-probe"]] {
        let text = stage.workspace.run(line).succeeded();
        assert!(is_shown(&text) && text.contains("pwned"), "{line:?}: {text:?}");
    }
    signal(&runner, "TERM");
    let (mut said, mut stderr) = (String::new(), String::new());
    reader.read_to_string(&mut said).unwrap();
    runner.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(is_shown(&said) && said.contains(r"\u{1b}]0;pwned"), "{said:?}");
    assert!(is_shown(&stderr), "{stderr:?}");
    assert_eq!(ended(runner), Some(0));
}

#[test]
fn a_command_without_a_reader_exits_by_the_purpose_of_its_output() {
    let stage = Stage::new().task("tick", "@hourly", "");
    stage.workspace.dispatcher();
    stage.workspace.run(&["run", "tick"]).succeeded();
    for (line, code, when_full) in [
        (&["run", "tick"][..], 0, 0),
        (&["run", "tick", "--json"], 0, 0),
        (&["disable", "tick"], 0, 0),
        (&["run", "tick"], 1, 1),
        (&["enable", "tick"], 0, 0),
        (&["history"], 0, 1),
        (&["history", "--json"], 0, 1),
        (&["tasks"], 0, 1),
        (&["stats", "--json"], 0, 1),
        (&["logs", "tick"], 0, 1),
        (&["completions", "bash"], 0, 1),
        (&["nonsense"], 2, 2),
    ] {
        let mut command = stage.command(line, &[]);
        let mut gone = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((gone.stdout.take(), gone.stderr.take()));
        assert_eq!(ended(gone), Some(code), "{line:?}, gone");
        let mut command = stage.command(line, &[]);
        let output = command.stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(when_full), "{line:?}, full");
        let command = stage.command(line, &[]).stdout(full()).stderr(full()).spawn().unwrap();
        assert_eq!(ended(command), Some(when_full), "{line:?}, both full");
    }
}
