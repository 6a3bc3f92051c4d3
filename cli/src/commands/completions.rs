//! `lamplighter completions`: the completion script of a shell.

use clap_complete::{Shell, generate};

use crate::terminal::output;

/// Prints the completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  lamplighter completions bash > ~/.local/share/bash-completion/completions/lamplighter"
)]
pub(crate) struct Arguments {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, mut program: clap::Command) {
    let name = program.get_name().to_owned();
    // Into memory first: `generate` panics if it cannot write.
    let mut script = Vec::new();
    generate(arguments.shell, &mut program, name, &mut script);
    output::plain(String::from_utf8_lossy(&script).trim_end());
}
