//! The table: a DynamoDB engine on SQLite (`dynoxide`), in a file or in memory, served on the loopback interface.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::{
    direct, endpoint, guard,
    key::Key,
    local_commit::LocalCommit,
    loopback::{Endpoint, ServeError, listen, listen_at, undelayed},
    mutex::lock,
    store::{LockedStore, Store, Synchronous},
    sweep,
};

/// The pauses before the first deletion of expired items, and before each later one. A deletion reads all items, and DynamoDB
/// deletes later than this.
const SWEEPS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// An error while opening or serving the table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Another process, or another engine of this one, has the file open.
    #[error("the table {} is already open{}", path.display(), holder(*pid))]
    Locked {
        /// The table's file.
        path: PathBuf,
        /// The process that has it open, if its lock file names one.
        pid: Option<u32>,
    },
    /// The folder of the table, or the lock file beside it, cannot be created.
    #[error("cannot lock the table {}", path.display())]
    Lock {
        /// The table's file.
        path: PathBuf,
        /// The file system's error.
        source: std::io::Error,
    },
    /// The engine cannot use the file.
    #[error("cannot open the table {place}: {reason}")]
    Open {
        /// The table's file, or `in memory`.
        place: String,
        /// The engine's message.
        reason: String,
    },
    /// The expired items cannot be deleted.
    #[error("cannot delete the expired items: {reason}")]
    Sweep {
        /// The engine's message.
        reason: String,
    },
    /// The endpoint cannot be opened.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" in process {pid}"))
}

/// A DynamoDB engine. [`close`](Self::close) or a drop stops its endpoints. The lock of the file is held until their last request
/// is answered.
#[derive(Debug)]
pub struct Engine {
    open: Arc<LockedStore>,
    /// Changes, or closes with the engine, when the endpoints must stop.
    closing: watch::Sender<()>,
    serving: Mutex<JoinSet<()>>,
}

impl Engine {
    /// Opens the table in the file `path`, which is created with its folder if it is missing.
    ///
    /// Only one engine at a time can have it open. The lock is on a file of the same name with the suffix `.lock`, and the
    /// kernel releases it when the process ends.
    pub fn open(path: &Path, synchronous: Synchronous) -> Result<Self, TableError> {
        let held = hold(path)?;
        let store = Store::open(path, synchronous).map_err(|error| TableError::Open {
            place: path.display().to_string(),
            reason: error.to_string(),
        })?;
        Ok(Self::over(LockedStore::new(store, Some(held))))
    }

    /// Opens an empty table in memory.
    pub fn memory() -> Result<Self, TableError> {
        let store = Store::memory()
            .map_err(|error| TableError::Open { place: "in memory".to_owned(), reason: error.to_string() })?;
        Ok(Self::over(LockedStore::new(store, None)))
    }

    fn over(open: LockedStore) -> Self {
        Self { open: Arc::new(open), closing: watch::Sender::new(()), serving: Mutex::default() }
    }

    /// Serves the DynamoDB API on a free loopback port and returns the endpoint's URL, which contains its key. Any credentials
    /// are accepted. Meanwhile, items past their TTL are deleted after a minute and then once an hour.
    pub async fn serve(&self) -> Result<String, TableError> {
        let (listener, address) = listen().await?;
        let endpoint = Endpoint::new(address)?;
        self.serve_on(listener, endpoint.key().clone());
        Ok(endpoint.to_string())
    }

    /// Serves at the endpoint of an earlier process, whose clients then need no new URL.
    pub async fn serve_at(&self, endpoint: &Endpoint) -> Result<(), TableError> {
        self.serve_on(listen_at(endpoint.address()).await?, endpoint.key().clone());
        Ok(())
    }

    fn serve_on(&self, listener: TcpListener, key: Key) {
        let open = Arc::clone(&self.open);
        let mut closing = self.closing.subscribe();
        lock(&self.serving).spawn(async move {
            let shutdown = async move {
                let _ = closing.changed().await;
            };
            let router = guard::with_key(endpoint::router(Arc::clone(&open)), key);
            tokio::select! {
                // If accepting fails, clients report a refused connection.
                _ = axum::serve(undelayed(listener), router).with_graceful_shutdown(shutdown).into_future() => {}
                () = sweep_for_ever(&open) => {}
            }
        });
    }

    /// Returns an HTTP client for this process, which needs no socket. Its requests fail once the engine is closed.
    pub fn client(&self) -> SharedHttpClient {
        direct::client(Arc::downgrade(&self.open))
    }

    /// Returns a handle that commits many changes as one group. Its changes fail once the engine is closed.
    pub fn local_commit(&self) -> LocalCommit {
        LocalCommit(Arc::downgrade(&self.open))
    }

    /// Deletes the items past their TTL now and returns their number.
    pub async fn sweep(&self) -> Result<usize, TableError> {
        sweep(&self.open).await
    }

    /// Stops the endpoints. Returns once their last request is answered and the file's lock is released.
    pub async fn close(self) {
        self.closing.send_replace(());
        let mut serving = std::mem::take(&mut *lock(&self.serving));
        while serving.join_next().await.is_some() {}
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The tasks end by themselves when the channel closes. If they were aborted, their connections could still write to the
        // file after its lock is released.
        lock(&self.serving).detach_all();
    }
}

async fn sweep_for_ever(open: &Arc<LockedStore>) {
    let mut pause = SWEEPS.0;
    loop {
        tokio::time::sleep(pause).await;
        pause = SWEEPS.1;
        // After an error the next sweep deletes the items.
        let _ = sweep(open).await;
    }
}

async fn sweep(open: &Arc<LockedStore>) -> Result<usize, TableError> {
    let open = Arc::clone(open);
    let swept = tokio::task::spawn_blocking(move || sweep::sweep(&open.store)).await;
    let swept = swept.map_err(|error| TableError::Sweep { reason: error.to_string() })?;
    swept.map_err(|error| TableError::Sweep { reason: error.to_string() })
}

fn hold(path: &Path) -> Result<File, TableError> {
    let failed = |source| TableError::Lock { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(TableError::Locked { path: path.to_owned(), pid: written_pid(&mut file) });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0).map_err(failed)?;
    write!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

fn written_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_ahead_and_synced_as_asked() {
        for (synchronous, number) in [(Synchronous::Normal, 1), (Synchronous::Full, 2)] {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("table.db"), synchronous).unwrap();
            store.with(|opened| {
                let conn = opened.storage.conn();
                let set = conn.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0)).unwrap();
                let journal = conn.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0));
                assert_eq!((set, journal.unwrap().as_str()), (number, "wal"));
            });
        }
    }

    #[test]
    fn a_second_engine_fails_and_names_the_process_that_holds_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/table.db");
        let first = Engine::open(&path, Synchronous::Normal).unwrap();
        let error = Engine::open(&path, Synchronous::Normal).unwrap_err().to_string();
        let wanted =
            format!("the table {} is already open in process {}", path.display(), std::process::id());
        assert_eq!(error, wanted);
        drop(first);
        Engine::open(&path, Synchronous::Normal).unwrap();
    }
}
