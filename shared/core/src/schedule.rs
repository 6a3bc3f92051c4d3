//! Static schedules: cron expressions as croner parses them, and their form for EventBridge Scheduler.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A cron expression that parses: five fields (minute, hour, day of month, month, day of week), with seconds
/// and year optional, or a nickname such as `@daily`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule(String);

/// Why a text is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a schedule: {reason}; write a cron expression such as `*/5 * * * *`, or `@daily`")]
pub struct InvalidSchedule {
    /// What was given.
    pub text: String,
    /// What the parser says of it.
    pub reason: String,
}

/// Why a schedule cannot be an EventBridge Scheduler expression of the same instants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("EventBridge Scheduler cannot express `{schedule}`: {reason}")]
pub struct Inexpressible {
    /// The schedule.
    pub schedule: String,
    /// The part of it that has no counterpart.
    pub reason: &'static str,
}

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Schedule {
    /// The schedule as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The EventBridge Scheduler expression that fires at the same minutes in the same time zone.
    ///
    /// Its fields are minute, hour, day of month, month, day of week (1 is Sunday) and year, and one of the
    /// two day fields must be `?`. Source: EventBridge Scheduler User Guide, "Schedule types".
    pub fn to_eventbridge(&self) -> Result<String, Inexpressible> {
        let refused = |reason| Err(Inexpressible { schedule: self.0.clone(), reason });
        let plain = match self.0.to_ascii_lowercase().as_str() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            _ => self.0.as_str(),
        };
        let fields: Vec<_> = plain.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return refused("it has no field for seconds");
        };
        if [minute, hour, day, month]
            .iter()
            .any(|f| f.chars().any(|c| !"0123456789*,-/?".contains(c) && !c.is_alphabetic()))
        {
            return refused("it has a character that EventBridge does not know");
        }
        if day.to_ascii_uppercase().contains(['L', 'W']) {
            return refused("`L` and `W` in the day of the month may differ");
        }
        let (day, weekday) = match (any(day), any(weekday)) {
            (_, true) => (stepped(day, "1"), "?".to_owned()),
            (true, false) => match weekdays(weekday) {
                Some(days) => ("?".to_owned(), days),
                None => return refused("its day of the week is more than a list of days"),
            },
            (false, false) => return refused("it names both a day of the month and a day of the week"),
        };
        let [minute, hour, month] = [stepped(minute, "0"), stepped(hour, "0"), stepped(month, "1")];
        Ok(format!("cron({minute} {hour} {day} {month} {weekday} *)")
            .to_ascii_uppercase()
            .replacen("CRON", "cron", 1))
    }
}

/// Whether a field says nothing.
fn any(field: &str) -> bool {
    matches!(field, "*" | "?")
}

/// A field whose steps begin at `first`, since EventBridge counts them from a value and not from `*`.
fn stepped(field: &str, first: &str) -> String {
    let parts = field.split(',').map(|part| match part.strip_prefix("*/") {
        Some(step) => format!("{first}/{step}"),
        None => part.replace('?', "*"),
    });
    parts.collect::<Vec<_>>().join(",")
}

/// A field of weekdays as a list of names, which mean the same on both sides, as the numbers don't.
fn weekdays(field: &str) -> Option<String> {
    let mut chosen = [false; 7];
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, Some(1)), |(r, s)| (r, s.parse().ok()));
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (weekday(first)?, weekday(last)?),
            None if range == "*" => (0, 6),
            None => (weekday(range)?, weekday(range)?),
        };
        // Sunday is 0 and 7; as the end of a range it is 7.
        let last = if last < first { last + 7 } else { last };
        for day in (first..=last).step_by(step.filter(|s| *s > 0)?) {
            chosen[day % 7] = true;
        }
    }
    let names: Vec<_> =
        WEEKDAYS.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(name, _)| *name).collect();
    Some(names.join(","))
}

/// The number of a weekday, 0 for Sunday.
fn weekday(word: &str) -> Option<usize> {
    let number = word.parse().ok().filter(|n: &usize| *n <= 7);
    number.map(|n| n % 7).or_else(|| WEEKDAYS.iter().position(|name| name.eq_ignore_ascii_case(word)))
}

impl FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        match croner::Cron::from_str(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => {
                let reason = error.to_string().trim_end_matches('.').to_owned();
                Err(InvalidSchedule { text: text.to_owned(), reason })
            }
        }
    }
}

impl TryFrom<String> for Schedule {
    type Error = InvalidSchedule;

    fn try_from(text: String) -> Result<Self, InvalidSchedule> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g04_an_expression_means_the_same_on_both_sides() {
        for (ours, theirs) in [
            ("*/5 * * * *", "cron(0/5 * * * ? *)"),
            ("0 6 * * 1", "cron(0 6 ? * MON *)"),
            ("15,45 8-18/2 * jan-mar mon-fri", "cron(15,45 8-18/2 ? JAN-MAR MON,TUE,WED,THU,FRI *)"),
            ("0 0 1 * *", "cron(0 0 1 * ? *)"),
            ("0 0 */2 * *", "cron(0 0 1/2 * ? *)"),
            ("0 3 * * 0", "cron(0 3 ? * SUN *)"),
            ("0 3 * * 5-7", "cron(0 3 ? * SUN,FRI,SAT *)"),
            ("@daily", "cron(0 0 * * ? *)"),
            ("@weekly", "cron(0 0 ? * SUN *)"),
        ] {
            assert_eq!(ours.parse::<Schedule>().unwrap().to_eventbridge().as_deref(), Ok(theirs), "{ours}");
        }
    }

    #[test]
    fn g04_what_has_no_counterpart_is_said() {
        for text in ["0 0 13 * 5", "*/10 * * * * *", "0 0 * * 5#2", "0 0 L * *", "0 0 15W * *"] {
            let schedule: Schedule = text.parse().unwrap();
            assert!(schedule.to_eventbridge().is_err(), "{text}");
        }
    }

    #[test]
    fn c02_what_is_no_schedule_is_refused() {
        for text in ["", "61 * * * *", "* * *", "@never"] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }
}
