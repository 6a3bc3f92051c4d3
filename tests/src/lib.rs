//! What the end-to-end tests stand on: an AWS emulator, the SAM CLI, the linters, and a look into what was deployed.
//!
//! The tools come from `tests/setup`. Everything here is test support: it panics, with the output of the tool, where a
//! test could do nothing better than fail.

mod aws;
mod cli;
mod emulator;
mod example;
mod lint;
mod processes;
mod sam;
mod terminal;
mod tools;

pub use aws::{Aws, Invocation, StackEvent};
pub use cli::{Ended, Home, lamplighter};
pub use emulator::Emulator;
pub use example::expire_sessions;
pub use lint::{cfn_lint, checkov, sam_validate};
pub use processes::{processes_with, wait_until};
pub use sam::{OnFailure, Sam};
pub use terminal::{CTRL_C, Terminal};
pub use tools::{Finished, repository, run};
