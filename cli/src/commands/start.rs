//! `lamplighter start`: runs the tasks of the workspace on this machine.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::environment;
use lamplighter_core::{
    definition::Kind,
    duration,
    pulse::Zones,
    schedule::{Due, due, put_off},
};
use lamplighter_project::{Project, Task, compile::Profile};
use lamplighter_runner::{
    build::build,
    events::Reporter,
    location::Location,
    service::{Service, serve},
    start::{RunnerOptions, ready},
    stop_signals::StopTokens,
    variables::Variables,
};
use serde_json::json;

use crate::{
    arguments::{json::Secrets, names::Misuse},
    stack::target::Place,
    terminal::{
        reporter::{self, Terminal},
        show::table,
    },
    tr,
    words::Words,
};

/// Runs the workspace's tasks on this machine until you stop it.
///
/// Cron tasks run at their times, jobs when they are due, side tasks all the time. SIGTERM, SIGHUP or Ctrl-C stops the
/// runner after the runs in progress. A second signal stops it at once.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter start --release --grace 20s")]
pub(crate) struct Arguments {
    /// Compiles with optimizations, which takes longer.
    #[arg(long)]
    release: bool,
    #[command(flatten)]
    options: RunnerArguments,
    #[command(flatten)]
    place: Place,
}

/// The options of a runner.
#[derive(Debug, clap::Args)]
pub(super) struct RunnerArguments {
    /// The environment. Overrides `TASK_RUNNER_ENVIRONMENT` and `environment` in lamplighter.toml.
    #[arg(long)]
    pub(super) environment: Option<String>,
    /// How long runs in progress may take when the runner stops, before they are cancelled.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = grace)]
    pub(super) grace: Duration,
    /// The maximum number of jobs that run at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) concurrency: u16,
    #[command(flatten)]
    pub(super) secrets: Secrets,
    /// Prints JSON: one object a line.
    #[arg(long)]
    pub(super) json: bool,
}

impl RunnerArguments {
    /// The runner that the options describe.
    pub(super) fn wanted<'a>(&self, location: &'a Location, variables: &Variables) -> RunnerOptions<'a> {
        RunnerOptions {
            location,
            interval: variables.interval,
            grace: self.grace,
            concurrency: self.concurrency.into(),
            side_tasks: variables.side_tasks,
        }
    }
}

fn grace(text: &str) -> Result<Duration, String> {
    match text {
        "0" => Ok(Duration::ZERO),
        text => duration::parse(text).map_err(|error| error.to_string()),
    }
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { release, options, place } = arguments;
    reporter::never_wait(words, options.json);
    let Some(variables) = variables(words, options.json)? else { return Ok(()) };
    let workspace = super::workspace()?;
    place.check(&workspace)?;
    let profile = if *release { Profile::Optimised } else { Profile::Dev };
    let built =
        build(&workspace, &variables, options.environment.as_deref(), &options.secrets.file(), profile)?;
    super::runtime()?.block_on(async {
        let stops = StopTokens::by_signals()?;
        let location = place.location(&workspace);
        let terminal = Arc::new(Terminal::new(words, options.json, &location.stack));
        let reporter: Arc<dyn Reporter> = Arc::<Terminal>::clone(&terminal);
        let service = ready(&workspace, &built, options.wanted(&location, &variables), &reporter).await?;
        headline(&terminal, &service, &built.project);
        serve(service, stops, reporter).await
    })
}

/// Reads the environment variables. None, after a message, if they disable the runner.
pub(super) fn variables(words: &Words, json: bool) -> anyhow::Result<Option<Variables>> {
    let variables = Variables::read(environment::variable);
    let variables = variables.map_err(|error| Misuse(error.to_string()))?;
    if !variables.enabled {
        Terminal::new(words, json, "").show("disabled", json!({}), &tr!(words, "runner-disabled"));
        return Ok(None);
    }
    Ok(Some(variables))
}

/// Prints what the runner runs, and when each task runs next.
pub(super) fn headline(terminal: &Terminal, service: &Service, project: &Project) {
    let now = Timestamp::now();
    let zones = service.pulses.borrow().zones.clone();
    let next: Vec<_> = project.tasks.iter().map(|task| (task, coming(task, &zones, now))).collect();
    let runner = &service.runner;
    let words = &terminal.words;
    let rows: Vec<_> = next.iter().map(|(task, next)| row(words, task, *next, now)).collect();
    let mut lines = vec![tr!(
        words,
        "runner-started",
        project = project.name,
        environment = runner.environment,
        instance = runner.instance
    )];
    lines.extend(table(words, 2, &rows).into_iter().map(|row| format!("  {row}")));
    let tasks: Vec<_> = next
        .iter()
        .map(|(task, next)| json!({ "task": task.name(), "kind": kind(task), "next": next }))
        .collect();
    let entries = json!({
        "instance": runner.instance, "environment": runner.environment, "stack": service.pulses.borrow().stack,
        "pid": std::process::id(), "tasks": tasks,
    });
    terminal.show("started", entries, &lines.join("\n"));
}

/// The time at which a cron task's next tick starts.
fn coming(task: &Task, zones: &Zones, now: Timestamp) -> Option<Timestamp> {
    let cron = task.definition.cron().filter(|cron| cron.schedule.is_some())?;
    let (Due::Waiting { next } | Due::Come { next, .. }) =
        due(cron, task.name(), zones.get(&cron.timezone)?, now, now);
    next?.checked_add(put_off(cron, task.name())).ok()
}

fn kind(task: &Task) -> &'static str {
    match task.definition.kind {
        Kind::Lifecycle(_) => "lifecycle",
        Kind::Cron(_) => "cron",
        Kind::Queue(_) => "queue",
        Kind::Side(_) => "side",
    }
}

fn row(words: &Words, task: &Task, next: Option<Timestamp>, now: Timestamp) -> [String; 3] {
    let starts = match &task.definition.kind {
        Kind::Lifecycle(_) => tr!(words, "runner-by-deployment"),
        Kind::Cron(cron) => cron
            .schedule
            .as_ref()
            .map_or_else(|| tr!(words, "tasks-by-function"), |schedule| words.schedule(schedule)),
        Kind::Queue(_) => tr!(words, "runner-by-jobs"),
        Kind::Side(_) => tr!(words, "runner-always"),
    };
    let next = next.map(|next| format!("{} ({})", words.time(next), words.from_now(next, now)));
    [task.name().to_string(), starts, next.unwrap_or_default()]
}
