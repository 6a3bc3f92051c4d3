//! Transactions: all of some writes, or none of them.

use std::time::Duration;

use aws_sdk_dynamodb::{Client, operation::transact_write_items::TransactWriteItemsError};
use lamplighter_core::retry::Retry;

pub use aws_sdk_dynamodb::types::TransactWriteItem;

use crate::{
    clients::cause,
    random::{jitter, random},
};

/// A transaction that failed. Nothing was written, unless the service was not reached.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The run no longer holds its task: another process has ended it as lost.
    #[error("the run does not have its task any more, so that nothing was written")]
    LostHold,
    /// A condition of one of the author's own writes does not hold.
    #[error("the condition of write {index} does not hold, so that nothing was written")]
    Refused {
        /// The index of the write, from 0.
        index: usize,
    },
    /// The service refused the transaction, or was not reached. In the second case the transaction may have been
    /// committed. The SDK's own retries, which cannot commit it twice, are used up.
    #[error("the writes were not committed: {0}")]
    Service(String),
}

/// DynamoDB's reason for a condition that does not hold.
const CONDITION_FAILED: &str = "ConditionalCheckFailed";
/// The cancellation reasons after which a transaction is retried: a conflict with another transaction, throttling, and
/// an internal error. Source: DynamoDB API Reference, `TransactWriteItems`, `TransactionCanceledException`.
const RETRYABLE: [&str; 4] =
    ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "InternalServerError"];

/// The attempts of a transaction that is retried, and the pauses between them.
const CONFLICTS: Retry =
    Retry { max_attempts: 10, initial: Duration::from_millis(50), max: Duration::from_secs(2) };

/// Writes all of `writes` or nothing, without a check of a lease.
///
/// DynamoDB cancels a transaction with a reason for each write. After conflicts, throttling and internal errors the
/// transaction is retried, up to ten attempts in all. A condition that does not hold is final, and so is any other
/// reason.
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
