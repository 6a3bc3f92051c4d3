//! Schedules: their language, their ticks, the due ones among them, and their form for EventBridge Scheduler.
//! docs/schedules.md is the documentation for authors.

mod calendar;
mod clock;
mod driver;
mod due;
mod eventbridge;
mod fault;
mod fields;
mod never;
mod shorthand;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use self::calendar::Calendar;
pub use self::{
    driver::{Driver, Reason, driver},
    due::{Due, GRACE, MOST_TICKS, Missed, PULSE, due, put_off},
    eventbridge::Inexpressible,
    fault::InvalidSchedule,
    fields::{Field, Fields, Item},
};

/// The maximum length of a schedule's text, in bytes.
pub const MAX_TEXT: usize = 256;

/// A valid schedule as it was written: a cron expression of five fields (minute, hour, day of month, month,
/// day of week), with optional seconds and year; a nickname such as `@daily`; or `every 5 minutes`.
///
/// Two schedules are equal if their texts are. A clone is cheap.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    text: Arc<str>,
    parsed: Arc<Parsed>,
}

/// The meaning of a text, and the form in which its times are computed.
struct Parsed {
    fields: Fields,
    calendar: Calendar,
}

impl Schedule {
    /// Returns the schedule as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the fields, for nicknames and phrases too: `every 5 minutes` is `*/5 * * * *`. They display as
    /// a cron expression in numbers.
    pub fn fields(&self) -> &Fields {
        &self.parsed.fields
    }
}

impl FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        if text.len() > MAX_TEXT {
            let shown: String = text.chars().take(40).chain(['…']).collect();
            let reason = format!("it is longer than {MAX_TEXT} bytes");
            return Err(InvalidSchedule::new(&shown, 0..shown.len(), reason));
        }
        if let Some(fault) = InvalidSchedule::of_spaces(text) {
            return Err(fault);
        }
        if text.trim_ascii().is_empty() {
            let fault = InvalidSchedule::new(text, text.len()..text.len(), "it is empty");
            return Err(fault.hint("write a cron expression such as `*/5 * * * *`, or `every 5 minutes`"));
        }
        let fields = match shorthand::expand(text).transpose()? {
            Some(expression) => Fields::parse(&expression)?,
            None => Fields::parse(text)?,
        };
        let calendar = Calendar::of(&fields);
        match never::never(text, &fields, &calendar) {
            None => Ok(Self { text: text.into(), parsed: Arc::new(Parsed { fields, calendar }) }),
            Some(fault) => Err(fault),
        }
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schedule {}

impl Hash for Schedule {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schedule").field(&self.text).finish()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
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
        schedule.text.as_ref().to_owned()
    }
}
