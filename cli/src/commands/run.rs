//! `lamplighter run`: runs a task once, now.

use anyhow::bail;
use jiff::Timestamp;
use lamplighter_aws::{functions::Functions, process::EndSignals, random::random, table::Table};
use lamplighter_core::{
    claim::Refusal,
    definition::Definition,
    envelope::Envelope,
    id::RunId,
    name::TaskName,
    resolve,
    run::{Run, Trigger},
    schema,
    settings::Settings,
    status::Status,
};
use lamplighter_project::tasks::secrets;

use crate::{
    arguments::{
        json::{self, JsonSource, Secrets, json_source},
        names::{self, Misuse},
    },
    stack::{
        follow::{RunOutcome, follow},
        target::{Place, Target},
    },
    terminal::{
        output,
        progress::{beside, is_seen},
        show::sign,
        text::escaped,
    },
    tr,
    words::Words,
};

/// Runs a task once, now, and waits for its end.
///
/// Ctrl-C, SIGTERM or SIGHUP cancels the run. A second signal stops waiting for it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter run purge-expired")]
pub(crate) struct Arguments {
    /// The task.
    #[arg(value_name = "TASK")]
    task: String,
    /// Configuration for this run only: a JSON object, `@FILE`, or `-` for stdin.
    #[arg(long, value_name = "JSON", value_parser = json_source)]
    config: Option<JsonSource>,
    /// Arguments of a queue task: a JSON object with a key for each, `@FILE`, or `-` for stdin.
    #[arg(long = "arguments", value_name = "JSON", value_parser = json_source)]
    given: Option<JsonSource>,
    #[command(flatten)]
    options: RunOptions,
    #[command(flatten)]
    place: Place,
}

/// The options of commands that run tasks.
#[derive(Debug, clap::Args)]
pub(super) struct RunOptions {
    /// The environment, on this machine. Overrides `environment` in lamplighter.toml.
    #[arg(long, conflicts_with_all = ["aws", "profile", "region", "table"])]
    pub(super) environment: Option<String>,
    #[command(flatten)]
    pub(super) secrets: Secrets,
    /// Prints JSON: the whole record.
    #[arg(long)]
    pub(super) json: bool,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    super::never_wait(words);
    let catalog = super::catalog(Some(&arguments.place))?;
    let task = names::task(words, &catalog, &arguments.task)?;
    let Arguments { options, place, .. } = arguments;
    let [config, given] = json::read([("--config", &arguments.config), ("--arguments", &arguments.given)])?;
    if let Some(found) = resolve::find(&config).first() {
        bail!(Misuse(format!("--config: {}", secrets::unresolved(&found.path))));
    }
    let envelope = Envelope { config, arguments: given, ..Envelope::of(Trigger::Manual) };
    let definition = if envelope.config.is_null() && envelope.arguments.is_null() {
        None
    } else {
        let project = super::project(&catalog, options.environment.as_deref())?;
        super::definitions(project, Some(&task)).pop()
    };
    if let Some(definition) = &definition {
        arguments_fit(words, definition, &envelope)?;
    }
    super::runtime()?.block_on(async {
        let (target, functions) = place
            .open_to_run(
                &catalog,
                options.environment.as_deref(),
                &options.secrets.file(),
                Some((&task, &envelope.config)),
            )
            .await?;
        let ended = async {
            if let Some(definition) = definition {
                config_fits(definition, &target.table, &envelope).await?;
            }
            carry_out(words, &target, &functions, &task, envelope, options.json).await
        };
        let ended = Box::pin(ended).await;
        target.close(words).await;
        print_outcome(words, &ended?, options.json)
    })
}

/// Checks the arguments against the task's schema.
fn arguments_fit(words: &Words, definition: &Definition, envelope: &Envelope) -> Result<(), Misuse> {
    let (Some(queue), false) = (definition.queue(), envelope.arguments.is_null()) else { return Ok(()) };
    schema::check(&envelope.arguments, &queue.arguments_schema)
        .map_err(|why| Misuse(tr!(words, "job-unfit", task = definition.name, why = why.to_string())))
}

/// Checks the configuration, merged over lamplighter.toml and the run-time settings.
async fn config_fits(definition: Definition, table: &Table, envelope: &Envelope) -> anyhow::Result<()> {
    if envelope.config.is_null() {
        return Ok(());
    }
    let settings = table.state(&definition.name).await?.settings;
    // If the run-time settings are invalid, the run itself fails with the reason.
    let Ok(at_run_time) = Settings::parse(settings.as_deref().unwrap_or("{}")) else { return Ok(()) };
    let in_this_run = Settings { config: envelope.config.clone(), ..Settings::default() };
    let settings = at_run_time.overridden_by(in_this_run, &definition.config_schema);
    let definition = settings.applied_to(definition);
    resolve::check(&definition.config, &definition.config_schema)
        .map_err(|violation| Misuse(format!("--config: {violation}")))?;
    Ok(())
}

/// Runs the task and shows its progress. The first signal cancels the run; the second one stops waiting for it.
pub(super) async fn carry_out(
    words: &Words,
    target: &Target,
    functions: &Functions,
    task: &TaskName,
    envelope: Envelope,
    json: bool,
) -> anyhow::Result<RunOutcome> {
    let id = RunId::new(Timestamp::now(), random());
    let function = target.function(task.as_str());
    let run = Box::pin(follow(&target.table, functions, &function, task, id, envelope));
    let line = |time| tr!(words, "control-running", task = task, time = time);
    tokio::select! {
        ended = beside(is_seen(json), line, run) => whole(&target.table, ended?, json).await,
        given_up = heed_interrupts(words, &target.table, task, id) => Err(given_up),
    }
}

/// Completes the run's record with its large values, if it is to be printed.
async fn whole(table: &Table, ended: RunOutcome, json: bool) -> anyhow::Result<RunOutcome> {
    Ok(match ended {
        RunOutcome::Over(run) if json => RunOutcome::Over(Box::new(table.whole(*run).await?)),
        ended => ended,
    })
}

/// Cancels the run at the first signal, and returns at the second one.
async fn heed_interrupts(words: &Words, table: &Table, task: &TaskName, id: RunId) -> anyhow::Error {
    // One listener for both signals: between two listeners a signal would be lost.
    let mut signals = EndSignals::of_anybody().ok();
    next(&mut signals).await;
    output::note(format!("\n{}", tr!(words, "control-cancelling", task = task, run = id)));
    let ask = async {
        // The run may not have begun yet.
        while !matches!(table.cancel(task, id).await, Ok(true)) {
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = ask => {}
        () = next(&mut signals) => {}
    }
    anyhow::anyhow!(tr!(words, "control-left", task = task, run = id))
}

/// Waits for the next signal.
async fn next(signals: &mut Option<EndSignals>) {
    match signals {
        Some(signals) => signals.next().await,
        // Without a handler a signal ends the program.
        None => std::future::pending().await,
    }
}

/// Prints how a run ended. Fails if it did not complete.
pub(super) fn print_outcome(words: &Words, outcome: &RunOutcome, json: bool) -> anyhow::Result<()> {
    let run = outcome.run();
    if json {
        output::plain(serde_json::to_string_pretty(run)?);
    }
    match outcome {
        RunOutcome::Over(run) => {
            if !json {
                output::line(line(words, run));
            }
            match run.status {
                Status::Completed => Ok(()),
                _ => bail!(tr!(
                    words,
                    "control-not-completed",
                    task = run.task,
                    run = run.id,
                    status = run.status
                )),
            }
        }
        RunOutcome::Refused(refusal, run) => bail!(refused(words, refusal, run)),
    }
}

/// One line for a run that has ended: status, duration, and its reason or message.
pub(super) fn line(words: &Words, run: &Run) -> String {
    let (sign, style) = sign(run.status);
    let took = words.duration(run.duration_ms());
    let said = words.reason(run).or_else(|| run.message.clone()).unwrap_or_default();
    let outcome = match run.attempts.len() {
        0 | 1 => tr!(words, "control-over", task = run.task, status = run.status, time = took),
        tries => {
            tr!(words, "control-over-tries", task = run.task, status = run.status, time = took, tries = tries)
        }
    };
    let colon = if said.is_empty() { "" } else { ": " };
    format!("{style}{sign}{style:#} {outcome}{colon}{}", escaped(&said))
}

fn refused(words: &Words, refusal: &Refusal, run: &Run) -> String {
    let task = &run.task;
    match refusal {
        Refusal::Disabled => tr!(words, "control-is-disabled", task = task),
        Refusal::PreviousInstanceRunning { run_id, until } => {
            tr!(words, "control-is-running", task = task, run = run_id, until = until)
        }
        other => tr!(words, "control-refused", task = task, reason = words.recorded(&other.reason())),
    }
}
