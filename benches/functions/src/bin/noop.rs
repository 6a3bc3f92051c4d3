//! Our task: it does nothing or sleeps, with lock and record. Its name is from the environment, so that one binary serves as
//! several tasks.

use std::time::Duration;

use lamplighter::{
    definition::{Definition, Kind, Lifecycle},
    prelude::*,
};

/// The duration of its body.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
struct Config {
    sleep_ms: u64,
}

struct Noop;

impl Task for Noop {
    type Config = Config;
    type State = ();

    fn definition() -> Definition {
        let name = std::env::var("NOOP_NAME").unwrap_or_else(|_| "noop".to_owned());
        let name = name.parse().expect("the benchmark gives a task's name");
        Definition {
            description: "Does nothing.".to_owned(),
            timeout: Duration::from_secs(20),
            config: serde_json::json!({ "sleep_ms": 0 }),
            config_schema: schemars::schema_for!(Config).to_value(),
            ..Definition::new(name, Kind::Lifecycle(Lifecycle::default()))
        }
    }

    async fn run(&self, ctx: Context<Config>) -> TaskResult {
        if ctx.config.sleep_ms > 0 {
            tokio::time::sleep(Duration::from_millis(ctx.config.sleep_ms)).await;
        }
        Ok(Outcome::success("done"))
    }
}

lamplighter::main!(Noop);
