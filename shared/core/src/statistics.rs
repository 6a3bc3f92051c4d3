//! Statistics about runs: counts by status, and durations.
//!
//! A run counts in the hour of its id, which is the hour of its trigger. The counts of a [closed](closed)
//! hour no longer change, so they are kept as a *rollup*. [`plan`] decides which part of a time comes from
//! rollups, which rollups are missing, and which runs are read one by one.

use std::{collections::BTreeMap, fmt, ops::Range, str::FromStr, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::status::Status;

/// The range of a rollup.
pub const HOUR: Duration = Duration::from_secs(3600);
/// The time after its end at which an hour is closed. The last run of a deployment ends at most 3600 s
/// (CloudFormation's `ServiceTimeout`) and 900 s (Lambda's timeout) after its id was created.
pub const CLOSED_AFTER: Duration = Duration::from_secs(2 * 3600);

/// The resolution of durations: 32 steps for each doubling.
const STEPS: u64 = 32;

/// Statistics about some runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// The number of runs with each status.
    pub by_status: BTreeMap<Status, u64>,
    /// The durations of runs whose body ran.
    pub durations: Durations,
}

/// The distribution of durations. Percentiles are within 1/64 (1.6 %) of the exact ones; below 64 ms they are
/// exact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// The number of runs.
    pub count: u64,
    /// The sum in milliseconds.
    pub sum_ms: u64,
    /// The minimum in milliseconds; 0 if there is no run.
    pub min_ms: u64,
    /// The maximum in milliseconds; 0 if there is no run.
    pub max_ms: u64,
    /// The number of runs in each step. The steps of one doubling are equally wide.
    pub steps: BTreeMap<u16, u64>,
}

impl Statistics {
    /// Counts one run. `ran_ms` is its duration; none if its body did not run, or if the run was lost.
    pub fn count(&mut self, status: Status, ran_ms: Option<u64>) {
        *self.by_status.entry(status).or_default() += 1;
        if let Some(ms) = ran_ms {
            self.durations.count(ms);
        }
    }

    /// Returns both together, as if they had been counted as one.
    #[must_use]
    pub fn merged(mut self, others: &Self) -> Self {
        for (status, count) in &others.by_status {
            *self.by_status.entry(*status).or_default() += count;
        }
        self.durations = self.durations.merged(&others.durations);
        self
    }

    /// Returns the number of runs.
    pub fn total(&self) -> u64 {
        self.by_status.values().sum()
    }

    /// Returns the number of runs with this status.
    pub fn of(&self, status: Status) -> u64 {
        self.by_status.get(&status).copied().unwrap_or(0)
    }

    /// Returns the rate of completed runs among those that were not skipped, in tenths of a percent: 750 is
    /// 75 %. 0 if there is no run.
    pub fn success_permille(&self) -> u64 {
        let tried = self.total() - self.of(Status::Skipped);
        (self.of(Status::Completed) * 1000).checked_div(tried).unwrap_or(0)
    }
}

impl Durations {
    fn count(&mut self, ms: u64) {
        self.min_ms = if self.count == 0 { ms } else { self.min_ms.min(ms) };
        self.max_ms = self.max_ms.max(ms);
        self.count += 1;
        self.sum_ms = self.sum_ms.saturating_add(ms);
        *self.steps.entry(step(ms)).or_default() += 1;
    }

    fn merged(mut self, others: &Self) -> Self {
        if others.count == 0 {
            return self;
        }
        self.min_ms = if self.count == 0 { others.min_ms } else { self.min_ms.min(others.min_ms) };
        self.max_ms = self.max_ms.max(others.max_ms);
        self.count += others.count;
        self.sum_ms = self.sum_ms.saturating_add(others.sum_ms);
        for (step, count) in &others.steps {
            *self.steps.entry(*step).or_default() += count;
        }
        self
    }

    /// Returns the mean in milliseconds; 0 if there is no run.
    pub fn average_ms(&self) -> u64 {
        self.sum_ms.checked_div(self.count).unwrap_or(0)
    }

    /// Returns the shortest duration that `percent` of all runs do not exceed (nearest rank), in
    /// milliseconds; 0 if there is no run.
    pub fn percentile_ms(&self, percent: u8) -> u64 {
        let rank = (self.count * u64::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        for (step, count) in &self.steps {
            seen += count;
            if seen >= rank {
                return middle(*step).clamp(self.min_ms, self.max_ms);
            }
        }
        self.max_ms
    }
}

/// Returns the step of a duration: one for each ms up to 63 ms, then 32 for each doubling.
fn step(ms: u64) -> u16 {
    let doublings = u64::from(ms.max(1).ilog2()).saturating_sub(5);
    // At most 58 doublings of 32 steps, and 63.
    u16::try_from(doublings * STEPS + (ms >> doublings)).unwrap_or(u16::MAX)
}

/// Returns the duration in the middle of a step.
fn middle(step: u16) -> u64 {
    let step = u64::from(step);
    if step < 2 * STEPS {
        return step;
    }
    let doublings = step / STEPS - 1;
    let width = 1_u64.checked_shl(u32::try_from(doublings).unwrap_or(u32::MAX)).unwrap_or(u64::MAX);
    (step % STEPS + STEPS).saturating_mul(width).saturating_add(width / 2)
}

/// The time that statistics cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// The last hour.
    Hour,
    /// The last 24 hours.
    #[default]
    Day,
    /// The last 7 days, of 24 hours.
    Week,
    /// The last 30 days, of 24 hours.
    Month,
}

/// The error of a word that is not a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a window: it must be hour, day, week or month")]
pub struct InvalidWindow(pub String);

impl Window {
    /// All windows, shortest first.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// Returns the range that ends with `now`. It is one millisecond longer, so that it contains `now`.
    ///
    /// A range of more than an hour begins at a full hour, so that rollups cover its beginning. Otherwise each
    /// query would have to read the records of a partial hour, with 16 requests for each task.
    pub fn before(self, now: Timestamp) -> Range<Timestamp> {
        let hours = match self {
            Self::Hour => 1,
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::Month => 30 * 24,
        };
        let until = now.saturating_add(Duration::from_millis(1)).unwrap_or(now);
        let from = now.saturating_sub(HOUR * hours).unwrap_or(now);
        if self == Self::Hour { from..until } else { floor(from)..until }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Window {
    type Err = InvalidWindow;

    fn from_str(word: &str) -> Result<Self, InvalidWindow> {
        Self::ALL
            .into_iter()
            .find(|window| window.as_str() == word)
            .ok_or_else(|| InvalidWindow(word.to_owned()))
    }
}

/// The sources of the statistics of a time. All ranges are whole hours, except `one_by_one`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The closed whole hours of the time. Parts of `missing` outside of them only close a gap between rollups.
    pub hours: Range<Timestamp>,
    /// The part of `hours` that has rollups.
    pub kept: Range<Timestamp>,
    /// The rollups to make, in order. After each step, the hours with rollups have no gap.
    pub missing: Vec<Range<Timestamp>>,
    /// The parts whose runs are read one by one: a partial hour at the beginning, and hours that are not closed.
    pub one_by_one: Vec<Range<Timestamp>>,
}

/// The length of one rollup step. If a later one fails, the earlier ones are kept.
const STRETCH: Duration = Duration::from_secs(7 * 24 * 3600);

/// Returns the end of the last closed hour at `now`.
pub fn closed(now: Timestamp) -> Timestamp {
    floor(now.saturating_sub(CLOSED_AFTER).unwrap_or(Timestamp::MIN))
}

/// Returns the beginning of the hour of `at`.
pub fn floor(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    // Before the earliest timestamp there is no beginning of an hour, so the earliest is used.
    Timestamp::from_second(second - second.rem_euclid(3600)).unwrap_or(Timestamp::MIN)
}

fn ceil(at: Timestamp) -> Timestamp {
    let floor = floor(at);
    if floor == at { at } else { floor.saturating_add(HOUR).unwrap_or(Timestamp::MAX) }
}

/// Plans the statistics of `wanted`, if the hours of `covered` have rollups.
pub fn plan(wanted: &Range<Timestamp>, covered: Option<&Range<Timestamp>>, now: Timestamp) -> Plan {
    let first = ceil(wanted.start);
    let last = floor(wanted.end).min(closed(now));
    if first >= last {
        let one_by_one = Some(wanted.clone()).filter(|range| !range.is_empty()).into_iter().collect();
        return Plan { hours: first..first, kept: first..first, missing: Vec::new(), one_by_one };
    }
    let (kept, missing) = match covered.filter(|covered| !covered.is_empty()) {
        None => (first..first, forward(first..last)),
        Some(covered) => {
            let kept = first.max(covered.start)..last.min(covered.end);
            let mut missing = backward(first..covered.start);
            missing.extend(forward(covered.end..last));
            (if kept.is_empty() { first..first } else { kept }, missing)
        }
    };
    let ends = [wanted.start..first, last..wanted.end];
    Plan {
        hours: first..last,
        kept,
        missing,
        one_by_one: ends.into_iter().filter(|range| !range.is_empty()).collect(),
    }
}

fn forward(all: Range<Timestamp>) -> Vec<Range<Timestamp>> {
    let mut stretches = Vec::new();
    let mut start = all.start;
    while start < all.end {
        let end = start.saturating_add(STRETCH).unwrap_or(Timestamp::MAX).min(all.end);
        stretches.push(start..end);
        start = end;
    }
    stretches
}

fn backward(all: Range<Timestamp>) -> Vec<Range<Timestamp>> {
    let mut stretches = forward(all);
    stretches.reverse();
    stretches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap()
    }

    fn of(runs: &[(Status, u64)]) -> Statistics {
        let mut statistics = Statistics::default();
        for (status, ms) in runs {
            statistics.count(*status, Some(*ms).filter(|_| *status != Status::Skipped));
        }
        statistics
    }

    #[test]
    fn p05_three_completed_and_one_failed_are_four_and_75_percent() {
        let completed = (Status::Completed, 100);
        let statistics = of(&[completed, completed, completed, (Status::Failed, 900)]);
        assert_eq!((statistics.total(), statistics.success_permille()), (4, 750));
        assert_eq!(statistics.durations.average_ms(), 300);
        let skipped = of(&[completed, (Status::Skipped, 0), (Status::Skipped, 0)]);
        assert_eq!((skipped.total(), skipped.success_permille(), skipped.durations.count), (3, 1000, 1));
    }

    #[test]
    fn p05_no_data_is_0() {
        let none = Statistics::default();
        assert_eq!((none.total(), none.success_permille(), none.durations.average_ms()), (0, 0, 0));
        assert_eq!((none.durations.percentile_ms(50), none.durations.percentile_ms(99)), (0, 0));
    }

    #[test]
    fn p05_a_range_of_more_than_an_hour_begins_with_a_full_hour() {
        let now: Timestamp = "2027-01-15T08:20:30Z".parse().unwrap();
        for (window, from) in [
            (Window::Hour, "2027-01-15T07:20:30Z"),
            (Window::Day, "2027-01-14T08:00:00Z"),
            (Window::Week, "2027-01-08T08:00:00Z"),
            (Window::Month, "2026-12-16T08:00:00Z"),
        ] {
            let range = window.before(now);
            assert_eq!(range.start.to_string(), from, "{window}");
            assert!(range.contains(&now), "{window}");
        }
    }

    fn status() -> impl Strategy<Value = Status> {
        prop::sample::select(&Status::ALL[2..])
    }

    /// Durations of every magnitude.
    fn duration() -> impl Strategy<Value = u64> {
        (0_u32..64, any::<u64>()).prop_map(|(shift, bits)| bits >> shift)
    }

    proptest! {
        #[test]
        fn p05_rollups_merged_are_one_rollup_of_all(
            runs in prop::collection::vec((status(), 0_u64..2_000_000), 0..80),
            cut in 0_usize..80,
        ) {
            let cut = cut.min(runs.len());
            prop_assert_eq!(of(&runs[..cut]).merged(&of(&runs[cut..])), of(&runs));
        }

        #[test]
        fn p05_percentiles_are_within_the_error(
            mut durations in prop::collection::vec(duration(), 1..200),
            percent in 1_u8..=100,
        ) {
            let mut counted = Durations::default();
            for ms in &durations {
                counted.count(*ms);
            }
            durations.sort_unstable();
            let rank = (durations.len() * usize::from(percent)).div_ceil(100).max(1);
            let (exact, found) = (durations[rank - 1], counted.percentile_ms(percent));
            prop_assert!(found.abs_diff(exact) <= exact / 64 + 1, "{found} for {exact}");
            prop_assert!(exact >= 64 || found == exact, "{found} for {exact}");
        }

        /// For any covered range, every moment has one source. Afterwards the covered hours have no gap.
        #[test]
        fn p05_a_plan_counts_every_moment_once(
            from in -2000_i64..2000, length in 0_i64..1500, minute in 0_i64..60,
            covered in prop::option::of((-2000_i64..2000, 1_i64..2000)), now in -2000_i64..3000,
        ) {
            let wanted = at(from).checked_add(Duration::from_secs(minute.unsigned_abs() * 60)).unwrap()..at(from + length);
            // Covered hours were closed when their rollups were made.
            let covered = covered.map(|(from, length)| at(from)..at(from + length)).filter(|r| r.end <= closed(at(now)));
            let plan = plan(&wanted, covered.as_ref(), at(now));
            let mut union = covered.clone();
            for stretch in &plan.missing {
                prop_assert!(stretch.end <= closed(at(now)) && stretch.start < stretch.end);
                union = Some(match union {
                    None => stretch.clone(),
                    Some(all) => {
                        prop_assert!(stretch.start == all.end || stretch.end == all.start, "a gap: {stretch:?} at {all:?}");
                        all.start.min(stretch.start)..all.end.max(stretch.end)
                    }
                });
            }
            let made = plan.missing.iter().map(|r| r.start.max(plan.hours.start)..r.end.min(plan.hours.end));
            let all: Vec<_> = made.filter(|r| !r.is_empty())
                .chain([plan.kept.clone()]).chain(plan.one_by_one.clone()).filter(|r| !r.is_empty()).collect();
            for moment in (from..from + length).flat_map(|hour| [at(hour), at(hour).checked_add(Duration::from_secs(1800)).unwrap()]) {
                let places = all.iter().filter(|r| r.contains(&moment)).count();
                prop_assert_eq!(places, usize::from(wanted.contains(&moment)), "{} in {:?}", moment, plan);
            }
        }
    }
}
