//! Phrases: schedules taken apart for [`schedule`](super::schedule). A schedule that no phrase describes exactly has none.

use lamplighter_core::schedule::{Field, Fields, Item};

/// The most times of a day, or minutes of an hour, that a phrase lists.
const MAX_LISTED: usize = 6;

/// When a schedule fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phrase {
    pub(super) time: Time,
    /// The days, one of which must match; empty for every day.
    pub(super) days: Vec<Days>,
    /// The months, 1 to 12; empty for every month.
    pub(super) months: Span,
    pub(super) year: Option<u16>,
}

/// The times of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Time {
    EverySeconds(u16),
    EveryMinutes(u16),
    EveryHours(u16),
    /// Every so many minutes between two times.
    MinutesWithin(u16, Clock, Clock),
    /// Every so many hours between two times.
    HoursWithin(u16, Clock, Clock),
    /// At these minutes of every hour.
    OfEveryHour(Vec<u16>),
    At(Vec<Clock>),
}

/// Hour, minute and second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock(pub(super) u16, pub(super) u16, pub(super) u16);

/// Some values of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Each(Vec<u16>),
    /// At least three consecutive values.
    FromTo(u16, u16),
}

/// Some days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Days {
    /// Days of the week, 1 (Monday) to 7.
    OfWeek(Span),
    /// Days of the month.
    OfMonth(Span),
    Last,
    LastWorkday,
    NearestWorkday(u16),
    /// The n-th of a day of the week in the month.
    Nth(u16, u16),
    /// The month's last of a day of the week.
    LastOf(u16),
}

/// The phrase of a schedule; none if only the expression itself is exact.
pub(super) fn phrase(fields: &Fields) -> Option<Phrase> {
    let (day, weekday) = (is_any(&fields.day), is_any(&fields.weekday));
    if fields.both_days && !day && !weekday {
        return None;
    }
    let mut days = if day { Vec::new() } else { days_of_month(&fields.day)? };
    if !weekday {
        days.extend(days_of_week(&fields.weekday)?);
    }
    let months = values(&fields.month, 1, 12)?;
    let year = match &fields.year {
        None => None,
        Some(year) if is_any(year) => None,
        Some(year) => match year[..] {
            [Item::Range { first, last, .. }] if first == last => Some(first),
            _ => return None,
        },
    };
    let months = if months.len() == 12 { Span::Each(Vec::new()) } else { Span::of(months) };
    Some(Phrase { time: time(fields)?, days, months, year })
}

fn time(fields: &Fields) -> Option<Time> {
    let (minutes, hours) = (values(&fields.minute, 0, 59)?, values(&fields.hour, 0, 23)?);
    let seconds = fields.second.as_ref().map_or_else(|| Some(vec![0]), |field| values(field, 0, 59))?;
    let [second] = seconds[..] else {
        let whole = minutes.len() == 60 && hours.len() == 24;
        return pause(&seconds, 60).filter(|_| whole).map(Time::EverySeconds);
    };
    let at = |hour, minute| Clock(hour, minute, second);
    let (first, last) = (*hours.first()?, *hours.last()?);
    if hours.len() == 24 && second == 0 {
        return match pause(&minutes, 60) {
            Some(60) => Some(Time::EveryHours(1)),
            Some(pause) => Some(Time::EveryMinutes(pause)),
            None if minutes.len() <= MAX_LISTED => Some(Time::OfEveryHour(minutes)),
            None => None,
        };
    }
    if let ([0], Some(pause), 0) = (&minutes[..], pause(&hours, 24).filter(|pause| *pause < 24), second) {
        return Some(Time::EveryHours(pause));
    }
    if let ([minute], Some(step), 4..) = (&minutes[..], step(&hours), hours.len()) {
        return Some(Time::HoursWithin(step, at(first, *minute), at(last, *minute)));
    }
    if minutes.len() * hours.len() <= MAX_LISTED {
        let times = hours.iter().flat_map(|hour| minutes.iter().map(|minute| at(*hour, *minute)));
        return Some(Time::At(times.collect()));
    }
    let together = hours.len() == 1 || step(&hours) == Some(1);
    let pause = pause(&minutes, 60).filter(|pause| *pause < 60 && together)?;
    Some(Time::MinutesWithin(pause, at(first, 0), at(last, *minutes.last()?)))
}

fn days_of_month(field: &Field) -> Option<Vec<Days>> {
    let (plain, special): (Vec<_>, Vec<_>) =
        field.iter().partition(|item| matches!(item, Item::Range { .. } | Item::Every(_)));
    let plain = values(&plain, 1, 31)?;
    let mut days = Vec::new();
    if !plain.is_empty() {
        days.push(Days::OfMonth(Span::of(plain).listable()?));
    }
    for item in special {
        days.push(match item {
            Item::LastDay => Days::Last,
            Item::LastWorkday => Days::LastWorkday,
            Item::Workday(day) => Days::NearestWorkday(day),
            _ => return None,
        });
    }
    Some(days)
}

fn days_of_week(field: &Field) -> Option<Vec<Days>> {
    let (plain, special): (Vec<_>, Vec<_>) =
        field.iter().partition(|item| matches!(item, Item::Range { .. } | Item::Every(_)));
    // The week begins on Monday, and Sunday is its seventh day.
    let mut plain: Vec<_> =
        values(&plain, 0, 7)?.into_iter().map(|day| if day == 0 { 7 } else { day }).collect();
    plain.sort_unstable();
    plain.dedup();
    let mut days = Vec::new();
    if !plain.is_empty() {
        days.push(Days::OfWeek(Span::of(plain)));
    }
    let monday_first = |weekday: u16| if weekday == 0 { 7 } else { weekday };
    for item in special {
        days.push(match item {
            Item::Nth { weekday, nth } => Days::Nth(nth, monday_first(weekday)),
            Item::LastOf(weekday) => Days::LastOf(monday_first(weekday)),
            _ => return None,
        });
    }
    Some(days)
}

fn is_any(field: &[Item]) -> bool {
    matches!(field, [Item::Any])
}

/// The values of a field, in order; none if an item is not a plain value.
fn values(field: &[Item], from: u16, to: u16) -> Option<Vec<u16>> {
    let mut values = Vec::new();
    for item in field {
        match *item {
            Item::Any => values.extend(from..=to),
            Item::Every(step) => values.extend((from..=to).step_by(step.into())),
            Item::Range { first, last, step } => values.extend((first..=last).step_by(step.into())),
            _ => return None,
        }
    }
    values.sort_unstable();
    values.dedup();
    Some(values)
}

/// The step of values that divide a round evenly, from 0.
fn pause(values: &[u16], round: u16) -> Option<u16> {
    let count = u16::try_from(values.len()).ok().filter(|count| *count > 0)?;
    let pause = round / count;
    let even = values.iter().copied().eq((0..round).step_by(pause.into()));
    (even && round.is_multiple_of(count)).then_some(pause)
}

/// The step of evenly spaced values.
fn step(values: &[u16]) -> Option<u16> {
    let step = values.get(1)? - values[0];
    values.windows(2).all(|pair| pair[1] - pair[0] == step).then_some(step)
}

impl Span {
    fn of(values: Vec<u16>) -> Self {
        match (step(&values), &values[..]) {
            (Some(1), [first, _, .., last]) => Self::FromTo(*first, *last),
            _ => Self::Each(values),
        }
    }

    /// The span, unless it has too many values to list.
    fn listable(self) -> Option<Self> {
        match &self {
            Self::Each(values) if values.len() > MAX_LISTED => None,
            _ => Some(self),
        }
    }
}
