//! `lamplighter retry`: a failed run once more, as a new run that names it.

use anyhow::bail;
use lamplighter_aws::table::{History, Table};
use lamplighter_core::{
    envelope::Envelope,
    name::TaskName,
    run::{Run, Trigger},
    secret::MASK,
    status::Status,
};
use lamplighter_project::workspace::Workspace;
use serde_json::Value;

use super::run::{How, carry_out, tell};
use crate::{
    arguments::names::{self, Named},
    stack::target::Place,
    tr,
    words::Words,
};

/// How many of a task's runs are looked at for the last one that began.
const LOOKED_AT: u16 = 50;

/// Runs a task again whose run failed, with the configuration that the failed run had. Its secrets are today's.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter retry purge-expired")]
pub(crate) struct Arguments {
    /// The task, whose last run is meant, or one run's id.
    #[arg(value_name = "TASK|RUN")]
    which: String,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    super::never_wait(words);
    let workspace = super::workspace()?;
    let named = names::task_or_run(words, &workspace, &arguments.which)?;
    let Arguments { how, place, .. } = arguments;
    let task = match &named {
        Named::Task(task) => Some((task, &Value::Null)),
        Named::Run(_) => None,
    };
    super::runtime()?.block_on(async {
        let (target, functions) =
            place.open_to_run(&workspace, how.environment.as_deref(), &how.secrets.file(), task).await?;
        let ended = async {
            let failed = found(words, &target.table, &workspace, &named).await?;
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
            carry_out(words, &target, &functions, &failed.task, envelope, how.json).await
        };
        let ended = Box::pin(ended).await;
        target.close().await;
        tell(words, &ended?, how.json)
    })
}

/// The run that is meant: of a task the last one that began.
async fn found(words: &Words, table: &Table, workspace: &Workspace, named: &Named) -> anyhow::Result<Run> {
    match named {
        Named::Task(task) => match last(table, task).await? {
            Some(run) => Ok(run),
            None => bail!(tr!(words, "control-no-run", task = task)),
        },
        Named::Run(id) => names::run(words, table, workspace, *id).await,
    }
}

async fn last(table: &Table, task: &TaskName) -> anyhow::Result<Option<Run>> {
    let runs = table.history(&History::of(task.clone(), LOOKED_AT)).await?.runs;
    Ok(runs.into_iter().find(|run| run.status != Status::Skipped))
}

/// A recorded configuration without the places where a secret was, with all of a list that has one.
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
