//! Refreshes the database's statistics after the purge of expired sessions, so that queries are planned with current data.

use database::{Connection, DatabaseError, Location};
use lamplighter::prelude::*;

/// Refreshes the database's statistics about its tables, after `purge-expired`.
#[task(schedule = "30 3 * * *", timeout = "5m", depends_on = ["purge-expired"])]
pub async fn refresh_statistics(_ctx: Context) -> TaskResult {
    let location = Location::from_environment().fatal()?;
    match refresh(&location).await {
        Ok(()) => Ok(Outcome::success("refreshed the statistics")),
        Err(error) if error.is_temporary() => Err(error.into()),
        Err(error) => Err(error).fatal(),
    }
}

/// Refreshes the statistics of every table.
pub async fn refresh(location: &Location) -> Result<(), DatabaseError> {
    let mut connection = Connection::open(location).await?;
    connection.execute("ANALYZE", vec![vec![]]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use database::testing::Postgres;

    use super::*;

    #[tokio::test]
    async fn an_sqlite_file_has_statistics_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("app.sqlite"));
        let mut connection = Connection::open(&location).await.unwrap();
        for sql in ["CREATE TABLE a (id TEXT PRIMARY KEY)", "INSERT INTO a VALUES ('1')"] {
            connection.execute(sql, vec![vec![]]).await.unwrap();
        }
        refresh(&location).await.unwrap();
        let changed =
            connection.execute("DELETE FROM sqlite_stat1 WHERE tbl = 'a'", vec![vec![]]).await.unwrap();
        assert_eq!(changed, 1);
    }

    #[tokio::test]
    async fn a_postgresql_database_is_refreshed() {
        refresh(&Postgres::start().url().parse().unwrap()).await.unwrap();
    }
}
