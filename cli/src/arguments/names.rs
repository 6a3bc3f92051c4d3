//! Tasks, runs and jobs by name, with a suggestion for a name that does not exist.

use anyhow::bail;
use lamplighter_aws::table::{JobRecord, Table};
use lamplighter_core::{id::RunId, job::JobKey, name::TaskName, run::Run, suggest::nearest};
use lamplighter_project::catalog::Catalog;

use crate::{tr, words::Words};

/// An invalid value on the command line. The program exits with 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub String);

/// A task, or one of its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskOrRun {
    /// A task.
    Task(TaskName),
    /// A run, by its id.
    Run(RunId),
}

/// Finds the task of that name.
pub fn task(words: &Words, catalog: &Catalog, word: &str) -> Result<TaskName, Misuse> {
    let known = || catalog.names();
    if let Some(name) = known().find(|name| name.as_str() == word) {
        return Ok(name.clone());
    }
    let all: Vec<_> = known().map(TaskName::as_str).collect();
    Err(Misuse(match nearest(word, all.iter().copied()) {
        Some(name) => tr!(words, "lookup-nearest", word = word, name = name),
        None if all.is_empty() => {
            tr!(words, "lookup-none", word = word, folder = lamplighter_project::workspace::TASKS)
        }
        None => tr!(words, "lookup-all", word = word, all = all.join(", ")),
    }))
}

/// Finds the task of that name, or all tasks if there is no name.
pub fn tasks(words: &Words, catalog: &Catalog, word: Option<&str>) -> Result<Vec<TaskName>, Misuse> {
    match word {
        Some(word) => Ok(vec![task(words, catalog, word)?]),
        None => Ok(catalog.names().cloned().collect()),
    }
}

/// Finds the task of that name, or takes the word as a run's id.
pub fn task_or_run(words: &Words, catalog: &Catalog, word: &str) -> Result<TaskOrRun, Misuse> {
    task(words, catalog, word).map(TaskOrRun::Task).or_else(|unknown| match word.parse() {
        Ok(run) => Ok(TaskOrRun::Run(run)),
        Err(_) => Err(unknown),
    })
}

/// Finds the job of a name: `<task>/<run id>`, or the run's id alone, of any task.
pub async fn job(
    words: &Words,
    table: &Table,
    catalog: &Catalog,
    word: &str,
) -> anyhow::Result<(JobKey, JobRecord)> {
    let keys = match (word.parse::<JobKey>(), word.parse::<RunId>()) {
        (Ok(key), _) => vec![key],
        (_, Ok(run_id)) => catalog.names().map(|task| JobKey { task: task.clone(), run_id }).collect(),
        (Err(invalid), _) => return Err(Misuse(invalid.to_string()).into()),
    };
    for key in keys {
        if let Some(found) = table.job(&key).await? {
            return Ok((key, found));
        }
    }
    bail!(tr!(words, "job-no-such", job = word))
}

/// Reads the record of the run with that id, of any task.
pub async fn run(words: &Words, table: &Table, catalog: &Catalog, id: RunId) -> anyhow::Result<Run> {
    for task in catalog.names() {
        if let Some(run) = table.run(task, id).await? {
            return Ok(run);
        }
    }
    bail!(tr!(words, "control-no-such-run", run = id))
}
