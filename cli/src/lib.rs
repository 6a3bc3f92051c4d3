//! The command line: from the tasks of a workspace to what is deployed, and back to what they did.
//!
//! - [`commands`]: one file a command; parsing only validates
//! - [`workspace`], [`compile`], [`describe`]: which tasks there are, their binaries, and what they say of themselves
//! - [`config`], [`project`]: `lamplighter.toml`, and the tasks as it changes them
//! - [`generate`]: the template of the stack, pure
//! - [`assets`], [`package`]: what goes with a binary, and the packages of the functions
//! - [`runner`]: a deployment on this machine
//! - [`target`]: the stack that a command works on, here or in AWS
//! - [`known`], [`follow`], [`progress`]: the tasks that may be named, a run that was asked for, and what is seen of it
//! - [`logs`]: what tasks have said
//! - [`many`]: one question to many tasks at once
//! - [`show`]: runs and deployments as people read them
//! - [`times`]: times as people write them
//! - [`words`]: everything people read, in their language
//! - [`fault`]: what cannot stand, each with its file and key, all told at once

mod ask;
pub mod assets;
pub mod commands;
pub mod compile;
pub mod config;
pub mod describe;
pub mod fault;
mod files;
pub mod follow;
pub mod generate;
mod given;
pub mod known;
pub mod logs;
pub mod many;
pub mod package;
pub mod progress;
pub mod project;
pub mod runner;
pub mod show;
pub mod target;
pub mod times;
pub mod words;
pub mod workspace;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser};

use crate::{
    commands::Command,
    known::Misuse,
    words::{Locale, Words},
};

/// Runs the tasks around a serverless application.
#[derive(Debug, Parser)]
#[command(name = "lamplighter", version)]
struct Arguments {
    /// The language: en, de or pl. Left out: that of `LAMPLIGHTER_LOCALE`, `LC_ALL`, `LC_MESSAGES`
    /// or `LANG`.
    #[arg(long, global = true)]
    locale: Option<Locale>,
    #[command(subcommand)]
    command: Command,
}

/// The program as clap knows it, for what describes it.
pub(crate) fn program() -> clap::Command {
    Arguments::command()
}

/// The width of what is written to: `COLUMNS`, else that of the terminal. What is piped has none.
fn columns() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    said.or_else(|| terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0.into()))
        .filter(|columns| *columns > 0)
}

/// Runs one command line: 0 if it is done, 1 if it failed, 2 if it was not understood.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let environment = || Locale::of_environment(|name| std::env::var(name).ok());
    let mut line: Vec<_> = arguments.into_iter().collect();
    let arguments = loop {
        let refusal = match Arguments::try_parse_from(&line) {
            Ok(arguments) => break arguments,
            Err(refusal) => refusal,
        };
        if let Some(whole) = ask::complete(&Words::new(environment()), &program(), &line, &refusal) {
            line = whole;
            continue;
        }
        // Asked-for help goes to stdout and is a success. Where it cannot be printed, nothing else can be.
        let _ = refusal.print();
        return if refusal.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
    };
    let words = &Words::new(arguments.locale.unwrap_or_else(environment)).within(columns());
    match arguments.command.run(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", say!(words, "main-error", reason = format!("{error:#}")));
            if error.is::<Misuse>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k06_every_command_has_an_example_that_it_understands() {
        let mut program = program();
        program.build();
        for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<_> = help.lines().filter(|line| line.starts_with("  lamplighter ")).collect();
            assert!(!lines.is_empty(), "`{}` has no example", command.get_name());
            for line in lines {
                // What stands behind `>` or `#` is the shell's.
                let words = line.split_whitespace().take_while(|word| ![">", "#"].contains(word));
                let words: Vec<_> = words.map(|word| word.trim_matches('\'')).collect();
                assert_eq!(words[1], command.get_name(), "{line}");
                if let Err(refusal) = Arguments::try_parse_from(words) {
                    panic!("`{line}`: {refusal}");
                }
            }
        }
    }
}
