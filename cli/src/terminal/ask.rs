//! Questions at a terminal about what the command line lacks: the command, or its task.

use std::{
    ffi::OsString,
    io::{BufRead as _, IsTerminal as _, stderr, stdin},
};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use lamplighter_project::{catalog::Catalog, workspace::Workspace};

use crate::{terminal::output, tr, words::Words};

/// The number of attempts to answer.
const TRIES: usize = 3;

/// Asks a person at a terminal for what the command line lacks, and returns the completed line. None without a terminal,
/// or if the missing part cannot be asked for.
pub fn complete(
    words: &Words,
    program: &clap::Command,
    line: &[OsString],
    refusal: &clap::Error,
) -> Option<Vec<OsString>> {
    if !(stdin().is_terminal() && stderr().is_terminal()) {
        return None;
    }
    let answer = match refusal.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            let named = line.iter().skip(1).filter_map(|word| word.to_str());
            let command =
                named.fold(program, |command, word| command.find_subcommand(word).unwrap_or(command));
            let all = command.get_subcommands().filter(|command| command.get_name() != "help");
            let all: Vec<_> = all
                .map(|command| {
                    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
                    (command.get_name().to_owned(), about)
                })
                .collect();
            choose(words, &tr!(words, "ask-command"), &all)?
        }
        ErrorKind::MissingRequiredArgument if lacks_task(refusal) => {
            let folder = std::env::current_dir().ok()?;
            let names: Vec<_> = if let Some(catalog) = Catalog::last(&folder) {
                catalog.names().map(ToString::to_string).collect()
            } else {
                // Before the first build only the binaries are known, which usually have the tasks' names.
                Workspace::discover(&folder).ok()?.tasks.into_iter().map(|task| task.name).collect()
            };
            let tasks: Vec<_> = names.into_iter().map(|name| (name, String::new())).collect();
            choose(words, &tr!(words, "ask-task"), &tasks)?
        }
        _ => return None,
    };
    Some([line, &[answer.into()]].concat())
}

/// Returns true if only a task is missing.
fn lacks_task(refusal: &clap::Error) -> bool {
    match refusal.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.iter().all(|name| name.starts_with("<TASK")),
        Some(ContextValue::String(missing)) => missing.starts_with("<TASK"),
        _ => false,
    }
}

/// Lets a person choose by number or by name.
fn choose(words: &Words, question: &str, from: &[(String, String)]) -> Option<String> {
    let width = from.iter().map(|(name, _)| name.len()).max()?;
    output::note(question);
    for (i, (name, about)) in from.iter().enumerate() {
        output::note(format!("{:4}  {name:width$}  {about}", i + 1).trim_end());
    }
    for _ in 0..TRIES {
        output::question(tr!(words, "ask-number"));
        let mut answer = String::new();
        // At the end of the input there is no answer.
        if stdin().lock().read_line(&mut answer).ok()? == 0 {
            return None;
        }
        if let Some(name) = chosen(answer.trim(), from) {
            return Some(name);
        }
    }
    None
}

fn chosen(answer: &str, from: &[(String, String)]) -> Option<String> {
    let by_number = answer.parse::<usize>().ok().and_then(|number| from.get(number.checked_sub(1)?));
    by_number.or_else(|| from.iter().find(|(name, _)| name == answer)).map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k02_a_number_or_a_name_chooses() {
        let from = ["run", "retry"].map(|name| (name.to_owned(), String::new()));
        for (answer, wanted) in [("1", Some("run")), ("2", Some("retry")), ("retry", Some("retry"))] {
            assert_eq!(chosen(answer, &from).as_deref(), wanted);
        }
        for answer in ["", "0", "3", "x"] {
            assert_eq!(chosen(answer, &from), None, "{answer}");
        }
    }
}
