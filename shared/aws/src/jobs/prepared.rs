//! Jobs that an application's own transaction enqueues.

use jiff::Timestamp;
use lamplighter_core::{
    id::RunId,
    job::{Job, JobKey, NewJob},
};

use super::{Accepted, EnqueueError, Jobs};
use crate::{
    random::random,
    table::{JobKeys, JobWrites, TransactWriteItem},
};

/// A job that does not exist before a transaction has written it.
#[derive(Clone, Debug)]
pub struct PreparedJob {
    jobs: Jobs,
    accepted: Accepted,
    /// The job and its keys, unless an existing job was joined.
    new: Option<(Job, JobKeys)>,
    writes: Vec<TransactWriteItem>,
}

impl Jobs {
    /// Prepares a job for a transaction. See [`PreparedJob`].
    pub async fn prepare(&self, new: NewJob) -> Result<PreparedJob, EnqueueError> {
        let now = Timestamp::now();
        let keys = JobKeys::of(&new);
        let job = new.job(RunId::of_job(now, random()), now)?;
        let of = |run_id| JobKey { task: job.task.clone(), run_id };
        match self.table.prepare_job(&job, &keys, self.transport(), now).await? {
            JobWrites::New(writes) => {
                let accepted = Accepted { key: job.key(), joined: false };
                Ok(PreparedJob { jobs: self.clone(), accepted, new: Some((job, keys)), writes })
            }
            JobWrites::Refused(twin) => Err(EnqueueError::NotUnique(of(twin))),
            JobWrites::Joined(twin) => {
                let accepted = Accepted { key: of(twin), joined: true };
                Ok(PreparedJob { jobs: self.clone(), accepted, new: None, writes: Vec::new() })
            }
        }
    }
}

impl PreparedJob {
    /// Its key. The key of an existing job, if that was joined.
    pub fn key(&self) -> &JobKey {
        &self.accepted.key
    }

    /// The writes that enqueue the job: one for its record, and one for each of its keys. None if an existing job was joined.
    pub fn writes(&self) -> &[TransactWriteItem] {
        &self.writes
    }

    /// Wakes a worker for the job, after the transaction was committed.
    ///
    /// As for an ordinary enqueue, a message that cannot be sent is sent by the pulse. If the task has no queue, the job is
    /// withdrawn, and the other writes of the transaction stay.
    pub async fn wake(self) -> Result<Accepted, EnqueueError> {
        if let Some((job, keys)) = &self.new {
            // Boxed, so that the caller's future stays small.
            Box::pin(self.jobs.wake_new(job, keys, Timestamp::now())).await?;
        }
        Ok(self.accepted)
    }
}
