//! A cron task that does what its environment says, for the pulse's tests: under any name, in any mode.

use std::{fs::OpenOptions, io::Write, process::ExitCode, time::Duration};

use lamplighter::{
    definition::{Cron, Definition, Kind},
    prelude::*,
};

/// What the probe does.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
struct Config {
    /// `fail`, `exit`; anything else succeeds.
    mode: String,
    /// How long it takes first.
    sleep_ms: u64,
    /// Where each start of a body is noted.
    journal: String,
}

struct Probe;

impl Task for Probe {
    type Config = Config;
    type State = ();

    fn definition() -> Definition {
        let name = std::env::var("PROBE_NAME").unwrap_or_else(|_| "probe".to_owned());
        let name = name.parse().expect("the test gives a task name");
        // When it is due is the plan's to say.
        let schedule = "@hourly".parse().expect("a nickname");
        let mut definition = Definition::new(name, Kind::Cron(Cron::new(Some(schedule))));
        definition.timeout = Duration::from_secs(20);
        definition.retry.max_attempts = 1;
        definition.config = serde_json::to_value(Config::default()).expect("plain fields");
        definition.config_schema = schemars::schema_for!(Config).to_value();
        definition
    }

    async fn run(&self, ctx: Context<Config>) -> TaskResult {
        let mut journal = OpenOptions::new().append(true).create(true).open(&ctx.config.journal)?;
        let tick = ctx.scheduled_for().map(|tick| tick.to_string()).unwrap_or_default();
        // One write, so that processes do not write into each other's lines.
        journal.write_all(format!("{} {tick}\n", Probe::definition().name).as_bytes())?;
        tokio::time::sleep(Duration::from_millis(ctx.config.sleep_ms)).await;
        match ctx.config.mode.as_str() {
            "fail" => Ok(Outcome::failure("told to fail")),
            "exit" => std::process::exit(7),
            _ => Ok(Outcome::success("done")),
        }
    }
}

fn main() -> ExitCode {
    lamplighter::start(Probe)
}
