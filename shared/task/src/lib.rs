//! What the author of a task imports.
//!
//! ```no_run
//! use lamplighter::prelude::*;
//!
//! #[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
//! pub struct Config {
//!     pub dry_run: bool,
//! }
//!
//! /// Greets whoever deploys.
//! #[task(run_on = [Deploy, Update], timeout = "2m")]
//! pub async fn greet(ctx: Context<Config>) -> TaskResult {
//!     Ok(Outcome::success(format!("hello, {}", ctx.environment())))
//! }
//! # fn main() {}
//! ```
//!
//! A task's `src/main.rs` is `lamplighter::main!(greet::Greet);` and nothing else. The binary runs under Lambda, or
//! anything that speaks its Runtime API; run by hand, `greet describe` prints its definition and `greet run`
//! executes it once.
//!
//! One pipeline executes every task, [`execute`]: claim, validate, attempt, record, release.

#[cfg(test)]
extern crate self as lamplighter;

mod assets;
mod attempt;
mod body;
mod claim;
mod context;
mod declare;
mod due;
mod ending;
mod enqueue;
mod entry;
mod error;
mod execute;
mod hosted;
mod http;
mod job;
pub mod log;
mod outcome;
mod output;
mod record;
mod secret;
mod side;
mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod watch;

pub use assets::Source as AssetsSource;
pub use context::Context;
pub use enqueue::{Enqueue, Job, JobError, enqueue_many};
pub use entry::start;
pub use error::{Fatal, TaskError};
pub use execute::{Bodies, Edges, ExecuteError, Executed, Invocation, execute};
pub use hosted::Hosted;
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
pub use reqwest;
pub use secret::Secret;
pub use task::{Due, Task, Validity};
pub use tokio_util::sync::CancellationToken;

/// What a task's source needs, all at once.
pub mod prelude {
    pub use schemars::{self, JsonSchema};
    pub use serde::{self, Deserialize, Serialize};

    pub use crate::{
        Context, Due, Fatal, Outcome, RunError, Secret, Task, TaskError, TaskResult, Trigger, Validity, task,
    };
}

/// What generated code uses; not for hands.
#[doc(hidden)]
pub mod generated {
    pub use schemars;
    pub use serde;
    pub use serde_json::Value;

    pub use crate::declare::{Declared, DeclaredKind, schema};
}

/// The whole `main.rs` of a task: `lamplighter::main!(run_migrations::RunMigrations);`
#[macro_export]
macro_rules! main {
    ($task:path) => {
        fn main() -> std::process::ExitCode {
            $crate::start($task)
        }
    };
}
