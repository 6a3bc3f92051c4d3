//! What becomes of a job that stands in the index of those which wait for longer than SQS can hold them back.

use std::time::Duration;

use jiff::Timestamp;

use super::Job;
use crate::status::Status;

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Due {
    /// Its message is to be sent. SQS holds it back until its time.
    Ring,
    /// It waits for other jobs: look at those.
    Look,
    /// Nothing: it runs, or its time is further off.
    Leave,
}

/// Decides at `now`. `held` is for how long SQS can hold a message back.
pub fn due(job: &Job, now: Timestamp, held: Duration) -> Due {
    if job.status != Status::Pending {
        return Due::Leave;
    }
    if !job.after.is_empty() {
        return Due::Look;
    }
    let reach = now.saturating_add(held).unwrap_or(Timestamp::MAX);
    if job.not_before.is_none_or(|at| at <= reach) { Due::Ring } else { Due::Leave }
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
    fn q05_a_message_is_sent_once_sqs_can_hold_it_back_for_the_rest() {
        let job = |when| {
            let new = NewJob { when, ..NewJob::of("send-mail".parse().unwrap()) };
            new.job(RunId::new(at(0), 1), at(0)).unwrap()
        };
        for (when, second, wanted) in [
            (When::In(Duration::from_secs(1200)), 299, Due::Leave),
            (When::In(Duration::from_secs(1200)), 300, Due::Ring),
            (When::At(at(30 * 86_400)), 86_400, Due::Leave),
            (When::At(at(30 * 86_400)), 30 * 86_400 - 900, Due::Ring),
            // A pulse that comes late sends it at once, and so for a job whose message could not be sent.
            (When::At(at(30 * 86_400)), 31 * 86_400, Due::Ring),
            (When::Now, 0, Due::Ring),
        ] {
            assert_eq!(due(&job(when), at(second), HELD), wanted, "{when:?} {second}");
        }
        let first = JobKey { task: "send-mail".parse().unwrap(), run_id: RunId::new(at(0), 2) };
        let follower = Job { after: vec![first], ..job(When::Now) };
        assert_eq!(due(&follower, at(0), HELD), Due::Look);
        assert_eq!(due(&Job { status: Status::Running, ..follower }, at(0), HELD), Due::Leave);
    }
}
