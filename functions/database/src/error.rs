//! The errors of the database, and whether a retry may help.

use std::error::Error;

use rusqlite::ErrorCode;
use tokio_postgres::error::SqlState;

use crate::{InvalidLocation, tls::CertificatesError};

/// An error of the database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// `DATABASE_URL` is invalid.
    #[error(transparent)]
    Location(#[from] InvalidLocation),
    /// The database cannot be reached or opened.
    #[error("cannot open {location}")]
    Open {
        /// The location, without user and password.
        location: String,
        /// The cause.
        #[source]
        source: Box<DatabaseError>,
    },
    /// The certificates for TLS cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    /// SQLite returned an error.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL returned an error, or the connection failed.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// The worker thread ended without a result.
    #[error("the database's worker thread ended early")]
    Worker(#[from] tokio::task::JoinError),
}

impl DatabaseError {
    /// Returns whether a retry may succeed: the database is unreachable, busy or short of resources. False for a request
    /// that it rejected, e.g. a statement or a password.
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

/// Returns the same for a library's error, by the database's error among its causes.
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

/// Decides by the class of the SQLSTATE, its first two characters. Source: the PostgreSQL manual, appendix A.
fn postgres_is_temporary(error: &tokio_postgres::Error) -> bool {
    // connection, rolled back (deadlock, serialization), resources, object in use, operator intervention, system
    let temporary = ["08", "40", "53", "55", "57", "58"];
    if is_of_certificate(error) {
        return false;
    }
    // An error without SQLSTATE is not the server's: the connection failed.
    error.code().map(SqlState::code).is_none_or(|code| temporary.iter().any(|class| code.starts_with(class)))
}

/// Returns true if the server's certificate was rejected, which a retry cannot change.
fn is_of_certificate(error: &tokio_postgres::Error) -> bool {
    let is_invalid = |cause: &(dyn Error + 'static)| {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let refused = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        matches!(refused, Some(rustls::Error::InvalidCertificate(_)))
    };
    std::iter::successors(error.source(), |&cause| cause.source()).any(is_invalid)
}
