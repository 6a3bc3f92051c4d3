//! `lamplighter cancel`: asks a run in progress to end, and waits until it has.

use std::time::Duration;

use anyhow::bail;
use lamplighter_aws::table::Table;
use lamplighter_core::{id::RunId, name::TaskName, run::Run};
use lamplighter_project::workspace::Workspace;

use super::run::line;
use crate::{
    arguments::names::{self, Named},
    stack::{follow::watch, target::Place},
    terminal::{
        output,
        progress::{beside, is_seen},
    },
    tr,
    words::Words,
};

/// When a run is first looked at after it was asked to end.
const FIRST_LOOK: Duration = Duration::from_millis(200);

/// Asks a run in progress to end and waits until it has. A body that does not heed it is stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter cancel purge-expired")]
pub(crate) struct Arguments {
    /// The task, all runs of which are meant, or one run's id.
    #[arg(value_name = "TASK|RUN")]
    which: String,
    /// Prints JSON: the records of the runs that were asked to end.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    let named = names::task_or_run(words, &workspace, &arguments.which)?;
    let ended = super::runtime()?.block_on(async {
        let target = arguments.place.open(&workspace).await?;
        let ended = cancel(words, &target.table, &workspace, &named, arguments.json).await;
        target.close().await;
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
    workspace: &Workspace,
    named: &Named,
    json: bool,
) -> anyhow::Result<Vec<Run>> {
    let mut asked = Vec::new();
    for (task, id) in in_progress(table, workspace, named).await? {
        if table.cancel(&task, id).await? {
            if !json {
                output::line(tr!(words, "control-asked", task = task, run = id));
            }
            asked.push((task, id));
        }
    }
    match (named, asked.as_slice()) {
        (Named::Task(task), []) => bail!(tr!(words, "control-none-running", task = task)),
        (Named::Run(run), []) => bail!(tr!(words, "control-not-running", run = run)),
        _ => {}
    }
    let mut ended = Vec::new();
    for (task, id) in &asked {
        let line = |time| tr!(words, "control-ending", task = task, time = time);
        let run = Box::pin(watch(table, task, *id, FIRST_LOOK));
        ended.push(beside(is_seen(json), line, run).await?);
    }
    Ok(ended)
}

/// The runs in progress that are meant.
async fn in_progress(
    table: &Table,
    workspace: &Workspace,
    named: &Named,
) -> anyhow::Result<Vec<(TaskName, RunId)>> {
    let mut found = Vec::new();
    for task in workspace.tasks.iter().map(|task| &task.name) {
        if matches!(named, Named::Task(named) if named != task) {
            continue;
        }
        let state = table.state(task).await?;
        let ids = state.leases().map(|lease| lease.run_id);
        found.extend(
            ids.filter(|id| !matches!(named, Named::Run(run) if run != id)).map(|id| (task.clone(), id)),
        );
    }
    Ok(found)
}
