//! The values that texts may contain, as each language writes them.

use std::time::Duration;

use fluent_bundle::FluentValue;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use lamplighter_core::{
    definition::RunOn, duration, id::RunId, name::TaskName, run::Trigger, status::Status,
};

use super::{Locale, Words};
use crate::{
    terminal::text::{escaped, escaped_lines},
    tr,
};

/// The space between the groups of a number, at which lines do not break.
const NARROW: char = '\u{202f}';

/// A value that a text may contain.
pub trait Localize {
    /// The value in the language of `words`.
    fn in_words(&self, words: &Words) -> FluentValue<'static>;
}

impl<T: Localize + ?Sized> Localize for &T {
    fn in_words(&self, words: &Words) -> FluentValue<'static> {
        (**self).in_words(words)
    }
}

macro_rules! as_they_are {
    ($($type:ty),+) => {
        $(impl Localize for $type {
            fn in_words(&self, _: &Words) -> FluentValue<'static> {
                FluentValue::from(self.to_string())
            }
        })+
    };
}
as_they_are![TaskName, RunId];

impl Localize for str {
    fn in_words(&self, _: &Words) -> FluentValue<'static> {
        FluentValue::from(escaped(self).into_owned())
    }
}

impl Localize for String {
    fn in_words(&self, words: &Words) -> FluentValue<'static> {
        self.as_str().in_words(words)
    }
}

/// A text of several lines, whose line ends are kept.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a>(pub &'a str);

impl Localize for Lines<'_> {
    fn in_words(&self, _: &Words) -> FluentValue<'static> {
        FluentValue::from(escaped_lines(self.0).into_owned())
    }
}

macro_rules! numbers {
    ($($type:ty),+) => {
        $(impl Localize for $type {
            fn in_words(&self, _: &Words) -> FluentValue<'static> {
                FluentValue::from(*self)
            }
        })+
    };
}
numbers![u8, u16, u32, u64, usize, i32, i64];

impl Localize for Status {
    fn in_words(&self, words: &Words) -> FluentValue<'static> {
        FluentValue::from(words.status(*self))
    }
}

impl Localize for Trigger {
    fn in_words(&self, words: &Words) -> FluentValue<'static> {
        FluentValue::from(words.trigger(*self))
    }
}

impl Localize for Duration {
    fn in_words(&self, words: &Words) -> FluentValue<'static> {
        FluentValue::from(words.duration(duration::millis(*self)))
    }
}

impl Localize for Timestamp {
    fn in_words(&self, words: &Words) -> FluentValue<'static> {
        FluentValue::from(words.time(*self))
    }
}

impl Words {
    /// The trigger of a run in words.
    pub fn trigger(&self, trigger: Trigger) -> String {
        match trigger {
            Trigger::Deploy => tr!(self, "status-by-deploy"),
            Trigger::Update => tr!(self, "status-by-update"),
            Trigger::Rollback => tr!(self, "status-by-rollback"),
            Trigger::Schedule => tr!(self, "status-by-schedule"),
            Trigger::Pulse => tr!(self, "status-by-pulse"),
            Trigger::Manual => tr!(self, "status-by-hand"),
            Trigger::Queue => tr!(self, "status-by-queue"),
            Trigger::Runner => tr!(self, "status-by-runner"),
        }
    }

    /// An occasion of a deployment in words.
    pub fn occasion(&self, on: RunOn) -> String {
        match on {
            RunOn::Deploy => tr!(self, "status-by-deploy"),
            RunOn::Update => tr!(self, "status-by-update"),
        }
    }

    /// A number that is text with a point, with the language's decimal sign.
    pub fn decimal(&self, number: &str) -> String {
        decimal(number, self.locale())
    }

    /// A duration in words: `85 ms`, `1.2 s`, `2 min`, `2 min 5 s`, `3 h 20 min`, `2 days 4 h`.
    pub fn duration(&self, ms: u64) -> String {
        let (seconds, minutes, hours) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
        match ms {
            0..1_000 => tr!(self, "time-ms", ms = ms),
            1_000..60_000 => {
                let seconds = decimal(&format!("{seconds}.{}", ms % 1_000 / 100), self.locale());
                tr!(self, "time-s", seconds = seconds)
            }
            60_000..3_600_000 => tr!(self, "time-min", minutes = minutes, seconds = seconds % 60),
            3_600_000..86_400_000 => tr!(self, "time-h", hours = hours, minutes = minutes % 60),
            _ if hours % 24 == 0 => tr!(self, "time-days", days = hours / 24),
            _ => tr!(self, "time-days-hours", days = hours / 24, hours = hours % 24),
        }
    }

    /// The distance of an instant from now, in its largest unit: `5 minutes ago`, `in 2 hours`.
    pub fn from_now(&self, at: Timestamp, now: Timestamp) -> String {
        let seconds = at.duration_since(now).as_secs();
        let n = seconds.unsigned_abs();
        let is_ahead = seconds > 0;
        match n {
            0 => tr!(self, "time-now"),
            1..60 if is_ahead => tr!(self, "time-in-seconds", n = n),
            1..60 => tr!(self, "time-seconds-ago", n = n),
            60..3_600 if is_ahead => tr!(self, "time-in-minutes", n = n / 60),
            60..3_600 => tr!(self, "time-minutes-ago", n = n / 60),
            3_600..172_800 if is_ahead => tr!(self, "time-in-hours", n = n / 3_600),
            3_600..172_800 => tr!(self, "time-hours-ago", n = n / 3_600),
            _ if is_ahead => tr!(self, "time-in-days", n = n / 86_400),
            _ => tr!(self, "time-days-ago", n = n / 86_400),
        }
    }

    /// A local time with its day of the week, to the minute, or to the second if it has seconds.
    pub fn local(&self, at: DateTime) -> String {
        let day = tr!(self, "time-weekday", day = at.weekday().to_monday_one_offset().unsigned_abs());
        let date = match self.locale() {
            Locale::En => at.strftime("%Y-%m-%d"),
            Locale::De | Locale::Pl => at.strftime("%d.%m.%Y"),
        };
        let time = at.strftime(if at.second() == 0 { "%H:%M" } else { "%H:%M:%S" });
        format!("{day} {date} {time}")
    }

    /// An instant in UTC, to the second.
    pub fn time(&self, at: Timestamp) -> String {
        let at = at.to_zoned(TimeZone::UTC);
        match self.locale() {
            Locale::En => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            Locale::De | Locale::Pl => at.strftime("%d.%m.%Y %H:%M:%S UTC").to_string(),
        }
    }
}

/// A number with the language's decimal sign.
fn decimal(number: &str, locale: Locale) -> String {
    match locale {
        Locale::En => number.to_owned(),
        Locale::De | Locale::Pl => number.replace('.', ","),
    }
}

/// A number as the language writes it, with groups of three digits from 10,000 on.
pub(super) fn number(value: &FluentValue<'_>, locale: Locale) -> Option<String> {
    let FluentValue::Number(number) = value else { return None };
    let written = number.as_string().into_owned();
    let (whole, rest) = written.split_once('.').unwrap_or((&written, ""));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let grouped: String = match digits.len() {
        0..5 => digits.to_owned(),
        length => digits
            .chars()
            .enumerate()
            .flat_map(|(i, digit)| {
                let gap = (i > 0 && (length - i).is_multiple_of(3)).then_some(match locale {
                    Locale::En => ',',
                    Locale::De => '.',
                    Locale::Pl => NARROW,
                });
                gap.into_iter().chain([digit])
            })
            .collect(),
    };
    let rest = if rest.is_empty() { String::new() } else { decimal(&format!(".{rest}"), locale) };
    Some(format!("{sign}{grouped}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k04_durations_are_written_in_the_units_people_use() {
        let said = |locale, ms: [u64; 7]| ms.map(|ms| Words::new(locale).duration(ms));
        let ms = [85, 1_250, 125_000, 3_600_000, 11_999_000, 86_400_000, 187_200_000];
        assert_eq!(
            said(Locale::En, ms),
            ["85 ms", "1.2 s", "2 min 5 s", "1 h", "3 h 19 min", "1 day", "2 days 4 h"]
        );
        assert_eq!(
            said(Locale::De, ms),
            ["85 ms", "1,2 s", "2 min 5 s", "1 h", "3 h 19 min", "1 Tag", "2 Tage 4 h"]
        );
        assert_eq!(
            said(Locale::Pl, ms),
            ["85 ms", "1,2 s", "2 min 5 s", "1 h", "3 h 19 min", "1 dzień", "2 dni 4 h"]
        );
    }

    #[test]
    fn k04_relative_times_are_written_in_the_largest_unit() {
        let now: Timestamp = "2026-11-03T12:00:00Z".parse().unwrap();
        for (seconds, en, de, pl) in [
            (0, "now", "jetzt", "teraz"),
            (1, "in 1 second", "in 1 Sekunde", "za 1 sekundę"),
            (-59, "59 seconds ago", "vor 59 Sekunden", "59 sekund temu"),
            (300, "in 5 minutes", "in 5 Minuten", "za 5 minut"),
            (-120, "2 minutes ago", "vor 2 Minuten", "2 minuty temu"),
            (-7_200, "2 hours ago", "vor 2 Stunden", "2 godziny temu"),
            (3_600, "in 1 hour", "in 1 Stunde", "za 1 godzinę"),
            (86_400, "in 24 hours", "in 24 Stunden", "za 24 godziny"),
            (172_800, "in 2 days", "in 2 Tagen", "za 2 dni"),
            (-1_036_800, "12 days ago", "vor 12 Tagen", "12 dni temu"),
        ] {
            let at = now + jiff::SignedDuration::from_secs(seconds);
            assert_eq!(Locale::ALL.map(|locale| Words::new(locale).from_now(at, now)), [en, de, pl]);
        }
    }

    #[test]
    fn k04_numbers_have_the_separators_of_the_language() {
        let said = |locale, n: f64| number(&FluentValue::from(n), locale).unwrap();
        for (n, en, de, pl) in [
            (7.0, "7", "7", "7"),
            (1000.0, "1000", "1000", "1000"),
            (12345.0, "12,345", "12.345", "12\u{202f}345"),
            (-1_234_567.5, "-1,234,567.5", "-1.234.567,5", "-1\u{202f}234\u{202f}567,5"),
        ] {
            assert_eq!([said(Locale::En, n), said(Locale::De, n), said(Locale::Pl, n)], [en, de, pl]);
        }
    }

    #[test]
    fn k04_local_times_include_their_day() {
        let at = jiff::civil::date(2026, 11, 25).at(6, 5, 0, 0);
        assert_eq!(
            Locale::ALL.map(|locale| Words::new(locale).local(at)),
            ["Wed 2026-11-25 06:05", "Mi 25.11.2026 06:05", "śr. 25.11.2026 06:05"]
        );
    }

    #[test]
    fn k04_times_are_in_the_order_of_the_language() {
        let at: Timestamp = "2026-11-03T04:05:06.789Z".parse().unwrap();
        assert_eq!(
            Locale::ALL.map(|locale| Words::new(locale).time(at)),
            ["2026-11-03T04:05:06Z", "03.11.2026 04:05:06 UTC", "03.11.2026 04:05:06 UTC"]
        );
    }
}
