//! The environment variables of a runner, such as `TASK_*`, read once.

use std::{fmt::Display, time::Duration};

use lamplighter_aws::environment::NotText;
use lamplighter_core::{
    definition::{DEFAULT_TIMEOUT, Kind, MAX_TIMEOUT, Overlap},
    duration,
    retry::Retry,
    settings::Settings,
};
use lamplighter_project::{Project, Task};

/// The default pause between two searches for lost runs and missed ticks.
const INTERVAL: Duration = Duration::from_secs(60);
/// The longest pause between two searches.
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
/// The largest value of `TASK_DEFAULT_RETRIES`.
const MOST_RETRIES: u32 = 99;

/// The values of the variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variables {
    /// `TASK_RUNNER_ENABLED`: enables the runner.
    pub enabled: bool,
    /// `TASK_RUNNER_ENVIRONMENT`: the environment, unless the command line names one.
    pub environment: Option<String>,
    /// `TASK_DEFAULT_TIMEOUT`: the timeout of tasks that set none.
    pub timeout: Option<Duration>,
    /// `TASK_DEFAULT_RETRIES`: the number of retries of tasks that set none.
    pub retries: Option<u32>,
    /// `TASK_OVERLAP_PREVENTION`: skips a tick during a run in progress, for tasks that set no other policy.
    pub overlap_prevention: bool,
    /// `PULSE_INTERVAL`: the pause between two searches for lost runs and missed ticks.
    pub interval: Duration,
    /// `SIDE_TASKS_ENABLED`: enables side tasks.
    pub side_tasks: bool,
}

/// An invalid variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVariable {
    /// Its value is not allowed.
    #[error("{name} is `{value}`: it must be {wanted}")]
    Value {
        /// The variable.
        name: &'static str,
        /// The value.
        value: String,
        /// The allowed values.
        wanted: String,
    },
    /// Its value is not UTF-8.
    #[error(transparent)]
    NotText(#[from] NotText),
}

impl Variables {
    /// Reads the variables. A missing or empty one has its default.
    pub fn read(variable: impl Fn(&str) -> Result<Option<String>, NotText>) -> Result<Self, InvalidVariable> {
        let switch = |name, default| variable(name)?.map_or(Ok(default), |value| boolean(name, value));
        Ok(Self {
            enabled: switch("TASK_RUNNER_ENABLED", true)?,
            environment: variable("TASK_RUNNER_ENVIRONMENT")?,
            timeout: variable("TASK_DEFAULT_TIMEOUT")?
                .map(|value| time("TASK_DEFAULT_TIMEOUT", value, MAX_TIMEOUT))
                .transpose()?,
            retries: variable("TASK_DEFAULT_RETRIES")?.map(retries).transpose()?,
            overlap_prevention: switch("TASK_OVERLAP_PREVENTION", true)?,
            interval: variable("PULSE_INTERVAL")?
                .map_or(Ok(INTERVAL), |value| time("PULSE_INTERVAL", value, LONGEST_INTERVAL))?,
            side_tasks: switch("SIDE_TASKS_ENABLED", true)?,
        })
    }

    /// Applies the defaults to the tasks of a project, unless the task or lamplighter.toml sets a value.
    pub fn apply(&self, project: &mut Project) {
        for task in &mut project.tasks {
            let settings =
                self.for_task(task).overridden_by(task.settings.clone(), &task.definition.config_schema);
            task.definition = settings.applied_to(task.definition.clone());
            task.settings = settings;
        }
    }

    fn for_task(&self, task: &Task) -> Settings {
        let definition = &task.definition;
        let has_default_overlap =
            matches!(&definition.kind, Kind::Cron(cron) if cron.overlap == Overlap::Skip);
        let timeout = self.timeout.filter(|_| definition.timeout == DEFAULT_TIMEOUT);
        let default = Retry::default().max_attempts;
        Settings {
            timeout_ms: timeout.map(duration::millis),
            max_attempts: self.retries.filter(|_| definition.retry.max_attempts == default).map(|n| n + 1),
            overlap: (has_default_overlap && !self.overlap_prevention).then_some(Overlap::Allow),
            ..Settings::default()
        }
    }
}

fn boolean(name: &'static str, value: String) -> Result<bool, InvalidVariable> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(InvalidVariable::Value { name, value, wanted: "true or false".to_owned() }),
    }
}

fn retries(value: String) -> Result<u32, InvalidVariable> {
    let number = value.parse().ok().filter(|number| *number <= MOST_RETRIES);
    let wanted = format!("a whole number from 0 to {MOST_RETRIES}");
    number.ok_or(InvalidVariable::Value { name: "TASK_DEFAULT_RETRIES", value, wanted })
}

/// Reads a time: a number of seconds, or a text such as 30s.
fn time(name: &'static str, value: String, longest: Duration) -> Result<Duration, InvalidVariable> {
    let seconds = value.parse().ok().map(Duration::from_secs);
    let time = seconds.or_else(|| duration::parse(&value).ok());
    let limits = Duration::from_secs(1)..=longest;
    time.filter(|time| limits.contains(time)).ok_or_else(|| InvalidVariable::Value {
        name,
        value,
        wanted: format!("a number of seconds, or a time such as 30s or 2m, from 1s to {}", shown(longest)),
    })
}

fn shown(time: Duration) -> impl Display {
    format!("{}m", time.as_secs() / 60)
}

#[cfg(test)]
mod tests {
    use lamplighter_aws::environment::text;

    use super::*;

    fn read(all: &[(&str, &str)]) -> Result<Variables, String> {
        let find =
            |name: &str| text(name, all.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).into()));
        Variables::read(find).map_err(|error| error.to_string())
    }

    #[test]
    fn s07_each_variable_changes_only_its_own_value() {
        let defaults = read(&[("TASK_DEFAULT_TIMEOUT", "")]).unwrap();
        assert_eq!((defaults.enabled, defaults.interval, defaults.side_tasks), (true, INTERVAL, true));
        let cases: [(&str, &str, Variables); 7] = [
            ("TASK_RUNNER_ENABLED", "false", Variables { enabled: false, ..defaults.clone() }),
            (
                "TASK_RUNNER_ENVIRONMENT",
                "staging",
                Variables { environment: Some("staging".into()), ..defaults.clone() },
            ),
            (
                "TASK_DEFAULT_TIMEOUT",
                "90",
                Variables { timeout: Some(Duration::from_secs(90)), ..defaults.clone() },
            ),
            ("TASK_DEFAULT_RETRIES", "0", Variables { retries: Some(0), ..defaults.clone() }),
            ("TASK_OVERLAP_PREVENTION", "off", Variables { overlap_prevention: false, ..defaults.clone() }),
            ("PULSE_INTERVAL", "2m", Variables { interval: Duration::from_secs(120), ..defaults.clone() }),
            ("SIDE_TASKS_ENABLED", "No", Variables { side_tasks: false, ..defaults.clone() }),
        ];
        for (name, value, wanted) in cases {
            assert_eq!(read(&[(name, value)]), Ok(wanted), "{name}");
        }
    }

    #[test]
    fn s07_an_invalid_value_is_an_error_with_the_variables_name_and_the_allowed_values() {
        for (name, value, wanted) in [
            ("TASK_RUNNER_ENABLED", "maybe", "true or false"),
            ("TASK_DEFAULT_TIMEOUT", "2h", "from 1s to 15m"),
            ("TASK_DEFAULT_TIMEOUT", "0", "from 1s to 15m"),
            ("TASK_DEFAULT_TIMEOUT", "soon", "a number of seconds"),
            ("TASK_DEFAULT_RETRIES", "-1", "a whole number from 0 to 99"),
            ("TASK_OVERLAP_PREVENTION", "2", "true or false"),
            ("PULSE_INTERVAL", "1d", "from 1s to 60m"),
            ("SIDE_TASKS_ENABLED", "x", "true or false"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(&format!("{name} is `{value}`: it must be ")), "{error}");
            assert!(error.contains(wanted), "{error}");
        }
    }
}
