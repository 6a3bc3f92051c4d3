//! What lamplighter.toml says of a task's run, as settings.

use std::{fmt::Display, str::FromStr};

use lamplighter_core::{
    definition::{Definition, Kind},
    duration,
    settings::Settings,
};
use serde_json::Value;

use crate::{
    config::{self, TaskConfig},
    fault::Faults,
};

/// The settings of one table of overrides. What does not parse is reported under the table's key.
pub(super) fn settings(prefix: &str, layer: &TaskConfig, task: &Definition, faults: &mut Faults) -> Settings {
    let mut reading = Reading { prefix, faults };
    if !matches!(task.kind, Kind::Cron(_)) {
        reading.only_of_cron_tasks(layer, task);
    }
    Settings {
        timeout_ms: reading
            .parsed("timeout", layer.timeout.as_deref(), duration::parse)
            .map(duration::millis),
        max_attempts: layer.attempts,
        schedule: reading.word("schedule", layer.schedule.as_deref()),
        timezone: layer.timezone.clone(),
        priority: reading.word("priority", layer.priority.as_deref()),
        overlap: reading.word("overlap", layer.overlap.as_deref()),
        catch_up: reading.word("catch_up", layer.catch_up.as_deref()),
        retention_days: reading.retention(layer.retention_days),
        config: reading.config(&layer.config),
    }
}

struct Reading<'a> {
    prefix: &'a str,
    faults: &'a mut Faults,
}

impl Reading<'_> {
    fn fault(&mut self, key: &str, reason: impl Display) {
        self.faults.add(config::FILE, format!("{}.{key}", self.prefix), reason);
    }

    fn parsed<T, E: Display>(
        &mut self,
        key: &str,
        text: Option<&str>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(text?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(key, error);
                None
            }
        }
    }

    fn word<T: FromStr<Err: Display>>(&mut self, key: &str, text: Option<&str>) -> Option<T> {
        self.parsed(key, text, str::parse)
    }

    fn retention(&mut self, days: Option<u32>) -> Option<u32> {
        if days == Some(0) {
            self.fault("retention_days", "0 days keep no record: give at least 1");
            return None;
        }
        days
    }

    fn config(&mut self, config: &toml::Table) -> Value {
        if config.is_empty() {
            return Value::Null;
        }
        super::json(config).unwrap_or_else(|(path, name)| {
            self.fault(&format!("config.{path}"), format!("is {name}, for which JSON has no number"));
            Value::Null
        })
    }

    fn only_of_cron_tasks(&mut self, layer: &TaskConfig, task: &Definition) {
        for (key, set) in [
            ("schedule", layer.schedule.is_some()),
            ("timezone", layer.timezone.is_some()),
            ("priority", layer.priority.is_some()),
            ("overlap", layer.overlap.is_some()),
            ("catch_up", layer.catch_up.is_some()),
        ] {
            if set {
                self.fault(key, format!("is for cron tasks, and `{}` has no schedule of its own", task.name));
            }
        }
    }
}
