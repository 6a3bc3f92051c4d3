//! The `lamplighter` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    lamplighter_cli::run(std::env::args_os())
}
