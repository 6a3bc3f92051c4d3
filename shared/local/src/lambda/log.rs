//! What processes print, line by line, in bounded memory; and a function's lines on their way to whoever started the host.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

use crate::mutex::lock;

/// A longer line of a function arrives in parts, as in CloudWatch Logs.
const MAX_LINE_BYTES: usize = 256 * 1024;

/// The lines that a process prints, without their ends. What is not UTF-8 is replaced.
#[derive(Debug)]
pub struct Lines<R> {
    output: BufReader<R>,
    most: usize,
    /// What has been read of the line.
    line: Vec<u8>,
    /// Whether the part before was of the same line.
    is_part: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The lines of an output. One of more than so many bytes comes in parts.
    pub fn of(output: R, most: usize) -> Self {
        Self { output: BufReader::new(output), most: most.max(4), line: Vec::new(), is_part: false }
    }

    /// The next line; nothing once the output has ended. A line that is lost halfway when this is dropped goes on with the
    /// next call.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            let room = self.most.saturating_sub(self.line.len()) as u64;
            // An output that cannot be read has ended.
            let read = (&mut self.output).take(room).read_until(b'\n', &mut self.line).await.unwrap_or(0);
            if self.line.is_empty() {
                return None;
            }
            let was_part = self.is_part;
            let is_whole = self.line.ends_with(b"\n");
            self.is_part = !is_whole && read > 0;
            if was_part && matches!(&self.line[..], b"\n" | b"\r\n") {
                // The part before it was all there is.
                self.line.clear();
                continue;
            }
            // A character that is not whole yet goes on with the next part.
            let begun = if self.is_part { unfinished(&self.line) } else { 0 };
            let rest = self.line.split_off(self.line.len() - begun);
            let text = String::from_utf8_lossy(&self.line);
            let text = text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text));
            let text = text.to_owned();
            self.line = rest;
            return Some(text);
        }
    }
}

/// How many bytes at the end are the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last().map_or(0, |chunk| chunk.invalid().len());
    if last < bytes.len() { last } else { 0 }
}

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
    output: impl AsyncRead + Unpin,
    sink: Sink,
    function: String,
    of: Arc<Mutex<Of>>,
) {
    let mut lines = Lines::of(output, MAX_LINE_BYTES);
    while let Some(line) = lines.next().await {
        let Of { request_id, label } = lock(&of).clone();
        sink(LogLine { function: function.clone(), request_id, label, line });
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

    async fn parts(output: &[u8], most: usize) -> Vec<String> {
        let mut lines = Lines::of(output, most);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line);
        }
        all
    }

    #[tokio::test]
    async fn a_long_line_comes_in_parts_that_break_no_character() {
        assert_eq!(parts("aäöü\nb\n".as_bytes(), 4).await, ["aä", "öü", "b"]);
        assert_eq!(parts(b"abcd\nefgh\n\n", 4).await, ["abcd", "efgh", ""]);
        assert_eq!(parts(b"abcdefghi", 4).await, ["abcd", "efgh", "i"]);
        assert_eq!(parts(b"\xff\xff\xff\xff\xff\n", 4).await.concat(), "\u{fffd}".repeat(5));
        assert_eq!(parts(b"ab\r\r\n", 4).await, ["ab\r\r"]);
    }
}
