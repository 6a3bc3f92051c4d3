//! What the environment says to a runner: its `TASK_*` variables, read once and only here.

use std::{fmt::Display, time::Duration};

use lamplighter_aws::environment::NotText;
use lamplighter_core::{
    definition::{DEFAULT_TIMEOUT, Kind, MAX_TIMEOUT, Overlap},
    duration,
    retry::Retry,
    settings::Settings,
};
use lamplighter_project::{Project, Task};

/// How often a runner looks for what was lost or missed, unless told otherwise.
const INTERVAL: Duration = Duration::from_secs(60);
/// The longest time between two looks.
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
/// The most retries that may stand there.
const MOST_RETRIES: u32 = 99;

/// What the environment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variables {
    /// `TASK_RUNNER_ENABLED`: whether a runner starts at all.
    pub enabled: bool,
    /// `TASK_RUNNER_ENVIRONMENT`: the environment, where the command line names none.
    pub environment: Option<String>,
    /// `TASK_DEFAULT_TIMEOUT`: the time of a run of tasks that have the usual one.
    pub timeout: Option<Duration>,
    /// `TASK_DEFAULT_RETRIES`: how often a body is tried again, of tasks that have the usual number of attempts.
    pub retries: Option<u32>,
    /// `TASK_OVERLAP_PREVENTION`: whether a tick that meets a run in progress is skipped, of tasks that have the usual
    /// policy.
    pub overlap_prevention: bool,
    /// `PULSE_INTERVAL`: how often it is looked for what was lost or missed.
    pub interval: Duration,
    /// `SIDE_TASKS_ENABLED`: whether side tasks run.
    pub side_tasks: bool,
}

/// A variable that has no value it may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVariable {
    /// Its text is none of those it may be.
    #[error("{name} is `{value}`: it must be {wanted}")]
    Value {
        /// The variable.
        name: &'static str,
        /// What it is.
        value: String,
        /// What may stand there.
        wanted: String,
    },
    /// It has no text.
    #[error(transparent)]
    NotText(#[from] NotText),
}

impl Variables {
    /// Reads the variables; one that is missing or empty says nothing.
    pub fn read(said: impl Fn(&str) -> Result<Option<String>, NotText>) -> Result<Self, InvalidVariable> {
        let word = |name, otherwise| said(name)?.map_or(Ok(otherwise), |value| truth(name, value));
        Ok(Self {
            enabled: word("TASK_RUNNER_ENABLED", true)?,
            environment: said("TASK_RUNNER_ENVIRONMENT")?,
            timeout: said("TASK_DEFAULT_TIMEOUT")?
                .map(|value| time("TASK_DEFAULT_TIMEOUT", value, MAX_TIMEOUT))
                .transpose()?,
            retries: said("TASK_DEFAULT_RETRIES")?.map(retries).transpose()?,
            overlap_prevention: word("TASK_OVERLAP_PREVENTION", true)?,
            interval: said("PULSE_INTERVAL")?
                .map_or(Ok(INTERVAL), |value| time("PULSE_INTERVAL", value, LONGEST_INTERVAL))?,
            side_tasks: word("SIDE_TASKS_ENABLED", true)?,
        })
    }

    /// Gives the defaults to the tasks of a project that have the usual ones, and for which lamplighter.toml says nothing.
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
        let has_usual_overlap = matches!(&definition.kind, Kind::Cron(cron) if cron.overlap == Overlap::Skip);
        let timeout = self.timeout.filter(|_| definition.timeout == DEFAULT_TIMEOUT);
        let usual = Retry::default().max_attempts;
        Settings {
            timeout_ms: timeout.map(duration::millis),
            max_attempts: self.retries.filter(|_| definition.retry.max_attempts == usual).map(|n| n + 1),
            overlap: (has_usual_overlap && !self.overlap_prevention).then_some(Overlap::Allow),
            ..Settings::default()
        }
    }
}

fn truth(name: &'static str, value: String) -> Result<bool, InvalidVariable> {
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

/// A time: a number of seconds, or as people write it.
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
    fn s07_each_variable_changes_what_it_names_and_nothing_else() {
        let usual = read(&[("TASK_DEFAULT_TIMEOUT", "")]).unwrap();
        assert_eq!((usual.enabled, usual.interval, usual.side_tasks), (true, INTERVAL, true));
        let cases: [(&str, &str, Variables); 7] = [
            ("TASK_RUNNER_ENABLED", "false", Variables { enabled: false, ..usual.clone() }),
            (
                "TASK_RUNNER_ENVIRONMENT",
                "staging",
                Variables { environment: Some("staging".into()), ..usual.clone() },
            ),
            (
                "TASK_DEFAULT_TIMEOUT",
                "90",
                Variables { timeout: Some(Duration::from_secs(90)), ..usual.clone() },
            ),
            ("TASK_DEFAULT_RETRIES", "0", Variables { retries: Some(0), ..usual.clone() }),
            ("TASK_OVERLAP_PREVENTION", "off", Variables { overlap_prevention: false, ..usual.clone() }),
            ("PULSE_INTERVAL", "2m", Variables { interval: Duration::from_secs(120), ..usual.clone() }),
            ("SIDE_TASKS_ENABLED", "No", Variables { side_tasks: false, ..usual.clone() }),
        ];
        for (name, value, wanted) in cases {
            assert_eq!(read(&[(name, value)]), Ok(wanted), "{name}");
        }
    }

    #[test]
    fn s07_a_bad_value_is_told_with_the_variables_name_and_what_may_stand_there() {
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
