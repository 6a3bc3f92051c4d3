//! `lamplighter run`: one run of a task, now.

use anstream::println;
use anyhow::bail;
use jiff::Timestamp;
use lamplighter_aws::{functions::Functions, random::random, table::Table};
use lamplighter_core::{
    claim::Refusal,
    envelope::Envelope,
    id::RunId,
    name::TaskName,
    resolve,
    run::{Run, Trigger},
    status::Status,
};
use serde_json::{Map, Value};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    follow::{Ended, follow},
    known::{self, Misuse},
    progress::{beside, is_seen},
    project::{given::SecretsFile, secrets},
    say,
    show::sign,
    target::{Place, Target},
    words::Words,
};

/// Runs a task now, once, and waits until it is over. Ctrl-C asks the run to end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter run purge-expired")]
pub(crate) struct Arguments {
    /// The task.
    #[arg(value_name = "TASK")]
    task: String,
    /// What its configuration has instead in this run only: a JSON object.
    #[arg(long, value_name = "JSON", value_parser = object)]
    config: Option<Object>,
    /// What the body of a queue task is given: a JSON object with one key for each argument.
    #[arg(long = "arguments", value_name = "JSON", value_parser = object)]
    given: Option<Object>,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    place: Place,
}

/// How what runs is told.
#[derive(Debug, clap::Args)]
pub(super) struct How {
    /// The environment, on this machine; goes before `environment` in lamplighter.toml.
    #[arg(long, conflicts_with_all = ["aws", "profile", "region", "table"])]
    pub(super) environment: Option<String>,
    #[command(flatten)]
    pub(super) secrets: SecretsFile,
    /// Prints JSON: the run's whole record, as `history` does.
    #[arg(long)]
    pub(super) json: bool,
}

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// Reads a JSON object from the command line.
pub(super) fn object(text: &str) -> Result<Object, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("{error}; it must be an object, such as {{\"key\": 1}}"))
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    let task = known::task(words, &workspace, &arguments.task)?;
    let Arguments { how, place, .. } = arguments;
    let config = arguments.config.clone().map_or(Value::Null, Value::Object);
    if let Some(found) = resolve::find(&config).first() {
        bail!(Misuse(format!("--config: {}", secrets::unresolved(&found.path))));
    }
    super::runtime()?.block_on(async {
        let (target, functions) = place
            .open_to_run(&workspace, how.environment.as_deref(), &how.secrets, Some((&task, &config)))
            .await?;
        let given = arguments.given.clone().map_or(Value::Null, Value::Object);
        let envelope = Envelope { config, arguments: given, ..Envelope::of(Trigger::Manual) };
        let ended = carry_out(words, &target, &functions, &task, envelope, how.json).await;
        target.close().await;
        tell(words, &ended?, how.json)
    })
}

/// Runs the task and shows that it does. An interrupt asks the run to end; a second one leaves it alone.
pub(super) async fn carry_out(
    words: &Words,
    target: &Target,
    functions: &Functions,
    task: &TaskName,
    envelope: Envelope,
    json: bool,
) -> anyhow::Result<Ended> {
    let id = RunId::new(Timestamp::now(), random());
    let function = target.function(task.as_str());
    let run = Box::pin(follow(&target.table, functions, &function, task, id, envelope));
    let line = |time| say!(words, "control-running", task = task, time = time);
    tokio::select! {
        ended = beside(is_seen(json), line, run) => whole(&target.table, ended?, json).await,
        given_up = heed_interrupts(words, &target.table, task, id) => Err(given_up),
    }
}

/// The end with the run's whole record, if that is to be printed.
async fn whole(table: &Table, ended: Ended, json: bool) -> anyhow::Result<Ended> {
    Ok(match ended {
        Ended::Over(run) if json => Ended::Over(Box::new(table.whole(*run).await?)),
        ended => ended,
    })
}

/// Asks the run to end when there is an interrupt, and returns at the second.
async fn heed_interrupts(words: &Words, table: &Table, task: &TaskName, id: RunId) -> anyhow::Error {
    // One listener for both: an interrupt that comes between two of them would be nobody's.
    let mut interrupts = signal(SignalKind::interrupt()).ok();
    interrupt(&mut interrupts).await;
    eprintln!("\n{}", say!(words, "control-asked", task = task, run = id));
    let ask = async {
        // It may not have begun.
        while !matches!(table.cancel(task, id).await, Ok(true)) {
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = ask => {}
        () = interrupt(&mut interrupts) => {}
    }
    anyhow::anyhow!(say!(words, "control-left", task = task, run = id))
}

/// Waits for the next one.
async fn interrupt(interrupts: &mut Option<Signal>) {
    match interrupts {
        Some(interrupts) => drop(interrupts.recv().await),
        // Without a handler the program ends as programs do.
        None => std::future::pending().await,
    }
}

/// Prints how a run ended. It is an error if it did not complete.
pub(super) fn tell(words: &Words, ended: &Ended, json: bool) -> anyhow::Result<()> {
    let run = ended.run();
    if json {
        std::println!("{}", serde_json::to_string_pretty(run)?);
    }
    match ended {
        Ended::Over(run) => {
            if !json {
                println!("{}", line(words, run));
            }
            match run.status {
                Status::Completed => Ok(()),
                _ => bail!(say!(
                    words,
                    "control-not-completed",
                    task = run.task,
                    run = run.id,
                    status = run.status
                )),
            }
        }
        Ended::Refused(refusal, run) => bail!(refused(words, refusal, run)),
    }
}

/// One line of a run that is over: how, how long it took, and what it said.
pub(super) fn line(words: &Words, run: &Run) -> String {
    let (sign, style) = sign(run.status);
    let took = words.duration(run.duration_ms());
    let said = words.reason(run).or_else(|| run.message.clone()).unwrap_or_default();
    let told = match run.attempts.len() {
        0 | 1 => say!(words, "control-over", task = run.task, status = run.status, time = took),
        tries => say!(
            words,
            "control-over-tries",
            task = run.task,
            status = run.status,
            time = took,
            tries = tries
        ),
    };
    let colon = if said.is_empty() { "" } else { ": " };
    format!("{style}{sign}{style:#} {told}{colon}{said}")
}

fn refused(words: &Words, refusal: &Refusal, run: &Run) -> String {
    let task = &run.task;
    match refusal {
        Refusal::Disabled => say!(words, "control-is-disabled", task = task),
        Refusal::PreviousInstanceRunning { run_id, until } => {
            say!(words, "control-is-running", task = task, run = run_id, until = until)
        }
        other => say!(words, "control-refused", task = task, reason = words.recorded(&other.to_string())),
    }
}
