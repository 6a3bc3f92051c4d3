//! What a runner shows: what tasks print, line by line, and what it does itself. Lines for people, or JSON objects.

use std::sync::atomic::{AtomicUsize, Ordering};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use lamplighter_local::LogLine;
use serde_json::{Map, Value, json};

use crate::{output, say, text::escaped, words::Words};

/// From here on no reader is waited for. Lines that were not shown are told by their number.
pub fn never_wait(words: &Words, json: bool) {
    let words = Words::new(words.locale());
    output::never_wait(move |count| {
        if json {
            json!({ "event": "lines_missed", "count": count }).to_string()
        } else {
            say!(&words, "main-missed", count = count)
        }
    });
}

/// Shows it.
pub struct Teller {
    /// The language.
    pub words: Words,
    json: bool,
    /// What a function's name has before its task's.
    prefix: String,
    /// The width of the longest name so far.
    width: AtomicUsize,
}

impl Teller {
    /// Somebody who shows what the functions of a stack print.
    pub fn new(words: &Words, json: bool, stack: &str) -> Self {
        let words = Words::new(words.locale()).within(words.columns());
        Self { words, json, prefix: format!("{stack}-"), width: AtomicUsize::new(0) }
    }

    /// A line that a function printed, and the text of it that is kept.
    pub fn line(&self, line: &LogLine, text: &str) {
        if output::is_gone() {
            return;
        }
        let task = line.function.strip_prefix(&self.prefix).unwrap_or(&line.function);
        let entries = serde_json::from_str::<Map<String, Value>>(text).ok();
        if self.json {
            match entries {
                Some(_) => output::plain(text),
                None => output::plain(json!({ "task": task, "message": line.line })),
            }
            return;
        }
        let width = self.width.fetch_max(task.len(), Ordering::Relaxed).max(task.len());
        output::line(readable(task, width, entries, &line.line));
    }

    /// Something that the runner did, in words, and for programs as an event of that name with these entries.
    pub fn event(&self, event: &str, entries: Value, text: &str) {
        if self.json {
            let mut whole = Map::from_iter([("event".to_owned(), event.into())]);
            if let Value::Object(entries) = entries {
                whole.extend(entries);
            }
            output::plain(Value::Object(whole));
        } else {
            output::line(text);
        }
    }

    /// Something that went wrong with the runner itself.
    pub fn warn(&self, text: &str) {
        let yellow = Style::new().fg_color(Some(AnsiColor::Yellow.into()));
        self.event("warning", json!({ "message": text }), &format!("{yellow}{}{yellow:#}", escaped(text)));
    }
}

/// A line as people read it: when, which task, how grave if it is, what, and what else it has.
fn readable(task: &str, width: usize, entries: Option<Map<String, Value>>, raw: &str) -> String {
    let dim = Style::new().dimmed();
    let mut entries = entries.unwrap_or_default();
    let mut text = |key: &str| match entries.remove(key) {
        Some(Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
        None => None,
    };
    let at = text("timestamp").and_then(|at| at.parse().ok()).unwrap_or_else(Timestamp::now);
    let at = at.strftime("%H:%M:%S");
    let level = text("level").unwrap_or_default();
    let message = text("message").unwrap_or_else(|| raw.to_owned());
    for known in ["task", "run_id", "trigger", "attempt", "target"] {
        text(known);
    }
    let others: Vec<_> = entries.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    let others = others.concat();
    let colour = match level.as_str() {
        "ERROR" => Style::new().fg_color(Some(AnsiColor::Red.into())),
        "WARN" => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
        _ => Style::new(),
    };
    let (message, others) = (escaped(&message), escaped(&others));
    format!("{dim}{at}{dim:#}  {task:width$}  {colour}{message}{colour:#}{dim}{others}{dim:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(task: &str, raw: &str) -> String {
        let line = readable(task, 6, serde_json::from_str(raw).ok(), raw);
        anstream::adapter::strip_str(&line).to_string()
    }

    #[test]
    fn a_line_says_when_which_task_and_what() {
        let line = r#"{"timestamp":"2026-11-21T06:00:07.123Z","level":"INFO","task":"purge","run_id":"x","attempt":1,"trigger":"pulse","target":"purge","message":"deleted","rows":12}"#;
        assert_eq!(plain("purge", line), "06:00:07  purge   deleted rows=12");
        assert!(plain("purge", "\u{1b}[31mred\u{7}").ends_with(r"purge   \u{1b}[31mred\u{7}"));
    }
}
