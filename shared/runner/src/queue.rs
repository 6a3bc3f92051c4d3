//! Jobs under a runner: takes those that are due, by priority, and has their functions make the attempts.
//!
//! The index `due` is the queue. The waker, a datagram, only says that it is worth a look, or which job can start if none
//! waits before it; without one the runner looks when the next entry is due, and every few seconds for what others wrote
//! whose bell was lost.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use lamplighter_aws::{
    jobs::{Carried, Jobs, Worker},
    table::TableError,
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

/// How long a job is the runner's own unless it renews that.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often it renews it.
const RENEWAL: Duration = Duration::from_secs(10);
/// How many entries are read at once.
const LOOK: u16 = 250;
/// The longest time between two looks: a bell may be lost, and clocks are set.
const LONGEST: Duration = Duration::from_secs(5);
/// How many times as many jobs may be in progress as run at once: the ends of the others are being written down.
const AHEAD: usize = 4;
/// How long the end of a job is kept that cannot be written down. What the table refuses for ever is not held for ever.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The pause after the table failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The queue tasks of the moment.
#[derive(Clone, Debug, Default)]
pub struct Queues {
    /// Each as the project overrides it.
    pub tasks: BTreeMap<TaskName, Arc<Definition>>,
    /// What the names of their functions begin with.
    pub prefix: String,
}

/// What takes jobs.
pub struct JobWorker {
    /// The jobs of the table.
    pub jobs: Jobs,
    /// Which runner takes them.
    pub instance: Arc<str>,
    /// What has their functions make the attempts.
    pub attempts: Arc<Attempts>,
    /// Where it hears of new ones.
    pub waker: WakeSocket,
    /// The tasks of the moment.
    pub queues: watch::Receiver<Arc<Queues>>,
    /// How many jobs run at once, at most.
    pub concurrency: usize,
    /// Where it is told what goes wrong.
    pub reporter: Arc<dyn Reporter>,
    /// The jobs in progress, which go on when no new ones are taken any more.
    pub running: TaskTracker,
}

/// What is known of the jobs of one task and priority.
#[derive(Default)]
struct Backlog {
    /// Those that were due when somebody looked.
    due: VecDeque<JobKey>,
    /// When there may be others.
    look_at: Option<Timestamp>,
}

/// What becomes of a job that this runner has begun.
enum News {
    /// Its attempt is over, and is being written down: there is room for another body.
    Attempted(TaskName),
    /// It was let go of.
    LetGo {
        key: JobKey,
        /// Whether its attempt was told of before.
        attempted: bool,
        /// When it may be worth another look, if it is not over.
        look_at: Option<Timestamp>,
    },
}

/// What a dispatcher knows between two looks.
#[derive(Default)]
struct Memory {
    lanes: BTreeMap<(Priority, TaskName), Backlog>,
    /// The jobs that were begun and not let go of.
    in_progress: HashSet<RunId>,
    /// How many of them have their attempts before them.
    attempts: usize,
    by_task: BTreeMap<TaskName, usize>,
}

impl JobWorker {
    /// Takes jobs until `stop`.
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

    /// Starts the job that a datagram names, if there is room and nobody waits before it; else there will be a look.
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

    /// Starts as many due jobs as there is room for, the highest priority first. Returns how long there is nothing more to do,
    /// unless something is heard.
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

    /// Looks which jobs of a task and a priority are due.
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
        // What is due and in progress already hides what comes after it, until that has moved on.
        let hidden = now.saturating_add(Duration::from_millis(5)).unwrap_or(now);
        let look_at = match (due.is_empty(), is_full) {
            (false, _) => now,
            (true, true) => hidden,
            (true, false) => next,
        };
        memory.lanes.insert((priority, task.clone()), Backlog { due, look_at: Some(look_at) });
        Ok(())
    }

    /// Whether one more job of a task may run.
    fn has_room(&self, memory: &Memory, queues: &Queues, task: &TaskName) -> bool {
        let Some(definition) = queues.tasks.get(task) else { return false };
        let limit = definition.queue().and_then(|queue| queue.concurrency);
        let limit = limit.map_or(self.concurrency, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let running = memory.by_task.get(task).copied().unwrap_or_default();
        // What is over is written down in its time, but nobody runs ahead of that for ever.
        let is_behind = memory.in_progress.len() >= self.concurrency.saturating_mul(AHEAD);
        running < limit && memory.attempts < self.concurrency && !is_behind
    }

    /// Carries a job beside everything else, unless that is done already.
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
                    // Nobody listens once no new ones are taken.
                    let _ = over.send(News::Attempted(key.task.clone()));
                }
                Progress::Unwritten(error) => reporter.warn(&format!("{key}: {error}")),
            };
            let carried = carry(&jobs, &instance, &attempts, &key, &definition, &function, told);
            let carried = Box::pin(carried).await;
            let look_at = match carried {
                Ok(Carried::Over(_) | Carried::Lost | Carried::Unknown) => None,
                Ok(Carried::Again { pause, .. }) => Timestamp::now().saturating_add(pause).ok(),
                Ok(Carried::Refused(
                    Refusal::Running { until } | Refusal::NotBefore { until } | Refusal::Full { until },
                )) => Some(until),
                Ok(Carried::Refused(Refusal::Waits)) => soon(),
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
                // Those that it has woken ring.
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

    /// Whether no job is known to wait for room.
    fn nothing_is_due(&self) -> bool {
        self.lanes.values().all(|lane| lane.due.is_empty())
    }

    /// Has the jobs of a task looked at then, if not before.
    fn look_again(&mut self, task: &TaskName, at: Timestamp) {
        for (_, lane) in self.lanes.iter_mut().filter(|((_, of), _)| of == task) {
            lane.look_at = lane.look_at.map(|before| before.min(at));
        }
    }
}

/// What a datagram says.
enum Heard {
    /// This job can start.
    Job(JobKey),
    /// There are others of this task.
    Task(TaskName),
}

impl Heard {
    /// Nothing if it is none of ours.
    fn read(datagram: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok()?;
        text.parse().map(Self::Job).or_else(|_| text.parse().map(Self::Task)).ok()
    }
}

/// How far a job is.
enum Progress<'a> {
    /// Its attempt is over.
    Attempted,
    /// What came of it could not be written down, and is tried again.
    Unwritten(&'a TableError),
}

/// Carries one job: starts it, has its function make an attempt, tells that it is over, and writes down what came of it, which
/// may have to wait for the table.
async fn carry(
    jobs: &Jobs,
    instance: &str,
    attempts: &Arc<Attempts>,
    key: &JobKey,
    definition: &Definition,
    function: &str,
    mut told: impl FnMut(Progress<'_>),
) -> Result<Carried, TableError> {
    let lease = || Timestamp::now().saturating_add(LEASE).unwrap_or(Timestamp::MAX);
    let worker = Worker::new(lease(), definition.retry).of(instance);
    let job = match jobs.start(key, &worker).await? {
        Ok(job) => job,
        Err(carried) => {
            if carried == Carried::Unknown {
                jobs.table().clear_due(key).await?;
            }
            return Ok(carried);
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
                // One that failed is tried again. Who has lost the job learns so when it is over.
                let _ = jobs.renew(&job, lease()).await;
            }
        }
    };
    told(Progress::Attempted);
    let tried = answered.unwrap_or_else(|why| broken(&job, began, &why));
    // The body is not made again because the table is away for a while, or its disk is full. Somebody who takes the job
    // meanwhile has it.
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

/// An attempt whose process did not live to tell of it.
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
