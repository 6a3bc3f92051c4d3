//! Writes YAML as a person would. Text that some version of YAML would read as another type is quoted.

use std::fmt::Write as _;

use serde_yaml_ng::{Mapping, Value};

use super::scalars::{NOT_TEXT, as_written};

/// A mapping in the order in which it is written.
macro_rules! map {
    ($($key:expr => $value:expr),* $(,)?) => {
        serde_yaml_ng::Value::Mapping(
            [$((serde_yaml_ng::Value::from($key), serde_yaml_ng::Value::from($value))),*]
                .into_iter()
                .collect::<serde_yaml_ng::Mapping>(),
        )
    };
}
pub(super) use map;

/// A sequence of anything that is a value.
macro_rules! list {
    ($($value:expr),* $(,)?) => {
        serde_yaml_ng::Value::Sequence(vec![$(serde_yaml_ng::Value::from($value)),*])
    };
}
pub(super) use list;

/// The entries of a mapping. Any other value has none.
pub(super) fn mapping(value: Value) -> Mapping {
    match value {
        Value::Mapping(mapping) => mapping,
        _ => Mapping::new(),
    }
}

/// The longest key that needs no `?` before it. Source: YAML 1.2.2, section 7.4.2.
const SHORT_KEY: usize = 1000;
/// The column before which a list on one line must end.
const LINE: usize = 100;

/// Writes the entry of a mapping, `indent` columns in.
pub(super) fn entry(out: &mut String, key: &str, value: &Value, indent: usize) {
    let mut entry = Mapping::new();
    entry.insert(key.into(), value.clone());
    write_mapping(out, &entry, indent);
}

fn write_mapping(out: &mut String, mapping: &Mapping, indent: usize) {
    for (key, value) in mapping {
        let key = match key {
            Value::String(text) if text.contains('\n') => quoted(text),
            key => scalar(key, indent),
        };
        if key.chars().count() <= SHORT_KEY {
            let _ = write!(out, "{:indent$}{key}:", "");
        } else {
            let _ = write!(out, "{:indent$}? {key}\n{:indent$}:", "", "");
        }
        if let Some(text) = inline(value, indent + 2, indent + key.len() + 2) {
            let _ = writeln!(out, " {text}");
        } else {
            out.push('\n');
            block(out, value, indent + 2);
        }
    }
}

/// Writes a mapping or a sequence on lines of its own.
fn block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Mapping(entries) => write_mapping(out, entries, indent),
        Value::Sequence(items) => {
            for item in items {
                if let Some(text) = inline(item, indent + 2, indent + 2) {
                    let _ = writeln!(out, "{:indent$}- {text}", "");
                } else {
                    let mut nested = String::new();
                    block(&mut nested, item, indent + 2);
                    let _ = write!(out, "{:indent$}- {}", "", nested.trim_start());
                }
            }
        }
        other => {
            let _ = writeln!(out, "{:indent$}{}", "", scalar(other, indent));
        }
    }
}

/// The value as text on the line of its key, if it fits there. `column` is where it would begin.
fn inline(value: &Value, indent: usize, column: usize) -> Option<String> {
    match value {
        Value::Mapping(entries) if entries.is_empty() => Some("{}".to_owned()),
        Value::Sequence(items) => {
            let words: Option<Vec<_>> = items.iter().map(word).collect();
            let text = format!("[{}]", words?.join(", "));
            (items.is_empty() || column + text.len() <= LINE).then_some(text)
        }
        Value::Mapping(_) => None,
        other => Some(scalar(other, indent)),
    }
}

/// A value as an item of a list on one line, if it can be one.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.contains('\n') => None,
        Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Tagged(_) => Some(scalar(value, 0)),
        _ => None,
    }
}

fn scalar(value: &Value, indent: usize) -> String {
    match value {
        Value::Bool(word) => word.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => string(text, indent),
        Value::Tagged(_) => as_written(value).unwrap_or("null").to_owned(),
        // Mappings and sequences are blocks.
        Value::Null | Value::Mapping(_) | Value::Sequence(_) => "null".to_owned(),
    }
}

fn string(text: &str, indent: usize) -> String {
    let printable = text.chars().all(|c| is_printable(c) || c == '\n');
    if is_plain(text) {
        text.to_owned()
    } else if printable && text.contains('\n') && can_be_block(text) {
        let chomping = if text.ends_with('\n') { "" } else { "-" };
        let lines = text
            .lines()
            .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("\n{:indent$}{line}", "") });
        format!("|{chomping}{}", lines.collect::<String>())
    } else if printable && text.contains('"') && !text.contains('\n') {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        quoted(text)
    }
}

/// The text in double quotes, on one line. YAML reads JSON strings, but some more characters must be escaped.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.chars()
        .map(|c| if is_printable(c) { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) })
        .collect()
}

/// Returns true if YAML allows the character unescaped, and it ends no line.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Returns true if the text means the same without quotes, also in a list on one line.
fn is_plain(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') || text.starts_with("../");
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "-_./@+:*".contains(c);
    begins
        && text.chars().all(is_safe)
        && !text.ends_with(':')
        && !NOT_TEXT.contains(&text.to_ascii_lowercase().as_str())
}

/// Returns true if the text means the same as a block of lines.
fn can_be_block(text: &str) -> bool {
    !text.starts_with([' ', '\n']) && !text.ends_with("\n\n") && text.lines().all(|line| !line.ends_with(' '))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: &Value) -> String {
        let mut out = String::new();
        entry(&mut out, "Key", value, 2);
        out
    }

    #[test]
    fn a_value_is_written_readably() {
        let value = map! {
            "Type" => "AWS::IAM::Role",
            "Actions" => list!["logs:PutLogEvents", "${x}"],
            "Items" => list![map! { "A" => 1, "B" => map! { "C" => true } }, list![map! { "D" => "e" }]],
            "Code" => "a\n\n  b\n",
            "Json" => r#"{"it's":1}"#,
            "Empty" => list![],
        };
        let expected = r#"  Key:
    Type: AWS::IAM::Role
    Actions: [logs:PutLogEvents, "${x}"]
    Items:
      - A: 1
        B:
          C: true
      - - D: e
    Code: |
      a

        b
    Json: '{"it''s":1}'
    Empty: []
"#;
        assert_eq!(written(&value), expected);
    }

    #[test]
    fn any_value_is_read_back() {
        for text in [
            "",
            " ",
            "a b",
            "on",
            "No",
            "null",
            "~",
            "1",
            "0x1",
            "1:30",
            "2012-10-17",
            "1_000",
            "1e5",
            ".5",
            "a: b",
            "a #b",
            "#",
            "- a",
            "[a",
            "{a",
            "*a",
            "&a",
            "!a",
            "|",
            ">",
            "%",
            "@",
            "`",
            "'",
            "\"",
            "\"'",
            "a:",
            "::",
            "a\n",
            "a\nb",
            "\na",
            "a\n\n",
            " a\nb",
            "a \nb",
            "a\tb",
            "tab\t\nb",
            "ä",
            "\u{7f}",
            "a\u{85}b",
            "\u{2028}\"",
            "\u{feff}",
            "\u{1f600}",
            "x".repeat(200).as_str(),
            "../target/x.zip",
            "s3:*",
        ] {
            is_read_back(text);
        }
        is_read_back(&"a long key ".repeat(200));
    }

    /// Writes the text as a value, in a list and as a key, and reads it again.
    fn is_read_back(text: &str) {
        let value = map! { "Nested" => list![text, map! { text => text, "Last" => map! { text => 1 } }] };
        let read: Value = serde_yaml_ng::from_str(&written(&value))
            .unwrap_or_else(|error| panic!("{text:?}: {error}\n{}", written(&value)));
        assert_eq!(read, map! { "Key" => value }, "{text:?}\n{}", written(&read));
    }

    proptest! {
        #[test]
        fn any_text_is_read_back(text in "(\\PC|[ \n\r\t:#'\"\\[\\]{},&*!|>%@`\u{85}\u{2028}\u{feff}-]){0,40}") {
            is_read_back(&text);
        }
    }
}
