//! The history of applied migrations in refinery's table, and the application of new ones.

use database::{Connection, DatabaseError};
use refinery::{Migration, Runner};

use crate::{File, MigrationError, Plan, error::Failed};

/// refinery's table of applied migrations.
const TABLE: &str = "refinery_schema_history";

/// Reads the applied migrations without changing the database. A new database has none.
pub async fn applied(connection: &mut Connection) -> Result<Vec<Migration>, MigrationError> {
    let runner = Runner::new(&[]);
    match connection {
        Connection::Sqlite(sqlite) => {
            let read = move |connection: &mut rusqlite::Connection| {
                if !connection.table_exists(None, TABLE).map_err(DatabaseError::from)? {
                    return Ok(Vec::new());
                }
                runner.get_applied_migrations(connection).map_err(MigrationError::History)
            };
            sqlite.call(read).await?
        }
        Connection::Postgres(client) => {
            let exists = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&TABLE]).await;
            if !exists.map_err(DatabaseError::from)?.get::<_, bool>(0) {
                return Ok(Vec::new());
            }
            runner.get_applied_migrations_async(client).await.map_err(MigrationError::History)
        }
    }
}

/// Applies the pending migrations, each in a transaction of its own.
pub async fn apply(connection: &mut Connection, files: Vec<File>, plan: &Plan) -> Result<(), MigrationError> {
    tracing::info!("applying {}", plan.pending.join(", "));
    let migrations: Vec<_> = files.into_iter().map(|file| file.migration).collect();
    // The plan has already made refinery's checks, but accepts a newer database and changed line endings.
    let runner = Runner::new(&migrations).set_abort_missing(false).set_abort_divergent(false);
    let report = match connection {
        Connection::Sqlite(sqlite) => sqlite.call(move |connection| runner.run(connection)).await?,
        Connection::Postgres(client) => runner.run_async(client).await,
    };
    report.map(drop).map_err(|error| failed(error, plan))
}

/// Returns the failed migration: the one after those that are reported as applied.
fn failed(error: refinery::Error, plan: &Plan) -> MigrationError {
    let Some(report) = error.report() else { return MigrationError::History(error) };
    let before = report.applied_migrations().len();
    match plan.pending.get(before) {
        Some(migration) => {
            let migration = migration.clone();
            Failed { migration, before: plan.pending[..before].to_vec(), error }.into()
        }
        None => MigrationError::History(error),
    }
}
