//! `lamplighter status`, `result` and `abort`: one job.

use std::time::Duration;

use anyhow::bail;
use jiff::Timestamp;
use lamplighter_aws::{
    jobs::Jobs,
    table::{Aborted, Found},
};
use lamplighter_core::{
    job::{Job, JobKey},
    run::Run,
    status,
};
use lamplighter_project::workspace::Workspace;

use super::{enqueue::time, run::line};
use crate::{
    lookup, output,
    progress::{beside, is_seen},
    target::{Place, Target},
    tr,
    words::Words,
};

/// Tells where a job stands.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter status send-receipt/01KB3VX2S1M5V1QH8YH6C1A0ZD")]
pub(crate) struct Status {
    #[command(flatten)]
    which: Which,
}

/// Prints what a job's body returned, as JSON. It is an error if it did not complete.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  lamplighter result send-receipt/01KB3VX2S1M5V1QH8YH6C1A0ZD --timeout 30s"
)]
pub(crate) struct Result {
    /// How long it waits for the job's end.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1s")]
    timeout: Duration,
    #[command(flatten)]
    which: Which,
}

/// Ends a job that has not started, and asks one that runs to end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter abort send-receipt/01KB3VX2S1M5V1QH8YH6C1A0ZD")]
pub(crate) struct Abort {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The job, as `enqueue` printed it: its task and its run's id, or that alone.
    #[arg(value_name = "JOB")]
    job: String,
    /// Prints JSON: the job's record.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Which {
    /// Finds the job, and does something with it.
    fn with<T>(
        &self,
        words: &Words,
        act: impl AsyncFnOnce(&Target, JobKey, Found) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let workspace: Workspace = super::workspace()?;
        super::runtime()?.block_on(async {
            let target = self.place.open(&workspace).await?;
            let done = match lookup::job(words, &target.table, &workspace, &self.job).await {
                Ok((key, found)) => act(&target, key, found).await,
                Err(error) => Err(error),
            };
            target.close().await;
            done
        })
    }
}

impl Status {
    pub(crate) fn run(&self, words: &Words) -> anyhow::Result<()> {
        self.which.with(words, async |_, key, found| {
            if self.which.json {
                let record = match &found {
                    Found::Open(job) => serde_json::to_string_pretty(job)?,
                    Found::Over(run) => serde_json::to_string_pretty(run)?,
                };
                output::plain(record);
                return Ok(());
            }
            match &found {
                Found::Over(run) => output::line(line(words, run)),
                Found::Open(job) => output::line(format!("{key} {}", stands(words, job))),
            }
            Ok(())
        })
    }
}

/// Where a job stands that is not over.
pub(super) fn stands(words: &Words, job: &Job) -> String {
    let now = Timestamp::now();
    let status = words.status(job.status);
    let why = match (job.lease.as_ref(), job.not_before.filter(|at| *at > now)) {
        (Some(lease), _) => {
            tr!(words, "job-has-worker", attempt = job.fencing_token, until = words.time(lease.until))
        }
        (None, _) if !job.after.is_empty() => tr!(words, "job-waits-for", count = job.after.len()),
        (None, Some(at)) => tr!(words, "job-not-before", at = words.time(at)),
        (None, None) => tr!(words, "job-waits-for-worker"),
    };
    format!("{status}: {why}")
}

impl Result {
    pub(crate) fn run(&self, words: &Words) -> anyhow::Result<()> {
        self.which.with(words, async |target, key, _| {
            let jobs = target.jobs().await?;
            wait_and_tell(words, &jobs, &key, self.timeout, self.which.json).await
        })
    }
}

impl Abort {
    pub(crate) fn run(&self, words: &Words) -> anyhow::Result<()> {
        self.which.with(words, async |target, key, _| {
            let jobs = target.jobs().await?;
            let job = key.to_string();
            match jobs.abort(&key).await? {
                Aborted::Ended(run, _) if self.which.json => {
                    output::plain(serde_json::to_string_pretty(&run)?);
                }
                Aborted::Ended(run, _) => output::line(line(words, &run)),
                Aborted::Asked => output::line(tr!(words, "job-asked", job = job)),
                Aborted::Over(run) => {
                    bail!(tr!(words, "job-is-over", job = job, status = run.status))
                }
                Aborted::Unknown => bail!(tr!(words, "job-no-such", job = job)),
            }
            Ok(())
        })
    }
}

/// Waits for a job's end, for that long, and prints what it came to. It is an error if it is not over by then.
pub(super) async fn wait_and_tell(
    words: &Words,
    jobs: &Jobs,
    key: &JobKey,
    patience: Duration,
    json: bool,
) -> anyhow::Result<()> {
    let line = |time| tr!(words, "job-waiting", job = key.to_string(), time = time);
    match beside(is_seen(json), line, jobs.wait(key, patience)).await? {
        Some(run) => tell(words, &jobs.table().whole(run).await?, json),
        None => bail!(tr!(words, "job-not-over", job = key.to_string())),
    }
}

/// Prints what a job came to: its data, or with `json` its record. It is an error if it did not complete.
fn tell(words: &Words, run: &Run, json: bool) -> anyhow::Result<()> {
    if json {
        output::plain(serde_json::to_string_pretty(run)?);
    }
    if run.status == status::Status::Completed {
        if !json {
            output::plain(serde_json::to_string_pretty(&run.data)?);
        }
        return Ok(());
    }
    let why = words.reason(run).unwrap_or_default();
    bail!(tr!(words, "job-failed", job = format!("{}/{}", run.task, run.id), status = run.status, why = why))
}
