//! The table of a stack on this machine, in a file that several processes share, and its bucket, in a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use lamplighter_aws::{
    clients::{DynamoDb, direct_dynamodb, local_dynamodb, signed_config},
    objects::Objects,
    table::{self, GroupCommit, Item, Table},
};
use lamplighter_core::{name::TaskName, reason::Reason, run::Trigger};
use lamplighter_local::{Bucket, Endpoint, Engine, Synchronous, TableError};
use lamplighter_project::config::{self, Config};
use tokio::time::sleep;

use super::{
    home, objects,
    table_server::{Client, PAUSE, TableServer},
};

/// The longest wait for a process that has the file but accepts no clients: it is starting or stopping.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time that a process waits for its clients before it reports that.
const QUIET_WAIT: Duration = Duration::from_secs(1);
/// The pause between two attempts of a successor to open the file. SDK clients retry their requests for longer than
/// this.
const SUCCESSION: Duration = Duration::from_millis(50);
/// The number of attempts to lock out clients, [`PAUSE`] apart. In this time a process that only looks for a server
/// releases its lock.
const LOCK_OUT_ATTEMPTS: usize = 5;
/// The pause between two deletions of expired items and objects where no runner does that.
const SWEEP_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// The longest name of a bucket. Source: Amazon S3 User Guide, "General purpose bucket naming rules".
const LONGEST_BUCKET_NAME: usize = 63;

/// The table and the bucket of a stack.
pub struct Storage {
    /// The table.
    pub table: Table,
    /// The variables with which a process reaches both, except the table's name.
    pub variables: Vec<(String, String)>,
    /// The bucket, which each process serves itself; none in AWS.
    bucket: Option<Bucket>,
    access: Arc<Mutex<Access>>,
}

/// The access of this process to the table.
enum Access {
    /// It has the file open and serves it to other processes.
    Holder { engine: Engine, server: TableServer, file: PathBuf },
    /// Another process serves it at this endpoint.
    Client { _lock: Client, file: PathBuf, endpoint: String, synchronous: Synchronous },
    /// The table is in AWS.
    Remote,
}

impl Storage {
    /// Opens the table of a stack in a file below `home`, which is created if it is missing. If another process has the
    /// file open, this process becomes its client, and the durability that the other process has set applies.
    ///
    /// If the previous process was killed and has no clients left, its unfinished runs of `tasks` are recorded first.
    /// Their processes ended with it, so nothing has to wait for their leases to expire.
    pub async fn open(
        home: &Path,
        stack: &str,
        synchronous: Synchronous,
        tasks: impl IntoIterator<Item = &TaskName>,
    ) -> anyhow::Result<Self> {
        home::check(home)?;
        let bucket_name = bucket_name(stack);
        let bucket = Bucket::serve(&home.join("bucket"), &bucket_name).await?;
        let signing = bucket.credentials();
        let config = signed_config(&bucket.endpoint(), &signing.access_key_id, &signing.secret_access_key);
        let objects = Objects::new(&bucket_name, &config);
        let file = home.join("table.sqlite");
        let server = TableServer::of(&file);
        let started = Instant::now();
        let engine = loop {
            match Engine::open(&file, synchronous) {
                Ok(engine) => break engine,
                Err(TableError::Locked { .. }) if started.elapsed() < PATIENCE => {}
                Err(error) => return Err(error.into()),
            }
            let client = server
                .connect()
                .with_context(|| format!("cannot share {} with other processes", file.display()))?;
            if let Some((lock, endpoint)) = client {
                let table = open_table(local_dynamodb(&endpoint), stack).await?.with_objects(objects);
                let variables = variables(endpoint.clone(), &bucket, bucket_name);
                let access = Access::Client { _lock: lock, file, endpoint, synchronous };
                let access = Arc::new(Mutex::new(access));
                return Ok(Self { table, variables, bucket: Some(bucket), access });
            }
            sleep(PAUSE).await;
        };
        // Clients of a killed server may still run, and they need the table at its old endpoint. Without clients the
        // table gets a new endpoint, so that the old key becomes invalid.
        let no_clients = server.lock_out_clients()?;
        let endpoint = match no_clients {
            Some(_) => engine.serve().await?,
            None => serve_again(&engine, server.endpoint()).await?,
        };
        let table = open_table(direct_dynamodb(engine.client()), stack).await?.with_objects(objects);
        let no_clients = match no_clients {
            Some(lock) => Some(lock),
            None => lock_out_clients(&server, LOCK_OUT_ATTEMPTS).await?,
        };
        if no_clients.is_some() {
            end_abandoned(&table, tasks).await?;
        }
        server
            .open(&endpoint)
            .with_context(|| format!("cannot share {} with other processes", file.display()))?;
        let variables = variables(endpoint, &bucket, bucket_name);
        let access = Arc::new(Mutex::new(Access::Holder { engine, server, file }));
        Ok(Self { table, variables, bucket: Some(bucket), access })
    }

    /// Waits until the process that serves the table has ended, and takes its place: opens the file and serves it at the same
    /// endpoint, so that clients notice nothing.
    ///
    /// Fails if another process serves the table at another endpoint, or if the endpoint is not free. The table cannot be used
    /// through this value then. Never returns if this process opened the file itself, or if the table is in AWS.
    pub async fn inherit(&self) -> anyhow::Result<()> {
        let client = match &*self.access() {
            Access::Client { file, endpoint, synchronous, .. } => {
                Some((file.clone(), endpoint.clone(), *synchronous))
            }
            Access::Holder { .. } | Access::Remote => None,
        };
        let Some((file, endpoint, synchronous)) = client else { return std::future::pending().await };
        let server = TableServer::of(&file);
        let _successor = server
            .register_successor()
            .with_context(|| format!("cannot share {} with other processes", file.display()))?;
        loop {
            sleep(SUCCESSION).await;
            let engine = match Engine::open(&file, synchronous) {
                Ok(engine) => engine,
                Err(TableError::Locked { .. }) => {
                    let elsewhere = server.endpoint().is_some_and(|other| other != endpoint);
                    ensure!(
                        !elsewhere,
                        "another process now serves {} at another endpoint: start this command again",
                        file.display()
                    );
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let at = Endpoint::parse(&endpoint).with_context(|| {
                format!("{} was served without a key by an earlier version of lamplighter: start this command again", file.display())
            })?;
            engine.serve_at(&at).await.with_context(|| {
                format!("the process that served {} has ended, and its endpoint is not free: start this command again", file.display())
            })?;
            server
                .open(&endpoint)
                .with_context(|| format!("cannot share {} with other processes", file.display()))?;
            // This also releases the lock of a client.
            *self.access() = Access::Holder { engine, server, file };
            return Ok(());
        }
    }

    fn access(&self) -> MutexGuard<'_, Access> {
        lock(&self.access)
    }

    /// The table of a stack in AWS, which processes reach with these variables.
    pub fn remote(table: Table, variables: Vec<(String, String)>) -> Self {
        Self { table, variables, bucket: None, access: Arc::new(Mutex::new(Access::Remote)) }
    }

    /// The bucket that this process serves; none in AWS.
    pub fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    /// Deletes expired items and objects, unless that was done within [`SWEEP_PAUSE`]. A runner does it more often; this is for a
    /// home folder without one.
    async fn sweep_daily(&self, engine: &Engine, file: &Path) -> anyhow::Result<()> {
        let stamp = file.with_extension("sqlite.swept");
        let swept = fs::metadata(&stamp).and_then(|stamp| stamp.modified());
        if swept.is_ok_and(|at| at.elapsed().is_ok_and(|since| since < SWEEP_PAUSE)) {
            return Ok(());
        }
        engine.sweep().await?;
        if let Some(bucket) = &self.bucket {
            objects::sweep(bucket, &self.table).await?;
        }
        Ok(fs::write(stamp, "")?)
    }

    /// Returns a handle for group commits, which works while this process has the file open. `None` if the table is in AWS.
    pub fn group_commit(&self) -> Option<Arc<dyn GroupCommit>> {
        match &*self.access() {
            Access::Holder { .. } | Access::Client { .. } => {
                Some(Arc::new(LocalGroupCommit(Arc::clone(&self.access))))
            }
            Access::Remote => None,
        }
    }

    /// Closes the table. A process that serves it waits until its clients have ended, or until one of them is a successor, which
    /// waits in [`inherit`](Self::inherit). `waits` is called if that takes long.
    pub async fn close(self, waits: impl FnOnce()) {
        let mut waits = Some(waits);
        let access = std::mem::replace(&mut *self.access(), Access::Remote);
        let Access::Holder { engine, server, file } = access else { return };
        // After an error the next process deletes the expired items.
        let _ = self.sweep_daily(&engine, &file).await;
        let started = Instant::now();
        // The lock keeps new clients out until the table is closed. If the lock file cannot be read, nothing waits for
        // clients.
        let _no_clients = loop {
            match (server.lock_out_clients(), server.has_successor()) {
                (Ok(None), Ok(true)) => return engine.close().await,
                (Ok(None), _) => sleep(PAUSE).await,
                (lock, _) => break lock,
            }
            if started.elapsed() > QUIET_WAIT
                && let Some(waits) = waits.take()
            {
                waits();
            }
        };
        server.close();
        engine.close().await;
    }
}

/// Group commits to a table in a file, while this process has that open.
struct LocalGroupCommit(Arc<Mutex<Access>>);

impl GroupCommit for LocalGroupCommit {
    fn change(
        &self,
        table: &str,
        keys: &[(String, String)],
        decide: &mut dyn FnMut(usize, Option<Item>) -> Option<Item>,
    ) -> Result<(), String> {
        let engine = match &*lock(&self.0) {
            Access::Holder { engine, .. } => engine.local_commit(),
            Access::Client { .. } | Access::Remote => {
                return Err("another process has the table's file open".to_owned());
            }
        };
        engine.change(table, keys, decide)
    }
}

fn lock(access: &Mutex<Access>) -> MutexGuard<'_, Access> {
    access.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The durability of the local table that a project sets.
pub fn synchronous(config: &Config) -> Synchronous {
    match config.table.synchronous {
        config::Synchronous::Normal => Synchronous::Normal,
        config::Synchronous::Full => Synchronous::Full,
    }
}

/// The name of a stack's bucket. If it is longer than the S3 API allows, it ends with a hash of the whole name.
fn bucket_name(stack: &str) -> String {
    let name = format!("{}-lamplighter", stack.to_ascii_lowercase());
    if name.len() <= LONGEST_BUCKET_NAME {
        return name;
    }
    // FNV-1a: the same in each release. A collision of two stacks helps no attacker.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // A stack's name is ASCII, so every index is a character boundary.
    format!("{}-{hash:016x}", &name[..LONGEST_BUCKET_NAME - 17])
}

fn variables(endpoint: String, bucket: &Bucket, bucket_name: String) -> Vec<(String, String)> {
    let own = [
        ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
        ("LAMPLIGHTER_BUCKET", bucket_name),
        // A cancellation then takes effect at once.
        ("LAMPLIGHTER_TABLE_IS_LOCAL", "true".to_owned()),
    ];
    bucket.variables().into_iter().chain(own.map(|(name, value)| (name.to_owned(), value))).collect()
}

/// Serves a table at the endpoint of the process before, whose clients may still be there, or at a new one if it is not free.
async fn serve_again(engine: &Engine, before: Option<String>) -> anyhow::Result<String> {
    if let Some(before) = before.as_deref().and_then(Endpoint::parse)
        && engine.serve_at(&before).await.is_ok()
    {
        return Ok(before.to_string());
    }
    Ok(engine.serve().await?)
}

async fn open_table(client: DynamoDb, stack: &str) -> anyhow::Result<Table> {
    let name = format!("{stack}-lamplighter");
    table::create(&client, &name).await?;
    Ok(Table::new(client, name))
}

/// Tries to lock out clients several times. Returns the lock, or `None` if there are clients.
async fn lock_out_clients(server: &TableServer, attempts: usize) -> anyhow::Result<Option<Client>> {
    for _ in 0..attempts {
        if let Some(lock) = server.lock_out_clients()? {
            return Ok(Some(lock));
        }
        sleep(PAUSE).await;
    }
    Ok(None)
}

/// Records the runs that a killed process left behind, and releases their tasks.
async fn end_abandoned(table: &Table, tasks: impl IntoIterator<Item = &TaskName>) -> anyhow::Result<()> {
    for task in tasks {
        let now = Timestamp::now();
        // A side task's process may outlive the runner that started it, so its lease must expire by time.
        let state = table.state(task).await?;
        for lost in state.held().filter(|lost| lost.lease.trigger != Trigger::Runner) {
            table.end_held(lost.run(task, now).because(Reason::HostEnded), lost.fence).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buckets_name_fits_the_limit_and_differs_between_stacks() {
        assert_eq!(bucket_name("Shop"), "shop-lamplighter");
        let (at_limit, first, second) = ("a".repeat(51), "a".repeat(128), format!("{}b", "a".repeat(127)));
        assert_eq!(bucket_name(&at_limit), format!("{at_limit}-lamplighter"));
        for long in [&"a".repeat(52), &first, &second] {
            assert_eq!(bucket_name(long).len(), LONGEST_BUCKET_NAME, "{long}");
        }
        assert_ne!(bucket_name(&first), bucket_name(&second));
    }

    #[tokio::test]
    async fn only_the_process_that_has_the_file_open_makes_group_commits() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Storage::open(folder.path(), "shop", Synchronous::Normal, []);
        let (holder, client) = (open().await.unwrap(), open().await.unwrap());
        let change = |storage: &Storage| {
            let keys = [("pk".to_owned(), "sk".to_owned())];
            storage.group_commit().unwrap().change(storage.table.name(), &keys, &mut |_, _| None)
        };
        assert_eq!(change(&holder), Ok(()));
        assert_eq!(change(&client), Err("another process has the table's file open".to_owned()));
        let ((), inherited) = tokio::join!(holder.close(|| {}), client.inherit());
        inherited.unwrap();
        assert_eq!(change(&client), Ok(()));
        client.close(|| {}).await;
    }
}
