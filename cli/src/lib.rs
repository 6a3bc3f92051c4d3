//! The command line: from the tasks of a workspace to what is deployed, and back to what they did.
//!
//! - [`commands`]: one file a command; parsing only validates
//! - [`target`]: the stack that a command works on, here or in AWS
//! - [`known`], [`follow`], [`progress`]: the tasks that may be named, a run that was asked for, and what is seen of it
//! - `cloud_logs`: the logs of a stack in AWS
//! - [`many`]: one question to many tasks at once
//! - `output`: everything that is printed; `text`: what others wrote, as a terminal shows it
//! - [`show`]: runs and deployments as people read them
//! - [`times`]: times as people write them
//! - [`words`]: everything people read, in their language
//! - `reporter`: the events of a runner, as text or as JSON

mod ask;
mod cloud_logs;
pub mod commands;
pub mod follow;
mod given;
pub mod lookup;
pub mod many;
mod output;
pub mod progress;
mod reporter;
pub mod show;
pub mod target;
mod text;
pub mod times;
pub mod words;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser};
use lamplighter_aws::environment::{NotText, variable};

use crate::{
    commands::{Command, Purpose},
    lookup::Misuse,
    words::{Lines, Locale, Words},
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
fn columns() -> Result<Option<usize>, NotText> {
    let said = variable("COLUMNS")?.and_then(|columns| columns.parse().ok());
    let width = said
        .or_else(|| terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0.into()))
        .filter(|columns| *columns > 0);
    Ok(width)
}

/// What is said, in the language and the width that the command line and the environment name.
fn words(locale: Option<Locale>) -> Result<Words, NotText> {
    let locale = locale.map_or_else(|| Locale::of_environment(variable), Ok)?;
    Ok(Words::new(locale).with_width(columns()?))
}

/// Runs one command line: 0 if it is done, 1 if it failed, 2 if it was not understood. What it shows changes that only where
/// it has nothing else to do.
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
        // Asked-for help goes to stdout and is a success. Where it cannot be printed, nothing else can be.
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

/// Says why a command failed, and gives its exit code.
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
