//! Sends wake-ups for due jobs and for orphans, which are jobs that no message announces.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::jobs::Jobs;
use lamplighter_core::{
    job::{later_looks, orphan_range},
    name::TaskName,
    pulse::{PlannedTask, Record},
};
use tokio::time::timeout;

use crate::services::{Pulse, note_error};

/// The time that a pulse spends on wake-ups before it turns to its ticks. The next pulse sends the rest.
const WAKING: Duration = Duration::from_secs(15);
/// The span of enqueue times that one search for orphans covers.
const SLICE: Duration = Duration::from_secs(180);

/// Sends wake-ups for due jobs. Errors are recorded; they do not delay ticks.
pub(crate) async fn wake_due(jobs: &Jobs, now: Timestamp, record: &mut Record) {
    let end = now.saturating_add(WAKING).unwrap_or(Timestamp::MAX);
    match jobs.wake_due(now, end).await {
        Ok(report) => {
            record.tally.woken = report.sent;
            for error in report.errors {
                tracing::error!("{error}");
                record.errors.push(error);
            }
        }
        Err(error) => note_error(record, &error),
    }
}

/// Sends wake-ups for orphans, slice by slice, while there is time. `searched` is the enqueue time up to which earlier
/// pulses have searched. Returns the time up to which this one has.
pub(crate) async fn wake_orphans(
    pulse: &Pulse,
    jobs: &Jobs,
    searched: Option<Timestamp>,
    now: Timestamp,
    end: Timestamp,
    record: &mut Record,
) -> Option<Timestamp> {
    let Some((from, to)) = orphan_range(searched, now) else { return searched };
    let tasks = pulse.plan.tasks().iter().filter(|task| task.definition.queue().is_some());
    let tasks: Vec<_> = tasks.map(PlannedTask::name).collect();
    let mut done = from;
    while done < to {
        let until = to.min(done.saturating_add(SLICE).unwrap_or(to));
        let left = time_left(end);
        match timeout(left, jobs.wake_orphans(tasks.iter().copied(), (done, until))).await {
            Ok(Ok(report)) => {
                record.tally.woken += report.sent;
                record.errors.extend(report.errors);
                wake_older_orphans(jobs, &tasks, (done, until), end, record).await;
            }
            Ok(Err(error)) => {
                note_error(record, &error);
                break;
            }
            // The next pulse has its full time for this slice.
            Err(_) if done > from || left < WAKING => break,
            // A slice that is too large for a full time would block all later ones, so it is left out.
            Err(_) => record.errors.push(format!(
                "some jobs enqueued from {done} to {until} may not have been woken: there are more than a pulse can check \
                 in {} s; wake a job with `lamplighter jobs replay`",
                WAKING.as_secs()
            )),
        }
        done = until;
    }
    Some(done)
}

/// Sends wake-ups for older orphans: those of the earlier days that are searched again together with the slice `from` to
/// `to`. A day that there is no time for is searched again 15 days later.
async fn wake_older_orphans(
    jobs: &Jobs,
    tasks: &[&TaskName],
    (from, to): (Timestamp, Timestamp),
    end: Timestamp,
    record: &mut Record,
) {
    for day in later_looks(from, to) {
        match timeout(time_left(end), jobs.wake_orphans(tasks.iter().copied(), day)).await {
            Ok(Ok(report)) => {
                record.tally.woken += report.sent;
                record.errors.extend(report.errors);
            }
            Ok(Err(error)) => note_error(record, &error),
            Err(_) => record.errors.push(format!(
                "there was no time to search for orphaned jobs enqueued from {} to {}; the next search is in 15 days",
                day.0, day.1
            )),
        }
    }
}

/// The time until `end`, at most [`WAKING`].
fn time_left(end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default().min(WAKING)
}
