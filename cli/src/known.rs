//! The tasks that a person may name, and what is said to one who names another.

use lamplighter_core::{id::RunId, name::TaskName};

use crate::{say, words::Words, workspace::Workspace};

/// How far a word may be from a task's name to be taken for a slip.
const MAX_SLIP: usize = 3;

/// A word of the command line that cannot be meant: the program ends with 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub String);

/// A task, or one of its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A task.
    Task(TaskName),
    /// A run, by its id.
    Run(RunId),
}

/// The task of that name.
pub fn task(words: &Words, workspace: &Workspace, word: &str) -> Result<TaskName, Misuse> {
    let known = || workspace.tasks.iter().map(|task| &task.name);
    if let Some(name) = known().find(|name| name.as_str() == word) {
        return Ok(name.clone());
    }
    let nearest = known().map(|name| (distance(word, name.as_str()), name)).min();
    Err(Misuse(match nearest {
        Some((far, name)) if far <= MAX_SLIP => say!(words, "known-nearest", word = word, name = name),
        Some(_) => {
            let all = known().map(TaskName::as_str).collect::<Vec<_>>().join(", ");
            say!(words, "known-all", word = word, all = all)
        }
        None => say!(words, "known-none", word = word, folder = crate::workspace::TASKS),
    }))
}

/// The task of that name or, if the word is the id of a run, that run.
pub fn task_or_run(words: &Words, workspace: &Workspace, word: &str) -> Result<Named, Misuse> {
    task(words, workspace, word).map(Named::Task).or_else(|unknown| match word.parse() {
        Ok(run) => Ok(Named::Run(run)),
        Err(_) => Err(unknown),
    })
}

/// How many letters must be added, left out or exchanged to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<_> = b.chars().collect();
    let mut row: Vec<_> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_as_far_apart_as_the_slips_between_them() {
        for (a, b, far) in
            [("", "ab", 2), ("purge", "purge", 0), ("prge", "purge", 1), ("seed-date", "seed-data", 1)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (far, far), "{a} {b}");
        }
    }
}
