//! `lamplighter logs`: what a task, or one of its runs, has said.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
    time::Duration,
};

use anstream::println;
use anyhow::{Context as _, bail};
use lamplighter_core::id::RunId;
use serde_json::Value;

use crate::{
    known::{self, Misuse, Named},
    say,
    target::Place,
    words::Words,
    workspace::Workspace,
};

/// How often a followed file is looked at.
const PAUSE: Duration = Duration::from_millis(300);

/// Prints the log of a task, or of one run. In AWS it says by which command the log is read there.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter logs purge-expired --limit 100 --follow")]
pub(crate) struct Arguments {
    /// A task, or a run by its id.
    #[arg(value_name = "TASK|RUN")]
    what: String,
    /// How many lines, the newest ones.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// Goes on with what is said from now on, until it is ended.
    #[arg(long)]
    follow: bool,
    /// Prints the lines as they are: those of tasks are JSON, one object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    let (tasks, run) = named(words, &workspace, &arguments.what)?;
    let stack = arguments.place.stack(&workspace)?;
    if arguments.place.is_aws() {
        println!("{}", say!(words, "logs-in-aws"));
        for task in tasks {
            std::println!("{}", command(arguments, &format!("{stack}-{task}"), run));
        }
        return Ok(());
    }
    let folder = arguments.place.home(&workspace).join("logs");
    let files: Vec<_> = tasks.iter().map(|task| folder.join(format!("{stack}-{task}.log"))).collect();
    let mut logs = files.into_iter().map(Log::open).collect::<anyhow::Result<Vec<_>>>()?;
    let mut last = VecDeque::new();
    for log in &mut logs {
        log.read(|line| {
            if is_of(&line, run) {
                last.push_back(line);
                if last.len() > usize::from(arguments.limit) {
                    last.pop_front();
                }
            }
        })?;
    }
    if last.is_empty() && !arguments.follow {
        if arguments.json {
            return Ok(());
        }
        println!("{}", say!(words, "logs-none"));
    }
    for line in last {
        print(&line, arguments.json);
    }
    if !arguments.follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(PAUSE);
        for log in &mut logs {
            log.read(|line| {
                if is_of(&line, run) {
                    print(&line, arguments.json);
                }
            })?;
        }
    }
}

/// The tasks whose logs are read, and the run whose lines are wanted.
fn named(words: &Words, workspace: &Workspace, word: &str) -> Result<(Vec<String>, Option<RunId>), Misuse> {
    Ok(match known::task_or_run(words, workspace, word)? {
        Named::Task(task) => (vec![task.to_string()], None),
        Named::Run(run) => (workspace.tasks.iter().map(|task| task.name.to_string()).collect(), Some(run)),
    })
}

/// The command that reads the log in AWS.
fn command(arguments: &Arguments, function: &str, run: Option<RunId>) -> String {
    let mut words = vec![format!("aws logs filter-log-events --log-group-name /aws/lambda/{function}")];
    words.extend(run.map(|run| format!("--filter-pattern '{{ $.run_id = \"{run}\" }}'")));
    let place = &arguments.place;
    for (option, value) in [("--profile", &place.profile), ("--region", &place.region)] {
        words.extend(value.as_ref().map(|value| format!("{option} {value}")));
    }
    words.join(" ")
}

/// A log file that may grow, and need not be there yet.
struct Log {
    path: PathBuf,
    reader: Option<BufReader<File>>,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

impl Log {
    fn open(path: PathBuf) -> anyhow::Result<Self> {
        let reader = open(&path)?;
        Ok(Self { path, reader, begun: Vec::new() })
    }

    /// Hands on every whole line that has come since the last call.
    fn read(&mut self, mut line: impl FnMut(String)) -> anyhow::Result<()> {
        if self.reader.is_none() {
            self.reader = open(&self.path)?;
        }
        let Some(reader) = &mut self.reader else { return Ok(()) };
        loop {
            let failed = || format!("cannot read {}", self.path.display());
            let read = reader.read_until(b'\n', &mut self.begun).with_context(failed)?;
            if read == 0 || !self.begun.ends_with(b"\n") {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&self.begun);
            line(text.trim_end_matches(['\r', '\n']).to_owned());
            self.begun.clear();
        }
    }
}

fn open(path: &Path) -> anyhow::Result<Option<BufReader<File>>> {
    match File::open(path) {
        Ok(file) => Ok(Some(BufReader::new(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => bail!("cannot read {}: {error}", path.display()),
    }
}

/// Whether a line is of this run, if one is wanted.
fn is_of(line: &str, run: Option<RunId>) -> bool {
    let Some(run) = run else { return true };
    let of = |line: Value| line["run_id"].as_str().and_then(|id| id.parse::<RunId>().ok());
    serde_json::from_str(line).ok().and_then(of) == Some(run)
}

fn print(line: &str, json: bool) {
    if json {
        std::println!("{line}");
    } else {
        println!("{}", readable(line));
    }
}

/// A line as people read it: when, how grave, what, and what else it has. One that is no JSON stays as it is.
fn readable(line: &str) -> String {
    let Ok(Value::Object(mut entries)) = serde_json::from_str(line) else { return line.to_owned() };
    let mut text = |key: &str| match entries.remove(key) {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let (at, level, message) = (text("timestamp"), text("level"), text("message"));
    for known in ["task", "run_id", "trigger", "attempt", "target"] {
        text(known);
    }
    let others: Vec<_> = entries.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    let others = others.concat();
    format!("{at} {level:5} {message}{others}")
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    #[test]
    fn a_line_reads_well() {
        let line = r#"{"timestamp":"2026-11-21T06:00:00.123Z","level":"INFO","task":"purge","run_id":"x","attempt":1,"trigger":"manual","target":"purge","message":"deleted","rows":12}"#;
        assert_eq!(readable(line), "2026-11-21T06:00:00.123Z INFO  deleted rows=12");
        assert_eq!(readable("thread 'main' panicked"), "thread 'main' panicked");
    }

    #[test]
    fn a_file_that_grows_is_read_in_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = Log::open(path.clone()).unwrap();
        let mut read = || {
            let mut lines = Vec::new();
            log.read(|line| lines.push(line)).unwrap();
            lines
        };
        assert_eq!(read(), Vec::<String>::new());
        fs::write(&path, "one\ntw").unwrap();
        assert_eq!(read(), ["one"]);
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"o\n").unwrap();
        assert_eq!(read(), ["two"]);
    }
}
