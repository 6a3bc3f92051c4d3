//! The peer: one streaq worker with a Redis server of its own.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::sleep,
};

use super::{BatchTimes, Durability, Measured, process::processor};

const PATIENCE: Duration = Duration::from_secs(20);

/// A worker and its Redis server. Dropping this stops both.
pub(crate) struct Peer {
    folder: TempDir,
    url: String,
    redis: Child,
    worker: Child,
}

impl Peer {
    pub(crate) async fn start(durability: Durability) -> Measured<Self> {
        let folder = tempfile::tempdir_in(super::ours::program_folder())?;
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let url = format!("redis://127.0.0.1:{port}");
        let mut redis = Command::new("redis-server");
        redis
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(folder.path())
            // Redis's snapshots would cost time in some rounds only.
            .args(["--save", ""]);
        if durability == Durability::Each {
            redis.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        redis.stdout(Stdio::null()).kill_on_drop(true);
        let redis = redis.spawn().map_err(|error| format!("cannot start redis-server: {error}"))?;
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if started.elapsed() > PATIENCE {
                return Err("redis-server does not respond".into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        let log = std::fs::File::create(folder.path().join("worker.log"))?;
        let worker = Command::new(tool("streaq"))
            .args(["run", "noop:worker"])
            .current_dir(scripts())
            .env("REDIS_URL", &url)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start streaq, `tests/setup streaq` installs it: {error}"))?;
        Ok(Self { folder, url, redis, worker })
    }

    /// Runs many jobs at once.
    pub(crate) async fn many(&self, count: usize) -> Measured<BatchTimes> {
        let before = self.processor()?;
        let figures = self.drive("many", count).await?;
        let processor = self.processor()? - before;
        let seconds = |name: &str| Duration::from_secs_f64(figures[name].as_f64().unwrap_or_default());
        Ok(BatchTimes { enqueued: seconds("enqueued"), drained: seconds("drained"), processor })
    }

    fn processor(&self) -> Measured<f64> {
        let of = |process: &Child| processor(process.id().ok_or("the peer has ended")?);
        Ok(of(&self.redis)? + of(&self.worker)?)
    }

    /// Runs jobs one after the other. Returns the milliseconds from each enqueue to the start.
    pub(crate) async fn starts(&self, count: usize) -> Measured<Vec<f64>> {
        let figures = self.drive("one", count).await?;
        Ok(figures["waits"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect())
    }

    async fn drive(&self, what: &str, count: usize) -> Measured<Value> {
        let output = Command::new(tool("python"))
            .args(["drive.py", what, &count.to_string()])
            .current_dir(scripts())
            .env("REDIS_URL", &self.url)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            let log = std::fs::read_to_string(self.folder.path().join("worker.log")).unwrap_or_default();
            return Err(format!("drive.py {what} failed; the worker's log:\n{log}").into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub(crate) async fn stop(mut self) -> Measured<()> {
        self.worker.kill().await?;
        self.redis.kill().await?;
        Ok(())
    }
}

fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers")
}

fn tool(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.tools/streaq/bin").join(name)
}
