//! A cron task that does what its configuration says, for the runner's tests: under the name `PROBE_NAME`.

use std::{fs::OpenOptions, io::Write, process::ExitCode, time::Duration};

use lamplighter::{
    definition::{Cron, Definition, Kind},
    prelude::*,
};

/// Far longer than any test waits.
const LONG: Duration = Duration::from_secs(600);

/// What the probe does.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
struct Config {
    /// `fail`, `deny` with the word that it prints, `obey` until it is cancelled, `block` whatever it is told; anything else succeeds.
    mode: String,
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
        // When it is due is said by what the workspace's own program describes.
        let schedule = "@hourly".parse().expect("a nickname");
        let mut definition = Definition::new(name, Kind::Cron(Cron::new(Some(schedule))));
        definition.config = serde_json::to_value(Config::default()).expect("plain fields");
        definition.config_schema = schemars::schema_for!(Config).to_value();
        definition
    }

    async fn run(&self, ctx: Context<Config>) -> TaskResult {
        let mut journal = OpenOptions::new().append(true).create(true).open(&ctx.config.journal)?;
        let tick = ctx.scheduled_for().map(|tick| tick.to_string()).unwrap_or_default();
        // One write, so that processes do not write into each other's lines.
        journal.write_all(format!("{} {tick}\n", Probe::definition().name).as_bytes())?;
        println!("{}", std::env::var("PROBE_WORD").unwrap_or_default());
        match ctx.config.mode.as_str() {
            "fail" => Err(TaskError::new("told to fail")),
            "deny" => Ok(Outcome::failure(std::env::var("PROBE_WORD").unwrap_or_default())),
            "obey" => {
                ctx.cancellation().cancelled().await;
                journal.write_all(b"cancelled\n")?;
                Ok(Outcome::success("obeyed"))
            }
            "block" => {
                std::thread::sleep(LONG);
                Ok(Outcome::success("not reached"))
            }
            _ => Ok(Outcome::success("done")),
        }
    }
}

fn main() -> ExitCode {
    lamplighter::start(Probe)
}
