//! `lamplighter set`: what a task has at run time instead of what it and the project tr, without a deployment.

use anyhow::{Context as _, bail};
use lamplighter_core::{duration, name::TaskName, resolve, settings::Settings};
use lamplighter_project::{Task, tasks::secrets};
use serde_json::{Value, json};

use crate::{
    given::{Given, given},
    lookup::{self, Misuse},
    output,
    target::Place,
    text::escaped,
    tr,
    words::Words,
};

/// The most that may be set of a task, as JSON text in bytes: an item of the table holds 400 KB.
const MOST_BYTES: usize = 300_000;

/// Sets what a task has at run time, over what it and lamplighter.toml say. Without anything to set it shows what is set.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter set purge-expired --timeout 5m")]
pub(crate) struct Arguments {
    /// The task.
    #[arg(value_name = "TASK")]
    task: String,
    /// The time one run may take, all its attempts together, such as 2m.
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<u64>,
    /// How often its body is tried, in total.
    #[arg(long, value_name = "COUNT")]
    attempts: Option<u32>,
    /// What its configuration has instead, key by key: a JSON object, `@FILE`, or `-` for stdin.
    #[arg(long, value_name = "JSON", value_parser = given)]
    config: Option<Given>,
    /// Takes back what was set before.
    #[arg(long)]
    reset: bool,
    /// Prints JSON: the task, and what is set.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Reads a time of the command line, in milliseconds.
fn time(text: &str) -> Result<u64, String> {
    duration::parse(text).map(duration::millis).map_err(|error| error.to_string())
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    arguments.place.check(&workspace)?;
    let name = lookup::task(words, &workspace, &arguments.task)?;
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
    let project = if changes { Some(super::project(&workspace, None)?) } else { None };
    let task = project.iter().flat_map(|project| &project.tasks).find(|task| *task.name() == name);
    let set = super::runtime()?.block_on(async {
        let target = arguments.place.open(&workspace).await?;
        let set = async {
            let before = target.table.state(&name).await?.settings.filter(|_| !arguments.reset);
            let before = Settings::parse(before.as_deref().unwrap_or("{}"))
                .with_context(|| format!("what is set of `{name}` cannot be read; --reset takes it back"))?;
            let schema = task.map_or(&Value::Null, |task| &task.definition.config_schema);
            let set = before.overridden_by(wanted, schema);
            if let Some(task) = task {
                stand(task, &set)?;
            }
            if changes || arguments.reset {
                let text = serde_json::to_string(&set)?;
                if text.len() > MOST_BYTES {
                    bail!(Misuse(format!(
                        "--config: what is set would have {} bytes, and the table holds {MOST_BYTES}: say it in \
                         lamplighter.toml, or keep it in a file of `copy_assets`",
                        text.len()
                    )));
                }
                let text = Some(text.as_str()).filter(|_| set != Settings::default());
                target.table.set(&name, text).await?;
            }
            anyhow::Ok(set)
        };
        let set = Box::pin(set).await;
        target.close().await;
        set
    })?;
    tell(words, &name, &set, arguments.json)
}

/// Whether the task can have these settings. They stand in the table in clear, so they cannot have a secret.
fn stand(task: &Task, set: &Settings) -> anyhow::Result<()> {
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
            "--timeout: the function has {most} s: say a longer timeout in lamplighter.toml and deploy it"
        )));
    }
    resolve::check(&definition.config, &definition.config_schema)
        .map_err(|violation| Misuse(format!("--config: {violation}")))?;
    if let Some(why) = secrets::only_in_a_file(&set.config, &definition.config_schema) {
        bail!(Misuse(format!("--config: {why}")));
    }
    Ok(())
}

fn tell(words: &Words, task: &TaskName, set: &Settings, as_json: bool) -> anyhow::Result<()> {
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
