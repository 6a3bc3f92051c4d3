//! `lamplighter cancel`: cancels runs in progress and waits for their end.

use std::time::Duration;

use anyhow::bail;
use lamplighter_aws::table::Table;
use lamplighter_core::{id::RunId, name::TaskName, run::Run};
use lamplighter_project::catalog::Catalog;

use super::run::line;
use crate::{
    arguments::names::{self, TaskOrRun},
    stack::{follow::watch, target::Place},
    terminal::{
        output,
        progress::{beside, is_seen},
    },
    tr,
    words::Words,
};

/// The pause before the first look at a run that is being cancelled.
const FIRST_LOOK: Duration = Duration::from_millis(200);

/// Cancels runs in progress and waits until they have ended.
///
/// The body of a run is notified first. A body that does not end by itself is stopped.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter cancel purge-expired")]
pub(crate) struct Arguments {
    /// A task, to cancel all its runs, or the id of one run.
    #[arg(value_name = "TASK|RUN")]
    which: String,
    /// Prints JSON: the records of the cancelled runs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let catalog = super::catalog_with(&arguments.place, Some(&arguments.which))?;
    let named = names::task_or_run(words, &catalog, &arguments.which)?;
    let ended = super::runtime()?.block_on(async {
        let target = arguments.place.open(&catalog).await?;
        let ended = cancel(words, &target.table, &catalog, &named, arguments.json).await;
        target.close(words).await;
        ended
    })?;
    if arguments.json {
        output::plain(serde_json::to_string_pretty(&ended)?);
        return Ok(());
    }
    for run in &ended {
        output::line(line(words, run));
    }
    Ok(())
}

async fn cancel(
    words: &Words,
    table: &Table,
    catalog: &Catalog,
    named: &TaskOrRun,
    json: bool,
) -> anyhow::Result<Vec<Run>> {
    let mut cancelled = Vec::new();
    for (task, id) in in_progress(table, catalog, named).await? {
        if table.cancel(&task, id).await? {
            if !json {
                output::line(tr!(words, "control-cancelling", task = task, run = id));
            }
            cancelled.push((task, id));
        }
    }
    match (named, cancelled.as_slice()) {
        (TaskOrRun::Task(task), []) => bail!(tr!(words, "control-none-running", task = task)),
        (TaskOrRun::Run(run), []) => bail!(tr!(words, "control-not-running", run = run)),
        _ => {}
    }
    let mut ended = Vec::new();
    for (task, id) in &cancelled {
        let line = |time| tr!(words, "control-waiting", task = task, time = time);
        let run = Box::pin(watch(table, task, *id, FIRST_LOOK));
        ended.push(beside(is_seen(json), line, run).await?);
    }
    Ok(ended)
}

/// Finds the runs in progress of a task, or the one run.
async fn in_progress(
    table: &Table,
    catalog: &Catalog,
    named: &TaskOrRun,
) -> anyhow::Result<Vec<(TaskName, RunId)>> {
    let mut found = Vec::new();
    for task in catalog.names() {
        if matches!(named, TaskOrRun::Task(named) if named != task) {
            continue;
        }
        let state = table.state(task).await?;
        let ids = state.leases().map(|lease| lease.run_id);
        found.extend(
            ids.filter(|id| !matches!(named, TaskOrRun::Run(run) if run != id)).map(|id| (task.clone(), id)),
        );
    }
    Ok(found)
}
