//! Standard output and standard error. Nothing else in this program writes to them.
//!
//! A failure to print does not change what a command does. A closed output is no error. A write error, as on a full
//! disk, is reported at the end. During work that must not be delayed, separate threads write the output. If a reader
//! then stops reading, lines are dropped, and their number is reported once it reads again.

use std::{
    collections::VecDeque,
    fmt::Display,
    fs::File,
    io::{self, ErrorKind, Write as _, stderr, stdout},
    os::fd::AsFd,
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anstream::{AutoStream, ColorChoice, adapter::strip_str, stream::RawStream};

/// The most bytes that wait for a reader while work runs. A single line may be longer.
const ROOM: usize = 4 * 1024 * 1024;
/// The pause before another attempt to write to an output that would block.
const PAUSE: Duration = Duration::from_millis(10);

static OUT: LazyLock<Printer> = LazyLock::new(|| Printer::to(&stdout()));
static ERROR: LazyLock<Printer> = LazyLock::new(|| Printer::to(&stderr()));

/// Formats the number of lines that were dropped.
type Missed = Arc<dyn Fn(u64) -> String + Send + Sync>;

/// Prints a line for people on standard output, with colours if they are shown.
pub fn line(text: impl Display) {
    OUT.print(&OUT.coloured(format!("{text}\n")));
}

/// Prints a text for programs on standard output, unchanged.
pub fn plain(text: impl Display) {
    OUT.print(&format!("{text}\n"));
}

/// Prints a line for people on standard error.
pub fn note(text: impl Display) {
    ERROR.print(&ERROR.coloured(format!("{text}\n")));
}

/// Prints a question on standard error, without a line end.
pub fn question(text: impl Display) {
    ERROR.print(&format!("{text} "));
}

/// Replaces the last line of the terminal at standard error.
pub fn progress(text: impl Display) {
    ERROR.print(&format!("\r\x1b[2K{text}"));
}

/// Returns true if the reader of standard output is gone.
pub fn is_gone() -> bool {
    OUT.is_gone.load(Ordering::Relaxed)
}

/// Stops waiting for readers from here on. `missed` formats the number of dropped lines.
pub fn never_wait(missed: impl Fn(u64) -> String + Send + Sync + 'static) {
    let missed: Missed = Arc::new(missed);
    for printer in [&*OUT, &*ERROR] {
        printer.never_wait(Arc::clone(&missed));
    }
}

/// Waits until everything is written, but at most `patience` for a reader that does not read. Fails if standard output
/// could not be written completely, unless its reader is gone.
pub fn finish(patience: Option<Duration>) -> io::Result<()> {
    ERROR.finish(patience);
    OUT.finish(patience);
    lock(&OUT.failure).take().map_or(Ok(()), Err)
}

/// Same as [`finish`], for standard error alone.
pub fn finish_notes(patience: Option<Duration>) {
    ERROR.finish(patience);
}

/// One of the two outputs.
struct Printer {
    target: Arc<Mutex<Target>>,
    is_gone: Arc<AtomicBool>,
    /// The first error of a write.
    failure: Arc<Mutex<Option<io::Error>>>,
    has_colours: bool,
    queue: OnceLock<Arc<Queue>>,
}

/// The file that a printer writes to.
struct Target {
    /// None if there is no file.
    file: Option<File>,
    /// True if the last line was written only in part.
    is_torn: bool,
}

/// The outcome of a write.
enum WriteOutcome {
    Whole,
    /// The reader is gone.
    Gone,
    Failed(io::Error),
}

/// The pieces that a thread writes while work runs.
struct Queue {
    waiting: Mutex<QueueState>,
    changed: Condvar,
    missed: Missed,
}

#[derive(Default)]
struct QueueState {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// The number of lines dropped since the last report.
    missed: u64,
    is_writing: bool,
    /// True if the last piece could not be written.
    is_failing: bool,
    /// The number of pieces processed.
    count: u64,
}

enum Piece {
    Text(String),
    Missed(u64),
}

impl Printer {
    fn to(stream: &(impl AsFd + RawStream)) -> Self {
        let has_colours = AutoStream::choice(stream) != ColorChoice::Never;
        Self::new(stream.as_fd().try_clone_to_owned().ok().map(File::from), has_colours)
    }

    fn new(file: Option<File>, has_colours: bool) -> Self {
        Self {
            is_gone: Arc::new(AtomicBool::new(file.is_none())),
            target: Arc::new(Mutex::new(Target { file, is_torn: false })),
            failure: Arc::default(),
            has_colours,
            queue: OnceLock::new(),
        }
    }

    fn coloured(&self, text: String) -> String {
        if self.has_colours { text } else { strip_str(&text).to_string() }
    }

    /// Writes a text, or queues it for the writing thread.
    fn print(&self, text: &str) {
        if self.is_gone.load(Ordering::Relaxed) {
            return;
        }
        if let Some(queue) = self.queue.get() {
            return queue.push(text);
        }
        let written = lock(&self.target).write(text);
        self.note(written);
    }

    /// Stores the outcome of a write, and returns true if it succeeded.
    fn note(&self, written: WriteOutcome) -> bool {
        match written {
            WriteOutcome::Whole => return true,
            WriteOutcome::Gone => self.is_gone.store(true, Ordering::Relaxed),
            WriteOutcome::Failed(error) => drop(lock(&self.failure).get_or_insert(error)),
        }
        false
    }

    fn never_wait(&self, missed: Missed) {
        let queue = Arc::new(Queue { waiting: Mutex::default(), changed: Condvar::new(), missed });
        // A second call changes nothing.
        if self.queue.set(Arc::clone(&queue)).is_err() {
            return;
        }
        let this = Self {
            target: Arc::clone(&self.target),
            is_gone: Arc::clone(&self.is_gone),
            failure: Arc::clone(&self.failure),
            has_colours: self.has_colours,
            queue: OnceLock::new(),
        };
        // The thread ends with the program, or when the reader is gone.
        thread::spawn(move || queue.write_to(&this));
    }

    fn finish(&self, patience: Option<Duration>) {
        if let Some(queue) = self.queue.get() {
            queue.finish(patience, &self.is_gone);
        }
    }
}

impl Target {
    fn write(&mut self, text: &str) -> WriteOutcome {
        let Some(file) = &mut self.file else { return WriteOutcome::Gone };
        let whole = if self.is_torn { format!("\n{text}") } else { text.to_owned() };
        let mut rest = whole.as_bytes();
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(count @ 1..) => rest = &rest[count..],
                Ok(0) => return self.failed(rest.len() < whole.len(), ErrorKind::WriteZero.into()),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    // Another program that shares the output has made it non-blocking.
                    ErrorKind::WouldBlock => thread::sleep(PAUSE),
                    ErrorKind::BrokenPipe => return WriteOutcome::Gone,
                    _ => return self.failed(rest.len() < whole.len(), error),
                },
            }
        }
        self.is_torn = false;
        WriteOutcome::Whole
    }

    fn failed(&mut self, is_torn: bool, error: io::Error) -> WriteOutcome {
        self.is_torn |= is_torn;
        WriteOutcome::Failed(error)
    }
}

impl Queue {
    /// Queues a text, if there is room.
    fn push(&self, text: &str) {
        let mut waiting = lock(&self.waiting);
        if waiting.bytes > 0 && waiting.bytes + text.len() > ROOM {
            waiting.missed += lines(text);
            return;
        }
        if waiting.missed > 0 {
            let missed = std::mem::take(&mut waiting.missed);
            waiting.pieces.push_back(Piece::Missed(missed));
        }
        waiting.bytes += text.len();
        waiting.pieces.push_back(Piece::Text(text.to_owned()));
        self.changed.notify_all();
    }

    /// Writes the queued pieces until the reader is gone.
    fn write_to(&self, printer: &Printer) {
        let mut target = lock(&printer.target);
        loop {
            let mut waiting = lock(&self.waiting);
            waiting.is_writing = false;
            self.changed.notify_all();
            let piece = loop {
                if let Some(piece) = waiting.pieces.pop_front() {
                    break piece;
                }
                if waiting.missed > 0 && !waiting.is_failing {
                    break Piece::Missed(std::mem::take(&mut waiting.missed));
                }
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            };
            waiting.is_writing = true;
            drop(waiting);
            let written = match &piece {
                Piece::Text(text) => target.write(text),
                Piece::Missed(count) => target.write(&format!("{}\n", (self.missed)(*count))),
            };
            let is_written = printer.note(written);
            let mut waiting = lock(&self.waiting);
            waiting.count += 1;
            waiting.is_failing = !is_written;
            let (bytes, count) = match &piece {
                Piece::Text(text) => (text.len(), lines(text)),
                Piece::Missed(count) => (0, *count),
            };
            waiting.bytes -= bytes;
            if !is_written {
                waiting.missed += count;
            }
            if printer.is_gone.load(Ordering::Relaxed) {
                *waiting = QueueState::default();
                self.changed.notify_all();
                return;
            }
        }
    }

    fn finish(&self, patience: Option<Duration>, is_gone: &AtomicBool) {
        let mut waiting = lock(&self.waiting);
        let (mut since, mut count) = (Instant::now(), waiting.count);
        while !is_gone.load(Ordering::Relaxed)
            && (waiting.is_writing || !waiting.pieces.is_empty() || waiting.missed > 0 && !waiting.is_failing)
        {
            if waiting.count != count {
                (since, count) = (Instant::now(), waiting.count);
            }
            if patience.is_some_and(|patience| since.elapsed() >= patience) {
                return;
            }
            let waited = self.changed.wait_timeout(waiting, PAUSE);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn lines(text: &str) -> u64 {
    text.bytes().map(|byte| u64::from(byte == b'\n')).sum()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, PipeReader, pipe};

    use super::*;

    const SHORT: Option<Duration> = Some(Duration::from_millis(200));

    fn beside(file: File) -> Printer {
        let printer = Printer::new(Some(file), false);
        printer.never_wait(Arc::new(|count| format!("{count} missed")));
        printer
    }

    fn piped() -> (PipeReader, File) {
        let (reader, writer) = pipe().unwrap();
        (reader, File::from(std::os::fd::OwnedFd::from(writer)))
    }

    #[test]
    fn a_stopped_reader_loses_counted_lines_and_delays_nothing() {
        let (reader, writer) = piped();
        let printer = beside(writer);
        let line = format!("{}\n", "x".repeat(1023));
        let count = 3 * ROOM / line.len();
        for _ in 0..count {
            printer.print(&line);
        }
        printer.finish(SHORT);
        // The reader reads again.
        let reading = thread::spawn(move || {
            let (mut shown, mut missed) = (0, 0);
            let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
            // The number is reported several times if lines were shown in between.
            while shown + missed < count
                && let Some(line) = lines.next()
            {
                match line.strip_suffix(" missed") {
                    Some(number) => missed += number.parse::<usize>().unwrap(),
                    None => shown += 1,
                }
            }
            (shown, missed)
        });
        let (shown, missed) = reading.join().unwrap();
        assert_eq!(shown + missed, count);
        assert!(shown * line.len() >= ROOM && missed > 0, "{shown} are shown");
    }

    #[test]
    fn a_closed_output_is_no_failure_and_delays_nothing() {
        for waits in [true, false] {
            let (reader, writer) = piped();
            let printer = if waits { Printer::new(Some(writer), false) } else { beside(writer) };
            drop(reader);
            printer.print("a\n");
            printer.finish(None);
            printer.print("b\n");
            printer.finish(None);
            assert!(printer.is_gone.load(Ordering::Relaxed));
            assert!(lock(&printer.failure).is_none());
        }
    }

    #[test]
    fn a_full_disk_is_a_failure_that_stops_nothing() {
        for waits in [true, false] {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let printer = if waits { Printer::new(Some(full), false) } else { beside(full) };
            for _ in 0..3 {
                printer.print("a\n");
                printer.finish(None);
            }
            assert_eq!(lock(&printer.failure).as_ref().unwrap().kind(), ErrorKind::StorageFull);
            assert!(!printer.is_gone.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn a_line_longer_than_the_room_is_shown_if_nothing_else_waits() {
        let (mut reader, writer) = piped();
        let printer = beside(writer);
        let long = format!("{}\n", "x".repeat(ROOM));
        let reading = thread::spawn(move || {
            let mut text = String::new();
            io::Read::read_to_string(&mut reader, &mut text).map(|_| text)
        });
        printer.print(&long);
        printer.finish(None);
        // The writing thread keeps the pipe open until its reader is gone.
        drop(printer);
        assert!(!reading.is_finished(), "the pipe is open still");
    }
}
