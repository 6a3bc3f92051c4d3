//! Our side: `lamplighter start` in a workspace of its own, and the enqueuing client in this process.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use lamplighter_aws::{
    jobs::{Jobs, Waker},
    table::JobRecord,
};
use lamplighter_core::{
    definition::Priority,
    job::{JobKey, NewJob},
    name::TaskName,
    run::Run,
    status::Status,
};
use lamplighter_local::Synchronous;
use lamplighter_runner::{storage::Storage, wake};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{BatchTimes, Durability, Measured, process::processor};

const PATIENCE: Duration = Duration::from_secs(60);
/// The concurrency of the peer's worker.
const CONCURRENCY: &str = "32";
/// The number of concurrent requests that verify jobs.
const VERIFIERS: usize = 32;

/// A runner, and a client of its table.
pub(crate) struct Runner {
    pub(crate) process: Child,
    pub(crate) jobs: Jobs,
    tasks: Vec<TaskName>,
    storage: Storage,
    _folder: TempDir,
}

impl Runner {
    /// Starts a runner of queue tasks with these names.
    pub(crate) async fn start(durability: Durability, names: &[&str]) -> Measured<Self> {
        let folder = tempfile::tempdir_in(program_folder())?;
        write(folder.path(), names, durability)?;
        let log = fs::File::create(folder.path().join("runner.log"))?;
        let process = Command::new(program("../server/lamplighter")?)
            .args(["start", "--release", "--concurrency", CONCURRENCY])
            .current_dir(folder.path())
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS")
            .env("CARGO_NET_OFFLINE", "true")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let home = folder.path().join(".lamplighter");
        let started = Instant::now();
        let address = loop {
            if let Some(address) = wake::wake_address(&home) {
                break address;
            }
            if started.elapsed() > PATIENCE {
                let log = fs::read_to_string(folder.path().join("runner.log"))?;
                return Err(format!("the runner did not start; it said:\n{log}").into());
            }
            sleep(Duration::from_millis(20)).await;
        };
        let tasks = names.iter().map(|name| name.parse()).collect::<Result<Vec<TaskName>, _>>()?;
        let storage = Storage::open(&home, "bench", Synchronous::default(), [])
            .await
            .map_err(|error| format!("{error:#}"))?;
        let jobs = Jobs::new(storage.table.clone(), Waker::Runner { to: Some(address) });
        Ok(Self { process, jobs, tasks, storage, _folder: folder })
    }

    fn new_job(&self, task: usize, number: usize) -> NewJob {
        NewJob { arguments: json!({ "number": number }), ..NewJob::of(self.tasks[task].clone()) }
    }

    /// Runs many jobs at once, and verifies each result.
    pub(crate) async fn many(&self, count: usize) -> Measured<BatchTimes> {
        let new = (0..count).map(|number| self.new_job(0, number)).collect();
        let process = self.process.id().ok_or("the runner has ended")?;
        let before = processor(process)?;
        let began = Instant::now();
        let keys = self.jobs.enqueue_many(new).await?;
        let enqueued = began.elapsed();
        // A runner's index has every unfinished job.
        while !self.jobs.table().due_for_runner(&self.tasks[0], Priority::default(), 1).await?.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
        let drained = began.elapsed();
        let processor = processor(process)? - before;
        self.verify(keys).await?;
        Ok(BatchTimes { enqueued, drained, processor })
    }

    async fn verify(&self, keys: Vec<JobKey>) -> Measured<()> {
        let keys = Arc::new(keys);
        let mut asking = JoinSet::new();
        for first in 0..VERIFIERS {
            let (jobs, keys) = (self.jobs.clone(), Arc::clone(&keys));
            asking.spawn(async move {
                for (number, key) in keys.iter().enumerate().skip(first).step_by(VERIFIERS) {
                    let Some(JobRecord::Over(run)) = jobs.find(key).await? else {
                        return Err(format!("job {key} has not ended").into());
                    };
                    result(&run, number)?;
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
            });
        }
        asking.join_all().await.into_iter().collect()
    }

    /// Runs jobs one after the other. Returns the milliseconds from each enqueue to the body's first line.
    pub(crate) async fn starts(&self, count: usize) -> Measured<Vec<f64>> {
        let mut waits = Vec::with_capacity(count);
        for number in 0..count {
            waits.push(self.once(0, number).await?);
            sleep(Duration::from_millis(5)).await;
        }
        Ok(waits)
    }

    /// Runs one job. Returns the milliseconds from its enqueue to the body's first line.
    pub(crate) async fn once(&self, task: usize, number: usize) -> Measured<f64> {
        let before = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
        let accepted = self.jobs.enqueue(self.new_job(task, number)).await?;
        let run = self.jobs.wait(&accepted.key, PATIENCE).await?.ok_or("a job did not end in time")?;
        Ok(Duration::from_micros(result(&run, number)?.saturating_sub(before)).as_secs_f64() * 1e3)
    }

    pub(crate) async fn stop(mut self) -> Measured<()> {
        let process = self.process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(process.ok_or("the runner has ended")?, Signal::TERM)?;
        self.storage.close(|| {}).await;
        timeout(PATIENCE, self.process.wait()).await??;
        Ok(())
    }
}

/// Verifies a record, and returns the time of its body's start in microseconds.
fn result(run: &Run, number: usize) -> Measured<u64> {
    let data = run.data.as_ref().ok_or_else(|| format!("{}: no data", run.id))?;
    let right = run.status == Status::Completed && run.attempts.len() == 1 && data[0] == number;
    let began = data[1].as_u64().filter(|_| right);
    Ok(began.ok_or_else(|| format!("{} is {} with {data}, not {number}", run.id, run.status))?)
}

/// Creates a workspace whose tasks run the program `job` under their names.
fn write(folder: &Path, names: &[&str], durability: Durability) -> Measured<()> {
    let members: Vec<_> = names.iter().map(|name| format!("functions/tasks/{name}")).collect();
    let manifest = format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n");
    fs::write(folder.join("Cargo.toml"), manifest)?;
    let synchronous = match durability {
        Durability::Default => "",
        Durability::Each => "[table]\nsynchronous = \"full\"\n",
    };
    fs::write(folder.join("lamplighter.toml"), format!("name = \"bench\"\n{synchronous}"))?;
    for name in names {
        let package = folder.join("functions/tasks").join(name);
        fs::create_dir_all(package.join("src"))?;
        let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        fs::write(package.join("Cargo.toml"), manifest)?;
        let source = format!(
            "use std::os::unix::process::CommandExt as _;\n\
             fn main() {{\n    \
                 let mut job = std::process::Command::new({job:?});\n    \
                 panic!(\"{{}}\", job.arg0({name:?}).args(std::env::args().skip(1)).exec());\n\
             }}\n",
            job = program("job")?.display().to_string()
        );
        fs::write(package.join("src/main.rs"), source)?;
    }
    Ok(())
}

/// Returns the folder of this program, so that both sides use the same disk.
pub(crate) fn program_folder() -> PathBuf {
    let here = std::env::current_exe().ok();
    here.as_deref().and_then(Path::parent).unwrap_or(Path::new(".")).to_owned()
}

fn program(name: &str) -> Measured<PathBuf> {
    Ok(fs::canonicalize(program_folder().join(name)).map_err(|error| format!("{name}: {error}"))?)
}
