//! The table of a stack on this machine, in a file that the commands of a user share, and its bucket, in a folder.

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

/// How long a holder that takes no guests is waited for: it is just starting, or just leaving.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a holder stays for its guests before it says so.
const SILENCE: Duration = Duration::from_secs(1);
/// How often a guest looks whether the holder is gone: well within what a client's own retries bridge.
const HEIR: Duration = Duration::from_millis(50);
/// How often it is tried to be alone at the table, [`PAUSE`] apart. Somebody who only looks for a holder is gone by then.
const TRIES: usize = 5;
/// How often what has expired is deleted where no runner does it.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The longest name of a bucket. Source: Amazon S3 User Guide, "General purpose bucket naming rules".
const LONGEST_BUCKET_NAME: usize = 63;

/// The table and the bucket of a stack, without anything that runs.
pub struct Storage {
    /// The table.
    pub table: Table,
    /// What a process is told to reach both, beside the table's name.
    pub variables: Vec<(String, String)>,
    /// Each process serves the folder itself; nothing in AWS.
    bucket: Option<Bucket>,
    access: Arc<Mutex<Access>>,
}

/// How a process comes to the table.
enum Access {
    /// It has the file, and serves it to others.
    Holder { engine: Engine, server: TableServer, file: PathBuf },
    /// Another process does, at this endpoint.
    Client { _seat: Client, file: PathBuf, endpoint: String, synchronous: Synchronous },
    /// It is not in a file of this machine.
    Remote,
}

impl Storage {
    /// Opens the table of a stack, which is kept in a file below `home`, and makes it if it is not there. If another
    /// process has the file open, the table is used through it, as that one has opened it.
    ///
    /// The runs of `tasks` that an earlier process left behind when it was killed are ended first: its functions died
    /// with it, so nobody has to wait until their leases have run out.
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
            let entered = server.enter().with_context(|| format!("cannot share {}", file.display()))?;
            if let Some((seat, endpoint)) = entered {
                let table = open_table(local_dynamodb(&endpoint), stack).await?.with_objects(objects);
                let variables = variables(endpoint.clone(), &bucket, bucket_name);
                let access = Access::Client { _seat: seat, file, endpoint, synchronous };
                let access = Arc::new(Mutex::new(access));
                return Ok(Self { table, variables, bucket: Some(bucket), access });
            }
            sleep(PAUSE).await;
        };
        // The guests of a holder that was killed may still be there, with runs of their own. They find it again where it was;
        // where nobody is, its key opens nothing any more.
        let alone = server.alone()?;
        let endpoint = match alone {
            Some(_) => engine.serve().await?,
            None => serve_again(&engine, server.endpoint()).await?,
        };
        let table = open_table(direct_dynamodb(engine.client()), stack).await?.with_objects(objects);
        let alone = match alone {
            Some(seat) => Some(seat),
            None => wait_alone(&server, TRIES).await?,
        };
        if alone.is_some() {
            end_abandoned(&table, tasks).await?;
        }
        server.open(&endpoint).with_context(|| format!("cannot share {}", file.display()))?;
        let variables = variables(endpoint, &bucket, bucket_name);
        let access = Arc::new(Mutex::new(Access::Holder { engine, server, file }));
        Ok(Self { table, variables, bucket: Some(bucket), access })
    }

    /// Waits until the process through which the table is used has left or died, and takes its place: opens the file, and serves it
    /// where that one did, so that nobody who uses it need know. If yet another process has taken it elsewhere, or the
    /// endpoint is not free any more, the table cannot be used through this value again.
    ///
    /// Never returns where this process has the file from the beginning, or the table is in AWS.
    pub async fn inherit(&self) -> anyhow::Result<()> {
        let guest = match &*self.access() {
            Access::Client { file, endpoint, synchronous, .. } => {
                Some((file.clone(), endpoint.clone(), *synchronous))
            }
            Access::Holder { .. } | Access::Remote => None,
        };
        let Some((file, endpoint, synchronous)) = guest else { return std::future::pending().await };
        let server = TableServer::of(&file);
        let _heir = server.be_heir().with_context(|| format!("cannot share {}", file.display()))?;
        loop {
            sleep(HEIR).await;
            let engine = match Engine::open(&file, synchronous) {
                Ok(engine) => engine,
                Err(TableError::Locked { .. }) => {
                    let elsewhere = server.endpoint().is_some_and(|other| other != endpoint);
                    ensure!(!elsewhere, "{} is served elsewhere than it was", file.display());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let at = Endpoint::parse(&endpoint).with_context(|| {
                format!("{} was served without a key, by an earlier version of this program", file.display())
            })?;
            engine.serve_at(&at).await.with_context(|| {
                format!("the process that served {} is gone, and its place is not free", file.display())
            })?;
            server.open(&endpoint).with_context(|| format!("cannot share {}", file.display()))?;
            // Its seat as a guest is free with that.
            *self.access() = Access::Holder { engine, server, file };
            return Ok(());
        }
    }

    fn access(&self) -> MutexGuard<'_, Access> {
        lock(&self.access)
    }

    /// The table of a stack in AWS, which processes reach by these variables.
    pub fn remote(table: Table, variables: Vec<(String, String)>) -> Self {
        Self { table, variables, bucket: None, access: Arc::new(Mutex::new(Access::Remote)) }
    }

    /// The bucket, as this process serves it; nothing in AWS.
    pub fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    /// Deletes what has expired, of the table and of the bucket, unless that was done within a day. A runner does it more often;
    /// this is for a home folder that never has one.
    async fn sweep_daily(&self, engine: &Engine, file: &Path) -> anyhow::Result<()> {
        let stamp = file.with_extension("sqlite.swept");
        let swept = fs::metadata(&stamp).and_then(|stamp| stamp.modified());
        if swept.is_ok_and(|at| at.elapsed().is_ok_and(|since| since < DAY)) {
            return Ok(());
        }
        engine.sweep().await?;
        if let Some(bucket) = &self.bucket {
            objects::sweep(bucket, &self.table).await?;
        }
        Ok(fs::write(stamp, "")?)
    }

    /// What changes the table with nobody in between, while this process has its file. Nothing if the table is in AWS.
    pub fn exclusive(&self) -> Option<Arc<dyn GroupCommit>> {
        match &*self.access() {
            Access::Holder { .. } | Access::Client { .. } => Some(Arc::new(Held(Arc::clone(&self.access)))),
            Access::Remote => None,
        }
    }

    /// Lets go of the table. Who holds it for others stays until they are gone, or one of them is to [`inherit`](Self::inherit)
    /// it.
    /// `waits` is called if that takes a while.
    pub async fn close(self, waits: impl FnOnce()) {
        let mut waits = Some(waits);
        let access = std::mem::replace(&mut *self.access(), Access::Remote);
        let Access::Holder { engine, server, file } = access else { return };
        // What has expired and is still there is found by the next one.
        let _ = self.sweep_daily(&engine, &file).await;
        let started = Instant::now();
        // Where nobody can be asked, nobody is waited for. Until the table is closed nobody comes in.
        let _alone = loop {
            match (server.alone(), server.has_successor()) {
                (Ok(None), Ok(true)) => return engine.close().await,
                (Ok(None), _) => sleep(PAUSE).await,
                (alone, _) => break alone,
            }
            if started.elapsed() > SILENCE
                && let Some(waits) = waits.take()
            {
                waits();
            }
        };
        server.close();
        engine.close().await;
    }
}

/// A table in a file, whichever process has that.
struct Held(Arc<Mutex<Access>>);

impl GroupCommit for Held {
    fn change(
        &self,
        table: &str,
        keys: &[(String, String)],
        decide: &mut dyn FnMut(usize, Option<Item>) -> Option<Item>,
    ) -> Result<(), String> {
        let engine = match &*lock(&self.0) {
            Access::Holder { engine, .. } => engine.alone(),
            Access::Client { .. } | Access::Remote => return Err("another process has the table".to_owned()),
        };
        engine.change(table, keys, decide)
    }
}

fn lock(access: &Mutex<Access>) -> MutexGuard<'_, Access> {
    access.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The durability of the local table that a project asks for.
pub fn synchronous(config: &Config) -> Synchronous {
    match config.table.synchronous {
        config::Synchronous::Normal => Synchronous::Normal,
        config::Synchronous::Full => Synchronous::Full,
    }
}

/// The name of a stack's bucket. One that would be longer than the S3 API takes ends with a hash of the whole name.
fn bucket_name(stack: &str) -> String {
    let name = format!("{}-lamplighter", stack.to_ascii_lowercase());
    if name.len() <= LONGEST_BUCKET_NAME {
        return name;
    }
    // FNV-1a: the same in each release, and nobody gains by two stacks that share it.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // A stack's name is ASCII, so any place is one between two characters.
    format!("{}-{hash:016x}", &name[..LONGEST_BUCKET_NAME - 17])
}

fn variables(endpoint: String, bucket: &Bucket, bucket_name: String) -> Vec<(String, String)> {
    let own = [("AWS_ENDPOINT_URL_DYNAMODB", endpoint), ("LAMPLIGHTER_BUCKET", bucket_name)];
    bucket.variables().into_iter().chain(own.map(|(name, value)| (name.to_owned(), value))).collect()
}

/// Serves a table where the holder before did and with its key, if its place is free: its guests are still there.
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

async fn wait_alone(server: &TableServer, tries: usize) -> anyhow::Result<Option<Client>> {
    for _ in 0..tries {
        if let Some(seat) = server.alone()? {
            return Ok(Some(seat));
        }
        sleep(PAUSE).await;
    }
    Ok(None)
}

async fn end_abandoned(table: &Table, tasks: impl IntoIterator<Item = &TaskName>) -> anyhow::Result<()> {
    for task in tasks {
        let now = Timestamp::now();
        // A side task's process may take longer to end than whoever started it, so its lease is left to run out.
        let state = table.state(task).await?;
        for lost in state.held().filter(|lost| lost.lease.trigger != Trigger::Runner) {
            let _ = table.record(&lost.run(task, now).because(Reason::HostEnded)).await?;
            table.end_lost(task, &lost, now).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buckets_name_is_as_long_as_it_may_be_and_differs_with_the_stacks() {
        assert_eq!(bucket_name("Shop"), "shop-lamplighter");
        let (at_limit, first, second) = ("a".repeat(51), "a".repeat(128), format!("{}b", "a".repeat(127)));
        assert_eq!(bucket_name(&at_limit), format!("{at_limit}-lamplighter"));
        for long in [&"a".repeat(52), &first, &second] {
            assert_eq!(bucket_name(long).len(), LONGEST_BUCKET_NAME, "{long}");
        }
        assert_ne!(bucket_name(&first), bucket_name(&second));
    }

    #[tokio::test]
    async fn whoever_has_the_file_changes_the_table_with_nobody_in_between() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Storage::open(folder.path(), "shop", Synchronous::Normal, []);
        let (holder, guest) = (open().await.unwrap(), open().await.unwrap());
        let change = |storage: &Storage| {
            let keys = [("pk".to_owned(), "sk".to_owned())];
            storage.exclusive().unwrap().change(storage.table.name(), &keys, &mut |_, _| None)
        };
        assert_eq!(change(&holder), Ok(()));
        assert_eq!(change(&guest), Err("another process has the table".to_owned()));
        let ((), inherited) = tokio::join!(holder.close(|| {}), guest.inherit());
        inherited.unwrap();
        assert_eq!(change(&guest), Ok(()));
        guest.close(|| {}).await;
    }
}
