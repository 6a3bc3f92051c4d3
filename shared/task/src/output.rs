//! Standard output and standard error of a process that no host reads: a body goes on whatever becomes of their readers.
//!
//! Rust's `println!` panics where it cannot write, and waits where nobody reads. So what is no terminal is replaced by a pipe that
//! threads of this process empty. A reader that is slow slows the body down; what one that takes nothing has no room for is dropped.

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

/// How many bytes may wait for a reader.
const ROOM: usize = 1024 * 1024;
/// How long a reader may take for a part until it is taken for one that has stopped, and nothing waits for it.
const STALL: Duration = Duration::from_millis(250);
/// How long a reader is waited for at the end that takes nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long nothing comes until it is taken for the end, where a process that the body left behind has the pipe, too.
const SILENCE: Duration = Duration::from_millis(100);

/// The outputs of this process, which hold up nothing until this is dropped. Then they are as they were, and what waits has
/// been handed on to those who read.
#[derive(Debug)]
pub(crate) struct Detached {
    outputs: Vec<Output>,
}

#[derive(Debug)]
struct Output {
    replace: fn(&OwnedFd) -> rustix::io::Result<()>,
    original: OwnedFd,
    passage: Arc<Passage>,
}

/// What is on its way from the pipe to the original output.
#[derive(Debug, Default)]
struct Passage {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    parts: VecDeque<Vec<u8>>,
    bytes: usize,
    /// How many bytes were dropped since it was said last.
    missed: usize,
    has_ended: bool,
    /// Since when a part is being written.
    writing_since: Option<Instant>,
    /// How many parts have come or gone.
    moved: u64,
}

impl Detached {
    /// Detaches both outputs from their readers, but for a terminal. Where that is not possible they stay as they are.
    pub(crate) fn new() -> Self {
        let outputs = [detached(&stdout(), |to| dup2_stdout(to)), detached(&stderr(), |to| dup2_stderr(to))];
        Self { outputs: outputs.into_iter().flatten().collect() }
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        // What fails now, fails without a reader.
        let _ = stdout().flush();
        for Output { replace, original, passage } in &self.outputs {
            if replace(original).is_ok() {
                passage.finish();
            }
        }
    }
}

/// Lets go of both outputs: their reader is gone.
pub(crate) fn let_go() {
    if let Ok(nowhere) = File::options().write(true).open("/dev/null") {
        let _ = dup2_stdout(&nowhere).and_then(|()| dup2_stderr(&nowhere));
    }
}

/// Says something on standard error, if somebody hears it.
pub(crate) fn complain(text: &str) {
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
    let passage = Arc::new(Passage::default());
    let (filling, emptying) = (Arc::clone(&passage), Arc::clone(&passage));
    replace(&OwnedFd::from(writer)).ok()?;
    thread::spawn(move || filling.read(reader));
    thread::spawn(move || emptying.write(target));
    Some(Output { replace, original, passage })
}

impl Passage {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, but not for long.
    fn wait<'a>(&self, waiting: MutexGuard<'a, Waiting>) -> MutexGuard<'a, Waiting> {
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
            while waiting.bytes + count > ROOM && waiting.writing_since.is_none_or(|at| at.elapsed() < STALL)
            {
                waiting = self.wait(waiting);
            }
            waiting.moved += 1;
            if count == 0 {
                waiting.has_ended = true;
            } else if waiting.bytes + count > ROOM {
                waiting.missed += count;
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
                if waiting.missed > 0 {
                    let missed = std::mem::take(&mut waiting.missed);
                    break format!("\n[{missed} bytes are not shown: nobody read them in time]\n")
                        .into_bytes();
                }
                self.changed.notify_all();
                if waiting.has_ended {
                    return;
                }
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            };
            waiting.writing_since = Some(Instant::now());
            drop(waiting);
            // What is not taken is gone, and the next part may be taken.
            let _ = output.write_all(&part);
            self.waiting().moved += 1;
        }
    }

    /// Waits until everything was handed on, as long as somebody takes it.
    fn finish(&self) {
        let mut waiting = self.waiting();
        let (mut since, mut moved) = (Instant::now(), waiting.moved);
        loop {
            let is_idle = waiting.parts.is_empty() && waiting.missed == 0 && waiting.writing_since.is_none();
            if waiting.moved != moved {
                (since, moved) = (Instant::now(), waiting.moved);
            }
            let patience = if is_idle { SILENCE } else { PATIENCE };
            if is_idle && waiting.has_ended || since.elapsed() >= patience {
                return;
            }
            waiting = self.wait(waiting);
        }
    }
}
