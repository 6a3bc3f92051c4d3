//! `lamplighter pulse`: runs the pulse once, or shows how its runs of the last hour went.

use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use lamplighter_aws::{
    functions::Response,
    table::{Seen, Table},
};
use lamplighter_core::{
    id::RunId,
    name::TaskName,
    pulse::{Health, Record, Report, health},
    run::Run,
    status,
};
use lamplighter_project::catalog::Catalog;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Purpose, run::RunOptions};
use crate::{
    arguments::names,
    stack::target::Place,
    terminal::{
        output,
        progress::{beside, is_seen},
        show::table,
    },
    tr,
    words::Words,
};

/// The name of the pulse's function, after the stack's name.
const FUNCTION: &str = lamplighter_project::functions::PULSE_FUNCTION;
/// The entry of a report for a run in progress.
const RUNNING: &str = "RUNNING";
/// The pause between two looks at such a run.
const PAUSE: Duration = Duration::from_millis(500);
/// After this many reads in a row without the run, the run counts as not begun.
const UNSEEN: u32 = 20;
/// The number of pulse runs that the health is computed from: those of an hour.
const LOOKED_AT: u16 = 60;

/// Runs the pulse once, or shows its health.
///
/// The pulse is the function that starts due tasks each minute.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter pulse execute --dry-run")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: PulseCommand,
}

#[derive(Debug, clap::Subcommand)]
enum PulseCommand {
    Execute(Execute),
    Status(Status),
}

/// Starts the due tasks and waits for them.
///
/// The wait ends when the runs have ended or the pulse's time is over.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter pulse execute --force --task purge-expired")]
struct Execute {
    /// Starts nothing, and only shows the due tasks.
    #[arg(long)]
    dry_run: bool,
    /// Starts tasks even if they are not due.
    #[arg(long)]
    force: bool,
    /// Only this task.
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    #[command(flatten)]
    options: RunOptions,
    #[command(flatten)]
    place: Place,
}

/// Shows the health of the pulse, and the failure streak of each task.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter pulse status --json")]
struct Status {
    /// Prints JSON: the health, the newest record, and the tasks with a failure streak.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Arguments {
    pub(super) fn purpose(&self) -> Purpose {
        match self.command {
            PulseCommand::Execute(_) => Purpose::Report,
            PulseCommand::Status(_) => Purpose::Answer,
        }
    }
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.command {
        PulseCommand::Execute(arguments) => execute(words, arguments),
        PulseCommand::Status(arguments) => status(words, arguments),
    }
}

fn execute(words: &Words, arguments: &Execute) -> anyhow::Result<()> {
    super::never_wait(words);
    let catalog = super::catalog_with(&arguments.place, arguments.task.as_deref())?;
    let task = arguments.task.as_deref().map(|word| names::task(words, &catalog, word)).transpose()?;
    let Execute { options, place, .. } = arguments;
    let event = json!({ "dry_run": arguments.dry_run, "force": arguments.force, "task": task });
    let report = super::runtime()?.block_on(async {
        let (target, functions) = place
            .open_to_run(&catalog, options.environment.as_deref(), &options.secrets.file(), None)
            .await?;
        let line = |time| tr!(words, "pulse-running", time = time);
        let work = async {
            let response = functions.invoke(&target.function(FUNCTION), &event).await?;
            let mut report = match response {
                Response::Returned(report) => {
                    serde_json::from_value(report).context("the pulse returned no report")?
                }
                Response::Failed(failure) => bail!(tr!(words, "pulse-failed", reason = failure.to_string())),
            };
            // On this machine the functions end with this program.
            if !place.is_aws() {
                see_out(&target.table, &mut report).await?;
            }
            anyhow::Ok(report)
        };
        let report = beside(is_seen(options.json), line, Box::pin(work)).await;
        target.close(words).await;
        report
    })?;
    if options.json {
        output::plain(serde_json::to_string_pretty(&report)?);
    } else {
        for line in report_lines(words, &report) {
            output::line(line);
        }
    }
    let errors = &report.record.errors;
    if !errors.is_empty() || report.record.tally.failed > 0 {
        bail!(tr!(
            words,
            "pulse-not-well",
            failed = report.record.tally.failed,
            errors = if errors.is_empty() { "none".to_owned() } else { errors.join("; ") }
        ));
    }
    Ok(())
}

/// Waits for the runs in progress, and counts how they ended.
async fn see_out(table: &Table, report: &mut Report) -> anyhow::Result<()> {
    for tick in report.ticks.iter_mut().filter(|tick| tick.became == RUNNING) {
        let Some(run) = over(table, &tick.task, tick.run_id).await? else { continue };
        run.status.as_str().clone_into(&mut tick.became);
        let tally = &mut report.record.tally;
        tally.running = tally.running.saturating_sub(1);
        if run.status == status::Status::Completed {
            tally.succeeded += 1;
        } else {
            tally.failed += 1;
        }
    }
    Ok(())
}

/// Waits for the end of a run; none if it never began.
async fn over(table: &Table, task: &TaskName, id: RunId) -> anyhow::Result<Option<Box<Run>>> {
    let mut unseen = 0;
    loop {
        match table.look(task, id, Timestamp::now()).await? {
            Seen::Over(run) => return Ok(Some(run)),
            Seen::Held(_) => unseen = 0,
            Seen::Nowhere if unseen >= UNSEEN => return Ok(None),
            Seen::Nowhere => unseen += 1,
        }
        sleep(PAUSE).await;
    }
}

/// A line for each tick, then the counts.
fn report_lines(words: &Words, report: &Report) -> Vec<String> {
    if !report.worked {
        return vec![tr!(words, "pulse-another")];
    }
    let rows: Vec<_> = report
        .ticks
        .iter()
        .map(|tick| [tick.task.to_string(), words.time(tick.scheduled_for), tick.became.clone()])
        .collect();
    let mut lines: Vec<_> = table(words, 2, &rows).into_iter().map(|row| format!("  {row}")).collect();
    lines.push(numbers(words, &report.record));
    lines
}

fn numbers(words: &Words, record: &Record) -> String {
    let tally = &record.tally;
    tr!(
        words,
        "pulse-numbers",
        due = tally.due,
        executed = tally.executed,
        succeeded = tally.succeeded,
        failed = tally.failed,
        skipped = tally.skipped
    )
}

/// The health of the pulse, and what it is computed from.
struct PulseHealth {
    state: Health,
    /// The newest pulse run. It may be in progress.
    last: Option<Record>,
    /// The pulse runs that are not in progress, newest first.
    over: Vec<Record>,
    streaks: Vec<(TaskName, u64)>,
}

fn status(words: &Words, arguments: &Status) -> anyhow::Result<()> {
    let catalog = super::catalog_with(&arguments.place, None)?;
    let health = super::runtime()?.block_on(async {
        let target = arguments.place.open(&catalog).await?;
        let health = read_health(&target.table, &catalog).await;
        target.close(words).await;
        health
    })?;
    let well = health.over.iter().filter(|record| record.is_success()).count();
    let times = health.over.iter().filter_map(|record| record.duration_ms);
    let slowest = times.clone().max();
    let sum: u64 = times.clone().sum();
    let average = sum.checked_div(u64::try_from(times.count())?);
    let pulses = health.over.len();
    let rate = (well * 100).checked_div(pulses);
    if arguments.json {
        let streaks: serde_json::Map<_, _> =
            health.streaks.iter().map(|(task, streak)| (task.to_string(), Value::from(*streak))).collect();
        let answer = json!({
            "status": health.state.as_str(),
            "pulses": pulses,
            "success_rate": rate,
            "average_ms": average,
            "slowest_ms": slowest,
            "last": health.last,
            "failure_streaks": streaks,
        });
        output::plain(format!("{answer:#}"));
        return Ok(());
    }
    output::line(tr!(words, "pulse-health", health = health.state.as_str()));
    if let (Some(last), Some(rate)) = (&health.last, rate) {
        output::line(tr!(words, "pulse-last", time = last.started_at, numbers = numbers(words, last)));
        let duration = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| words.duration(ms));
        let (average, slowest) = (duration(average), duration(slowest));
        output::line(tr!(
            words,
            "pulse-rate",
            pulses = pulses,
            rate = rate,
            average = average,
            slowest = slowest
        ));
    }
    for (task, streak) in &health.streaks {
        output::line(tr!(words, "pulse-streak", task = task, streak = streak));
    }
    Ok(())
}

async fn read_health(table: &Table, catalog: &Catalog) -> anyhow::Result<PulseHealth> {
    let now = Timestamp::now();
    let mut records = table.pulses(LOOKED_AT).await?.records;
    let (state, last) = (health(&records, now), records.first().cloned());
    records.retain(|record| !record.is_in_progress(now));
    let mut streaks = Vec::new();
    for task in catalog.names() {
        let streak = table.state(task).await?.failure_streak;
        if streak > 0 {
            streaks.push((task.clone(), streak));
        }
    }
    Ok(PulseHealth { state, last, over: records, streaks })
}
