//! A queue task for the runner's tests; its argument `mode` chooses its behaviour.

use std::{env, path::PathBuf, process::ExitCode, time::Duration};

use lamplighter::{definition::Definition, prelude::*};
use lamplighter_testkit::probe::note;

/// The file in which each start of a body is noted.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    journal: PathBuf,
}

/// Behaves as `mode` says.
#[task(queue, timeout = "1m")]
pub async fn queue_probe(ctx: Context<Config>, mode: String, mark: String) -> TaskResult {
    let (epoch, pid) = (ctx.attempt(), std::process::id().to_string());
    let line = if mode == "trace" { format!("{} {epoch} {pid}", ctx.run_id()) } else { mark.clone() };
    note(&ctx.config.journal, &line)?;
    match mode.as_str() {
        "where" => {
            let folder = env::current_dir()?;
            note("written", "queue")?;
            Outcome::success("said where it is").with_data(&folder)
        }
        // Until the test creates a file of that name.
        "await" => {
            while !ctx.config.journal.with_file_name(&mark).exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Outcome::success("waited").with_data(&mark)
        }
        "fail" => Err(TaskError::new("told to fail")).fatal(),
        "never" => Err(TaskError::new("never works")),
        "once" if ctx.attempt() == 1 => Err(TaskError::new("not at first")),
        "exit" if ctx.attempt() == 1 => std::process::exit(3),
        "trace" => {
            // So that kills meet some in progress.
            let number = mark.parse::<u64>()?;
            let pause = if number.is_multiple_of(16) { 300 } else { number % 16 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            Outcome::success("traced").with_data(&serde_json::json!({ "epoch": epoch, "pid": pid }))
        }
        "hang" if ctx.attempt() == 1 => std::future::pending().await,
        "sleep" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Outcome::success("slept").with_data(&mark)
        }
        "say" => {
            println!("{mark}");
            Ok(Outcome::success(mark))
        }
        "flood" => {
            for number in 0..10_000 {
                println!("{mark} {number:0590}");
            }
            Ok(Outcome::success("poured out"))
        }
        "obey" => {
            ctx.cancellation().cancelled().await;
            Ok(Outcome::success("obeyed"))
        }
        _ => Outcome::success("done").with_data(&mark),
    }
}

/// The task under the name that the test gives it.
struct Named;

impl Task for Named {
    type Config = Config;
    type State = ();

    const TAKES_JOBS: bool = true;

    fn definition() -> Definition {
        let mut definition = QueueProbe::definition();
        if let Ok(name) = env::var("PROBE_NAME") {
            definition.name = name.parse().expect("the test gives a task name");
        }
        definition
    }

    async fn run(&self, ctx: Context<Config>) -> TaskResult {
        QueueProbe.run(ctx).await
    }
}

fn main() -> ExitCode {
    lamplighter::start(Named)
}
