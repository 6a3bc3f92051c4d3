//! Jobs: enqueuing them, asking for them, ending them; and carrying one, for workers.
//!
//! The record in the table comes first and is the truth. The bell says that there is work: a message in the task's SQS
//! queue, or a datagram to the runner. A bell that was lost is found again: by the pulse or the runner, in the index `due`.

mod carry;
mod dead;
mod due;
mod group_commit;
mod wake;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use lamplighter_core::{
    id::RunId,
    job::{Before, InvalidJob, Job, JobKey, NewJob, Readiness, ready},
    name::TaskName,
    run::Run,
    status::Status,
};

pub use carry::{Carried, Worker};
pub use dead::{DeadLetter, DeadLetterError, DeadLetters};
pub use due::WakeReport;
pub use wake::{NoRunnerAddress, RunnerAddress, Sqs, WakeError, Waker, split_datagram};

use group_commit::Together;

use crate::{
    random::random,
    table::{
        Aborted, Ended, Enqueued, Found, GroupCommit, JobKeys, LOOK_AGAIN, Table, TableError, Transport,
    },
};

/// How long it is from one look at a job's record to the next while somebody waits for its end, at first and at most.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How many jobs are written down before somebody is told of them: the first ones start while the last ones are written.
const TOLD: usize = 500;
/// How soon the pulse sends a message that could not be sent.
const PARKED: Duration = Duration::from_secs(30);

/// The jobs of a table.
#[derive(Clone, Debug)]
pub struct Jobs {
    table: Table,
    waker: Waker,
    together: Option<Together>,
    /// The stack for which messages of failed jobs are kept, if somebody is told of them.
    notifies: Option<Arc<str>>,
}

/// A job that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Which.
    pub key: JobKey,
    /// Whether it was there before: somebody else's that stands for it.
    pub joined: bool,
}

/// Why a job was not accepted. It will not run.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// It cannot be enqueued as it is.
    #[error(transparent)]
    Invalid(#[from] InvalidJob),
    /// It must be the only one, and is not.
    #[error("the job {0} is not over, and this one must be the only one")]
    NotUnique(JobKey),
    /// Its task has no queue.
    #[error("task `{task}` has no queue: {cause}")]
    UnknownTask {
        /// The task.
        task: String,
        /// What was looked for.
        cause: String,
    },
    /// It could not be written down.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Jobs of which some were not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{} of {} jobs were not accepted; the first, number {}: {}", failed.len(), failed.len() + accepted.len(), failed[0].0, failed[0].1)]
pub struct NotAccepted {
    /// Those that were, in order.
    pub accepted: Vec<JobKey>,
    /// The others by their places, from 0, with the reasons.
    pub failed: Vec<(usize, EnqueueError)>,
}

impl Jobs {
    /// The jobs of that table, of which that bell tells.
    pub fn new(table: Table, waker: Waker) -> Self {
        Self { table, waker, together: None, notifies: None }
    }

    /// The same jobs, whose starts and ends are written together when several wait: for a worker with many jobs at once, whose
    /// process has the table's engine. It needs tokio's runtime.
    #[must_use]
    pub fn with_group_commit(self, engine: Arc<dyn GroupCommit>) -> Self {
        let together = Some(Together::of(self.table.clone(), engine, self.lane()));
        Self { together, ..self }
    }

    /// The same jobs, each of which that ends as a failure leaves a message to people, as of that stack. The pulse or the
    /// runner sends it.
    #[must_use]
    pub fn telling(self, stack: impl Into<Arc<str>>) -> Self {
        Self { notifies: Some(stack.into()), ..self }
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The same jobs, whose records are kept for that long.
    #[must_use]
    pub fn with_retention(self, retention: Duration) -> Self {
        Self { table: self.table.with_retention(retention), ..self }
    }

    fn lane(&self) -> Transport {
        self.waker.lane()
    }

    /// Enqueues a job. When this returns it has its record, and will be run. Should its message not reach the queue, the
    /// pulse sends it within a minute or two.
    pub async fn enqueue(&self, new: NewJob) -> Result<Accepted, EnqueueError> {
        let now = Timestamp::now();
        let replay_of = new.retry_of.filter(|_| new.is_replay);
        let keys = JobKeys { id: new.id.clone(), replay_of, unique: new.unique.clone() };
        let job = new.job(RunId::of_job(now, random()), now)?;
        match self.table.enqueue(&job, &keys, self.lane(), now).await? {
            Enqueued::New => {}
            Enqueued::Joined(twin) => {
                return Ok(Accepted { key: JobKey { task: job.task, run_id: twin }, joined: true });
            }
            Enqueued::Refused(twin) => {
                return Err(EnqueueError::NotUnique(JobKey { task: job.task, run_id: twin }));
            }
        }
        if job.after.is_empty() {
            if let Err(error) = self.waker.ring(&job, now).await {
                self.unheard(&job, &keys, error, now).await?;
            }
        } else {
            // It is accepted, whatever of this fails: it stands in the index, and is looked at within a minute or two.
            for first in &job.after {
                // One that is over already is found so when the follower is looked at.
                let _ = self.table.follow(first, &job.key()).await;
            }
            let _ = self.wake(vec![job.key()]).await;
        }
        Ok(Accepted { key: job.key(), joined: false })
    }

    /// What becomes of a new job of which nobody heard: it waits for the pulse, or is taken back if it has no queue. One that
    /// cannot even be parked has its record, in which the pulse finds it later.
    async fn unheard(
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
            WakeError::Unheard(_) => {
                let at_last = now.saturating_add(PARKED).unwrap_or(Timestamp::MAX);
                let _ = self.table.park(&job.key(), at_last).await;
                Ok(())
            }
        }
    }

    /// Enqueues many jobs, 25 with a request. Those with keys, or that come after others, are enqueued one by one.
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
            let (mut places, mut jobs): (Vec<_>, Vec<_>) = rest.by_ref().take(TOLD).unzip();
            if jobs.is_empty() {
                break;
            }
            for (id, error) in self.table.enqueue_all(&jobs, self.lane(), now).await {
                if let Some(at) = jobs.iter().position(|job| job.id == id) {
                    failed.push((places.remove(at), error.into()));
                    jobs.remove(at);
                }
            }
            for (at, error) in self.waker.wake_all(&jobs, now).await {
                if let Err(error) = self.unheard(&jobs[at], &JobKeys::default(), error, now).await {
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

    /// Tells once more of a job that nobody has started: its message may have been lost. A message too many starts nothing
    /// twice.
    pub async fn ring(&self, job: &Job) -> Result<(), WakeError> {
        self.waker.ring(job, Timestamp::now()).await
    }

    /// Renews the lease of a job that a worker has. False if it has it no more.
    pub async fn renew(&self, job: &Job, until: Timestamp) -> Result<bool, TableError> {
        self.table.renew_job(job, until, self.lane()).await
    }

    /// Frees the jobs of a task that workers of a dead runner have, for whoever starts them next, and rings for them. Returns
    /// how many there were. As [`Table::revoke_leases`].
    pub async fn revoke_leases(
        &self,
        task: &TaskName,
        runner: &str,
        longest: Duration,
    ) -> Result<usize, TableError> {
        let now = Timestamp::now();
        let disowned = self.table.revoke_leases(task, runner, now, longest).await?;
        // A bell that nobody hears is found again in the index.
        let _ = self.waker.wake_all(&disowned, now).await;
        Ok(disowned.len())
    }

    /// Keeps a job's message, which was received, from the others for so long.
    pub async fn hold_back(&self, task: &TaskName, receipt: &str, pause: Duration) -> Result<(), WakeError> {
        self.waker.hold_back(task, receipt, pause).await
    }

    /// A job, whether or not it is over.
    pub async fn find(&self, key: &JobKey) -> Result<Option<Found>, TableError> {
        self.table.job(key).await
    }

    /// Waits for a job's end, for that long. Nothing if it is not over by then, and goes on.
    pub async fn wait(&self, key: &JobKey, patience: Duration) -> Result<Option<Run>, TableError> {
        // A patience beyond what a clock can show has no end.
        let until = tokio::time::Instant::now().checked_add(patience);
        let mut pause = LOOKS.0;
        loop {
            if let Some(run) = self.table.run(&key.task, key.run_id).await? {
                return Ok(Some(run));
            }
            let left = until.map(|until| until.saturating_duration_since(tokio::time::Instant::now()));
            let left = left.unwrap_or(Duration::MAX);
            if left.is_zero() {
                return Ok(None);
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 3 / 2).min(LOOKS.1);
        }
    }

    /// Ends a job that has not started, or asks the worker of one that runs to end it.
    pub async fn abort(&self, key: &JobKey) -> Result<Aborted, TableError> {
        let aborted = self.table.abort_job(key, Timestamp::now()).await?;
        if let Aborted::Ended(_, followers) = &aborted {
            self.wake(followers.clone()).await?;
        }
        Ok(aborted)
    }

    /// Lets a job start that has waited for others.
    ///
    /// Whoever does this may die between any two steps. So a queue's message goes before the write: until that has taken the job
    /// off the index, the pulse finds it there, and whoever has the message looks at the job itself.
    async fn free(&self, job: &Job, now: Timestamp) -> Result<(), TableError> {
        let free = Job { after: Vec::new(), ..job.clone() };
        if self.lane() == Transport::Runner {
            if self.table.release_job(job, self.lane(), now).await? {
                // A bell that nobody hears is found again in the index.
                let _ = self.waker.ring(&free, now).await;
            }
        } else if self.waker.ring(&free, now).await.is_ok() {
            self.table.release_job(job, self.lane(), now).await?;
        } else {
            let later = now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
            self.table.look_later(&job.key(), later).await?;
        }
        Ok(())
    }

    /// Looks at jobs that wait for others: one that waits no more may start, one that waits in vain is BLOCKED, and so are those
    /// that come after it.
    pub async fn wake(&self, mut followers: Vec<JobKey>) -> Result<(), TableError> {
        while let Some(key) = followers.pop() {
            let Some(Found::Open(job)) = self.table.job(&key).await? else { continue };
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
                        // Its data is only asked for where it is passed on.
                        Some(Found::Over(run)) if job.receives.is_some() => {
                            Before::Over(Box::new(self.table.whole(*run).await?))
                        }
                        Some(Found::Over(run)) => Before::Over(run),
                        Some(Found::Open(_)) => Before::Open,
                        None => Before::Missing,
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
                    if let Ended::Written(further) = self.table.end_job(&job, &blocked).await? {
                        followers.extend(further);
                    }
                }
            }
        }
        Ok(())
    }
}
