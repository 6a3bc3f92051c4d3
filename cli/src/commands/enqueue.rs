//! `lamplighter enqueue`: enqueues a job for a queue task.

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
        json::{JsonSource, json_source},
        names::{self, Misuse},
        time::duration,
    },
    stack::target::{Place, Target},
    terminal::output,
    tr,
    words::Words,
};

/// Enqueues a job for a queue task.
///
/// The arguments are checked before the job is enqueued. The command prints the job's name, which `status`, `result` and
/// `abort` take.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  lamplighter enqueue send-receipt --delay 20m --unique task --within 1h"
)]
pub(crate) struct Arguments {
    /// The queue task.
    #[arg(value_name = "TASK")]
    task: String,
    /// The job's arguments: a JSON object with a key for each, `@FILE`, or `-` for stdin.
    #[arg(value_name = "ARGUMENTS", value_parser = json_source, default_value = "{}")]
    source: JsonSource,
    /// The delay before the job may start, such as `20m`.
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "at")]
    delay: Option<Duration>,
    /// The time at which the job may start: `2026-11-21T06:00:00Z`.
    #[arg(long, value_name = "WHEN")]
    at: Option<Timestamp>,
    /// The priority among the jobs that wait for a runner. Default: the task's.
    #[arg(long, value_name = "PRIORITY")]
    priority: Option<Priority>,
    /// An idempotency key: a second job with the same key is not enqueued.
    #[arg(long, value_name = "TEXT")]
    id: Option<String>,
    /// Makes the job unique until it ends: per `task`, per `arguments`, or per a key of your own.
    #[arg(long, value_name = "SCOPE", requires = "within")]
    unique: Option<String>,
    /// The longest time for which the job is unique.
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "unique")]
    within: Option<Duration>,
    /// If a job with the unique key exists, returns that job instead of failing.
    #[arg(long, requires = "unique")]
    join: bool,
    /// How many jobs of the task with the same --key may run at once; others wait.
    #[arg(long, value_name = "NUMBER", requires = "key", value_parser = clap::value_parser!(u32).range(1..))]
    at_most: Option<u32>,
    /// The key that --at-most counts by, such as a customer or a host.
    #[arg(long, value_name = "TEXT", requires = "at_most")]
    key: Option<String>,
    /// How long the job may wait for its start before it fails.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    expires_in: Option<Duration>,
    /// A job that must complete before this one starts. Repeatable.
    #[arg(long, value_name = "JOB")]
    after: Vec<JobKey>,
    /// Waits for the job's end, at most this long, and prints its result.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    /// Prints JSON: the job's name; with --wait, its record.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let catalog = super::catalog(Some(&arguments.place))?;
    let task = names::task(words, &catalog, &arguments.task)?;
    let project = super::project(&catalog, None)?;
    let Some(definition) = super::definitions(project, Some(&task)).pop() else {
        bail!(Misuse(tr!(words, "job-no-queue", task = task)))
    };
    let new = wanted(words, &definition, arguments)?;
    super::runtime()?.block_on(async {
        let target = arguments.place.open(&catalog).await?;
        let enqueued = enqueue(words, &target, &definition, new, arguments).await;
        target.close(words).await;
        enqueued
    })
}

/// Builds the job from the command line, or says what is wrong with it.
fn wanted(words: &Words, definition: &Definition, arguments: &Arguments) -> Result<NewJob, Misuse> {
    let Some(queue) = definition.queue() else {
        return Err(Misuse(tr!(words, "job-no-queue", task = definition.name)));
    };
    let given = Value::Object(arguments.source.read("ARGUMENTS")?);
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
        // Written as the task's own `enqueue` writes them, so that equal arguments compare equal.
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
