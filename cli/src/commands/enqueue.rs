//! `lamplighter enqueue`: a job for a queue task.

use std::time::Duration;

use anyhow::bail;
use jiff::Timestamp;
use lamplighter_aws::jobs::{Accepted, Jobs};
use lamplighter_core::{
    definition::{Definition, Priority},
    job::{JobKey, Limit, NewJob, OnConflict, Scope, Unique, When},
    schema,
};
use serde_json::{Value, json};

use super::jobs::wait_and_print;
use crate::{
    arguments::{
        json::{Given, given},
        names::{self, Misuse},
        time::duration,
    },
    stack::target::{Place, Target},
    terminal::output,
    tr,
    words::Words,
};

/// Enqueues a job. Its arguments are checked first; the job's name is printed, by which `status`, `result` and `abort` know it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter enqueue send-receipt --delay 20m --unique task --within 1h")]
pub(crate) struct Arguments {
    /// The queue task.
    #[arg(value_name = "TASK")]
    task: String,
    /// Its arguments: a JSON object with one key for each, `@FILE`, or `-` for stdin.
    #[arg(value_name = "ARGUMENTS", value_parser = given, default_value = "{}")]
    given: Given,
    /// How long it waits before it may start.
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "at")]
    delay: Option<Duration>,
    /// When it may start: `2026-11-21T06:00:00Z`.
    #[arg(long, value_name = "WHEN")]
    at: Option<Timestamp>,
    /// Which of several waiting jobs goes first, under a runner. Left out: the task's.
    #[arg(long, value_name = "PRIORITY")]
    priority: Option<Priority>,
    /// By what it is told from every other job: of two with the same there is one.
    #[arg(long, value_name = "TEXT")]
    id: Option<String>,
    /// Of what it must be the only one that is not over: `task`, `arguments`, or a key of your own.
    #[arg(long, value_name = "SCOPE", requires = "within")]
    unique: Option<String>,
    /// For how long at most it is the only one.
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "unique")]
    within: Option<Duration>,
    /// Where it must be the only one and is not: takes the other one for it.
    #[arg(long, requires = "unique")]
    join: bool,
    /// Of how many jobs of the task with the same --key it may be one while it runs; the others wait.
    #[arg(long, value_name = "NUMBER", requires = "key", value_parser = clap::value_parser!(u32).range(1..))]
    at_most: Option<u32>,
    /// What those jobs have in common: a customer, a host.
    #[arg(long, value_name = "TEXT", requires = "at_most")]
    key: Option<String>,
    /// How long it may wait for its start; then it fails.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    expires_in: Option<Duration>,
    /// A job that must have completed before it may start.
    #[arg(long, value_name = "JOB")]
    after: Vec<JobKey>,
    /// Waits for its end, for that long at most.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    /// Prints JSON: the job's name, and with --wait its record.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    arguments.place.check(&workspace)?;
    let task = names::task(words, &workspace, &arguments.task)?;
    let project = super::project(&workspace, None)?;
    let Some(definition) = super::asked_for(project, Some(&task)).pop() else {
        bail!(Misuse(tr!(words, "job-no-queue", task = task)))
    };
    let new = wanted(words, &definition, arguments)?;
    super::runtime()?.block_on(async {
        let target = arguments.place.open(&workspace).await?;
        let told = enqueue(words, &target, &definition, new, arguments).await;
        target.close().await;
        told
    })
}

/// The job that is wanted, or why it cannot be.
fn wanted(words: &Words, definition: &Definition, arguments: &Arguments) -> Result<NewJob, Misuse> {
    let Some(queue) = definition.queue() else {
        return Err(Misuse(tr!(words, "job-no-queue", task = definition.name)));
    };
    let given = Value::Object(arguments.given.read("ARGUMENTS")?);
    if let Err(violation) = schema::check(&given, &queue.arguments_schema) {
        let why = violation.to_string();
        return Err(Misuse(tr!(words, "job-unfit", task = definition.name, why = why)));
    }
    let when = match (arguments.delay, arguments.at) {
        (Some(delay), _) => When::In(delay),
        (None, Some(at)) => When::At(at),
        (None, None) => When::Now,
    };
    let on_twin = if arguments.join { OnConflict::Join } else { OnConflict::Refuse };
    let unique = arguments.unique.as_ref().zip(arguments.within).map(|(scope, within)| Unique {
        scope: match scope.as_str() {
            "task" => Scope::Task,
            "arguments" => Scope::Arguments,
            key => Scope::Key(key.to_owned()),
        },
        within,
        on_twin,
    });
    let new = NewJob {
        // As the task's own `enqueue` would write them, so that equal arguments are found to be equal.
        arguments: schema::normalised(&given, &queue.arguments_schema),
        priority: arguments.priority.unwrap_or(queue.priority),
        when,
        expires_in: arguments.expires_in,
        id: arguments.id.clone(),
        unique,
        after: arguments.after.clone(),
        limit: arguments.key.clone().zip(arguments.at_most).map(|(key, at_once)| Limit { key, at_once }),
        ..NewJob::of(definition.name.clone())
    };
    let kept = new.without_secrets(&queue.arguments_schema);
    kept.map_err(|why| Misuse(tr!(words, "job-unfit", task = definition.name, why = why.to_string())))?;
    Ok(new)
}

async fn enqueue(
    words: &Words,
    target: &Target,
    definition: &Definition,
    new: NewJob,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let jobs: Jobs = target.jobs().await?.with_retention(definition.retention);
    let Accepted { key, joined } = jobs.enqueue(new).await?;
    let json = arguments.json;
    let Some(patience) = arguments.wait else {
        if json {
            output::plain(json!({ "job": key.to_string(), "joined": joined }));
        } else {
            output::line(key);
            if joined {
                output::note(tr!(words, "job-joined"));
            }
        }
        return Ok(());
    };
    wait_and_print(words, &jobs, &key, patience, json).await
}
