//! The location of the database, parsed from `DATABASE_URL`.

use std::{env::VarError, fmt, path::PathBuf, str::FromStr};

use tokio_postgres::config::Host;

use crate::tls::{InvalidTls, Tls};

/// The environment variable with the database's URL.
const VARIABLE: &str = "DATABASE_URL";
/// The default SQLite file.
const DEFAULT_FILE: &str = "app.sqlite";

/// The location of a database. Its printed form has neither user nor password.
#[derive(Clone)]
pub enum Location {
    /// An SQLite file, which is created if it is missing. From `sqlite:<path>`.
    Sqlite(PathBuf),
    /// A PostgreSQL server. From `postgres://<user>:<password>@<host>:<port>/<database>`, with `sslmode` and
    /// `sslrootcert` as libpq has them.
    Postgres(Box<Server>),
}

/// A PostgreSQL server.
#[derive(Clone)]
pub struct Server {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) tls: Tls,
}

/// An error of `DATABASE_URL`. The value may have a password, so no error quotes it.
#[derive(Debug, thiserror::Error)]
pub enum InvalidLocation {
    /// The scheme is unknown.
    #[error("DATABASE_URL begins with neither `sqlite:` nor `postgres://`")]
    Scheme,
    /// The value is not UTF-8.
    #[error("DATABASE_URL is not UTF-8 text")]
    NotText,
    /// The path after `sqlite:` is missing.
    #[error("DATABASE_URL names no file: it must be `sqlite:<path>`")]
    NoFile,
    /// The URL of PostgreSQL is malformed.
    #[error("DATABASE_URL must be `postgres://<user>:<password>@<host>:<port>/<database>`")]
    Postgres(#[source] tokio_postgres::Error),
    /// The parameters of TLS are invalid.
    #[error("DATABASE_URL: {0}")]
    Tls(#[from] InvalidTls),
}

impl Location {
    /// Reads `DATABASE_URL`. The default is `app.sqlite` in the folder for temporary files.
    ///
    /// In Lambda that folder is private to one execution environment and lost with it, so set the variable there.
    pub fn from_environment() -> Result<Self, InvalidLocation> {
        match std::env::var(VARIABLE) {
            Ok(url) if !url.is_empty() => url.parse(),
            Ok(_) | Err(VarError::NotPresent) => {
                let location = Self::Sqlite(std::env::temp_dir().join(DEFAULT_FILE));
                tracing::warn!("{VARIABLE} is not set: using {location}, which only this machine can see");
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
            // Other tools write an absolute path as `sqlite:///var/app.sqlite`.
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
        let (url, [mode, root_certificate]) = without(url, ["sslmode", "sslrootcert"])?;
        let tls = Tls::new(mode.as_deref(), root_certificate.as_deref())?;
        let config = url.parse().map_err(InvalidLocation::Postgres)?;
        Ok(Self::Postgres(Box::new(Server { config, tls })))
    }
}

/// Removes these parameters from the URL, and returns their values. The library does not support all of libpq's.
fn without<const N: usize>(
    url: &str,
    names: [&str; N],
) -> Result<(String, [Option<String>; N]), InvalidLocation> {
    // The password before the first `@` may have any character.
    let begin = url.find('@').unwrap_or_default();
    let Some(mark) = url[begin..].find('?').map(|found| begin + found) else {
        return Ok((url.to_owned(), [const { None }; N]));
    };
    let mut values = [const { None }; N];
    let mut rest = Vec::new();
    for parameter in url[mark + 1..].split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match names.iter().position(|known| *known == name) {
            // The last value wins, as in libpq.
            Some(i) => values[i] = Some(decoded(value).ok_or(InvalidTls::NotText)?),
            None => rest.push(parameter),
        }
    }
    let rest = rest.join("&");
    let mark = if rest.is_empty() { &url[..mark] } else { &url[..=mark] };
    Ok((format!("{mark}{rest}"), values))
}

/// Decodes the percent-encoding of a text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            let digits = [rest.next()?, rest.next()?].map(char::from).map(|digit| digit.to_digit(16));
            let [high, low] = digits;
            u8::try_from(high? * 16 + low?).ok()?
        } else {
            byte
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = match self {
            Self::Sqlite(path) => return write!(f, "SQLite file {}", path.display()),
            Self::Postgres(server) => &server.config,
        };
        f.write_str("PostgreSQL at ")?;
        for (index, host) in config.get_hosts().iter().enumerate() {
            // A single port applies to all hosts; without one the default port applies.
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

/// Prints the same as `Display`, since a derived form would reveal the URL.
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
    fn the_parameters_of_tls_are_removed_from_the_url() {
        for (url, rest, values) in [
            ("postgres://a@h/d", "postgres://a@h/d", [None, None]),
            ("postgres://a:p?sslmode=x@h/d", "postgres://a:p?sslmode=x@h/d", [None, None]),
            ("postgres://h/d?sslmode=require", "postgres://h/d", [Some("require"), None]),
            (
                "postgres://a@h/d?sslmode=a&x=1&sslrootcert=%2Fc%20a.pem&y=2&sslmode=b",
                "postgres://a@h/d?x=1&y=2",
                [Some("b"), Some("/c a.pem")],
            ),
        ] {
            let (found, found_values) = without(url, ["sslmode", "sslrootcert"]).unwrap();
            assert_eq!((found.as_str(), found_values), (rest, values.map(|v| v.map(str::to_owned))), "{url}");
        }
    }

    #[test]
    fn errors_do_not_show_the_password() {
        for (url, expected) in [
            ("", "neither"),
            ("mysql://app:hunter2@db/shop", "neither `sqlite:` nor `postgres://`"),
            ("hunter2", "neither"),
            ("sqlite:", "sqlite:<path>"),
            ("postgres://app:hunter2@db:port/shop", "postgres://<user>"),
            ("postgres://app:hunter2", "postgres://<user>"),
            ("postgres://app:hunter2@db/shop?hunter=2", "postgres://<user>"),
            ("postgres://app:hunter2@db/shop?sslmode=hunter2", "`sslmode` must be one of disable"),
            (
                "postgres://app:hunter2@db/shop?sslmode=require&sslrootcert=system",
                "needs `sslmode=verify-full`",
            ),
            ("postgres://app:hunter2@db/shop?sslrootcert=%f", "must be UTF-8 text"),
        ] {
            let error = url.parse::<Location>().unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains(expected) && !text.contains("hunter2"), "{url}: {text}");
        }
    }
}
