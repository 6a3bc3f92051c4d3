//! The decision after an attempt at a job.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Job;
use crate::{
    retry::{self, Retry},
    run::{Run, Trigger},
    status::Status,
};

/// The outcome of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptOutcome {
    /// The record of the run as if it were over, with this attempt only.
    pub run: Run,
    /// The attempt failed in a way that may be retried.
    pub retryable: bool,
}

/// The decision after an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// It is over.
    Over(Box<Run>),
    /// The job waits for its next attempt.
    Again {
        /// The record so far, with all attempts.
        run: Box<Run>,
        /// The pause until then.
        pause: Duration,
    },
}

/// Decides what follows an attempt. The record gets the earlier attempts too. The pause is that of
/// [`Retry::after_failure`] with `jitter`.
pub fn next(job: &Job, tried: AttemptOutcome, retry: Retry, jitter: f64) -> Next {
    let AttemptOutcome { mut run, retryable } = tried;
    let mut attempts = job.attempts.clone();
    attempts.append(&mut run.attempts);
    run.large.extend(job.large.clone());
    // The job's own fields come from the starter, not from the process.
    let run = Box::new(Run {
        id: job.id,
        task: job.task.clone(),
        trigger: Trigger::Queue,
        attempts,
        started_at: job.started_at.unwrap_or(run.started_at),
        arguments: job.arguments.clone(),
        retry_of: job.retry_of,
        priority: job.priority,
        place_limit: job.limit.clone(),
        unique: job.unique.clone(),
        fencing_token: job.fencing_token,
        ..run
    });
    let number = u32::try_from(job.fencing_token).unwrap_or(u32::MAX);
    match retry.after_failure(number, retryable, Duration::MAX, jitter) {
        retry::Next::RetryAfter(pause) if run.status == Status::Failed => Next::Again { run, pause },
        _ => Next::Over(run),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        id::RunId,
        job::NewJob,
        run::{Attempt, ErrorKind, RunError},
    };

    fn after(fencing_token: u64, status: Status, retryable: bool) -> Next {
        let began = Timestamp::UNIX_EPOCH;
        let (id, task) = (RunId::new(began, 1), "send-mail".parse().unwrap());
        let attempt = |error| Attempt { started_at: began, duration_ms: 1, error };
        let attempts = (1..fencing_token).map(|_| attempt(None)).collect();
        let job = Job { fencing_token, attempts, ..NewJob::of(task).job(id, began).unwrap() };
        let error = (status != Status::Completed).then(|| RunError::new(ErrorKind::Execution, "no"));
        let run = Run {
            status,
            attempts: vec![attempt(error)],
            ..Run::begun(id, job.task.clone(), Trigger::Queue, began)
        };
        next(&job, AttemptOutcome { run, retryable }, Retry::default(), 1.0)
    }

    #[test]
    fn q09_a_failed_attempt_is_retried_as_configured() {
        let Next::Again { pause, run } = after(2, Status::Failed, true) else { panic!("no third attempt") };
        assert_eq!((pause, run.attempts.len()), (Duration::from_secs(1), 2));
        let Next::Over(run) = after(3, Status::Failed, true) else { panic!("a fourth attempt") };
        assert_eq!(run.attempts.len(), 3);
        for (status, retryable) in [
            (Status::Failed, false),
            (Status::Completed, false),
            (Status::Timeout, true),
            (Status::Cancelled, true),
        ] {
            assert!(matches!(after(1, status, retryable), Next::Over(_)), "{status}");
        }
    }
}
