//! Support for the end-to-end tests: an AWS emulator, the SAM CLI, the linters, and access to deployed stacks.
//!
//! `tests/setup` installs the tools. The functions here panic on errors, with the output of the tool.

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
pub use cli::{CommandOutput, Home, lamplighter, site};
pub use emulator::Emulator;
pub use example::expire_sessions;
pub use lint::{cfn_lint, checkov, sam_validate};
pub use processes::{processes_with, wait_until};
pub use sam::{OnFailure, Sam, python_runtime, sam_build, sam_python};
pub use terminal::{CTRL_C, Terminal};
pub use tools::{Finished, cargo_lambda_deploy, repository, run};
