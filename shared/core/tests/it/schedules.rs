//! Ticks of schedules: the vectors of the Open Cron Pattern Specification, clock changes, and due ticks.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use lamplighter_core::{
    catch_up::CatchUp,
    definition::Cron,
    name::TaskName,
    schedule::{Due, GRACE, MOST_TICKS, Missed, Schedule, due, put_off},
};
use proptest::prelude::*;

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn name(text: &str) -> TaskName {
    text.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Returns the ticks after one instant and up to another, as local times with their offsets.
fn between(text: &str, zone_name: &str, from: &str, to: &str) -> Vec<String> {
    let (schedule, zone) = (schedule(text), zone(zone_name));
    let from = at(from).checked_sub(SignedDuration::from_nanos(1)).unwrap();
    let to = at(to);
    let ticks: Vec<_> = schedule.ticks(&zone, from).take_while(|tick| *tick <= to).collect();
    let mut back = Vec::new();
    let mut before = to.checked_add(SignedDuration::from_nanos(1)).unwrap();
    while let Some(tick) = schedule.last_before(&zone, before).filter(|tick| *tick > from) {
        back.push(tick);
        before = tick;
    }
    back.reverse();
    assert_eq!(ticks, back, "{text} in {zone_name}: backwards it has other ticks");
    let local =
        ticks.into_iter().map(|tick| tick.to_zoned(zone.clone()).strftime("%d %H:%M %:z").to_string());
    local.collect()
}

#[test]
fn c01_the_vectors_of_the_specification_hold() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("ocps.json")).unwrap();
    let mut held = 0;
    for vector in vectors.as_object().unwrap().values().filter_map(|value| value.as_array()).flatten() {
        let text = vector["pattern"].as_str().unwrap();
        let parsed = text.parse::<Schedule>();
        held += 1;
        if vector["reject"] == true {
            assert!(parsed.is_err(), "{text} is accepted");
            continue;
        }
        if vector.get("runtime").is_some() {
            // `@reboot`, understood and refused, since nothing starts up here.
            let error = parsed.unwrap_err();
            assert!(error.reason.contains("start of a scheduler"), "{error}");
            continue;
        }
        if text == "* * 31 2 *" {
            // Understood, and refused, since it never fires.
            let error = parsed.unwrap_err();
            assert!(error.reason.contains("it never fires"), "{error}");
            continue;
        }
        let parsed = parsed.unwrap_or_else(|error| panic!("{error}"));
        if let Some(other) = vector["equivalent"].as_str() {
            assert_eq!(parsed.fields(), schedule(other).fields());
        }
        for (key, expected) in [("match", true), ("no_match", false)] {
            for time in vector[key].as_array().into_iter().flatten() {
                let time: DateTime = time.as_str().unwrap().parse().unwrap();
                let instant = TimeZone::UTC.to_timestamp(time).unwrap();
                let before = instant.checked_sub(SignedDuration::from_secs(1)).unwrap();
                let fires = parsed.next_after(&TimeZone::UTC, before) == Some(instant);
                assert_eq!(fires, expected, "{text} at {time}");
            }
        }
    }
    assert_eq!(held, 36);
}

#[test]
fn c01_the_next_tick_is_after_now() {
    let next = |text: &str, now: &str| schedule(text).next_after(&TimeZone::UTC, at(now));
    assert_eq!(next("*/5 * * * *", "2026-11-21T12:03:00Z"), Some(at("2026-11-21T12:05:00Z")));
    assert_eq!(next("*/5 * * * *", "2026-11-21T12:05:00Z"), Some(at("2026-11-21T12:10:00Z")));
    assert_eq!(next("*/5 * * * *", "2026-11-21T12:04:59.999Z"), Some(at("2026-11-21T12:05:00Z")));
    assert_eq!(next("0 6 * * 1", "2026-11-21T12:03:00Z"), Some(at("2026-11-23T06:00:00Z")));
    assert_eq!(next("0 0 29 2 *", "2026-11-21T12:03:00Z"), Some(at("2028-02-29T00:00:00Z")));
    assert_eq!(next("0 0 29 2 *", "2096-03-01T00:00:00Z"), Some(at("2104-02-29T00:00:00Z")));
    assert_eq!(next("0 0 0 1 1 * 2020", "2026-11-21T12:03:00Z"), None);
    let last = schedule("*/5 * * * *").last_before(&TimeZone::UTC, at("2026-11-21T12:05:00.5Z"));
    assert_eq!(last, Some(at("2026-11-21T12:05:00Z")));
}

/// Cases from other projects' tests: days before the month's last, and the rules of `W`, `#` and both days.
#[test]
fn c01_the_vectors_of_other_projects_hold() {
    for (source, text, zone_name, from, next) in [
        ("Spring", "0 0 * L-1 * *", "UTC", "2021-01-29T00:01:00Z", "2021-01-30T00:00:00Z"),
        ("Spring", "0 0 0 L-3 * *", "UTC", "2008-01-04T13:37:11Z", "2008-01-28T00:00:00Z"),
        ("Cronos", "* * * L-1 * *", "America/New_York", "2016-01-01T04:59:59Z", "2016-01-30T05:00:00Z"),
        ("Cronos", "* * * L-28 * *", "America/New_York", "2016-01-01T04:59:59Z", "2016-01-03T05:00:00Z"),
        ("Cronos", "* * * L-30 * *", "America/New_York", "2016-01-01T04:59:59Z", "2016-01-01T05:00:00Z"),
        ("Cronos", "* * * L-1W * *", "America/New_York", "2017-01-01T04:59:59Z", "2017-01-30T05:00:00Z"),
        ("Cronos", "* * * L-4W * *", "America/New_York", "2017-01-01T04:59:59Z", "2017-01-27T05:00:00Z"),
        ("Cronos", "* * * L-0W * *", "America/New_York", "2016-02-01T04:59:59Z", "2016-02-29T05:00:00Z"),
        ("Quartz", "0 15 10 L-3 2 ? 2005", "UTC", "2005-02-24T10:15:00Z", "2005-02-25T10:15:00Z"),
        ("Quartz", "0 15 10 L-3 2 ? 2000", "UTC", "2000-02-25T10:15:00Z", "2000-02-26T10:15:00Z"),
        ("Quartz", "0 15 10 L-5W * ? 2010", "UTC", "2010-10-25T10:15:00Z", "2010-10-26T10:15:00Z"),
        ("Quartz", "0 15 10 L-1W,L-1 * ? 2010", "UTC", "2010-10-28T10:15:00Z", "2010-10-29T10:15:00Z"),
        ("saffron", "0 0 L-28W 2 *", "UTC", "1969-12-31T23:59:59Z", "1972-02-01T00:00:00Z"),
        ("edges", "0 0 29 2 *", "UTC", "1896-02-29T00:00:00Z", "1904-02-29T00:00:00Z"),
    ] {
        let zone = zone(zone_name);
        let found = schedule(text).next_after(&zone, at(from)).unwrap();
        assert_eq!(found, at(next), "{source}: {text} after {from}");
        let before = found.checked_add(SignedDuration::from_nanos(1)).unwrap();
        assert_eq!(schedule(text).last_before(&zone, before), Some(found), "{source}: {text}");
    }
    for text in ["* * L-31 * *", "* * l-31 * *", "0 0 * * L-1", "* * * * MON#02", "* * * * 5#005"] {
        assert!(text.parse::<Schedule>().is_err(), "{text}");
    }
}

/// A local time that the clock change leaves out has no tick. A local time that occurs twice has its tick the
/// first time.
#[test]
fn c03_a_tick_at_half_past_two_in_a_night_of_a_clock_change() {
    for (zone, text, from, to, ticks) in [
        (
            "Europe/Vienna",
            "30 2 * * *",
            "2026-03-28T00:00:00Z",
            "2026-03-30T12:00:00Z",
            &["28 02:30 +01:00", "30 02:30 +02:00"][..],
        ),
        (
            "Europe/Vienna",
            "30 2 * * *",
            "2026-10-24T00:00:00Z",
            "2026-10-26T12:00:00Z",
            &["24 02:30 +02:00", "25 02:30 +02:00", "26 02:30 +01:00"],
        ),
        (
            "America/New_York",
            "30 2 * * *",
            "2026-03-07T00:00:00Z",
            "2026-03-09T12:00:00Z",
            &["07 02:30 -05:00", "09 02:30 -04:00"],
        ),
        (
            "America/New_York",
            "30 1 * * *",
            "2026-10-31T00:00:00Z",
            "2026-11-02T12:00:00Z",
            &["31 01:30 -04:00", "01 01:30 -04:00", "02 01:30 -05:00"],
        ),
        // On Lord Howe the clock goes forward by half an hour, from 02:00 to 02:30, and back from 02:00 to 01:30.
        (
            "Australia/Lord_Howe",
            "15 2 * * *",
            "2026-10-02T12:00:00Z",
            "2026-10-04T20:00:00Z",
            &["03 02:15 +10:30", "05 02:15 +11:00"],
        ),
        (
            "Australia/Lord_Howe",
            "30 2 * * *",
            "2026-10-02T12:00:00Z",
            "2026-10-04T20:00:00Z",
            &["03 02:30 +10:30", "04 02:30 +11:00", "05 02:30 +11:00"],
        ),
        (
            "Australia/Lord_Howe",
            "45 1 * * *",
            "2026-04-03T12:00:00Z",
            "2026-04-05T20:00:00Z",
            &["04 01:45 +11:00", "05 01:45 +11:00", "06 01:45 +10:30"],
        ),
        // There it changes at 02:45 and 03:45.
        (
            "Pacific/Chatham",
            "30 2 * * *",
            "2026-09-25T12:00:00Z",
            "2026-09-27T20:00:00Z",
            &["26 02:30 +12:45", "27 02:30 +12:45", "28 02:30 +13:45"],
        ),
        (
            "Pacific/Chatham",
            "0 3 * * *",
            "2026-09-25T12:00:00Z",
            "2026-09-27T20:00:00Z",
            &["26 03:00 +12:45", "28 03:00 +13:45"],
        ),
        (
            "Pacific/Chatham",
            "0 3 * * *",
            "2026-04-03T12:00:00Z",
            "2026-04-05T20:00:00Z",
            &["04 03:00 +13:45", "05 03:00 +13:45", "06 03:00 +12:45"],
        ),
        (
            "Asia/Kolkata",
            "30 2 * * *",
            "2026-03-28T00:00:00Z",
            "2026-03-30T12:00:00Z",
            &["29 02:30 +05:30", "30 02:30 +05:30"],
        ),
        (
            "UTC",
            "30 2 * * *",
            "2026-03-28T00:00:00Z",
            "2026-03-30T00:00:00Z",
            &["28 02:30 +00:00", "29 02:30 +00:00"],
        ),
    ] {
        assert_eq!(between(text, zone, from, to), ticks, "{text} in {zone}");
    }
}

#[test]
fn c03_steps_over_a_clock_change() {
    assert_eq!(
        between("*/15 * * * *", "Europe/Vienna", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"),
        ["29 01:30 +01:00", "29 01:45 +01:00", "29 03:00 +02:00", "29 03:15 +02:00", "29 03:30 +02:00"]
    );
    // From 02:00 to 03:00 the clock shows each time twice: an hour passes without a tick.
    assert_eq!(
        between("*/15 * * * *", "Europe/Vienna", "2026-10-25T00:15:00Z", "2026-10-25T02:15:00Z"),
        ["25 02:15 +02:00", "25 02:30 +02:00", "25 02:45 +02:00", "25 03:00 +01:00", "25 03:15 +01:00"]
    );
    assert_eq!(
        between("*/15 * * * *", "Australia/Lord_Howe", "2026-04-04T14:30:00Z", "2026-04-04T15:45:00Z"),
        ["05 01:30 +11:00", "05 01:45 +11:00", "05 02:00 +10:30", "05 02:15 +10:30"]
    );
    assert_eq!(
        between("*/15 * * * *", "Pacific/Chatham", "2026-09-26T13:45:00Z", "2026-09-26T14:15:00Z"),
        ["27 02:30 +12:45", "27 03:45 +13:45", "27 04:00 +13:45"]
    );
    // Each second, over both changes: none twice, none lost, and no long search.
    let (every, vienna) = (schedule("every second"), zone("Europe/Vienna"));
    for (from, seconds) in [("2026-03-29T00:00:00Z", 7200), ("2026-10-25T00:00:00Z", 3600)] {
        let to = at(from).checked_add(SignedDuration::from_hours(2)).unwrap();
        let ticks = every.ticks(&vienna, at(from)).take_while(|tick| *tick <= to).count();
        assert_eq!(ticks, seconds, "{from}");
    }
}

fn task(text: &str, catch_up: CatchUp) -> Cron {
    Cron { catch_up, ..Cron::new(Some(schedule(text))) }
}

fn due_between(cron: &Cron, last: Timestamp, now: Timestamp) -> Due {
    due(cron, &name("purge"), &TimeZone::UTC, last, now)
}

fn all(within: &str) -> CatchUp {
    format!("all within {within}").parse().unwrap()
}

fn ran(due: Due) -> (Vec<Timestamp>, Missed) {
    match due {
        Due::Come { run, missed, .. } => (run, missed),
        Due::Waiting { .. } => (Vec::new(), Missed::default()),
    }
}

#[test]
fn c21_a_pause_of_ten_minutes_under_each_policy() {
    let (last, now) = (at("2026-11-21T12:00:00Z"), at("2026-11-21T12:10:20Z"));
    let minute = |minute: u8| at(&format!("2026-11-21T12:{minute:02}:00Z"));
    for (policy, run, missed) in [
        (CatchUp::None, 10..=10, 1..=9),
        (CatchUp::Last, 10..=10, 1..=9),
        (all("1h"), 1..=10, 0..=0),
        (all("5m"), 6..=10, 1..=5),
    ] {
        let decision = due_between(&task("* * * * *", policy), last, now);
        let next = Some(minute(11));
        let missed = Missed { ticks: missed.filter(|at| *at > 0).map(minute).collect(), more: false };
        assert_eq!(decision, Due::Come { run: run.map(minute).collect(), missed, next }, "{policy}");
    }
    // The last tick is older than the grace period: only `none` gives it up.
    let (run, missed) = ran(due_between(&task("1 12 * * *", CatchUp::None), last, now));
    assert_eq!((run, missed.ticks), (vec![], vec![minute(1)]));
    let (run, missed) = ran(due_between(&task("1 12 * * *", CatchUp::Last), last, now));
    assert_eq!((run, missed.ticks), (vec![minute(1)], vec![]));
    let just_late = minute(1).checked_add(GRACE).unwrap();
    let (run, _) = ran(due_between(&task("1 12 * * *", CatchUp::None), last, just_late));
    assert_eq!(run, [minute(1)]);
}

#[test]
fn c21_after_years_there_is_no_burst() {
    let (last, now) = (at("2020-01-01T00:00:00Z"), at("2026-11-21T12:10:20Z"));
    for policy in [CatchUp::None, CatchUp::Last, all("30d")] {
        let (run, missed) = ran(due_between(&task("* * * * * *", policy), last, now));
        let most = if matches!(policy, CatchUp::All { .. }) { MOST_TICKS } else { 1 };
        assert_eq!(run.len(), most, "{policy}");
        assert_eq!(run.last(), Some(&now), "{policy}");
        assert!(missed.more, "{policy}");
        assert!(run.len() + missed.ticks.len() <= MOST_TICKS, "{policy}");
    }
}

#[test]
fn c21_ticks_within_one_pulse_are_superseded_without_being_missed() {
    let (last, now) = (at("2026-11-21T12:00:00Z"), at("2026-11-21T12:01:00Z"));
    let (run, missed) = ran(due_between(&task("*/10 * * * * *", CatchUp::Last), last, now));
    assert_eq!((run, missed), (vec![now], Missed::default()));
    let (run, _) = ran(due_between(&task("*/10 * * * * *", all("2m")), last, now));
    assert_eq!(run.len(), 6);
}

#[test]
fn c04_a_schedule_function_has_a_tick_each_minute() {
    let cron = Cron::new(None);
    let minute = |minute: u8| at(&format!("2026-11-21T12:{minute:02}:00Z"));
    let decision = due_between(&cron, minute(3), at("2026-11-21T12:03:59Z"));
    assert_eq!(decision, Due::Waiting { next: Some(minute(4)) });
    let decision = due_between(&cron, minute(3), at("2026-11-21T12:06:01Z"));
    assert_eq!(
        decision,
        Due::Come { run: vec![minute(6)], missed: Missed::default(), next: Some(minute(7)) }
    );
}

#[test]
fn jitter_delays_each_task_by_a_fixed_share() {
    let cron = Cron { jitter: Duration::from_secs(300), ..task("0 12 * * *", CatchUp::Last) };
    let shares = ["purge", "report", "backup"].map(|task| put_off(&cron, &name(task)));
    assert!(shares.iter().all(|share| *share < cron.jitter), "{shares:?}");
    assert!(shares[0] != shares[1] && shares[1] != shares[2], "{shares:?}");
    let tick = at("2026-11-21T12:00:00Z");
    let turn = tick.checked_add(shares[0]).unwrap();
    let before = turn.checked_sub(SignedDuration::from_nanos(1)).unwrap();
    let last = at("2026-11-21T11:59:00Z");
    assert_eq!(due_between(&cron, last, before), Due::Waiting { next: Some(tick) });
    let next = Some(at("2026-11-22T12:00:00Z"));
    assert_eq!(
        due_between(&cron, before, turn),
        Due::Come { run: vec![tick], missed: Missed::default(), next }
    );
    assert_eq!(due_between(&cron, turn, turn), Due::Waiting { next });
}

const ZONES: [&str; 6] =
    ["UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Pacific/Chatham", "Asia/Kolkata"];

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let field = |values: std::ops::RangeInclusive<u8>| {
        let (first, last) = (*values.start(), *values.end());
        prop_oneof![
            3 => Just("*".to_owned()),
            2 => values.clone().prop_map(|value| value.to_string()),
            1 => (1..=last / 2).prop_map(|step| format!("*/{step}")),
            1 => (first..=last / 2, last / 2..=last).prop_map(|(a, b)| format!("{a}-{b}")),
            1 => (values.clone(), values).prop_map(|(a, b)| format!("{a},{b}")),
        ]
    };
    let day = prop_oneof![4 => field(1..=28), 1 => Just("L".to_owned()), 1 => Just("15W".to_owned())];
    let weekday =
        prop_oneof![4 => field(0..=6), 1 => Just("FRI#2".to_owned()), 1 => Just("MON#L".to_owned())];
    (field(0..=59), field(0..=23), day, field(1..=12), weekday).prop_map(
        |(minute, hour, day, month, weekday)| schedule(&format!("{minute} {hour} {day} {month} {weekday}")),
    )
}

/// An instant within a few years, usually near a clock change of one of the zones.
fn any_instant() -> impl Strategy<Value = Timestamp> {
    let start = at("2025-01-01T00:00:00Z").as_second();
    let year = 365 * 24 * 3600;
    let near = prop_oneof![
        Just(at("2026-03-29T01:00:00Z")),
        Just(at("2026-10-25T01:00:00Z")),
        Just(at("2026-04-04T15:00:00Z")),
        Just(at("2026-09-26T14:00:00Z")),
        Just(at("2026-11-01T06:00:00Z")),
    ];
    let second = prop_oneof![
        (start..start + 4 * year),
        (near, -10_000_i64..10_000).prop_map(|(change, off)| change.as_second() + off),
    ];
    (second, 0..1_000_000_000).prop_map(|(second, nano)| Timestamp::new(second, nano).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn c01_ticks_are_in_order_and_match(schedule in any_schedule(), from in any_instant(), zone in prop::sample::select(&ZONES[..])) {
        let zone = TimeZone::get(zone).unwrap();
        let cron: croner::Cron = schedule.fields().to_string().parse().unwrap();
        let mut last = from;
        for tick in schedule.ticks(&zone, from).take(20) {
            prop_assert!(tick > last);
            prop_assert!(cron.is_time_matching(&zone.to_datetime(tick)).unwrap());
            prop_assert_eq!(zone.to_ambiguous_timestamp(zone.to_datetime(tick)).earlier().unwrap(), tick);
            if last != from {
                prop_assert_eq!(schedule.last_before(&zone, tick), Some(last));
            }
            last = tick;
        }
    }

    /// croner decides which local times match. A minute without a tick does not match, or its local time occurs
    /// for the second time.
    #[test]
    fn c01_no_tick_is_left_out(schedule in any_schedule(), from in any_instant(), zone in prop::sample::select(&ZONES[..])) {
        let zone = TimeZone::get(zone).unwrap();
        let cron: croner::Cron = schedule.fields().to_string().parse().unwrap();
        let first = Timestamp::from_second(from.as_second().div_euclid(60) * 60 + 60).unwrap();
        let minutes = (0..300).map(|i| first.checked_add(SignedDuration::from_mins(i)).unwrap());
        let expected: Vec<_> = minutes.filter(|minute| {
            let local = zone.to_datetime(*minute);
            cron.is_time_matching(&local).unwrap() && zone.to_ambiguous_timestamp(local).earlier().unwrap() == *minute
        }).collect();
        let end = first.checked_add(SignedDuration::from_mins(299)).unwrap();
        let ticks: Vec<_> = schedule.ticks(&zone, first.checked_sub(SignedDuration::from_nanos(1)).unwrap())
            .take_while(|tick| *tick <= end).collect();
        prop_assert_eq!(ticks, expected);
    }

    #[test]
    fn c21_two_pulses_run_the_same_ticks_as_one(
        schedule in any_schedule(), a in any_instant(), first in 0..20_000_i64, second in 0..20_000_i64, jitter in 0..600_u64,
        zone in prop::sample::select(&ZONES[..]),
    ) {
        let zone = TimeZone::get(zone).unwrap();
        let cron = Cron {
            catch_up: CatchUp::All { within: Duration::from_secs(1_000_000) },
            jitter: Duration::from_secs(jitter),
            ..Cron::new(Some(schedule))
        };
        let name = name("purge");
        let b = a.checked_add(SignedDuration::from_secs(first)).unwrap();
        let c = b.checked_add(SignedDuration::from_secs(second)).unwrap();
        let mut run = ran(due(&cron, &name, &zone, a, b)).0;
        run.extend(ran(due(&cron, &name, &zone, b, c)).0);
        let whole = ran(due(&cron, &name, &zone, a, c));
        prop_assert_eq!(run, whole.0);
        prop_assert_eq!(whole.1, Missed::default());
    }
}
