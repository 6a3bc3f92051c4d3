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

#[cfg(test)]
extern crate self as lamplighter;

mod answer;
mod assets;
mod attempt;
mod body;
mod claim;
mod claimed;
mod context;
mod declare;
mod due;
mod enqueue;
mod entry;
mod error;
mod execute;
mod http;
mod instance;
mod invocation;
mod job;
mod limits;
pub mod log;
mod outcome;
mod output;
mod process;
mod record;
mod secret;
mod shutdown;
mod side;
mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod variables;
mod watch;

pub use assets::Source as AssetsSource;
pub use context::Context;
pub use enqueue::{Enqueue, Job, JobError, enqueue_many};
pub use entry::start;
pub use error::{Fatal, TaskError};
pub use execute::execute;
pub use instance::TaskInstance;
pub use invocation::{ExecuteError, Executed, Invocation};
pub use lamplighter_aws::{authorities, random::random};
pub use lamplighter_aws::{
    jobs::{EnqueueError, Jobs, NotAccepted, Waker},
    table::{CommitError, TransactWriteItem},
};
pub use lamplighter_core::{
    definition,
    deployment::Deployment,
    job::{JobKey, Scope as Unique},
    run::{ErrorKind, RunError, Trigger},
    status::Status,
};
pub use lamplighter_macros::task;
pub use outcome::{Outcome, TaskResult};
pub use process::{BodyRuntime, ProcessEnvironment};
pub use reqwest;
pub use secret::Secret;
pub use task::{Due, Task, Validity};
pub use tokio_util::sync::CancellationToken;

/// The imports of a task's source file.
pub mod prelude {
    pub use std::time::Duration;

    pub use schemars::{self, JsonSchema};
    pub use serde::{self, Deserialize, Serialize};
    pub use tracing;

    pub use crate::{
        Context, Due, Fatal, Outcome, RunError, Secret, Task, TaskError, TaskResult, Trigger, Validity, task,
    };
}

/// The items that generated code uses. Not part of the public API.
#[doc(hidden)]
pub mod generated {
    pub use schemars;
    pub use serde;
    pub use serde_json::Value;

    pub use crate::declare::{Declared, DeclaredKind, schema};
}

/// Defines the `main` function of a task: `lamplighter::main!(run_migrations::RunMigrations);`
///
/// See [`start`] for the commands of the binary.
#[macro_export]
macro_rules! main {
    ($task:path) => {
        fn main() -> std::process::ExitCode {
            $crate::start($task)
        }
    };
}
