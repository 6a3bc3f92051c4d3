//! A cron task for the pulse's tests. Its environment sets its name and behaviour.

use std::{process::ExitCode, time::Duration};

use lamplighter::{
    definition::{Cron, Definition, Kind},
    prelude::*,
};
use lamplighter_testkit::probe;

/// The probe's behaviour.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
struct Config {
    /// `fail` or `exit`; anything else succeeds.
    mode: String,
    /// The time that the body takes before it ends.
    sleep_ms: u64,
    /// A file that the body waits for before it ends. By default it waits for none.
    wait_for: std::path::PathBuf,
    /// The file to which each start of a body is written.
    journal: String,
}

struct Probe;

impl Task for Probe {
    type Config = Config;
    type State = ();

    fn definition() -> Definition {
        // The plan decides when it is due.
        let schedule = "@hourly".parse().expect("a nickname");
        let mut definition = probe::definition::<Config>(Kind::Cron(Cron::new(Some(schedule))));
        definition.timeout = Duration::from_secs(20);
        definition.retry.max_attempts = 1;
        definition
    }

    async fn run(&self, ctx: Context<Config>) -> TaskResult {
        let tick = ctx.scheduled_for().map(|tick| tick.to_string()).unwrap_or_default();
        probe::note(&ctx.config.journal, &format!("{} {tick}", Probe::definition().name))?;
        tokio::time::sleep(Duration::from_millis(ctx.config.sleep_ms)).await;
        while ctx.config.wait_for != std::path::Path::new("") && !ctx.config.wait_for.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        match ctx.config.mode.as_str() {
            "fail" => Ok(Outcome::failure("failed on request")),
            "exit" => std::process::exit(7),
            _ => Ok(Outcome::success("done")),
        }
    }
}

fn main() -> ExitCode {
    lamplighter::start(Probe)
}
