//! Local times of a schedule, computed from sets of values.
//!
//! A search goes from month to month, considers only the schedule's months, and takes the days of each from
//! one set. It ends after 400 years, when the calendar repeats. So every search is short: see
//! `every_search_is_short`.

use jiff::civil::{Date, DateTime, Time, Weekday};

use super::fields::{Fields, Item, YEARS};

/// The number of years after which the calendar repeats, with its days of the week.
const CYCLE: i16 = 400;

/// A set of the numbers 0 to 63.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Set(u64);

impl Set {
    /// Returns the values of a field whose `*` is `first` to `last`.
    fn of(field: &[Item], first: u16, last: u16) -> Self {
        field.iter().flat_map(|item| values(*item, first, last)).collect()
    }

    fn has(self, value: i8) -> bool {
        self.from(value) == Some(value)
    }

    /// Returns the first value that is not below this one.
    fn from(self, value: i8) -> Option<i8> {
        let rest = self.0 & u64::MAX.checked_shl(u32::try_from(value).ok()?)?;
        i8::try_from(rest.trailing_zeros()).ok().filter(|_| rest != 0)
    }

    /// Returns the last value that is not above this one.
    fn until(self, value: i8) -> Option<i8> {
        let rest = self.0 & (u64::MAX >> 63_u32.checked_sub(u32::try_from(value).ok()?)?);
        i8::try_from(rest.checked_ilog2()?).ok()
    }

    fn each(self) -> impl Iterator<Item = i8> {
        std::iter::successors(self.from(0), move |value| self.from(value + 1))
    }
}

impl FromIterator<u16> for Set {
    fn from_iter<I: IntoIterator<Item = u16>>(values: I) -> Self {
        Self(values.into_iter().fold(0, |set, value| set | 1_u64.checked_shl(value.into()).unwrap_or(0)))
    }
}

/// Returns the values of an item whose `*` is `first` to `last`; none for an item that depends on the month.
fn values(item: Item, first: u16, last: u16) -> impl Iterator<Item = u16> {
    let (range, step) = match item {
        Item::Any => (first..=last, 1),
        Item::Every(step) => (first..=last, step),
        Item::Range { first, last, step } => (first..=last, step),
        #[expect(clippy::reversed_empty_ranges, reason = "it has no values")]
        _ => (1..=0, 1),
    };
    range.step_by(step.max(1).into())
}

/// The days of the month: plain values, and items that depend on the month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct DaysOfMonth {
    plain: Set,
    /// The days whose nearest workday matches.
    workdays: Set,
    /// The numbers of days before the month's last.
    before_last: Set,
    /// The numbers of days before the month's last, where the nearest workday matches.
    workdays_before_last: Set,
    last_workday: bool,
}

/// 0 is Sunday.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct DaysOfWeek {
    plain: Set,
    /// For each n from 1 to 5, the weekdays whose n-th occurrence in the month matches.
    nth: [Set; 5],
    last: Set,
}

/// A schedule's fields as sets of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Calendar {
    seconds: Set,
    minutes: Set,
    hours: Set,
    /// `None`: every day.
    days: Option<DaysOfMonth>,
    months: Set,
    /// `None`: every day.
    weekdays: Option<DaysOfWeek>,
    /// A day must match both fields, if both are there.
    both_days: bool,
    /// A bit for each of [`YEARS`]. `None`: every year.
    years: Option<[u64; 4]>,
}

/// A month of a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Month {
    first: Date,
    days: i8,
}

impl Month {
    fn of(year: i16, month: i8) -> Option<Self> {
        let first = Date::new(year, month, 1).ok()?;
        Some(Self { first, days: first.days_in_month() })
    }

    fn weekday(self, day: i8) -> Weekday {
        self.first.weekday().wrapping_add(day - 1)
    }

    /// Returns the workday (Monday to Friday) nearest to this day, in the same month.
    fn nearest_workday(self, day: i8) -> i8 {
        match self.weekday(day) {
            Weekday::Saturday if day == 1 => 3,
            Weekday::Saturday => day - 1,
            Weekday::Sunday if day == self.days => day - 2,
            Weekday::Sunday => day + 1,
            _ => day,
        }
    }
}

impl DaysOfMonth {
    fn of(field: &[Item]) -> Option<Self> {
        if matches!(field, [Item::Any]) {
            return None;
        }
        let only = |of: fn(Item) -> Option<u16>| field.iter().filter_map(|item| of(*item)).collect();
        Some(Self {
            plain: Set::of(field, 1, 31),
            workdays: only(|item| if let Item::Workday(day) = item { Some(day) } else { None }),
            before_last: only(|item| match item {
                Item::LastDay => Some(0),
                Item::BeforeLast(days) => Some(days),
                _ => None,
            }),
            workdays_before_last: only(|item| {
                if let Item::WorkdayBeforeLast(days) = item { Some(days) } else { None }
            }),
            last_workday: field.contains(&Item::LastWorkday),
        })
    }

    fn within(&self, month: Month) -> Set {
        let existing = |day: &i8| (1..=month.days).contains(day);
        let from_last = |before: i8| month.days - before;
        let plain = self.plain.each().filter(existing);
        let before_last = self.before_last.each().map(from_last).filter(existing);
        let near = self.workdays.each().chain(self.workdays_before_last.each().map(from_last));
        let near = near.filter(existing).map(|day| month.nearest_workday(day));
        let last = self.last_workday.then(|| month.nearest_workday(month.days));
        let days = plain.chain(before_last).chain(near).chain(last);
        days.map(|day| u16::from(day.unsigned_abs())).collect()
    }
}

impl DaysOfWeek {
    fn of(field: &[Item]) -> Option<Self> {
        if matches!(field, [Item::Any]) {
            return None;
        }
        let mut days = Self {
            plain: field.iter().flat_map(|item| values(*item, 0, 7)).map(|day| day % 7).collect(),
            ..Self::default()
        };
        for item in field {
            match *item {
                Item::Nth { weekday, nth } => {
                    if let Some(set) = days.nth.get_mut(usize::from(nth).wrapping_sub(1)) {
                        set.0 |= 1 << weekday;
                    }
                }
                Item::LastOf(weekday) => days.last.0 |= 1 << weekday,
                _ => {}
            }
        }
        Some(days)
    }

    fn within(&self, month: Month) -> Set {
        let matches = |day: &i8| {
            let weekday = month.weekday(*day).to_sunday_zero_offset();
            let nth = self.nth.get(usize::from(day.unsigned_abs() - 1) / 7);
            self.plain.has(weekday)
                || nth.is_some_and(|set| set.has(weekday))
                || (self.last.has(weekday) && day + 7 > month.days)
        };
        (1..=month.days).filter(matches).map(|day| u16::from(day.unsigned_abs())).collect()
    }
}

impl Calendar {
    pub(super) fn of(fields: &Fields) -> Self {
        let Fields { second, minute, hour, day, month, weekday, year, both_days } = fields;
        let named = year.as_deref().filter(|field| !matches!(field, [Item::Any]));
        let years = named.map(|field| {
            let mut years = [0; 4];
            for year in field.iter().flat_map(|item| values(*item, *YEARS.start(), *YEARS.end())) {
                let bit = usize::from(year - YEARS.start());
                years[bit / 64] |= 1 << (bit % 64);
            }
            years
        });
        Self {
            seconds: second.as_ref().map_or(Set(1), |field| Set::of(field, 0, 59)),
            minutes: Set::of(minute, 0, 59),
            hours: Set::of(hour, 0, 23),
            days: DaysOfMonth::of(day),
            months: Set::of(month, 1, 12),
            weekdays: DaysOfWeek::of(weekday),
            both_days: *both_days,
            years,
        }
    }

    /// Returns the first local time after one; none if there is none.
    pub(super) fn next_after(&self, after: DateTime) -> Option<DateTime> {
        self.after(after, &mut 0)
    }

    /// Returns the last local time before one; none if there is none.
    pub(super) fn last_before(&self, before: DateTime) -> Option<DateTime> {
        self.before(before, &mut 0)
    }

    /// Searches as `next_after`. `steps` counts the years and months that were considered.
    fn after(&self, after: DateTime, steps: &mut usize) -> Option<DateTime> {
        let date = after.date();
        if self.has(date)
            && let Some(time) = self.time_after(after.time())
        {
            return Some(date.to_datetime(time));
        }
        let time = self.first_time()?;
        let (first, last) = self.bounds();
        let from = date.year().max(first);
        for year in from..=last.min(from.saturating_add(CYCLE)) {
            *steps += 1;
            if !self.has_year(year) {
                continue;
            }
            let is_same_year = year == date.year();
            let mut month = self.months.from(if is_same_year { date.month() } else { 1 });
            while let Some(number) = month {
                *steps += 1;
                let first = if is_same_year && number == date.month() { date.day() + 1 } else { 1 };
                if let Some(day) = self.days_of(Month::of(year, number)?).from(first) {
                    return Some(Date::new(year, number, day).ok()?.to_datetime(time));
                }
                month = self.months.from(number + 1);
            }
        }
        None
    }

    /// Searches as `last_before`. `steps` counts the years and months that were considered.
    fn before(&self, before: DateTime, steps: &mut usize) -> Option<DateTime> {
        let date = before.date();
        if self.has(date)
            && let Some(time) = self.time_before(before.time())
        {
            return Some(date.to_datetime(time));
        }
        let time = self.last_time()?;
        let (first, last) = self.bounds();
        let until = date.year().min(last);
        for year in (first.max(until.saturating_sub(CYCLE))..=until).rev() {
            *steps += 1;
            if !self.has_year(year) {
                continue;
            }
            let is_same_year = year == date.year();
            let mut month = self.months.until(if is_same_year { date.month() } else { 12 });
            while let Some(number) = month {
                *steps += 1;
                let last = if is_same_year && number == date.month() { date.day() - 1 } else { 31 };
                if let Some(day) = self.days_of(Month::of(year, number)?).until(last) {
                    return Some(Date::new(year, number, day).ok()?.to_datetime(time));
                }
                month = self.months.until(number - 1);
            }
        }
        None
    }

    /// Returns the first and the last possible year.
    fn bounds(&self) -> (i16, i16) {
        match self.years {
            Some(_) => (YEARS.start().cast_signed(), YEARS.end().cast_signed()),
            None => (Date::MIN.year(), Date::MAX.year()),
        }
    }

    fn has_year(&self, year: i16) -> bool {
        let Some(years) = &self.years else { return true };
        let bit = usize::try_from(i32::from(year) - i32::from(*YEARS.start())).ok();
        bit.and_then(|bit| Some(years.get(bit / 64)? & (1 << (bit % 64)) != 0)).unwrap_or(false)
    }

    fn has(&self, date: Date) -> bool {
        self.has_year(date.year())
            && self.months.has(date.month())
            && Month::of(date.year(), date.month()).is_some_and(|month| self.days_of(month).has(date.day()))
    }

    /// Returns the days of a month, 1 to 31.
    fn days_of(&self, month: Month) -> Set {
        match (&self.days, &self.weekdays) {
            (None, None) => (1..=u16::from(month.days.unsigned_abs())).collect(),
            (Some(days), None) => days.within(month),
            (None, Some(weekdays)) => weekdays.within(month),
            (Some(days), Some(weekdays)) => {
                let (days, weekdays) = (days.within(month).0, weekdays.within(month).0);
                Set(if self.both_days { days & weekdays } else { days | weekdays })
            }
        }
    }

    fn first_time(&self) -> Option<Time> {
        Time::new(self.hours.from(0)?, self.minutes.from(0)?, self.seconds.from(0)?, 0).ok()
    }

    fn last_time(&self) -> Option<Time> {
        Time::new(self.hours.until(23)?, self.minutes.until(59)?, self.seconds.until(59)?, 0).ok()
    }

    fn time_after(&self, time: Time) -> Option<Time> {
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        if self.hours.has(hour) {
            let later = self.seconds.from(second + 1).filter(|_| self.minutes.has(minute));
            if let Some(second) = later {
                return Time::new(hour, minute, second, 0).ok();
            }
            if let Some(minute) = self.minutes.from(minute + 1) {
                return Time::new(hour, minute, self.seconds.from(0)?, 0).ok();
            }
        }
        let hour = self.hours.from(hour + 1)?;
        Time::new(hour, self.minutes.from(0)?, self.seconds.from(0)?, 0).ok()
    }

    fn time_before(&self, time: Time) -> Option<Time> {
        let (hour, minute) = (time.hour(), time.minute());
        // A fraction of a second comes after its whole second.
        let second = if time.subsec_nanosecond() > 0 { time.second() } else { time.second() - 1 };
        if self.hours.has(hour) {
            let earlier = self.seconds.until(second).filter(|_| self.minutes.has(minute));
            if let Some(second) = earlier {
                return Time::new(hour, minute, second, 0).ok();
            }
            if let Some(minute) = self.minutes.until(minute - 1) {
                return Time::new(hour, minute, self.seconds.until(59)?, 0).ok();
            }
        }
        let hour = self.hours.until(hour - 1)?;
        Time::new(hour, self.minutes.until(59)?, self.seconds.until(59)?, 0).ok()
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;
    use crate::schedule::Schedule;

    fn calendar(text: &str) -> Calendar {
        Calendar::of(text.parse::<Schedule>().unwrap_or_else(|error| panic!("{error}")).fields())
    }

    fn days(text: &str, year: i16, month: i8) -> Vec<i8> {
        let month = Month::of(year, month).unwrap();
        calendar(text).days_of(month).each().collect()
    }

    #[test]
    fn days_before_the_last_depend_on_the_length_of_the_month() {
        // January has 31 days, April 30, February 2027 28 and February 2028 29.
        for (day, lengths) in [
            ("L", [Some(31), Some(30), Some(28), Some(29)]),
            ("L-0", [Some(31), Some(30), Some(28), Some(29)]),
            ("L-1", [Some(30), Some(29), Some(27), Some(28)]),
            ("l-3", [Some(28), Some(27), Some(25), Some(26)]),
            ("L-27", [Some(4), Some(3), Some(1), Some(2)]),
            ("L-28", [Some(3), Some(2), None, Some(1)]),
            ("L-29", [Some(2), Some(1), None, None]),
            ("L-30", [Some(1), None, None, None]),
        ] {
            let months = [(2027, 1), (2027, 4), (2027, 2), (2028, 2)];
            for ((year, month), expected) in months.into_iter().zip(lengths) {
                let found = days(&format!("0 0 {day} * *"), year, month);
                assert_eq!(found, Vec::from_iter(expected), "{day} in {year}-{month}");
            }
        }
        assert_eq!(days("0 0 L-1,L-3,1 * *", 2027, 2), [1, 25, 27]);
    }

    #[test]
    fn the_nearest_workday_stays_in_the_month() {
        for (day, year, month, found) in [
            // A weekday, a Saturday, a Sunday.
            ("15W", 2027, 1, Some(15)),
            ("15W", 2027, 5, Some(14)),
            ("15W", 2027, 8, Some(16)),
            // The 1st is a Saturday: the 3rd. The 1st is a Sunday: the 2nd.
            ("1W", 2027, 5, Some(3)),
            ("1W", 2027, 8, Some(2)),
            // The 31st is a Sunday: the 29th. The 30th is the last, and a Saturday. There is no 31st, or no 29th.
            ("31W", 2027, 1, Some(29)),
            ("30W", 2028, 9, Some(29)),
            ("31W", 2027, 4, None),
            ("29W", 2027, 2, None),
            ("29W", 2028, 2, Some(29)),
            // Before the last: 28 January 2027 is a Thursday, 28 August 2027 a Saturday, 28 March 2027 a Sunday.
            ("L-3W", 2027, 1, Some(28)),
            ("L-3W", 2027, 8, Some(27)),
            ("L-3W", 2027, 3, Some(29)),
            // 1 May 2027 is a Saturday, 1 August 2027 a Sunday.
            ("L-30W", 2027, 5, Some(3)),
            ("L-30W", 2027, 8, Some(2)),
            ("L-30W", 2027, 4, None),
            ("L-28W", 2027, 2, None),
            ("L-28W", 2028, 2, Some(1)),
            // The last day is a Sunday: the Friday before it, and not the Monday after it.
            ("L-0W", 2027, 1, Some(29)),
            ("LW", 2027, 1, Some(29)),
            ("LW", 2027, 7, Some(30)),
            ("LW", 2027, 3, Some(31)),
        ] {
            assert_eq!(
                days(&format!("0 0 {day} * *"), year, month),
                Vec::from_iter(found),
                "{day} {year}-{month}"
            );
        }
    }

    #[test]
    fn searches_end_at_the_first_and_the_last_year() {
        let always = calendar("* * * * * * 1970-2199");
        let (first, last) = (date(1970, 1, 1).at(0, 0, 0, 0), date(2199, 12, 31).at(23, 59, 59, 0));
        assert_eq!(always.next_after(DateTime::MIN), Some(first));
        assert_eq!(always.last_before(first), None);
        assert_eq!(always.last_before(DateTime::MAX), Some(last));
        assert_eq!(always.next_after(last), None);
        let any = calendar("0 0 29 2 *");
        assert_eq!(any.next_after(date(1896, 3, 1).at(0, 0, 0, 0)), Some(date(1904, 2, 29).at(0, 0, 0, 0)));
        assert_eq!(any.next_after(date(2196, 3, 1).at(0, 0, 0, 0)), Some(date(2204, 2, 29).at(0, 0, 0, 0)));
        assert_eq!(any.last_before(DateTime::MIN), None);
        assert_eq!(any.next_after(DateTime::MAX), None);
    }

    /// The longest searches: for a day that occurs once in 40 years, and through all years without a result.
    #[test]
    fn every_search_is_short() {
        let years = usize::from(YEARS.end() - YEARS.start()) + 1;
        for text in [
            "0 0 29 2 *",
            "0 0 29 2 +MON",
            "0 0 L-28 2 +SUN#1",
            "0 0 0 29 2 +MON 1970-2100",
            "0 0 0 29 2 +MON 2090-2199",
            "0 0 0 1 1 * 2199",
            "0 0 0 1 1 * 1970",
            "0 0 31 * +MON#5",
            "0 0 L-30W * +FRI",
            "0 0 1W * +MON",
            "* * * * * *",
        ] {
            let calendar = calendar(text);
            for year in 1969..=2200 {
                for day in [date(year, 1, 1), date(year, 2, 28), date(year, 7, 4), date(year, 12, 31)] {
                    let (mut forth, mut back) = (0, 0);
                    calendar.after(day.at(12, 0, 0, 0), &mut forth);
                    calendar.before(day.at(12, 0, 0, 0), &mut back);
                    assert!(forth.max(back) <= 2 * years, "{text} from {day}: {forth} on, {back} back");
                }
            }
        }
    }

    proptest! {
        /// The backward search finds the same times as the forward search. So neither skips a time or finds one twice.
        #[test]
        fn forward_and_backward_searches_find_the_same_times(
            text in crate::schedule::tests::any_text(), year in 1990_i16..2100, day in 1_i16..366, second in 0_i64..86_400,
        ) {
            if let Ok(schedule) = text.parse::<Schedule>() {
                let calendar = Calendar::of(schedule.fields());
                let from = Date::constant(year, 1, 1).with().day_of_year(day).build().unwrap().at(0, 0, 0, 0);
                let from = from + jiff::SignedDuration::from_secs(second);
                if let Some(next) = calendar.next_after(from) {
                    prop_assert!(next > from);
                    let again = next + jiff::SignedDuration::from_nanos(1);
                    prop_assert_eq!(calendar.last_before(again), Some(next));
                    if let Some(before) = calendar.last_before(next) {
                        prop_assert!(before <= from, "{} was left out before {}", before, next);
                        prop_assert_eq!(calendar.next_after(before), Some(next));
                    }
                }
            }
        }
    }
}
