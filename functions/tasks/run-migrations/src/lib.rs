//! Applies the SQL migrations in `migrations` to the application's database, in the order of their versions.

mod error;
mod files;
mod history;
mod plan;

use std::path::Path;

use database::{Connection, Location};
use lamplighter::prelude::*;

pub use error::{Failed, MigrationError};
pub use files::{File, load};
pub use history::{applied, apply};
pub use plan::{Plan, plan};

/// The task's configuration. `[tasks.<name>.config]` in lamplighter.toml overrides it.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Only report the pending migrations.
    pub dry_run: bool,
}

/// Applies the pending SQL migrations.
///
/// `DATABASE_URL` names the database. Each migration is one transaction: a failed one is rolled back, and those before it
/// stay applied.
#[task(run_on = [Deploy, Update], timeout = "2m", copy_assets = ["migrations"])]
pub async fn run_migrations(ctx: Context<Config>) -> TaskResult {
    let location = Location::from_environment().fatal()?;
    let dry_run = ctx.config.dry_run;
    match migrate(&location, &ctx.working_directory().join("migrations"), dry_run).await {
        Ok(plan) => Outcome::success(plan.summary(dry_run)).with_data(&plan.pending),
        Err(error) if error.is_temporary() => Err(error.into()),
        Err(error) => Err(error).fatal(),
    }
}

/// Migrates the database to the newest migration in the folder. A dry run only returns the plan.
pub async fn migrate(location: &Location, folder: &Path, dry_run: bool) -> Result<Plan, MigrationError> {
    let files = load(folder)?;
    let mut connection = Connection::open(location).await?;
    let plan = plan(&applied(&mut connection).await?, &files)?;
    if !plan.unknown.is_empty() {
        // This happens after a rollback to an older version of the application.
        tracing::warn!("the database has migrations of a newer version: {}", plan.unknown.join(", "));
    }
    if !dry_run && !plan.pending.is_empty() {
        apply(&mut connection, files, &plan).await?;
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use database::testing::Postgres;
    use tempfile::TempDir;

    use super::*;

    /// Copies the task's migrations.
    fn shipped() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        folder
    }

    fn sqlite(folder: &TempDir) -> Location {
        Location::Sqlite(folder.path().join("app.sqlite"))
    }

    /// Tests the whole life of a database.
    async fn lives(location: &Location) {
        let folder = shipped();
        let migrate = async |dry_run| migrate(location, folder.path(), dry_run).await;
        let both = "2 migrations: V1__create_users, V2__create_sessions";
        let file = |name: &str| folder.path().join(name);

        assert_eq!(migrate(true).await.unwrap().summary(true), format!("would apply {both}"));
        assert_eq!(migrate(false).await.unwrap().summary(false), format!("applied {both}"));
        assert_eq!(migrate(false).await.unwrap().summary(false), "no new migrations");

        // Invalid SQL: the migrations before it stay, it is rolled back, and it is not retried.
        fs::write(file("V3__add_roles.sql"), "CREATE TABLE roles (name TEXT);").unwrap();
        fs::write(file("V4__broken.sql"), "CREATE TABLE half (id TEXT); CREAT TABLE other (id TEXT);")
            .unwrap();
        let error = migrate(false).await.unwrap_err();
        assert!(!error.is_temporary());
        let message = TaskError::from(error).to_string();
        assert!(message.starts_with("V4__broken failed (applied before it: V3__add_roles): "), "{message}");
        assert!(message.contains("near \"CREAT\"") && message.contains("syntax error"), "{message}");
        assert!(!message.contains("TABLE half"), "the message repeats the file: {message}");
        fs::write(file("V4__broken.sql"), "CREATE TABLE half (id TEXT);").unwrap();
        assert_eq!(migrate(false).await.unwrap().pending, ["V4__broken"]);

        // Changed line endings are no edit, and later migrations are applied.
        let lines = |name: &str, from: &str, to: &str| {
            let text = fs::read_to_string(file(name)).unwrap();
            fs::write(file(name), text.replace(from, to)).unwrap();
        };
        for name in ["V1__create_users.sql", "V2__create_sessions.sql", "V3__add_roles.sql"] {
            lines(name, "\n", "\r\n");
        }
        assert_eq!(migrate(false).await.unwrap().summary(false), "no new migrations");
        fs::write(file("V5__windows.sql"), "\u{feff}CREATE TABLE windows (\r\n  id TEXT\r\n);\r\n").unwrap();
        assert_eq!(migrate(false).await.unwrap().pending, ["V5__windows"]);
        lines("V5__windows.sql", "\r\n", "\n");
        lines("V1__create_users.sql", "\r\n", "\n");
        assert_eq!(migrate(false).await.unwrap().summary(false), "no new migrations");
        lines("V5__windows.sql", "id TEXT", "id BIGINT");
        let error = migrate(false).await.unwrap_err();
        assert!(error.to_string().starts_with("V5__windows differs from the applied migration"), "{error}");
        lines("V5__windows.sql", "id BIGINT", "id TEXT");

        // An edit of an applied migration is rejected by its name.
        fs::write(file("V3__add_roles.sql"), "CREATE TABLE roles (name TEXT, rank BIGINT);").unwrap();
        let error = migrate(false).await.unwrap_err();
        assert!(
            matches!(&error, MigrationError::Edited { migration, .. } if migration == "V3__add_roles"),
            "{error}"
        );
        assert!(!error.is_temporary());

        // After a rollback of the application its database is newer, which is fine.
        fs::remove_file(file("V5__windows.sql")).unwrap();
        fs::remove_file(file("V4__broken.sql")).unwrap();
        fs::remove_file(file("V3__add_roles.sql")).unwrap();
        let plan = migrate(false).await.unwrap();
        assert_eq!(
            (plan.pending.len(), plan.unknown),
            (0, vec!["V3__add_roles".into(), "V4__broken".into(), "V5__windows".into()])
        );
    }

    #[tokio::test]
    async fn an_sqlite_file_is_migrated() {
        lives(&sqlite(&tempfile::tempdir().unwrap())).await;
    }

    #[tokio::test]
    async fn a_postgresql_database_is_migrated() {
        lives(&Postgres::start().url().parse().unwrap()).await;
    }

    #[tokio::test]
    async fn an_unreachable_database_is_retried_and_its_password_is_not_shown() {
        let location = "postgres://app:hunter2@127.0.0.1:1/shop".parse().unwrap();
        let error = migrate(&location, shipped().path(), false).await.unwrap_err();
        assert!(error.is_temporary());
        let message = TaskError::from(error).to_string();
        assert!(message.contains("127.0.0.1:1/shop") && message.contains("refused"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[tokio::test]
    async fn a_dry_run_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        migrate(&sqlite(&folder), shipped().path(), true).await.unwrap();
        assert_eq!(fs::metadata(folder.path().join("app.sqlite")).unwrap().len(), 0);
    }

    #[test]
    fn an_sql_file_with_an_invalid_name_is_rejected() {
        for name in [
            "create_users.sql",
            "V__x.sql",
            "V1_x.sql",
            "V1.5__x.sql",
            "V1__a-b.sql",
            "|1__x.sql",
            "U1__x.sql",
        ] {
            let folder = shipped();
            fs::write(folder.path().join(name), "SELECT 1;").unwrap();
            let error = load(folder.path()).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
        let folder = shipped();
        fs::write(folder.path().join("README.md"), "").unwrap();
        fs::write(folder.path().join("V03__padded.sql"), "SELECT 1;").unwrap();
        assert_eq!(load(folder.path()).unwrap().len(), 3);
        assert!(load(&folder.path().join("none")).unwrap_err().to_string().contains("none"));
    }
}
