//! The overrides of one table in lamplighter.toml, as settings.

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

/// Converts one table of overrides to settings. A value that does not parse is a fault.
pub(super) fn settings(prefix: &str, layer: &TaskConfig, task: &Definition, faults: &mut Faults) -> Settings {
    let mut reader = TableReader { prefix, faults };
    if !matches!(task.kind, Kind::Cron(_)) {
        reader.only_of_cron_tasks(layer, task);
    }
    Settings {
        timeout_ms: reader.parsed("timeout", layer.timeout.as_deref(), duration::parse).map(duration::millis),
        max_attempts: layer.attempts,
        schedule: reader.word("schedule", layer.schedule.as_deref()),
        timezone: layer.timezone.clone(),
        priority: reader.word("priority", layer.priority.as_deref()),
        overlap: reader.word("overlap", layer.overlap.as_deref()),
        catch_up: reader.word("catch_up", layer.catch_up.as_deref()),
        retention_days: reader.retention(layer.retention_days),
        config: reader.config(&layer.config),
    }
}

struct TableReader<'a> {
    prefix: &'a str,
    faults: &'a mut Faults,
}

impl TableReader<'_> {
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
            self.fault("retention_days", "expected at least 1 day");
            return None;
        }
        days
    }

    fn config(&mut self, config: &toml::Table) -> Value {
        if config.is_empty() {
            return Value::Null;
        }
        super::json(config).unwrap_or_else(|(path, name)| {
            self.fault(&format!("config.{path}"), format!("is {name}, which JSON cannot represent"));
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
                self.fault(key, format!("is only for cron tasks, and `{}` is none", task.name));
            }
        }
    }
}
