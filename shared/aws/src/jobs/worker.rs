//! Processing a job: the outer half of the pipeline, around one attempt of its body.

use std::{fmt::Display, time::Duration};

use jiff::Timestamp;
use lamplighter_core::{
    holder::Holder,
    job::{AttemptOutcome, Job, JobKey, Next, Refusal, StartRequest, Wait, next},
    notification::{Message, occasion},
    retry::Retry,
    run::{ErrorKind, Run, RunError},
};

use super::Jobs;
use crate::{
    random::{jitter, random},
    table::{Conditional, JobEnd, JobStart, JobStep, StepOutcome, TableError, Transport},
};

/// A worker that starts jobs.
#[derive(Clone, Debug)]
pub struct Worker {
    /// An id that no other start has.
    pub holder: Holder,
    /// The end of its lease, unless it is renewed.
    pub until: Timestamp,
    /// The retries of the task's body.
    pub retry: Retry,
    /// The random part of the pause before the next attempt, from 0 to 1.
    pub jitter: f64,
}

impl Worker {
    /// A worker with an id of its own.
    pub fn new(until: Timestamp, retry: Retry) -> Self {
        Self { holder: format!("{:032x}", random()).into(), until, retry, jitter: jitter() }
    }

    /// Assigns the worker to a runner: if the runner dies, its leases can be revoked at once.
    #[must_use]
    pub fn of(self, runner: impl Display) -> Self {
        Self { holder: Holder::new(runner, &self.holder), ..self }
    }

    /// A request to start a job now.
    fn request(&self) -> StartRequest {
        StartRequest {
            holder: self.holder.clone(),
            now: Timestamp::now(),
            until: self.until,
            max_attempts: self.retry.max_attempts,
        }
    }
}

/// The outcome of processing a job.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum JobOutcome {
    /// It is over: by this worker, or before it.
    Over(Box<Run>),
    /// The attempt failed, and the job waits for the next one.
    Again {
        /// The run as far as it went.
        run: Box<Run>,
        /// The pause before the next attempt.
        pause: Duration,
    },
    /// It does not start now.
    Refused(Refusal),
    /// Another worker has the job, so this attempt does not count.
    Lost,
    /// There is no such job.
    Unknown,
}

impl Jobs {
    /// Processes a job: starts it, has `attempt` make one attempt of its body, and records the outcome. The jobs that depend
    /// on it are woken. `attempt` does not run unless the job was started.
    pub async fn process(
        &self,
        key: &JobKey,
        worker: &Worker,
        attempt: impl AsyncFnOnce(&Job) -> AttemptOutcome,
    ) -> Result<JobOutcome, TableError> {
        let job = match self.start(key, worker).await? {
            Conditional::Done(job) => job,
            Conditional::Refused(outcome) => return Ok(outcome),
        };
        let tried = attempt(&job).await;
        self.conclude(&job, tried, worker).await
    }

    /// Starts a job for a worker. If the job does not start, the result is `Refused` with the outcome.
    pub async fn start(
        &self,
        key: &JobKey,
        worker: &Worker,
    ) -> Result<Conditional<Job, JobOutcome>, TableError> {
        if let Some(committer) = &self.committer
            && let Some(StepOutcome::Started(job)) =
                committer.take(JobStep::Start(key.clone(), worker.request())).await
        {
            return Ok(Conditional::Done(*job));
        }
        let mut looked = false;
        loop {
            return Ok(Conditional::Refused(
                match self.table.start_job(key, &worker.request(), self.transport()).await? {
                    JobStart::Granted(job) => return Ok(Conditional::Done(*job)),
                    JobStart::Over(run, followers) => {
                        self.wake_followers(followers).await?;
                        self.keep_failure_message(&run).await?;
                        JobOutcome::Over(run)
                    }
                    JobStart::Refused(Refusal::Waits, _) if !looked => {
                        self.wake_followers(vec![key.clone()]).await?;
                        looked = true;
                        continue;
                    }
                    JobStart::Refused(Refusal::Full { .. }, job) => {
                        JobOutcome::Refused(self.put_off(&job).await?)
                    }
                    JobStart::Refused(refusal, _) => JobOutcome::Refused(refusal),
                    JobStart::Unknown => JobOutcome::Unknown,
                },
            ));
        }
    }

    /// Postpones a job that found no free place. With queues, a new message is sent, since holding back the received
    /// one would count as a delivery. A job that has waited long is put into the index `due` instead. If the new
    /// message cannot be sent, the caller holds back the received one.
    async fn put_off(&self, job: &Job) -> Result<Refusal, TableError> {
        let now = Timestamp::now();
        let wait = self.transport().wait(job, now);
        let until = now.saturating_add(wait.pause()).unwrap_or(Timestamp::MAX);
        let later = Job { not_before: Some(until), ..job.clone() };
        let is_put_off = self.table.put_off(job, now, wait, self.transport()).await?;
        let by_message = self.transport() == Transport::Queue && matches!(wait, Wait::Message(_));
        if is_put_off && by_message && self.waker.wake(&later, now).await.is_err() {
            return Ok(Refusal::NotBefore { until });
        }
        Ok(Refusal::Full { until })
    }

    /// Ends a job, by group commit if it is enabled.
    async fn end(&self, job: &Job, run: &Run) -> Result<JobEnd, TableError> {
        // A job with a limit ends alone, since its place must be released as well.
        let Some(committer) = self.committer.as_ref().filter(|_| job.limit.is_none()) else {
            return self.table.end_job(job, run).await;
        };
        let kept = self.table.put_away(run).await?;
        match committer.take(self.table.end_step(job, &kept)?).await {
            Some(_) => Ok(JobEnd::Written(Vec::new())),
            None => self.table.end_job(job, &kept).await,
        }
    }

    /// Stores the notification of a job that failed for good, once. This is the last step: if the process dies before
    /// it, the job has its record but no notification.
    async fn keep_failure_message(&self, run: &Run) -> Result<(), TableError> {
        let Some(stack) = self.notifies.as_ref().filter(|_| run.status.is_failure()) else { return Ok(()) };
        let message = Message::of(run, self.table.environment(), stack);
        let occasion = occasion(run.trigger, run.scheduled_for, run.id);
        self.table.post(&occasion, &message, Timestamp::now()).await.map(drop)
    }

    /// Records the outcome of an attempt at a job that this worker started.
    pub async fn conclude(
        &self,
        job: &Job,
        tried: AttemptOutcome,
        worker: &Worker,
    ) -> Result<JobOutcome, TableError> {
        match next(job, tried, worker.retry, worker.jitter) {
            Next::Over(run) => {
                let (ended, run) = match self.end(job, &run).await {
                    // Data that is too large for a record fails the job with this error.
                    Err(error @ TableError::TooLarge { .. }) => {
                        let run = Run { message: None, data: None, ..*run };
                        let failed = run.failed_with(RunError::new(ErrorKind::Execution, error.to_string()));
                        (self.end(job, &failed).await?, Box::new(failed))
                    }
                    ended => (ended?, run),
                };
                match ended {
                    JobEnd::Written(followers) => {
                        self.wake_followers(followers).await?;
                        self.keep_failure_message(&run).await?;
                        Ok(JobOutcome::Over(run))
                    }
                    JobEnd::Before(run) => Ok(JobOutcome::Over(run)),
                    JobEnd::Lost => Ok(JobOutcome::Lost),
                }
            }
            Next::Again { run, pause } => {
                let not_before = Timestamp::now().saturating_add(pause).unwrap_or(Timestamp::MAX);
                let held = self.table.try_again(job, &run.attempts, not_before, self.transport()).await?;
                Ok(if held { JobOutcome::Again { run, pause } } else { JobOutcome::Lost })
            }
        }
    }
}
