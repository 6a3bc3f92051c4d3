//! `lamplighter jobs replay`: enqueues failed jobs again, and returns dead letters to their queues.

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
    arguments::names,
    commands,
    stack::target::{Place, Target},
    terminal::output,
    tr,
    words::Words,
};

/// The most failed jobs, and the most dead letters, that one replay of all takes.
const AT_ONCE: u16 = 1000;

/// Enqueues failed jobs again, and returns dead letters to their queues.
///
/// A failed job becomes a new job with the same arguments. A second replay of it returns the same new job.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter jobs replay send-receipt --all")]
pub(super) struct Arguments {
    /// The task.
    task: String,
    /// The ids of the failed jobs or of the messages.
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "RUN|MESSAGE")]
    which: Vec<String>,
    /// Replays all, at most 1000 jobs and 1000 messages.
    #[arg(long)]
    all: bool,
    /// Prints JSON: the outcome of each.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// The outcome of one replay.
enum Replayed {
    /// A failed job became a new one; `before` if an earlier replay had enqueued it.
    Job { run: RunId, new: JobKey, before: bool },
    /// An open job without a worker: workers were notified.
    Woken(JobKey),
    /// A message went back to its queue.
    Message(String),
}

pub(super) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let catalog = commands::catalog_with(&arguments.place, Some(&arguments.task))?;
    let task = names::task(words, &catalog, &arguments.task)?;
    let replayed = commands::runtime()?.block_on(async {
        let target = arguments.place.open(&catalog).await?;
        let replayed = replay_in(words, &target, &task, arguments).await;
        target.close(words).await;
        replayed
    })?;
    if arguments.json {
        let replays = replayed.iter().map(|it| match it {
            Replayed::Job { run, new, before } => {
                json!({ "retry_of": run, "run_id": new.run_id, "replayed_before": before })
            }
            Replayed::Woken(job) => json!({ "rung": job.run_id }),
            Replayed::Message(id) => json!({ "message": id }),
        });
        output::plain(serde_json::to_string_pretty(&replays.collect::<Vec<_>>())?);
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
            Replayed::Woken(job) => output::line(tr!(words, "jobs-notified", job = job.to_string())),
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

/// Replays a failed job. For an open job without a worker, notifies the workers again.
async fn replay_job(words: &Words, jobs: &Jobs, task: &TaskName, id: RunId) -> anyhow::Result<Replayed> {
    match jobs.find(&JobKey { task: task.clone(), run_id: id }).await? {
        None => bail!(tr!(words, "jobs-no-such", id = id, task = task)),
        Some(JobRecord::Over(run)) if run.status.is_failure() => Box::pin(again(jobs, *run)).await,
        Some(JobRecord::Over(run)) => {
            bail!(tr!(words, "control-did-not-fail", task = task, run = id, status = run.status))
        }
        // After the end of a lease its worker is dead, and the next worker that is notified takes the job over.
        Some(JobRecord::Open(job))
            if job.lease.as_ref().is_some_and(|lease| lease.until >= Timestamp::now()) =>
        {
            bail!(tr!(words, "jobs-runs", job = job.key().to_string()))
        }
        Some(JobRecord::Open(job)) => Box::pin(notify(jobs, &job)).await,
    }
}

/// Enqueues a failed job as a new one, once, however often it is replayed.
async fn again(jobs: &Jobs, failed: Run) -> anyhow::Result<Replayed> {
    let run = jobs.table().whole(failed).await?;
    if run.trigger != Trigger::Queue && hidden::is_masked(&run.arguments) {
        bail!(
            "the arguments of {} had a secret, which records do not contain: enqueue a new job, with the secret in the \
             task's configuration",
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

async fn notify(jobs: &Jobs, job: &Job) -> anyhow::Result<Replayed> {
    if job.after.is_empty() {
        jobs.wake_worker(job).await?;
    } else {
        jobs.wake_followers(vec![job.key()]).await?;
    }
    Ok(Replayed::Woken(job.key()))
}
