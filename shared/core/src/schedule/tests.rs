//! The language: what is read, and what is refused with its place.

use super::*;

fn refused(text: &str) -> (String, String) {
    let fault = text.parse::<Schedule>().unwrap_err();
    let at = fault.text.get(fault.span.clone()).unwrap_or_else(|| panic!("{text}: {fault:?}")).to_owned();
    let reason = [Some(fault.reason.as_str()), fault.hint.as_deref()];
    (at, reason.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

#[test]
fn c01_words_stand_for_expressions() {
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
        ("0 0 0 1 1 * */2", "0 0 0 1 1 * 1970-2199/2"),
    ] {
        let schedule: Schedule = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(schedule.fields().to_string(), expression, "{text}");
        assert_eq!(schedule.as_str(), text);
    }
}

#[test]
fn c02_a_fault_has_its_place_and_its_reason() {
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
        ("@reboot", "@reboot", "stands for a scheduler's start, and none is started here"),
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
        ("every 5 minuts", "minuts", "did you mean minute?"),
        ("every", "every", "behind `every` stands a unit"),
    ] {
        let (place, why) = refused(text);
        assert_eq!(place, at, "{text}: {why}");
        assert!(why.contains(reason), "{text}: {why}");
    }
}

#[test]
fn c02_a_long_text_is_refused_without_being_repeated() {
    let error = "*,".repeat(10_000).parse::<Schedule>().unwrap_err();
    assert!(error.to_string().len() < 400, "{error}");
}

#[test]
fn a_schedule_is_known_by_its_text() {
    let [a, b]: [Schedule; 2] = ["@daily", "0 0 * * *"].map(|text| text.parse().unwrap());
    assert_ne!(a, b);
    assert_eq!(serde_json::to_string(&a).unwrap(), r#""@daily""#);
    assert_eq!(serde_json::from_str::<Schedule>(r#""@daily""#).unwrap(), a);
    assert!(
        serde_json::from_str::<Schedule>(r#""daily""#).unwrap_err().to_string().contains("it has 1 field,")
    );
}
