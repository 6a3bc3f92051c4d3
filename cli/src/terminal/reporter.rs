//! Shows a runner's events and the log lines of its tasks, as text or as JSON.

use std::sync::atomic::{AtomicUsize, Ordering};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use lamplighter_core::name::TaskName;
use lamplighter_local::LogLine;
use lamplighter_runner::events::{Event, Reporter};
use serde_json::{Map, Value, json};

use crate::{
    terminal::{output, text::escaped},
    tr,
    words::{Lines, Words},
};

/// Stops waiting for readers from here on. Dropped lines are counted and reported.
pub fn never_wait(words: &Words, json: bool) {
    let words = Words::new(words.locale());
    output::never_wait(move |count| {
        if json {
            json!({ "event": "lines_missed", "count": count }).to_string()
        } else {
            tr!(&words, "main-dropped", count = count)
        }
    });
}

/// Shows the events of a runner and the log lines of its tasks: as text, or as one JSON object a line.
pub struct Terminal {
    /// The language.
    pub words: Words,
    json: bool,
    /// The prefix of function names, before the task's name.
    prefix: String,
    /// The width of the longest task name so far.
    width: AtomicUsize,
}

impl Terminal {
    /// A reporter for the functions of a stack.
    pub fn new(words: &Words, json: bool, stack: &str) -> Self {
        let words = Words::new(words.locale()).with_width(words.columns());
        Self { words, json, prefix: format!("{stack}-"), width: AtomicUsize::new(0) }
    }

    /// Shows an event as text, or as a JSON object with this name and these entries.
    pub fn show(&self, event: &str, entries: Value, text: &str) {
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
}

impl Reporter for Terminal {
    fn line(&self, line: &LogLine, text: &str) {
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

    fn event(&self, event: &Event<'_>) {
        let words = &self.words;
        match event {
            Event::Built(tasks) => {
                let names: Vec<_> = tasks.iter().map(TaskName::as_str).collect();
                let text = tr!(words, "runner-built", tasks = names.join(", "));
                self.show("built", json!({ "tasks": names }), &text);
            }
            Event::BuildFailed(reason) => {
                let text = tr!(words, "runner-not-built", reason = Lines(reason));
                self.show("build_failed", json!({ "message": reason }), &text);
            }
            Event::Polling(reason) => {
                let text = tr!(words, "runner-polls", reason = *reason);
                self.show("looking", json!({ "message": reason }), &text);
            }
            Event::Missed { task, ticks, last } => {
                self.warn(&tr!(words, "runner-missed", task = *task, count = *ticks, last = *last));
            }
            Event::SideBegan(task) => {
                self.show(
                    "side-began",
                    json!({ "task": task }),
                    &tr!(words, "runner-side-began", task = *task),
                );
            }
            Event::SideEnded(task, status) => {
                let text = tr!(words, "runner-side-ended", task = *task, status = *status);
                self.show("side-ended", json!({ "task": task }), &text);
            }
            Event::SideElsewhere(task) => {
                let text = tr!(words, "runner-side-elsewhere", task = *task);
                self.show("side-elsewhere", json!({ "task": task }), &text);
            }
            Event::Stopping { running, grace } => {
                let text = tr!(words, "runner-stopping", count = *running, seconds = grace.as_secs());
                self.show("stopping", json!({ "running": running }), &text);
            }
            Event::Stopped => self.show("stopped", Value::Null, &tr!(words, "runner-stopped")),
            Event::TableInherited => {
                self.show("table-inherited", json!({}), &tr!(words, "runner-table-inherited"));
            }
            Event::TableInUse => output::note(tr!(words, "runner-table-in-use")),
            Event::Warning(text) => {
                let yellow = Style::new().fg_color(Some(AnsiColor::Yellow.into()));
                self.show(
                    "warning",
                    json!({ "message": text }),
                    &format!("{yellow}{}{yellow:#}", escaped(text)),
                );
            }
        }
    }
}

/// Formats a line for people: time, task, message in the colour of its level, other fields.
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
    fn a_line_shows_its_time_task_message_and_fields() {
        let line = r#"{"timestamp":"2026-11-21T06:00:07.123Z","level":"INFO","task":"purge","run_id":"x","attempt":1,"trigger":"pulse","target":"purge","message":"deleted","rows":12}"#;
        assert_eq!(plain("purge", line), "06:00:07  purge   deleted rows=12");
        assert!(plain("purge", "\u{1b}[31mred\u{7}").ends_with(r"purge   \u{1b}[31mred\u{7}"));
    }
}
