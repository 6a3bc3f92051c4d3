//! Why migrations could not be applied, each with the file it is about.

use std::{error::Error, fmt, path::PathBuf};

use database::DatabaseError;

/// Why the migrations could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The files could not be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The folder, or a file of it.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file's name has no version.
    #[error("{file} is not named as a migration: it must be V<number>__<words_with_underscores>.sql")]
    Name {
        /// The file.
        file: String,
    },
    /// Two files have the same version.
    #[error("{first} and {second} have the same version: give the newer one a higher number")]
    Repeated {
        /// The one whose file comes first.
        first: String,
        /// The other one.
        second: String,
    },
    /// A file was changed or renamed after it had been applied.
    #[error(
        "{migration} differs from what was applied as {then}: restore it, and put the change into a new migration"
    )]
    Edited {
        /// The migration as it is now.
        migration: String,
        /// The name under which it was applied.
        then: String,
    },
    /// A file that was applied is gone.
    #[error("{migration} was applied, but its file is missing: restore it")]
    Missing {
        /// The migration.
        migration: String,
    },
    /// A file came later than one with a higher version.
    #[error("{migration} is new, but {newest} has already been applied: give it a higher number")]
    TooLate {
        /// The migration.
        migration: String,
        /// The newest one that was applied.
        newest: String,
    },
    /// The database refused a migration.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The list of what was applied could not be read or made.
    #[error("cannot read which migrations were applied")]
    History(#[source] refinery::Error),
}

impl MigrationError {
    /// Whether the same migrations may be applied later: not if they, or what the database knows, must change first.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Database(error) => error.is_temporary(),
            Self::History(error) => database::is_temporary(error),
            Self::Failed(failed) => database::is_temporary(&failed.error),
            // A file that cannot be read goes with the code, and comes back only with other code.
            Self::Unreadable { .. }
            | Self::Name { .. }
            | Self::Repeated { .. }
            | Self::Edited { .. }
            | Self::Missing { .. }
            | Self::TooLate { .. } => false,
        }
    }
}

/// A migration that the database refused. Nothing of it remains; what was applied before it does.
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
        // SQLite's own text repeats the whole file.
        match self.error.source().and_then(|cause| cause.downcast_ref()) {
            Some(rusqlite::Error::SqlInputError { msg, .. }) => write!(f, ": {msg}"),
            _ => Ok(()),
        }
    }
}

/// The cause is what the database said: refinery's own words add nothing to it.
impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let is_said = |cause: &&(dyn Error + 'static)| {
            matches!(cause.downcast_ref(), Some(rusqlite::Error::SqlInputError { .. }))
        };
        self.error.source().filter(|cause| !is_said(cause))
    }
}
