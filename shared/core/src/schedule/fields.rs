//! The fields of a cron expression, read with the place of each fault.
//!
//! This module defines the meaning of each item. The meaning is the same for the pulse and for EventBridge.

use std::{
    fmt,
    ops::{Range, RangeInclusive},
};

use super::fault::InvalidSchedule;
use crate::suggest::nearest;

/// The fields of a cron expression. Each is a list of items of which one must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// 0 to 59; second 0 if there is no such field.
    pub second: Option<Field>,
    /// 0 to 59.
    pub minute: Field,
    /// 0 to 23.
    pub hour: Field,
    /// 1 to 31.
    pub day: Field,
    /// 1 to 12.
    pub month: Field,
    /// 0 to 7, where 0 and 7 are Sunday.
    pub weekday: Field,
    /// 1970 to 2199; every year if there is no such field.
    pub year: Option<Field>,
    /// A day must match both the day of the month and the day of the week (`+MON`). Otherwise one of them
    /// suffices, and a field that is `*` does not count.
    pub both_days: bool,
}

/// One field.
pub type Field = Vec<Item>;

/// One item of a field's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// `*`: every value. It stands alone.
    Any,
    /// `*/n`: every n-th value, from the field's first.
    Every(u16),
    /// `a`, `a-b` or `a-b/n`.
    Range {
        /// The first value.
        first: u16,
        /// The last value, at least the first.
        last: u16,
        /// The step between values, at least 1.
        step: u16,
    },
    /// `L`: the last day of the month.
    LastDay,
    /// `LW`: the last workday (Monday to Friday) of the month.
    LastWorkday,
    /// `L-3`: this many days before the last day of the month, at least 1.
    BeforeLast(u16),
    /// `L-3W`: the workday (Monday to Friday) nearest to that day, in the same month.
    WorkdayBeforeLast(u16),
    /// `15W`: the workday (Monday to Friday) nearest to that day, in the same month.
    Workday(u16),
    /// `MON#2`: the n-th such weekday of the month.
    Nth {
        /// 0 is Sunday.
        weekday: u16,
        /// 1 to 5.
        nth: u16,
    },
    /// `MON#L` or `MONL`: the last such weekday of the month.
    LastOf(u16),
}

impl Item {
    /// Returns whether the item names the value, in a field that begins with `first`.
    pub(super) fn has(self, value: u16, first: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Every(step) => value >= first && (value - first).is_multiple_of(step),
            Self::Range { first, last, step } => {
                (first..=last).contains(&value) && (value - first).is_multiple_of(step)
            }
            _ => false,
        }
    }
}

/// The values that a field allows.
struct Place {
    one: &'static str,
    many: &'static str,
    first: u16,
    last: u16,
    /// The names of its values. The first one is for `named_from`.
    names: &'static [&'static str],
    named_from: u16,
}

const fn place(one: &'static str, many: &'static str, first: u16, last: u16) -> Place {
    Place { one, many, first, last, names: &[], named_from: 0 }
}

/// The maximum number of days before a month's last.
const BEFORE_LAST: u16 = 30;

/// The first and the last year of a schedule. Source: OCPS 1.2, and the limits of EventBridge Scheduler.
pub(super) const YEARS: RangeInclusive<u16> = 1970..=2199;

const SECOND: Place = place("second", "seconds", 0, 59);
const MINUTE: Place = place("minute", "minutes", 0, 59);
const HOUR: Place = place("hour", "hours", 0, 23);
const DAY: Place = place("day of the month", "days of the month", 1, 31);
const MONTH: Place = Place {
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    named_from: 1,
    ..place("month", "months", 1, 12)
};
const WEEKDAY: Place = Place {
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    ..place("day of the week", "days of the week", 0, 7)
};
const YEAR: Place = place("year", "years", *YEARS.start(), *YEARS.end());

/// A part of the text, with its place.
#[derive(Clone, Copy)]
struct Part<'a> {
    whole: &'a str,
    text: &'a str,
    at: usize,
}

impl<'a> Part<'a> {
    fn span(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    fn fault(self, reason: impl Into<String>) -> InvalidSchedule {
        InvalidSchedule::new(self.whole, self.span(), reason)
    }

    /// Returns the part with these bytes of it.
    fn part(self, from: usize, to: usize) -> Self {
        Part { text: &self.text[from..to], at: self.at + from, ..self }
    }

    fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let at = self.text.find(separator)?;
        Some((self.part(0, at), self.part(at + separator.len_utf8(), self.text.len())))
    }

    fn strip_suffix(self, suffix: &str) -> Option<Self> {
        let end = self.text.len().checked_sub(suffix.len())?;
        let ends = self.text.get(end..)?.eq_ignore_ascii_case(suffix);
        ends.then(|| self.part(0, end))
    }

    fn split(self, separator: impl Fn(char) -> bool) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        let mut from = 0;
        for (at, found) in self.text.match_indices(separator) {
            parts.push(self.part(from, at));
            from = at + found.len();
        }
        parts.push(self.part(from, self.text.len()));
        parts
    }
}

impl Fields {
    /// Reads a cron expression of five to seven fields.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidSchedule> {
        let whole = Part { whole: text, text, at: 0 };
        let parts: Vec<_> = whole
            .split(|c| c.is_ascii_whitespace())
            .into_iter()
            .filter(|part| !part.text.is_empty())
            .collect();
        let (second, [minute, hour, day, month, weekday], year) = match parts[..] {
            [minute, hour, day, month, weekday] => (None, [minute, hour, day, month, weekday], None),
            [second, minute, hour, day, month, weekday] => {
                (Some(second), [minute, hour, day, month, weekday], None)
            }
            [second, minute, hour, day, month, weekday, year] => {
                (Some(second), [minute, hour, day, month, weekday], Some(year))
            }
            _ => {
                let count = parts.len();
                let fields = if count == 1 { "field" } else { "fields" };
                let reason = format!(
                    "it has {count} {fields}, and a cron expression has five: minute, hour, day of the month, month, day \
                     of the week; one for seconds may stand before them, and then one for years behind them"
                );
                return Err(whole.fault(reason));
            }
        };
        let both_days = weekday.text.starts_with('+');
        let weekday = if both_days { weekday.part(1, weekday.text.len()) } else { weekday };
        Ok(Self {
            second: second.map(|part| field(part, &SECOND)).transpose()?,
            minute: field(minute, &MINUTE)?,
            hour: field(hour, &HOUR)?,
            day: field(day, &DAY)?,
            month: field(month, &MONTH)?,
            weekday: field(weekday, &WEEKDAY)?,
            year: year.map(|part| field(part, &YEAR)).transpose()?,
            both_days,
        })
    }
}

fn is(place: &Place, other: &Place) -> bool {
    place.one == other.one
}

fn field(part: Part<'_>, place: &Place) -> Result<Field, InvalidSchedule> {
    if part.text == "?" && (is(place, &DAY) || is(place, &WEEKDAY)) {
        return Ok(vec![Item::Any]);
    }
    let parts = part.split(|c| c == ',');
    let items = parts.iter().map(|part| item(*part, place)).collect::<Result<Vec<_>, _>>()?;
    if items.len() > 1 {
        if let Some(i) = items.iter().position(|item| *item == Item::Any) {
            return Err(parts[i].fault("`*` is every value already: it stands alone"));
        }
        let both = items.contains(&Item::LastDay) && items.contains(&Item::LastWorkday);
        if both {
            return Err(part.fault("`L` and `LW` cannot stand in one list"));
        }
    }
    Ok(items)
}

fn item(part: Part<'_>, place: &Place) -> Result<Item, InvalidSchedule> {
    let text = part.text;
    if text.is_empty() {
        return Err(part.fault(format!("a {} is missing here", place.one)));
    }
    if text == "*" {
        return Ok(Item::Any);
    }
    if text == "?" {
        let reason = "`?` stands only for the day of the month or the day of the week";
        return Err(part.fault(reason).hint("write `*`"));
    }
    if let Some((range, step)) = part.split_once('/') {
        return stepped(part, range, step, place);
    }
    if is(place, &DAY)
        && let Some(special) = day(part)?
    {
        return Ok(special);
    }
    if is(place, &WEEKDAY)
        && let Some(special) = weekday(part)?
    {
        return Ok(special);
    }
    let (first, last) = range(part, place)?;
    Ok(Item::Range { first, last, step: 1 })
}

fn stepped(
    part: Part<'_>,
    range_part: Part<'_>,
    step: Part<'_>,
    place: &Place,
) -> Result<Item, InvalidSchedule> {
    let span = place.last - place.first;
    let step = match digits(step.text) {
        Some(0) => return Err(step.fault("a step is at least 1")),
        Some(number) if number > span => {
            let reason = format!(
                "a step of {number} leads out of the {}, which are {} to {}",
                place.many, place.first, place.last
            );
            return Err(step.fault(reason));
        }
        Some(number) => number,
        None => return Err(step.fault("a step is a number: `*/5` is each fifth")),
    };
    match range_part.text {
        // For years, `*/n` becomes a range from the first to the last year.
        "*" if is(place, &YEAR) => return Ok(Item::Range { first: place.first, last: place.last, step }),
        "*" => return Ok(Item::Every(step)),
        "" => return Err(part.fault("a step needs a range before it").hint(format!("write `*/{step}`"))),
        _ => {}
    }
    let (first, last) = range(range_part, place)?;
    if !range_part.text.contains('-') {
        let hint = format!("write `{first}-{}/{step}`", place.last);
        return Err(part.fault("a step needs a range, and not one value, before it").hint(hint));
    }
    // A range of one value has no steps, and is written as the value.
    let step = if first == last { 1 } else { step };
    Ok(Item::Range { first, last, step })
}

/// Reads `L`, `LW`, `L-3`, `L-3W` and `15W`.
fn day(part: Part<'_>) -> Result<Option<Item>, InvalidSchedule> {
    if part.text.eq_ignore_ascii_case("L") {
        return Ok(Some(Item::LastDay));
    }
    if part.text.eq_ignore_ascii_case("LW") {
        return Ok(Some(Item::LastWorkday));
    }
    if let Some((last, before)) = part.split_once('-')
        && last.text.eq_ignore_ascii_case("L")
    {
        return before_last(before).map(Some);
    }
    match part.strip_suffix("W") {
        Some(day) if day.text.contains('-') => {
            Err(part.fault("`W` stands behind one day, not behind a range"))
        }
        Some(day) => Ok(Some(Item::Workday(value(day, &DAY)?))),
        None => Ok(None),
    }
}

/// Reads the `3` of `L-3`, and the `3W` of `L-3W`.
fn before_last(part: Part<'_>) -> Result<Item, InvalidSchedule> {
    let (number, is_workday) = part.strip_suffix("W").map_or((part, false), |number| (number, true));
    match (digits(number.text).filter(|days| *days <= BEFORE_LAST), is_workday) {
        (Some(0), false) => Ok(Item::LastDay),
        (Some(0), true) => Ok(Item::LastWorkday),
        (Some(days), false) => Ok(Item::BeforeLast(days)),
        (Some(days), true) => Ok(Item::WorkdayBeforeLast(days)),
        (None, _) => {
            let reason = format!(
                "behind `L-` stands how many days before the month's last: 0 to {BEFORE_LAST}, and then `W` or nothing"
            );
            Err(if number.text.is_empty() { part.fault(reason) } else { number.fault(reason) })
        }
    }
}

/// Reads a number of digits, without a sign.
fn digits(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Reads `MON#2`, `MON#L` and `MONL`.
fn weekday(part: Part<'_>) -> Result<Option<Item>, InvalidSchedule> {
    if part.text.eq_ignore_ascii_case("L") {
        let reason = "`L` needs its day of the week before it";
        return Err(part.fault(reason).hint("write `FRI#L` for the month's last Friday"));
    }
    if let Some((day, nth)) = part.split_once('#') {
        if day.text.contains('-') {
            return Err(part.fault("`#` stands behind one day of the week, not behind a range"));
        }
        let weekday = value(day, &WEEKDAY)? % 7;
        if nth.text.eq_ignore_ascii_case("L") {
            return Ok(Some(Item::LastOf(weekday)));
        }
        return match digits(nth.text).filter(|n| (1..=5).contains(n) && nth.text.len() == 1) {
            Some(nth) => Ok(Some(Item::Nth { weekday, nth })),
            None => Err(nth.fault("behind `#` stands 1 to 5, or `L` for the last in the month")),
        };
    }
    match part.strip_suffix("L") {
        Some(day) if day.text.contains('-') => {
            Err(part.fault("`L` stands behind one day of the week, not behind a range"))
        }
        Some(day) => Ok(Some(Item::LastOf(value(day, &WEEKDAY)? % 7))),
        None => Ok(None),
    }
}

/// Reads `a` or `a-b`.
fn range(part: Part<'_>, place: &Place) -> Result<(u16, u16), InvalidSchedule> {
    let Some((from, to)) = part.split_once('-') else {
        let only = value(part, place)?;
        return Ok((only, only));
    };
    let (first, last) = (value(from, place)?, value(to, place)?);
    // As the last day of a range, Sunday is 7.
    let last = if is(place, &WEEKDAY) && last == 0 && first > 0 { 7 } else { last };
    if first > last {
        let reason = format!("the range `{}` runs backwards", part.text);
        let hint = format!("write `{first}-{},{}-{last}` to go over the end", place.wrap_last(), place.first);
        return Err(part.fault(reason).hint(hint));
    }
    Ok((first, last))
}

fn value(part: Part<'_>, place: &Place) -> Result<u16, InvalidSchedule> {
    let text = part.text;
    if text.is_empty() {
        return Err(part.fault(format!("a {} is missing here", place.one)));
    }
    if text.chars().all(|c| c.is_ascii_digit()) {
        return text.parse().ok().filter(|n| (place.first..=place.last).contains(n)).ok_or_else(|| {
            let names = if is(place, &WEEKDAY) { ", where 0 and 7 are Sunday" } else { "" };
            part.fault(format!("{} are {} to {}{names}, and not {text}", place.many, place.first, place.last))
        });
    }
    let named = place.names.iter().zip(place.named_from..).find(|(name, _)| name.eq_ignore_ascii_case(text));
    if let Some((_, number)) = named {
        return Ok(number);
    }
    let mut reason = format!("`{text}` is not a {}: they are {} to {}", place.one, place.first, place.last);
    if let (Some(first), Some(last)) = (place.names.first(), place.names.last()) {
        reason = format!("{reason}, or {first} to {last}");
    }
    let fault = part.fault(reason);
    Err(match nearest(text, place.names.iter().copied()) {
        Some(name) => fault.hint(format!("did you mean {name}?")),
        None => fault,
    })
}

impl Place {
    /// Returns the last value before the field wraps. For weekdays it is 6, since 7 is Sunday again.
    fn wrap_last(&self) -> u16 {
        if is(self, &WEEKDAY) { 6 } else { self.last }
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(second) = &self.second {
            write!(f, "{} ", Listed(second))?;
        }
        let both_days = if self.both_days { "+" } else { "" };
        let [minute, hour, day, month, weekday] =
            [&self.minute, &self.hour, &self.day, &self.month, &self.weekday].map(|field| Listed(field));
        write!(f, "{minute} {hour} {day} {month} {both_days}{weekday}")?;
        match &self.year {
            Some(year) => write!(f, " {}", Listed(year)),
            None => Ok(()),
        }
    }
}

struct Listed<'a>(&'a [Item]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{item}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Any => f.write_str("*"),
            Self::Every(step) => write!(f, "*/{step}"),
            Self::Range { first, last, .. } if first == last => write!(f, "{first}"),
            Self::Range { first, last, step: 1 } => write!(f, "{first}-{last}"),
            Self::Range { first, last, step } => write!(f, "{first}-{last}/{step}"),
            Self::LastDay => f.write_str("L"),
            Self::LastWorkday => f.write_str("LW"),
            Self::BeforeLast(days) => write!(f, "L-{days}"),
            Self::WorkdayBeforeLast(days) => write!(f, "L-{days}W"),
            Self::Workday(day) => write!(f, "{day}W"),
            Self::Nth { weekday, nth } => write!(f, "{weekday}#{nth}"),
            Self::LastOf(weekday) => write!(f, "{weekday}#L"),
        }
    }
}
