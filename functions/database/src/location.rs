//! Where the database is: `DATABASE_URL`, read.

use std::{env::VarError, fmt, path::PathBuf, str::FromStr};

use tokio_postgres::config::{Host, SslMode};

/// The variable that says where the database is.
const VARIABLE: &str = "DATABASE_URL";
/// The file that is used when nothing says where the database is.
const DEFAULT_FILE: &str = "app.sqlite";

/// Where a database is. Printed, it shows neither user nor password.
#[derive(Clone)]
pub enum Location {
    /// In an SQLite file, which is made if it is missing. From `sqlite:<path>`.
    Sqlite(PathBuf),
    /// On a PostgreSQL server. From `postgres://<user>:<password>@<host>:<port>/<database>`.
    Postgres(Box<tokio_postgres::Config>),
}

/// Why `DATABASE_URL` cannot say where the database is. Its value may hold a password, so it is never repeated.
#[derive(Debug, thiserror::Error)]
pub enum InvalidLocation {
    /// It names no kind of database that is known.
    #[error("DATABASE_URL begins with neither `sqlite:` nor `postgres://`")]
    Scheme,
    /// It is not text.
    #[error("DATABASE_URL is not UTF-8 text")]
    NotText,
    /// There is no path after `sqlite:`.
    #[error("DATABASE_URL names no file: it must be `sqlite:<path>`")]
    NoFile,
    /// What comes after `postgres:` does not parse.
    #[error("DATABASE_URL must be `postgres://<user>:<password>@<host>:<port>/<database>`")]
    Postgres(#[source] tokio_postgres::Error),
    /// It asks for encryption, which is not built in.
    #[error(
        "DATABASE_URL asks for `sslmode=require`, and these tasks connect without TLS: leave `sslmode` out and keep \
         the server in a private network, or connect through a proxy that encrypts"
    )]
    Tls,
}

impl Location {
    /// What `DATABASE_URL` says. Without it: `app.sqlite` in the folder for temporary files, which in Lambda is
    /// lost with the execution environment and seen by no other function, so a deployment should set it.
    pub fn from_environment() -> Result<Self, InvalidLocation> {
        match std::env::var(VARIABLE) {
            Ok(url) if !url.is_empty() => url.parse(),
            Ok(_) | Err(VarError::NotPresent) => {
                let location = Self::Sqlite(std::env::temp_dir().join(DEFAULT_FILE));
                tracing::warn!("{VARIABLE} is not set: using {location}, a file of this machine alone");
                Ok(location)
            }
            Err(VarError::NotUnicode(_)) => Err(InvalidLocation::NotText),
        }
    }
}

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(url: &str) -> Result<Self, InvalidLocation> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            // `sqlite:///var/app.sqlite` is how other tools write an absolute path.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err(InvalidLocation::NoFile)
            } else {
                Ok(Self::Sqlite(path.into()))
            };
        }
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(InvalidLocation::Scheme);
        }
        let config: tokio_postgres::Config = url.parse().map_err(InvalidLocation::Postgres)?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(InvalidLocation::Tls);
        }
        Ok(Self::Postgres(Box::new(config)))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = match self {
            Self::Sqlite(path) => return write!(f, "SQLite file {}", path.display()),
            Self::Postgres(config) => config,
        };
        f.write_str("PostgreSQL at ")?;
        for (index, host) in config.get_hosts().iter().enumerate() {
            // One port may stand for all hosts; without any it is the default one.
            let ports = config.get_ports();
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            let separator = if index > 0 { "," } else { "" };
            match host {
                Host::Tcp(host) => write!(f, "{separator}{host}:{port}")?,
                #[cfg(unix)]
                Host::Unix(folder) => write!(f, "{separator}{}", folder.display())?,
            }
        }
        write!(f, "/{}", config.get_dbname().unwrap_or_default())
    }
}

/// As it is displayed: no derived form may show what is in a URL.
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_or_a_server() {
        for (url, shown) in [
            ("sqlite:app.sqlite", "SQLite file app.sqlite"),
            ("sqlite:/var/app.sqlite", "SQLite file /var/app.sqlite"),
            ("sqlite:///var/app.sqlite", "SQLite file /var/app.sqlite"),
            ("postgres://app:hunter2@db.internal/shop", "PostgreSQL at db.internal:5432/shop"),
            ("postgresql://app@10.0.0.1:6432/shop?sslmode=prefer", "PostgreSQL at 10.0.0.1:6432/shop"),
            ("postgres://app:hunter2@a:1,b:2/shop", "PostgreSQL at a:1,b:2/shop"),
        ] {
            let location: Location = url.parse().unwrap();
            assert_eq!((location.to_string(), format!("{location:?}")), (shown.into(), shown.into()));
        }
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_password() {
        for (url, expected) in [
            ("", "neither"),
            ("mysql://app:hunter2@db/shop", "neither `sqlite:` nor `postgres://`"),
            ("hunter2", "neither"),
            ("sqlite:", "sqlite:<path>"),
            ("postgres://app:hunter2@db:port/shop", "postgres://<user>"),
            ("postgres://app:hunter2", "postgres://<user>"),
            ("postgres://app:hunter2@db/shop?hunter=2", "postgres://<user>"),
            ("postgres://app:hunter2@db/shop?sslmode=require", "sslmode=require"),
        ] {
            let error = url.parse::<Location>().unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains(expected) && !text.contains("hunter2"), "{url}: {text}");
        }
    }
}
