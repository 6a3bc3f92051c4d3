//! The start of a job: the rule by which a worker gets its lease.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Job;
use crate::{
    holder::Holder,
    reason::Reason,
    run::{Attempt, Run, RunError},
    status::Status,
};

/// A worker's request to start a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRequest {
    /// A word that is unique to this start.
    pub holder: Holder,
    /// The time of the request.
    pub now: Timestamp,
    /// The end of the lease.
    pub until: Timestamp,
    /// The maximum number of attempts.
    pub max_attempts: u32,
}

/// The decision on a [`StartRequest`].
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Start {
    /// The job starts. If the attempt before was lost with its worker, it is returned too.
    Granted {
        /// The fencing token.
        fencing_token: u64,
        /// The attempt that was lost.
        lost: Option<Attempt>,
    },
    /// The job does not start, and ends with this record.
    Ends(Box<Run>),
    /// The job does not start, and nothing has changed.
    Refused(Refusal),
}

/// The reason why a worker has not started a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Unstarted {
    /// It is over.
    Over(Box<Run>),
    /// It cannot start now.
    Refused(Refusal),
    /// The job does not exist.
    Unknown,
}

/// The reason why a job does not start now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Refusal {
    /// Another worker has the lease.
    #[error("another worker has the lease until {until}")]
    Running {
        /// The time at which the lease expires.
        until: Timestamp,
    },
    /// The job is delayed.
    #[error("it may not start before {until}")]
    NotBefore {
        /// The earliest time of its start.
        until: Timestamp,
    },
    /// The limit by key is reached.
    #[error("the limit of jobs with its key is reached; the next check is at {until}")]
    Full {
        /// The time of the next check.
        until: Timestamp,
    },
    /// A predecessor is not over.
    #[error("it waits for other jobs")]
    Waits,
}

/// Decides on a request in the state that the record had when the request arrived.
///
/// A PENDING job starts if its time has come and it waits for no other job. A RUNNING job with an expired
/// lease was lost with its worker. That counts as an attempt, and the next one starts if there are any left.
/// If the lease already names the request's holder, the start is granted again: the response to an earlier
/// attempt of the same write was lost.
pub fn start(job: &Job, request: &StartRequest) -> Start {
    if let Some(lease) = &job.lease {
        if lease.holder == request.holder {
            return Start::Granted { fencing_token: job.fencing_token, lost: None };
        }
        if lease.until >= request.now {
            return Start::Refused(Refusal::Running { until: lease.until });
        }
        let reason = Reason::AttemptLost { attempt: job.fencing_token, until: lease.until };
        let began = job.started_at.unwrap_or(lease.until);
        let took = u64::try_from(lease.until.duration_since(began).as_millis()).unwrap_or(0);
        let lost = Attempt { started_at: began, duration_ms: took, error: Some(RunError::of(&reason)) };
        let ends = |status, reason| {
            let mut run = Run { status, ..job.as_run(request.now) }.because(reason);
            run.attempts.push(lost.clone());
            Start::Ends(Box::new(run))
        };
        if job.cancelled {
            return ends(Status::Cancelled, Reason::CancelledAndLost);
        }
        if job.fencing_token >= u64::from(request.max_attempts) {
            return ends(Status::Failed, reason);
        }
        return Start::Granted { fencing_token: job.fencing_token + 1, lost: Some(lost) };
    }
    if !job.after.is_empty() {
        return Start::Refused(Refusal::Waits);
    }
    if let Some(until) = job.not_before.filter(|at| *at > request.now) {
        return Start::Refused(Refusal::NotBefore { until });
    }
    match job.start_by {
        Some(by) if by < request.now && job.fencing_token == 0 => {
            let ended = job.ended(Status::Failed, Reason::Expired { start_by: by }, request.now);
            Start::Ends(Box::new(ended))
        }
        _ => Start::Granted { fencing_token: job.fencing_token + 1, lost: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::RunId, job::Lease, job::NewJob, run::ErrorKind};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn job() -> Job {
        NewJob::of("send-mail".parse().unwrap()).job(RunId::new(at(0), 1), at(0)).unwrap()
    }

    fn request(second: i64) -> StartRequest {
        StartRequest { holder: "me".into(), now: at(second), until: at(second + 60), max_attempts: 3 }
    }

    fn running(fencing_token: u64, holder: &str, until: i64) -> Job {
        let lease = Some(Lease { holder: holder.into(), until: at(until) });
        Job { status: Status::Running, fencing_token, lease, started_at: Some(at(1)), ..job() }
    }

    #[test]
    fn a_pending_job_starts_at_its_time() {
        assert_eq!(start(&job(), &request(1)), Start::Granted { fencing_token: 1, lost: None });
        let later = Job { not_before: Some(at(5)), ..job() };
        assert_eq!(start(&later, &request(4)), Start::Refused(Refusal::NotBefore { until: at(5) }));
        assert_eq!(start(&later, &request(5)), Start::Granted { fencing_token: 1, lost: None });
        let follower = Job { after: vec![job().key()], ..job() };
        assert_eq!(start(&follower, &request(5)), Start::Refused(Refusal::Waits));
    }

    #[test]
    fn q08_a_job_that_was_not_started_in_time_expires() {
        let hasty = Job { start_by: Some(at(10)), ..job() };
        assert!(matches!(start(&hasty, &request(10)), Start::Granted { .. }));
        let Start::Ends(run) = start(&hasty, &request(11)) else { panic!("it did not end") };
        assert_eq!(run.status, Status::Failed);
        assert_eq!(run.why, Some(Reason::Expired { start_by: at(10) }));
        assert!(run.reason().unwrap().starts_with("expired"), "{run:?}");
        // A job that was started in time may be retried later.
        let again = Job { fencing_token: 1, ..hasty };
        assert_eq!(start(&again, &request(11)), Start::Granted { fencing_token: 2, lost: None });
    }

    #[test]
    fn q10_the_job_of_a_lost_worker_is_taken_over_after_its_lease_and_not_before() {
        let held = running(1, "them", 60);
        assert_eq!(start(&held, &request(60)), Start::Refused(Refusal::Running { until: at(60) }));
        let Start::Granted { fencing_token: 2, lost: Some(lost) } = start(&held, &request(61)) else {
            panic!("it was not taken over")
        };
        assert_eq!(lost.error.unwrap().kind, ErrorKind::System);
        // The request's own earlier write, whose response was lost.
        assert_eq!(
            start(&running(1, "me", 60), &request(2)),
            Start::Granted { fencing_token: 1, lost: None }
        );
    }

    #[test]
    fn q10_a_job_that_kills_each_of_its_workers_ends() {
        let Start::Ends(run) = start(&running(3, "them", 60), &request(61)) else { panic!("it did not end") };
        assert_eq!((run.status, run.attempts.len()), (Status::Failed, 1));
        assert_eq!(run.why, Some(Reason::AttemptLost { attempt: 3, until: at(60) }));
        let asked = Job { cancelled: true, ..running(1, "them", 60) };
        let Start::Ends(run) = start(&asked, &request(61)) else { panic!("it did not end") };
        assert_eq!((run.status, run.why), (Status::Cancelled, Some(Reason::CancelledAndLost)));
    }
}
