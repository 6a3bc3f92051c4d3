//! Standard output and standard error of a process run by hand: their readers can neither fail nor block a body.
//!
//! Rust's `println!` panics if it cannot write, and blocks if nobody reads. An output that is not a terminal is therefore
//! replaced by a pipe, which two threads of this process relay to the original. A slow reader slows the body down. A
//! reader that has stalled loses what exceeds the buffer.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, IsTerminal, PipeReader, Read as _, Write as _, stderr, stdout},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::stdio::{dup2_stderr, dup2_stdout};

/// The size of the buffer, in bytes.
const BUFFER_SIZE: usize = 1024 * 1024;
/// The time after which a reader that takes nothing counts as stalled.
const STALLED_AFTER: Duration = Duration::from_secs(2);
/// The time to wait at the end for a reader that takes nothing.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);
/// The silence that counts as the end of the output if a child process of the body still holds the pipe.
const END_SILENCE: Duration = Duration::from_millis(100);

/// The detached outputs of this process. Dropping this restores them, after the buffered output is written.
#[derive(Debug)]
pub(crate) struct DetachedOutputs {
    outputs: Vec<Output>,
}

#[derive(Debug)]
struct Output {
    replace: fn(&OwnedFd) -> rustix::io::Result<()>,
    original: OwnedFd,
    passage: Arc<Relay>,
}

/// The buffer between the pipe and the original output.
#[derive(Debug, Default)]
struct Relay {
    waiting: Mutex<RelayBuffer>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct RelayBuffer {
    parts: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The number of dropped bytes that the output does not mention yet.
    dropped: usize,
    has_ended: bool,
    /// The start of the write in progress.
    writing_since: Option<Instant>,
    /// A counter of the parts read and written.
    moved: u64,
}

impl DetachedOutputs {
    /// Detaches both outputs, except a terminal. An output that cannot be detached stays as it is.
    pub(crate) fn new() -> Self {
        let outputs = [detached(&stdout(), |to| dup2_stdout(to)), detached(&stderr(), |to| dup2_stderr(to))];
        Self { outputs: outputs.into_iter().flatten().collect() }
    }
}

impl Drop for DetachedOutputs {
    fn drop(&mut self) {
        // A failure here means that the reader is gone.
        let _ = stdout().flush();
        for Output { replace, original, passage } in &self.outputs {
            if replace(original).is_ok() {
                passage.finish();
            }
        }
    }
}

/// Redirects both outputs to `/dev/null`, after their reader is gone.
pub(crate) fn discard_outputs() {
    if let Ok(nowhere) = File::options().write(true).open("/dev/null") {
        let _ = dup2_stdout(&nowhere).and_then(|()| dup2_stderr(&nowhere));
    }
}

/// Prints a line to standard error. A failure is ignored.
pub(crate) fn print_error(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

fn detached(
    output: &(impl AsFd + IsTerminal),
    replace: fn(&OwnedFd) -> rustix::io::Result<()>,
) -> Option<Output> {
    if output.is_terminal() {
        return None;
    }
    let original = output.as_fd().try_clone_to_owned().ok()?;
    let target = File::from(original.try_clone().ok()?);
    let (reader, writer) = io::pipe().ok()?;
    let passage = Arc::new(Relay::default());
    let (filling, emptying) = (Arc::clone(&passage), Arc::clone(&passage));
    replace(&OwnedFd::from(writer)).ok()?;
    thread::spawn(move || filling.read(reader));
    thread::spawn(move || emptying.write(target));
    Some(Output { replace, original, passage })
}

impl Relay {
    fn waiting(&self) -> MutexGuard<'_, RelayBuffer> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, for at most 10 ms.
    fn wait<'a>(&self, waiting: MutexGuard<'a, RelayBuffer>) -> MutexGuard<'a, RelayBuffer> {
        let waited = self.changed.wait_timeout(waiting, Duration::from_millis(10));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn read(&self, mut pipe: PipeReader) {
        let mut part = [0; 8192];
        loop {
            let count = match pipe.read(&mut part) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.unwrap_or(0),
            };
            let mut waiting = self.waiting();
            while waiting.bytes + count > BUFFER_SIZE
                && waiting.writing_since.is_none_or(|at| at.elapsed() < STALLED_AFTER)
            {
                waiting = self.wait(waiting);
            }
            waiting.moved += 1;
            if count == 0 {
                waiting.has_ended = true;
            } else if waiting.bytes + count > BUFFER_SIZE {
                waiting.dropped += count;
            } else {
                waiting.bytes += count;
                waiting.parts.push_back(part[..count].to_vec());
            }
            self.changed.notify_all();
            if count == 0 {
                return;
            }
        }
    }

    fn write(&self, mut output: File) {
        loop {
            let mut waiting = self.waiting();
            waiting.writing_since = None;
            self.changed.notify_all();
            let part = loop {
                if let Some(part) = waiting.parts.pop_front() {
                    waiting.bytes -= part.len();
                    break part;
                }
                if waiting.dropped > 0 {
                    let dropped = std::mem::take(&mut waiting.dropped);
                    break format!("\n[{dropped} bytes dropped: the reader stalled]\n").into_bytes();
                }
                self.changed.notify_all();
                if waiting.has_ended {
                    return;
                }
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            };
            waiting.writing_since = Some(Instant::now());
            drop(waiting);
            // A part that cannot be written is lost; the next one may succeed.
            let _ = output.write_all(&part);
            self.waiting().moved += 1;
        }
    }

    /// Waits until the buffer is written, as long as the reader takes it.
    fn finish(&self) {
        let mut waiting = self.waiting();
        let (mut since, mut moved) = (Instant::now(), waiting.moved);
        loop {
            let is_idle = waiting.parts.is_empty() && waiting.dropped == 0 && waiting.writing_since.is_none();
            if waiting.moved != moved {
                (since, moved) = (Instant::now(), waiting.moved);
            }
            let patience = if is_idle { END_SILENCE } else { FLUSH_LIMIT };
            if is_idle && waiting.has_ended || since.elapsed() >= patience {
                return;
            }
            waiting = self.wait(waiting);
        }
    }
}
