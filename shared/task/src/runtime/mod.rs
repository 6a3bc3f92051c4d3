//! The runtime of a task's process: the pipeline [`execute()`], the author's context, and the process's `main`.

mod answer;
mod assets;
mod attempt;
mod body;
mod claim;
mod claimed;
mod context;
mod declare;
mod due;
mod entry;
mod erased;
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
mod shutdown;
mod side;
mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod variables;
mod watch;

pub use assets::Source as AssetsSource;
pub use context::Context;
pub use entry::start;
pub use error::{Fatal, TaskError};
pub use execute::execute;
pub use instance::TaskInstance;
pub use invocation::{ExecuteError, Executed, Invocation};
pub use lamplighter_macros::task;
pub use outcome::{Outcome, TaskResult};
pub use process::{BodyRuntime, ProcessEnvironment};
pub use reqwest;
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

    pub use super::declare::{Declared, DeclaredKind, schema};
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
