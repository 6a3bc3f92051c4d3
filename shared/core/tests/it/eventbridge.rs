//! G04: a schedule fires in EventBridge Scheduler at the instants of its ticks in `core`.
//!
//! The evaluator here is independent of `core` and croner. It follows EventBridge Scheduler's documentation
//! (User Guide, "Schedule types"): six fields; `,` `-` `*` `/` everywhere; `L` and `W` for the day of the
//! month; `L` and `#` for the day of the week, whose 1 is Sunday; `?` for exactly one of the two. A local
//! time that a clock change leaves out is skipped, and one that it repeats runs once.

use std::collections::BTreeSet;

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, date},
    tz::{Offset, TimeZone},
};
use lamplighter_core::schedule::Schedule;

const FIRST: Date = date(2025, 1, 1);
const LAST: Date = date(2034, 12, 31);

/// An expression of EventBridge Scheduler, its fields as sets of values.
struct Expression {
    minutes: BTreeSet<i16>,
    hours: BTreeSet<i16>,
    day: Day,
    months: BTreeSet<i16>,
    years: BTreeSet<i16>,
}

enum Day {
    OfMonth(BTreeSet<i16>),
    LastOfMonth,
    NearestWorkday(i16),
    OfWeek(BTreeSet<i16>),
    LastOfWeek(i16),
    Nth(i16, i16),
}

impl Expression {
    fn read(text: &str) -> Self {
        let fields = text.strip_prefix("cron(").and_then(|text| text.strip_suffix(')')).expect("cron(...)");
        assert!(text.len() <= 256, "{text} is too long");
        let fields: Vec<_> = fields.split(' ').collect();
        let [minute, hour, day, month, weekday, year] = fields[..] else { panic!("{text}: six fields") };
        let day = match (day, weekday) {
            ("?", weekday) => of_week(weekday),
            (day, "?") => of_month(day),
            _ => panic!("{text}: one of the days must be ?"),
        };
        Self {
            minutes: values(minute, 0, 59, &[]),
            hours: values(hour, 0, 23, &[]),
            day,
            months: values(month, 1, 12, &MONTHS),
            years: values(year, 1970, 2199, &[]),
        }
    }

    fn on(&self, day: Date) -> bool {
        // 1 is Sunday.
        let weekday = i16::from(day.weekday().to_sunday_zero_offset()) + 1;
        let number = i16::from(day.day());
        let length = i16::from(day.days_in_month());
        let matches = match &self.day {
            Day::OfMonth(days) => days.contains(&number),
            Day::LastOfMonth => number == length,
            Day::NearestWorkday(wanted) => *wanted <= length && nearest_workday(day, *wanted) == number,
            Day::OfWeek(days) => days.contains(&weekday),
            Day::LastOfWeek(wanted) => *wanted == weekday && number + 7 > length,
            Day::Nth(wanted, nth) => *wanted == weekday && (number + 6) / 7 == *nth,
        };
        matches && self.months.contains(&i16::from(day.month())) && self.years.contains(&day.year())
    }

    fn instants(&self, zone: &TimeZone) -> Vec<Timestamp> {
        let mut instants = Vec::new();
        let mut day = FIRST;
        while day <= LAST {
            if self.on(day) {
                let steady = steady(zone, day);
                for hour in &self.hours {
                    for minute in &self.minutes {
                        let local: DateTime =
                            day.at(i8::try_from(*hour).unwrap(), i8::try_from(*minute).unwrap(), 0, 0);
                        match steady {
                            Some(offset) => instants.extend(offset.to_timestamp(local)),
                            None => instants.extend(once(zone, local)),
                        }
                    }
                }
            }
            day = day.tomorrow().unwrap();
        }
        instants
    }
}

/// Returns the zone's offset all through a day, if no clock change is near it.
fn steady(zone: &TimeZone, day: Date) -> Option<Offset> {
    let midnight = TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).unwrap();
    let [before, after] = [-24, 48].map(|hours| zone.to_offset(midnight + SignedDuration::from_hours(hours)));
    (before == after).then_some(before)
}

/// Returns the instant of a local time: none if it is left out, the first one if it occurs twice.
fn once(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    // The offsets that the zone has before and after a change this close.
    let near = TimeZone::UTC.to_timestamp(local).unwrap();
    let offsets = [-24, 24].map(|hours| zone.to_offset(near + SignedDuration::from_hours(hours)));
    let instants = offsets.map(|offset| offset.to_timestamp(local).unwrap());
    instants.into_iter().filter(|instant| zone.to_datetime(*instant) == local).min()
}

fn nearest_workday(in_month: Date, wanted: i16) -> i16 {
    let is_workday = |number: i16| {
        let day = in_month.first_of_month().with().day(i8::try_from(number).unwrap()).build();
        day.is_ok_and(|day| !matches!(day.weekday().to_monday_one_offset(), 6 | 7))
    };
    let near = [wanted, wanted - 1, wanted + 1, wanted - 2, wanted + 2];
    near.into_iter().find(|number| *number >= 1 && is_workday(*number)).unwrap()
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

fn of_month(field: &str) -> Day {
    match field.strip_suffix('W') {
        _ if field == "L" => Day::LastOfMonth,
        Some(day) => Day::NearestWorkday(value(day, 1, 31, &[])),
        None => Day::OfMonth(values(field, 1, 31, &[])),
    }
}

fn of_week(field: &str) -> Day {
    if let Some(day) = field.strip_suffix('L') {
        return Day::LastOfWeek(value(day, 1, 7, &WEEKDAYS));
    }
    match field.split_once('#') {
        Some((day, nth)) => Day::Nth(value(day, 1, 7, &WEEKDAYS), value(nth, 1, 5, &[])),
        None => Day::OfWeek(values(field, 1, 7, &WEEKDAYS)),
    }
}

fn values(field: &str, first: i16, last: i16, names: &[&str]) -> BTreeSet<i16> {
    let mut all = BTreeSet::new();
    for part in field.split(',') {
        if part == "*" {
            all.extend(first..=last);
        } else if let Some((from, step)) = part.split_once('/') {
            // From a value, or from the first one, to the end.
            let from = if from == "*" { first } else { value(from, first, last, names) };
            all.extend((from..=last).step_by(step.parse().unwrap()));
        } else if let Some((from, to)) = part.split_once('-') {
            let (from, to) = (value(from, first, last, names), value(to, first, last, names));
            assert!(from <= to, "{part} runs backwards");
            all.extend(from..=to);
        } else {
            all.insert(value(part, first, last, names));
        }
    }
    all
}

fn value(text: &str, first: i16, last: i16, names: &[&str]) -> i16 {
    let by_word = names.iter().zip(1..).find(|(name, _)| **name == text).map(|(_, number)| number);
    let number = by_word.unwrap_or_else(|| text.parse().unwrap_or_else(|_| panic!("{text} is not a value")));
    assert!((first..=last).contains(&number), "{number} is not within {first} and {last}");
    number
}

/// Typical expressions: every combination of these times and days, which fire rarely enough to be enumerated,
/// and the examples of the two documentations.
fn corpus() -> BTreeSet<String> {
    let times =
        ["0 0", "30 2", "15 10", "0 */12", "*/30 3", "59 23", "0,20 9", "5-59/50 2", "45 */20", "7 13"];
    let days = [
        "* * *",
        "1 * *",
        "*/2 * *",
        "31 * *",
        "28-31 * *",
        "1,15 * *",
        "1-10/3 * *",
        "L * *",
        "1W * *",
        "15W * *",
        "31W * *",
        "29 2 *",
        "L 2 *",
        "* 1-3 *",
        "* JAN,JUL *",
        "* */3 *",
        "30 4,6,9,11 *",
        "10 12 *",
        "* * 0",
        "* * 7",
        "* * MON-FRI",
        "* * 1-5/2",
        "* * SAT-SUN",
        "* * 5-7",
        "* * */2",
        "* * sun,WED",
        "* * 1#1",
        "* * FRI#5",
        "* * 7#2",
        "* * FRI#L",
        "* * 0L",
        "* 2-11/3 TUE",
        "? * THU",
        "1 * ?",
    ];
    let mut corpus: BTreeSet<_> =
        times.iter().flat_map(|time| days.iter().map(move |day| format!("{time} {day}"))).collect();
    // Examples from the documentation of EventBridge Scheduler and OCPS, in our language, and phrases.
    for text in [
        "10 10 * * *",
        "15 12 * * *",
        "0 18 * * MON-FRI",
        "0 8 1 * *",
        "0 9 * * 1#1",
        "0 0 10 * * FRI#L 2026-2028",
        "0 15 10 * * 5L 2029,2031",
        "0 15 10 * * * 2025",
        "0 0 0 1 1 * 2025-2034/2",
        "30 8 * jan Mon",
        "5-59/15 9 * * *",
        "0 12 15W * *",
        "0 12 1W * *",
        "0 0 L * *",
        "0 0 * * TUE#3",
        "@yearly",
        "@annually",
        "@monthly",
        "@weekly",
        "@daily",
        "@midnight",
        "@hourly",
        "every hour",
        "every 2 hours",
        "every 12 hours",
        "every day",
        "every week",
        "every month",
        "every 30 minutes",
        "0 0 29 2 *",
        "0 5 0 * * *",
    ] {
        corpus.insert(text.to_owned());
    }
    corpus
}

fn same_instants(text: &str, zones: &[&str]) {
    let schedule: Schedule = text.parse().unwrap_or_else(|error| panic!("{error}"));
    let expression = schedule.to_eventbridge().unwrap_or_else(|error| panic!("{error}"));
    let theirs = Expression::read(&expression);
    for name in zones {
        let zone = TimeZone::get(name).unwrap();
        let from = zone.to_timestamp(FIRST.yesterday().unwrap().at(23, 59, 59, 0)).unwrap();
        let to = zone.to_timestamp(LAST.at(23, 59, 59, 0)).unwrap();
        let ours: Vec<_> = schedule.ticks(&zone, from).take_while(|tick| *tick <= to).collect();
        let theirs = theirs.instants(&zone);
        let differ = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
        assert_eq!(differ, None, "`{text}` is `{expression}`, in {name}");
        assert_eq!(ours.len(), theirs.len(), "`{text}` is `{expression}`, in {name}");
    }
}

#[test]
fn g04_ten_years_have_the_same_instants() {
    let corpus = corpus();
    assert!(corpus.len() >= 300, "{}", corpus.len());
    let corpus: Vec<_> = corpus.iter().collect();
    std::thread::scope(|scope| {
        for part in corpus.chunks(corpus.len().div_ceil(4)) {
            scope.spawn(move || part.iter().for_each(|text| same_instants(text, &["UTC", "Europe/Vienna"])));
        }
    });
}

#[test]
fn g04_nights_of_clock_changes_have_the_same_instants() {
    // The clock changes at midnight in Havana, by half an hour on Lord Howe, and at a quarter to the hour on Chatham.
    let zones = ["America/New_York", "America/Havana", "Australia/Lord_Howe", "Pacific/Chatham"];
    for text in ["30 2 * * *", "0 0 * * *", "*/15 1-3 * 3,4,9-11 SUN", "45 1 * * SUN"] {
        same_instants(text, &zones);
    }
}

#[test]
fn the_evaluator_reads_the_documented_examples() {
    let first = |text: &str| Expression::read(text).instants(&TimeZone::UTC).first().unwrap().to_string();
    for (text, instant) in [
        ("cron(10 10 * * ? *)", "2025-01-01T10:10:00Z"),
        ("cron(15 12 * * ? *)", "2025-01-01T12:15:00Z"),
        ("cron(0 18 ? * MON-FRI *)", "2025-01-01T18:00:00Z"),
        ("cron(0 8 1 * ? *)", "2025-01-01T08:00:00Z"),
        ("cron(1/10 * ? * MON-FRI *)", "2025-01-01T00:01:00Z"),
        ("cron(0/5 8-17 ? * MON-FRI *)", "2025-01-01T08:00:00Z"),
        // The first Monday of each month, and the last Friday of each of four years.
        ("cron(0 9 ? * 2#1 *)", "2025-01-06T09:00:00Z"),
        ("cron(15 10 ? * 6L 2026-2029)", "2026-01-30T10:15:00Z"),
        ("cron(0 0 L * ? *)", "2025-01-31T00:00:00Z"),
        ("cron(0 0 3W * ? *)", "2025-01-03T00:00:00Z"),
    ] {
        assert_eq!(first(text), instant, "{text}");
    }
}
