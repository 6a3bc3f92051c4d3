//! `lamplighter` at a terminal, as a process: what it asks there, and what Ctrl-C does.
//!
//! One test, since everything here packages the same functions into the same folder.

use lamplighter_e2e::{
    CTRL_C, Ended, Home, Terminal, expire_sessions, lamplighter, processes_with, wait_until,
};

/// A purge that takes half a second for each session.
const SLOW: &str = r#"{"batch_size": 1, "pause_ms": 500}"#;

#[test]
fn k02_a_person_at_a_terminal_is_asked_and_heeded() {
    what_is_no_terminal_is_not_asked();
    what_is_missing_is_asked_for_at_a_terminal();
    let home = Home::new();
    a_task_is_asked_for_and_run(&home);
    an_interrupt_asks_the_run_to_end(&home);
    a_second_interrupt_ends_the_program_and_its_functions(&home);
}

fn what_is_no_terminal_is_not_asked() {
    for arguments in [&[][..], &["pulse"], &["run"], &["why"]] {
        let ended = Ended::of(lamplighter().args(arguments));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("Usage: lamplighter"), "{arguments:?}: {ended:?}");
    }
}

fn what_is_missing_is_asked_for_at_a_terminal() {
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

    // The end of the input is a no: then it is as where nobody can be asked.
    let mut terminal = Terminal::start(lamplighter().arg("run"));
    terminal.expect("Number or name:");
    terminal.press("\u{4}");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("required arguments were not provided"), "{shown}");
}

fn a_task_is_asked_for_and_run(home: &Home) {
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

fn an_interrupt_asks_the_run_to_end(home: &Home) {
    expire_sessions(&home.database(), 120);
    let mut terminal = Terminal::start(&home.command(&["run", "purge-expired", "--config", SLOW]));
    terminal.expect("purge-expired is running");
    terminal.press(CTRL_C);
    terminal.expect("cancelling run ");
    terminal.expect("purge-expired CANCELLED in ");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("of purge-expired ended CANCELLED"), "{shown}");
    nothing_is_left(home);
    let last = home.run(&["history", "purge-expired", "--json"]).json();
    assert_eq!(last["runs"][0]["status"], "CANCELLED", "{last:#}");
}

fn a_second_interrupt_ends_the_program_and_its_functions(home: &Home) {
    let mut terminal = Terminal::start(&home.command(&["run", "purge-expired", "--config", SLOW]));
    terminal.expect("purge-expired is running");
    terminal.press(CTRL_C);
    terminal.expect("cancelling run ");
    terminal.press(CTRL_C);
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("no longer waiting for run"), "{shown}");
    nothing_is_left(home);
    let last = home.run(&["history", "purge-expired", "--json"]).json();
    let last = &last["runs"][0];
    assert_eq!((&last["status"], &last["error"]["kind"]), (&"FAILED".into(), &"system".into()), "{last:#}");
    // Nobody waits for its lease.
    let next = home.run(&["run", "purge-expired"]);
    assert_eq!(next.code, Some(0), "{next:?}");
}

/// The functions have the home's database in their environment, and nobody else has.
fn nothing_is_left(home: &Home) {
    let variable = format!("DATABASE_URL=sqlite:{}", home.database().display());
    wait_until("its functions are gone", || processes_with(&variable) == 0);
}
