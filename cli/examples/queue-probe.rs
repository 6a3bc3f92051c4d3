//! A queue task that does what its argument `mode` says, for the runner's tests.

use std::{fs::OpenOptions, io::Write as _, path::PathBuf, time::Duration};

use lamplighter::prelude::*;

/// Where each start of a body is noted.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    journal: PathBuf,
}

/// Does what it is told.
#[task(queue, timeout = "1m")]
pub async fn queue_probe(ctx: Context<Config>, mode: String, mark: String) -> TaskResult {
    let mut journal = OpenOptions::new().append(true).create(true).open(&ctx.config.journal)?;
    // One write, so that processes do not write into each other's lines.
    journal.write_all(format!("{mark}\n").as_bytes())?;
    match mode.as_str() {
        "fail" => Err(TaskError::new("told to fail")).fatal(),
        "once" if ctx.attempt() == 1 => Err(TaskError::new("not at first")),
        "exit" if ctx.attempt() == 1 => std::process::exit(3),
        "hang" if ctx.attempt() == 1 => std::future::pending().await,
        "sleep" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Outcome::success("slept").with_data(&mark)
        }
        "obey" => {
            ctx.cancellation().cancelled().await;
            Ok(Outcome::success("obeyed"))
        }
        _ => Outcome::success("done").with_data(&mark),
    }
}

lamplighter::main!(QueueProbe);
