//! The output of processes, read line by line in bounded memory, and passed on to the host's sink.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

use crate::mutex::lock;

/// The longest line of a function. A longer line arrives in parts, as in CloudWatch Logs.
const MAX_LINE_BYTES: usize = 256 * 1024;

/// The lines that a process prints, without line terminators. Bytes that are not UTF-8 are replaced.
#[derive(Debug)]
pub struct Lines<R> {
    output: BufReader<R>,
    most: usize,
    /// The bytes of the line read so far.
    line: Vec<u8>,
    /// True if the part before belongs to the same line.
    is_part: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads the lines of an output. A line of more than `most` bytes arrives in parts.
    pub fn of(output: R, most: usize) -> Self {
        Self { output: BufReader::new(output), most: most.max(4), line: Vec::new(), is_part: false }
    }

    /// Reads the next line; `None` at the end of the output. Dropping the future loses nothing: the next call continues the line.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            let room = self.most.saturating_sub(self.line.len()) as u64;
            // An output that cannot be read is treated as ended.
            let read = (&mut self.output).take(room).read_until(b'\n', &mut self.line).await.unwrap_or(0);
            if self.line.is_empty() {
                return None;
            }
            let was_part = self.is_part;
            let is_whole = self.line.ends_with(b"\n");
            self.is_part = !is_whole && read > 0;
            if was_part && matches!(&self.line[..], b"\n" | b"\r\n") {
                // This line end belongs to the previous part.
                self.line.clear();
                continue;
            }
            // An incomplete character is left to the next part.
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

/// The number of bytes at the end that begin an incomplete character.
fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last().map_or(0, |chunk| chunk.invalid().len());
    if last < bytes.len() { last } else { 0 }
}

/// A line of a function's standard output or standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The function that printed it.
    pub function: String,
    /// The invocation that it belongs to; none while the process starts. A line printed at the very end of an invocation may
    /// carry the id of the next one.
    pub request_id: Option<String>,
    /// The label of that invocation, if [`HostOptions::label`](crate::HostOptions) finds one in its payload.
    pub label: Option<String>,
    /// The text without its line terminator. Bytes that are not UTF-8 are replaced.
    pub line: String,
}

/// The invocation to which a line belongs.
#[derive(Debug, Clone, Default)]
pub(crate) struct LineOrigin {
    pub(crate) request_id: Option<String>,
    pub(crate) label: Option<String>,
}

/// Receives each line that functions print.
pub(crate) type Sink = Arc<dyn Fn(LogLine) + Send + Sync>;

/// Passes every line of `output` on to the sink until the output ends. `of` is the current invocation.
pub(crate) async fn pass_on(
    output: impl AsyncRead + Unpin,
    sink: Sink,
    function: String,
    of: Arc<Mutex<LineOrigin>>,
) {
    let mut lines = Lines::of(output, MAX_LINE_BYTES);
    while let Some(line) = lines.next().await {
        let LineOrigin { request_id, label } = lock(&of).clone();
        sink(LogLine { function: function.clone(), request_id, label, line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_lose_only_their_terminators() {
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
    async fn a_long_line_arrives_in_parts_that_split_no_character() {
        assert_eq!(parts("aäöü\nb\n".as_bytes(), 4).await, ["aä", "öü", "b"]);
        assert_eq!(parts(b"abcd\nefgh\n\n", 4).await, ["abcd", "efgh", ""]);
        assert_eq!(parts(b"abcdefghi", 4).await, ["abcd", "efgh", "i"]);
        assert_eq!(parts(b"\xff\xff\xff\xff\xff\n", 4).await.concat(), "\u{fffd}".repeat(5));
        assert_eq!(parts(b"ab\r\r\n", 4).await, ["ab\r\r"]);
    }
}
