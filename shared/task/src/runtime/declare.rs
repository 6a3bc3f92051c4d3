//! The output of `#[task]`: the attribute's values, from which the definition is built at run time.

use std::time::Duration;

use lamplighter_core::{
    assets::Asset,
    definition::{
        Cron, DEFAULT_RETENTION, DEFAULT_TIMEOUT, Definition, Kind, Lifecycle, OncePer, Overlap, Phase,
        Priority, Queue, RunOn, Side,
    },
    name::TaskName,
    retry::Retry,
};
use schemars::JsonSchema;
use serde_json::Value;

use crate::runtime::Task;

/// The values of a task's attribute. The macro has checked each with the same parser.
#[expect(missing_docs, reason = "each is the attribute's key of the same name")]
pub struct Declared {
    pub name: &'static str,
    pub description: &'static str,
    pub kind: DeclaredKind,
    pub timeout_ms: Option<u64>,
    pub attempts: Option<u32>,
    pub copy_assets: &'static [(&'static str, Option<&'static str>)],
    pub rollback: bool,
    pub category: Option<&'static str>,
    pub tags: &'static [&'static str],
    pub enqueues: &'static [&'static str],
    pub retention_ms: Option<u64>,
    pub result: Option<fn() -> Value>,
}

/// The values that only one kind of task has.
#[expect(missing_docs, reason = "each is the attribute's key of the same name")]
pub enum DeclaredKind {
    Lifecycle {
        run_on: Option<&'static [RunOn]>,
        phase: Phase,
        once_per: OncePer,
        depends_on: &'static [&'static str],
    },
    Cron {
        schedule: Option<&'static str>,
        timezone: &'static str,
        priority: Priority,
        overlap: Overlap,
        catch_up: &'static str,
        depends_on: &'static [&'static str],
        jitter_ms: u64,
        run_once: bool,
    },
    Queue {
        priority: Priority,
        concurrency: Option<u32>,
        arguments: fn() -> Value,
    },
    Side,
}

/// The reason why a declared value parses.
const CHECKED: &str = "#[task] has parsed this value at compile time";

/// Returns the JSON Schema of a type.
pub fn schema<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

fn names(names: &[&str]) -> Vec<TaskName> {
    names.iter().map(|name| name.parse().expect(CHECKED)).collect()
}

impl Declared {
    /// Builds the definition of `T`.
    pub fn definition<T: Task>(&self) -> Definition {
        let kind = match &self.kind {
            DeclaredKind::Lifecycle { run_on, phase, once_per, depends_on } => Kind::Lifecycle(Lifecycle {
                run_on: run_on
                    .map_or_else(|| Lifecycle::default().run_on, |words| words.iter().copied().collect()),
                phase: *phase,
                once_per: *once_per,
                depends_on: names(depends_on),
            }),
            DeclaredKind::Cron {
                schedule,
                timezone,
                priority,
                overlap,
                catch_up,
                depends_on,
                jitter_ms,
                run_once,
            } => Kind::Cron(Cron {
                schedule: schedule.map(|expression| expression.parse().expect(CHECKED)),
                timezone: (*timezone).to_owned(),
                priority: *priority,
                overlap: *overlap,
                catch_up: catch_up.parse().expect(CHECKED),
                depends_on: names(depends_on),
                jitter: Duration::from_millis(*jitter_ms),
                run_once: *run_once,
            }),
            DeclaredKind::Queue { priority, concurrency, arguments } => Kind::Queue(Queue {
                priority: *priority,
                concurrency: *concurrency,
                arguments_schema: arguments(),
            }),
            DeclaredKind::Side => Kind::Side(Side {}),
        };
        let retry = Retry::default();
        Definition {
            description: self.description.to_owned(),
            timeout: self.timeout_ms.map_or(DEFAULT_TIMEOUT, Duration::from_millis),
            retry: Retry { max_attempts: self.attempts.unwrap_or(retry.max_attempts), ..retry },
            copy_assets: self
                .copy_assets
                .iter()
                .map(|(from, to)| Asset::new(from, *to).expect(CHECKED))
                .collect(),
            rollback: self.rollback,
            // A default that JSON cannot represent leaves the configuration to its overrides.
            config: serde_json::to_value(T::Config::default()).unwrap_or(Value::Null),
            config_schema: schema::<T::Config>(),
            result_schema: self.result.map_or(Value::Null, |schema| schema()),
            category: self.category.map(str::to_owned),
            tags: self.tags.iter().map(|tag| (*tag).to_owned()).collect(),
            enqueues: names(self.enqueues),
            retention: self.retention_ms.map_or(DEFAULT_RETENTION, Duration::from_millis),
            ..Definition::new(self.name.parse().expect(CHECKED), kind)
        }
    }
}
