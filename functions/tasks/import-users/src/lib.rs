//! A queue task that imports users.

use database::{Connection, DatabaseError, Location};
use lamplighter::prelude::*;

/// A user to import.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The email address, which identifies the user.
    pub email: String,
    /// The user's name.
    pub name: String,
}

/// The result of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Imported {
    /// The number of users added.
    pub added: u64,
    /// The number of users that already existed. They are unchanged.
    pub known: u64,
}

/// Imports users. Existing users stay unchanged, so that a job can be retried.
#[task(queue, timeout = "1m", result = Imported)]
pub async fn import_users(_ctx: Context, users: Vec<NewUser>) -> TaskResult {
    if let Some(user) = users.iter().find(|user| !user.email.contains('@')) {
        return Ok(Outcome::failure(format!("`{}` is not an email address; no user was added", user.email)));
    }
    let location = Location::from_environment().fatal()?;
    match import(&location, &users).await {
        Ok(imported) => Outcome::success(imported.summary()).with_data(&imported),
        Err(error) if error.is_temporary() => Err(error.into()),
        Err(error) => Err(error).fatal(),
    }
}

/// Inserts the new users in one transaction.
pub async fn import(location: &Location, users: &[NewUser]) -> Result<Imported, DatabaseError> {
    let mut connection = Connection::open(location).await?;
    let rows = users.iter().map(|user| vec![user.email.as_str().into(), user.name.as_str().into()]);
    let insert = "INSERT INTO users (email, name) VALUES ($1, $2) ON CONFLICT (email) DO NOTHING";
    let added = connection.execute(insert, rows.collect()).await?;
    let all = u64::try_from(users.len()).unwrap_or(u64::MAX);
    Ok(Imported { added, known: all.saturating_sub(added) })
}

impl Imported {
    fn summary(self) -> String {
        format!("added {} users; {} already existed", self.added, self.known)
    }
}

#[cfg(test)]
mod tests {
    use database::testing::Postgres;
    use lamplighter::{Status, testing::World};

    use super::*;

    /// The table as the task `run-migrations` creates it.
    const TABLE: &str = include_str!("../../run-migrations/migrations/V1__create_users.sql");

    fn user(email: &str) -> NewUser {
        NewUser { email: email.to_owned(), name: "żółw".to_owned() }
    }

    async fn imports(location: &Location) {
        let users = [user("a@example.com"), user("b@example.com")];
        let unmigrated = import(location, &users).await.unwrap_err();
        assert!(!unmigrated.is_temporary());
        assert!(TaskError::from(unmigrated).to_string().contains("users"));

        let mut connection = Connection::open(location).await.unwrap();
        connection.execute(TABLE, vec![vec![]]).await.unwrap();
        assert_eq!(import(location, &users[..1]).await.unwrap(), Imported { added: 1, known: 0 });
        assert_eq!(import(location, &users).await.unwrap(), Imported { added: 1, known: 1 });
        assert_eq!(import(location, &[]).await.unwrap(), Imported { added: 0, known: 0 });
    }

    #[tokio::test]
    async fn users_are_added_once_to_an_sqlite_file() {
        let folder = tempfile::tempdir().unwrap();
        imports(&Location::Sqlite(folder.path().join("app.sqlite"))).await;
    }

    #[tokio::test]
    async fn users_are_added_once_to_a_postgresql_database() {
        imports(&Postgres::start().url().parse().unwrap()).await;
    }

    #[tokio::test]
    async fn a_job_with_an_invalid_address_fails_at_once_and_names_it() {
        let world = World::new().await;
        let job =
            ImportUsers::enqueue(&world.jobs(), vec![user("a@example.com"), user("nobody")]).await.unwrap();
        assert_eq!(world.enqueued("import-users").await[0].1["users"][1]["email"], "nobody");
        let [run] = &world.drain(ImportUsers).await[..] else { panic!("one run") };
        assert_eq!((run.status, run.attempts.len()), (Status::Failed, 1));
        let error = job.result(std::time::Duration::ZERO).await.unwrap_err();
        assert!(error.to_string().contains("`nobody` is not an email address"), "{error}");
    }
}
