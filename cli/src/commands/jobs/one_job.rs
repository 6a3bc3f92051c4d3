//! `lamplighter jobs status`, `result` and `abort`, and their short forms: one job.

use std::time::Duration;

use anyhow::bail;
use jiff::Timestamp;
use lamplighter_aws::{
    jobs::Jobs,
    table::{AbortOutcome, JobRecord},
};
use lamplighter_core::{
    job::{Job, JobKey},
    run::Run,
    status,
};

use crate::commands::{self, run::line};
use crate::{
    arguments::{names, time::duration},
    stack::target::{Place, Target},
    terminal::{
        output,
        progress::{beside, is_seen},
    },
    tr,
    words::Words,
};

/// Shows the state of a job.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter status send-receipt/01KB3VX2S1M5V1QH8YH6C1A0ZD")]
pub(crate) struct Status {
    #[command(flatten)]
    arguments: JobArguments,
}

/// Prints the result of a job, as JSON.
///
/// The command fails if the job did not complete.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  lamplighter result send-receipt/01KB3VX2S1M5V1QH8YH6C1A0ZD --timeout 30s"
)]
pub(crate) struct Result {
    /// How long to wait for the job's end.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    timeout: Duration,
    #[command(flatten)]
    arguments: JobArguments,
}

/// Cancels a job, whether it waits or runs.
///
/// A job that has not started ends at once. A job in progress ends as a cancelled run does.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter abort send-receipt/01KB3VX2S1M5V1QH8YH6C1A0ZD")]
pub(crate) struct Abort {
    #[command(flatten)]
    arguments: JobArguments,
}

#[derive(Debug, clap::Args)]
struct JobArguments {
    /// The job, as `enqueue` printed it: `TASK/ID`, or the id alone.
    #[arg(value_name = "JOB")]
    job: String,
    /// Prints JSON: the job's record.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl JobArguments {
    /// Finds the job and passes it to `act`.
    fn with<T>(
        &self,
        words: &Words,
        act: impl AsyncFnOnce(&Target, JobKey, JobRecord) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let catalog = commands::catalog_with(&self.place, None)?;
        commands::runtime()?.block_on(async {
            let target = self.place.open(&catalog).await?;
            let done = match names::job(words, &target.table, &catalog, &self.job).await {
                Ok((key, found)) => act(&target, key, found).await,
                Err(error) => Err(error),
            };
            target.close(words).await;
            done
        })
    }
}

impl Status {
    pub(crate) fn run(&self, words: &Words) -> anyhow::Result<()> {
        self.arguments.with(words, async |_, key, found| {
            if self.arguments.json {
                let record = match &found {
                    JobRecord::Open(job) => serde_json::to_string_pretty(job)?,
                    JobRecord::Over(run) => serde_json::to_string_pretty(run)?,
                };
                output::plain(record);
                return Ok(());
            }
            match &found {
                JobRecord::Over(run) => output::line(line(words, run)),
                JobRecord::Open(job) => output::line(format!("{key} {}", state_of(words, job))),
            }
            Ok(())
        })
    }
}

/// Describes the state of a job that has not ended.
pub(super) fn state_of(words: &Words, job: &Job) -> String {
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
        self.arguments.with(words, async |target, key, _| {
            let jobs = target.jobs().await?;
            wait_and_print(words, &jobs, &key, self.timeout, self.arguments.json).await
        })
    }
}

impl Abort {
    pub(crate) fn run(&self, words: &Words) -> anyhow::Result<()> {
        self.arguments.with(words, async |target, key, _| {
            let jobs = target.jobs().await?;
            let job = key.to_string();
            match jobs.abort(&key).await? {
                AbortOutcome::Ended(run, _) if self.arguments.json => {
                    output::plain(serde_json::to_string_pretty(&run)?);
                }
                AbortOutcome::Ended(run, _) => output::line(line(words, &run)),
                AbortOutcome::Asked => output::line(tr!(words, "job-cancelling", job = job)),
                AbortOutcome::Over(run) => {
                    bail!(tr!(words, "job-is-over", job = job, status = run.status))
                }
                AbortOutcome::Unknown => bail!(tr!(words, "job-no-such", job = job)),
            }
            Ok(())
        })
    }
}

/// Waits for a job's end and prints its result. Fails if the job has not ended within `patience`.
pub(crate) async fn wait_and_print(
    words: &Words,
    jobs: &Jobs,
    key: &JobKey,
    patience: Duration,
    json: bool,
) -> anyhow::Result<()> {
    let line = |time| tr!(words, "job-waiting", job = key.to_string(), time = time);
    match beside(is_seen(json), line, jobs.wait(key, patience)).await? {
        Some(run) => print_result(words, &jobs.table().whole(run).await?, json),
        None => bail!(tr!(words, "job-not-over", job = key.to_string())),
    }
}

/// Prints a job's data, or its record with `json`. Fails if the job did not complete.
fn print_result(words: &Words, run: &Run, json: bool) -> anyhow::Result<()> {
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
