//! Carrying a job: the outer half of the pipeline, around one attempt of its body.

use std::{fmt::Display, time::Duration};

use jiff::Timestamp;
use lamplighter_core::{
    holder::Holder,
    job::{Job, JobKey, Next, Refusal, StartRequest, Tried, Wait, next},
    notify::{Message, occasion},
    retry::Retry,
    run::{ErrorKind, Run, RunError},
};

use super::Jobs;
use crate::{
    random::{jitter, random},
    table::{Ended, Started, Step, TableError, Taken, Transport},
};

/// A worker that is to carry a job.
#[derive(Clone, Debug)]
pub struct Worker {
    /// A word that no other start has.
    pub holder: Holder,
    /// When its hold on the job ends by itself, if it does not renew it.
    pub until: Timestamp,
    /// How often the task's body is tried.
    pub retry: Retry,
    /// By which part of the longest pause the next attempt is put off, from 0 to 1.
    pub jitter: f64,
}

impl Worker {
    /// A worker told from every other one.
    pub fn new(until: Timestamp, retry: Retry) -> Self {
        Self { holder: format!("{:032x}", random()).into(), until, retry, jitter: jitter() }
    }

    /// The same worker, as one of that runner: should the runner die, whoever knows that may have its jobs at once.
    #[must_use]
    pub fn of(self, runner: impl Display) -> Self {
        Self { holder: Holder::new(runner, &self.holder), ..self }
    }

    /// Its wish to start a job now.
    fn request(&self) -> StartRequest {
        StartRequest {
            holder: self.holder.clone(),
            now: Timestamp::now(),
            until: self.until,
            max_attempts: self.retry.max_attempts,
        }
    }
}

/// What became of a job that a worker was to carry.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Carried {
    /// It is over: by this worker, or before it.
    Over(Box<Run>),
    /// Its attempt failed, and it waits for another one for so long.
    Again {
        /// The run as far as it went.
        run: Box<Run>,
        /// How long it waits.
        pause: Duration,
    },
    /// It does not start now.
    Refused(Refusal),
    /// Somebody else took it over, so that this attempt counts for nothing.
    Lost,
    /// There is no such job.
    Unknown,
}

impl Jobs {
    /// Carries a job: starts it, has `attempt` make one attempt of its body, and writes down what became of it. Whoever
    /// comes after it is woken. `attempt` does not run unless the job was started.
    pub async fn carry(
        &self,
        key: &JobKey,
        worker: &Worker,
        attempt: impl AsyncFnOnce(&Job) -> Tried,
    ) -> Result<Carried, TableError> {
        let job = match self.start(key, worker).await? {
            Ok(job) => job,
            Err(carried) => return Ok(carried),
        };
        let tried = attempt(&job).await;
        self.conclude(&job, tried, worker).await
    }

    /// Starts a job, or says what becomes of it instead.
    pub async fn start(&self, key: &JobKey, worker: &Worker) -> Result<Result<Job, Carried>, TableError> {
        if let Some(together) = &self.together
            && let Some(Taken::Started(job)) = together.take(Step::Start(key.clone(), worker.request())).await
        {
            return Ok(Ok(*job));
        }
        let mut looked = false;
        loop {
            return Ok(Err(match self.table.start_job(key, &worker.request(), self.lane()).await? {
                Started::Granted(job) => return Ok(Ok(*job)),
                Started::Over(run, followers) => {
                    self.wake(followers).await?;
                    self.tell(&run).await?;
                    Carried::Over(run)
                }
                Started::Refused(Refusal::Waits, _) if !looked => {
                    self.wake(vec![key.clone()]).await?;
                    looked = true;
                    continue;
                }
                Started::Refused(Refusal::Full { .. }, job) => Carried::Refused(self.put_off(&job).await?),
                Started::Refused(refusal, _) => Carried::Refused(refusal),
                Started::Unknown => Carried::Unknown,
            }));
        }
    }

    /// Has a job that found no place look again later: by a message of its own, since each that is only held back counts as
    /// delivered, or once it has waited for long by a place in the index. If the message cannot be sent, the one in hand is held
    /// back all the same.
    async fn put_off(&self, job: &Job) -> Result<Refusal, TableError> {
        let now = Timestamp::now();
        let wait = self.lane().wait(job, now);
        let until = now.saturating_add(wait.pause()).unwrap_or(Timestamp::MAX);
        let later = Job { not_before: Some(until), ..job.clone() };
        let is_put_off = self.table.put_off(job, now, wait, self.lane()).await?;
        let by_message = self.lane() == Transport::Queue && matches!(wait, Wait::Message(_));
        if is_put_off && by_message && self.waker.ring(&later, now).await.is_err() {
            return Ok(Refusal::NotBefore { until });
        }
        Ok(Refusal::Full { until })
    }

    /// Ends a job, with others if they wait.
    async fn end(&self, job: &Job, run: &Run) -> Result<Ended, TableError> {
        // The places of a limit are given back besides.
        let Some(together) = self.together.as_ref().filter(|_| job.limit.is_none()) else {
            return self.table.end_job(job, run).await;
        };
        let kept = self.table.put_away(run).await?;
        match together.take(self.table.end_step(job, &kept)?).await {
            Some(_) => Ok(Ended::Written(Vec::new())),
            None => self.table.end_job(job, &kept).await,
        }
    }

    /// Keeps the message of a job that failed for good, once. It is the last thing that is done for a job: a process that dies
    /// before it leaves a record, which the history has.
    async fn tell(&self, run: &Run) -> Result<(), TableError> {
        let Some(stack) = self.notifies.as_ref().filter(|_| run.status.is_failure()) else { return Ok(()) };
        let message = Message::of(run, self.table.environment(), stack);
        let occasion = occasion(run.trigger, run.scheduled_for, run.id);
        self.table.post(&occasion, &message, Timestamp::now()).await.map(drop)
    }

    /// Writes down what came of an attempt at a job that this worker started.
    pub async fn conclude(&self, job: &Job, tried: Tried, worker: &Worker) -> Result<Carried, TableError> {
        match next(job, tried, worker.retry, worker.jitter) {
            Next::Over(run) => {
                let (ended, run) = match self.end(job, &run).await {
                    // Data that no record can hold fails the job, and says so.
                    Err(error @ TableError::TooLarge { .. }) => {
                        let run = Run { message: None, data: None, ..*run };
                        let failed = run.failed_with(RunError::new(ErrorKind::Execution, error.to_string()));
                        (self.end(job, &failed).await?, Box::new(failed))
                    }
                    ended => (ended?, run),
                };
                match ended {
                    Ended::Written(followers) => {
                        self.wake(followers).await?;
                        self.tell(&run).await?;
                        Ok(Carried::Over(run))
                    }
                    Ended::Before(run) => Ok(Carried::Over(run)),
                    Ended::Lost => Ok(Carried::Lost),
                }
            }
            Next::Again { run, pause } => {
                let not_before = Timestamp::now().saturating_add(pause).unwrap_or(Timestamp::MAX);
                let held = self.table.try_again(job, &run.attempts, not_before, self.lane()).await?;
                Ok(if held { Carried::Again { run, pause } } else { Carried::Lost })
            }
        }
    }
}
