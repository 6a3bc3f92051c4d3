//! Shorthands for a schedule: nicknames such as `@daily`, and phrases such as `every 5 minutes`.

use super::fault::InvalidSchedule;
use crate::suggest::nearest;

const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// A unit of `every`.
struct Unit {
    word: &'static str,
    /// The number of units in the next larger one, if it is constant.
    in_next: Option<u32>,
    next: &'static str,
    /// The expression for every single unit.
    one: &'static str,
    /// The parts of the expression before and after `*/n`.
    around: (&'static str, &'static str),
}

const fn unit(word: &'static str, in_next: Option<u32>, next: &'static str, one: &'static str) -> Unit {
    Unit { word, in_next, next, one, around: ("", "") }
}

const UNITS: [Unit; 7] = [
    Unit { around: ("", " * * * * *"), ..unit("second", Some(60), "minute", "* * * * * *") },
    Unit { around: ("", " * * * *"), ..unit("minute", Some(60), "hour", "* * * * *") },
    Unit { around: ("0 ", " * * *"), ..unit("hour", Some(24), "day", "0 * * * *") },
    unit("day", None, "month", "0 0 * * *"),
    unit("week", None, "month", "0 0 * * 0"),
    unit("month", None, "year", "0 0 1 * *"),
    unit("year", None, "", "0 0 1 1 *"),
];

/// Returns the cron expression of a nickname or a phrase; none if the text is neither.
pub(super) fn expand(text: &str) -> Option<Result<String, InvalidSchedule>> {
    let trimmed = text.trim();
    let at = text.find(trimmed).unwrap_or_default();
    if trimmed.starts_with('@') {
        return Some(nickname(text, trimmed, at).map(str::to_owned));
    }
    let words: Vec<_> = trimmed.split_ascii_whitespace().collect();
    if !words.first()?.eq_ignore_ascii_case("every") {
        return None;
    }
    let place = |word: &str| {
        // A word is a slice of the text, so its address shows its place.
        let from = word.as_ptr() as usize - text.as_ptr() as usize;
        from..from + word.len()
    };
    Some(match words[1..] {
        [unit] => every(text, None, (unit, place(unit))),
        [count, unit] => every(text, Some((count, place(count))), (unit, place(unit))),
        _ => {
            let reason =
                "expected a unit after `every`, with or without a number: `every hour`, `every 5 minutes`";
            Err(InvalidSchedule::new(text, at..at + trimmed.len(), reason))
        }
    })
}

fn nickname(text: &str, word: &str, at: usize) -> Result<&'static str, InvalidSchedule> {
    if let Some((_, expression)) = NICKNAMES.iter().find(|(known, _)| *known == word) {
        return Ok(expression);
    }
    let fault = |reason: String| InvalidSchedule::new(text, at..at + word.len(), reason);
    if word == "@reboot" {
        let reason = "`@reboot` means the start of a scheduler, and none is started here: what runs once a deployment \
                      is a lifecycle task";
        return Err(fault(reason.to_owned()));
    }
    let known = NICKNAMES.map(|(known, _)| known);
    let fault = fault(format!("`{word}` is not a nickname: there are {}", known.join(", ")));
    Err(match nearest(word, known) {
        Some(near) => fault.hint(format!("did you mean {near}?")),
        None => fault,
    })
}

type Word<'a> = (&'a str, std::ops::Range<usize>);

fn every(text: &str, count: Option<Word<'_>>, (word, place): Word<'_>) -> Result<String, InvalidSchedule> {
    let lower = word.to_ascii_lowercase();
    let is_unit = |unit: &Unit| lower.strip_suffix('s').unwrap_or(&lower) == unit.word;
    let Some(index) = UNITS.iter().position(is_unit) else {
        let units = UNITS.map(|unit| unit.word);
        let fault = InvalidSchedule::new(
            text,
            place,
            format!("`{word}` is not a unit: there are {}", units.join(", ")),
        );
        return Err(match nearest(&lower, units) {
            Some(near) => fault.hint(format!("did you mean {near}?")),
            None => fault,
        });
    };
    let unit = &UNITS[index];
    let Some((digits, place)) = count else { return Ok(unit.one.to_owned()) };
    let fault = |reason: String| InvalidSchedule::new(text, place, reason);
    let number = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let Some(count) = number.filter(|_: &u32| !digits.starts_with('0')) else {
        return Err(fault(format!("`{digits}` is not a number of at least 1, in digits alone")));
    };
    even(index, count).ok_or_else(|| {
        let (one, next) = (unit.word, unit.next);
        let Some(in_next) = unit.in_next else {
            let reason = format!("`every {count} {one}s` has no fixed days: only `every {one}` has");
            return fault(reason).hint("write a cron expression for the days that are meant");
        };
        let even: Vec<_> = (1..in_next).filter(|n| in_next.is_multiple_of(*n)).map(|n| n.to_string()).collect();
        let reason = format!(
            "{count} {one}s do not divide the {next} evenly, so one pause in each {next} would be shorter; those that do are {}",
            even.join(", ")
        );
        let hint = format!("write `{}*/{count}{}` if that is meant", unit.around.0, unit.around.1);
        if count < in_next { fault(reason).hint(hint) } else { fault(reason) }
    })
}

/// Returns the expression for every `count`-th unit, if all pauses are equal.
fn even(index: usize, count: u32) -> Option<String> {
    let unit = UNITS.get(index)?;
    if count == 1 {
        return Some(unit.one.to_owned());
    }
    let in_next = unit.in_next?;
    if count < in_next && in_next.is_multiple_of(count) {
        return Some(format!("{}*/{count}{}", unit.around.0, unit.around.1));
    }
    if count.is_multiple_of(in_next) { even(index + 1, count / in_next) } else { None }
}
