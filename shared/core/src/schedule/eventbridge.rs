//! The form of a schedule for EventBridge Scheduler, if there is one that fires at the same instants.
//!
//! Only documented features without ambiguity are used. So steps in a range become lists. Items that two
//! systems may read differently (`LW`, several `#`) have no form. `rate()` is never used, since it counts
//! from the schedule's creation. Source: EventBridge Scheduler User Guide, "Schedule types".

use std::ops::RangeInclusive;

use super::{
    Schedule,
    fields::{Fields, Item, YEARS},
};

/// The maximum length of an expression. Source: EventBridge Scheduler API Reference, `CreateSchedule`.
const LONGEST: usize = 256;
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The error of a schedule without an EventBridge Scheduler expression for the same instants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("EventBridge Scheduler cannot express `{schedule}`: {reason}")]
pub struct Inexpressible {
    /// The schedule.
    pub schedule: String,
    /// The part without an equivalent.
    pub reason: &'static str,
}

impl Schedule {
    /// Returns the EventBridge Scheduler expression that fires at the same instants in the same time zone.
    ///
    /// Its fields are minute, hour, day of month, month, day of week (1 is Sunday) and year. One of the two
    /// day fields is `?`.
    pub fn to_eventbridge(&self) -> Result<String, Inexpressible> {
        expression(self.fields())
            .map_err(|reason| Inexpressible { schedule: self.as_str().to_owned(), reason })
    }
}

fn expression(fields: &Fields) -> Result<String, &'static str> {
    let Fields { second, minute, hour, day, month, weekday, year, both_days } = fields;
    if !matches!(second.as_deref(), None | Some([Item::Range { first: 0, last: 0, .. }])) {
        return Err("its precision is a minute, and this has seconds");
    }
    let (day, weekday) = match (any(day), any(weekday)) {
        (_, true) => (day_of_month(day)?, "?".to_owned()),
        (true, false) => ("?".to_owned(), day_of_week(weekday)?),
        (false, false) if *both_days => {
            return Err("it must match a day of the month and a day of the week at once");
        }
        (false, false) => return Err("it names both a day of the month and a day of the week"),
    };
    let (minute, hour, month) = (plain(minute, 0..=59)?, plain(hour, 0..=23)?, plain(month, 1..=12)?);
    let year = year.as_ref().map_or_else(|| Ok("*".to_owned()), |year| plain(year, YEARS))?;
    let expression = format!("cron({minute} {hour} {day} {month} {weekday} {year})");
    if expression.len() > LONGEST {
        return Err("its lists are too long for it");
    }
    Ok(expression)
}

/// Returns whether a field is `*`, and so leaves the choice of days to the other day field. `*/1` does not: a
/// day has to match only one of the two fields, and the weekday `*/1` matches every day.
fn any(field: &[Item]) -> bool {
    matches!(field, [Item::Any])
}

/// Writes a field of plain values within `all`.
fn plain(field: &[Item], all: RangeInclusive<u16>) -> Result<String, &'static str> {
    let mut parts = Vec::new();
    for item in field {
        let (values, step) = match *item {
            Item::Any | Item::Every(1) if field.len() == 1 => return Ok("*".to_owned()),
            Item::Every(step) if field.len() == 1 => return Ok(format!("{}/{step}", all.start())),
            Item::Range { first, last, step: 1 } if first < last => {
                parts.push(format!("{first}-{last}"));
                continue;
            }
            Item::Any => (all.clone(), 1),
            Item::Every(step) => (all.clone(), step),
            Item::Range { first, last, step } => (first..=last, step),
            Item::LastDay
            | Item::LastWorkday
            | Item::BeforeLast(_)
            | Item::WorkdayBeforeLast(_)
            | Item::Workday(_)
            | Item::Nth { .. }
            | Item::LastOf(_) => return Err("a letter where it knows none"),
        };
        parts.extend(values.step_by(step.into()).map(|value| value.to_string()));
    }
    Ok(parts.join(","))
}

fn day_of_month(field: &[Item]) -> Result<String, &'static str> {
    match *field {
        [Item::LastDay] => Ok("L".to_owned()),
        [Item::Workday(day)] => Ok(format!("{day}W")),
        [Item::LastWorkday] => Err("`LW` is not in its documentation"),
        [Item::BeforeLast(_) | Item::WorkdayBeforeLast(_)] => {
            Err("days before the month's last, as `L-3` or `L-3W`, are not in its documentation")
        }
        _ if field.iter().all(|item| matches!(item, Item::Any | Item::Every(_) | Item::Range { .. })) => {
            plain(field, 1..=31)
        }
        _ => Err("`L` and `W` are not allowed in a list there"),
    }
}

/// Writes a field of weekdays. A list has names, since numbers mean different weekdays in the two systems. A
/// single item with `#` or `L` has EventBridge's number, as in its documentation.
fn day_of_week(field: &[Item]) -> Result<String, &'static str> {
    match *field {
        [Item::Nth { weekday, nth }] => return Ok(format!("{}#{nth}", weekday + 1)),
        [Item::LastOf(weekday)] => return Ok(format!("{}L", weekday + 1)),
        _ => {}
    }
    let mut chosen = [false; 7];
    for item in field {
        let (first, last, step) = match *item {
            Item::Any => (0, 6, 1),
            Item::Every(step) => (0, 7, step),
            Item::Range { first, last, step } => (first, last, step),
            _ => return Err("`#` and `L` are not allowed in a list there"),
        };
        for day in (first..=last).step_by(step.into()) {
            chosen[usize::from(day % 7)] = true;
        }
    }
    let mut parts: Vec<String> = Vec::new();
    let mut day = 0;
    while day < 7 {
        let run = chosen[day..].iter().take_while(|chosen| **chosen).count();
        match run {
            0 => {}
            1 | 2 => parts.extend(WEEKDAYS[day..day + run].iter().map(|name| (*name).to_owned())),
            _ => parts.push(format!("{}-{}", WEEKDAYS[day], WEEKDAYS[day + run - 1])),
        }
        day += run.max(1);
    }
    Ok(parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g04_a_converted_expression_has_the_same_times() {
        for (ours, theirs) in [
            ("*/5 * * * *", "cron(0/5 * * * ? *)"),
            ("every 5 minutes", "cron(0/5 * * * ? *)"),
            ("0 */5 * * * *", "cron(0/5 * * * ? *)"),
            ("0 6 * * 1", "cron(0 6 ? * MON *)"),
            ("15,45 8-18/2 * jan-mar mon-fri", "cron(15,45 8,10,12,14,16,18 ? 1-3 MON-FRI *)"),
            ("*/20,5 0 1 * *", "cron(0,20,40,5 0 1 * ? *)"),
            ("0 0 1 * ?", "cron(0 0 1 * ? *)"),
            ("0 0 */2 * *", "cron(0 0 1/2 * ? *)"),
            ("0 3 * * 0", "cron(0 3 ? * SUN *)"),
            ("0 3 * * 5-7", "cron(0 3 ? * SUN,FRI,SAT *)"),
            ("0 3 * * */2", "cron(0 3 ? * SUN,TUE,THU,SAT *)"),
            ("0 0 L * *", "cron(0 0 L * ? *)"),
            ("0 0 15W * *", "cron(0 0 15W * ? *)"),
            ("0 0 * * 5#2", "cron(0 0 ? * 6#2 *)"),
            ("0 0 * * FRI#L", "cron(0 0 ? * 6L *)"),
            ("0 0 0 1 1 * 2026-2030/2", "cron(0 0 1 1 ? 2026,2028,2030)"),
            ("0 0 0 1 1 ? 2026,2030", "cron(0 0 1 1 ? 2026,2030)"),
            ("@daily", "cron(0 0 * * ? *)"),
            ("@weekly", "cron(0 0 ? * SUN *)"),
        ] {
            assert_eq!(ours.parse::<Schedule>().unwrap().to_eventbridge().as_deref(), Ok(theirs), "{ours}");
        }
    }

    #[test]
    fn g04_an_expression_without_a_counterpart_is_refused_with_the_reason() {
        for (text, reason) in [
            ("0 0 13 * 5", "both a day of the month and a day of the week"),
            ("0 0 13 * */1", "both a day of the month and a day of the week"),
            ("0 0 13 * +5", "at once"),
            ("*/10 * * * * *", "seconds"),
            ("0 0 LW * *", "`LW`"),
            ("0 0 L-3 * *", "days before the month's last"),
            ("0 0 L-3W * *", "days before the month's last"),
            ("0 0 1,L-3 * *", "in a list"),
            ("0 0 1,L * *", "in a list"),
            ("0 0 * * 5#2,5#3", "in a list"),
            ("0 0 0 1 1 * */2", "too long"),
        ] {
            let error = text.parse::<Schedule>().unwrap().to_eventbridge().unwrap_err();
            assert!(error.reason.contains(reason), "{text}: {error}");
        }
    }
}
