//! The jobs of a runner: starts due jobs by priority, and has their functions make the attempts.
//!
//! The index `due` is the queue. A wake-up, a datagram, names a task whose jobs to look for, or a job that can start if no other
//! waits before it. Without wake-ups the runner looks when the next entry is due, and every few seconds, since wake-ups may be
//! lost.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use lamplighter_aws::{
    jobs::{JobOutcome, Jobs, Worker},
    table::{Conditional, TableError},
};
use lamplighter_core::{
    definition::{Definition, Priority},
    id::RunId,
    job::{Job, JobKey, Refusal, Tried},
    name::TaskName,
    reason::Reason,
    run::{Attempt, Run, RunError, Trigger},
    status::Status,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, interval, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{attempts::Attempts, events::Reporter, wake::WakeSocket};

/// The lease of a job.
pub const LEASE: Duration = Duration::from_secs(30);
/// The pause between two renewals of a lease.
const RENEWAL: Duration = Duration::from_secs(10);
/// The number of entries in one read.
const LOOK: u16 = 250;
/// The longest pause between two reads: wake-ups may be lost, and clocks changed.
const LONGEST: Duration = Duration::from_secs(5);
/// The limit of jobs in progress, as a multiple of those that run at once. The results of the others are being recorded.
const AHEAD: usize = 4;
/// The time in which recording a result is retried while the table fails.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The pause after an error of the table.
const PAUSE: Duration = Duration::from_secs(1);

/// The current queue tasks.
#[derive(Clone, Debug, Default)]
pub struct Queues {
    /// The tasks, with the project's overrides.
    pub tasks: BTreeMap<TaskName, Arc<Definition>>,
    /// The prefix of their functions' names.
    pub prefix: String,
}

/// Starts and runs jobs.
pub struct JobWorker {
    /// The jobs of the table.
    pub jobs: Jobs,
    /// The name of the runner.
    pub instance: Arc<str>,
    /// Invokes the functions for attempts.
    pub attempts: Arc<Attempts>,
    /// The socket for wake-ups.
    pub waker: WakeSocket,
    /// The current tasks.
    pub queues: watch::Receiver<Arc<Queues>>,
    /// The largest number of jobs that run at once.
    pub concurrency: usize,
    /// Receives warnings.
    pub reporter: Arc<dyn Reporter>,
    /// The jobs in progress, which go on after no new ones are started.
    pub running: TaskTracker,
}

/// The due jobs of one task and priority, as last read.
#[derive(Default)]
struct Backlog {
    /// The jobs that were due at the last read.
    due: VecDeque<JobKey>,
    /// The time of the next read.
    look_at: Option<Timestamp>,
}

/// The progress of a job that this runner has started.
enum News {
    /// Its attempt is over and is being recorded, so another body can run.
    Attempted(TaskName),
    /// The runner is done with it.
    LetGo {
        key: JobKey,
        /// True if `Attempted` was sent before.
        attempted: bool,
        /// The time at which to look for it again, if it is not over.
        look_at: Option<Timestamp>,
    },
}

/// The state of a job worker between two reads.
#[derive(Default)]
struct Memory {
    lanes: BTreeMap<(Priority, TaskName), Backlog>,
    /// The jobs that were started and are not done with.
    in_progress: HashSet<RunId>,
    /// The number of them whose attempts are not over.
    attempts: usize,
    by_task: BTreeMap<TaskName, usize>,
}

impl JobWorker {
    /// Starts jobs until `stop`.
    pub async fn dispatch(self, stop: CancellationToken) {
        let mut memory = Memory::default();
        let (over, mut ended) = mpsc::unbounded_channel::<News>();
        let mut text = [0; 512];
        loop {
            let queues = Arc::clone(&self.queues.borrow());
            let pause = match self.take(&mut memory, &queues, &over).await {
                Ok(pause) => pause,
                Err(error) => {
                    self.reporter.warn(&error.to_string());
                    PAUSE
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(news) = ended.recv() => {
                    memory.learn(&news);
                    while let Ok(news) = ended.try_recv() {
                        memory.learn(&news);
                    }
                }
                received = self.waker.socket.recv(&mut text) => {
                    let mut received = received;
                    while let Ok(length) = received {
                        if let Some(text) = self.waker.text_of(&text[..length]) {
                            self.hear(&mut memory, &queues, text, &over);
                        }
                        received = self.waker.socket.try_recv(&mut text);
                    }
                }
                () = sleep(pause) => {}
            }
        }
    }

    /// Starts the job that a wake-up names, if there is room and no other job waits before it. Otherwise its task is read again.
    fn hear(
        &self,
        memory: &mut Memory,
        queues: &Queues,
        datagram: &[u8],
        over: &mpsc::UnboundedSender<News>,
    ) {
        match Heard::read(datagram) {
            Some(Heard::Job(key)) if memory.nothing_is_due() && self.has_room(memory, queues, &key.task) => {
                self.begin(memory, queues, key, over);
            }
            Some(Heard::Job(JobKey { task, .. }) | Heard::Task(task)) => {
                memory.look_again(&task, Timestamp::MIN);
            }
            None => {}
        }
    }

    /// Starts as many due jobs as there is room for, by priority. Returns the pause until the next read, unless a wake-up comes
    /// before.
    async fn take(
        &self,
        memory: &mut Memory,
        queues: &Arc<Queues>,
        over: &mpsc::UnboundedSender<News>,
    ) -> Result<Duration, TableError> {
        let mut pause = LONGEST;
        for priority in Priority::ALL.iter().copied() {
            for task in queues.tasks.keys() {
                while self.has_room(memory, queues, task) {
                    let lane = memory.lanes.entry((priority, task.clone())).or_default();
                    if lane.due.is_empty() {
                        let now = Timestamp::now();
                        if let Some(at) = lane.look_at.filter(|at| *at > now) {
                            pause = pause.min(Duration::try_from(at.duration_since(now)).unwrap_or(PAUSE));
                            break;
                        }
                        self.look(memory, task, priority).await?;
                        continue;
                    }
                    let Some(key) = lane.due.pop_front() else { break };
                    self.begin(memory, queues, key, over);
                }
            }
        }
        Ok(pause)
    }

    /// Reads the due jobs of a task and a priority.
    async fn look(&self, memory: &mut Memory, task: &TaskName, priority: Priority) -> Result<(), TableError> {
        let found = self.jobs.table().due_for_runner(task, priority, LOOK).await?;
        let now = Timestamp::now();
        let is_full = found.len() == usize::from(LOOK);
        let (due, later): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, at)| *at <= now);
        let due: VecDeque<_> = due
            .into_iter()
            .map(|(key, _)| key)
            .filter(|key| !memory.in_progress.contains(&key.run_id))
            .collect();
        let latest = now.saturating_add(LONGEST).unwrap_or(now);
        let next = later.first().map_or(latest, |(_, at)| (*at).min(latest));
        // A full page of jobs in progress hides the jobs behind it until their entries move.
        let hidden = now.saturating_add(Duration::from_millis(5)).unwrap_or(now);
        let look_at = match (due.is_empty(), is_full) {
            (false, _) => now,
            (true, true) => hidden,
            (true, false) => next,
        };
        memory.lanes.insert((priority, task.clone()), Backlog { due, look_at: Some(look_at) });
        Ok(())
    }

    /// Returns true if another job of a task may run.
    fn has_room(&self, memory: &Memory, queues: &Queues, task: &TaskName) -> bool {
        let Some(definition) = queues.tasks.get(task) else { return false };
        let limit = definition.queue().and_then(|queue| queue.concurrency);
        let limit = limit.map_or(self.concurrency, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let running = memory.by_task.get(task).copied().unwrap_or_default();
        // Results are recorded in the background, up to this limit.
        let is_behind = memory.in_progress.len() >= self.concurrency.saturating_mul(AHEAD);
        running < limit && memory.attempts < self.concurrency && !is_behind
    }

    /// Runs a job in the background, unless it is in progress already.
    fn begin(&self, memory: &mut Memory, queues: &Queues, key: JobKey, over: &mpsc::UnboundedSender<News>) {
        let Some(definition) = queues.tasks.get(&key.task).map(Arc::clone) else { return };
        if !memory.in_progress.insert(key.run_id) {
            return;
        }
        *memory.by_task.entry(key.task.clone()).or_default() += 1;
        memory.attempts += 1;
        let function = format!("{}{}", queues.prefix, key.task);
        let jobs = self.jobs.clone().with_retention(definition.retention);
        let (attempts, reporter) = (Arc::clone(&self.attempts), Arc::clone(&self.reporter));
        let (instance, over) = (Arc::clone(&self.instance), over.clone());
        self.running.spawn(async move {
            let soon = || Timestamp::now().saturating_add(PAUSE).ok();
            let mut attempted = false;
            let told = |progress: Progress<'_>| match progress {
                Progress::Attempted => {
                    attempted = true;
                    // It fails once no new jobs are started.
                    let _ = over.send(News::Attempted(key.task.clone()));
                }
                Progress::Unwritten(error) => reporter.warn(&format!("{key}: {error}")),
            };
            let carried = process(&jobs, &instance, &attempts, &key, &definition, &function, told);
            let carried = Box::pin(carried).await;
            let look_at = match carried {
                Ok(JobOutcome::Over(_) | JobOutcome::Lost | JobOutcome::Unknown) => None,
                Ok(JobOutcome::Again { pause, .. }) => Timestamp::now().saturating_add(pause).ok(),
                Ok(JobOutcome::Refused(
                    Refusal::Running { until } | Refusal::NotBefore { until } | Refusal::Full { until },
                )) => Some(until),
                Ok(JobOutcome::Refused(Refusal::Waits)) => soon(),
                Err(error) => {
                    reporter.warn(&format!("{key}: {error}"));
                    soon()
                }
            };
            let _ = over.send(News::LetGo { key, attempted, look_at });
        });
    }
}

impl Memory {
    fn learn(&mut self, news: &News) {
        match news {
            News::Attempted(task) => self.make_room(task),
            News::LetGo { key, attempted, look_at } => {
                self.in_progress.remove(&key.run_id);
                if !attempted {
                    self.make_room(&key.task);
                }
                // Jobs that this one unblocked send wake-ups of their own.
                if let Some(at) = look_at {
                    self.look_again(&key.task, *at);
                }
            }
        }
    }

    fn make_room(&mut self, task: &TaskName) {
        self.attempts = self.attempts.saturating_sub(1);
        if let Some(running) = self.by_task.get_mut(task) {
            *running = running.saturating_sub(1);
        }
    }

    /// Returns true if no due job waits for room.
    fn nothing_is_due(&self) -> bool {
        self.lanes.values().all(|lane| lane.due.is_empty())
    }

    /// Schedules a read of a task's jobs for this time, unless an earlier one is scheduled.
    fn look_again(&mut self, task: &TaskName, at: Timestamp) {
        for (_, lane) in self.lanes.iter_mut().filter(|((_, of), _)| of == task) {
            lane.look_at = lane.look_at.map(|before| before.min(at));
        }
    }
}

/// A wake-up.
enum Heard {
    /// This job can start.
    Job(JobKey),
    /// There are new jobs of this task.
    Task(TaskName),
}

impl Heard {
    /// Reads a datagram; `None` if it is not a wake-up.
    fn read(datagram: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok()?;
        text.parse().map(Self::Job).or_else(|_| text.parse().map(Self::Task)).ok()
    }
}

/// The progress of one job.
enum Progress<'a> {
    /// Its attempt is over.
    Attempted,
    /// Its result could not be recorded, which is tried again.
    Unwritten(&'a TableError),
}

/// Runs one job: starts it, has its function make an attempt, reports that the attempt is over, and records the result. While the
/// table fails, recording is retried.
async fn process(
    jobs: &Jobs,
    instance: &str,
    attempts: &Arc<Attempts>,
    key: &JobKey,
    definition: &Definition,
    function: &str,
    mut told: impl FnMut(Progress<'_>),
) -> Result<JobOutcome, TableError> {
    let lease = || Timestamp::now().saturating_add(LEASE).unwrap_or(Timestamp::MAX);
    let worker = Worker::new(lease(), definition.retry).of(instance);
    let job = match jobs.start(key, &worker).await? {
        Conditional::Done(job) => job,
        Conditional::Refused(outcome) => {
            if outcome == JobOutcome::Unknown {
                jobs.table().clear_due(key).await?;
            }
            return Ok(outcome);
        }
    };
    let began = Timestamp::now();
    let attempt = attempts.make(function, &job);
    tokio::pin!(attempt);
    let mut renewals = interval(RENEWAL);
    renewals.tick().await;
    let answered = loop {
        tokio::select! {
            answered = &mut attempt => break answered,
            _ = renewals.tick() => {
                // After an error the next renewal tries again. A lost lease shows when the result is recorded.
                let _ = jobs.renew(&job, lease()).await;
            }
        }
    };
    told(Progress::Attempted);
    let tried = answered.unwrap_or_else(|why| broken(&job, began, &why));
    // The body must not run again only because the table is unavailable or its disk is full. If another worker claims the job
    // meanwhile, its result counts.
    let (mut is_told, over_at) = (false, Instant::now());
    loop {
        match jobs.conclude(&job, tried.clone(), &worker).await {
            Err(error @ (TableError::Service { .. } | TableError::Objects(_)))
                if over_at.elapsed() < PATIENCE =>
            {
                if !std::mem::replace(&mut is_told, true) {
                    told(Progress::Unwritten(&error));
                }
            }
            concluded => return concluded,
        }
        sleep(PAUSE).await;
        let _ = jobs.renew(&job, lease()).await;
    }
}

/// The result of an attempt whose process ended before it returned one.
fn broken(job: &Job, began: Timestamp, why: &str) -> Tried {
    let now = Timestamp::now();
    let reason = Reason::unanswered(&why);
    let took = u64::try_from(now.duration_since(began).as_millis()).unwrap_or(0);
    let attempt = Attempt { started_at: began, duration_ms: took, error: Some(RunError::of(&reason)) };
    let run = Run::begun(job.id, job.task.clone(), Trigger::Queue, began);
    let run = Run { status: Status::Failed, completed_at: now, attempts: vec![attempt], ..run };
    let run = run.because(reason);
    Tried { run, retryable: true }
}
