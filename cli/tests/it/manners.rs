//! K01, K03, K04, K06: conventions of all commands. A command that is missing in the tables here fails the first test.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use lamplighter_aws::jobs::{JobOutcome, Jobs, Waker, Worker};
use lamplighter_cli::{
    stack::target::Place,
    words::{Locale, Words},
};
use lamplighter_core::{
    id::RunId,
    job::{AttemptOutcome, Job, JobKey, Limit, NewJob},
    pulse::Record,
    retry::Retry,
    run::{Attempt, ErrorKind, Run, RunError, Trigger},
    runner::{Runner, Running},
    status::Status,
};
use lamplighter_project::{catalog::Catalog, workspace::Workspace as Project};
use lamplighter_runner::home::HOME;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::fixture::Workspace;

/// Every command, with its required arguments.
const COMMANDS: [&[&str]; 30] = [
    &["new", "x", "--source=path:nowhere"],
    &["init"],
    &["add", "cron", "x"],
    &["generate"],
    &["enqueue", "send-mail"],
    &["status", "send-mail/01ARZ3NDEKTSV4RRFFQ69G5FAV"],
    &["result", "send-mail/01ARZ3NDEKTSV4RRFFQ69G5FAV"],
    &["abort", "send-mail/01ARZ3NDEKTSV4RRFFQ69G5FAV"],
    &["build", "--dev"],
    &["tasks"],
    &["up"],
    &["history"],
    &["run", "migrate"],
    &["retry", "migrate"],
    &["set", "migrate"],
    &["pulse", "status"],
    &["start"],
    &["dev"],
    &["runner", "status"],
    &["cancel", "migrate"],
    &["enable", "migrate"],
    &["disable", "migrate"],
    &["stats"],
    &["cost"],
    &["next"],
    &["why", "migrate"],
    &["types"],
    &["logs", "migrate"],
    &["completions", "bash"],
    &["jobs", "dead"],
];

/// Commands that only read, with arguments for the workspace below. `JOB` is an open job.
const READING: [&[&str]; 15] = [
    &["tasks"],
    &["history"],
    &["history", "migrate", "--status", "FAILED"],
    &["next"],
    &["why", "purge-expired-sessions-and-carts"],
    &["types"],
    &["stats"],
    &["cost"],
    &["logs", "migrate"],
    &["status", "JOB"],
    &["jobs", "list"],
    &["jobs", "dead"],
    &["jobs", "status", "JOB"],
    &["pulse", "status"],
    &["runner", "status"],
];

/// The commands of [`READING`] that print sentences or log lines instead of a table.
const SENTENCES: [&[&str]; 4] = [&["logs"], &["status"], &["jobs", "status"], &["pulse", "status"]];

/// The languages and terminal widths in which each command of [`READING`] is shown.
const SHOWN: [(Locale, usize); 6] = [
    (Locale::En, 20),
    (Locale::De, 20),
    (Locale::Pl, 20),
    (Locale::De, 47),
    (Locale::Pl, 80),
    (Locale::En, 120),
];

/// The commands of the program's help, from its first group to its options.
fn listed_commands() -> Vec<String> {
    let help = Workspace::empty().run(&["--help"]).succeeded();
    let lines = help.lines().skip_while(|line| *line != "Project:").take_while(|line| *line != "Options:");
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// A workspace whose table has a run of each final status, with long messages, several scripts and control characters. It also
/// has a failed job, an open one, a pulse, a dead runner and a log. Returns the open job too.
pub(crate) fn used() -> (Workspace, JobKey) {
    let workspace = Workspace::new();
    workspace.task("migrate", "migrate", json!({ "description": "Brings the tables of the shop to where the code expects them, whatever they were." }));
    workspace.task(
        "purge-expired-sessions-and-carts",
        "purge-expired-sessions-and-carts",
        json!({ "kind": "cron", "schedule": "*/15 8-17 * * mon-fri", "timezone": "America/Argentina/ComodRivadavia", "priority": "low" }),
    );
    let queue = json!({ "kind": "queue", "priority": "medium", "arguments_schema": { "type": "object" } });
    workspace.task("mail", "mail", queue);
    let said = "⚠️ \u{1b}[31mthe table 日本語テーブル cannot be read\u{1b}[0m:\r\nno such 👩‍👩‍👧‍👦, which is a \u{202e}pity\u{7}";
    let line = json!({ "timestamp": "2026-11-21T06:00:00.000Z", "level": "INFO", "run_id": RunId::new(Timestamp::UNIX_EPOCH, 1), "message": said });
    workspace.write(".lamplighter/logs/shop-migrate.log", &format!("{said}\n{line}\n"));
    let project = Project::discover(&workspace.path("")).unwrap();
    let catalog = Catalog::of(project, Vec::new());
    let place = Place { home: HOME.into(), ..Place::default() };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let open = runtime.block_on(async {
        let target = place.open(&catalog).await.unwrap();
        let table = &target.table;
        let now = Timestamp::now();
        let error = RunError::new(ErrorKind::Execution, said);
        for (i, status) in Status::ALL.into_iter().filter(|status| status.is_terminal()).enumerate() {
            let at = now - SignedDuration::from_hours(i64::try_from(i).unwrap());
            let task = ["migrate", "purge-expired-sessions-and-carts"][i % 2].parse().unwrap();
            let run = Run::begun(RunId::new(at, u128::try_from(i).unwrap()), task, Trigger::Manual, at);
            let attempt = Attempt { started_at: at, duration_ms: 61_000, error: Some(error.clone()) };
            let error = Some(error.clone());
            let run = Run { status, completed_at: at, attempts: vec![attempt], error, ..run };
            let _ = table.record(&run).await.unwrap();
        }
        let jobs = Jobs::new(table.clone(), Waker::Runner { to: None });
        let limit = Some(Limit { key: said.to_owned(), at_once: 2 });
        let job = NewJob { arguments: json!({ "to": said }), limit, ..NewJob::of("mail".parse().unwrap()) };
        let failed = jobs.enqueue(job.clone()).await.unwrap().key;
        let worker = Worker::new(now + SignedDuration::from_mins(1), Retry::default());
        let fail = async |job: &Job| {
            let attempts = vec![Attempt { started_at: now, duration_ms: 7, error: Some(error.clone()) }];
            let run = Run::begun(job.id, job.task.clone(), Trigger::Queue, now);
            let run = Run { status: Status::Failed, attempts, error: Some(error.clone()), ..run };
            AttemptOutcome { run, retryable: false }
        };
        assert!(matches!(jobs.process(&failed, &worker, fail).await.unwrap(), JobOutcome::Over(_)));
        let pulse = Record { duration_ms: Some(1500), errors: vec![said.to_owned()], ..Record::begun(now) };
        table.end_pulse(&pulse).await.unwrap();
        let task = "mail".parse().unwrap();
        let runner = Runner {
            instance: "a-machine-in-the-cellar-7".to_owned(),
            environment: "production".to_owned(),
            started_at: now,
            heartbeat_at: now - SignedDuration::from_hours(1),
            stopping: false,
            running: vec![Running { task, run_id: None, since: now }],
        };
        assert!(!table.heartbeat(&runner).await.unwrap());
        let open = jobs.enqueue(job).await.unwrap().key;
        target.close(&Words::new(Locale::En)).await;
        open
    });
    (workspace, open)
}

#[test]
fn k01_every_command_exits_with_0_for_help_2_for_unknown_options_and_1_for_failures() {
    let nowhere = Workspace::empty();
    let known: Vec<_> = COMMANDS.iter().map(|line| line[0].to_owned()).collect();
    for name in listed_commands() {
        assert!(known.contains(&name), "`{name}` is not in the table of this test");
    }
    for line in COMMANDS {
        let with = |more| nowhere.run(&[line, &[more]].concat());
        let help = with("--help");
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{line:?}");
        assert!(help.stdout.contains("Example"), "{line:?}: {}", help.stdout);
        let refused = with("--nonsense");
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{line:?}: {}", refused.stderr);
        if line[0] == "completions" {
            continue;
        }
        let failed = nowhere.run(line);
        assert_eq!((failed.code, failed.stdout.as_str()), (1, ""), "{line:?}: {}", failed.stderr);
        assert_eq!(failed.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{line:?}");
    }
}

#[test]
fn k03_output_fits_the_terminal_has_no_colour_in_a_pipe_and_is_json_on_request() {
    let (workspace, job) = used();
    let job = job.to_string();
    for line in READING {
        let line: Vec<_> = line.iter().map(|word| if *word == "JOB" { &job } else { *word }).collect();
        let is_table = !SENTENCES.iter().any(|command| line.starts_with(command));
        for (locale, columns) in SHOWN {
            let line = [&line[..], &["--locale", locale.as_str()]].concat();
            let text = workspace.run_with(&line, &[("COLUMNS", Path::new(&columns.to_string()))]).succeeded();
            assert!(
                !text.is_empty() && !text.contains(|c: char| c != '\n' && c.is_control() || c == '\u{202e}'),
                "{line:?}: {text:?}"
            );
            for row in text.lines().filter(|_| is_table) {
                assert!(row.width() <= columns, "{line:?} in {columns}: {row}");
            }
        }
        if ["stats", "cost", "logs"].contains(&line[0]) {
            // The answers of `stats` and `cost` depend on the current time, and a log has lines that are not JSON.
            continue;
        }
        let line = [&line[..], &["--json"]].concat();
        let json = workspace.run_with(&line, &[("CLICOLOR_FORCE", Path::new("1"))]).succeeded();
        let english: Value =
            serde_json::from_str(&json).unwrap_or_else(|error| panic!("{line:?}: {error}\n{json}"));
        let polish = workspace.run(&[&line[..], &["--locale", "pl"]].concat()).succeeded();
        assert_eq!(
            english,
            serde_json::from_str::<Value>(&polish).unwrap(),
            "{line:?} is the same in every language"
        );
    }
}

#[test]
fn k03_the_environment_forces_or_disables_colour() {
    let (workspace, _) = used();
    let one = Path::new("1");
    let forced = workspace.run_with(&["history"], &[("CLICOLOR_FORCE", one)]).succeeded();
    assert!(forced.contains("\u{1b}["), "{forced}");
    let refused = workspace.run_with(&["history"], &[("CLICOLOR_FORCE", one), ("NO_COLOR", one)]).succeeded();
    assert!(!refused.contains('\u{1b}'), "{refused:?}");
}

#[test]
fn k04_the_language_comes_from_the_option_then_from_the_environment() {
    let (workspace, _) = used();
    let history = |arguments: &[&str], locale: &str| {
        workspace
            .run_with(&[&["history"], arguments].concat(), &[("LAMPLIGHTER_LOCALE", Path::new(locale))])
            .succeeded()
    };
    assert!(history(&[], "de_AT.UTF-8").contains("fehlgeschlagen"));
    assert!(history(&[], "xx").contains("FAILED"));
    assert!(history(&["--locale", "pl"], "de").contains("nieudany"));
    assert!(workspace.run(&["--locale", "de", "history"]).succeeded().contains("übersprungen"));
    let refused = workspace.run(&["history", "--locale", "fr"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("`fr` is not a supported language: use `en`, `de` or `pl`"),
        "{}",
        refused.stderr
    );
}

#[test]
fn k06_there_is_a_completion_script_for_each_shell() {
    let workspace = Workspace::empty();
    let commands = listed_commands();
    assert!(commands.len() > 20, "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = workspace.run(&["completions", shell]).succeeded();
        for word in commands.iter().map(String::as_str).chain(["--json", "--status", "--locale"]) {
            let word = if shell == "fish" { word.trim_start_matches('-') } else { word };
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
}

/// Completes a line as bash does, word by word.
#[test]
fn k06_bash_completes_commands_and_options() {
    let script = Workspace::empty().run(&["completions", "bash"]).succeeded();
    let all_completed = |lines: &[&[&str]]| {
        let mut ask =
            format!("{script}\ncompletes=$(complete -p lamplighter | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n");
        for line in lines {
            let (last, words) = (line.len() - 1, line.join("' '"));
            let (word, previous) = (line[last], line[last - 1]);
            let completion = format!(
                "COMP_WORDS=('{words}'); COMP_CWORD={last}; $completes lamplighter '{word}' '{previous}'; \
                 printf '%s ' \"${{COMPREPLY[@]}}\"; echo\n"
            );
            ask.push_str(&completion);
        }
        let output = std::process::Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        answer.lines().map(words).collect::<Vec<_>>()
    };
    let completed = |line: &[&str]| all_completed(&[line]).remove(0);
    let commands = listed_commands();
    let lines: Vec<_> = commands.iter().map(|command| ["lamplighter", command, "--"]).collect();
    let options = all_completed(&lines.iter().map(<[&str; 3]>::as_slice).collect::<Vec<_>>());
    assert_eq!(options.len(), commands.len());
    for (command, options) in commands.iter().zip(options) {
        assert!(options.contains(&"--help".to_owned()), "{command}: {options:?}");
    }
    assert_eq!(completed(&["lamplighter", "gen"]), ["generate"]);
    assert_eq!(completed(&["lamplighter", "history", "--stat"]), ["--status"]);
    assert!(completed(&["lamplighter", ""]).contains(&"enqueue".to_owned()));
}
