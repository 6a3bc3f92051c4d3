//! Tests of the language: texts that are read, and texts that are refused with the place of the fault.

use jiff::{Timestamp, tz::TimeZone};
use proptest::prelude::*;

use super::*;

/// Texts that are schedules or nearly so.
pub(super) fn any_text() -> impl Strategy<Value = String> {
    let number = prop_oneof![8 => (0..62_u16).prop_map(|n| n.to_string()), 1 => any::<u16>().prop_map(|n| n.to_string())];
    let small = || (0..32_u8).prop_map(|n| n.to_string());
    let word = prop::sample::select(vec![
        "*", "?", "L", "LW", "l", "MON", "sun", "FRI#2", "6#L", "5L", "JAN", "feb", "15W", "31W", "L-3",
        "L-30W", "SUN#5", "2", "29", "30", "31", "1", "2028", "2100",
    ]);
    let item = prop_oneof![
        4 => word.prop_map(str::to_owned),
        4 => small(),
        1 => number,
        2 => (small(), small()).prop_map(|(a, b)| format!("{a}-{b}")),
        1 => small().prop_map(|n| format!("*/{n}")),
        1 => (small(), small(), small()).prop_map(|(a, b, n)| format!("{a}-{b}/{n}")),
        1 => small().prop_map(|n| format!("L-{n}")),
        1 => small().prop_map(|n| format!("{n}W")),
        1 => (0..9_u8, 0..7_u8).prop_map(|(day, nth)| format!("{day}#{nth}")),
    ];
    let field = prop_oneof![
        3 => Just("*".to_owned()),
        4 => prop::collection::vec(item, 1..3).prop_map(|items| items.join(",")),
    ];
    (prop::collection::vec(field, 5..=7), any::<bool>()).prop_map(|(mut fields, both)| {
        let weekday = if fields.len() == 5 { 4 } else { 5 };
        if both {
            fields[weekday].insert(0, '+');
        }
        fields.join(" ")
    })
}

/// A text with faults of the kinds that typing and copying make.
fn any_fault() -> impl Strategy<Value = String> {
    let near = prop_oneof![
        3 => any_text(),
        1 => Just("every 5 minutes".to_owned()),
        1 => Just("@daily".to_owned()),
    ];
    let strange = prop_oneof![
        any::<char>(),
        prop::sample::select(
            "+-*/,#LW?@ \u{a0}\u{3000}\u{200b}\u{feff}\u{202e}\t\n\0\u{b}5６ü".chars().collect::<Vec<_>>()
        ),
    ];
    (near, prop::collection::vec((any::<prop::sample::Index>(), strange), 0..4)).prop_map(
        |(text, changes)| {
            let mut text: Vec<char> = text.chars().collect();
            for (at, c) in changes {
                text.insert(at.index(text.len() + 1), c);
            }
            text.into_iter().collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any text is parsed or refused without a panic, and a fault has a position in the text. The numeric form
    /// of a parsed schedule parses to the same fields.
    #[test]
    fn any_text_is_parsed_or_refused_with_a_position(text in prop_oneof![any_fault(), any_text(), any::<String>()]) {
        match text.parse::<Schedule>() {
            Ok(schedule) => {
                let written = schedule.fields().to_string();
                let again: Schedule = written.parse().unwrap_or_else(|error| panic!("{error}"));
                prop_assert_eq!(again.fields(), schedule.fields());
                let from = Timestamp::from_second(1_800_000_000).unwrap();
                let _ = (schedule.next_after(&TimeZone::UTC, from), schedule.last_before(&TimeZone::UTC, from));
                let _ = schedule.to_eventbridge();
                prop_assert!(text.chars().all(|c| c.is_ascii_graphic() || c.is_ascii_whitespace()), "{:?}", text);
            }
            Err(fault) => {
                prop_assert!(fault.text.get(fault.span.clone()).is_some(), "{:?}", fault);
                let shown = fault.to_string();
                prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{:?}", shown);
            }
        }
    }

    /// croner and the search find the same times, for all texts that croner can read.
    #[test]
    fn croner_finds_the_same_times(text in any_text(), from in 0_i64..4_000_000_000) {
        let before_last = |field: &Field| {
            field.iter().any(|item| matches!(item, Item::BeforeLast(_) | Item::WorkdayBeforeLast(_)))
        };
        // croner stores `LW` as a flag of the whole list, and not of one item.
        let several = |field: &Field| field.len() > 1 && field.iter().any(|item| matches!(item, Item::LastWorkday));
        let schedule = text.parse::<Schedule>().ok();
        if let Some(schedule) = schedule.filter(|it| !before_last(&it.fields().day) && !several(&it.fields().day)) {
            let croner: croner::Cron = schedule.fields().to_string().parse().unwrap();
            let mut at = TimeZone::UTC.to_datetime(Timestamp::from_second(from).unwrap());
            for _ in 0..3 {
                let theirs = croner.find_next_occurrence(&at, false).ok();
                let theirs = theirs.filter(|time| time.year() < 3000);
                prop_assert_eq!(schedule.parsed.calendar.next_after(at), theirs, "{} after {}", text, at);
                if theirs.is_none() {
                    let back = croner.find_previous_occurrence(&at, false).ok();
                    prop_assert_eq!(schedule.parsed.calendar.last_before(at), back, "{} before {}", text, at);
                }
                let Some(next) = theirs else { break };
                at = next;
            }
        }
    }
}

fn refused(text: &str) -> (String, String) {
    let fault = text.parse::<Schedule>().unwrap_err();
    let at = fault.text.get(fault.span.clone()).unwrap_or_else(|| panic!("{text}: {fault:?}")).to_owned();
    let reason = [Some(fault.reason.as_str()), fault.hint.as_deref()];
    (at, reason.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

#[test]
fn c01_words_are_aliases_of_expressions() {
    for (text, expression) in [
        ("@hourly", "0 * * * *"),
        ("@midnight", "0 0 * * *"),
        (" @weekly ", "0 0 * * 0"),
        ("every minute", "* * * * *"),
        ("every 1 minute", "* * * * *"),
        ("Every 5  Minutes", "*/5 * * * *"),
        ("every 60 minutes", "0 * * * *"),
        ("every 120 minutes", "0 */2 * * *"),
        ("every 2 hours", "0 */2 * * *"),
        ("every 24 hours", "0 0 * * *"),
        ("every hour", "0 * * * *"),
        ("every day", "0 0 * * *"),
        ("every week", "0 0 * * 0"),
        ("every month", "0 0 1 * *"),
        ("every year", "0 0 1 1 *"),
        ("every second", "* * * * * *"),
        ("every 30 seconds", "*/30 * * * * *"),
        ("every 300 seconds", "*/5 * * * *"),
        ("0 6 * jan-MAR Mon", "0 6 * 1-3 1"),
        ("0 6 ? * sat-sun", "0 6 * * 6-7"),
        ("0 6 LW,15w * +fri#2,5L,7#L", "0 6 LW,15W * +5#2,5#L,0#L"),
        ("0 6 l-3,L-3w,L-0,L-07 * *", "0 6 L-3,L-3W,L,L-7 * *"),
        ("0 0 0 1 1 * */2", "0 0 0 1 1 * 1970-2199/2"),
    ] {
        let schedule: Schedule = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(schedule.fields().to_string(), expression, "{text}");
        assert_eq!(schedule.as_str(), text);
    }
}

#[test]
fn c02_a_fault_has_its_position_and_reason() {
    for (text, at, reason) in [
        ("", "", "it is empty"),
        ("   ", "", "it is empty"),
        ("* * *", "* * *", "it has 3 fields, and a cron expression has five"),
        ("61 * * * *", "61", "minutes are 0 to 59, and not 61"),
        ("0 24 * * *", "24", "hours are 0 to 23, and not 24"),
        ("0 0 * * 8", "8", "days of the week are 0 to 7, where 0 and 7 are Sunday, and not 8"),
        ("0 0 0 1 1 * 1969", "1969", "years are 1970 to 2199, and not 1969"),
        (
            "0 6 * * MOM",
            "MOM",
            "`MOM` is not a day of the week: they are 0 to 7, or SUN to SAT; did you mean MON?",
        ),
        ("0 6 * january *", "january", "did you mean JAN?"),
        ("0 0 10-5 * *", "10-5", "the range `10-5` runs backwards; write `10-31,1-5` to go over the end"),
        ("0 22-6 * * *", "22-6", "write `22-23,0-6` to go over the end"),
        ("0 0 * * fri-mon", "fri-mon", "write `5-6,0-1` to go over the end"),
        ("0 0 /30 * *", "/30", "a step needs a range before it; write `*/30`"),
        ("0/10 * * * *", "0/10", "a step needs a range, and not one value, before it; write `0-59/10`"),
        ("*/0 * * * *", "0", "a step is at least 1"),
        ("*/90 * * * *", "90", "a step of 90 leads out of the minutes, which are 0 to 59"),
        ("*/x * * * *", "x", "a step is a number"),
        ("1,,2 * * * *", "", "a minute is missing here"),
        ("1- * * * *", "", "a minute is missing here"),
        ("*,5 * * * *", "*", "`*` is every value already"),
        ("? * * * *", "?", "`?` stands only for the day of the month or the day of the week; write `*`"),
        ("0 12 1-15W * *", "1-15W", "`W` stands behind one day"),
        ("0 12 +1 * MON", "+1", "`+1` is not a day of the month"),
        ("0 12 * * 1#6", "6", "behind `#` stands 1 to 5, or `L`"),
        ("0 12 * * L", "L", "write `FRI#L`"),
        ("0 12 * * MON-WED#1", "MON-WED#1", "behind one day of the week"),
        ("0 12 L,LW * *", "L,LW", "cannot stand in one list"),
        ("-5 * * * *", "", "a minute is missing here"),
        ("５ * * * *", "５", "is not a minute"),
        ("99999999999 * * * *", "99999999999", "minutes are 0 to 59"),
        ("@never", "@never", "`@never` is not a nickname"),
        ("@dayly", "@dayly", "did you mean @daily?"),
        ("@Daily", "@Daily", "did you mean @daily?"),
        ("@reboot", "@reboot", "means the start of a scheduler, and none is started here"),
        ("@daily 0 0 * * *", "@daily 0 0 * * *", "is not a nickname"),
        ("every 7 minutes", "7", "write `*/7 * * * *` if that is meant"),
        ("every 90 minutes", "90", "do not divide the hour evenly"),
        (
            "every 5 hours",
            "5",
            "those that do are 1, 2, 3, 4, 6, 8, 12; write `0 */5 * * *` if that is meant",
        ),
        ("every 2 days", "2", "has no fixed days"),
        ("every 48 hours", "48", "do not divide the day evenly"),
        ("every 0 minutes", "0", "is not a number of at least 1"),
        ("every five minutes", "five", "is not a number of at least 1"),
        ("every +5 minutes", "+5", "is not a number of at least 1, in digits alone"),
        ("every -5 minutes", "-5", "is not a number of at least 1"),
        ("every 5 minuts", "minuts", "did you mean minute?"),
        ("every", "every", "expected a unit after `every`"),
        ("0 12 * * MON#+2", "+2", "behind `#` stands 1 to 5, or `L`"),
        ("0 12 * * MON#02", "02", "behind `#` stands 1 to 5, or `L`"),
        ("every 005 minutes", "005", "is not a number of at least 1"),
        ("*/+5 * * * *", "+5", "a step is a number"),
        ("0 12 L-31 * *", "31", "behind `L-` stands how many days before the month's last: 0 to 30"),
        ("0 12 L- * *", "", "behind `L-` stands how many days"),
        ("0 12 L-W * *", "W", "behind `L-` stands how many days"),
        ("0 12 L-+3 * *", "+3", "behind `L-` stands how many days"),
        ("0 12 L-3-5 * *", "3-5", "behind `L-` stands how many days"),
        ("0 12 * * L-1", "L", "`L` is not a day of the week"),
        (
            "*\u{a0}* * * *",
            "\u{a0}",
            "U+00A0 stands in it, which looks like a space or like nothing; between fields",
        ),
        ("* *\u{3000}* * *", "\u{3000}", "U+3000"),
        ("* * * * *\u{2028}", "\u{2028}", "U+2028"),
        ("every\u{2009}5 minutes", "\u{2009}", "U+2009"),
        ("\u{feff}@daily", "\u{feff}", "U+FEFF"),
        ("5\u{200b} * * * *", "\u{200b}", "U+200B"),
        ("5\u{b}* * * *", "\u{b}", "U+000B"),
        ("\u{a0}", "\u{a0}", "U+00A0"),
    ] {
        let (place, why) = refused(text);
        assert_eq!(place, at, "{text}: {why}");
        assert!(why.contains(reason), "{text}: {why}");
    }
}

#[test]
fn c02_a_schedule_that_never_fires_is_refused_at_its_date() {
    for (text, at, reason) in [
        (
            "0 0 31 2 *",
            "31 2",
            "it never fires: `31` is no day of February; days are 1 to 29 there, and `L` is the last one",
        ),
        ("0 0 30 feb *", "30 feb", "`30` is no day of February"),
        (
            "0 0 31 4,6,9,11 *",
            "31 4,6,9,11",
            "`31` is no day of any of April, June, September, November; days are 1 to 30",
        ),
        ("0 0 30-31 2 *", "30-31 2", "`30-31` is no day of February"),
        ("0 0 31W 2,4 *", "31W 2,4", "`31W` is no day of any of February, April"),
        ("0 0 L-29 2 *", "L-29 2", "`L-29` is no day of February"),
        ("0 0 L-30W 6 *", "L-30W 6", "`L-30W` is no day of June"),
        ("0 0 L-30 2,11 *", "L-30 2,11", "`L-30` is no day of"),
        ("0 0 30 2 +MON", "30 2", "`30` is no day of February"),
        (
            "0 0 29 2 +MON#1",
            "29 2 +MON#1",
            "no day is both `29` of February and `+MON#1`; without `+` either",
        ),
        ("0 0 1 * +FRI#L", "1 * +FRI#L", "no day is both `1` of any month and `+FRI#L`"),
        ("0 0 15W 5 +SUN", "15W 5 +SUN", "no day is both `15W`"),
        ("0 0 0 29 2 * 2027", "29 2 * 2027", "the years 2027 have no such day"),
        ("0 0 0 29 2 * 2100,2101", "29 2 * 2100,2101", "have no such day"),
        ("0 0 0 1 1 +MON 2027", "1 1 +MON 2027", "have no such day"),
        ("  0 0 0 * 2 MON#5 2027", "* 2 MON#5 2027", "have no such day"),
    ] {
        let (place, why) = refused(text);
        assert_eq!(place, at, "{text}: {why}");
        assert!(why.contains(reason), "{text}: {why}");
    }
    for text in [
        "0 0 29 2 *",
        "0 0 31 2,3 *",
        "0 0 29 2 +MON",
        "0 0 30 2 MON",
        "0 0 L-28 2 *",
        "0 0 L-30 * *",
        "0 0 L-1 2 SUN#5",
        "0 0 0 29 2 * 2028",
        "0 0 0 * 2 MON#5 2044",
        "0 0 31W * *",
    ] {
        assert!(text.parse::<Schedule>().is_ok(), "{text}");
    }
}

#[test]
fn a_schedule_in_the_past_is_reported_with_its_last_time() {
    let zone = |name| TimeZone::get(name).unwrap();
    let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
    for (text, zone_name, at, reason) in [
        (
            "0 0 0 1 1 * 2020",
            "UTC",
            "2020",
            "it never fires again: its last time was 2020-01-01T00:00:00Z; name a year",
        ),
        ("0 0 12 28 11 * 2025,2026", "UTC", "2025,2026", "its last time was 2026-11-28T12:00:00Z"),
        // The clock leaves out 02:30 of each last Sunday of March.
        (
            "30 2 * 3 SUN#L",
            "Europe/Vienna",
            "30 2 * 3 SUN#L",
            "a clock change of its time zone leaves out each",
        ),
    ] {
        let schedule: Schedule = text.parse().unwrap();
        let fault = schedule.first_after(&zone(zone_name), now).unwrap_err();
        assert_eq!(&fault.text[fault.span.clone()], at, "{fault}");
        assert!(fault.to_string().contains(reason), "{fault}");
    }
    let schedule: Schedule = "0 0 12 28 11 * 2025,2026".parse().unwrap();
    let first = schedule.first_after(&zone("America/New_York"), now).unwrap();
    assert_eq!(first.to_string(), "2026-11-28T17:00:00Z");
    let elsewhere: Schedule = "30 2 * 3 SUN#L".parse().unwrap();
    assert!(elsewhere.first_after(&zone("America/New_York"), now).is_ok());
}

/// docs/schedules.md says each of these.
#[test]
fn the_documented_syntax_holds() {
    let fields =
        |text: &str| text.parse::<Schedule>().unwrap_or_else(|error| panic!("{error}")).fields().clone();
    // The largest steps, whatever range they go through.
    for (field, largest, template) in [
        ("second", 59, "*/N * * * * *"),
        ("minute", 59, "*/N * * * *"),
        ("hour", 23, "0 */N * * *"),
        ("day", 30, "0 0 */N * *"),
        ("month", 11, "0 0 1 */N *"),
        ("weekday", 7, "0 0 * * */N"),
        ("year", 229, "0 0 0 1 1 * */N"),
        ("minute of a range", 59, "0-9/N * * * *"),
    ] {
        let with = |step: u16| template.replace('N', &step.to_string()).parse::<Schedule>();
        assert!(with(largest).is_ok() && with(largest + 1).is_err(), "{field}");
    }
    // A week that ends on Sunday may end with 0, and only that.
    for text in ["0 0 * * 5-0", "0 0 * * 5-7", "0 0 * * FRI-SUN", "0 0 * * fri-0"] {
        assert_eq!(fields(text), fields("0 0 * * 5-7"), "{text}");
    }
    assert!("0 0 * * 5-1".parse::<Schedule>().is_err());
    // Nicknames are in small letters; all other words are in any.
    assert!("@DAILY".parse::<Schedule>().is_err() && "@Daily".parse::<Schedule>().is_err());
    assert_eq!(fields("EVERY 5 Minutes"), fields("*/5 * * * *"));
    assert_eq!(fields("0 0 lw,l-3w jan Fri#l"), fields("0 0 LW,L-3W JAN FRI#L"));
    // The length of a text.
    let long = format!("{}11 * * * *", "1,".repeat(123));
    assert_eq!((long.len(), MAX_TEXT), (256, 256));
    assert!(long.parse::<Schedule>().is_ok() && format!("{long} ").parse::<Schedule>().is_err());
}

#[test]
fn c02_a_long_text_is_refused_without_being_repeated() {
    let error = "*,".repeat(10_000).parse::<Schedule>().unwrap_err();
    assert!(error.to_string().len() < 400, "{error}");
}

#[test]
fn equal_schedules_have_equal_text() {
    let [a, b]: [Schedule; 2] = ["@daily", "0 0 * * *"].map(|text| text.parse().unwrap());
    assert_ne!(a, b);
    assert_eq!(serde_json::to_string(&a).unwrap(), r#""@daily""#);
    assert_eq!(serde_json::from_str::<Schedule>(r#""@daily""#).unwrap(), a);
    assert!(
        serde_json::from_str::<Schedule>(r#""daily""#).unwrap_err().to_string().contains("it has 1 field,")
    );
}
