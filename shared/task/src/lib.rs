//! The library for authors of tasks.
//!
//! A task is an async function with the attribute [`macro@task`]:
//!
//! ```no_run
//! use lamplighter::prelude::*;
//!
//! #[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
//! pub struct Config {
//!     pub dry_run: bool,
//! }
//!
//! /// Greets the environment after each deployment.
//! #[task(run_on = [Deploy, Update], timeout = "2m")]
//! pub async fn greet(ctx: Context<Config>) -> TaskResult {
//!     Ok(Outcome::success(format!("hello, {}", ctx.environment())))
//! }
//! # fn main() {}
//! ```
//!
//! The task's `src/main.rs` consists of `lamplighter::main!(greet::Greet);`. The binary serves Lambda's Runtime API. By
//! hand, `greet describe` prints the task's definition and `greet run` executes the task once.
//!
//! - [`Context`] has the configuration, the deadline, the AWS clients and the jobs.
//! - [`TaskResult`] is the result: an [`Outcome`], or a [`TaskError`], which is retried unless it is fatal.
//! - [`Enqueue`] and [`Job`] enqueue and follow the jobs of queue tasks.
//! - `testing::World` (feature `testing`) runs tasks in tests.
//!
//! One pipeline executes every task, [`execute()`]: claim, validate, attempt, record, release.

#![deny(missing_docs)]

#[cfg(test)]
extern crate self as lamplighter;

mod arguments;
mod enqueue;
#[cfg(feature = "runtime")]
mod runtime;
mod secret;

pub use arguments::{Arguments, InvalidArguments};
pub use enqueue::{Enqueue, Job, JobError, PreparedJob, enqueue_many};
pub use lamplighter_aws::{
    authorities,
    jobs::{EnqueueError, Jobs, NotAccepted, Waker},
    random::random,
    table::{CommitError, TransactWriteItem, transact},
};
pub use lamplighter_core::{
    definition,
    deployment::Deployment,
    job::{JobKey, Scope as Unique},
    run::{ErrorKind, RunError, Trigger},
    status::Status,
};
pub use secret::Secret;

#[cfg(feature = "runtime")]
pub use runtime::*;
