//! `lamplighter jobs list`: jobs and their states.

use lamplighter_aws::table::{Cursor, History, JobRecord, Page, Table};
use lamplighter_core::{name::TaskName, status::Status};
use serde_json::{Value, json};

use super::one_job::state_of;
use crate::{
    arguments::names,
    commands,
    stack::{each_task, target::Place},
    terminal::{
        output,
        show::{signed, unreadable},
    },
    tr,
    words::Words,
};

/// Lists open and ended jobs, newest first.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter jobs list send-receipt --status PENDING")]
pub(super) struct Arguments {
    /// Only jobs of this task.
    task: Option<String>,
    /// Only jobs with this status, such as PENDING. Repeatable.
    #[arg(long)]
    status: Vec<Status>,
    /// The maximum number of jobs to list.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Continues an earlier list, with the cursor that it printed.
    #[arg(long)]
    cursor: Option<Cursor>,
    /// Prints JSON: the jobs' records. Values over 100 KB are replaced by their locations.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let catalog = commands::catalog_with(&arguments.place, arguments.task.as_deref())?;
    let tasks = names::tasks(words, &catalog, arguments.task.as_deref())?;
    let page = commands::runtime()?.block_on(async {
        let target = arguments.place.open(&catalog).await?;
        let page = read(&target.table, &tasks, arguments).await;
        target.close(words).await;
        page
    })?;
    unreadable(words, &page.unreadable);
    if arguments.json {
        let jobs = page.runs.iter().map(record).collect::<Result<Vec<_>, _>>()?;
        let next = page.next.as_ref().map(Cursor::to_string);
        output::plain(serde_json::to_string_pretty(&json!({ "jobs": jobs, "next": next }))?);
        return Ok(());
    }
    if page.runs.is_empty() {
        output::line(tr!(words, "jobs-none"));
    }
    for line in lines(words, &page.runs) {
        output::line(line);
    }
    if let Some(cursor) = &page.next {
        output::line(tr!(words, "history-more", cursor = cursor.to_string()));
    }
    Ok(())
}

async fn read(table: &Table, tasks: &[TaskName], arguments: &Arguments) -> anyhow::Result<Page<JobRecord>> {
    let pages = each_task::each(tasks, async |task| {
        let wanted = History {
            statuses: arguments.status.clone(),
            cursor: arguments.cursor.clone(),
            ..History::of(task.clone(), arguments.limit)
        };
        table.jobs(&wanted).await
    });
    Ok(each_task::merged(pages.await?, arguments.limit.into(), JobRecord::id))
}

fn record(job: &JobRecord) -> serde_json::Result<Value> {
    match job {
        JobRecord::Open(job) => serde_json::to_value(job),
        JobRecord::Over(run) => serde_json::to_value(run),
    }
}

/// One line a job: when it was enqueued, its task, its id and its state.
fn lines(words: &Words, jobs: &[JobRecord]) -> Vec<String> {
    let row = |job: &JobRecord| {
        let (task, state_of) = match job {
            JobRecord::Open(job) => (&job.task, state_of(words, job)),
            JobRecord::Over(run) => {
                let said = words.reason(run).or_else(|| run.message.clone());
                let status = words.status(run.status);
                (&run.task, said.map_or(status.clone(), |said| format!("{status}: {said}")))
            }
        };
        let cells = [words.time(job.id().made_at()), task.to_string(), job.id().to_string(), state_of];
        (job.status(), cells)
    };
    signed(words, 2, &jobs.iter().map(row).collect::<Vec<_>>())
}
