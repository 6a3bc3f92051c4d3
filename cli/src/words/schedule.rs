//! Schedules in words: `every 5 minutes`, `montags um 06:00`, `1. dnia miesiąca o 00:00`.

use lamplighter_core::schedule::Schedule;

use super::{
    Words,
    phrase::{Clock, Days, Phrase, Span, Time, phrase},
};
use crate::tr;

impl Words {
    /// A schedule in words; the expression itself where words would be longer or less exact.
    pub fn schedule(&self, schedule: &Schedule) -> String {
        phrase(schedule.fields()).map_or_else(|| schedule.as_str().to_owned(), |phrase| self.phrase(&phrase))
    }

    fn phrase(&self, phrase: &Phrase) -> String {
        let time = self.time_of_day(&phrase.time);
        let is_clock = matches!(phrase.time, Time::At(_));
        let date = match (&phrase.days[..], &phrase.months) {
            ([Days::OfMonth(Span::Each(days))], Span::Each(months)) => match (&days[..], &months[..]) {
                ([day], [month]) => Some(tr!(self, "schedule-date", day = *day, month = *month)),
                _ => None,
            },
            _ => None,
        };
        let when = if let Some(date) = &date {
            tr!(self, "schedule-on-days", time = time, days = date)
        } else if phrase.days.is_empty() {
            if is_clock { tr!(self, "schedule-daily", time = time) } else { time }
        } else {
            let days: Vec<_> = phrase.days.iter().map(|days| self.days(days)).collect();
            tr!(self, "schedule-on-days", time = time, days = self.list(&days))
        };
        let when = match &phrase.months {
            Span::Each(months) if date.is_some() || months.is_empty() => when,
            Span::Each(months) => {
                let names: Vec<_> =
                    months.iter().map(|month| tr!(self, "schedule-month", month = *month)).collect();
                tr!(self, "schedule-in-months", when = when, first = months[0], months = self.list(&names))
            }
            Span::FromTo(first, last) => {
                tr!(self, "schedule-months", when = when, first = *first, last = *last)
            }
        };
        match phrase.year {
            // A year has no groups of digits.
            Some(year) => tr!(self, "schedule-in-year", when = when, year = year.to_string()),
            None => when,
        }
    }

    fn time_of_day(&self, time: &Time) -> String {
        match time {
            Time::EverySeconds(n) => tr!(self, "schedule-seconds", n = *n),
            Time::EveryMinutes(n) => tr!(self, "schedule-minutes", n = *n),
            Time::EveryHours(n) => tr!(self, "schedule-hours", n = *n),
            Time::MinutesWithin(n, from, to) => {
                let every = tr!(self, "schedule-minutes", n = *n);
                tr!(self, "schedule-within", every = every, from = from.to_string(), to = to.to_string())
            }
            Time::HoursWithin(n, from, to) => {
                let every = tr!(self, "schedule-hours", n = *n);
                tr!(self, "schedule-within", every = every, from = from.to_string(), to = to.to_string())
            }
            Time::OfEveryHour(minutes) => {
                let listed = self.ordinals(minutes);
                tr!(self, "schedule-of-every-hour", count = minutes.len(), minutes = listed)
            }
            Time::At(times) => {
                let times: Vec<_> = times.iter().map(ToString::to_string).collect();
                tr!(self, "schedule-at", times = self.list(&times))
            }
        }
    }

    fn days(&self, days: &Days) -> String {
        match days {
            Days::OfWeek(Span::FromTo(1, 5)) => tr!(self, "schedule-weekdays"),
            Days::OfWeek(Span::FromTo(first, last)) => {
                tr!(self, "schedule-weekday-span", first = *first, last = *last)
            }
            Days::OfWeek(Span::Each(days)) if days[..] == [6, 7] => tr!(self, "schedule-weekends"),
            Days::OfWeek(Span::Each(days)) => {
                let names: Vec<_> =
                    days.iter().map(|day| tr!(self, "schedule-weekday", day = *day)).collect();
                let first = days.first().copied().unwrap_or_default();
                tr!(self, "schedule-on-weekdays", first = first, days = self.list(&names))
            }
            Days::OfMonth(Span::FromTo(first, last)) => {
                tr!(self, "schedule-day-span", first = *first, last = *last)
            }
            Days::OfMonth(Span::Each(days)) => {
                tr!(self, "schedule-days", count = days.len(), days = self.ordinals(days))
            }
            Days::Last => tr!(self, "schedule-last-day"),
            Days::LastWorkday => tr!(self, "schedule-last-workday"),
            Days::NearestWorkday(day) => tr!(self, "schedule-nearest-workday", day = *day),
            Days::Nth(nth, day) => tr!(self, "schedule-nth", nth = *nth, day = *day),
            Days::LastOf(day) => tr!(self, "schedule-last-of", day = *day),
        }
    }

    fn ordinals(&self, numbers: &[u16]) -> String {
        let each: Vec<_> = numbers.iter().map(|n| tr!(self, "schedule-ordinal", n = *n)).collect();
        self.list(&each)
    }

    /// A list with `and` before its last item.
    pub fn list(&self, things: &[String]) -> String {
        match things {
            [] => String::new(),
            [only] => only.clone(),
            [rest @ .., last] => tr!(self, "time-list", rest = rest.join(", "), last = last),
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
    fn k04_schedules_are_described_in_three_languages() {
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
