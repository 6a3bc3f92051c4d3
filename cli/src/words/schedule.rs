//! Schedules in words: `every 5 minutes`, `montags um 06:00`, `1. dnia miesiąca o 00:00`.

use lamplighter_core::schedule::Schedule;

use super::{
    Words,
    phrase::{Clock, Days, Phrase, Span, Time, phrase},
};
use crate::say;

impl Words {
    /// A schedule in words, or as it was written where words would be longer or less exact.
    pub fn schedule(&self, schedule: &Schedule) -> String {
        phrase(schedule.fields()).map_or_else(|| schedule.as_str().to_owned(), |phrase| self.phrase(&phrase))
    }

    fn phrase(&self, phrase: &Phrase) -> String {
        let time = self.time_of_day(&phrase.time);
        let is_clock = matches!(phrase.time, Time::At(_));
        let date = match (&phrase.days[..], &phrase.months) {
            ([Days::OfMonth(Span::Each(days))], Span::Each(months)) => match (&days[..], &months[..]) {
                ([day], [month]) => Some(say!(self, "schedule-date", day = *day, month = *month)),
                _ => None,
            },
            _ => None,
        };
        let when = if let Some(date) = &date {
            say!(self, "schedule-on-days", time = time, days = date)
        } else if phrase.days.is_empty() {
            if is_clock { say!(self, "schedule-daily", time = time) } else { time }
        } else {
            let days: Vec<_> = phrase.days.iter().map(|days| self.days(days)).collect();
            say!(self, "schedule-on-days", time = time, days = self.list(&days))
        };
        let when = match &phrase.months {
            Span::Each(months) if date.is_some() || months.is_empty() => when,
            Span::Each(months) => {
                let names: Vec<_> =
                    months.iter().map(|month| say!(self, "schedule-month", month = *month)).collect();
                say!(self, "schedule-in-months", when = when, first = months[0], months = self.list(&names))
            }
            Span::FromTo(first, last) => {
                say!(self, "schedule-months", when = when, first = *first, last = *last)
            }
        };
        match phrase.year {
            // A year is a name, and not a number that has groups.
            Some(year) => say!(self, "schedule-in-year", when = when, year = year.to_string()),
            None => when,
        }
    }

    fn time_of_day(&self, time: &Time) -> String {
        match time {
            Time::EverySeconds(n) => say!(self, "schedule-seconds", n = *n),
            Time::EveryMinutes(n) => say!(self, "schedule-minutes", n = *n),
            Time::EveryHours(n) => say!(self, "schedule-hours", n = *n),
            Time::MinutesWithin(n, from, to) => {
                let every = say!(self, "schedule-minutes", n = *n);
                say!(self, "schedule-within", every = every, from = from.to_string(), to = to.to_string())
            }
            Time::HoursWithin(n, from, to) => {
                let every = say!(self, "schedule-hours", n = *n);
                say!(self, "schedule-within", every = every, from = from.to_string(), to = to.to_string())
            }
            Time::OfEveryHour(minutes) => {
                let listed = self.ordinals(minutes);
                say!(self, "schedule-of-every-hour", count = minutes.len(), minutes = listed)
            }
            Time::At(times) => {
                let times: Vec<_> = times.iter().map(ToString::to_string).collect();
                say!(self, "schedule-at", times = self.list(&times))
            }
        }
    }

    fn days(&self, days: &Days) -> String {
        match days {
            Days::OfWeek(Span::FromTo(1, 5)) => say!(self, "schedule-weekdays"),
            Days::OfWeek(Span::FromTo(first, last)) => {
                say!(self, "schedule-weekday-span", first = *first, last = *last)
            }
            Days::OfWeek(Span::Each(days)) if days[..] == [6, 7] => say!(self, "schedule-weekends"),
            Days::OfWeek(Span::Each(days)) => {
                let names: Vec<_> =
                    days.iter().map(|day| say!(self, "schedule-weekday", day = *day)).collect();
                let first = days.first().copied().unwrap_or_default();
                say!(self, "schedule-on-weekdays", first = first, days = self.list(&names))
            }
            Days::OfMonth(Span::FromTo(first, last)) => {
                say!(self, "schedule-day-span", first = *first, last = *last)
            }
            Days::OfMonth(Span::Each(days)) => {
                say!(self, "schedule-days", count = days.len(), days = self.ordinals(days))
            }
            Days::Last => say!(self, "schedule-last-day"),
            Days::LastWorkday => say!(self, "schedule-last-workday"),
            Days::NearestWorkday(day) => say!(self, "schedule-nearest-workday", day = *day),
            Days::Nth(nth, day) => say!(self, "schedule-nth", nth = *nth, day = *day),
            Days::LastOf(day) => say!(self, "schedule-last-of", day = *day),
        }
    }

    fn ordinals(&self, numbers: &[u16]) -> String {
        let each: Vec<_> = numbers.iter().map(|n| say!(self, "schedule-ordinal", n = *n)).collect();
        self.list(&each)
    }

    /// Things one after the other, the last with an `and`.
    pub fn list(&self, things: &[String]) -> String {
        match things {
            [] => String::new(),
            [only] => only.clone(),
            [rest @ .., last] => say!(self, "time-list", rest = rest.join(", "), last = last),
        }
    }
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(hour, minute, second) = self;
        write!(f, "{hour:02}:{minute:02}")?;
        if *second == 0 { Ok(()) } else { write!(f, ":{second:02}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Locale;

    #[test]
    fn k04_schedules_are_said_in_three_languages() {
        let words = Locale::ALL.map(Words::new);
        let lines = include_str!("schedules.txt").lines().filter(|line| !line.starts_with('#'));
        let mut count = 0;
        for line in lines {
            let parts: Vec<_> = line.split(" | ").map(str::trim).collect();
            let [expression, en, de, pl] = parts[..] else { panic!("four columns: {line}") };
            let schedule: Schedule = expression.parse().unwrap();
            let said = words.each_ref().map(|words| words.schedule(&schedule));
            assert_eq!(said, [en, de, pl], "{expression}");
            count += 1;
        }
        assert!(count >= 40, "only {count} expressions");
    }
}
