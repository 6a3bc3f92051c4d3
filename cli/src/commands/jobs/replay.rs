//! `lamplighter jobs replay`: another go.

use anyhow::bail;
use jiff::Timestamp;
use lamplighter_aws::{jobs::Jobs, table::JobRecord};
use lamplighter_core::{
    hidden,
    id::RunId,
    job::{Job, JobKey, NewJob},
    name::TaskName,
    run::{Run, Trigger},
};
use serde_json::json;

use super::dead::{failed, taken};
use crate::{
    commands, lookup, output,
    target::{Place, Target},
    tr,
    words::Words,
};

/// How many dead letters of a queue a replay of all takes at once.
const AT_ONCE: u16 = 1000;

/// Gives dead letters another go: a job that failed as a new job with the same arguments, once; a message in its queue.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter jobs replay send-receipt --all")]
pub(super) struct Arguments {
    /// The task.
    task: String,
    /// Which: the ids of runs, or of messages.
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "RUN|MESSAGE")]
    which: Vec<String>,
    /// All of them, at most 1000 of each kind.
    #[arg(long)]
    all: bool,
    /// Prints JSON: what became of each.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// What became of one that was replayed.
enum Replayed {
    /// A job, as a new one; or as one that there was, because it had been replayed before.
    Job { run: RunId, new: JobKey, before: bool },
    /// A job that no worker has: its message.
    Woken(JobKey),
    /// A message.
    Message(String),
}

pub(super) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let workspace = commands::workspace()?;
    let task = lookup::task(words, &workspace, &arguments.task)?;
    let replayed = commands::runtime()?.block_on(async {
        let target = arguments.place.open(&workspace).await?;
        let replayed = replay_in(words, &target, &task, arguments).await;
        target.close().await;
        replayed
    })?;
    if arguments.json {
        let told = replayed.iter().map(|it| match it {
            Replayed::Job { run, new, before } => {
                json!({ "retry_of": run, "run_id": new.run_id, "replayed_before": before })
            }
            Replayed::Woken(job) => json!({ "rung": job.run_id }),
            Replayed::Message(id) => json!({ "message": id }),
        });
        output::plain(serde_json::to_string_pretty(&told.collect::<Vec<_>>())?);
        return Ok(());
    }
    if replayed.is_empty() {
        output::line(tr!(words, "jobs-none-dead"));
    }
    for it in &replayed {
        match it {
            Replayed::Job { run, new, before: false } => {
                output::line(tr!(words, "jobs-replayed", run = run, new = new.run_id));
            }
            Replayed::Job { run, new, before: true } => {
                output::line(tr!(words, "jobs-replayed-before", run = run, new = new.run_id));
            }
            Replayed::Woken(job) => output::line(tr!(words, "jobs-rung", job = job.to_string())),
            Replayed::Message(id) => output::line(tr!(words, "jobs-sent-back", message = id)),
        }
    }
    Ok(())
}

async fn replay_in(
    words: &Words,
    target: &Target,
    task: &TaskName,
    arguments: &Arguments,
) -> anyhow::Result<Vec<Replayed>> {
    let jobs = target.jobs().await?;
    let mut left = arguments.which.clone();
    let mut replayed = Vec::new();
    let runs: Vec<RunId> = if arguments.all {
        failed(&target.table, task, AT_ONCE).await?.into_iter().map(|run| run.id).collect()
    } else {
        left.extract_if(.., |word| word.parse::<RunId>().is_ok())
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    for id in runs {
        replayed.push(replay_job(words, &jobs, task, id).await?);
    }
    if let Some(queues) = target.dead_letters().await?.filter(|_| arguments.all || !left.is_empty()) {
        let (chosen, others): (Vec<_>, Vec<_>) = taken(&queues, task, AT_ONCE)
            .await?
            .into_iter()
            .partition(|letter| arguments.all || left.contains(&letter.id));
        queues.let_go(&others).await;
        for letter in chosen {
            queues.send_back(&letter).await?;
            left.retain(|id| *id != letter.id);
            replayed.push(Replayed::Message(letter.id));
        }
    }
    match left.first() {
        Some(id) => bail!(tr!(words, "jobs-no-such", id = id, task = task)),
        None => Ok(replayed),
    }
}

/// A job that failed becomes a new one. Of one that nobody has, its message is sent once more.
async fn replay_job(words: &Words, jobs: &Jobs, task: &TaskName, id: RunId) -> anyhow::Result<Replayed> {
    match jobs.find(&JobKey { task: task.clone(), run_id: id }).await? {
        None => bail!(tr!(words, "jobs-no-such", id = id, task = task)),
        Some(JobRecord::Over(run)) if run.status.is_failure() => Box::pin(again(jobs, *run)).await,
        Some(JobRecord::Over(run)) => {
            bail!(tr!(words, "control-did-not-fail", task = task, run = id, status = run.status))
        }
        // A worker whose lease has ended is dead, and whoever is told of the job takes it over.
        Some(JobRecord::Open(job))
            if job.lease.as_ref().is_some_and(|lease| lease.until >= Timestamp::now()) =>
        {
            bail!(tr!(words, "jobs-runs", job = job.key().to_string()))
        }
        Some(JobRecord::Open(job)) => Box::pin(ring(jobs, &job)).await,
    }
}

/// A job that failed, as a new one: one, however often it is asked for.
async fn again(jobs: &Jobs, failed: Run) -> anyhow::Result<Replayed> {
    let run = jobs.table().whole(failed).await?;
    if run.trigger != Trigger::Queue && hidden::is_masked(&run.arguments) {
        bail!(
            "the arguments of {} had a secret, which no record keeps: enqueue it anew, with the secret in the task's \
             configuration",
            run.id
        );
    }
    let new = NewJob {
        arguments: run.arguments,
        priority: run.priority,
        limit: run.place_limit,
        unique: run.unique,
        retry_of: Some(run.id),
        is_replay: true,
        ..NewJob::of(run.task)
    };
    let accepted = jobs.enqueue(new).await?;
    Ok(Replayed::Job { run: run.id, new: accepted.key, before: accepted.joined })
}

async fn ring(jobs: &Jobs, job: &Job) -> anyhow::Result<Replayed> {
    if job.after.is_empty() {
        jobs.wake_worker(job).await?;
    } else {
        jobs.wake_followers(vec![job.key()]).await?;
    }
    Ok(Replayed::Woken(job.key()))
}
