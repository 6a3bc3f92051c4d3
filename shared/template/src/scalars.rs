//! Plain scalars of YAML, which its versions read differently. A scalar that some version reads as a number or a
//! boolean is kept as written, so that CloudFormation reads the original text.

use serde_yaml_ng::{
    Value,
    value::{Tag, TaggedValue},
};

/// The tag of a word that is kept as it was written. No tag in a file can have this text.
const PLAIN: &str = "as written";
/// The words that some version of YAML reads as a boolean or as null.
pub(super) const NOT_TEXT: [&str; 9] = ["y", "n", "yes", "no", "true", "false", "on", "off", "null"];

/// The value of a plain scalar.
pub(super) fn plain(word: &str) -> Value {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return true.into(),
        "false" | "False" | "FALSE" => return false.into(),
        _ => {}
    }
    let digits = word.strip_prefix('-').unwrap_or(word);
    let is_decimal = digits.chars().all(|c| c.is_ascii_digit()) && !digits.starts_with('0') || word == "0";
    match word.parse::<i64>() {
        Ok(number) if is_decimal => number.into(),
        _ if is_ambiguous(word) => {
            Value::Tagged(Box::new(TaggedValue { tag: Tag::new(PLAIN), value: word.into() }))
        }
        _ => word.into(),
    }
}

/// Returns true if some version of YAML reads the word as a number, a boolean or null. A date is text, since CloudFormation has
/// no dates.
fn is_ambiguous(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let unsigned = lower.trim_start_matches(['+', '-']);
    let begins = unsigned.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit());
    let may_be_in_one = |c: char| c.is_ascii_hexdigit() || "xo_+-.:".contains(c);
    let is_number = begins && lower.chars().all(may_be_in_one) && !lower.ends_with(':') && !is_date(&lower);
    is_number || NOT_TEXT.contains(&lower.as_str()) || [".inf", ".nan"].contains(&unsigned)
}

fn is_date(word: &str) -> bool {
    let parts: Vec<_> = word.split('-').collect();
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    matches!(parts[..], [year, month, day]
        if year.len() == 4 && [1, 2].contains(&month.len()) && [1, 2].contains(&day.len())
            && [year, month, day].into_iter().all(digits))
}

/// The word, if the value is kept as it was written.
pub(super) fn as_written(value: &Value) -> Option<&str> {
    match value {
        Value::Tagged(tagged) if tagged.tag == PLAIN => tagged.value.as_str(),
        _ => None,
    }
}

/// The text of a key, of whatever type.
pub(super) fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(word) => word.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null => "null".to_owned(),
        other => as_written(other).unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_words_are_kept_as_they_were_written() {
        for word in [
            "yes",
            "No",
            "on",
            "OFF",
            "y",
            "N",
            "010",
            "0777",
            "00",
            "0x1F",
            "0o17",
            "1_000",
            "1:30",
            "1e5",
            "1.10",
            "3.9",
            "-0",
            "+1",
            ".5",
            "-.5",
            "1.",
            ".inf",
            "-.INF",
            ".NaN",
            "012345678901",
            "12345678901234567890",
            "1-2-3",
        ] {
            assert_eq!(as_written(&plain(word)), Some(word), "{word}");
        }
    }

    #[test]
    fn other_words_have_their_usual_type() {
        for (word, value) in [
            ("1", Value::from(1)),
            ("-12", (-12).into()),
            ("0", 0.into()),
            ("123456789012", 123_456_789_012_i64.into()),
            ("true", true.into()),
            ("~", Value::Null),
            ("2010-09-09", "2010-09-09".into()),
            ("2012-10-17", "2012-10-17".into()),
            ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00".into()),
            ("python3.12", "python3.12".into()),
            ("10.0.0.0/16", "10.0.0.0/16".into()),
            ("1d", "1d".into()),
            ("-", "-".into()),
            (".", ".".into()),
            ("5 minutes", "5 minutes".into()),
            ("1:", "1:".into()),
        ] {
            let read = plain(word);
            assert!(read == value || as_written(&read) == Some(word), "{word}: {read:?}");
            if !matches!(word, "1d") {
                assert_eq!(read, value, "{word}");
            }
        }
    }
}
