//! `lamplighter pulse`: what starts tasks each minute, done now, and how it has fared.

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
use lamplighter_project::workspace::Workspace;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Purpose, run::How};
use crate::{
    lookup, output,
    progress::{beside, is_seen},
    show::table,
    target::Place,
    tr,
    words::Words,
};

/// The pulse's function, behind the stack's name.
const FUNCTION: &str = lamplighter_project::functions::PULSE_FUNCTION;
/// What a report says of a run in progress.
const RUNNING: &str = "RUNNING";
/// The pause between two looks at such a run, and how often it may not be seen before it is taken not to begin.
const PAUSE: Duration = Duration::from_millis(500);
const UNSEEN: u32 = 20;
/// How many pulses are looked at for how they fare: an hour's.
const LOOKED_AT: u16 = 60;

/// Does the work of the pulse now, or tells how it has fared.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter pulse execute --dry-run")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Execute(Execute),
    Status(Status),
}

/// Starts what is due, and waits until it is over or the pulse's time is up.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter pulse execute --force --task purge-expired")]
struct Execute {
    /// Only says what would be started.
    #[arg(long)]
    dry_run: bool,
    /// Starts tasks whether or not they are due.
    #[arg(long)]
    force: bool,
    /// Only this task.
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    place: Place,
}

/// Tells how the pulses of the last hour have fared, and each task's failures since it last completed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter pulse status --json")]
struct Status {
    /// Prints JSON: the health, the newest record, and the tasks with a failure streak.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Arguments {
    pub(super) fn purpose(&self) -> Purpose {
        match self.what {
            What::Execute(_) => Purpose::Report,
            What::Status(_) => Purpose::Answer,
        }
    }
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.what {
        What::Execute(arguments) => execute(words, arguments),
        What::Status(arguments) => status(words, arguments),
    }
}

fn execute(words: &Words, arguments: &Execute) -> anyhow::Result<()> {
    super::never_wait(words);
    let workspace = super::workspace()?;
    let task = arguments.task.as_deref().map(|word| lookup::task(words, &workspace, word)).transpose()?;
    let Execute { how, place, .. } = arguments;
    let event = json!({ "dry_run": arguments.dry_run, "force": arguments.force, "task": task });
    let report = super::runtime()?.block_on(async {
        let (target, functions) =
            place.open_to_run(&workspace, how.environment.as_deref(), &how.secrets.file(), None).await?;
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
        let report = beside(is_seen(how.json), line, Box::pin(work)).await;
        target.close().await;
        report
    })?;
    if how.json {
        output::plain(serde_json::to_string_pretty(&report)?);
    } else {
        for line in told(words, &report) {
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

/// Waits for the runs that are in progress, and counts how they ended.
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

/// A run that is over; nothing if it never began.
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

/// A line for each tick, and what became of them in numbers.
fn told(words: &Words, report: &Report) -> Vec<String> {
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

/// How the pulses fare.
struct Fared {
    health: Health,
    records: Vec<Record>,
    streaks: Vec<(TaskName, u64)>,
}

fn status(words: &Words, arguments: &Status) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    let fared = super::runtime()?.block_on(async {
        let target = arguments.place.open(&workspace).await?;
        let fared = fared(&target.table, &workspace).await;
        target.close().await;
        fared
    })?;
    let well = fared.records.iter().filter(|record| record.is_success()).count();
    let times = fared.records.iter().filter_map(|record| record.duration_ms);
    let (slowest, sum) = times.clone().fold((0, 0), |(most, sum), ms| (ms.max(most), sum + ms));
    let average = sum.checked_div(u64::try_from(times.count())?).unwrap_or(0);
    let rate = (well * 100).checked_div(fared.records.len());
    if arguments.json {
        let streaks: serde_json::Map<_, _> =
            fared.streaks.iter().map(|(task, streak)| (task.to_string(), Value::from(*streak))).collect();
        let told = json!({
            "status": fared.health.as_str(),
            "pulses": fared.records.len(),
            "success_rate": rate,
            "average_ms": average,
            "slowest_ms": slowest,
            "last": fared.records.first(),
            "failure_streaks": streaks,
        });
        output::plain(format!("{told:#}"));
        return Ok(());
    }
    output::line(tr!(words, "pulse-health", health = fared.health.as_str()));
    if let (Some(last), Some(rate)) = (fared.records.first(), rate) {
        output::line(tr!(words, "pulse-last", time = last.started_at, numbers = numbers(words, last)));
        let (average, slowest) = (words.duration(average), words.duration(slowest));
        let pulses = fared.records.len();
        output::line(tr!(
            words,
            "pulse-rate",
            pulses = pulses,
            rate = rate,
            average = average,
            slowest = slowest
        ));
    }
    for (task, streak) in &fared.streaks {
        output::line(tr!(words, "pulse-streak", task = task, streak = streak));
    }
    Ok(())
}

async fn fared(table: &Table, workspace: &Workspace) -> anyhow::Result<Fared> {
    let records = table.pulses(LOOKED_AT).await?.records;
    let mut streaks = Vec::new();
    for task in workspace.tasks.iter().map(|task| &task.name) {
        let streak = table.state(task).await?.failure_streak;
        if streak > 0 {
            streaks.push((task.clone(), streak));
        }
    }
    Ok(Fared { health: health(&records, Timestamp::now()), records, streaks })
}
