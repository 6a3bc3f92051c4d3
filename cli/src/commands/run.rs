//! `lamplighter run`: one run of a task, now.

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
use lamplighter_project::project::secrets;

use crate::{
    follow::{Ended, follow},
    given::{self, Given, Secrets, given},
    lookup::{self, Misuse},
    output,
    progress::{beside, is_seen},
    show::sign,
    target::{Place, Target},
    text::escaped,
    tr,
    words::Words,
};

/// Runs a task now, once, and waits until it is over. Ctrl-C asks the run to end, and so do SIGTERM and SIGHUP.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter run purge-expired")]
pub(crate) struct Arguments {
    /// The task.
    #[arg(value_name = "TASK")]
    task: String,
    /// What its configuration has instead in this run only: a JSON object, `@FILE`, or `-` for stdin.
    #[arg(long, value_name = "JSON", value_parser = given)]
    config: Option<Given>,
    /// What the body of a queue task is given: a JSON object with one key for each argument, `@FILE`, or `-` for stdin.
    #[arg(long = "arguments", value_name = "JSON", value_parser = given)]
    given: Option<Given>,
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
    pub(super) secrets: Secrets,
    /// Prints JSON: the run's whole record, as `history` does.
    #[arg(long)]
    pub(super) json: bool,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    super::never_wait(words);
    let workspace = super::workspace()?;
    let task = lookup::task(words, &workspace, &arguments.task)?;
    let Arguments { how, place, .. } = arguments;
    let [config, given] = given::read([("--config", &arguments.config), ("--arguments", &arguments.given)])?;
    if let Some(found) = resolve::find(&config).first() {
        bail!(Misuse(format!("--config: {}", secrets::unresolved(&found.path))));
    }
    let envelope = Envelope { config, arguments: given, ..Envelope::of(Trigger::Manual) };
    let definition = if envelope.config.is_null() && envelope.arguments.is_null() {
        None
    } else {
        let project = super::project(&workspace, how.environment.as_deref())?;
        super::asked_for(project, Some(&task)).pop()
    };
    if let Some(definition) = &definition {
        arguments_fit(words, definition, &envelope)?;
    }
    super::runtime()?.block_on(async {
        let (target, functions) = place
            .open_to_run(
                &workspace,
                how.environment.as_deref(),
                &how.secrets.file(),
                Some((&task, &envelope.config)),
            )
            .await?;
        let ended = async {
            if let Some(definition) = definition {
                config_fits(definition, &target.table, &envelope).await?;
            }
            carry_out(words, &target, &functions, &task, envelope, how.json).await
        };
        let ended = Box::pin(ended).await;
        target.close().await;
        tell(words, &ended?, how.json)
    })
}

/// Whether the task's body can be given these arguments.
fn arguments_fit(words: &Words, definition: &Definition, envelope: &Envelope) -> Result<(), Misuse> {
    let (Some(queue), false) = (definition.queue(), envelope.arguments.is_null()) else { return Ok(()) };
    schema::check(&envelope.arguments, &queue.arguments_schema)
        .map_err(|why| Misuse(tr!(words, "job-unfit", task = definition.name, why = why.to_string())))
}

/// Whether the task can have this configuration, over that of lamplighter.toml and what is set at run time.
async fn config_fits(definition: Definition, table: &Table, envelope: &Envelope) -> anyhow::Result<()> {
    if envelope.config.is_null() {
        return Ok(());
    }
    let settings = table.state(&definition.name).await?.settings;
    // The run says itself what is wrong with what is set.
    let Ok(at_run_time) = Settings::parse(settings.as_deref().unwrap_or("{}")) else { return Ok(()) };
    let in_this_run = Settings { config: envelope.config.clone(), ..Settings::default() };
    let settings = at_run_time.overridden_by(in_this_run, &definition.config_schema);
    let definition = settings.applied_to(definition);
    resolve::check(&definition.config, &definition.config_schema)
        .map_err(|violation| Misuse(format!("--config: {violation}")))?;
    Ok(())
}

/// Runs the task and shows that it does. A signal that asks for this program's end asks the run to end; a second one leaves
/// it alone.
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
    let line = |time| tr!(words, "control-running", task = task, time = time);
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

/// Asks the run to end when this program is asked to, and returns at the second time.
async fn heed_interrupts(words: &Words, table: &Table, task: &TaskName, id: RunId) -> anyhow::Error {
    // One listener for both: a signal that comes between two of them would be nobody's.
    let mut signals = EndSignals::of_anybody().ok();
    next(&mut signals).await;
    output::note(format!("\n{}", tr!(words, "control-asked", task = task, run = id)));
    let ask = async {
        // It may not have begun.
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

/// Waits for the next one.
async fn next(signals: &mut Option<EndSignals>) {
    match signals {
        Some(signals) => signals.next().await,
        // Without a handler the program ends as programs do.
        None => std::future::pending().await,
    }
}

/// Prints how a run ended. It is an error if it did not complete.
pub(super) fn tell(words: &Words, ended: &Ended, json: bool) -> anyhow::Result<()> {
    let run = ended.run();
    if json {
        output::plain(serde_json::to_string_pretty(run)?);
    }
    match ended {
        Ended::Over(run) => {
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
        Ended::Refused(refusal, run) => bail!(refused(words, refusal, run)),
    }
}

/// One line of a run that is over: how, how long it took, and what it said.
pub(super) fn line(words: &Words, run: &Run) -> String {
    let (sign, style) = sign(run.status);
    let took = words.duration(run.duration_ms());
    let said = words.reason(run).or_else(|| run.message.clone()).unwrap_or_default();
    let told = match run.attempts.len() {
        0 | 1 => tr!(words, "control-over", task = run.task, status = run.status, time = took),
        tries => {
            tr!(words, "control-over-tries", task = run.task, status = run.status, time = took, tries = tries)
        }
    };
    let colon = if said.is_empty() { "" } else { ": " };
    format!("{style}{sign}{style:#} {told}{colon}{}", escaped(&said))
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
