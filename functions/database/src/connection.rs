//! One connection, and statements that are the same for both kinds of database.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{InterruptHandle, types::ToSqlOutput};
use tokio_postgres::NoTls;

use crate::{DatabaseError, Location};

/// How long a server may take to accept a connection, where the URL does not say it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for another process that writes to the same SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// An open connection.
pub enum Connection {
    /// To an SQLite file.
    Sqlite(Sqlite),
    /// To a PostgreSQL server.
    Postgres(tokio_postgres::Client),
}

/// An open SQLite file. Its work blocks, so it is done on threads of its own.
#[derive(Clone)]
pub struct Sqlite {
    connection: Arc<Mutex<rusqlite::Connection>>,
    interrupt: Arc<InterruptHandle>,
}

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub enum Value {
    /// A number of 64 bits: `BIGINT`.
    Integer(i64),
    /// A text.
    Text(String),
}

impl Connection {
    /// Connects. An error names the place.
    pub async fn open(location: &Location) -> Result<Self, DatabaseError> {
        let opened = match location {
            Location::Sqlite(path) => Sqlite::open(path).await.map(Self::Sqlite),
            Location::Postgres(config) => connect(config).await.map(Self::Postgres),
        };
        opened.map_err(|source| DatabaseError::Open {
            location: location.to_string(),
            source: Box::new(source),
        })
    }

    /// Executes the statement once for each row of parameters, all or nothing. Returns how many rows it changed.
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
        let interrupt = Arc::new(connection.get_interrupt_handle());
        Ok(Self { connection: Arc::new(Mutex::new(connection)), interrupt })
    }

    /// Calls `work` on a thread that may block. If the caller stops waiting, the statement that runs is interrupted.
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut rusqlite::Connection) -> T + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let connection = Arc::clone(&self.connection);
        let _interrupt = InterruptOnDrop(&self.interrupt);
        // A panic in `work` leaves the connection usable: SQLite rolls back what was open.
        let locked = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(tokio::task::spawn_blocking(locked).await?)
    }
}

/// Without it a body whose time is up would end, and its thread would go on writing. When nothing runs it does
/// nothing.
struct InterruptOnDrop<'a>(&'a InterruptHandle);

impl Drop for InterruptOnDrop<'_> {
    fn drop(&mut self) {
        self.0.interrupt();
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

async fn connect(config: &tokio_postgres::Config) -> Result<tokio_postgres::Client, DatabaseError> {
    let mut config = config.clone();
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    let (client, connection) = config.connect(NoTls).await?;
    // It ends with the client. If it breaks before, the client's next request says so.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("the connection to PostgreSQL broke: {error}");
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
    use crate::testing::Postgres;

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
        // All or nothing: `d` went with `e`.
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
    async fn a_database_that_is_away_is_named_without_its_password_and_worth_waiting_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}/no/such/app.sqlite", folder.path().display());
        // Port 1 of loopback has no listener.
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
    async fn a_wrong_password_is_not_worth_another_try() {
        let server = Postgres::start();
        let url = server.url().replace("secret", "hunter2");
        let error = Connection::open(&url.parse().unwrap()).await.err().unwrap();
        let text = format!("{error} {error:?}");
        assert!(text.contains("password authentication failed") && !text.contains("hunter2"), "{text}");
        assert!(!error.is_temporary());
    }

    #[tokio::test]
    async fn a_statement_nobody_waits_for_is_interrupted() {
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
        has_begun.await.unwrap();
        // Long enough for the statement to begin; were it not interrupted, this test would never end.
        tokio::time::sleep(Duration::from_millis(100)).await;
        waiting.abort();
        let error = has_ended.await.unwrap().unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::OperationInterrupted));
    }
}
