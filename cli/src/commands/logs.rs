//! `lamplighter logs`: the log of a task, or of one of its runs.

use std::{collections::VecDeque, path::PathBuf, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::logs::Logs;
use lamplighter_core::{id::RunId, name::TaskName};
use lamplighter_runner::{lines::LogFile, location::InAws, logs::path};
use serde_json::Value;

use crate::{
    arguments::names::{self, TaskOrRun},
    stack::{
        cloud_logs::{CloudLog, LogPosition},
        target::Place,
    },
    terminal::{
        output,
        progress::{beside, is_seen},
        text::{escaped, fitted, width},
    },
    tr,
    words::Words,
};

/// The pause between two reads of a followed file.
const PAUSE: Duration = Duration::from_millis(300);
/// The same for a log in AWS, whose lines arrive seconds late and whose API takes few requests a second.
const PAUSE_IN_AWS: Duration = Duration::from_secs(2);

/// Prints the log of a task or of one run.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter logs purge-expired --limit 100 --follow")]
pub(crate) struct Arguments {
    /// A task, or the id of a run.
    #[arg(value_name = "TASK|RUN")]
    what: String,
    /// The maximum number of lines to print; the newest are printed.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// Keeps printing new lines until you stop the command.
    #[arg(long)]
    follow: bool,
    /// Prints the lines unchanged. Lines that a task logs are JSON objects.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let catalog = super::catalog_with(&arguments.place, Some(&arguments.what))?;
    let (tasks, run) = match names::task_or_run(words, &catalog, &arguments.what)? {
        TaskOrRun::Task(task) => (vec![task], None),
        TaskOrRun::Run(run) => (catalog.names().cloned().collect(), Some(run)),
    };
    let stack = arguments.place.stack(&catalog.workspace);
    if let Some(aws) = arguments.place.in_aws() {
        return super::runtime()?.block_on(in_aws(words, arguments, &aws, stack, tasks, run));
    }
    let folder = arguments.place.home(&catalog.workspace).join("logs");
    let files: Vec<_> = tasks.iter().map(|task| path(&folder, &format!("{stack}-{task}"))).collect();
    here(words, arguments, files, run)
}

fn here(words: &Words, arguments: &Arguments, files: Vec<PathBuf>, run: Option<RunId>) -> anyhow::Result<()> {
    let mut logs = files.into_iter().map(LogFile::open).collect::<anyhow::Result<Vec<_>>>()?;
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
    print_all(words, arguments, last.iter().map(String::as_str));
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
        if output::is_gone() {
            return Ok(());
        }
    }
}

async fn in_aws(
    words: &Words,
    arguments: &Arguments,
    aws: &InAws,
    stack: String,
    tasks: Vec<TaskName>,
    run: Option<RunId>,
) -> anyhow::Result<()> {
    let clients = aws.clients();
    let log = CloudLog::new(Logs::new(clients.config().await), stack, tasks, run);
    let (limit, now) = (usize::from(arguments.limit), Timestamp::now());
    let reading = |time| tr!(words, "logs-reading", time = time);
    let mut last = beside(is_seen(arguments.json), reading, log.newest(limit, now)).await?;
    let limited = last.len() == limit;
    // The service's filter may return other lines, too.
    last.retain(|line| is_of(&line.text, run));
    print_all(words, arguments, last.iter().map(|line| line.text.as_str()));
    if !arguments.follow {
        return Ok(());
    }
    let mut position = LogPosition::after(&last, limited, now);
    loop {
        tokio::time::sleep(PAUSE_IN_AWS).await;
        for line in log.fresh(&mut position).await? {
            if is_of(&line.text, run) {
                print(&line.text, arguments.json);
            }
        }
        if output::is_gone() {
            return Ok(());
        }
    }
}

fn print_all<'a>(words: &Words, arguments: &Arguments, lines: impl IntoIterator<Item = &'a str>) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_none() && !arguments.follow && !arguments.json {
        output::line(tr!(words, "logs-none"));
    }
    for line in lines {
        print(line, arguments.json);
    }
}

/// Returns true if a line belongs to the run, or if no run was chosen.
fn is_of(line: &str, run: Option<RunId>) -> bool {
    let Some(run) = run else { return true };
    if !line.contains(&run.to_string()) {
        return false;
    }
    let of = |line: Value| line["run_id"].as_str().and_then(|id| id.parse::<RunId>().ok());
    serde_json::from_str(line).ok().and_then(of) == Some(run)
}

fn print(line: &str, json: bool) {
    if json {
        output::plain(line);
    } else {
        output::line(readable(line));
    }
}

/// Formats a line for people: time, level, message, other fields. A line that is not JSON is only escaped.
fn readable(line: &str) -> String {
    let Ok(Value::Object(mut entries)) = serde_json::from_str(line) else {
        return escaped(line).into_owned();
    };
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
    let level = fitted(&level, width(&escaped(&level)).max(5));
    escaped(&format!("{at} {level} {message}{others}")).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_reads_well() {
        let line = r#"{"timestamp":"2026-11-21T06:00:00.123Z","level":"INFO","task":"purge","run_id":"x","attempt":1,"trigger":"manual","target":"purge","message":"deleted","rows":12}"#;
        assert_eq!(readable(line), "2026-11-21T06:00:00.123Z INFO  deleted rows=12");
        assert_eq!(readable("thread 'main' panicked"), "thread 'main' panicked");
        assert_eq!(readable("\u{1b}[2J\r\u{202e}x"), r"\u{1b}[2J\r\u{202e}x");
        let line =
            json!({ "timestamp": "", "level": "⚠️", "message": "a\nb\u{9b}2J", "\u{7f}": "\u{2066}\t" });
        assert_eq!(readable(&line.to_string()), r#" ⚠️    a\nb\u{9b}2J \u{7f}="\u{2066}\t""#);
    }
}
