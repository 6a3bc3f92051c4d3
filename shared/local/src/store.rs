//! The engine itself, `dynoxide` on SQLite: what it is asked for is done one thing at a time.
//!
//! Its own door, `dynoxide::Database`, makes each item of a batch durable by itself. Behind this one whatever belongs together
//! shares a transaction of the file.

use std::{
    collections::{HashMap, VecDeque},
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

use crate::{mutex::lock, table::Synchronous};

/// For how long a transaction is remembered by its token, as DynamoDB does.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How much of a file is kept in memory, as SQLite wants it said: in KiB, below zero.
const CACHE: i32 = -16_000;
/// How many pages of 4 KB are written ahead before they go to their places. A page that many writes share goes there once.
const LOG: u32 = 4000;
/// How large the file of those pages may stay after one long transaction has made it larger, in bytes.
const LOG_BYTES: u32 = 64 << 20;

/// An open engine.
pub(crate) struct Store(Mutex<Opened>);

/// What only one may use at a time.
pub(crate) struct Opened {
    pub(crate) storage: Storage,
    /// Whether the engine's own transactions are parts of one that is open already.
    within: Arc<AtomicBool>,
    vectors: VectorIndexLifecycle,
    told: Told,
}

/// What was answered to transactions that may be asked for again.
#[derive(Default)]
struct Told {
    /// By their tokens: the hash of what was asked, and the answer.
    answers: HashMap<String, (u64, String)>,
    /// Their tokens, the oldest first.
    since: VecDeque<(Instant, String)>,
}

impl Store {
    /// The engine of a file, which is made if it is not there.
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

    /// An empty one that vanishes with the value.
    pub(crate) fn memory() -> Result<Self> {
        Ok(Self::over(Storage::memory()?))
    }

    fn over(storage: Storage) -> Self {
        let within = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&within);
        // SQLite leaves out a BEGIN, COMMIT or ROLLBACK that is ignored.
        storage.conn().authorizer(Some(move |context: AuthContext<'_>| match context.action {
            AuthAction::Transaction { .. } if asked.load(Relaxed) => Authorization::Ignore,
            _ => Authorization::Allow,
        }));
        let vectors = VectorIndexLifecycle::new();
        Self(Mutex::new(Opened { storage, within, vectors, told: Told::default() }))
    }

    /// Has something done while nobody else does anything.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Opened) -> T) -> T {
        let mut opened = lock(&self.0);
        let done = act(&mut opened);
        opened.take_back();
        done
    }

    /// Answers a request of the DynamoDB API: the HTTP status, and the body.
    pub(crate) fn answer(&self, operation: &str, body: &[u8]) -> (u16, String) {
        match self.perform(operation, body) {
            Ok(body) => (200, body),
            Err(error) => (error.status_code(), error.to_json()),
        }
    }

    fn perform(&self, operation: &str, body: &[u8]) -> Result<String> {
        /// An action of the engine, with whatever it needs besides the request.
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
                opened.at_once(|storage| ready(actions::batch_write_item::execute(storage, request)))
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
            _ => Err(DynoxideError::UnsupportedCapability(format!("there is no operation `{operation}`"))),
        }
    }

    /// Does what a body asks for.
    fn act<Q: DeserializeOwned, A: Serialize>(
        &self,
        body: &[u8],
        act: impl FnOnce(&mut Opened, Q) -> Result<A>,
    ) -> Result<String> {
        let request = read(body)?;
        write(&self.with(|opened| act(opened, request))?)
    }

    /// Does it unless it was done already under the same token.
    fn once<Q: DeserializeOwned, A: Serialize>(
        &self,
        body: &[u8],
        act: impl FnOnce(&mut Opened, Q) -> Result<A>,
    ) -> Result<String> {
        let mut asked: Value = read(body)?;
        let request = read(body)?;
        let token = asked.as_object_mut().and_then(|it| it.remove("ClientRequestToken"));
        let Some(Value::String(token)) = token else {
            return write(&self.with(|opened| act(opened, request))?);
        };
        let hash = hash_of(&asked);
        self.with(|opened| {
            if let Some(answer) = opened.told.again(&token, hash)? {
                return Ok(answer);
            }
            let answer = write(&act(opened, request)?)?;
            opened.told.remember(token, hash, answer.clone());
            Ok(answer)
        })
    }
}

impl Told {
    /// What was answered to the same request before.
    fn again(&mut self, token: &str, hash: u64) -> Result<Option<String>> {
        while let Some((_, token)) = self.since.pop_front_if(|(at, _)| at.elapsed() >= REMEMBERED) {
            self.answers.remove(&token);
        }
        match self.answers.get(token) {
            Some((before, answer)) if *before == hash => Ok(Some(answer.clone())),
            Some(_) => Err(DynoxideError::IdempotentParameterMismatchException(
                "the token is that of another request".to_owned(),
            )),
            None => Ok(None),
        }
    }

    fn remember(&mut self, token: String, hash: u64, answer: String) {
        self.since.push_back((Instant::now(), token.clone()));
        self.answers.insert(token, (hash, answer));
    }
}

impl Opened {
    /// Takes back a transaction that was left open, as by a commit for which the disk had no room: nothing could be begun after
    /// it.
    fn take_back(&mut self) {
        if !self.storage.conn().is_autocommit() {
            self.within.store(false, Relaxed);
            // What cannot be taken back now is tried again after the next request.
            let _ = self.storage.conn().execute_batch("ROLLBACK");
        }
    }

    /// Has several things done in one transaction: all of them, or, after an error, none.
    pub(crate) fn at_once<T>(&self, act: impl FnOnce(&Storage) -> Result<T>) -> Result<T> {
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

/// A transaction that is taken back unless it was committed.
struct Transaction<'a>(&'a Opened);

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.0.within.store(false, Relaxed);
        // It fails where SQLite has taken it back by itself.
        let _ = self.0.storage.rollback();
    }
}

/// What an action has done by the time its future is made: SQLite waits for nobody.
pub(crate) fn ready<T>(done: impl Future<Output = Result<T>>) -> Result<T> {
    done.now_or_never()
        .unwrap_or_else(|| Err(DynoxideError::InternalServerError("the engine waits".to_owned())))
}

fn read<Q: DeserializeOwned>(body: &[u8]) -> Result<Q> {
    serde_json::from_slice(body).map_err(|error| {
        // Its readers say by this word what is not a fault of the JSON.
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

/// The same for equal values, whatever the order of their entries was.
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

    /// A store with a table, and how often it has made something durable.
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
    fn the_items_of_a_batch_are_made_durable_together() {
        let (store, commits) = store();
        ask(&store, "BatchWriteItem", &batch(25)).unwrap();
        assert_eq!((count(&store), commits.load(Relaxed)), (25, 1));
    }

    #[test]
    fn what_fails_half_way_leaves_nothing_behind_and_hinders_nobody() {
        let (store, _) = store();
        let half = |opened: &mut Opened| {
            opened.at_once(|storage| {
                let request = serde_json::from_value(batch(3)).unwrap();
                ready(actions::batch_write_item::execute(storage, request))?;
                Err::<(), _>(DynoxideError::InternalServerError("broken off".to_owned()))
            })
        };
        assert!(store.with(half).is_err());
        assert_eq!(count(&store), 0);
        let panicking = || store.with(|opened| opened.at_once(|_| -> Result<()> { panic!("broken off") }));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panicking)).is_err());
        ask(&store, "BatchWriteItem", &batch(2)).unwrap();
        assert_eq!(count(&store), 2);
    }

    #[test]
    fn a_transaction_with_a_token_is_done_once() {
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
    fn what_cannot_be_asked_is_refused_by_name() {
        let (store, _) = store();
        for (operation, body, wanted) in [
            ("MakeCoffee", "{}", "there is no operation `MakeCoffee`"),
            ("GetItem", "{", "SerializationException"),
            ("GetItem", "{\"TableName\": \"none\", \"Key\": {\"pk\": {\"S\": \"a\"}}}", "ResourceNotFound"),
        ] {
            let (status, said) = store.answer(operation, body.as_bytes());
            assert!(status >= 400 && said.contains(wanted), "{operation}: {status} {said}");
        }
    }
}
