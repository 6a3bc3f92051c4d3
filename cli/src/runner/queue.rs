//! Jobs under a runner: takes those that are due, by priority, and has their functions make the attempts.
//!
//! The index `due` is the queue. The bell, a datagram, only says that it is worth a look, or which job can start if none
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
    envelope::{Envelope, StartedJob},
    id::RunId,
    job::{Job, JobKey, Refusal, Tried},
    name::TaskName,
    run::{Attempt, ErrorKind, Run, RunError, Trigger},
    status::Status,
};
use lamplighter_local::LambdaHost;
use tokio::{
    sync::{mpsc, watch},
    time::{interval, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{bell::Hung, teller::Teller};

/// How long a job is the runner's own unless it renews that.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often it renews it.
const RENEWAL: Duration = Duration::from_secs(10);
/// How many entries are read at once.
const LOOK: u16 = 250;
/// The longest time between two looks: a bell may be lost, and clocks are set.
const LONGEST: Duration = Duration::from_secs(5);
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
pub struct Dispatcher {
    /// The jobs of the table.
    pub jobs: Jobs,
    /// Which runner takes them.
    pub instance: Arc<str>,
    /// What runs their functions.
    pub host: Arc<LambdaHost>,
    /// Where it hears of new ones.
    pub bell: Hung,
    /// The tasks of the moment.
    pub queues: watch::Receiver<Arc<Queues>>,
    /// How many jobs run at once, at most.
    pub concurrency: usize,
    /// Where it is told what goes wrong.
    pub teller: Arc<Teller>,
    /// The jobs in progress, which go on when no new ones are taken any more.
    pub running: TaskTracker,
}

/// What is known of the jobs of one task and priority.
#[derive(Default)]
struct Lane {
    /// Those that were due when somebody looked.
    due: VecDeque<JobKey>,
    /// When there may be others.
    look_at: Option<Timestamp>,
}

/// A job that this runner has let go of.
struct LetGo {
    key: JobKey,
    /// When it may be worth another look, if it is not over.
    look_at: Option<Timestamp>,
}

/// What a dispatcher knows between two looks.
#[derive(Default)]
struct Memory {
    lanes: BTreeMap<(Priority, TaskName), Lane>,
    in_progress: HashSet<RunId>,
    by_task: BTreeMap<TaskName, usize>,
}

impl Dispatcher {
    /// Takes jobs until `stop`.
    pub async fn dispatch(self, stop: CancellationToken) {
        let mut memory = Memory::default();
        let (over, mut ended) = mpsc::unbounded_channel::<LetGo>();
        let mut text = [0; 512];
        loop {
            let queues = Arc::clone(&self.queues.borrow());
            let pause = match self.take(&mut memory, &queues, &over).await {
                Ok(pause) => pause,
                Err(error) => {
                    self.teller.warn(&error.to_string());
                    PAUSE
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(let_go) = ended.recv() => {
                    memory.forget(&let_go);
                    while let Ok(let_go) = ended.try_recv() {
                        memory.forget(&let_go);
                    }
                }
                received = self.bell.socket.recv(&mut text) => {
                    let mut received = received;
                    while let Ok(length) = received {
                        self.hear(&mut memory, &queues, &text[..length], &over);
                        received = self.bell.socket.try_recv(&mut text);
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
        over: &mpsc::UnboundedSender<LetGo>,
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
        over: &mpsc::UnboundedSender<LetGo>,
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
        memory.lanes.insert((priority, task.clone()), Lane { due, look_at: Some(look_at) });
        Ok(())
    }

    /// Whether one more job of a task may run.
    fn has_room(&self, memory: &Memory, queues: &Queues, task: &TaskName) -> bool {
        let Some(definition) = queues.tasks.get(task) else { return false };
        let limit = definition.queue().and_then(|queue| queue.concurrency);
        let limit = limit.map_or(self.concurrency, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let running = memory.by_task.get(task).copied().unwrap_or_default();
        running < limit && memory.in_progress.len() < self.concurrency
    }

    /// Carries a job beside everything else, unless that is done already.
    fn begin(&self, memory: &mut Memory, queues: &Queues, key: JobKey, over: &mpsc::UnboundedSender<LetGo>) {
        let Some(definition) = queues.tasks.get(&key.task).map(Arc::clone) else { return };
        if !memory.in_progress.insert(key.run_id) {
            return;
        }
        *memory.by_task.entry(key.task.clone()).or_default() += 1;
        let function = format!("{}{}", queues.prefix, key.task);
        let jobs = self.jobs.clone().keeping(definition.retention);
        let (host, teller) = (Arc::clone(&self.host), Arc::clone(&self.teller));
        let (instance, over) = (Arc::clone(&self.instance), over.clone());
        self.running.spawn(async move {
            let soon = || Timestamp::now().saturating_add(PAUSE).ok();
            let look_at = match carry(&jobs, &instance, &host, &key, &definition, &function).await {
                Ok(Carried::Over(_) | Carried::Lost | Carried::Unknown) => None,
                Ok(Carried::Again { pause, .. }) => Timestamp::now().saturating_add(pause).ok(),
                Ok(Carried::Refused(
                    Refusal::Running { until } | Refusal::NotBefore { until } | Refusal::Full { until },
                )) => Some(until),
                Ok(Carried::Refused(Refusal::Waits)) => soon(),
                Err(error) => {
                    teller.warn(&format!("{key}: {error}"));
                    soon()
                }
            };
            // Nobody listens once no new ones are taken.
            let _ = over.send(LetGo { key, look_at });
        });
    }
}

impl Memory {
    fn forget(&mut self, LetGo { key, look_at }: &LetGo) {
        self.in_progress.remove(&key.run_id);
        if let Some(running) = self.by_task.get_mut(&key.task) {
            *running = running.saturating_sub(1);
        }
        // Those that it has woken ring.
        if let Some(at) = look_at {
            self.look_again(&key.task, *at);
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

/// Carries one job: starts it, has its function make an attempt, and writes down what came of it.
async fn carry(
    jobs: &Jobs,
    instance: &str,
    host: &LambdaHost,
    key: &JobKey,
    definition: &Definition,
    function: &str,
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
    let envelope = Envelope {
        run_id: Some(job.id),
        arguments: job.arguments.clone(),
        job: Some(StartedJob { epoch: job.epoch, large: job.large.clone() }),
        ..Envelope::of(Trigger::Queue)
    };
    let payload = serde_json::to_vec(&envelope).unwrap_or_default();
    let began = Timestamp::now();
    let attempt = host.invoke(function, payload);
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
    let tried = match answered {
        Ok(invocation) if !invocation.failed => {
            serde_json::from_slice(&invocation.payload).unwrap_or_else(|error| {
                broken(&job, began, &format!("its function answered something else: {error}"))
            })
        }
        Ok(invocation) => broken(&job, began, &String::from_utf8_lossy(&invocation.payload)),
        Err(error) => broken(&job, began, &error.to_string()),
    };
    jobs.conclude(&job, tried, &worker).await
}

/// An attempt whose process did not live to tell of it.
fn broken(job: &Job, began: Timestamp, why: &str) -> Tried {
    let now = Timestamp::now();
    let error =
        RunError::new(ErrorKind::System, format!("lost: the function did not end the attempt: {why}"));
    let took = u64::try_from(now.duration_since(began).as_millis()).unwrap_or(0);
    let attempt = Attempt { started_at: began, duration_ms: took, error: Some(error.clone()) };
    let run = Run::begun(job.id, job.task.clone(), Trigger::Queue, began);
    let run =
        Run { status: Status::Failed, completed_at: now, attempts: vec![attempt], error: Some(error), ..run };
    Tried { run, retryable: true }
}
