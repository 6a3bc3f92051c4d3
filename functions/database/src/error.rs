//! What can go wrong between a task and its database, and whether to wait may help.

use std::error::Error;

use rusqlite::ErrorCode;
use tokio_postgres::error::SqlState;

use crate::{InvalidLocation, tls::CertificatesError};

/// Why the database did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Nobody knows where it is.
    #[error(transparent)]
    Location(#[from] InvalidLocation),
    /// It could not be reached or opened.
    #[error("cannot open {location}")]
    Open {
        /// Where it is, without user and password.
        location: String,
        /// What was said.
        #[source]
        source: Box<DatabaseError>,
    },
    /// The certificates that a connection is checked against cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL refused, or the connection to it broke.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// The work in the background ended without an answer.
    #[error("the database's worker thread ended early")]
    Worker(#[from] tokio::task::JoinError),
}

impl DatabaseError {
    /// Whether the same request may succeed later: the database is away, busy or short of something. Not so for
    /// what it understood and refused, such as a statement or a password.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Location(_) | Self::Certificates(_) => false,
            Self::Open { source, .. } => source.is_temporary(),
            Self::Sqlite(error) => sqlite_is_temporary(error),
            Self::Postgres(error) => postgres_is_temporary(error),
            Self::Worker(_) => true,
        }
    }
}

/// The same of a library's error, by what the database said that is among its causes.
pub fn is_temporary(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| {
        error.downcast_ref().is_some_and(sqlite_is_temporary)
            || error.downcast_ref().is_some_and(postgres_is_temporary)
    })
}

fn sqlite_is_temporary(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, SystemIoFailure};
    let temporary = [DatabaseBusy, DatabaseLocked, CannotOpen, DiskFull, SystemIoFailure, OutOfMemory];
    error.sqlite_error_code().is_some_and(|code| temporary.contains(&code))
}

/// By the class of the SQLSTATE, which is its first two characters. Source: the PostgreSQL manual, appendix A.
fn postgres_is_temporary(error: &tokio_postgres::Error) -> bool {
    // connection, rolled back (deadlock, serialization), resources, object in use, operator intervention, system
    let temporary = ["08", "40", "53", "55", "57", "58"];
    if is_of_certificate(error) {
        return false;
    }
    // Without a state it is not the server that refused: the connection could not be made, or broke.
    error.code().map(SqlState::code).is_none_or(|code| temporary.iter().any(|class| code.starts_with(class)))
}

/// Returns true if the server has shown a certificate that is not good, which it will do again.
fn is_of_certificate(error: &tokio_postgres::Error) -> bool {
    let is_invalid = |cause: &(dyn Error + 'static)| {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let refused = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        matches!(refused, Some(rustls::Error::InvalidCertificate(_)))
    };
    std::iter::successors(error.source(), |&cause| cause.source()).any(is_invalid)
}
