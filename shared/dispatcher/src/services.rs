//! The services that the dispatcher works with, and why an event may have to come again.

use lamplighter_aws::{
    functions::{Functions, InvokeError},
    stacks::{StackError, Stacks},
    table::{Table, TableError},
};
use lamplighter_core::deployment::OrderError;

use crate::{answer::NotAccepted, event::Unanswerable};

/// What the dispatcher works with.
pub struct Dispatcher {
    /// The table.
    pub table: Table,
    /// The tasks' functions, and its own.
    pub functions: Functions,
    /// The stack.
    pub stacks: Stacks,
    /// For the answer: [`client`](crate::answer::client).
    pub http: reqwest::Client,
    /// The only place without TLS that may be answered.
    pub local: Option<String>,
    /// The name of its own function.
    pub own_function: String,
    /// 128 random bits.
    pub random: fn() -> u128,
}

/// Why an event is not done with. It must come again; if it comes no more, the fallback answers it.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// Nobody can be answered.
    #[error(transparent)]
    Unanswerable(#[from] Unanswerable),
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The stack's status is not known.
    #[error(transparent)]
    Status(#[from] StackError),
    /// A function was not reached.
    #[error(transparent)]
    Invoke(#[from] InvokeError),
    /// The answer was not accepted.
    #[error(transparent)]
    NotAccepted(#[from] NotAccepted),
    /// The table did not answer.
    #[error("the table did not answer within 10 s")]
    Silent,
    /// An entry was opened for the request while it was to be answered without one.
    #[error("another delivery has begun the request")]
    Begun,
    /// The tasks have no order.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The ledger was opened by others each time it was to be.
    #[error("the ledger `{0}` changed each time it was to be opened")]
    Contended(String),
}
