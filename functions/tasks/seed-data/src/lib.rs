//! Inserts the initial rows of a new installation.

use database::{Connection, DatabaseError, Location};
use lamplighter::prelude::*;

/// The initial users: address and name.
const USERS: [(&str, &str); 2] = [("admin@example.com", "Administrator"), ("demo@example.com", "Demo")];

/// Inserts the initial rows at the first deployment. Later deployments change nothing.
#[task(run_on = [Deploy], depends_on = ["run-migrations"], timeout = "1m")]
pub async fn seed_data(ctx: Context) -> TaskResult {
    if !ctx.is_first_deploy() {
        return Ok(Outcome::success("nothing inserted: this is not the first deployment"));
    }
    let location = Location::from_environment().fatal()?;
    match seed(&location).await {
        Ok(added) => Ok(Outcome::success(format!("added {added} of {} initial users", USERS.len()))),
        Err(error) if error.is_temporary() => Err(error.into()),
        Err(error) => Err(error).fatal(),
    }
}

/// Inserts the missing rows and returns their number. Existing rows stay unchanged.
pub async fn seed(location: &Location) -> Result<u64, DatabaseError> {
    let mut connection = Connection::open(location).await?;
    let rows = USERS.map(|(email, name)| vec![email.into(), name.into()]);
    let insert = "INSERT INTO users (email, name) VALUES ($1, $2) ON CONFLICT (email) DO NOTHING";
    connection.execute(insert, rows.into()).await
}

#[cfg(test)]
mod tests {
    use database::testing::Postgres;

    use super::*;

    /// The table as the task `run-migrations` creates it.
    const TABLE: &str = include_str!("../../run-migrations/migrations/V1__create_users.sql");

    async fn seeds_once(location: &Location) {
        let unmigrated = seed(location).await.unwrap_err();
        assert!(!unmigrated.is_temporary());
        assert!(TaskError::from(unmigrated).to_string().contains("users"));

        let mut connection = Connection::open(location).await.unwrap();
        connection.execute(TABLE, vec![vec![]]).await.unwrap();
        let renamed = "INSERT INTO users (email, name) VALUES ($1, $2)";
        let row = vec!["demo@example.com".into(), "Renamed".into()];
        connection.execute(renamed, vec![row]).await.unwrap();

        assert_eq!(seed(location).await.unwrap(), 1);
        assert_eq!(seed(location).await.unwrap(), 0);
        let kept = "DELETE FROM users WHERE name = $1";
        assert_eq!(connection.execute(kept, vec![vec!["Renamed".into()]]).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn an_sqlite_file_is_seeded_once() {
        let folder = tempfile::tempdir().unwrap();
        seeds_once(&Location::Sqlite(folder.path().join("app.sqlite"))).await;
    }

    #[tokio::test]
    async fn a_postgresql_database_is_seeded_once() {
        seeds_once(&Postgres::start().url().parse().unwrap()).await;
    }
}
