//! A hand-written queue task for tests, controlled by its argument `mode`. Each start of its body adds a line to the file
//! `bodies` in the configured folder.

use std::{path::PathBuf, process, time::Duration};

use lamplighter::{
    definition::{Definition, Kind, Priority, Queue},
    prelude::*,
};
use lamplighter_testkit::probe::note;
use serde_json::Value;

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
struct Config {
    folder: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Arguments {
    mode: String,
    #[serde(default)]
    value: Value,
}

struct JobProbe;

impl Task for JobProbe {
    type Config = Config;
    type State = ();

    const TAKES_JOBS: bool = true;

    fn definition() -> Definition {
        let kind = Kind::Queue(Queue {
            priority: Priority::default(),
            concurrency: None,
            arguments_schema: Value::Null,
        });
        Definition {
            timeout: Duration::from_secs(5),
            config: serde_json::to_value(Config::default()).unwrap_or_default(),
            ..Definition::new("job-probe".parse().expect("the name is valid"), kind)
        }
    }

    async fn run(&self, ctx: Context<Config>) -> TaskResult {
        let Arguments { mode, value } = ctx.arguments()?;
        note(ctx.config.folder.join("bodies"), &format!("{} {}", ctx.run_id(), ctx.attempt()))?;
        match mode.as_str() {
            "echo" => Outcome::success("said").with_data(&value),
            "error-once" if ctx.attempt() > 1 => Ok(Outcome::success("at last")),
            "error" | "error-once" => Err(TaskError::new("it does not work")),
            "exit" => process::exit(3),
            "sleep" => {
                // Before the process first looks whether the job was cancelled.
                tokio::time::sleep(Duration::from_millis(800)).await;
                Ok(Outcome::success("awake"))
            }
            "wait" => {
                ctx.cancellation().cancelled().await;
                Err(TaskError::new("stopped"))
            }
            other => Ok(Outcome::failure(format!("what is {other}?"))),
        }
    }
}

fn main() -> process::ExitCode {
    lamplighter::start(JobProbe)
}
