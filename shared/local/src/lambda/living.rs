//! The processes that live, and the watchdog that ends them when the host can no longer do it itself.

use std::{
    collections::HashMap,
    io::{self, PipeWriter, Write as _},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::clock::{Clock, Deadline};
use crate::mutex::lock;

/// Reads which process groups live and, when its input ends, kills those that are left. Its input ends with the
/// host, however that dies.
const WATCHDOG: &str = r#"
living=' '
while read -r change group; do
    case $change in
        +) living="$living$group " ;;
        -) living="${living%% $group *} ${living#* $group }" ;;
    esac
done
for group in $living; do kill -s KILL -- "-$group"; done
"#;

/// How long killed processes are waited for.
const GONE: Duration = Duration::from_secs(5);
/// How often it is looked whether they are gone.
const LOOKS: Duration = Duration::from_millis(2);

/// The processes of all functions that were neither killed nor are known to have ended.
pub(crate) struct Living {
    inner: Mutex<Inner>,
}

struct Inner {
    functions: HashMap<Pid, Member>,
    watchdog: PipeWriter,
}

/// A process.
struct Member {
    function: String,
    /// When the time of what it does is up; nothing while it is idle.
    until: Option<Deadline>,
}

impl Living {
    /// Starts the watchdog.
    pub(crate) fn watched() -> io::Result<Arc<Self>> {
        let (input, watchdog) = io::pipe()?;
        // In a group of its own, a Ctrl-C at the terminal does not end it before the host.
        Command::new("/bin/sh")
            .args(["-c", WATCHDOG])
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Arc::new(Self { inner: Mutex::new(Inner { functions: HashMap::new(), watchdog }) }))
    }

    /// Enters a process that was just started as the head of its group.
    pub(crate) fn enter(self: &Arc<Self>, group: Pid, function: &str) -> Entry {
        let mut inner = lock(&self.inner);
        inner.functions.insert(group, Member { function: function.to_owned(), until: None });
        inner.tell_watchdog('+', group);
        Entry { group, living: Arc::clone(self) }
    }

    /// Kills every process of the function, busy or idle, and says how many there were. None of them is used
    /// again, though a process with threads takes a moment to die.
    pub(crate) fn kill(&self, function: &str) -> usize {
        let mut inner = lock(&self.inner);
        let doomed = inner.functions.extract_if(|_, member| member.function == function);
        doomed.map(|(group, _)| kill_group(group)).count()
    }

    /// Kills every process whose time is up, and returns when they are gone. After the machine has slept their own timers may
    /// not have noticed yet, and the leases by which they keep others from beginning have ended.
    pub(crate) async fn end_overdue(&self, clock: &Clock) {
        let until = Instant::now() + GONE;
        while self.kill_overdue(clock) && Instant::now() < until {
            sleep(LOOKS).await;
        }
    }

    /// Whether there were some.
    fn kill_overdue(&self, clock: &Clock) -> bool {
        let inner = lock(&self.inner);
        let overdue =
            inner.functions.iter().filter(|(_, it)| it.until.is_some_and(|it| it.has_passed(clock)));
        overdue.map(|(group, _)| kill_group(*group)).count() > 0
    }

    /// Asks every process of every function to end.
    pub(crate) fn terminate(&self) {
        for group in lock(&self.inner).functions.keys() {
            terminate(*group);
        }
    }
}

impl Inner {
    fn tell_watchdog(&mut self, change: char, group: Pid) {
        // Without a watchdog only a host that is killed leaves anything behind.
        let _ = writeln!(self.watchdog, "{change} {group}");
    }
}

/// A place among the living, to be kept for as long as the process id is surely ours.
pub(crate) struct Entry {
    group: Pid,
    living: Arc<Living>,
}

impl Entry {
    /// Notes that it does something, whose time is up then.
    pub(crate) fn until(&self, deadline: Deadline) {
        if let Some(member) = lock(&self.living.inner).functions.get_mut(&self.group) {
            member.until = Some(deadline);
        }
    }

    /// Notes that it does nothing any more.
    pub(crate) fn is_idle(&self) {
        if let Some(member) = lock(&self.living.inner).functions.get_mut(&self.group) {
            member.until = None;
        }
    }

    /// Whether [`Living::kill`] met it.
    pub(crate) fn was_killed(&self) -> bool {
        !lock(&self.living.inner).functions.contains_key(&self.group)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut inner = lock(&self.living.inner);
        inner.functions.remove(&self.group);
        inner.tell_watchdog('-', self.group);
    }
}

/// Kills a process and all that it started.
pub(crate) fn kill_group(group: Pid) {
    // An error means that nobody is left in it.
    let _ = kill_process_group(group, Signal::KILL);
}

/// Asks a process to end. What it started is left to it.
pub(crate) fn terminate(process: Pid) {
    // An error means that it has ended.
    let _ = kill_process(process, Signal::TERM);
}
