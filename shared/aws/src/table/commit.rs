//! An author's own transaction, which happens only while the run still has its task.

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    operation::transact_write_items::TransactWriteItemsError,
    types::{ConditionCheck, builders::ConditionCheckBuilder},
};
use lamplighter_core::{claim::Fence, id::RunId, job::JobKey, name::TaskName, retry::Retry, status::Status};

pub use aws_sdk_dynamodb::types::TransactWriteItem;

use super::{
    Table,
    item::{n, s},
    job::WORKING,
    lease::{HELD, SHARED_HELD, shared},
    schema::{TASK, runs_pk, task_pk},
};
use crate::{
    clients::cause,
    random::{jitter, random},
};

/// Why a transaction did not happen. Nothing of it did, unless the service was not reached.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The run does not have its task any more: somebody took it for lost.
    #[error("the run does not have its task any more, so that nothing was written")]
    LostHold,
    /// A condition of one of the author's own writes does not hold.
    #[error("the condition of write {index} does not hold, so that nothing was written")]
    Refused {
        /// Which of them, from 0.
        index: usize,
    },
    /// The service refused, or was not reached: what became of the transaction may be unknown. The SDK's own retries,
    /// which cannot write it twice, are used up.
    #[error("the writes were not committed: {0}")]
    Service(String),
}

/// What DynamoDB says of an item whose condition does not hold.
const CONDITION_FAILED: &str = "ConditionalCheckFailed";
/// What DynamoDB says of an item that another transaction holds, whose partition is at its limit, or that it failed to write
/// by a fault of its own. Source: DynamoDB API Reference, `TransactWriteItems`, `TransactionCanceledException`.
const RETRYABLE: [&str; 4] =
    ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "InternalServerError"];

impl Table {
    /// Writes all of `writes`, if the run still has its task, or nothing. At most 99 writes, as DynamoDB takes 100 with
    /// the check of the hold, which costs two write units.
    pub async fn commit(
        &self,
        task: &TaskName,
        run_id: RunId,
        fence: Fence,
        writes: Vec<TransactWriteItem>,
    ) -> Result<(), CommitError> {
        let check = self.check(task_pk(task), TASK);
        let check = match fence {
            Fence::Exclusive { token } => check
                .condition_expression(HELD)
                .expression_attribute_values(":epoch", n(token))
                .expression_attribute_values(":run_id", s(run_id.to_string())),
            Fence::Shared => {
                check.condition_expression(SHARED_HELD).expression_attribute_names("#lease", shared(run_id))
            }
        };
        self.commit_if(check, writes).await
    }

    /// Writes all of `writes`, if the worker with this fencing number still has the job, or nothing. As [`Table::commit`].
    pub async fn commit_job(
        &self,
        key: &JobKey,
        fencing_token: u64,
        writes: Vec<TransactWriteItem>,
    ) -> Result<(), CommitError> {
        let check = self
            .check(runs_pk(&key.task, key.run_id), key.run_id.to_string())
            .condition_expression(WORKING)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":running", s(Status::Running.as_str()))
            .expression_attribute_values(":epoch", n(fencing_token));
        self.commit_if(check, writes).await
    }

    fn check(&self, pk: impl Into<String>, sk: impl Into<String>) -> ConditionCheckBuilder {
        ConditionCheck::builder().table_name(&self.name).key("pk", s(pk)).key("sk", s(sk))
    }

    async fn commit_if(
        &self,
        check: ConditionCheckBuilder,
        mut writes: Vec<TransactWriteItem>,
    ) -> Result<(), CommitError> {
        let check = check.build().map_err(|error| CommitError::Service(error.to_string()))?;
        writes.insert(0, TransactWriteItem::builder().condition_check(check).build());
        transact(&self.client, writes).await.map_err(|error| match error {
            CommitError::Refused { index } => {
                index.checked_sub(1).map_or(CommitError::LostHold, |index| CommitError::Refused { index })
            }
            other => other,
        })
    }
}

/// The pauses between the tries of a transaction that met another one.
const CONFLICTS: Retry =
    Retry { max_attempts: 10, initial: Duration::from_millis(50), max: Duration::from_secs(2) };

/// Writes all of `writes` or nothing, whoever has which task.
///
/// DynamoDB cancels a transaction that meets another one, or that it has no room for, with a reason for each write. Only a
/// condition that does not hold is final; after any other reason the transaction is tried again, up to ten times.
pub async fn transact(client: &Client, writes: Vec<TransactWriteItem>) -> Result<(), CommitError> {
    // One token for all tries: a transaction whose response was lost, or that is still in progress, is not written twice.
    let token = format!("{:032x}", random());
    let mut attempt = 1;
    loop {
        let transaction = client.transact_write_items().set_transact_items(Some(writes.clone()));
        let Err(error) = transaction.client_request_token(&token).send().await else { return Ok(()) };
        let (why, passes) = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                let codes = cancelled.cancellation_reasons().iter();
                let codes: Vec<_> = codes.map(|reason| reason.code().unwrap_or("None")).collect();
                if let Some(index) = codes.iter().position(|code| *code == CONDITION_FAILED) {
                    return Err(CommitError::Refused { index });
                }
                let passes = codes.iter().all(|code| RETRYABLE.contains(code) || *code == "None");
                (format!("the transaction was cancelled: {}", codes.join(", ")), passes)
            }
            Some(TransactWriteItemsError::TransactionInProgressException(_)) => (cause(&error), true),
            _ => (cause(&error), false),
        };
        if attempt >= CONFLICTS.max_attempts || !passes {
            return Err(CommitError::Service(why));
        }
        tokio::time::sleep(CONFLICTS.pause(attempt, jitter())).await;
        attempt += 1;
    }
}
