//! What functions print, line by line, on its way to whoever started the host.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

use crate::mutex::lock;

/// A longer line arrives in parts, as in CloudWatch Logs.
const MAX_LINE_BYTES: u64 = 256 * 1024;

/// One line of a function's standard output or error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The function that printed it.
    pub function: String,
    /// The invocation it belongs to; none while the process starts. A line that was printed in the last moment
    /// of one invocation may carry the id of the next.
    pub request_id: Option<String>,
    /// The label of that invocation, where [`HostOptions::label`](crate::HostOptions) finds one in its payload.
    pub label: Option<String>,
    /// The line without its end. What is not UTF-8 is replaced.
    pub line: String,
}

/// The invocation that a line belongs to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Of {
    pub(crate) request_id: Option<String>,
    pub(crate) label: Option<String>,
}

pub(crate) type Sink = Arc<dyn Fn(LogLine) + Send + Sync>;

/// Passes on every line of `output` until it ends. `of` is the invocation of the moment.
pub(crate) async fn pass_on(
    mut output: impl AsyncBufRead + Unpin,
    sink: Sink,
    function: String,
    of: Arc<Mutex<Of>>,
) {
    let mut line = Vec::new();
    while let Ok(1..) = (&mut output).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text).to_owned();
        let Of { request_id, label } = lock(&of).clone();
        sink(LogLine { function: function.clone(), request_id, label, line: text });
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_lose_their_ends_and_keep_all_else() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let sink: Sink = Arc::new(move |line| lock(&kept).push(line.line));
        pass_on(&b"one\r\n\n\xff two\nlast"[..], sink, "f".to_owned(), Arc::default()).await;
        assert_eq!(*lock(&lines), ["one", "", "\u{fffd} two", "last"]);
    }
}
