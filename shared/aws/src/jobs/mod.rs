//! Jobs: enqueuing, finding and aborting them, and processing one as a worker.
//! The record in the table comes first and is authoritative. A wake-up then tells workers that there is work: a message in
//! the task's SQS queue, or a datagram to the runner. If a wake-up is lost, the pulse or the runner finds the job in the index
//! `due`.

mod dead;
mod due;
mod group_commit;
mod prepared;
mod wake;
mod worker;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use lamplighter_core::{
    backoff::Backoff,
    id::RunId,
    job::{InvalidJob, Job, JobKey, NewJob, Predecessor, Readiness, ready},
    name::TaskName,
    run::Run,
    status::Status,
};

pub use dead::{DeadLetter, DeadLetterError, DeadLetters};
pub use due::WakeReport;
pub use prepared::PreparedJob;
pub use wake::{NoRunnerAddress, RunnerAddress, Sqs, WakeError, Waker, split_datagram};
pub use worker::{JobOutcome, Worker};

use group_commit::GroupCommitter;

use crate::{
    random::random,
    table::{
        AbortOutcome, EnqueueOutcome, GroupCommit, JobEnd, JobKeys, JobRecord, LOOK_AGAIN, Table, TableError,
        Transport,
    },
};

/// The pauses between two reads of a job's record while a caller waits for its end.
const WAIT_BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
/// The number of jobs that are recorded before their wake-ups are sent: the first jobs start while the last ones are recorded.
const WAKE_BATCH: usize = 500;
/// The time after which the pulse retries a wake-up that could not be sent.
const RETRY_WAKE_AFTER: Duration = Duration::from_secs(30);

/// The jobs of a table.
#[derive(Clone, Debug)]
pub struct Jobs {
    table: Table,
    waker: Waker,
    committer: Option<GroupCommitter>,
    /// The stack that messages about failed jobs name. Without it no messages are kept.
    notifies: Option<Arc<str>>,
}

/// A job that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its key.
    pub key: JobKey,
    /// True if an existing job was joined, so that no new one was enqueued.
    pub joined: bool,
}

/// A job that was not accepted. It will not run.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// It cannot be enqueued as it is.
    #[error(transparent)]
    Invalid(#[from] InvalidJob),
    /// Another job with its unique key exists.
    #[error("a job with this unique key already exists (job {0})")]
    NotUnique(JobKey),
    /// Its task has no queue.
    #[error("task `{task}` has no queue: {cause}")]
    UnknownTask {
        /// The task.
        task: String,
        /// The error of the lookup.
        cause: String,
    },
    /// Its record could not be written.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Jobs of which some were not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{} of {} jobs were not accepted; the first, number {}: {}", failed.len(), failed.len() + accepted.len(), failed[0].0, failed[0].1)]
pub struct NotAccepted {
    /// The keys of the accepted jobs, in order.
    pub accepted: Vec<JobKey>,
    /// The indices of the other jobs, from 0, with the errors.
    pub failed: Vec<(usize, EnqueueError)>,
}

impl Jobs {
    /// The jobs of a table. `waker` wakes their workers.
    pub fn new(table: Table, waker: Waker) -> Self {
        Self { table, waker, committer: None, notifies: None }
    }

    /// Enables group commit: starts and ends of jobs that wait at the same time are written in one change. For a worker with
    /// many jobs at once, in the process that has the table's engine. Needs tokio's runtime.
    #[must_use]
    pub fn with_group_commit(self, engine: Arc<dyn GroupCommit>) -> Self {
        let committer = Some(GroupCommitter::of(self.table.clone(), engine, self.transport()));
        Self { committer, ..self }
    }

    /// Stores a notification of each job that fails for good, under the name of `stack`. The pulse or the runner sends
    /// it.
    #[must_use]
    pub fn with_failure_messages(self, stack: impl Into<Arc<str>>) -> Self {
        Self { notifies: Some(stack.into()), ..self }
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Sets how long records are kept.
    #[must_use]
    pub fn with_retention(self, retention: Duration) -> Self {
        Self { table: self.table.with_retention(retention), ..self }
    }

    fn transport(&self) -> Transport {
        self.waker.transport()
    }

    /// Enqueues a job. When this returns, the job has its record and will run. If its message does not reach the queue, the
    /// pulse sends it within two minutes.
    pub async fn enqueue(&self, new: NewJob) -> Result<Accepted, EnqueueError> {
        let now = Timestamp::now();
        let keys = JobKeys::of(&new);
        let job = new.job(RunId::of_job(now, random()), now)?;
        match self.table.enqueue(&job, &keys, self.transport(), now).await? {
            EnqueueOutcome::New => {}
            EnqueueOutcome::Joined(twin) => {
                return Ok(Accepted { key: JobKey { task: job.task, run_id: twin }, joined: true });
            }
            EnqueueOutcome::Refused(twin) => {
                return Err(EnqueueError::NotUnique(JobKey { task: job.task, run_id: twin }));
            }
        }
        self.wake_new(&job, &keys, now).await?;
        Ok(Accepted { key: job.key(), joined: false })
    }

    /// Wakes a worker for a job that has just got its record, or checks the jobs that it waits for.
    async fn wake_new(&self, job: &Job, keys: &JobKeys, now: Timestamp) -> Result<(), EnqueueError> {
        if job.after.is_empty() {
            if let Err(error) = self.waker.wake(job, now).await {
                self.wake_failed(job, keys, error, now).await?;
            }
        } else {
            // The job is accepted even if this fails: it is in the index, and its dependencies are checked within two
            // minutes.
            for first in &job.after {
                // A predecessor that is already over takes no follower. The check of the follower below finds its
                // record.
                let _ = self.table.follow(first, &job.key()).await;
            }
            let _ = self.wake_followers(vec![job.key()]).await;
        }
        Ok(())
    }

    /// Handles a wake-up that failed: the job waits for the pulse, or is withdrawn if it has no queue. If the job cannot be
    /// moved in the index either, the pulse finds it later as an orphan.
    async fn wake_failed(
        &self,
        job: &Job,
        keys: &JobKeys,
        error: WakeError,
        now: Timestamp,
    ) -> Result<(), EnqueueError> {
        match error {
            WakeError::NoQueue { task, cause } => {
                self.table.withdraw(job, keys, now).await?;
                Err(EnqueueError::UnknownTask { task, cause })
            }
            WakeError::NotSent(_) => {
                let at_last = now.saturating_add(RETRY_WAKE_AFTER).unwrap_or(Timestamp::MAX);
                let _ = self.table.park(&job.key(), at_last).await;
                Ok(())
            }
        }
    }

    /// Enqueues many jobs, 25 with each request. Jobs with keys or dependencies are enqueued one by one.
    pub async fn enqueue_many(&self, new: Vec<NewJob>) -> Result<Vec<JobKey>, NotAccepted> {
        let now = Timestamp::now();
        let (mut keys, mut failed) = (Vec::with_capacity(new.len()), Vec::new());
        let (mut places, mut jobs) = (Vec::new(), Vec::new());
        for (place, new) in new.into_iter().enumerate() {
            let is_alone = new.id.is_some() || new.is_replay || new.unique.is_some() || !new.after.is_empty();
            let accepted = if is_alone {
                self.enqueue(new).await.map(|accepted| accepted.key)
            } else {
                new.job(RunId::of_job(now, random()), now).map_err(EnqueueError::from).map(|job| {
                    let key = job.key();
                    places.push(place);
                    jobs.push(job);
                    key
                })
            };
            match accepted {
                Ok(key) => keys.push((place, key)),
                Err(error) => failed.push((place, error)),
            }
        }
        let mut rest = places.into_iter().zip(jobs);
        loop {
            let (mut places, mut jobs): (Vec<_>, Vec<_>) = rest.by_ref().take(WAKE_BATCH).unzip();
            if jobs.is_empty() {
                break;
            }
            for (id, error) in self.table.enqueue_all(&jobs, self.transport(), now).await {
                if let Some(at) = jobs.iter().position(|job| job.id == id) {
                    failed.push((places.remove(at), error.into()));
                    jobs.remove(at);
                }
            }
            for (at, error) in self.waker.wake_all(&jobs, now).await {
                if let Err(error) = self.wake_failed(&jobs[at], &JobKeys::default(), error, now).await {
                    failed.push((places[at], error));
                }
            }
        }
        keys.retain(|(place, _)| failed.iter().all(|(other, _)| other != place));
        let accepted = keys.into_iter().map(|(_, key)| key).collect();
        if failed.is_empty() {
            Ok(accepted)
        } else {
            failed.sort_by_key(|(place, _)| *place);
            Err(NotAccepted { accepted, failed })
        }
    }

    /// Wakes a worker again for a job that has not started: its message may have been lost. An additional message starts
    /// nothing twice.
    pub async fn wake_worker(&self, job: &Job) -> Result<(), WakeError> {
        self.waker.wake(job, Timestamp::now()).await
    }

    /// Extends the lease of a running job. Returns false if the worker has lost the job.
    pub async fn renew(&self, job: &Job, until: Timestamp) -> Result<bool, TableError> {
        self.table.renew_job(job, until, self.transport()).await
    }

    /// Revokes the leases of a dead runner on a task's jobs, and wakes workers for them. Returns the number of jobs. See
    /// [`Table::revoke_leases`].
    pub async fn revoke_leases(
        &self,
        task: &TaskName,
        runner: &str,
        longest: Duration,
    ) -> Result<usize, TableError> {
        let now = Timestamp::now();
        let revoked = self.table.revoke_leases(task, runner, now, longest).await?;
        // If the wake-up is lost, the runner finds the job in the index.
        let _ = self.waker.wake_all(&revoked, now).await;
        Ok(revoked.len())
    }

    /// Sets the visibility timeout of a message that was received.
    pub async fn hold_back(&self, task: &TaskName, receipt: &str, pause: Duration) -> Result<(), WakeError> {
        self.waker.hold_back(task, receipt, pause).await
    }

    /// Reads a job's record, whether or not the job is over.
    pub async fn find(&self, key: &JobKey) -> Result<Option<JobRecord>, TableError> {
        self.table.job(key).await
    }

    /// Waits for a job's end. Returns `None` if the job is not over after `patience`.
    pub async fn wait(&self, key: &JobKey, patience: Duration) -> Result<Option<Run>, TableError> {
        // A timeout beyond the clock's range counts as no timeout.
        let until = tokio::time::Instant::now().checked_add(patience);
        let mut backoff = WAIT_BACKOFF;
        loop {
            if let Some(run) = self.table.run(&key.task, key.run_id).await? {
                return Ok(Some(run));
            }
            let left = until.map(|until| until.saturating_duration_since(tokio::time::Instant::now()));
            let left = left.unwrap_or(Duration::MAX);
            if left.is_zero() {
                return Ok(None);
            }
            tokio::time::sleep(backoff.pause().min(left)).await;
        }
    }

    /// Cancels a job that has not started, or asks the worker of a running job to end it.
    pub async fn abort(&self, key: &JobKey) -> Result<AbortOutcome, TableError> {
        let aborted = self.table.abort_job(key, Timestamp::now()).await?;
        if let AbortOutcome::Ended(_, followers) = &aborted {
            self.wake_followers(followers.clone()).await?;
        }
        Ok(aborted)
    }

    /// Releases a job whose dependencies are met.
    ///
    /// The process may die between any two steps, so the message to a queue is sent before the write. Until the write
    /// removes the job from the index, the pulse finds the job there. A worker that receives the message checks the
    /// job's dependencies itself.
    async fn free(&self, job: &Job, now: Timestamp) -> Result<(), TableError> {
        let free = Job { after: Vec::new(), ..job.clone() };
        if self.transport() == Transport::Runner {
            if self.table.release_job(job, self.transport(), now).await? {
                // If the wake-up is lost, the runner finds the job in the index.
                let _ = self.waker.wake(&free, now).await;
            }
        } else if self.waker.wake(&free, now).await.is_ok() {
            self.table.release_job(job, self.transport(), now).await?;
        } else {
            let later = now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
            self.table.look_later(&job.key(), later).await?;
        }
        Ok(())
    }

    /// Checks jobs that depend on others: a job whose dependencies are met may start. A job whose dependencies have failed is
    /// BLOCKED, and so are the jobs that depend on it.
    pub async fn wake_followers(&self, mut followers: Vec<JobKey>) -> Result<(), TableError> {
        while let Some(key) = followers.pop() {
            let Some(JobRecord::Open(job)) = self.table.job(&key).await? else { continue };
            if job.after.is_empty() {
                continue;
            }
            let arguments = self.table.arguments_of(&job).await?;
            let job = Job { arguments, large: BTreeMap::new(), ..*job };
            let mut found = Vec::with_capacity(job.after.len());
            for first in &job.after {
                found.push((
                    first,
                    match self.table.job(first).await? {
                        // The data is read only if the job receives it.
                        Some(JobRecord::Over(run)) if job.receives.is_some() => {
                            Predecessor::Over(Box::new(self.table.whole(*run).await?))
                        }
                        Some(JobRecord::Over(run)) => Predecessor::Over(run),
                        Some(JobRecord::Open(_)) => Predecessor::Open,
                        None => Predecessor::Missing,
                    },
                ));
            }
            let now = Timestamp::now();
            match ready(&job, &found) {
                Readiness::Waits => {
                    let later = now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
                    self.table.look_later(&key, later).await?;
                }
                Readiness::Ready(arguments) => {
                    let free = Job { arguments, ..job };
                    self.free(&free, now).await?;
                }
                Readiness::Blocked(reason) => {
                    let blocked = job.ended(Status::Blocked, reason, now);
                    if let JobEnd::Written(further) = self.table.end_job(&job, &blocked).await? {
                        followers.extend(further);
                    }
                }
            }
        }
        Ok(())
    }
}
