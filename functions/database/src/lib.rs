//! The application's database as its tasks reach it: PostgreSQL, or an SQLite file, by the variable `DATABASE_URL`.
//!
//! Statements that run on both number their parameters `$1`, `$2` in the order of their first use.

mod connection;
mod error;
#[cfg(test)]
mod front;
mod location;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tls;

pub use connection::{Connection, Sqlite, Value};
pub use error::{DatabaseError, is_temporary};
pub use location::{InvalidLocation, Location, Server};
pub use tls::{CertificatesError, InvalidTls};
