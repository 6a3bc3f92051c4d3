//! Schedules that never fire: by their fields, by years that have passed, or by clock changes.

use std::{ops::Range, time::Duration};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::{
    Schedule,
    calendar::Calendar,
    fault::InvalidSchedule,
    fields::{Fields, Item},
};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// The maximum number of days of each month.
const LENGTHS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// The places of the date's fields in a cron expression.
struct Places {
    day: Range<usize>,
    month: Range<usize>,
    weekday: Range<usize>,
    year: Range<usize>,
}

impl Places {
    /// Returns the places in a text that was read as these fields.
    fn of(text: &str, fields: &Fields) -> Self {
        let words = text.split_ascii_whitespace().map(|word| {
            // A word is a slice of the text, so its address shows its place.
            let from = word.as_ptr() as usize - text.as_ptr() as usize;
            from..from + word.len()
        });
        let mut dates = words.skip(if fields.second.is_some() { 3 } else { 2 });
        let mut next = || dates.next().unwrap_or(0..text.len());
        Self { day: next(), month: next(), weekday: next(), year: next() }
    }
}

/// Returns the error of fields that match no date of any allowed year; none if one matches.
pub(super) fn never(text: &str, fields: &Fields, calendar: &Calendar) -> Option<InvalidSchedule> {
    if calendar.next_after(DateTime::MIN).is_some() {
        return None;
    }
    let places = Places::of(text, fields);
    let word = |place: &Range<usize>| text.get(place.clone()).unwrap_or_default();
    let (day, weekday) = (word(&places.day), word(&places.weekday));
    let fires = |change: &dyn Fn(&mut Fields)| {
        let mut other = fields.clone();
        change(&mut other);
        Calendar::of(&other).next_after(DateTime::MIN).is_some()
    };
    let months = months(fields);
    let of_months = |months: &[usize]| {
        let names: Vec<_> = months.iter().map(|month| MONTHS[*month]).collect();
        match names[..] {
            [one] => one.to_owned(),
            [_, _, _, _, _, _, _, _, _, _, _, _] => "any month".to_owned(),
            _ => format!("any of {}", names.join(", ")),
        }
    };
    Some(if fields.year.is_some() && fires(&|fields| fields.year = None) {
        let reason = format!("it never fires: the years {} have no such day", word(&places.year));
        InvalidSchedule::new(text, places.day.start..places.year.end, reason)
    } else if fields.both_days && fires(&|fields| fields.weekday = vec![Item::Any]) {
        let reason =
            format!("it never fires: no day is both `{day}` of {} and `{weekday}`", of_months(&months));
        InvalidSchedule::new(text, places.day.start..places.weekday.end, reason)
            .hint("without `+` either of them is enough")
    } else {
        let longest = months.iter().map(|month| LENGTHS[*month]).max().unwrap_or(31);
        let reason = format!("it never fires: `{day}` is no day of {}", of_months(&months));
        InvalidSchedule::new(text, places.day.start..places.month.end, reason)
            .hint(format!("days are 1 to {longest} there, and `L` is the last one"))
    })
}

/// Returns the months of the fields, from 0.
fn months(fields: &Fields) -> Vec<usize> {
    let is_named = |month: &usize| {
        let only = u16::try_from(month + 1).unwrap_or(12);
        fields.month.iter().any(|item| item.has(only, 1))
    };
    (0..12).filter(is_named).collect()
}

impl Schedule {
    /// Returns the first tick after an instant, for a schedule that a person has entered. If the schedule never
    /// fires after that instant in this time zone, the error shows the place of the fault.
    pub fn first_after(&self, zone: &TimeZone, now: Timestamp) -> Result<Timestamp, InvalidSchedule> {
        if let Some(tick) = self.next_after(zone, now) {
            return Ok(tick);
        }
        let text = self.as_str();
        let fault = |span, reason| InvalidSchedule::new(text, span, reason);
        let year = self.fields().year.as_ref().map(|_| Places::of(text, self.fields()).year);
        let until = now.checked_add(Duration::from_nanos(1)).unwrap_or(now);
        Err(match (self.last_before(zone, until), year) {
            (Some(last), Some(place)) => {
                fault(place, format!("it never fires again: its last time was {last}"))
                    .hint("name a year that is yet to come")
            }
            _ => fault(
                0..text.len(),
                "it never fires: a clock change of its time zone leaves out each of its times".to_owned(),
            )
            .hint("write another hour, or another time zone"),
        })
    }
}
