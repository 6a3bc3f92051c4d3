//! A task's name: one kebab-case word in folder, package, binary, table, template and command line.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The maximum length of a task's name. Stack name, hyphen and task name must fit the 64 characters of a
/// Lambda function's name.
pub const MAX_LEN: usize = 40;

/// The name of a task: lowercase letters, digits and single hyphens, beginning with a letter, 1 to
/// [`MAX_LEN`] long.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskName(String);

/// The error of a word that is not a task's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{word}` is not a task name: it must be 1 to {MAX_LEN} lowercase letters, digits and single hyphens, \
     beginning with a letter"
)]
pub struct InvalidName {
    /// The given word.
    pub word: String,
}

impl TaskName {
    /// Returns the name of the task that a function defines: `run_migrations` is `run-migrations`.
    pub fn from_function(function: &str) -> Result<Self, InvalidName> {
        function.replace('_', "-").parse()
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name as a logical id of a template or a Rust type: `run-migrations` is `RunMigrations`.
    pub fn to_pascal_case(&self) -> String {
        self.0
            .split('-')
            .flat_map(|word| {
                let (first, rest) = word.split_at(1);
                [first.to_ascii_uppercase(), rest.to_owned()]
            })
            .collect()
    }
}

impl FromStr for TaskName {
    type Err = InvalidName;

    fn from_str(word: &str) -> Result<Self, InvalidName> {
        let valid = word.len() <= MAX_LEN
            && word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.split('-').all(|part| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            });
        if valid { Ok(Self(word.to_owned())) } else { Err(InvalidName { word: word.to_owned() }) }
    }
}

impl TryFrom<String> for TaskName {
    type Error = InvalidName;

    fn try_from(word: String) -> Result<Self, InvalidName> {
        word.parse()
    }
}

impl From<TaskName> for String {
    fn from(name: TaskName) -> Self {
        name.0
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_name_becomes_the_task_name_and_its_type_name() {
        let name = TaskName::from_function("run_migrations_2").unwrap();
        assert_eq!(name.as_str(), "run-migrations-2");
        assert_eq!(name.to_pascal_case(), "RunMigrations2");
    }

    #[test]
    fn an_invalid_name_is_refused() {
        let long = "a".repeat(MAX_LEN + 1);
        for word in ["", "-", "a-", "-a", "a--b", "A", "1a", "ä", "a b", long.as_str()] {
            assert_eq!(word.parse::<TaskName>(), Err(InvalidName { word: word.to_owned() }), "{word}");
        }
    }
}
