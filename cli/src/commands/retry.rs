//! `lamplighter retry`: repeats a failed run, as a new run that refers to it.

use anyhow::bail;
use lamplighter_aws::table::{History, Table};
use lamplighter_core::{
    envelope::Envelope,
    name::TaskName,
    run::{Run, Trigger},
    secret::MASK,
    status::Status,
};
use lamplighter_project::catalog::Catalog;
use serde_json::Value;

use super::run::{RunOptions, carry_out, print_outcome};
use crate::{
    arguments::names::{self, TaskOrRun},
    stack::target::Place,
    tr,
    words::Words,
};

/// The number of a task's newest runs that are searched for the last one that started.
const LOOKED_AT: u16 = 50;

/// Repeats a failed run.
///
/// The new run has the configuration of the failed one. Secrets are read again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter retry purge-expired")]
pub(crate) struct Arguments {
    /// A task, to repeat its last run, or the id of a run.
    #[arg(value_name = "TASK|RUN")]
    which: String,
    #[command(flatten)]
    options: RunOptions,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    super::never_wait(words);
    let catalog = super::catalog_with(&arguments.place, Some(&arguments.which))?;
    let named = names::task_or_run(words, &catalog, &arguments.which)?;
    let Arguments { options, place, .. } = arguments;
    let task = match &named {
        TaskOrRun::Task(task) => Some((task, &Value::Null)),
        TaskOrRun::Run(_) => None,
    };
    super::runtime()?.block_on(async {
        let (target, functions) = place
            .open_to_run(&catalog, options.environment.as_deref(), &options.secrets.file(), task)
            .await?;
        let ended = async {
            let failed = found(words, &target.table, &catalog, &named).await?;
            let failed = target.table.whole(failed).await?;
            if !failed.status.is_failure() {
                bail!(tr!(
                    words,
                    "control-did-not-fail",
                    task = failed.task,
                    run = failed.id,
                    status = failed.status
                ));
            }
            let envelope = Envelope {
                retry_of: Some(failed.id),
                scheduled_for: failed.scheduled_for,
                deployment: failed.deployment.clone(),
                config: without_secrets(failed.config).unwrap_or(Value::Null),
                ..Envelope::of(Trigger::Manual)
            };
            carry_out(words, &target, &functions, &failed.task, envelope, options.json).await
        };
        let ended = Box::pin(ended).await;
        target.close(words).await;
        print_outcome(words, &ended?, options.json)
    })
}

/// Finds the run: by its id, or the last one of a task that began.
async fn found(words: &Words, table: &Table, catalog: &Catalog, named: &TaskOrRun) -> anyhow::Result<Run> {
    match named {
        TaskOrRun::Task(task) => match last(table, task).await? {
            Some(run) => Ok(run),
            None => bail!(tr!(words, "control-no-run", task = task)),
        },
        TaskOrRun::Run(id) => names::run(words, table, catalog, *id).await,
    }
}

async fn last(table: &Table, task: &TaskName) -> anyhow::Result<Option<Run>> {
    let runs = table.history(&History::of(task.clone(), LOOKED_AT)).await?.runs;
    Ok(runs.into_iter().find(|run| run.status != Status::Skipped))
}

/// Removes masked secrets from a recorded configuration; a list that contains one is removed as a whole.
fn without_secrets(value: Value) -> Option<Value> {
    match value {
        Value::String(text) if text.contains(MASK) => None,
        Value::Array(items) => {
            items.into_iter().map(without_secrets).collect::<Option<Vec<_>>>().map(Value::Array)
        }
        Value::Object(entries) => {
            let kept = entries.into_iter().filter(|(key, _)| !key.contains(MASK));
            let kept = kept.filter_map(|(key, value)| Some((key, without_secrets(value)?)));
            Some(Value::Object(kept.collect()))
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn c24_a_recorded_configuration_is_used_without_the_marks_of_secrets() {
        let recorded = json!({ "a": 1, "key": MASK, "k[secret]y": 2, "b": { "c": [1, MASK], "d": null } });
        assert_eq!(without_secrets(recorded), Some(json!({ "a": 1, "b": { "d": null } })));
    }
}
