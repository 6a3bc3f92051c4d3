//! The lines that functions print.

use std::{sync::Mutex, time::Duration};

use lamplighter_local::LogLine;
use tokio::{sync::watch, time::timeout};

/// The longest wait for a line.
const PATIENCE: Duration = Duration::from_secs(60);

/// The lines so far.
#[derive(Clone, Debug)]
pub struct Log(watch::Receiver<Vec<LogLine>>);

impl Log {
    /// Creates an empty log, and the function that adds a line to it.
    pub fn new() -> (Self, impl Fn(LogLine) + Send + Sync + 'static) {
        let (sender, lines) = watch::channel(Vec::new());
        let sender = Mutex::new(sender);
        (Self(lines), move |line| sender.lock().unwrap().send_modify(|lines| lines.push(line)))
    }

    /// Returns the lines.
    pub fn all(&self) -> Vec<LogLine> {
        self.0.borrow().clone()
    }

    /// Returns the lines as a text, each after the name of its function.
    pub fn text(&self) -> String {
        let lines = self.0.borrow();
        lines.iter().map(|line| format!("{} {}", line.function, line.line)).collect::<Vec<_>>().join("\n")
    }

    /// Waits for a line that contains the text, and returns it.
    pub async fn containing(&self, text: &str) -> LogLine {
        let mut lines = self.0.clone();
        let find = |lines: &[LogLine]| lines.iter().find(|it| it.line.contains(text)).cloned();
        let waited = timeout(PATIENCE, lines.wait_for(|lines| find(lines).is_some())).await;
        let found = waited.ok().and_then(Result::ok).and_then(|lines| find(&lines));
        found.unwrap_or_else(|| panic!("no line with {text:?}:\n{}", self.text()))
    }
}
