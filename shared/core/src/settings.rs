//! Settings: overrides of a task's definition by a project or an environment.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    catch_up::CatchUp,
    definition::{Definition, Kind, Overlap, Priority},
    schedule::Schedule,
    schema::merged,
};

/// The default environment.
pub const DEFAULT_ENVIRONMENT: &str = "dev";

/// Overrides for one task. A setting that is left out stays as the task defines it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The time limit of one run, all its attempts together, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The number of attempts in total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// The schedule of a cron task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// The IANA name of the schedule's time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// The policy for a tick that comes while a run is in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// The policy for missed ticks: those that nothing started at their time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// The time for which records of runs are kept, in days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// Configuration that overrides the task's own key by key.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
}

impl Settings {
    /// Reads settings from JSON text. The error never contains values of the configuration.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        // A struct by itself would also be read from a list.
        let settings: serde_json::Map<String, Value> = serde_json::from_str(text)?;
        serde_json::from_value(Value::Object(settings))
    }

    /// Returns the definition with these settings applied.
    #[must_use]
    pub fn applied_to(&self, mut definition: Definition) -> Definition {
        if let Some(timeout_ms) = self.timeout_ms {
            definition.timeout = Duration::from_millis(timeout_ms);
        }
        if let Some(max_attempts) = self.max_attempts {
            definition.retry.max_attempts = max_attempts;
        }
        if let Some(days) = self.retention_days {
            definition.retention = Duration::from_secs(u64::from(days) * 24 * 3600);
        }
        if let Kind::Cron(cron) = &mut definition.kind {
            cron.schedule = self.schedule.clone().or(cron.schedule.take());
            cron.timezone = self.timezone.clone().unwrap_or(std::mem::take(&mut cron.timezone));
            cron.priority = self.priority.unwrap_or(cron.priority);
            cron.overlap = self.overlap.unwrap_or(cron.overlap);
            cron.catch_up = self.catch_up.unwrap_or(cron.catch_up);
        }
        definition.config = merged(definition.config, self.config.clone(), &definition.config_schema);
        definition
    }

    /// Returns these settings overridden by `over`, for a task whose configuration has this schema.
    #[must_use]
    pub fn overridden_by(mut self, over: Self, config_schema: &Value) -> Self {
        self.timeout_ms = over.timeout_ms.or(self.timeout_ms);
        self.max_attempts = over.max_attempts.or(self.max_attempts);
        self.schedule = over.schedule.or(self.schedule);
        self.timezone = over.timezone.or(self.timezone);
        self.priority = over.priority.or(self.priority);
        self.overlap = over.overlap.or(self.overlap);
        self.catch_up = over.catch_up.or(self.catch_up);
        self.retention_days = over.retention_days.or(self.retention_days);
        self.config = merged(self.config, over.config, config_schema);
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn l09_overrides_merge_key_by_key_and_keep_their_types() {
        let base =
            Settings { config: json!({ "a": 1, "b": { "c": true, "d": "x" } }), ..Settings::default() };
        let over =
            Settings { config: json!({ "b": { "d": 7 } }), max_attempts: Some(1), ..Settings::default() };
        let both = base.overridden_by(over, &Value::Null);
        assert_eq!(both.config, json!({ "a": 1, "b": { "c": true, "d": 7 } }));
        assert_eq!((both.max_attempts, both.timeout_ms), (Some(1), None));
    }

    #[test]
    fn an_unknown_setting_is_an_error() {
        let error = Settings::parse(r#"{ "timeout": 1 }"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `timeout`"), "{error}");
        let error = Settings::parse("[1000, 2]").unwrap_err();
        assert!(error.to_string().contains("invalid type: sequence, expected a map"), "{error}");
    }
}
