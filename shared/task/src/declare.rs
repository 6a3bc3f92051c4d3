//! What `#[task]` leaves in the code: the words as they were written, made a definition when one is asked for.

use std::time::Duration;

use lamplighter_core::{
    assets::Asset,
    definition::{Cron, DEFAULT_TIMEOUT, Definition, Kind, Lifecycle, OncePer, Phase, Priority, RunOn},
    retry::Retry,
};
use serde_json::Value;

use crate::Task;

/// A task as its attribute declares it. The macro has read each word with the same parser, at the word's place.
#[expect(missing_docs, reason = "each is the attribute's key of the same name")]
pub struct Declared {
    pub name: &'static str,
    pub description: &'static str,
    pub kind: DeclaredKind,
    pub timeout_ms: Option<u64>,
    pub attempts: Option<u32>,
    pub copy_assets: &'static [(&'static str, Option<&'static str>)],
    pub rollback: bool,
}

/// What only tasks of one kind have.
#[expect(missing_docs, reason = "each is the attribute's key of the same name")]
pub enum DeclaredKind {
    Lifecycle {
        run_on: Option<&'static [RunOn]>,
        phase: Phase,
        once_per: OncePer,
        depends_on: &'static [&'static str],
    },
    Cron {
        schedule: &'static str,
        timezone: &'static str,
        priority: Priority,
    },
}

/// The reason why a declared word parses.
const CHECKED: &str = "#[task] has parsed this word at compile time";

impl Declared {
    /// The definition.
    pub fn definition<T: Task>(&self) -> Definition {
        let kind = match &self.kind {
            DeclaredKind::Lifecycle { run_on, phase, once_per, depends_on } => Kind::Lifecycle(Lifecycle {
                run_on: run_on
                    .map_or_else(|| Lifecycle::default().run_on, |words| words.iter().copied().collect()),
                phase: *phase,
                once_per: *once_per,
                depends_on: depends_on.iter().map(|name| name.parse().expect(CHECKED)).collect(),
            }),
            DeclaredKind::Cron { schedule, timezone, priority } => Kind::Cron(Cron {
                timezone: (*timezone).to_owned(),
                priority: *priority,
                ..Cron::new(Some(schedule.parse().expect(CHECKED)))
            }),
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
            // A default that has no JSON leaves the configuration to what overrides it.
            config: serde_json::to_value(T::Config::default()).unwrap_or(Value::Null),
            config_schema: schemars::schema_for!(T::Config).to_value(),
            ..Definition::new(self.name.parse().expect(CHECKED), kind)
        }
    }
}
