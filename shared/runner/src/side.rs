//! A side task under a runner: started, kept, and started again after a failure, in one runner of all that share a table.
//!
//! The runner that has the task's lease runs it, and renews the lease as long as the process lives. The process dies with
//! its runner: it ends when its standard input does.

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
    side::{Ended, Next, PARTING, Pace},
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

/// What a process has beyond [`PARTING`] before it is killed.
const BEYOND: Duration = Duration::from_secs(1);
/// How long the last words of a dead process are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often the wall clock is looked at while a process runs.
const LOOKS: Duration = Duration::from_millis(250);
/// How many bytes of a process's lines may wait to be told.
const ROOM: usize = 8 * 1024 * 1024;
/// A longer line of standard output arrives in parts, and does not say how the process ended.
const MAX_OUTPUT_BYTES: usize = ROOM;
/// A longer line of standard error arrives in parts.
const MAX_ERROR_BYTES: usize = 256 * 1024;

/// A side task as a runner starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The task.
    pub task: TaskName,
    /// Its binary.
    pub command: PathBuf,
    /// When that was written: of another time it is another one.
    pub built: Option<SystemTime>,
    /// The folder of its package.
    pub folder: Option<PathBuf>,
    /// Its current folder. None is the runner's.
    pub current_folder: Option<PathBuf>,
    /// The variables of this machine that its process has as they are.
    pub inherited: Vec<(OsString, OsString)>,
    /// Its further variables, which win over those of this machine, but for what belongs to one start. An empty value takes
    /// away what is said otherwise.
    pub variables: BTreeMap<String, String>,
    /// Which runner this is: a word that no other one has.
    pub runner: String,
    /// The environment's name, for the records.
    pub environment: String,
    /// How it is kept.
    pub pace: Pace,
}

/// What is told of a side task while it is kept.
#[derive(Debug)]
pub enum Told<'a> {
    /// It has begun here.
    Began(RunId),
    /// Its process has printed a line.
    Line(RunId, &'a str),
    /// It is over, with what follows.
    Ended(&'a Run, Next),
    /// Another runner has it.
    Elsewhere(RunId),
    /// Somebody switched it off.
    Disabled,
    /// Something is wrong with the table. It is tried again.
    Trouble(&'a TableError),
}

/// Keeps a side task until `shutdown` fires. Then it is asked to end, and this returns when its process is gone.
pub async fn supervise(
    side: &Side,
    table: &Table,
    told: impl Fn(Told<'_>) + Send + Sync,
    shutdown: CancellationToken,
) {
    let mut failures = 0;
    while !shutdown.is_cancelled() {
        let next = match turn(side, table, failures, &told, &shutdown).await {
            Ok(next) => next,
            Err(error) => {
                told(Told::Trouble(&error));
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

/// Takes the task if it is free, runs it to its end, and records that.
async fn turn(
    side: &Side,
    table: &Table,
    failures: u32,
    told: &(impl Fn(Told<'_>) + Send + Sync),
    shutdown: &CancellationToken,
) -> Result<Next, TableError> {
    let now = Timestamp::now();
    let claimed = Instant::now();
    let request = Request {
        run_id: RunId::new(now, random()),
        holder: Holder::new(&side.runner, format_args!("{:016x}", random() & u128::from(u64::MAX))),
        trigger: Trigger::Runner,
        occasion: Occasion::Wish,
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
                    told(Told::Elsewhere(run_id));
                }
                // The others are of occasions, which a side task has none of.
                _ => told(Told::Disabled),
            }
            return Ok(Next::StartAfter { pause: side.pace.patience(), failures });
        }
    };
    let run = Run {
        environment: side.environment.clone(),
        epoch: grant.hold.epoch(),
        ..Run::begun(request.run_id, side.task.clone(), Trigger::Runner, now)
    };
    told(Told::Began(run.id));
    let (ended, how) = match Process::start(side, &run, &grant) {
        Ok(process) => process.keep(side, table, &run, (claimed, now), told, shutdown).await,
        Err(error) => (cannot_start(side, &error), How::ByItself),
    };
    let ran = claimed.elapsed();
    let next = match how {
        How::Cancelled => Next::StartAfter { pause: Duration::ZERO, failures: 0 },
        How::ByItself | How::Asked | How::Killed(_) => side.pace.after_end(&ended, ran, failures, jitter()),
    };
    let run = ended.of(Run { completed_at: Timestamp::now(), ..run });
    let run = match how {
        How::Cancelled => Run { status: Status::Cancelled, ..run }.because(Reason::CancelledOrDisabled),
        How::ByItself | How::Asked | How::Killed(_) => run,
    };
    told(Told::Ended(&run, next));
    // Whoever took the task over has written its record, which stands.
    let _ = table.finish(&run, grant.hold).await?;
    Ok(next)
}

fn cannot_start(side: &Side, error: &io::Error) -> Ended {
    Ended::failed(&format!("cannot start {}: {error}", side.command.display()))
}

/// When this runner's lease ends: by the timers, which stop while the machine sleeps, and by the wall clock, by which others
/// take it over.
#[derive(Clone, Copy, Debug)]
struct Lease {
    timer: Instant,
    wall: Timestamp,
}

impl Lease {
    fn from(claimed: (Instant, Timestamp), lease: Duration) -> Self {
        Self { timer: claimed.0 + lease, wall: after(claimed.1, lease) }
    }

    /// Returns when it has ended, by whichever clock is first.
    async fn ends(self, now: impl Fn() -> Timestamp) {
        while Instant::now() < self.timer && now() < self.wall {
            sleep_until(self.timer.min(Instant::now() + LOOKS)).await;
        }
    }
}

/// How a process came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum How {
    ByItself,
    /// The runner is to stop.
    Asked,
    /// Somebody asked for the run's end in the table.
    Cancelled,
    /// It was killed, for this reason.
    Killed(Reason),
}

/// A side task's process.
struct Process {
    child: Child,
    group: Option<Pid>,
    lines: mpsc::UnboundedReceiver<(Line, OwnedSemaphorePermit)>,
}

/// A line that it printed.
enum Line {
    /// To standard output, of which the last one is how it ended.
    Out(String),
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
            .env("LAMPLIGHTER_EPOCH", run.epoch.to_string())
            // Kept open for as long as this process lives.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: what it starts dies with it, and a Ctrl-C at the terminal reaches only the runner.
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

    /// Keeps the task until its process is gone, and says how it ended.
    async fn keep(
        mut self,
        side: &Side,
        table: &Table,
        run: &Run,
        claimed: (Instant, Timestamp),
        told: &(impl Fn(Told<'_>) + Send + Sync),
        shutdown: &CancellationToken,
    ) -> (Ended, How) {
        let Pace { lease, heartbeat, .. } = side.pace;
        let (mut how, mut last) = (How::ByItself, None);
        let (mut ours_until, mut ends_at) = (Lease::from(claimed, lease), None);
        let mut heartbeats = interval(heartbeat);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let _stdin = self.child.stdin.take();
        let status = loop {
            // The lease's end, or that of the time it has to end: whichever comes first kills it.
            let ends = ends_at.unwrap_or(ours_until.timer);
            tokio::select! {
                biased;
                status = self.child.wait() => break status,
                () = ours_until.ends(Timestamp::now) => {
                    how = How::Killed(Reason::LeaseLost);
                    break self.kill().await;
                }
                () = sleep_until(ends), if ends_at.is_some() => {
                    how = How::Killed(Reason::KilledLate);
                    break self.kill().await;
                }
                () = shutdown.cancelled(), if how == How::ByItself => {
                    how = How::Asked;
                    ends_at = Some(Instant::now() + PARTING + BEYOND);
                    self.ask();
                }
                _ = heartbeats.tick() => {
                    let (at, until) = (Instant::now(), after(Timestamp::now(), lease));
                    let renewed = timeout(heartbeat, table.renew(&run.task, run.id, run.epoch, until)).await;
                    match renewed {
                        Ok(Ok(Renewed::Held)) => ours_until = Lease { timer: at + lease, wall: until },
                        Ok(Ok(Renewed::Unwanted)) => {
                            ours_until = Lease { timer: at + lease, wall: until };
                            if how == How::ByItself {
                                how = How::Cancelled;
                                ends_at = Some(at + PARTING + BEYOND);
                                self.ask();
                            }
                        }
                        Ok(Ok(Renewed::Lost)) => {
                            how = How::Killed(Reason::LeaseLost);
                            break self.kill().await;
                        }
                        Ok(Err(error)) => told(Told::Trouble(&error)),
                        // What is late may still come true; the next heartbeat tells.
                        Err(_) => {}
                    }
                }
                Some((line, _room)) = self.lines.recv() => tell(line, &mut last, run.id, told),
            }
        };
        self.kill_group();
        let rest = async {
            while let Some((line, _room)) = self.lines.recv().await {
                tell(line, &mut last, run.id, told);
            }
        };
        let _ = timeout(LAST_WORDS, rest).await;
        if let Some(Ok(ended)) = last.as_deref().map(serde_json::from_str) {
            return (ended, how);
        }
        if let Some(line) = &last {
            told(Told::Line(run.id, line));
        }
        let reason = match &how {
            How::Killed(reason) => reason.clone(),
            How::ByItself | How::Asked | How::Cancelled => {
                Reason::ProcessEnded { how: how_it_ended(&status) }
            }
        };
        let ended = Ended::because(reason);
        (ended, how)
    }

    /// Asks it to end.
    fn ask(&self) {
        if let (Some(process), Some(_)) = (self.group, self.child.id()) {
            // An error means that it has ended.
            let _ = kill_process(process, Signal::TERM);
        }
    }

    async fn kill(&mut self) -> io::Result<ExitStatus> {
        self.kill_group();
        self.child.start_kill()?;
        self.child.wait().await
    }

    /// Kills it and what it has started.
    fn kill_group(&self) {
        if let Some(group) = self.group {
            // An error means that nobody is left in it.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Tells a line, or keeps it for the next one if it may be what the process says of its end.
fn tell(line: Line, last: &mut Option<String>, run: RunId, told: &impl Fn(Told<'_>)) {
    let line = match line {
        // Only the last of such lines says how it ended.
        Line::Out(line) if serde_json::from_str::<Ended>(&line).is_ok() => last.replace(line),
        Line::Out(line) | Line::Error(line) => Some(line),
    };
    if let Some(line) = line {
        told(Told::Line(run, &line));
    }
}

/// Passes on each line as soon as there is room for it: a process that prints faster than it is heard waits.
async fn pass_on(
    mut output: Lines<impl AsyncRead + Unpin>,
    lines: mpsc::UnboundedSender<(Line, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    of: fn(String) -> Line,
) {
    while let Some(line) = output.next().await {
        // What is not UTF-8 may be longer than it was; and an empty line takes room, too.
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
    async fn a_lease_ends_by_the_timer_or_by_the_wall_clock_whichever_is_first() {
        let (now, hour) = (Timestamp::UNIX_EPOCH, Duration::from_secs(3600));
        let lease = Lease::from((Instant::now(), now), Duration::from_millis(50));
        lease.ends(|| now).await;
        let slept = Lease::from((Instant::now(), now), hour);
        timeout(hour / 100, slept.ends(|| after(now, hour))).await.unwrap();
    }
}
