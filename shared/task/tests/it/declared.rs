//! The definitions that `#[task]` generates, and a task without the attribute.

use std::time::Duration;

use lamplighter::{
    Task,
    definition::{Definition, Kind, Lifecycle, Overlap, Priority},
};
use lamplighter_core::catch_up::CatchUp;

mod nightly {
    use lamplighter::prelude::*;

    /// Purges what has expired.
    ///
    ///     as it stood
    #[task(
        schedule = "0 3 * * MON-FRI",
        timezone = "Europe/Vienna",
        priority = High,
        overlap = Buffer,
        catch_up = "all within 1h",
        jitter = "5m",
        timeout = "1m 30s",
        attempts = 1,
    )]
    pub async fn purge(_ctx: Context) -> TaskResult {
        Ok(Outcome::success("purged"))
    }
}

mod watched {
    use lamplighter::prelude::*;

    #[derive(Serialize, JsonSchema)]
    pub struct Found {
        pub files: u32,
    }

    #[expect(clippy::unused_async, reason = "a schedule function is async even if it awaits nothing")]
    async fn has_files(ctx: Context) -> Due {
        Ok(ctx.scheduled_for().is_some())
    }

    /// Imports the files in a folder.
    #[task(
        schedule = has_files,
        overlap = Replace,
        catch_up = None,
        depends_on = ["seed-data"],
        run_once = true,
        category = "intake",
        tags = ["files", "nightly"],
        retention = "90d",
        result = Vec<Found>,
    )]
    pub async fn take_in(_ctx: Context) -> TaskResult {
        Outcome::success("taken").with_data(&[Found { files: 1 }])
    }
}

mod plain {
    use lamplighter::prelude::*;

    #[task]
    pub async fn greet(_ctx: Context) -> TaskResult {
        Ok(Outcome::success("hello"))
    }
}

mod migrations {
    use lamplighter::prelude::*;

    #[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
    pub struct Config {
        pub dry_run: bool,
    }

    mod checks {
        pub fn check(ctx: &lamplighter::Context<super::Config>) -> lamplighter::Validity {
            if ctx.config.dry_run { Err("not dry".to_owned()) } else { Ok(()) }
        }
    }

    #[expect(clippy::unused_async, reason = "a rollback is async as its task is")]
    async fn undo(_ctx: Context<Config>) -> TaskResult {
        Ok(Outcome::success("undone"))
    }

    #[task(
        run_on = ["deploy"],
        phase = After,
        once_per = Content,
        depends_on = ["seed-data"],
        copy_assets = ["migrations", ("scripts/setup.sql", "sql/setup.sql")],
        validate = checks::check,
        rollback = undo,
    )]
    pub(crate) async fn run_migrations(ctx: lamplighter::Context<Config>) -> TaskResult {
        Ok(Outcome::success(ctx.environment()))
    }
}

mod by_hand {
    use lamplighter::prelude::*;

    use super::{Definition, Duration, Kind, Lifecycle};

    pub(super) struct Seed;

    impl Task for Seed {
        type Config = ();
        type State = ();

        fn definition() -> Definition {
            Definition {
                description: "Seeds.".to_owned(),
                timeout: Duration::from_secs(60),
                ..Definition::new("seed".parse().unwrap(), Kind::Lifecycle(Lifecycle::default()))
            }
        }

        async fn run(&self, _ctx: Context) -> TaskResult {
            Ok(Outcome::success("seeded"))
        }
    }
}

#[test]
fn a_task_can_be_written_by_hand() {
    assert_eq!(by_hand::Seed::definition().faults(), []);
    let _: fn(by_hand::Seed) -> std::process::ExitCode = lamplighter::start;
}

#[test]
fn every_key_of_a_cron_task_is_in_its_definition() {
    let purge = nightly::Purge::definition();
    assert_eq!(purge.faults(), []);
    assert_eq!(purge.description, "Purges what has expired.\n\n    as it stood");
    let cron = purge.cron().unwrap();
    assert_eq!((cron.timezone.as_str(), cron.priority), ("Europe/Vienna", Priority::High));
    assert_eq!((cron.schedule.as_ref().unwrap().as_str(), purge.timeout.as_secs()), ("0 3 * * MON-FRI", 90));
    assert_eq!(purge.retry.max_attempts, 1);
    assert_eq!((cron.overlap, cron.catch_up.to_string().as_str()), (Overlap::Buffer, "all within 1h"));
    assert_eq!((cron.jitter.as_secs(), cron.run_once, cron.depends_on.len()), (300, false, 0));
    assert_eq!(purge.result_schema, serde_json::Value::Null);
}

#[test]
fn c04_a_function_can_replace_the_cron_expression() {
    let take_in = watched::TakeIn::definition();
    assert_eq!(take_in.faults(), []);
    let cron = take_in.cron().unwrap();
    assert_eq!((&cron.schedule, cron.overlap, cron.catch_up), (&None, Overlap::Replace, CatchUp::None));
    assert_eq!((cron.depends_on[0].as_str(), cron.run_once), ("seed-data", true));
    assert_eq!(take_in.category.as_deref(), Some("intake"));
    assert_eq!(take_in.tags.iter().collect::<Vec<_>>(), ["files", "nightly"]);
    assert_eq!(take_in.retention.as_secs(), 90 * 24 * 3600);
    assert_eq!(take_in.result_schema["type"], "array");
    assert_eq!(take_in.result_schema["$defs"]["Found"]["required"][0], "files");
}

#[test]
fn every_key_of_a_lifecycle_task_is_in_its_definition() {
    let migrations = migrations::RunMigrations::definition();
    assert_eq!(migrations.faults(), []);
    assert_eq!(migrations.name.as_str(), "run-migrations");
    let lifecycle = migrations.lifecycle().unwrap();
    assert_eq!(lifecycle.run_on.iter().map(|change| change.as_str()).collect::<Vec<_>>(), ["deploy"]);
    assert_eq!((lifecycle.phase.as_str(), lifecycle.once_per.as_str()), ("after", "content"));
    assert_eq!(lifecycle.depends_on[0].as_str(), "seed-data");
    assert_eq!(migrations.copy_assets[1].to, "sql/setup.sql");
    assert!(migrations.rollback);
}

#[test]
fn l03_without_keys_the_defaults_apply() {
    let plain = plain::Greet::definition();
    assert_eq!((plain.timeout.as_secs(), plain.retry.max_attempts), (300, 3));
    assert_eq!(plain.lifecycle(), Some(&Lifecycle::default()));
    assert_eq!((plain.copy_assets.len(), plain.rollback, plain.description.as_str()), (0, false, ""));
}
