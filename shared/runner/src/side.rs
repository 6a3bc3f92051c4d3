//! Supervises a side task: one of the runners that share a table starts its process, and restarts it after a failure.
//!
//! The runner that has the task's lease runs it, and renews the lease while the process lives. The process ends with its runner,
//! since it ends when its standard input closes.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use lamplighter_aws::{
    random::{jitter, random},
    table::{Renewed, Table, TableError},
};
use lamplighter_core::{
    claim::{Decision, Grant, Occasion, Refusal, Request},
    definition::Overlap,
    holder::Holder,
    id::RunId,
    name::TaskName,
    reason::Reason,
    run::{Run, Trigger},
    side::{Next, PARTING, Pace, SideTaskEnd},
    status::Status,
};
use lamplighter_local::Lines;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    io::AsyncRead,
    process::{Child, Command},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// The additional time after [`PARTING`] before a process is killed.
const BEYOND: Duration = Duration::from_secs(1);
/// The longest wait for the last lines of an ended process.
const OUTPUT_DRAIN: Duration = Duration::from_secs(5);
/// The pause between two reads of the wall clock while a process runs.
const LOOKS: Duration = Duration::from_millis(250);
/// The size of the buffer for a process's lines, in bytes.
const ROOM: usize = 8 * 1024 * 1024;
/// The longest line of standard output. A longer one arrives in parts, and cannot be the process's result.
const MAX_OUTPUT_BYTES: usize = ROOM;
/// The longest line of standard error. A longer one arrives in parts.
const MAX_ERROR_BYTES: usize = 256 * 1024;

/// A side task, with all that a runner needs to start it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The task.
    pub task: TaskName,
    /// Its binary.
    pub command: PathBuf,
    /// The time at which the binary was written, which identifies it.
    pub built: Option<SystemTime>,
    /// The folder of its package.
    pub folder: Option<PathBuf>,
    /// The current folder of its process; that of the runner if none is set.
    pub current_folder: Option<PathBuf>,
    /// The variables of this machine that its process inherits unchanged.
    pub inherited: Vec<(OsString, OsString)>,
    /// Its own variables. They override those of this machine, except those that belong to one start. An empty value removes a
    /// variable.
    pub variables: BTreeMap<String, String>,
    /// The unique name of the runner.
    pub runner: String,
    /// The environment's name, for the records.
    pub environment: String,
    /// The times of its supervision.
    pub pace: Pace,
}

/// An event of a supervised side task.
#[derive(Debug)]
pub enum SideEvent<'a> {
    /// It has begun in this runner.
    Began(RunId),
    /// Its process has printed a line.
    Line(RunId, &'a str),
    /// It has ended; with the next step.
    Ended(&'a Run, Next),
    /// Another runner runs it.
    Elsewhere(RunId),
    /// It is disabled.
    Disabled,
    /// A request to the table failed. It is retried.
    TableFailed(&'a TableError),
}

/// Supervises a side task until `shutdown` fires. Then its process is terminated, and this returns once it has ended.
pub async fn supervise(
    side: &Side,
    table: &Table,
    report: impl Fn(SideEvent<'_>) + Send + Sync,
    shutdown: CancellationToken,
) {
    let mut failures = 0;
    while !shutdown.is_cancelled() {
        let next = match turn(side, table, failures, &report, &shutdown).await {
            Ok(next) => next,
            Err(error) => {
                report(SideEvent::TableFailed(&error));
                Next::StartAfter { pause: side.pace.patience(), failures }
            }
        };
        let pause = match next {
            Next::Rest => return shutdown.cancelled().await,
            Next::StartAfter { pause, failures: now } => {
                failures = now;
                pause
            }
        };
        let _ = timeout(pause, shutdown.cancelled()).await;
    }
}

/// Claims the task if it is free, runs it to its end, and records the run.
async fn turn(
    side: &Side,
    table: &Table,
    failures: u32,
    report: &(impl Fn(SideEvent<'_>) + Send + Sync),
    shutdown: &CancellationToken,
) -> Result<Next, TableError> {
    let now = Timestamp::now();
    let claimed = Instant::now();
    let request = Request {
        run_id: RunId::new(now, random()),
        holder: Holder::new(&side.runner, format_args!("{:016x}", random() & u128::from(u64::MAX))),
        trigger: Trigger::Runner,
        occasion: Occasion::Manual,
        overlap: Overlap::Skip,
        runs_once: false,
        now,
        until: after(now, side.pace.lease),
    };
    let grant = match table.claim(&side.task, &request).await? {
        Decision::Granted(grant) => grant,
        Decision::Refused(refusal) => {
            match refusal {
                Refusal::PreviousInstanceRunning { run_id, .. } | Refusal::AlreadyRunning { run_id } => {
                    report(SideEvent::Elsewhere(run_id));
                }
                // The other refusals concern schedules and deployments, which a side task does not have.
                _ => report(SideEvent::Disabled),
            }
            return Ok(Next::StartAfter { pause: side.pace.patience(), failures });
        }
    };
    let run = Run {
        environment: side.environment.clone(),
        fencing_token: grant.fence.token(),
        ..Run::begun(request.run_id, side.task.clone(), Trigger::Runner, now)
    };
    report(SideEvent::Began(run.id));
    let (result, cause) = match Process::start(side, &run, &grant) {
        Ok(process) => process.supervise(side, table, &run, (claimed, now), report, shutdown).await,
        Err(error) => (cannot_start(side, &error), EndCause::ByItself),
    };
    let ran = claimed.elapsed();
    let next = match cause {
        EndCause::Cancelled => Next::StartAfter { pause: Duration::ZERO, failures: 0 },
        EndCause::ByItself | EndCause::ShutDown | EndCause::Killed(_) => {
            side.pace.after_end(&result, ran, failures, jitter())
        }
    };
    let run = result.of(Run { completed_at: Timestamp::now(), ..run });
    let run = match cause {
        EndCause::Cancelled => Run { status: Status::Cancelled, ..run }.because(Reason::CancelledOrDisabled),
        EndCause::ByItself | EndCause::ShutDown | EndCause::Killed(_) => run,
    };
    report(SideEvent::Ended(&run, next));
    // If another runner took the task over, the record that it wrote is kept.
    let _ = table.finish(&run, grant.fence).await?;
    Ok(next)
}

fn cannot_start(side: &Side, error: &io::Error) -> SideTaskEnd {
    SideTaskEnd::failed(&format!("cannot start {}: {error}", side.command.display()))
}

/// The end of this runner's lease, by two clocks. Timers stop while the machine is suspended. Other runners take the task over by
/// the wall clock.
#[derive(Clone, Copy, Debug)]
struct Lease {
    timer: Instant,
    wall: Timestamp,
}

impl Lease {
    fn from(claimed: (Instant, Timestamp), lease: Duration) -> Self {
        Self { timer: claimed.0 + lease, wall: after(claimed.1, lease) }
    }

    /// Waits until it has ended by either clock.
    async fn ends(self, now: impl Fn() -> Timestamp) {
        while Instant::now() < self.timer && now() < self.wall {
            sleep_until(self.timer.min(Instant::now() + LOOKS)).await;
        }
    }
}

/// The cause of a process's end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum EndCause {
    /// The process ended by itself.
    ByItself,
    /// The runner stops.
    ShutDown,
    /// The run was cancelled in the table.
    Cancelled,
    /// It was killed for this reason.
    Killed(Reason),
}

/// A side task's process.
struct Process {
    child: Child,
    group: Option<Pid>,
    lines: mpsc::UnboundedReceiver<(Line, OwnedSemaphorePermit)>,
}

/// A line that a process printed.
enum Line {
    /// A line of standard output. The last one may be the process's result.
    Out(String),
    /// A line of standard error.
    Error(String),
}

impl Process {
    fn start(side: &Side, run: &Run, grant: &Grant) -> io::Result<Self> {
        let mut command = Command::new(std::path::absolute(&side.command)?);
        command
            .arg("side")
            .env_clear()
            .envs(side.inherited.iter().map(|(name, value)| (name, value)))
            .env("LAMPLIGHTER_RUN_ID", run.id.to_string())
            .env("LAMPLIGHTER_EPOCH", run.fencing_token.to_string())
            // It stays open for as long as this process lives.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // With a process group of its own, the process is killed together with its child processes, and the SIGINT
            // of a Ctrl-C at the terminal reaches only the runner.
            .process_group(0)
            .kill_on_drop(true);
        for (name, value) in &side.variables {
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, value)
            };
        }
        if let Some(settings) = &grant.settings {
            command.env("LAMPLIGHTER_SETTINGS_AT_RUN_TIME", settings);
        }
        if let Some(folder) = &side.folder {
            command.env("LAMBDA_TASK_ROOT", folder);
        }
        if let Some(folder) = &side.current_folder {
            command.current_dir(folder);
        }
        let mut child = command.spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (sender, lines) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(ROOM));
        if let Some(stdout) = child.stdout.take() {
            let lines = Lines::of(stdout, MAX_OUTPUT_BYTES);
            tokio::spawn(pass_on(lines, sender.clone(), Arc::clone(&room), Line::Out));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(pass_on(Lines::of(stderr, MAX_ERROR_BYTES), sender, room, Line::Error));
        }
        Ok(Self { child, group, lines })
    }

    /// Renews the lease until the process has ended. Returns its result, and the cause of its end.
    async fn supervise(
        mut self,
        side: &Side,
        table: &Table,
        run: &Run,
        claimed: (Instant, Timestamp),
        report: &(impl Fn(SideEvent<'_>) + Send + Sync),
        shutdown: &CancellationToken,
    ) -> (SideTaskEnd, EndCause) {
        let Pace { lease, heartbeat, .. } = side.pace;
        let (mut cause, mut last) = (EndCause::ByItself, None);
        let (mut ours_until, mut ends_at) = (Lease::from(claimed, lease), None);
        let mut heartbeats = interval(heartbeat);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let _stdin = self.child.stdin.take();
        let status = loop {
            // The process is killed when the lease ends, or when its time to shut down is over.
            let ends = ends_at.unwrap_or(ours_until.timer);
            tokio::select! {
                biased;
                status = self.child.wait() => break status,
                () = ours_until.ends(Timestamp::now) => {
                    cause = EndCause::Killed(Reason::LeaseLost);
                    break self.kill().await;
                }
                () = sleep_until(ends), if ends_at.is_some() => {
                    cause = EndCause::Killed(Reason::KilledLate);
                    break self.kill().await;
                }
                () = shutdown.cancelled(), if cause == EndCause::ByItself => {
                    cause = EndCause::ShutDown;
                    ends_at = Some(Instant::now() + PARTING + BEYOND);
                    self.terminate();
                }
                _ = heartbeats.tick() => {
                    let (at, until) = (Instant::now(), after(Timestamp::now(), lease));
                    let renewed = timeout(heartbeat, table.renew(&run.task, run.id, run.fencing_token, until)).await;
                    match renewed {
                        Ok(Ok(Renewed::Held)) => ours_until = Lease { timer: at + lease, wall: until },
                        Ok(Ok(Renewed::Unwanted)) => {
                            ours_until = Lease { timer: at + lease, wall: until };
                            if cause == EndCause::ByItself {
                                cause = EndCause::Cancelled;
                                ends_at = Some(at + PARTING + BEYOND);
                                self.terminate();
                            }
                        }
                        Ok(Ok(Renewed::Lost)) => {
                            cause = EndCause::Killed(Reason::LeaseLost);
                            break self.kill().await;
                        }
                        Ok(Err(error)) => report(SideEvent::TableFailed(&error)),
                        // A late renewal may still succeed. The next heartbeat shows it.
                        Err(_) => {}
                    }
                }
                Some((line, _room)) = self.lines.recv() => handle_line(line, &mut last, run.id, report),
            }
        };
        self.kill_group();
        let rest = async {
            while let Some((line, _room)) = self.lines.recv().await {
                handle_line(line, &mut last, run.id, report);
            }
        };
        let _ = timeout(OUTPUT_DRAIN, rest).await;
        if let Some(Ok(result)) = last.as_deref().map(serde_json::from_str) {
            return (result, cause);
        }
        if let Some(line) = &last {
            report(SideEvent::Line(run.id, line));
        }
        let reason = match &cause {
            EndCause::Killed(reason) => reason.clone(),
            EndCause::ByItself | EndCause::ShutDown | EndCause::Cancelled => {
                Reason::ProcessEnded { how: how_it_ended(&status) }
            }
        };
        (SideTaskEnd::because(reason), cause)
    }

    /// Sends SIGTERM to the process.
    fn terminate(&self) {
        if let (Some(process), Some(_)) = (self.group, self.child.id()) {
            // It fails if the process has ended.
            let _ = kill_process(process, Signal::TERM);
        }
    }

    async fn kill(&mut self) -> io::Result<ExitStatus> {
        self.kill_group();
        self.child.start_kill()?;
        self.child.wait().await
    }

    /// Kills the process and all its child processes.
    fn kill_group(&self) {
        if let Some(group) = self.group {
            // It fails if the group has no processes left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reports a line. One that may be the process's result is kept until the next such line.
fn handle_line(line: Line, last: &mut Option<String>, run: RunId, report: &impl Fn(SideEvent<'_>)) {
    let line = match line {
        // Only the last of such lines is the result.
        Line::Out(line) if serde_json::from_str::<SideTaskEnd>(&line).is_ok() => last.replace(line),
        Line::Out(line) | Line::Error(line) => Some(line),
    };
    if let Some(line) = line {
        report(SideEvent::Line(run, &line));
    }
}

/// Passes on each line as soon as the buffer has room for it. A process that prints faster has to wait.
async fn pass_on(
    mut output: Lines<impl AsyncRead + Unpin>,
    lines: mpsc::UnboundedSender<(Line, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    of: fn(String) -> Line,
) {
    while let Some(line) = output.next().await {
        // Replaced bytes may make a line longer, and an empty line takes memory too.
        let size = u32::try_from(line.len().clamp(64, ROOM)).unwrap_or(u32::MAX);
        let Ok(taken) = Arc::clone(&room).acquire_many_owned(size).await else { return };
        if lines.send((of(line), taken)).is_err() {
            return;
        }
    }
}

fn how_it_ended(status: &io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("ended ({status})"),
        Err(error) => format!("is lost ({error})"),
    }
}

fn after(at: Timestamp, time: Duration) -> Timestamp {
    at.saturating_add(time).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lease_ends_by_the_timer_or_the_wall_clock_whichever_is_first() {
        let (now, hour) = (Timestamp::UNIX_EPOCH, Duration::from_secs(3600));
        let lease = Lease::from((Instant::now(), now), Duration::from_millis(50));
        lease.ends(|| now).await;
        let slept = Lease::from((Instant::now(), now), hour);
        timeout(hour / 100, slept.ends(|| after(now, hour))).await.unwrap();
    }
}
