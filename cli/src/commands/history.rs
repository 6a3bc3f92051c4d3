//! `lamplighter history`: what ran, when, and how it ended.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use lamplighter_aws::table::{Cursor, History, Page, Table, TableError, UnreadableItem};
use lamplighter_core::{
    id::RunId,
    name::TaskName,
    run::{Run, Trigger},
    statistics::Statistics,
    status::Status,
};
use lamplighter_project::workspace::Workspace;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    lookup::{self, Named},
    many, output,
    show::{signed, unreadable, wrapped},
    target::Place,
    times::When,
    tr,
    words::Words,
};

/// Lists runs, newest first. A run that was lost is recorded as such when it is found here.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter history run-migrations --status FAILED --since 2h")]
pub(crate) struct Arguments {
    /// Only runs of this task; or one run by its id, with all of its data.
    #[arg(value_name = "TASK|RUN")]
    which: Option<String>,
    /// Only runs with this status, such as FAILED. May be given several times.
    #[arg(long)]
    status: Vec<Status>,
    /// Only runs started by this: deploy, update, rollback, schedule, pulse, manual or queue.
    #[arg(long, value_parser = trigger)]
    trigger: Option<Trigger>,
    /// Only runs from this time on: `2h` ago, `2026-11-21`, `2026-11-21T06:00:00Z`. Without a zone it is UTC.
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Only runs before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    /// How many runs.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Goes on where an earlier list ended, with what that one said.
    #[arg(long)]
    cursor: Option<Cursor>,
    /// Counts all runs of the time, too. Without --since: of the last 30 days.
    #[arg(long)]
    totals: bool,
    /// Prints JSON: the runs' records. Of values over 100 KB a list says where they are; one run has them whole.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// What is told.
#[derive(Debug, Serialize)]
struct Told {
    runs: Vec<Run>,
    unreadable: Vec<UnreadableItem>,
    /// Where the next list begins.
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    totals: Option<BTreeMap<Status, u64>>,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    let all = || workspace.tasks.iter().map(|task| task.name.clone()).collect();
    let which = arguments.which.as_ref().map(|which| lookup::task_or_run(words, &workspace, which));
    let (tasks, run): (Vec<_>, _) = match which.transpose()? {
        Some(Named::Task(task)) => (vec![task], None),
        Some(Named::Run(run)) => (all(), Some(run)),
        None => (all(), None),
    };
    let told = super::runtime()?.block_on(async {
        let target = arguments.place.open(&workspace).await?;
        let told = match run {
            Some(run) => read_one(words, &target.table, &workspace, &tasks, run).await,
            None => read(&target.table, &tasks, arguments).await,
        };
        target.close().await;
        told
    })?;
    unreadable(words, &told.unreadable);
    if arguments.json {
        output::plain(serde_json::to_string_pretty(&told)?);
        return Ok(());
    }
    if told.runs.is_empty() {
        output::line(tr!(words, "history-none"));
    }
    for line in lines(words, &told.runs) {
        output::line(line);
    }
    for line in last_lines(words, &told).iter().flat_map(|line| wrapped(words, 2, line)) {
        output::line(line);
    }
    Ok(())
}

/// One run, with its large values.
async fn read_one(
    words: &Words,
    table: &Table,
    workspace: &Workspace,
    tasks: &[TaskName],
    id: RunId,
) -> anyhow::Result<Told> {
    let now = Timestamp::now();
    let unreadable =
        many::each(tasks, async |task| Ok::<_, TableError>(many::settled(table, task, now).await?.1));
    let unreadable = unreadable.await?.into_iter().flatten().collect();
    let run = table.whole(lookup::run(words, table, workspace, id).await?).await?;
    Ok(Told { runs: vec![run], unreadable, next: None, totals: None })
}

/// The runs of the tasks, newest first.
async fn read(table: &Table, tasks: &[TaskName], arguments: &Arguments) -> anyhow::Result<Told> {
    let now = Timestamp::now();
    let instant = |when: &Option<When>| when.map(|when| when.instant(now, &TimeZone::UTC));
    let (from, until) = (instant(&arguments.since), instant(&arguments.until));
    let pages = many::each(tasks, async |task| {
        let (_, unreadable) = many::settled(table, task, now).await?;
        let wanted = History {
            statuses: arguments.status.clone(),
            trigger: arguments.trigger,
            from,
            until,
            cursor: arguments.cursor.clone(),
            // Nobody here knows whether it is a queue task: a partition without jobs costs half a read unit.
            jobs: true,
            ..History::of(task.clone(), arguments.limit)
        };
        let mut page = table.history(&wanted).await?;
        page.unreadable.extend(unreadable);
        anyhow::Ok(page)
    });
    let Page { runs, unreadable, next, .. } =
        many::merged(pages.await?, arguments.limit.into(), |run: &Run| run.id);
    let mut told = Told { runs, unreadable, next: next.map(|cursor| cursor.to_string()), totals: None };
    if arguments.totals {
        let month = lamplighter_core::statistics::Window::Month.before(now);
        let range = from.unwrap_or(month.start)..until.unwrap_or(month.end);
        let counted = many::each(tasks, |task| table.statistics(task, &range, now)).await?;
        let all = counted.iter().fold(Statistics::default(), |all, one| all.merged(&one.statistics));
        told.totals = Some(all.by_status);
    }
    Ok(told)
}

fn trigger(word: &str) -> Result<Trigger, String> {
    let all = [
        Trigger::Deploy,
        Trigger::Update,
        Trigger::Rollback,
        Trigger::Schedule,
        Trigger::Pulse,
        Trigger::Manual,
        Trigger::Queue,
        Trigger::Runner,
    ];
    Trigger::deserialize(Value::from(word.to_ascii_lowercase())).map_err(|_| {
        let all = all.map(Trigger::as_str).join(", ");
        format!("`{word}` is not a trigger: it must be one of {all}")
    })
}

/// One line a run: when, task, status, trigger, time, and what it said.
fn lines(words: &Words, runs: &[Run]) -> Vec<String> {
    let row = |run: &Run| {
        let version = run.deployment.as_ref().map(|deployment| format!(" {}", deployment.version));
        let took = if run.attempts.is_empty() { String::new() } else { words.duration(run.duration_ms()) };
        let cells = [
            words.time(run.started_at),
            run.task.to_string(),
            words.status(run.status),
            format!("{}{}", words.trigger(run.trigger), version.unwrap_or_default()),
            took,
            words.reason(run).or_else(|| run.message.clone()).unwrap_or_default(),
        ];
        (run.status, cells)
    };
    signed(words, 2, &runs.iter().map(row).collect::<Vec<_>>())
}

/// How many there are, and how to go on.
fn last_lines(words: &Words, told: &Told) -> Vec<String> {
    let mut lines = Vec::new();
    let counts = |counts: &BTreeMap<Status, u64>| {
        let counts = counts.iter().map(|(status, count)| format!("{} {count}", words.status(*status)));
        counts.collect::<Vec<_>>().join(", ")
    };
    if !told.runs.is_empty() {
        let mut shown = BTreeMap::new();
        for run in &told.runs {
            *shown.entry(run.status).or_insert(0) += 1;
        }
        lines.push(tr!(words, "history-shown", count = told.runs.len(), statuses = counts(&shown)));
    }
    if let Some(totals) = &told.totals {
        let count = totals.values().sum::<u64>();
        lines.push(tr!(words, "history-totals", count = count, statuses = counts(totals)));
    }
    if let Some(cursor) = &told.next {
        lines.push(tr!(words, "history-more", cursor = cursor));
    }
    lines
}
