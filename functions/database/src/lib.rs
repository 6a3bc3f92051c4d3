//! The application's database: PostgreSQL or an SQLite file, named by the environment variable `DATABASE_URL`.
//!
//! Number a statement's parameters `$1`, `$2`, .. in the order of their first use, so that it runs on both.

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
