//! The command line.
//!
//! - `commands`: one file a command, and the groups of the help; parsing only validates
//! - `arguments`: values of the command line that several commands take
//! - [`stack`]: the stack that a command works on, on this machine or in AWS
//! - `terminal`: everything that is printed, and what is asked
//! - [`words`]: every text that people read, in their language

mod arguments;
mod commands;
mod scaffold;
pub mod stack;
mod terminal;
pub mod words;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser};
use lamplighter_aws::environment::{NotText, variable};

use crate::{
    arguments::names::Misuse,
    commands::{Command, Purpose},
    terminal::{ask, output},
    words::{Lines, Locale, Words},
};

/// Runs the tasks around a serverless application.
#[derive(Debug, Parser)]
#[command(name = "lamplighter", version, help_template = commands::help::template())]
#[command(
    after_help = "`lamplighter COMMAND -h` summarizes a command; `--help` explains it, with an example."
)]
struct Arguments {
    /// The language: en, de or pl. Default: from `LAMPLIGHTER_LOCALE`, `LC_ALL`, `LC_MESSAGES` or `LANG`.
    #[arg(long, global = true)]
    locale: Option<Locale>,
    #[command(subcommand)]
    command: Command,
}

/// The description of the command line, for completions and questions.
pub(crate) fn program() -> clap::Command {
    Arguments::command()
}

/// The width of the output: `COLUMNS`, else that of the terminal. A pipe has none.
fn columns() -> Result<Option<usize>, NotText> {
    let said = variable("COLUMNS")?.and_then(|columns| columns.parse().ok());
    let width = said
        .or_else(|| terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0.into()))
        .filter(|columns| *columns > 0);
    Ok(width)
}

/// The texts, in the language and the width of the command line and the environment.
fn words(locale: Option<Locale>) -> Result<Words, NotText> {
    let locale = locale.map_or_else(|| Locale::of_environment(variable), Ok)?;
    Ok(Words::new(locale).with_width(columns()?))
}

/// Runs one command line. The exit code is 0 for success, 1 for a failure, and 2 for an invalid command line. A failure to
/// print counts only for commands whose purpose is an answer.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    lamplighter_project::compile::show_output(|line| output::note(line));
    let mut line: Vec<_> = arguments.into_iter().collect();
    let arguments = loop {
        let refusal = match Arguments::try_parse_from(&line) {
            Ok(arguments) => break arguments,
            Err(refusal) => refusal,
        };
        let words = Words::new(Locale::of_environment(variable).unwrap_or_default());
        if let Some(whole) = ask::complete(&words, &program(), &line, &refusal) {
            line = whole;
            continue;
        }
        // Requested help goes to stdout and is a success. If it cannot be printed, nothing else can be.
        let _ = refusal.print();
        return if refusal.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
    };
    let purpose = arguments.command.purpose();
    let words = &match words(arguments.locale) {
        Ok(words) => words,
        Err(error) => {
            let code = failed(&Words::new(Locale::default()), &error.into());
            output::finish_notes(purpose.patience());
            return code;
        }
    };
    let done = arguments.command.run(words);
    let shown = output::finish(purpose.patience());
    let code = match done {
        Ok(()) if shown.is_err() && purpose == Purpose::Answer => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(words, &error),
    };
    if let Err(error) = shown {
        output::note(tr!(words, "main-not-shown", reason = error.to_string()));
    }
    output::finish_notes(purpose.patience());
    code
}

/// Prints why a command failed, and returns its exit code.
fn failed(words: &Words, error: &anyhow::Error) -> ExitCode {
    output::note(tr!(words, "main-error", reason = Lines(&format!("{error:#}"))));
    if error.is::<Misuse>() || error.is::<NotText>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k06_every_command_has_an_example_that_it_understands() {
        let mut program = program();
        program.build();
        for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
            let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<_> = help.lines().filter(|line| line.starts_with("  lamplighter ")).collect();
            assert!(!lines.is_empty(), "`{}` has no example", command.get_name());
            for line in lines {
                // The part after `>` or `#` is for the shell.
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
