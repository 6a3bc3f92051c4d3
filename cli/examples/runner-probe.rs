//! A cron task for the runner's tests. Its configuration chooses its behaviour, `PROBE_NAME` its name.

use std::{collections::BTreeMap, os::unix::ffi::OsStringExt as _, process::ExitCode, time::Duration};

use lamplighter::{
    definition::{Cron, Definition, Kind},
    prelude::*,
};
use lamplighter_testkit::probe;

/// Far longer than any test waits.
const LONG: Duration = Duration::from_secs(600);

/// The configuration of the probe.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
struct Config {
    /// `where` prints its folder, `fail` fails, `deny` fails after a word, `obey` runs until it is cancelled, `block` ignores
    /// cancellation; anything else succeeds.
    mode: String,
    /// The file in which each start of a body is noted.
    journal: String,
}

struct Probe;

impl Task for Probe {
    type Config = Config;
    type State = ();

    fn definition() -> Definition {
        // The workspace's own program describes the schedule.
        let schedule = "@hourly".parse().expect("a nickname");
        probe::definition::<Config>(Kind::Cron(Cron::new(Some(schedule))))
    }

    async fn run(&self, ctx: Context<Config>) -> TaskResult {
        let journal = &ctx.config.journal;
        let tick = ctx.scheduled_for().map(|tick| tick.to_string()).unwrap_or_default();
        probe::note(journal, &format!("{} {tick}", Probe::definition().name))?;
        println!("{}", std::env::var("PROBE_WORD").unwrap_or_default());
        match ctx.config.mode.as_str() {
            "where" => {
                probe::note(journal, &surroundings(ctx.run_id()))?;
                Ok(Outcome::success("said where it is"))
            }
            "fail" => Err(TaskError::new("told to fail")),
            "deny" => Ok(Outcome::failure(std::env::var("PROBE_WORD").unwrap_or_default())),
            "obey" => {
                ctx.cancellation().cancelled().await;
                probe::note(journal, "cancelled")?;
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

/// Writes a line to a file by a relative path, and returns the current folder and the bytes of some variables.
fn surroundings(run: impl std::fmt::Display) -> String {
    probe::note("written", &run.to_string()).expect("the folder takes it");
    let folder = std::env::current_dir().expect("it is there").display().to_string();
    let all = std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec()));
    let probed: BTreeMap<_, _> =
        all.filter(|(name, _)| name.starts_with(b"PROBED") || name == b"PWD").collect();
    let hidden =
        std::env::vars_os().any(|(name, _)| name.as_encoded_bytes().starts_with(b"LAMPLIGHTER_PROBED"));
    format!("where {folder} {probed:?} {hidden}")
}

fn main() -> ExitCode {
    lamplighter::start(Probe)
}
