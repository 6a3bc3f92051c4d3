//! The jobs of a runner: starts due jobs by priority, and has their functions make the attempts.
//!
//! The index `due` is the queue. A wake-up is a datagram that names a task with due jobs, or one job that can start if
//! no other job is due. Wake-ups may be lost, so the runner also reads the index when its next entry is due, and every
//! few seconds.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::{
    jobs::{JobOutcome, Jobs, Worker},
    table::{Conditional, TableError},
};
use lamplighter_core::{
    definition::Definition,
    job::{
        AttemptOutcome, Job, JobKey,
        worker::{JobNews, PAGE, PAUSE, Pass, WakeUp, WorkerAction, WorkerLimits, Workload},
    },
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
/// The time in which recording a result is retried while the table fails.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The current queue tasks.
#[derive(Clone, Debug, Default)]
pub struct Queues {
    /// The tasks, with the project's overrides.
    pub tasks: BTreeMap<TaskName, Arc<Definition>>,
    /// The prefix of their functions' names.
    pub prefix: String,
}

/// Starts the jobs of the queue tasks.
pub struct JobWorker {
    /// The jobs of the table.
    pub jobs: Jobs,
    /// The name of the runner.
    pub instance: Arc<str>,
    /// Invokes the functions for the attempts.
    pub attempts: Arc<Attempts>,
    /// The socket that receives wake-ups.
    pub waker: WakeSocket,
    /// The current queue tasks.
    pub queues: watch::Receiver<Arc<Queues>>,
    /// The largest number of jobs that run at once.
    pub concurrency: usize,
    /// Receives the warnings.
    pub reporter: Arc<dyn Reporter>,
    /// The jobs in progress. They continue after [`JobWorker::dispatch`] has ended.
    pub running: TaskTracker,
}

impl JobWorker {
    /// Starts jobs until `stop`.
    pub async fn dispatch(self, stop: CancellationToken) {
        let mut workload = Workload::default();
        let (over, mut ended) = mpsc::unbounded_channel::<JobNews>();
        let mut text = [0; 512];
        loop {
            let queues = Arc::clone(&self.queues.borrow());
            let limits = WorkerLimits::new(self.concurrency, queues.tasks.values().map(AsRef::as_ref));
            let pause = match self.take(&mut workload, &queues, &limits, &over).await {
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
                    workload.learn(&news);
                    while let Ok(news) = ended.try_recv() {
                        workload.learn(&news);
                    }
                }
                received = self.waker.socket.recv(&mut text) => {
                    let mut received = received;
                    while let Ok(length) = received {
                        let wake_up = self.waker.text_of(&text[..length]).and_then(WakeUp::read);
                        if let Some(WorkerAction::Start(key)) = wake_up.map(|it| workload.wake(it, &limits)) {
                            self.begin(&queues, key, &over);
                        }
                        received = self.waker.socket.try_recv(&mut text);
                    }
                }
                () = sleep(pause) => {}
            }
        }
    }

    /// Executes one pass over the backlogs. Returns the time after which the next one is due.
    async fn take(
        &self,
        workload: &mut Workload,
        queues: &Queues,
        limits: &WorkerLimits,
        over: &mpsc::UnboundedSender<JobNews>,
    ) -> Result<Duration, TableError> {
        let mut pass = Pass::default();
        loop {
            match pass.next(workload, limits, Timestamp::now()) {
                WorkerAction::Start(key) => self.begin(queues, key, over),
                WorkerAction::Look { task, priority } => {
                    let entries = self.jobs.table().due_for_runner(&task, priority, PAGE).await?;
                    workload.looked(task, priority, entries, Timestamp::now());
                }
                WorkerAction::Wait(pause) => return Ok(pause),
            }
        }
    }

    /// Runs a job in the background.
    fn begin(&self, queues: &Queues, key: JobKey, over: &mpsc::UnboundedSender<JobNews>) {
        let Some(definition) = queues.tasks.get(&key.task).map(Arc::clone) else { return };
        let function = format!("{}{}", queues.prefix, key.task);
        let jobs = self.jobs.clone().with_retention(definition.retention);
        let (attempts, reporter) = (Arc::clone(&self.attempts), Arc::clone(&self.reporter));
        let (instance, over) = (Arc::clone(&self.instance), over.clone());
        self.running.spawn(async move {
            let mut attempted = false;
            let told = |progress: Progress<'_>| match progress {
                Progress::Attempted => {
                    attempted = true;
                    // It fails once no new jobs are started.
                    let _ = over.send(JobNews::Attempted(key.task.clone()));
                }
                Progress::Unwritten(error) => reporter.warn(&format!("{key}: {error}")),
            };
            let carried = process(&jobs, &instance, &attempts, &key, &definition, &function, told);
            let carried = Box::pin(carried).await;
            let look_at = match carried {
                Ok(JobOutcome::Over(_) | JobOutcome::Lost | JobOutcome::Unknown) => None,
                Ok(JobOutcome::Again { pause, .. }) => Timestamp::now().saturating_add(pause).ok(),
                Ok(JobOutcome::Refused(refusal)) => Some(refusal.look_at(Timestamp::now())),
                Err(error) => {
                    reporter.warn(&format!("{key}: {error}"));
                    Timestamp::now().saturating_add(PAUSE).ok()
                }
            };
            let _ = over.send(JobNews::Released { key, attempted, look_at });
        });
    }
}

/// The progress of one job.
enum Progress<'a> {
    /// Its attempt is over.
    Attempted,
    /// Its result could not be recorded; recording is retried.
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
    // Recording is retried, since an unavailable table or a full disk must not cause another attempt. If another worker
    // claims the job meanwhile, that worker's result counts.
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
fn broken(job: &Job, began: Timestamp, why: &str) -> AttemptOutcome {
    let now = Timestamp::now();
    let reason = Reason::unanswered(&why);
    let took = u64::try_from(now.duration_since(began).as_millis()).unwrap_or(0);
    let attempt = Attempt { started_at: began, duration_ms: took, error: Some(RunError::of(&reason)) };
    let run = Run::begun(job.id, job.task.clone(), Trigger::Queue, began);
    let run = Run { status: Status::Failed, completed_at: now, attempts: vec![attempt], ..run };
    let run = run.because(reason);
    AttemptOutcome { run, retryable: true }
}
