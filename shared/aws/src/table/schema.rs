//! The table's keys and indexes, and the names of its items.

use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata as _,
    operation::create_table::CreateTableError,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
        ProjectionType, ScalarAttributeType, TimeToLiveSpecification,
    },
};
use lamplighter_core::{definition::Priority, id::RunId, name::TaskName};

use super::{Table, TableError};

/// The sort key of a task's own item.
pub(super) const TASK: &str = "TASK";
/// The sort key of a ledger's newest state. It sorts after every entry, since those begin with a digit.
pub(super) const LATEST: &str = "LATEST";

/// The sort key of the time whose rollups have been made. It sorts after every hour, since those begin with a digit.
pub(super) const COVERED: &str = "COVERED";

/// The partition of the pulse.
pub(super) const PULSE: &str = "PULSE";
/// The sort key of what the pulse remembers. It sorts after every record, since those begin with a digit.
pub(super) const STATE: &str = "STATE";

/// Over how many partitions of the index `due` the jobs are spread that the pulse looks for.
pub(crate) const DUE_SHARDS: u8 = 8;

/// The partition of the runners.
pub(super) const RUNNERS: &str = "RUNNERS";

/// The partition of a task's own item.
pub(super) fn task_pk(task: &TaskName) -> String {
    format!("TASK#{task}")
}

/// The partition of a run of a task. Lifecycle and cron tasks stay far below what one partition takes (1000 writes a
/// second), so theirs is the first; jobs are spread over [`SHARDS`].
///
/// [`SHARDS`]: lamplighter_core::id::SHARDS
pub(super) fn runs_pk(task: &TaskName, id: RunId) -> String {
    shard_pk(task, id.shard())
}

/// One of the partitions of a task's runs.
pub(super) fn shard_pk(task: &TaskName, shard: u8) -> String {
    format!("RUNS#{task}#{shard}")
}

/// The partition of what tells a task's jobs apart.
pub(super) fn job_keys_pk(task: &TaskName) -> String {
    format!("JOBS#{task}")
}

/// Where jobs stand in the index `due` that wait for longer than SQS can, for the pulse.
pub(super) fn due_pk_of_queues(id: RunId) -> String {
    format!("DUE#q#{}", id.shard() % DUE_SHARDS)
}

/// Where a task's jobs of a priority stand in the index `due`, for the runner.
pub(super) fn due_pk_of_runner(task: &TaskName, priority: Priority) -> String {
    format!("DUE#{task}#{}", priority as u8)
}

/// The partition of a task's rollups.
pub(super) fn stats_pk(task: &TaskName) -> String {
    format!("STATS#{task}")
}

/// The partition of what somebody was told of a task's failures.
pub(super) fn notices_pk(task: &TaskName) -> String {
    format!("NOTICES#{task}")
}

/// The partition of the messages to people that are not delivered yet.
pub(super) const OUTBOX: &str = "OUTBOX";

/// The sort key of a message there.
pub(super) fn outbox_sk(task: &TaskName, occasion: &str) -> String {
    format!("{task}#{occasion}")
}

/// The partition of a ledger.
pub(super) fn ledger_pk(ledger: &str) -> String {
    format!("DEPLOYMENT#{ledger}")
}

/// The partition of the requests that a ledger has received.
pub(super) fn request_pk(ledger: &str) -> String {
    format!("REQUEST#{ledger}")
}

/// A run's key, for messages.
pub(super) fn run_key(task: &TaskName, id: RunId) -> String {
    format!("{} / {id}", runs_pk(task, id))
}

/// Makes the table on an engine of one's own. In AWS the stack's template makes it, of the same shape.
pub async fn create(client: &aws_sdk_dynamodb::Client, name: &str) -> Result<(), TableError> {
    let key =
        |name: &str, kind: KeyType| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let attribute = |name: &str, kind: ScalarAttributeType| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
    };
    let table = Table::new(client.clone(), name);
    let incomplete = |error| table.failed("describe the table", &error);
    let due = GlobalSecondaryIndex::builder()
        .index_name("due")
        .key_schema(key("due_pk", KeyType::Hash).map_err(incomplete)?)
        .key_schema(key("due_at", KeyType::Range).map_err(incomplete)?)
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
        .map_err(incomplete)?;
    let created = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash).map_err(incomplete)?)
        .key_schema(key("sk", KeyType::Range).map_err(incomplete)?)
        .attribute_definitions(attribute("pk", ScalarAttributeType::S).map_err(incomplete)?)
        .attribute_definitions(attribute("sk", ScalarAttributeType::S).map_err(incomplete)?)
        .attribute_definitions(attribute("due_pk", ScalarAttributeType::S).map_err(incomplete)?)
        .attribute_definitions(attribute("due_at", ScalarAttributeType::N).map_err(incomplete)?)
        .global_secondary_indexes(due)
        .send()
        .await;
    match created {
        Ok(_) => {}
        Err(error)
            if error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) => {}
        Err(error) => return Err(table.failed("create the table", &error)),
    }
    expire(&table).await
}

/// Has the items of a table deleted whose time has passed, as the template says in AWS.
async fn expire(table: &Table) -> Result<(), TableError> {
    let specification = TimeToLiveSpecification::builder().enabled(true).attribute_name("expires_at").build();
    let specification = specification.map_err(|error| table.failed("describe the table", &error))?;
    let update = table.client.update_time_to_live().table_name(&table.name);
    match update.time_to_live_specification(specification).send().await {
        Ok(_) => Ok(()),
        // They are already.
        Err(error) if error.code() == Some("ValidationException") => Ok(()),
        Err(error) => Err(table.failed("have items expire", &error)),
    }
}
