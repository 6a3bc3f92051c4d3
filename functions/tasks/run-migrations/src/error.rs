//! The errors of migrations, each with its file.

use std::{error::Error, fmt, path::PathBuf};

use database::DatabaseError;

/// An error of applying migrations.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The folder or one of its files cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file's name does not match the pattern.
    #[error("{file} is not a valid name of a migration: expected V<number>__<words_with_underscores>.sql")]
    Name {
        /// The file.
        file: String,
    },
    /// Two files have the same version.
    #[error("{first} and {second} have the same version: give the newer one a higher number")]
    Repeated {
        /// The first of them in the folder.
        first: String,
        /// The second of them.
        second: String,
    },
    /// A file was changed or renamed after it was applied.
    #[error(
        "{migration} differs from the applied migration {then}: restore it, and move the change to a new migration"
    )]
    Edited {
        /// The migration as it is now.
        migration: String,
        /// The name under which it was applied.
        then: String,
    },
    /// The file of an applied migration is missing.
    #[error("{migration} was applied, but its file is missing: restore it")]
    Missing {
        /// The migration.
        migration: String,
    },
    /// A new file has a lower version than an applied one.
    #[error("{migration} is new, but {newest} has already been applied: give it a higher number")]
    TooLate {
        /// The migration.
        migration: String,
        /// The newest applied migration.
        newest: String,
    },
    /// The database rejected a migration.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// The database cannot be reached.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The history of applied migrations cannot be read or created.
    #[error("cannot read the history of applied migrations")]
    History(#[source] refinery::Error),
}

impl MigrationError {
    /// Returns whether a retry may succeed, without a change to the migrations or the database.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Database(error) => error.is_temporary(),
            Self::History(error) => database::is_temporary(error),
            Self::Failed(failed) => database::is_temporary(&failed.error),
            // The files are part of the deployment, so only another deployment can fix them.
            Self::Unreadable { .. }
            | Self::Name { .. }
            | Self::Repeated { .. }
            | Self::Edited { .. }
            | Self::Missing { .. }
            | Self::TooLate { .. } => false,
        }
    }
}

/// A migration that the database rejected. It is rolled back; the migrations before it stay applied.
#[derive(Debug)]
pub struct Failed {
    pub(crate) migration: String,
    pub(crate) before: Vec<String>,
    pub(crate) error: refinery::Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.migration)?;
        if !self.before.is_empty() {
            write!(f, " (applied before it: {})", self.before.join(", "))?;
        }
        // SQLite's message repeats the whole file.
        match self.error.source().and_then(|cause| cause.downcast_ref()) {
            Some(rusqlite::Error::SqlInputError { msg, .. }) => write!(f, ": {msg}"),
            _ => Ok(()),
        }
    }
}

/// The source is the database's error; refinery's own message adds nothing to it.
impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let is_said = |cause: &&(dyn Error + 'static)| {
            matches!(cause.downcast_ref(), Some(rusqlite::Error::SqlInputError { .. }))
        };
        self.error.source().filter(|cause| !is_said(cause))
    }
}
