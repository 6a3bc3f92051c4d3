//! The table: a DynamoDB engine on SQLite (`dynoxide`), in a file or in memory, served on loopback.

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
    alone::Alone,
    direct, endpoint, guard,
    key::Key,
    loopback::{Endpoint, ServeError, listen, listen_at, undelayed},
    mutex::lock,
    store::Store,
    sweep,
};

/// When items past their TTL are deleted for the first time, and how often from then on: each time all items are read, and
/// DynamoDB itself is later than that.
const SWEEPS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// Why the table could not be opened or served.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Another process, or another engine of this one, has the file open.
    #[error("the table {} is already open{}", path.display(), holder(*pid))]
    Locked {
        /// The table's file.
        path: PathBuf,
        /// The process that holds it, where its lock file said so.
        pid: Option<u32>,
    },
    /// The folder or the lock file beside the table could not be made.
    #[error("cannot lock the table {}", path.display())]
    Lock {
        /// The table's file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The engine refused the file.
    #[error("cannot open the table {place}: {reason}")]
    Open {
        /// The table's file, or `in memory`.
        place: String,
        /// The engine's own words.
        reason: String,
    },
    /// The expired items could not be deleted.
    #[error("cannot delete the expired items: {reason}")]
    Sweep {
        /// The engine's own words.
        reason: String,
    },
    /// The endpoint could not be opened.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" in process {pid}"))
}

/// What a crash of the machine may cost, in SQLite's words; there is always a write-ahead log. A crash of the process loses
/// nothing with either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// The last writes, never their order or the file.
    #[default]
    Normal,
    /// Nothing: each write is on the disk before it is acknowledged.
    Full,
}

/// A DynamoDB engine. Dropping it, or [`close`](Self::close), ends its endpoints; the file's lock is held until
/// the last request on them is answered.
#[derive(Debug)]
pub struct Engine {
    open: Arc<Open>,
    /// Changes, or closes with the engine, when the endpoints shall end.
    closing: watch::Sender<()>,
    serving: Mutex<JoinSet<()>>,
}

/// The engine and the lock that guards its file, which must live exactly as long.
pub(crate) struct Open {
    pub(crate) store: Store,
    _lock: Option<File>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Open")
    }
}

impl Engine {
    /// Opens the table in the file `path`, made with its folder if it is missing. Only one engine at a time may
    /// have it open; the lock is on a file of the same name with `.lock` behind it, and dies with the process.
    pub fn open(path: &Path, synchronous: Synchronous) -> Result<Self, TableError> {
        let held = hold(path)?;
        let store = Store::open(path, synchronous).map_err(|error| TableError::Open {
            place: path.display().to_string(),
            reason: error.to_string(),
        })?;
        Ok(Self::over(Open { store, _lock: Some(held) }))
    }

    /// Opens an empty table that vanishes with the engine.
    pub fn memory() -> Result<Self, TableError> {
        let store = Store::memory()
            .map_err(|error| TableError::Open { place: "in memory".to_owned(), reason: error.to_string() })?;
        Ok(Self::over(Open { store, _lock: None }))
    }

    fn over(open: Open) -> Self {
        Self { open: Arc::new(open), closing: watch::Sender::new(()), serving: Mutex::default() }
    }

    /// Serves the DynamoDB API on a free loopback port and returns the endpoint's URL, which holds its key. Any credentials
    /// are accepted. Items past their TTL are deleted after a minute, and once an hour, while it serves.
    pub async fn serve(&self) -> Result<String, TableError> {
        let (listener, address) = listen().await?;
        let endpoint = Endpoint::new(address)?;
        self.serve_on(listener, endpoint.key().clone());
        Ok(endpoint.to_string())
    }

    /// Serves it at an endpoint that another process has had, so that whoever knew that one finds it again.
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
                // An accept loop that failed leaves clients with a refused connection, which they report.
                _ = axum::serve(undelayed(listener), router).with_graceful_shutdown(shutdown).into_future() => {}
                () = sweep_for_ever(&open) => {}
            }
        });
    }

    /// What a client of this process asks the engine through, without a socket. It is refused once the engine is closed.
    pub fn client(&self) -> SharedHttpClient {
        direct::client(Arc::downgrade(&self.open))
    }

    /// What changes its tables with nobody in between. It is refused once the engine is closed.
    pub fn alone(&self) -> Alone {
        Alone(Arc::downgrade(&self.open))
    }

    /// Deletes the items past their TTL now, and returns how many there were.
    pub async fn sweep(&self) -> Result<usize, TableError> {
        sweep(&self.open).await
    }

    /// Ends the endpoints and returns once their last request is answered and the file is free.
    pub async fn close(self) {
        self.closing.send_replace(());
        let mut serving = std::mem::take(&mut *lock(&self.serving));
        while serving.join_next().await.is_some() {}
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The tasks see the closed channel and end by themselves: cut off, they would leave connections behind
        // that still write to a file whose lock is gone.
        lock(&self.serving).detach_all();
    }
}

async fn sweep_for_ever(open: &Arc<Open>) {
    let mut pause = SWEEPS.0;
    loop {
        tokio::time::sleep(pause).await;
        pause = SWEEPS.1;
        // A failed sweep leaves its items to the next one.
        let _ = sweep(open).await;
    }
}

async fn sweep(open: &Arc<Open>) -> Result<usize, TableError> {
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
    fn a_second_engine_is_told_who_holds_the_file() {
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
