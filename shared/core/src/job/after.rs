//! Jobs that wait for other jobs.

use serde_json::Value;

use super::{Job, JobKey};
use crate::{reason::Reason, run::Run, status::Status};

/// The decision on a job that waits for others.
#[derive(Clone, Debug, PartialEq)]
pub enum Readiness {
    /// A predecessor is not over.
    Waits,
    /// The job may start, with these arguments.
    Ready(Value),
    /// A predecessor did not complete, so the job never starts.
    Blocked(Reason),
}

/// Decides whether a job may start, by the state of each of its predecessors.
pub fn ready(job: &Job, found: &[(&JobKey, Predecessor)]) -> Readiness {
    for (key, before) in found {
        let (task, run_id) = (key.task.clone(), key.run_id);
        return Readiness::Blocked(match before {
            Predecessor::Over(run) if run.status != Status::Completed => {
                Reason::JobNotCompleted { task, run_id, status: run.status }
            }
            Predecessor::Missing => Reason::JobMissing { task, run_id },
            Predecessor::Over(_) | Predecessor::Open => continue,
        });
    }
    if found.iter().any(|(_, before)| matches!(before, Predecessor::Open)) {
        return Readiness::Waits;
    }
    let mut arguments = job.arguments.clone();
    if let (Some(name), [(_, Predecessor::Over(run))]) = (&job.receives, found)
        && let Some(arguments) = arguments.as_object_mut()
    {
        arguments.insert(name.clone(), run.data.clone().unwrap_or(Value::Null));
    }
    Readiness::Ready(arguments)
}

/// The state of a job's predecessor.
#[derive(Clone, Debug, PartialEq)]
pub enum Predecessor {
    /// It is not over.
    Open,
    /// It is over.
    Over(Box<Run>),
    /// It has no record.
    Missing,
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{id::RunId, job::NewJob, run::Trigger};

    #[test]
    fn q12_a_job_waits_for_all_and_a_failure_blocks_it() {
        let at = Timestamp::UNIX_EPOCH;
        let task: crate::name::TaskName = "send-mail".parse().unwrap();
        let key = |number| JobKey { task: task.clone(), run_id: RunId::new(at, number) };
        let keys = [key(1), key(2)];
        let over = |status, data| {
            let run = Run::begun(RunId::new(at, 1), task.clone(), Trigger::Queue, at);
            Predecessor::Over(Box::new(Run { status, data, ..run }))
        };
        let job = NewJob { arguments: json!({ "to": "x" }), ..NewJob::of(task.clone()) };
        let job = job.job(RunId::new(at, 9), at).unwrap();
        let two = |one, other| ready(&job, &[(&keys[0], one), (&keys[1], other)]);
        let done = || over(Status::Completed, Some(json!([1])));
        assert_eq!(two(done(), Predecessor::Open), Readiness::Waits);
        assert_eq!(two(done(), done()), Readiness::Ready(json!({ "to": "x" })));
        let JobKey { run_id, .. } = keys[1];
        let timed_out =
            Reason::JobNotCompleted { task: keys[1].task.clone(), run_id, status: Status::Timeout };
        assert_eq!(two(Predecessor::Open, over(Status::Timeout, None)), Readiness::Blocked(timed_out));
        let missing = Reason::JobMissing { task: keys[0].task.clone(), run_id: keys[0].run_id };
        assert_eq!(two(Predecessor::Missing, done()), Readiness::Blocked(missing));
        let receiving = Job { receives: Some("receipt".into()), ..job.clone() };
        let given = ready(&receiving, &[(&keys[0], done())]);
        assert_eq!(given, Readiness::Ready(json!({ "to": "x", "receipt": [1] })));
    }
}
