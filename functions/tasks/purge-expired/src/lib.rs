//! Deletes expired sessions in batches, so that transactions stay short.

use std::time::Duration;

use database::{Connection, DatabaseError, Location};
use jiff::{SignedDuration, Timestamp};
use lamplighter::prelude::*;
use tokio_util::sync::CancellationToken;

/// The task's configuration. `[tasks.<name>.config]` in lamplighter.toml overrides it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The number of sessions per transaction.
    #[schemars(range(min = 1))]
    pub batch_size: u32,
    /// The pause between transactions in milliseconds, which leaves the database to others.
    pub pause_ms: u32,
    /// The number of days that an expired session is kept.
    pub older_than_days: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self { batch_size: 500, pause_ms: 0, older_than_days: 7 }
    }
}

/// The result of a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// The number of deleted sessions.
    pub sessions: u64,
    /// True if the purge was cancelled before it was complete.
    pub stopped_early: bool,
}

/// Deletes the sessions that expired some days ago.
#[task(schedule = "0 3 * * *", timeout = "10m", validate = valid)]
pub async fn purge_expired(ctx: Context<Config>) -> TaskResult {
    let location = Location::from_environment().fatal()?;
    match purge(&location, Timestamp::now(), &ctx.config, ctx.cancellation()).await {
        Ok(purged) => Outcome::success(purged.summary()).with_data(&purged),
        Err(error) if error.is_temporary() => Err(error.into()),
        Err(error) => Err(error).fatal(),
    }
}

/// The task's timeout. The pause must be shorter.
const TIMEOUT: Duration = Duration::from_secs(600);

fn valid(ctx: &Context<Config>) -> Validity {
    let pause = ctx.config.pause_ms;
    if Duration::from_millis(pause.into()) >= TIMEOUT {
        let most = TIMEOUT.as_millis();
        return Err(format!("pause_ms is {pause}: it must be less than {most}, the task's timeout"));
    }
    Ok(())
}

/// Deletes the sessions that expired more than `older_than_days` before `now`.
///
/// A cancellation takes effect between two batches. The batches that are already deleted stay deleted.
pub async fn purge(
    location: &Location,
    now: Timestamp,
    config: &Config,
    cancellation: &CancellationToken,
) -> Result<Purged, DatabaseError> {
    // No session expires before the earliest representable time.
    let kept = SignedDuration::from_hours(24 * i64::from(config.older_than_days));
    let cutoff = now.checked_sub(kept).unwrap_or(Timestamp::MIN).as_second();
    let batch = i64::from(config.batch_size);
    let delete = "DELETE FROM sessions WHERE id IN \
                  (SELECT id FROM sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

    let mut connection = Connection::open(location).await?;
    let mut sessions = 0;
    loop {
        if cancellation.is_cancelled() {
            return Ok(Purged { sessions, stopped_early: true });
        }
        let deleted = connection.execute(delete, vec![vec![cutoff.into(), batch.into()]]).await?;
        sessions += deleted;
        if deleted < u64::from(config.batch_size) {
            return Ok(Purged { sessions, stopped_early: false });
        }
        tracing::info!(sessions, "deleted {sessions} expired sessions so far");
        let pause = Duration::from_millis(config.pause_ms.into());
        cancellation.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

impl Purged {
    fn summary(self) -> String {
        let early = if self.stopped_early { " before it was cancelled" } else { "" };
        format!("deleted {} expired sessions{early}", self.sessions)
    }
}

#[cfg(test)]
mod tests {
    use database::testing::Postgres;

    use super::*;

    const TABLES: [&str; 2] = [
        include_str!("../../run-migrations/migrations/V1__create_users.sql"),
        "CREATE TABLE sessions (id TEXT PRIMARY KEY, email TEXT NOT NULL, expires_at BIGINT NOT NULL)",
    ];
    const DAY: i64 = 24 * 60 * 60;

    fn now() -> Timestamp {
        "2026-11-21T03:00:00Z".parse().unwrap()
    }

    /// Inserts sessions that expired 0, 1, 2, .. days and as many seconds ago.
    async fn with_sessions(location: &Location, count: i64) {
        let mut connection = Connection::open(location).await.unwrap();
        for table in TABLES {
            connection.execute(table, vec![vec![]]).await.unwrap();
        }
        let rows = (0..count).map(|days| {
            let expired = now().as_second() - days * DAY - 1;
            vec![format!("s{days}").as_str().into(), "demo@example.com".into(), expired.into()]
        });
        let insert = "INSERT INTO sessions (id, email, expires_at) VALUES ($1, $2, $3)";
        connection.execute(insert, rows.collect()).await.unwrap();
    }

    async fn purges(location: &Location) {
        with_sessions(location, 20).await;
        let config = Config { batch_size: 3, pause_ms: 1, older_than_days: 7 };
        let told_to_stop = CancellationToken::new();
        told_to_stop.cancel();

        let purged = purge(location, now(), &config, &told_to_stop).await.unwrap();
        assert_eq!(purged, Purged { sessions: 0, stopped_early: true });
        // The sessions of the last seven days stay.
        for sessions in [13, 0] {
            let purged = purge(location, now(), &config, &CancellationToken::new()).await.unwrap();
            assert_eq!(purged, Purged { sessions, stopped_early: false });
        }
    }

    #[tokio::test]
    async fn an_sqlite_file_is_purged_in_batches() {
        let folder = tempfile::tempdir().unwrap();
        purges(&Location::Sqlite(folder.path().join("app.sqlite"))).await;
    }

    #[tokio::test]
    async fn a_postgresql_database_is_purged_in_batches() {
        purges(&Postgres::start().url().parse().unwrap()).await;
    }

    #[tokio::test]
    async fn a_missing_table_is_a_permanent_error() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("app.sqlite"));
        let error = purge(&location, now(), &Config::default(), &CancellationToken::new()).await.unwrap_err();
        assert!(!error.is_temporary() && error.to_string().contains("sessions"), "{error}");
    }
}
