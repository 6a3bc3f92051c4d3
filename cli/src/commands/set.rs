//! `lamplighter set`: changes settings of a task at run time, without a deployment.

use anyhow::{Context as _, bail};
use lamplighter_core::{duration, name::TaskName, resolve, settings::Settings};
use lamplighter_project::{Task, tasks::secrets};
use serde_json::{Value, json};

use crate::{
    arguments::{
        json::{JsonSource, json_source},
        names::{self, Misuse},
    },
    stack::target::Place,
    terminal::{output, text::escaped},
    tr,
    words::Words,
};

/// The largest settings of a task, as JSON text in bytes. An item of the table holds 400 KB.
const MOST_BYTES: usize = 300_000;

/// Changes or shows the run-time settings of a task.
///
/// They override the task and lamplighter.toml, without a deployment. Without an option the command shows them.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter set purge-expired --timeout 5m")]
pub(crate) struct Arguments {
    /// The task.
    #[arg(value_name = "TASK")]
    task: String,
    /// The longest time for one run, including all its attempts, such as `2m`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<u64>,
    /// The maximum number of attempts of one run.
    #[arg(long, value_name = "COUNT")]
    attempts: Option<u32>,
    /// Configuration, merged key by key: a JSON object, `@FILE`, or `-` for stdin.
    #[arg(long, value_name = "JSON", value_parser = json_source)]
    config: Option<JsonSource>,
    /// Removes all earlier settings.
    #[arg(long)]
    reset: bool,
    /// Prints JSON: the task and its run-time settings.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Reads a duration from the command line, in milliseconds.
fn time(text: &str) -> Result<u64, String> {
    duration::parse(text).map(duration::millis).map_err(|error| error.to_string())
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let catalog = super::catalog(Some(&arguments.place))?;
    let name = names::task(words, &catalog, &arguments.task)?;
    let wanted = Settings {
        timeout_ms: arguments.timeout,
        max_attempts: arguments.attempts,
        config: match &arguments.config {
            Some(config) => Value::Object(config.read("--config")?),
            None => Value::Null,
        },
        ..Settings::default()
    };
    let changes = wanted != Settings::default();
    let project = if changes { Some(super::project(&catalog, None)?) } else { None };
    let task = project.iter().flat_map(|project| &project.tasks).find(|task| *task.name() == name);
    let set = super::runtime()?.block_on(async {
        let target = arguments.place.open(&catalog).await?;
        let set = async {
            let before = target.table.state(&name).await?.settings.filter(|_| !arguments.reset);
            let before = Settings::parse(before.as_deref().unwrap_or("{}"))
                .with_context(|| format!("cannot read the run-time settings of `{name}`; --reset removes them"))?;
            let schema = task.map_or(&Value::Null, |task| &task.definition.config_schema);
            let set = before.overridden_by(wanted, schema);
            if let Some(task) = task {
                check(task, &set)?;
            }
            if changes || arguments.reset {
                let text = serde_json::to_string(&set)?;
                if text.len() > MOST_BYTES {
                    bail!(Misuse(format!(
                        "--config: the settings have {} bytes, and the table holds {MOST_BYTES}: write them into \
                         lamplighter.toml, or into a file of `copy_assets`",
                        text.len()
                    )));
                }
                let text = Some(text.as_str()).filter(|_| set != Settings::default());
                target.table.set(&name, text).await?;
            }
            anyhow::Ok(set)
        };
        let set = Box::pin(set).await;
        target.close(words).await;
        set
    })?;
    print_settings(words, &name, &set, arguments.json)
}

/// Checks the settings. The table stores them in clear, so they must not contain a secret.
fn check(task: &Task, set: &Settings) -> anyhow::Result<()> {
    let definition = set.applied_to(task.definition.clone());
    let set_here = |key: &str| match key {
        "timeout" => set.timeout_ms.is_some(),
        "attempts" => set.max_attempts.is_some(),
        _ => false,
    };
    if let Some(fault) = definition.faults().into_iter().find(|fault| set_here(fault.key)) {
        bail!(Misuse(format!("--{}: {}", fault.key, fault.reason)));
    }
    let most = task.function_seconds();
    if set.timeout_ms.is_some_and(|ms| ms > most * 1000) {
        bail!(Misuse(format!(
            "--timeout: the function is limited to {most} s: set a longer timeout in lamplighter.toml and deploy it"
        )));
    }
    resolve::check(&definition.config, &definition.config_schema)
        .map_err(|violation| Misuse(format!("--config: {violation}")))?;
    if let Some(why) = secrets::only_in_a_file(&set.config, &definition.config_schema) {
        bail!(Misuse(format!("--config: {why}")));
    }
    Ok(())
}

fn print_settings(words: &Words, task: &TaskName, set: &Settings, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        output::plain(format!("{:#}", json!({ "task": task, "settings": set })));
        return Ok(());
    }
    if *set == Settings::default() {
        output::line(tr!(words, "control-nothing-set", task = task));
        return Ok(());
    }
    output::line(tr!(words, "control-set", task = task));
    let set = serde_json::to_value(set)?;
    for (key, value) in set.as_object().into_iter().flatten() {
        output::line(escaped(&format!("  {key} = {value}")));
    }
    Ok(())
}
