//! A connection, with statements that run on both kinds of database.

use std::{
    error::Error as _,
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rusqlite::types::ToSqlOutput;
use tokio_postgres::{
    NoTls, Socket,
    config::{Host, SslMode},
    error::SqlState,
    tls::MakeTlsConnect,
};

use crate::{DatabaseError, Location, Server, tls::Mode};

/// The default connect timeout, if the URL sets none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The number of SQLite's instructions between two checks whether the caller still waits.
const STEPS_BETWEEN_CHECKS: i32 = 1000;
/// The time to wait for another process that writes to the same SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// An open connection.
pub enum Connection {
    /// A connection to an SQLite file.
    Sqlite(Sqlite),
    /// A connection to a PostgreSQL server.
    Postgres(tokio_postgres::Client),
}

/// An open SQLite file. SQLite blocks, so its work runs on blocking threads.
#[derive(Clone)]
pub struct Sqlite(Arc<Mutex<rusqlite::Connection>>);

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub enum Value {
    /// A 64-bit integer: `BIGINT`.
    Integer(i64),
    /// A string: `TEXT`.
    Text(String),
}

impl Connection {
    /// Connects to the database.
    ///
    /// # Errors
    ///
    /// The error names the location without user and password.
    pub async fn open(location: &Location) -> Result<Self, DatabaseError> {
        let opened = match location {
            Location::Sqlite(path) => Sqlite::open(path).await.map(Self::Sqlite),
            Location::Postgres(server) => connect(server).await.map(Self::Postgres),
        };
        opened.map_err(|source| DatabaseError::Open {
            location: location.to_string(),
            source: Box::new(source),
        })
    }

    /// Executes the statement once for each row of parameters, in one transaction. Returns the number of changed rows.
    pub async fn execute(&mut self, sql: &str, rows: Vec<Vec<Value>>) -> Result<u64, DatabaseError> {
        match self {
            Self::Sqlite(sqlite) => {
                let sql = sql.to_owned();
                Ok(sqlite.call(move |connection| execute_in_sqlite(connection, &sql, rows)).await??)
            }
            Self::Postgres(client) => {
                let transaction = client.transaction().await?;
                let statement = transaction.prepare(sql).await?;
                let mut changed = 0;
                for row in &rows {
                    let row: Vec<_> = row.iter().map(Value::for_postgres).collect();
                    changed += transaction.execute(&statement, &row).await?;
                }
                transaction.commit().await?;
                Ok(changed)
            }
        }
    }
}

impl Sqlite {
    async fn open(path: &Path) -> Result<Self, DatabaseError> {
        let path = path.to_owned();
        let open = move || -> Result<_, rusqlite::Error> {
            let connection = rusqlite::Connection::open(path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "foreign_keys", true)?;
            Ok(connection)
        };
        let connection = tokio::task::spawn_blocking(open).await??;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Calls `work` on a blocking thread. If the caller stops waiting, the statements of `work` are interrupted. Otherwise the
    /// thread of a cancelled body would continue to write.
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut rusqlite::Connection) -> T + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let connection = Arc::clone(&self.0);
        let is_abandoned = Arc::new(AtomicBool::new(false));
        let _abandons = SetOnDrop(Arc::clone(&is_abandoned));
        let locked = move || {
            // A panic in `work` leaves the connection usable: SQLite rolls the open transaction back.
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let check = move || is_abandoned.load(Ordering::Relaxed);
            connection.progress_handler(STEPS_BETWEEN_CHECKS, Some(check));
            work(&mut connection)
        };
        Ok(tokio::task::spawn_blocking(locked).await?)
    }
}

/// Sets a flag when it is dropped.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn execute_in_sqlite(
    connection: &mut rusqlite::Connection,
    sql: &str,
    rows: Vec<Vec<Value>>,
) -> Result<u64, rusqlite::Error> {
    let transaction = connection.transaction()?;
    let mut changed = 0;
    {
        let mut statement = transaction.prepare(sql)?;
        for row in rows {
            changed += statement.execute(rusqlite::params_from_iter(row))? as u64;
        }
    }
    transaction.commit()?;
    Ok(changed)
}

async fn connect(server: &Server) -> Result<tokio_postgres::Client, DatabaseError> {
    let mut config = server.config.clone();
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    let encrypted = async |mode| {
        let tls = server.tls.connector()?;
        begin(&config, mode, tls).await.map_err(DatabaseError::from)
    };
    let plain = async || begin(&config, SslMode::Disable, NoTls).await;
    // A Unix socket needs no encryption.
    let hosts = config.get_hosts();
    let is_local = !hosts.is_empty() && !hosts.iter().any(|host| matches!(host, Host::Tcp(_)));
    match server.tls.mode {
        Mode::Disable => Ok(plain().await?),
        _ if is_local => Ok(plain().await?),
        Mode::Allow => match plain().await {
            Err(error) if is_refused(&error) => encrypted(SslMode::Require).await,
            connected => Ok(connected?),
        },
        Mode::Prefer => match encrypted(SslMode::Prefer).await {
            Err(DatabaseError::Postgres(error)) if is_refused(&error) => Ok(plain().await?),
            connected => connected,
        },
        Mode::Require | Mode::VerifyCa | Mode::VerifyFull => encrypted(SslMode::Require).await,
    }
}

/// Returns true if another kind of connection may succeed: the handshake failed, or the server rejects this kind.
fn is_refused(error: &tokio_postgres::Error) -> bool {
    let is_handshake = |cause: &(dyn std::error::Error + 'static)| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof))
    };
    error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
        || std::iter::successors(error.source(), |&cause| cause.source()).any(is_handshake)
}

/// Connects with or without TLS.
async fn begin<T>(
    config: &tokio_postgres::Config,
    mode: SslMode,
    tls: T,
) -> Result<tokio_postgres::Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.clone().ssl_mode(mode).connect(tls).await?;
    // The connection ends with the client. If it breaks before, the client's next request fails.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("the connection to PostgreSQL failed: {error}");
        }
    });
    Ok(client)
}

impl Value {
    fn for_postgres(&self) -> &(dyn tokio_postgres::types::ToSql + Sync) {
        match self {
            Self::Integer(number) => number,
            Self::Text(text) => text,
        }
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Integer(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        front::{Authority, Certified, Front},
        testing::Postgres,
    };

    const INSERT: &str = "INSERT INTO lamps (name, height) VALUES ($1, $2) ON CONFLICT DO NOTHING";

    async fn insert_and_count(location: &Location) {
        let mut connection = Connection::open(location).await.unwrap();
        let create = "CREATE TABLE lamps (name TEXT PRIMARY KEY, height BIGINT NOT NULL CHECK (height > 0))";
        connection.execute(create, vec![vec![]]).await.unwrap();
        let lamp = |name: &str, height: i64| vec![Value::from(name), Value::from(height)];

        assert_eq!(connection.execute(INSERT, vec![lamp("a", 3), lamp("b", 4)]).await.unwrap(), 2);
        assert_eq!(connection.execute(INSERT, vec![lamp("b", 4), lamp("c", 5)]).await.unwrap(), 1);
        let refused = connection.execute(INSERT, vec![lamp("d", 6), lamp("e", 0)]).await.unwrap_err();
        assert!(!refused.is_temporary(), "{refused}");
        // One transaction: the failure of `e` rolls `d` back.
        assert_eq!(connection.execute("DELETE FROM lamps", vec![vec![]]).await.unwrap(), 3);
        let missing = connection.execute("DELETE FROM nowhere", vec![vec![]]).await.unwrap_err();
        assert!(!missing.is_temporary(), "{missing}");
    }

    #[tokio::test]
    async fn statements_run_on_both_kinds() {
        let folder = tempfile::tempdir().unwrap();
        insert_and_count(&Location::Sqlite(folder.path().join("app.sqlite"))).await;
        insert_and_count(&Postgres::start().url().parse().unwrap()).await;
    }

    #[tokio::test]
    async fn an_unreachable_database_is_named_without_its_password_and_is_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}/no/such/app.sqlite", folder.path().display());
        // Nothing listens on port 1 of loopback.
        for (url, place) in [
            (file.as_str(), "/no/such/app.sqlite"),
            ("postgres://app:hunter2@127.0.0.1:1/shop", "127.0.0.1:1/shop"),
        ] {
            let error = Connection::open(&url.parse().unwrap()).await.err().unwrap();
            let text = format!("{error} {error:?}");
            assert!(text.contains(place) && !text.contains("hunter2"), "{text}");
            assert!(error.is_temporary(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_wrong_password_is_permanent() {
        let server = Postgres::start();
        let url = server.url().replace("secret", "hunter2");
        let error = Connection::open(&url.parse().unwrap()).await.err().unwrap();
        let text = format!("{error} {error:?}");
        assert!(text.contains("password authentication failed") && !text.contains("hunter2"), "{text}");
        assert!(!error.is_temporary());
    }

    /// Connects by the URL. The error has all of its causes.
    async fn connects(url: &str) -> Result<(), String> {
        let opened = match url.parse::<Location>() {
            Ok(location) => Connection::open(&location).await,
            Err(error) => return Err(error.to_string()),
        };
        let Connection::Postgres(client) = opened.map_err(|error| chain(&error))? else { panic!("{url}") };
        client.query_one("SELECT 1", &[]).await.map(drop).map_err(|error| chain(&error))
    }

    fn chain(error: &dyn std::error::Error) -> String {
        let causes = std::iter::successors(Some(error), |&error| error.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    #[tokio::test]
    async fn sslmode_decides_on_encryption() {
        let server = Postgres::start();
        let folder = tempfile::tempdir().unwrap();
        let ours = Authority::new();
        let good = ours.certify(&["localhost", "127.0.0.1"]);
        let other_host = ours.certify(&["db.example"]);
        let alone = Certified::alone(&["localhost"]);
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string().replace('/', "%2F")
        };
        let root = file("ca.pem", &ours.pem());
        let foreign = file("foreign.pem", &Authority::new().pem());
        let itself = file("self.pem", &alone.pem());
        let empty = file("empty.pem", "nothing");
        let missing = format!("{}%2Fmissing.pem", folder.path().display());
        let fronts = [
            Front::start(server.port(), Some(&good), true).await,
            Front::start(server.port(), Some(&other_host), true).await,
            Front::start(server.port(), Some(&alone), true).await,
            Front::start(server.port(), None, true).await,
            Front::start(server.port(), Some(&good), false).await,
        ];
        let [good, other_host, alone, without, only_encrypted] = &fronts;
        // `Ok(is_encrypted)`, or part of the error.
        for (front, parameters, expected) in [
            (good, String::new(), Ok(true)),
            (good, "sslmode=disable".to_owned(), Ok(false)),
            (good, "sslmode=allow".to_owned(), Ok(false)),
            (good, "sslmode=prefer".to_owned(), Ok(true)),
            (good, "sslmode=require".to_owned(), Ok(true)),
            (good, format!("sslmode=require&sslrootcert={root}"), Ok(true)),
            (good, format!("sslmode=require&sslrootcert={foreign}"), Err("invalid peer certificate")),
            (good, format!("sslmode=prefer&sslrootcert={foreign}"), Ok(false)),
            (good, format!("sslmode=verify-ca&sslrootcert={root}"), Ok(true)),
            (good, format!("sslmode=verify-ca&sslrootcert={foreign}"), Err("invalid peer certificate")),
            (good, format!("sslmode=verify-full&sslrootcert={root}"), Ok(true)),
            (good, "sslmode=verify-full&sslrootcert=system".to_owned(), Err("certificate")),
            (good, format!("sslmode=verify-full&sslrootcert={missing}"), Err("missing.pem, cannot be read")),
            (
                good,
                format!("sslmode=verify-full&sslrootcert={empty}"),
                Err("empty.pem, the file of `sslrootcert`, has no"),
            ),
            (other_host, "sslmode=require".to_owned(), Ok(true)),
            (other_host, format!("sslmode=verify-ca&sslrootcert={root}"), Ok(true)),
            (other_host, format!("sslmode=verify-full&sslrootcert={root}"), Err("not valid for name")),
            (alone, format!("sslmode=verify-ca&sslrootcert={itself}"), Ok(true)),
            (alone, format!("sslmode=verify-full&sslrootcert={itself}"), Ok(true)),
            (alone, format!("sslmode=verify-ca&sslrootcert={root}"), Err("invalid peer certificate")),
            (without, String::new(), Ok(false)),
            (without, "sslmode=require".to_owned(), Err("server does not support TLS")),
            (without, format!("sslmode=verify-full&sslrootcert={root}"), Err("server does not support TLS")),
            (only_encrypted, "sslmode=allow".to_owned(), Ok(true)),
            (only_encrypted, "sslmode=disable".to_owned(), Err("no pg_hba.conf entry")),
        ] {
            let url = format!("postgres://app:secret@localhost:{}/postgres?{parameters}", front.port);
            let connected = connects(&url).await;
            match expected {
                Ok(encrypted) => {
                    assert_eq!(connected, Ok(()), "{parameters}");
                    assert_eq!(front.last_was_encrypted(), Some(encrypted), "{parameters}");
                }
                Err(expected) => {
                    let said = connected.unwrap_err();
                    assert!(said.contains(expected) && !said.contains("secret"), "{parameters}: {said}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_statement_without_a_waiting_caller_is_interrupted() {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(&folder.path().join("app.sqlite")).await.unwrap();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        let endless =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        let waiting = tokio::spawn(async move {
            let count = move |connection: &mut rusqlite::Connection| {
                let _ = begun.send(());
                let _ = ended.send(connection.query_row(endless, [], |row| row.get::<_, i64>(0)));
            };
            sqlite.call(count).await
        });
        // Without the interruption this test would never end.
        has_begun.await.unwrap();
        waiting.abort();
        let error = has_ended.await.unwrap().unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::OperationInterrupted));
    }
}
