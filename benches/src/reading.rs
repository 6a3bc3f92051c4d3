//! Benchmark: the commands that read, in a project of 30 tasks on this machine. Each is measured from the start of its process
//! to its end, beside one that only prints its version. Part of `make bench`.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use lamplighter_aws::table::Recorded;
use lamplighter_core::{
    id::RunId,
    run::{Run, Trigger},
    status::Status,
};
use lamplighter_local::Synchronous;
use lamplighter_runner::{
    home::{self, HOME},
    storage::Storage,
};
use serde_json::json;

use crate::{
    Measured,
    figures::{median, sign},
};

const TASKS: usize = 30;
/// The runs of each task.
const RUNS: usize = 10;
const ROUNDS: usize = 31;
/// The longest median time of a command, in milliseconds.
const AT_MOST: f64 = 50.0;

const COMMANDS: [&[&str]; 6] =
    [&["--version"], &["tasks"], &["next"], &["history"], &["history", "task-07"], &["stats"]];

/// Measures the commands. Returns whether all promises are kept.
pub(crate) async fn measure() -> Measured<bool> {
    let lamplighter = std::env::current_exe()?.with_file_name("lamplighter");
    let folder = tempfile::tempdir()?;
    write_project(folder.path())?;
    write_runs(&folder.path().join(HOME)).await?;
    let run = |arguments: &[&str]| -> Measured<f64> {
        let mut command = Command::new(&lamplighter);
        command.args(arguments).current_dir(folder.path()).env_remove("CARGO_TARGET_DIR");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let started = Instant::now();
        let status = command.status()?;
        let elapsed = started.elapsed().as_secs_f64() * 1e3;
        if status.success() { Ok(elapsed) } else { Err(format!("{arguments:?} failed with {status}").into()) }
    };
    // Compiles the tasks.
    run(&["tasks"])?;
    let mut times = [const { Vec::new() }; COMMANDS.len()];
    for _ in 0..ROUNDS {
        for (times, arguments) in times.iter_mut().zip(COMMANDS) {
            times.push(run(arguments)?);
        }
    }
    println!("commands that read, {TASKS} tasks with {RUNS} runs each, median of {ROUNDS}");
    let mut kept = true;
    for (times, arguments) in times.into_iter().zip(COMMANDS) {
        let time = median(times);
        kept &= time <= AT_MOST;
        println!(
            "{}  lamplighter {:<46} {time:>8.1} ms (at most {AT_MOST})",
            sign(time <= AT_MOST),
            arguments.join(" ")
        );
    }
    Ok(kept)
}

/// Writes a workspace with one package that has all tasks. Each of them only describes itself.
fn write_project(folder: &Path) -> Measured<()> {
    let package = folder.join("functions/tasks/many");
    fs::create_dir_all(package.join("src/bin"))?;
    fs::write(
        folder.join("Cargo.toml"),
        "[workspace]\nresolver = \"3\"\nmembers = [\"functions/tasks/many\"]\n",
    )?;
    fs::write(folder.join("lamplighter.toml"), "name = \"shop\"\n")?;
    fs::write(
        package.join("Cargo.toml"),
        "[package]\nname = \"many\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    )?;
    for i in 0..TASKS {
        let definition = json!({
            "lamplighter": env!("CARGO_PKG_VERSION"), "name": name(i), "description": "", "kind": "cron",
            "schedule": format!("{i} 3 * * *"), "timezone": "UTC", "priority": "low", "timeout_ms": 300_000,
            "retry": { "max_attempts": 3, "initial_ms": 500, "max_ms": 30_000 }, "copy_assets": [],
            "rollback": false, "config": null, "config_schema": {},
        });
        let program = format!("fn main() {{ println!(\"{{}}\", r####\"{definition}\"####); }}\n");
        fs::write(package.join(format!("src/bin/{}.rs", name(i))), program)?;
    }
    Ok(())
}

async fn write_runs(folder: &Path) -> Measured<()> {
    home::make(folder)?;
    let storage = Storage::open(folder, "shop", Synchronous::Normal, []).await?;
    for i in 0..TASKS * RUNS {
        let started_at = Timestamp::now() - Duration::from_secs(60 * (i as u64 + 1));
        let id = RunId::new(started_at, i as u128);
        let run = Run {
            status: Status::Completed,
            completed_at: started_at + Duration::from_millis(120),
            ..Run::begun(id, name(i % TASKS).parse()?, Trigger::Schedule, started_at)
        };
        if storage.table.record(&run).await? != Recorded::Written {
            return Err("a run was there before it was written".into());
        }
    }
    storage.close(|| ()).await;
    Ok(())
}

fn name(i: usize) -> String {
    format!("task-{i:02}")
}
