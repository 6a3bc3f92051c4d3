//! `lamplighter runner`: lists the runners, and stops one.

use std::time::Duration;

use anyhow::bail;
use jiff::Timestamp;
use lamplighter_aws::table::Table;
use lamplighter_core::runner::{Runner, Standing};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Purpose;
use crate::{
    arguments::names::Misuse,
    stack::target::Place,
    terminal::{
        output,
        progress::{beside, is_seen},
        show::table,
    },
    tr,
    words::Words,
};

/// The pause between two looks at a runner that is stopping.
const PAUSE: Duration = Duration::from_millis(300);

/// Lists the runners, or stops one.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter runner status --json")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: RunnerCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RunnerCommand {
    Status(Status),
    Stop(Stop),
}

/// Lists the runners that use the stack's table, and their runs.
///
/// A runner without a heartbeat for 30 s is dead.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter runner status")]
struct Status {
    /// Prints JSON: a list of runners.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Stops a runner as SIGTERM does, and waits for its end.
///
/// A runner notices the request within 10 s.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter runner stop")]
struct Stop {
    /// The runner. Default: the only one.
    #[arg(value_name = "INSTANCE")]
    instance: Option<String>,
    /// Prints JSON: the runner before it stopped.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Arguments {
    pub(super) fn purpose(&self) -> Purpose {
        match self.command {
            RunnerCommand::Status(_) => Purpose::Answer,
            RunnerCommand::Stop(_) => Purpose::Report,
        }
    }
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.command {
        RunnerCommand::Status(arguments) => status(words, arguments),
        RunnerCommand::Stop(arguments) => stop(words, arguments),
    }
}

fn status(words: &Words, arguments: &Status) -> anyhow::Result<()> {
    let catalog = super::catalog_with(&arguments.place, None)?;
    let runners = super::runtime()?.block_on(async {
        let target = arguments.place.open(&catalog).await?;
        let runners = target.table.runners().await;
        target.close(words).await;
        anyhow::Ok(runners?)
    })?;
    let now = Timestamp::now();
    if arguments.json {
        let listed: Vec<_> = runners.iter().map(|runner| with_status(runner, now)).collect();
        output::plain(format!("{:#}", Value::from(listed)));
        return Ok(());
    }
    if runners.is_empty() {
        output::line(tr!(words, "runner-none"));
    }
    let rows: Vec<_> = runners.iter().map(|runner| row(words, runner, now)).collect();
    for line in table(words, 0, &rows) {
        output::line(line);
    }
    Ok(())
}

fn with_status(runner: &Runner, now: Timestamp) -> Value {
    let mut listed = serde_json::to_value(runner).unwrap_or_default();
    listed["status"] = json!(runner.standing(now));
    listed
}

fn row(words: &Words, runner: &Runner, now: Timestamp) -> [String; 4] {
    let standing = match runner.standing(now) {
        Standing::Running => tr!(words, "runner-is-running"),
        Standing::Stopping => tr!(words, "runner-is-stopping"),
        Standing::Dead => tr!(words, "runner-is-dead", heard = words.from_now(runner.heartbeat_at, now)),
    };
    let runs: Vec<_> = runner.running.iter().map(|it| it.task.to_string()).collect();
    let runs = match (runs.is_empty(), runner.standing(now)) {
        (true, _) | (_, Standing::Dead) => String::new(),
        (false, _) => tr!(words, "runner-runs", tasks = runs.join(", ")),
    };
    let since = tr!(words, "runner-since", environment = runner.environment, started = runner.started_at);
    [runner.instance.clone(), standing, since, runs]
}

fn stop(words: &Words, arguments: &Stop) -> anyhow::Result<()> {
    let catalog = super::catalog_with(&arguments.place, None)?;
    super::runtime()?.block_on(async {
        let target = arguments.place.open(&catalog).await?;
        let stopped = stop_and_wait(words, &target.table, arguments).await;
        target.close(words).await;
        let runner = stopped?;
        if arguments.json {
            output::plain(format!("{:#}", with_status(&runner, Timestamp::now())));
        } else {
            output::line(tr!(words, "runner-gone", instance = runner.instance));
        }
        Ok(())
    })
}

async fn stop_and_wait(words: &Words, table: &Table, arguments: &Stop) -> anyhow::Result<Runner> {
    let runner = chosen(words, table.runners().await?, arguments.instance.as_deref())?;
    if !table.stop_runner(&runner.instance).await? {
        // The runner has ended in the meantime.
        return Ok(runner);
    }
    let line = |time| tr!(words, "runner-waiting", instance = runner.instance, time = time);
    let is_gone = async {
        loop {
            let found = table.runners().await?.into_iter().find(|it| it.instance == runner.instance);
            match found.map(|it| it.standing(Timestamp::now())) {
                None => return anyhow::Ok(()),
                Some(Standing::Dead) => bail!(tr!(words, "runner-died", instance = runner.instance)),
                Some(Standing::Running | Standing::Stopping) => sleep(PAUSE).await,
            }
        }
    };
    beside(is_seen(arguments.json), line, is_gone).await?;
    Ok(runner)
}

/// Chooses the runner by its name, or the only live one.
fn chosen(words: &Words, runners: Vec<Runner>, instance: Option<&str>) -> anyhow::Result<Runner> {
    let now = Timestamp::now();
    let mut living: Vec<_> =
        runners.into_iter().filter(|runner| runner.standing(now) != Standing::Dead).collect();
    let all = living.iter().map(|runner| runner.instance.clone()).collect::<Vec<_>>().join(", ");
    match (instance, living.len()) {
        (_, 0) => bail!(tr!(words, "runner-none")),
        (Some(instance), _) => {
            let found = living.into_iter().find(|runner| runner.instance == instance);
            found.ok_or_else(|| Misuse(tr!(words, "runner-unknown", instance = instance, all = all)).into())
        }
        (None, 1) => Ok(living.remove(0)),
        (None, _) => Err(Misuse(tr!(words, "runner-which", all = all)).into()),
    }
}
