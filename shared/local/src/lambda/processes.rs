//! The running processes, and the watchdog that kills them after the host was killed.

use std::{
    collections::HashMap,
    io::{self, PipeWriter, Write as _},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::clock::{Clock, Deadline};
use crate::mutex::lock;

/// Reads which process groups start and end. When its input ends, it kills the groups that are left. The input ends with the host,
/// even if that is killed.
const WATCHDOG: &str = r#"
processes=' '
while read -r change group; do
    case $change in
        +) processes="$processes$group " ;;
        -) processes="${processes%% $group *} ${processes#* $group }" ;;
    esac
done
for group in $processes; do kill -s KILL -- "-$group"; done
"#;

/// The longest wait for the end of killed processes.
const GONE: Duration = Duration::from_secs(5);
/// The pause between two checks for their end.
const LOOKS: Duration = Duration::from_millis(2);

/// The processes of all functions that were not killed and have not ended.
pub(crate) struct Processes {
    inner: Mutex<Inner>,
}

struct Inner {
    functions: HashMap<Pid, ProcessState>,
    watchdog: PipeWriter,
}

/// A running process.
struct ProcessState {
    function: String,
    /// The deadline of its invocation; none while it is idle.
    until: Option<Deadline>,
}

impl Processes {
    /// Starts the watchdog, with no processes yet.
    pub(crate) fn watched() -> io::Result<Arc<Self>> {
        let (input, watchdog) = io::pipe()?;
        // In a process group of its own, it does not receive the SIGINT of a Ctrl-C at the terminal.
        Command::new("/bin/sh")
            .args(["-c", WATCHDOG])
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Arc::new(Self { inner: Mutex::new(Inner { functions: HashMap::new(), watchdog }) }))
    }

    /// Adds a process that was just started as the leader of its group.
    pub(crate) fn enter(self: &Arc<Self>, group: Pid, function: &str) -> ProcessEntry {
        let mut inner = lock(&self.inner);
        inner.functions.insert(group, ProcessState { function: function.to_owned(), until: None });
        inner.notify_watchdog('+', group);
        ProcessEntry { group, processes: Arc::clone(self) }
    }

    /// Kills every process of the function, busy or idle, and returns their number. A killed process is not reused,
    /// even if it takes a moment to end.
    pub(crate) fn kill(&self, function: &str) -> usize {
        let mut inner = lock(&self.inner);
        let doomed = inner.functions.extract_if(|_, member| member.function == function);
        doomed.map(|(group, _)| kill_group(group)).count()
    }

    /// Kills every process that is past its deadline, and waits for their end. After the machine was suspended, their leases may
    /// have expired before their timers fire.
    pub(crate) async fn end_overdue(&self, clock: &Clock) {
        let until = Instant::now() + GONE;
        while self.kill_overdue(clock) && Instant::now() < until {
            sleep(LOOKS).await;
        }
    }

    /// Kills every process that is past its deadline. Returns true if there were any.
    fn kill_overdue(&self, clock: &Clock) -> bool {
        let inner = lock(&self.inner);
        let overdue =
            inner.functions.iter().filter(|(_, it)| it.until.is_some_and(|it| it.has_passed(clock)));
        overdue.map(|(group, _)| kill_group(*group)).count() > 0
    }

    /// The groups of all processes.
    pub(crate) fn groups(&self) -> Vec<Pid> {
        lock(&self.inner).functions.keys().copied().collect()
    }

    /// Sends SIGTERM to every process of every function.
    pub(crate) fn terminate(&self) {
        for group in lock(&self.inner).functions.keys() {
            terminate(*group);
        }
    }
}

impl Inner {
    fn notify_watchdog(&mut self, change: char, group: Pid) {
        // It fails if the watchdog has ended. Processes then outlive the host only if that is killed.
        let _ = writeln!(self.watchdog, "{change} {group}");
    }
}

/// The registration of a process, kept for as long as its id cannot be reused.
pub(crate) struct ProcessEntry {
    group: Pid,
    processes: Arc<Processes>,
}

impl ProcessEntry {
    /// Notes that the process has an invocation with this deadline.
    pub(crate) fn until(&self, deadline: Deadline) {
        if let Some(member) = lock(&self.processes.inner).functions.get_mut(&self.group) {
            member.until = Some(deadline);
        }
    }

    /// Notes that the process has no invocation.
    pub(crate) fn is_idle(&self) {
        if let Some(member) = lock(&self.processes.inner).functions.get_mut(&self.group) {
            member.until = None;
        }
    }

    /// Returns true if [`Processes::kill`] has killed it.
    pub(crate) fn was_killed(&self) -> bool {
        !lock(&self.processes.inner).functions.contains_key(&self.group)
    }
}

impl Drop for ProcessEntry {
    fn drop(&mut self) {
        let mut inner = lock(&self.processes.inner);
        inner.functions.remove(&self.group);
        inner.notify_watchdog('-', self.group);
    }
}

/// Kills a process and all its child processes.
pub(crate) fn kill_group(group: Pid) {
    // It fails if the group has no processes left.
    let _ = kill_process_group(group, Signal::KILL);
}

/// Waits until the groups have no processes left, for at most [`GONE`].
pub(crate) async fn gone(groups: &[Pid]) {
    let until = Instant::now() + GONE;
    while groups.iter().any(|group| test_kill_process_group(*group).is_ok()) && Instant::now() < until {
        sleep(LOOKS).await;
    }
}

/// Sends SIGTERM to a process, but not to its child processes.
pub(crate) fn terminate(process: Pid) {
    // It fails if the process has ended.
    let _ = kill_process(process, Signal::TERM);
}
