//! The engine: `dynoxide` on SQLite, which performs one request at a time.
//!
//! `dynoxide::Database` would commit each item of a batch by itself. This store commits a batch in one transaction of the file.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use dynoxide::{
    DynoxideError, Result,
    actions::{self, vector_lifecycle::VectorIndexLifecycle},
    storage::Storage,
};
use futures::FutureExt as _;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::mutex::lock;

/// The lifetime of a client request token, as in DynamoDB.
const REMEMBERED: Duration = Duration::from_secs(600);

/// SQLite's page cache: a negative number is a size in KiB.
const CACHE: i32 = -16_000;
/// The size of the write-ahead log at which its pages are copied to the database, in pages of 4 KB. A page that was written
/// many times is copied once.
const LOG: u32 = 4000;
/// The size to which the log's file is truncated after a long transaction has made it larger, in bytes.
const LOG_BYTES: u32 = 64 << 20;

/// Durability after a crash of the machine, in SQLite's terms. There is always a write-ahead log, so a crash of the
/// process alone loses nothing in either mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// The last writes may be lost, but no write before them, and the file stays intact.
    #[default]
    Normal,
    /// Nothing is lost: each write is on the disk before it is acknowledged.
    Full,
}

/// An open engine.
pub(crate) struct Store(Mutex<Connection>);

/// The connection to the engine, used by one request at a time.
pub(crate) struct Connection {
    pub(crate) storage: Storage,
    /// True while a transaction of this store is open: the engine's own transactions are then parts of it.
    within: Arc<AtomicBool>,
    vectors: VectorIndexLifecycle,
    answered: AnsweredTransactions,
}

/// The answers to transactions that a client may repeat with the same token.
#[derive(Default)]
struct AnsweredTransactions {
    /// By token: the hash of the request, and the answer.
    answers: HashMap<String, (u64, String)>,
    /// The tokens, oldest first.
    since: VecDeque<(Instant, String)>,
}

/// An open store and the lock on its file, which live exactly as long as each other.
pub(crate) struct LockedStore {
    pub(crate) store: Store,
    _lock: Option<File>,
}

impl LockedStore {
    /// Joins a store to the lock on its file; one in memory has none.
    pub(crate) fn new(store: Store, lock: Option<File>) -> Self {
        Self { store, _lock: lock }
    }
}

impl std::fmt::Debug for LockedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LockedStore")
    }
}

impl Store {
    /// Opens the engine of a file, which is created if it is missing.
    pub(crate) fn open(path: &Path, synchronous: Synchronous) -> Result<Self> {
        let storage = Storage::new(&path.to_string_lossy())?;
        let synchronous = match synchronous {
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        };
        storage.conn().execute_batch(&format!(
            "PRAGMA synchronous = {synchronous}; PRAGMA cache_size = {CACHE}; PRAGMA wal_autocheckpoint = {LOG}; \
             PRAGMA journal_size_limit = {LOG_BYTES};"
        ))?;
        Ok(Self::over(storage))
    }

    /// Opens an empty engine in memory.
    pub(crate) fn memory() -> Result<Self> {
        Ok(Self::over(Storage::memory()?))
    }

    fn over(storage: Storage) -> Self {
        let within = Arc::new(AtomicBool::new(false));
        let is_within = Arc::clone(&within);
        // SQLite skips a BEGIN, COMMIT or ROLLBACK for which the authorizer returns `Ignore`.
        storage.conn().authorizer(Some(move |context: AuthContext<'_>| match context.action {
            AuthAction::Transaction { .. } if is_within.load(Relaxed) => Authorization::Ignore,
            _ => Authorization::Allow,
        }));
        let vectors = VectorIndexLifecycle::new();
        Self(Mutex::new(Connection { storage, within, vectors, answered: AnsweredTransactions::default() }))
    }

    /// Runs `act` with exclusive use of the connection.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Connection) -> T) -> T {
        let mut opened = lock(&self.0);
        let done = act(&mut opened);
        opened.roll_back_leftover();
        done
    }

    /// Answers a request of the DynamoDB API with an HTTP status and a body.
    pub(crate) fn answer(&self, operation: &str, body: &[u8]) -> (u16, String) {
        match self.perform(operation, body) {
            Ok(body) => (200, body),
            Err(error) => (error.status_code(), error.to_json()),
        }
    }

    fn perform(&self, operation: &str, body: &[u8]) -> Result<String> {
        /// Performs an action of the engine, with the field of the connection that it needs.
        macro_rules! act {
            ($action:ident $(, $with:ident)?) => {
                self.act(body, |opened, request| {
                    ready(actions::$action::execute(&opened.storage, request $(, &opened.$with)?))
                })
            };
        }
        match operation {
            "BatchExecuteStatement" => act!(batch_execute_statement),
            "BatchGetItem" => act!(batch_get_item),
            "BatchWriteItem" => self.act(body, |opened, request| {
                opened.in_transaction(|storage| ready(actions::batch_write_item::execute(storage, request)))
            }),
            "CreateTable" => act!(create_table),
            "DeleteItem" => act!(delete_item),
            "DeleteTable" => act!(delete_table, vectors),
            "DescribeStream" => act!(describe_stream),
            "DescribeTable" => act!(describe_table, vectors),
            "DescribeTimeToLive" => act!(describe_time_to_live),
            "ExecuteStatement" => act!(execute_statement),
            "ExecuteTransaction" => self.once(body, |opened, request| {
                ready(actions::execute_transaction::execute(&opened.storage, request))
            }),
            "GetItem" => act!(get_item),
            "GetRecords" => act!(get_records),
            "GetShardIterator" => act!(get_shard_iterator),
            "ListStreams" => act!(list_streams),
            "ListTables" => act!(list_tables),
            "ListTagsOfResource" => act!(list_tags_of_resource),
            "PutItem" => act!(put_item),
            "Query" => act!(query),
            "Scan" => act!(scan),
            "SearchVectors" => act!(search_vectors, vectors),
            "TagResource" => act!(tag_resource),
            "TransactGetItems" => act!(transact_get_items),
            "TransactWriteItems" => self.once(body, |opened, request| {
                ready(actions::transact_write_items::execute(&opened.storage, request))
            }),
            "UntagResource" => act!(untag_resource),
            "UpdateItem" => act!(update_item),
            "UpdateTable" => act!(update_table, vectors),
            "UpdateTimeToLive" => act!(update_time_to_live),
            _ => Err(DynoxideError::UnsupportedCapability(format!("unknown operation `{operation}`"))),
        }
    }

    /// Performs the request in a body.
    fn act<Q: DeserializeOwned, A: Serialize>(
        &self,
        body: &[u8],
        act: impl FnOnce(&mut Connection, Q) -> Result<A>,
    ) -> Result<String> {
        let request = read(body)?;
        write(&self.with(|opened| act(opened, request))?)
    }

    /// Performs the request in a body, unless one with the same token was performed before.
    fn once<Q: DeserializeOwned, A: Serialize>(
        &self,
        body: &[u8],
        act: impl FnOnce(&mut Connection, Q) -> Result<A>,
    ) -> Result<String> {
        let mut parameters: Value = read(body)?;
        let request = read(body)?;
        let token = parameters.as_object_mut().and_then(|it| it.remove("ClientRequestToken"));
        let Some(Value::String(token)) = token else {
            return write(&self.with(|opened| act(opened, request))?);
        };
        let hash = hash_of(&parameters);
        self.with(|opened| {
            if let Some(answer) = opened.answered.find(&token, hash)? {
                return Ok(answer);
            }
            let answer = write(&act(opened, request)?)?;
            opened.answered.remember(token, hash, answer.clone());
            Ok(answer)
        })
    }
}

impl AnsweredTransactions {
    /// The answer to an earlier request with this token. It is an error if that request had other parameters.
    fn find(&mut self, token: &str, hash: u64) -> Result<Option<String>> {
        while let Some((_, token)) = self.since.pop_front_if(|(at, _)| at.elapsed() >= REMEMBERED) {
            self.answers.remove(&token);
        }
        match self.answers.get(token) {
            Some((before, answer)) if *before == hash => Ok(Some(answer.clone())),
            Some(_) => Err(DynoxideError::IdempotentParameterMismatchException(
                "another request was made with the same token".to_owned(),
            )),
            None => Ok(None),
        }
    }

    fn remember(&mut self, token: String, hash: u64, answer: String) {
        self.since.push_back((Instant::now(), token.clone()));
        self.answers.insert(token, (hash, answer));
    }
}

impl Connection {
    /// Rolls back a transaction that was left open, such as by a commit that failed on a full disk. No other transaction could
    /// begin otherwise.
    fn roll_back_leftover(&mut self) {
        if !self.storage.conn().is_autocommit() {
            self.within.store(false, Relaxed);
            // If it fails, it is tried again after the next request.
            let _ = self.storage.conn().execute_batch("ROLLBACK");
        }
    }

    /// Runs `act` in one transaction, which is rolled back after an error.
    pub(crate) fn in_transaction<T>(&self, act: impl FnOnce(&Storage) -> Result<T>) -> Result<T> {
        self.storage.begin_transaction()?;
        let open = Transaction(self);
        self.within.store(true, Relaxed);
        let done = act(&self.storage)?;
        self.within.store(false, Relaxed);
        self.storage.commit()?;
        std::mem::forget(open);
        Ok(done)
    }
}

/// A transaction, rolled back when it is dropped before its commit.
struct Transaction<'a>(&'a Connection);

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.0.within.store(false, Relaxed);
        // It fails if SQLite has rolled the transaction back by itself.
        let _ = self.0.storage.rollback();
    }
}

/// The result of an action's future, which is ready at once: SQLite does not wait.
pub(crate) fn ready<T>(done: impl Future<Output = Result<T>>) -> Result<T> {
    done.now_or_never().unwrap_or_else(|| {
        Err(DynoxideError::InternalServerError("the engine did not finish at once".to_owned()))
    })
}

fn read<Q: DeserializeOwned>(body: &[u8]) -> Result<Q> {
    serde_json::from_slice(body).map_err(|error| {
        // The engine marks errors that are not of the JSON syntax with this prefix.
        let text = error.to_string();
        match text.strip_prefix("VALIDATION:") {
            Some(text) => DynoxideError::ValidationException(text.to_owned()),
            None => DynoxideError::SerializationException(text),
        }
    })
}

fn write(answer: &impl Serialize) -> Result<String> {
    serde_json::to_string(answer).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

/// A hash that does not depend on the order of an object's entries.
fn hash_of(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use serde_json::json;

    use super::*;

    const KEY: &str = "pk";

    /// A store with a table, and the number of its commits.
    fn store() -> (Store, Arc<AtomicUsize>) {
        let store = Store::memory().unwrap();
        let table = json!({
            "TableName": "things",
            "AttributeDefinitions": [{ "AttributeName": KEY, "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": KEY, "KeyType": "HASH" }],
            "BillingMode": "PAY_PER_REQUEST",
        });
        ask(&store, "CreateTable", &table).unwrap();
        let commits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&commits);
        store.with(|opened| {
            opened.storage.conn().commit_hook(Some(move || {
                counted.fetch_add(1, Relaxed);
                false
            }));
        });
        (store, commits)
    }

    fn ask(store: &Store, operation: &str, request: &Value) -> std::result::Result<Value, String> {
        let (status, body) = store.answer(operation, request.to_string().as_bytes());
        if status == 200 { Ok(serde_json::from_str(&body).unwrap()) } else { Err(body) }
    }

    fn batch(count: usize) -> Value {
        let puts: Vec<_> = (0..count)
            .map(|i| json!({ "PutRequest": { "Item": { KEY: { "S": i.to_string() } } } }))
            .collect();
        json!({ "RequestItems": { "things": puts } })
    }

    fn count(store: &Store) -> u64 {
        ask(store, "Scan", &json!({ "TableName": "things" })).unwrap()["Count"].as_u64().unwrap()
    }

    #[test]
    fn the_items_of_a_batch_share_one_commit() {
        let (store, commits) = store();
        ask(&store, "BatchWriteItem", &batch(25)).unwrap();
        assert_eq!((count(&store), commits.load(Relaxed)), (25, 1));
    }

    #[test]
    fn a_failed_transaction_is_rolled_back_and_blocks_no_later_one() {
        let (store, _) = store();
        let half = |opened: &mut Connection| {
            opened.in_transaction(|storage| {
                let request = serde_json::from_value(batch(3)).unwrap();
                ready(actions::batch_write_item::execute(storage, request))?;
                Err::<(), _>(DynoxideError::InternalServerError("broken off".to_owned()))
            })
        };
        assert!(store.with(half).is_err());
        assert_eq!(count(&store), 0);
        let panicking =
            || store.with(|opened| opened.in_transaction(|_| -> Result<()> { panic!("broken off") }));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panicking)).is_err());
        ask(&store, "BatchWriteItem", &batch(2)).unwrap();
        assert_eq!(count(&store), 2);
    }

    #[test]
    fn a_transaction_with_a_token_is_performed_once() {
        let (store, commits) = store();
        let put = |token: &str, key: &str| {
            let put = json!({
                "TableName": "things",
                "Item": { KEY: { "S": key } },
                "ConditionExpression": "attribute_not_exists(pk)",
            });
            let request = json!({ "TransactItems": [{ "Put": put }], "ClientRequestToken": token });
            ask(&store, "TransactWriteItems", &request)
        };
        assert_eq!(put("one", "a").unwrap(), put("one", "a").unwrap());
        assert_eq!(commits.load(Relaxed), 1);
        assert!(put("one", "b").unwrap_err().contains("IdempotentParameterMismatch"));
        assert!(put("other", "a").unwrap_err().contains("TransactionCanceled"));
    }

    #[test]
    fn an_invalid_request_is_refused_with_its_error_type() {
        let (store, _) = store();
        for (operation, body, wanted) in [
            ("MakeCoffee", "{}", "unknown operation `MakeCoffee`"),
            ("GetItem", "{", "SerializationException"),
            ("GetItem", "{\"TableName\": \"none\", \"Key\": {\"pk\": {\"S\": \"a\"}}}", "ResourceNotFound"),
        ] {
            let (status, said) = store.answer(operation, body.as_bytes());
            assert!(status >= 400 && said.contains(wanted), "{operation}: {status} {said}");
        }
    }
}
