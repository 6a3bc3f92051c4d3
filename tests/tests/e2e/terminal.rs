//! `lamplighter` as a process at a terminal: its questions, and the effect of Ctrl-C.
//!
//! All checks are in one test, since they package the same functions into the same folder.

use std::process::Command;

use lamplighter_e2e::{
    CTRL_C, CommandOutput, Home, Terminal, expire_sessions, lamplighter, processes_with, wait_until,
};

/// The configuration of a purge that takes half a second for each session.
const SLOW: &str = r#"{"batch_size": 1, "pause_ms": 500}"#;

#[test]
fn k02_the_program_asks_at_a_terminal() {
    without_a_terminal_it_shows_the_usage();
    it_asks_for_missing_arguments();
    let home = Home::new();
    it_asks_for_a_task_and_runs_it(&home);
    k03_the_wait_for_a_job_shows_its_progress(&home);
    an_interrupt_cancels_the_run(&home);
    a_second_interrupt_ends_the_program_and_its_functions(&home);
}

fn without_a_terminal_it_shows_the_usage() {
    for arguments in [&[][..], &["pulse"], &["run"], &["why"]] {
        let ended = CommandOutput::of(lamplighter().args(arguments));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("Usage: lamplighter"), "{arguments:?}: {ended:?}");
    }
}

fn it_asks_for_missing_arguments() {
    let mut terminal = Terminal::start(&lamplighter());
    terminal.expect("Which command?");
    terminal.expect("completions");
    terminal.expect("Number or name:");
    terminal.press("nonsense\n");
    terminal.expect("Number or name:");
    terminal.press("why\n");
    terminal.expect("Which task?");
    terminal.expect("run-migrations");
    terminal.expect("Number or name:");
    terminal.press("run-migrations\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("run-migrations has no schedule"), "{shown}");

    // The end of the input is treated as if there were no terminal.
    let mut terminal = Terminal::start(lamplighter().arg("run"));
    terminal.expect("Number or name:");
    terminal.press("\u{4}");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("required arguments were not provided"), "{shown}");
}

fn it_asks_for_a_task_and_runs_it(home: &Home) {
    let mut terminal = Terminal::start(&home.command(&["run"]));
    terminal.expect("Which task?");
    terminal.expect("Number or name:");
    terminal.press("run-migrations\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("run-migrations COMPLETED in "), "{shown}");
    let seeded = home.run(&["run", "seed-data"]);
    assert_eq!(seeded.code, Some(0), "{seeded:?}");
}

fn k03_the_wait_for_a_job_shows_its_progress(home: &Home) {
    let enqueued = home.run(&["enqueue", "import-users", r#"{"users": []}"#]);
    let job = enqueued.stdout.trim();
    // No runner takes it.
    let mut terminal = Terminal::start(&home.command(&["result", job, "--timeout", "2s"]));
    terminal.expect(&format!("waiting for {job} to end ("));
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("has not ended yet"), "{shown}");
    // Elsewhere it prints the outcome only.
    let piped = home.run(&["result", job, "--timeout", "10ms"]);
    assert!(piped.code == Some(1) && !piped.stderr.contains("waiting for"), "{piped:?}");
}

fn an_interrupt_cancels_the_run(home: &Home) {
    expire_sessions(&home.database(), 120);
    let mut terminal = Terminal::start(&home.command(&["run", "purge-expired", "--config", SLOW]));
    terminal.expect("purge-expired is running");
    terminal.press(CTRL_C);
    terminal.expect("cancelling run ");
    terminal.expect("purge-expired CANCELLED in ");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("of purge-expired ended CANCELLED"), "{shown}");
    expect_no_functions(home);
    let last = home.run(&["history", "purge-expired", "--json"]).json();
    assert_eq!(last["runs"][0]["status"], "CANCELLED", "{last:#}");
}

fn a_second_interrupt_ends_the_program_and_its_functions(home: &Home) {
    let mut terminal = Terminal::start(&home.command(&["run", "purge-expired", "--config", SLOW]));
    terminal.expect("purge-expired is running");
    // It cannot end before the second interrupt.
    let name =
        |process: &String| std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    // The program and the watchdog of its functions have the variable, too.
    let is_function = |process: &String| !["lamplighter", "sh"].contains(&name(process).trim());
    let functions: Vec<_> = processes_of(home).into_iter().filter(is_function).collect();
    assert!(Command::new("kill").args(["-s", "STOP"]).args(functions).status().unwrap().success());
    terminal.press(CTRL_C);
    terminal.expect("cancelling run ");
    terminal.press(CTRL_C);
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("no longer waiting for run"), "{shown}");
    expect_no_functions(home);
    let last = home.run(&["history", "purge-expired", "--json"]).json();
    let last = &last["runs"][0];
    assert_eq!((&last["status"], &last["error"]["kind"]), (&"FAILED".into(), &"system".into()), "{last:#}");
    // The next run does not wait for the lost run's lease.
    let next = home.run(&["run", "purge-expired"]);
    assert_eq!(next.code, Some(0), "{next:?}");
}

/// Waits until no process is left.
fn expect_no_functions(home: &Home) {
    wait_until("its functions are gone", || processes_of(home).is_empty());
}

/// The processes of the program and its functions, which have the home's database in their environment.
fn processes_of(home: &Home) -> Vec<String> {
    processes_with(&format!("DATABASE_URL=sqlite:{}", home.database().display()))
}
