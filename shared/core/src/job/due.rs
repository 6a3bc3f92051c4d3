//! Jobs in the index `due`, which the pulse reads.

use std::time::Duration;

use jiff::Timestamp;

use super::Job;
use crate::status::Status;

/// The action for a job in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Due {
    /// Send its message. SQS holds it back until the job's time.
    Wake,
    /// Check the jobs that it waits for.
    CheckPredecessors,
    /// Do nothing: it runs, or its time is further away.
    Leave,
}

/// Decides on a job at `now`. `held` is the longest time for which SQS can delay a message.
pub fn due(job: &Job, now: Timestamp, held: Duration) -> Due {
    if job.status != Status::Pending {
        return Due::Leave;
    }
    if !job.after.is_empty() {
        return Due::CheckPredecessors;
    }
    let reach = now.saturating_add(held).unwrap_or(Timestamp::MAX);
    if job.not_before.is_none_or(|at| at <= reach) { Due::Wake } else { Due::Leave }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::RunId,
        job::{JobKey, NewJob, When},
    };

    const HELD: Duration = Duration::from_secs(900);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn q05_a_message_is_sent_once_its_remaining_delay_fits_sqs() {
        let job = |when| {
            let new = NewJob { when, ..NewJob::of("send-mail".parse().unwrap()) };
            new.job(RunId::new(at(0), 1), at(0)).unwrap()
        };
        for (when, second, wanted) in [
            (When::In(Duration::from_secs(1200)), 299, Due::Leave),
            (When::In(Duration::from_secs(1200)), 300, Due::Wake),
            (When::At(at(30 * 86_400)), 86_400, Due::Leave),
            (When::At(at(30 * 86_400)), 30 * 86_400 - 900, Due::Wake),
            // A late pulse sends it at once. The same applies to a job whose message could not be sent.
            (When::At(at(30 * 86_400)), 31 * 86_400, Due::Wake),
            (When::Now, 0, Due::Wake),
        ] {
            assert_eq!(due(&job(when), at(second), HELD), wanted, "{when:?} {second}");
        }
        let first = JobKey { task: "send-mail".parse().unwrap(), run_id: RunId::new(at(0), 2) };
        let follower = Job { after: vec![first], ..job(When::Now) };
        assert_eq!(due(&follower, at(0), HELD), Due::CheckPredecessors);
        assert_eq!(due(&Job { status: Status::Running, ..follower }, at(0), HELD), Due::Leave);
    }
}
