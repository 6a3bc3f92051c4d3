//! `lamplighter history`: what ran, when, and how it ended.

use anstream::println;
use jiff::Timestamp;
use lamplighter_aws::table::{History, Table};
use lamplighter_core::{name::TaskName, run::Run, status::Status};

use crate::{
    say,
    show::{sign, table},
    target::Place,
    words::Words,
};

/// Lists runs, newest first. A run that was lost is recorded as such when it is found here.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter history run-migrations --status FAILED")]
pub(crate) struct Arguments {
    /// Only runs of this task.
    task: Option<TaskName>,
    /// Only runs with this status, such as FAILED.
    #[arg(long)]
    status: Option<Status>,
    /// How many runs of each task are looked at.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Prints JSON: the runs' whole records.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    let tasks: Vec<_> = match &arguments.task {
        Some(task) => vec![task.clone()],
        None => workspace.tasks.iter().map(|task| task.name.clone()).collect(),
    };
    let runs = super::runtime()?.block_on(async {
        let target = arguments.place.open(&workspace).await?;
        let runs = read(&target.table, &tasks, arguments).await;
        target.close().await;
        runs
    })?;
    if arguments.json {
        std::println!("{}", serde_json::to_string_pretty(&runs)?);
    } else if runs.is_empty() {
        println!("{}", say!(words, "history-none"));
    } else {
        for line in lines(words, &runs) {
            println!("{line}");
        }
    }
    Ok(())
}

/// The runs of the tasks, newest first.
async fn read(table: &Table, tasks: &[TaskName], arguments: &Arguments) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for task in tasks {
        let now = Timestamp::now();
        for lost in table.state(task).await?.lost(now) {
            table.end_lost(task, &lost, now).await?;
        }
        let wanted = History::of(task.clone(), arguments.limit);
        runs.extend(table.history(&wanted).await?.runs);
    }
    runs.retain(|run| arguments.status.is_none_or(|status| status == run.status));
    runs.sort_by_key(|run| std::cmp::Reverse((run.started_at, run.id)));
    Ok(runs)
}

/// One line a run: when, task, status, trigger, time, and what it said.
fn lines(words: &Words, runs: &[Run]) -> Vec<String> {
    let cells: Vec<_> = runs
        .iter()
        .map(|run| {
            let version = run.deployment.as_ref().map(|deployment| format!(" {}", deployment.version));
            let took =
                if run.attempts.is_empty() { String::new() } else { words.duration(run.duration_ms()) };
            [
                words.time(run.started_at),
                run.task.to_string(),
                words.status(run.status),
                format!("{}{}", words.trigger(run.trigger), version.unwrap_or_default()),
                took,
                words.reason(run).or_else(|| run.message.clone()).unwrap_or_default(),
            ]
        })
        .collect();
    let styled = |(run, line): (&Run, String)| {
        let (sign, style) = sign(run.status);
        format!("{style}{sign}{style:#} {line}")
    };
    runs.iter().zip(table(words, 2, &cells)).map(styled).collect()
}
