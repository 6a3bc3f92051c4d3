//! The package of a new task.

use std::path::{Path, PathBuf};

use lamplighter_core::name::TaskName;

use super::{changes::Changes, filled};

/// The default schedule of a cron task: each night at three.
pub(crate) const SCHEDULE: &str = "0 3 * * *";

/// A kind of task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Runs when the stack is deployed or updated.
    Lifecycle,
    /// Runs on a schedule.
    Cron,
    /// Runs jobs.
    Queue,
    /// Runs for as long as a runner does.
    Side,
}

/// Words that cargo or Rust refuses as the name of a package, or that the packages of a project have already. Source: The Cargo
/// Book, "The `name` field"; The Rust Reference, "Keywords".
const TAKEN: [&str; 71] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "dispatcher",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "lamplighter",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "pulse",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "tokio",
    "tracing",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "union",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    "schemars",
    "fallback",
    "lamplighter-fallback",
    "raw",
];

/// The reason why a task cannot have a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    /// It is no name of a task.
    #[error(transparent)]
    Invalid(#[from] lamplighter_core::name::InvalidName),
    /// Rust, cargo or the project uses it.
    #[error(
        "`{0}` cannot be the name of a task's package, since Rust, cargo or the project uses it: choose another one"
    )]
    Taken(String),
}

/// A task to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewTask {
    /// Its name.
    pub(crate) name: TaskName,
    /// Its kind.
    pub(crate) kind: Kind,
    /// The schedule of a cron task.
    pub(crate) schedule: String,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 4] = [Self::Lifecycle, Self::Cron, Self::Queue, Self::Side];

    /// Returns its word on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Lifecycle => "lifecycle",
            Self::Cron => "cron",
            Self::Queue => "queue",
            Self::Side => "side",
        }
    }

    /// Returns the name of this kind's task in a new project.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Lifecycle => "prepare",
            Self::Cron => "tidy",
            Self::Queue => "mail",
            Self::Side => "look",
        }
    }

    /// Returns the definition of the template's task, as its binary describes it.
    pub(crate) fn definition(self) -> &'static str {
        match self {
            Self::Lifecycle => include_str!("../../templates/tasks/lifecycle.json"),
            Self::Cron => include_str!("../../templates/tasks/cron.json"),
            Self::Queue => include_str!("../../templates/tasks/queue.json"),
            Self::Side => include_str!("../../templates/tasks/side.json"),
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::Lifecycle => include_str!("../../templates/tasks/lifecycle.rs"),
            Self::Cron => include_str!("../../templates/tasks/cron.rs"),
            Self::Queue => include_str!("../../templates/tasks/queue.rs"),
            Self::Side => include_str!("../../templates/tasks/side.rs"),
        }
    }
}

/// Returns the task's name, if a package can have it, too.
pub(crate) fn name(word: &str) -> Result<TaskName, NameError> {
    let name: TaskName = word.parse()?;
    if TAKEN.contains(&word) { Err(NameError::Taken(word.to_owned())) } else { Ok(name) }
}

impl NewTask {
    /// The example of a kind in a new project.
    pub(crate) fn example(kind: Kind) -> Result<Self, NameError> {
        Ok(Self { name: name(kind.example())?, kind, schedule: SCHEDULE.to_owned() })
    }

    /// Adds the files of its package in `folder`.
    pub(crate) fn write(&self, folder: &Path, changes: &mut Changes) -> PathBuf {
        let folder = folder.join(self.name.as_str());
        let module = self.name.as_str().replace('-', "_");
        let pascal = self.name.to_pascal_case();
        let schedule = self.schedule.escape_debug().to_string();
        let values = [
            ("task", self.name.as_str()),
            ("module", module.as_str()),
            ("type", pascal.as_str()),
            ("schedule", schedule.as_str()),
        ];
        changes.create(folder.join("Cargo.toml"), self.manifest());
        changes.create(folder.join("src/lib.rs"), filled(self.kind.template(), &values));
        changes.create(
            folder.join("src/main.rs"),
            filled(include_str!("../../templates/tasks/main.rs"), &values),
        );
        folder
    }

    fn manifest(&self) -> String {
        let needs_tokio = self.kind == Kind::Side;
        let tokio =
            if needs_tokio { "tokio = { version = \"1\", features = [\"macros\", \"time\"] }\n" } else { "" };
        format!(
            "[package]\nname = \"{}\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n\
             [dependencies]\nlamplighter.workspace = true\n{tokio}\n\
             [dev-dependencies]\nlamplighter = {{ workspace = true, features = [\"testing\"] }}\n\
             tokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }}\n",
            self.name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_rust_cargo_or_the_project_uses_is_refused() {
        for good in ["tidy", "send-receipt", "a1"] {
            assert_eq!(name(good).unwrap().as_str(), good);
        }
        for taken in ["match", "test", "core", "deps", "dispatcher", "lamplighter"] {
            assert_eq!(name(taken), Err(NameError::Taken(taken.to_owned())));
        }
        for invalid in ["", "Tidy", "tidy_up", "1a", "../x", "a b"] {
            assert!(matches!(name(invalid), Err(NameError::Invalid(_))), "{invalid}");
        }
    }

    #[test]
    fn each_kind_has_a_package_without_placeholders() {
        for kind in Kind::ALL {
            let task = NewTask::example(kind).unwrap();
            let mut changes = Changes::default();
            let folder = task.write(Path::new("functions/tasks"), &mut changes);
            assert_eq!(folder, Path::new("functions/tasks").join(kind.example()));
            let files: Vec<_> = changes.iter().collect();
            assert_eq!(files.len(), 3);
            assert!(files.iter().all(|file| !file.text.contains("{{")), "{files:#?}");
            files[0].text.parse::<toml_edit::DocumentMut>().unwrap();
        }
    }
}
