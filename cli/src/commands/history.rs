//! `lamplighter history`: lists runs with their times and results.

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
use lamplighter_project::catalog::Catalog;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    arguments::{
        names::{self, TaskOrRun},
        time::When,
    },
    stack::{each_task, target::Place},
    terminal::{
        output,
        show::{signed, unreadable, wrapped},
    },
    tr,
    words::Words,
};

/// Lists runs, newest first.
///
/// If the command finds a lost run, it writes the record of that run.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter history run-migrations --status FAILED --since 2h")]
pub(crate) struct Arguments {
    /// Only runs of this task; or the id of one run, to see all of its data.
    #[arg(value_name = "TASK|RUN")]
    which: Option<String>,
    /// Only runs with this status, such as FAILED. Repeatable.
    #[arg(long)]
    status: Vec<Status>,
    /// Only runs with this trigger: deploy, update, rollback, schedule, pulse, manual, queue or runner.
    #[arg(long, value_parser = trigger)]
    trigger: Option<Trigger>,
    /// Only runs since this time: `2h` (ago), `2026-11-21` or `2026-11-21T06:00:00Z`; without a zone, UTC.
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Only runs before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    /// The maximum number of runs to list.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Continues an earlier list, with the cursor that it printed.
    #[arg(long)]
    cursor: Option<Cursor>,
    /// Also counts all runs in the time range; without --since, of the last 30 days.
    #[arg(long)]
    totals: bool,
    /// Prints JSON: the runs' records.
    ///
    /// A list has the locations of values over 100 KB instead of the values. A single run has them whole.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// A page of runs, as `--json` prints it.
#[derive(Debug, Serialize)]
struct RunList {
    runs: Vec<Run>,
    unreadable: Vec<UnreadableItem>,
    /// The cursor of the next page.
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    totals: Option<BTreeMap<Status, u64>>,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let catalog = super::catalog_with(&arguments.place, arguments.which.as_deref())?;
    let all = || catalog.names().cloned().collect();
    let which = arguments.which.as_ref().map(|which| names::task_or_run(words, &catalog, which));
    let (tasks, run): (Vec<_>, _) = match which.transpose()? {
        Some(TaskOrRun::Task(task)) => (vec![task], None),
        Some(TaskOrRun::Run(run)) => (all(), Some(run)),
        None => (all(), None),
    };
    let list = super::runtime()?.block_on(async {
        let target = arguments.place.open(&catalog).await?;
        let list = match run {
            Some(run) => read_one(words, &target.table, &catalog, &tasks, run).await,
            None => read(&target.table, &tasks, arguments).await,
        };
        target.close(words).await;
        list
    })?;
    unreadable(words, &list.unreadable);
    if arguments.json {
        output::plain(serde_json::to_string_pretty(&list)?);
        return Ok(());
    }
    if list.runs.is_empty() {
        output::line(tr!(words, "history-none"));
    }
    for line in lines(words, &list.runs) {
        output::line(line);
    }
    for line in last_lines(words, &list).iter().flat_map(|line| wrapped(words, 2, line)) {
        output::line(line);
    }
    Ok(())
}

/// Reads one run, with its large values.
async fn read_one(
    words: &Words,
    table: &Table,
    catalog: &Catalog,
    tasks: &[TaskName],
    id: RunId,
) -> anyhow::Result<RunList> {
    let now = Timestamp::now();
    let unreadable = each_task::each(tasks, async |task| {
        Ok::<_, TableError>(each_task::settled(table, task, now).await?.1)
    });
    let unreadable = unreadable.await?.into_iter().flatten().collect();
    let run = table.whole(names::run(words, table, catalog, id).await?).await?;
    Ok(RunList { runs: vec![run], unreadable, next: None, totals: None })
}

/// Reads the runs of the tasks, newest first.
async fn read(table: &Table, tasks: &[TaskName], arguments: &Arguments) -> anyhow::Result<RunList> {
    let now = Timestamp::now();
    let instant = |when: &Option<When>| when.map(|when| when.instant(now, &TimeZone::UTC));
    let (from, until) = (instant(&arguments.since), instant(&arguments.until));
    let pages = each_task::each(tasks, async |task| {
        let (_, unreadable) = each_task::settled(table, task, now).await?;
        let wanted = History {
            statuses: arguments.status.clone(),
            trigger: arguments.trigger,
            from,
            until,
            cursor: arguments.cursor.clone(),
            // It may be a queue task: a partition without jobs costs half a read unit.
            jobs: true,
            ..History::of(task.clone(), arguments.limit)
        };
        let mut page = table.history(&wanted).await?;
        page.unreadable.extend(unreadable);
        anyhow::Ok(page)
    });
    let Page { runs, unreadable, next, .. } =
        each_task::merged(pages.await?, arguments.limit.into(), |run: &Run| run.id);
    let mut list = RunList { runs, unreadable, next: next.map(|cursor| cursor.to_string()), totals: None };
    if arguments.totals {
        let month = lamplighter_core::statistics::Window::Month.before(now);
        let range = from.unwrap_or(month.start)..until.unwrap_or(month.end);
        let counted = each_task::statistics(table, tasks, &range, now).await?;
        let all = counted.iter().fold(Statistics::default(), |all, one| all.merged(&one.statistics));
        list.totals = Some(all.by_status);
    }
    Ok(list)
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

/// One line a run: time, task, status, trigger, duration, and its reason or message.
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

/// The lines below the list: counts, and the cursor of the next page.
fn last_lines(words: &Words, list: &RunList) -> Vec<String> {
    let mut lines = Vec::new();
    let counts = |counts: &BTreeMap<Status, u64>| {
        let counts = counts.iter().map(|(status, count)| format!("{} {count}", words.status(*status)));
        counts.collect::<Vec<_>>().join(", ")
    };
    if !list.runs.is_empty() {
        let mut shown = BTreeMap::new();
        for run in &list.runs {
            *shown.entry(run.status).or_insert(0) += 1;
        }
        lines.push(tr!(words, "history-shown", count = list.runs.len(), statuses = counts(&shown)));
    }
    if let Some(totals) = &list.totals {
        let count = totals.values().sum::<u64>();
        lines.push(tr!(words, "history-totals", count = count, statuses = counts(totals)));
    }
    if let Some(cursor) = &list.next {
        lines.push(tr!(words, "history-more", cursor = cursor));
    }
    lines
}
