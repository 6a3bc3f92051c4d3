//! The clients and settings that the dispatcher works with, and the errors that end a delivery.

use lamplighter_aws::{
    functions::{Functions, InvokeError},
    stacks::{StackError, Stacks},
    table::{Table, TableError},
};
use lamplighter_core::{definition::Definition, deployment::OrderError};

use crate::{answer::NotAccepted, event::Unanswerable};

/// The clients and settings of the dispatcher.
pub struct Dispatcher {
    /// The table.
    pub table: Table,
    /// The tasks' functions, and the dispatcher's own.
    pub functions: Functions,
    /// CloudFormation's stacks.
    pub stacks: Stacks,
    /// The HTTP client for answers, see [`client`](crate::answer::client).
    pub http: reqwest::Client,
    /// The only endpoint without TLS to which answers are sent.
    pub local: Option<String>,
    /// The definitions of the tasks, which are kept for commands that look at the stack. None in a package without them.
    pub definitions: Option<Vec<Definition>>,
    /// The name of the dispatcher's own function.
    pub own_function: String,
    /// Returns 128 random bits.
    pub random: fn() -> u128,
}

/// Errors that leave an event unfinished. Lambda delivers it again; after the last delivery the fallback responder answers.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The event has no address for an answer.
    #[error(transparent)]
    Unanswerable(#[from] Unanswerable),
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The stack could not be read.
    #[error(transparent)]
    Status(#[from] StackError),
    /// A function could not be invoked.
    #[error(transparent)]
    Invoke(#[from] InvokeError),
    /// The response URL did not accept the answer.
    #[error(transparent)]
    NotAccepted(#[from] NotAccepted),
    /// The table did not respond in time.
    #[error("the table did not answer within 10 s")]
    TableTimeout,
    /// Another delivery opened an entry for the request while this one was to answer without an entry.
    #[error("another delivery has already started this request")]
    AlreadyBegun,
    /// The tasks' dependencies have no order.
    #[error(transparent)]
    Direction(#[from] OrderError),
    /// Other requests changed the ledger on every attempt.
    #[error("another request changed the ledger `{0}` on every attempt to open an entry")]
    Contended(String),
}
