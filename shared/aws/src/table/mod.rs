//! The one table: locks, history and the deployments' ledgers, in DynamoDB.
//! Every change of a lock is one conditional write without a read before it. Nothing is scanned, and time to live
//! serves retention only. The conditions express the rules of `lamplighter_core`. A refused write returns the item,
//! from which the same rules give the decision.
//!
//! Costs of a run in write units, with items under 1 KB: 3 (claim, record, release), and 1 for a refused claim.

mod conditional;
mod deployed;
mod deployments;
mod item;
mod jobs;
mod keys;
mod lock;
mod outbox;
mod pulse;
mod record;
mod runners;
mod runs;
mod schema;
mod transaction;

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    operation::{
        delete_item::builders::DeleteItemFluentBuilder, get_item::builders::GetItemFluentBuilder,
        put_item::builders::PutItemFluentBuilder, query::builders::QueryFluentBuilder,
        update_item::builders::UpdateItemFluentBuilder,
    },
};
use lamplighter_core::definition::DEFAULT_RETENTION;

pub use conditional::Conditional;
pub use deployments::{LEDGER_RETENTION, Opened, Received, RequestKey};
pub use item::Item;
pub use jobs::{
    AbortOutcome, DuePage, EnqueueOutcome, GroupCommit, JobEnd, JobKeys, JobStart, JobStep, JobWrites,
    LOOK_AGAIN, MAX_DELAY, MAX_STEPS, StepOutcome, Transport,
};
pub use keys::LeadingKeys;
pub use lock::{Recorded, Renewed};
pub use outbox::Undelivered;
pub use pulse::{Pulses, States};
pub use record::{JobRecord, UnreadableItem};
pub use runs::{
    Counted, Cursor, History, InvalidCursor, JOBS_FOLDER, LARGE, LOOKED_AT, Page, RETENTION, RUNS_FOLDER,
    Seen, is_large,
};
pub use schema::create;
pub use transaction::{CommitError, TransactWriteItem, transact};

pub(crate) use keys::DUE_SHARDS;

use item::s;
use keys::{Key, Partition};

use crate::{
    clients::cause,
    objects::{Objects, ObjectsError},
};

/// The table, through a client.
#[derive(Clone, Debug)]
pub struct Table {
    client: Client,
    name: String,
    retention: Duration,
    environment: String,
    objects: Option<Objects>,
}

/// A failed read or write of the table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The service refused, or was not reached; the SDK's own retries are used up.
    #[error("table `{table}`: {operation}: {cause}")]
    Service {
        /// The table.
        table: String,
        /// The operation.
        operation: &'static str,
        /// The error of the service or the network.
        cause: String,
    },
    /// An item does not have Lamplighter's form.
    #[error("table `{table}`: item {key} cannot be read: {cause}")]
    Malformed {
        /// The table.
        table: String,
        /// The item's key.
        key: String,
        /// The cause.
        cause: String,
    },
    /// A value is larger than an item may hold, and there is no bucket.
    #[error(
        "{what} has {bytes} bytes, and the table alone keeps at most {MAX_VALUE_BYTES}: set LAMPLIGHTER_BUCKET to a \
         bucket for larger values, or store it elsewhere and return where it is"
    )]
    TooLarge {
        /// The value's name.
        what: &'static str,
        /// Its size as JSON text.
        bytes: usize,
    },
    /// A large value could not be put into the bucket, or got from it.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// A large value is in the table's bucket, but no bucket is set.
    #[error("`{key}` is in the table's bucket, and no bucket is set: set LAMPLIGHTER_BUCKET to its name")]
    NoBucket {
        /// The object's key.
        key: String,
    },
}

/// The maximum size of a run's configuration, data and arguments in its item, together, in bytes of JSON text. DynamoDB
/// limits the whole item to 400 KB.
pub const MAX_VALUE_BYTES: usize = 300_000;

impl Table {
    /// The table of that name.
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self {
            client,
            name: name.into(),
            retention: DEFAULT_RETENTION,
            environment: String::new(),
            objects: None,
        }
    }

    /// Sets the environment of this process, which the records of lost runs name.
    #[must_use]
    pub fn with_environment(self, environment: impl Into<String>) -> Self {
        Self { environment: environment.into(), ..self }
    }

    /// Sets how long new records are kept.
    #[must_use]
    pub fn with_retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// Adds a bucket for values that are too large for an item.
    #[must_use]
    pub fn with_objects(self, objects: Objects) -> Self {
        Self { objects: Some(objects), ..self }
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The environment of this process.
    pub fn environment(&self) -> &str {
        &self.environment
    }

    /// The client of the table.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Reads one item, consistently. `what` names the operation in errors.
    async fn get(&self, key: Key, what: &'static str) -> Result<Option<Item>, TableError> {
        let output = self.read(key).consistent_read(true).send().await;
        Ok(output.map_err(|error| self.failed(what, &error))?.item)
    }

    fn read(&self, key: Key) -> GetItemFluentBuilder {
        self.client.get_item().table_name(&self.name).set_key(Some(key.attributes()))
    }

    fn put(&self, item: Item) -> PutItemFluentBuilder {
        self.client.put_item().table_name(&self.name).set_item(Some(item))
    }

    fn update(&self, key: Key) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.name).set_key(Some(key.attributes()))
    }

    fn delete(&self, key: Key) -> DeleteItemFluentBuilder {
        self.client.delete_item().table_name(&self.name).set_key(Some(key.attributes()))
    }

    /// A query of a partition, whose key conditions name it `:pk`.
    fn query(&self, partition: Partition<'_>) -> QueryFluentBuilder {
        let query = self.client.query().table_name(&self.name);
        query.expression_attribute_values(":pk", s(partition.pk()))
    }

    fn failed<E: std::error::Error + 'static>(&self, operation: &'static str, error: &E) -> TableError {
        TableError::Service { table: self.name.clone(), operation, cause: cause(error) }
    }
}
