//! `lamplighter enable` and `lamplighter disable`: switch a task on and off without a deployment.

use serde_json::json;

use crate::{arguments::names, stack::target::Place, terminal::output, tr, words::Words};

/// Enables a disabled task.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter enable purge-expired --region eu-central-1")]
pub(crate) struct Enable {
    #[command(flatten)]
    arguments: TaskArguments,
}

/// Keeps a task from running until you enable it.
///
/// A run in progress continues.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter disable purge-expired --region eu-central-1")]
pub(crate) struct Disable {
    #[command(flatten)]
    arguments: TaskArguments,
}

#[derive(Debug, clap::Args)]
struct TaskArguments {
    /// The task.
    #[arg(value_name = "TASK")]
    task: String,
    /// Prints JSON: the task, whether it is enabled, and whether that changed.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Enable {
    pub(crate) fn run(&self, words: &Words) -> anyhow::Result<()> {
        switch(words, &self.arguments, true)
    }
}

impl Disable {
    pub(crate) fn run(&self, words: &Words) -> anyhow::Result<()> {
        switch(words, &self.arguments, false)
    }
}

fn switch(words: &Words, arguments: &TaskArguments, enabled: bool) -> anyhow::Result<()> {
    let catalog = super::catalog_with(&arguments.place, Some(&arguments.task))?;
    let task = names::task(words, &catalog, &arguments.task)?;
    let (changed, running) = super::runtime()?.block_on(async {
        let target = arguments.place.open(&catalog).await?;
        let switched = async {
            let state = target.table.state(&task).await?;
            let changed = state.disabled == enabled;
            if changed {
                target.table.enable(&task, enabled).await?;
            }
            anyhow::Ok((changed, state.held().next().is_some()))
        };
        let switched = switched.await;
        target.close(words).await;
        switched
    })?;
    if arguments.json {
        output::plain(format!("{:#}", json!({ "task": task, "enabled": enabled, "changed": changed })));
        return Ok(());
    }
    let said = match (enabled, changed) {
        (true, true) => tr!(words, "control-enabled", task = task),
        (true, false) => tr!(words, "control-enabled-before", task = task),
        (false, true) => tr!(words, "control-disabled", task = task),
        (false, false) => tr!(words, "control-disabled-before", task = task),
    };
    output::line(said);
    if !enabled && running {
        output::line(tr!(words, "control-goes-on", task = task));
    }
    Ok(())
}
