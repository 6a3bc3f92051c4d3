//! Waking due jobs, for the pulse: jobs that were delayed beyond the longest delay of SQS, jobs that depend on others, and
//! jobs whose message could not be sent.

use jiff::Timestamp;
use lamplighter_core::{
    id::SHARDS,
    job::{Due, JobKey, due},
    name::TaskName,
};
use tokio::task::JoinSet;

use super::Jobs;
use crate::table::{DUE_SHARDS, MAX_DELAY, TableError};

/// The number of concurrent writes to the index.
const AT_ONCE: usize = 16;

/// The result of waking due jobs.
#[derive(Debug, Default)]
pub struct WakeReport {
    /// The number of messages that were sent.
    pub sent: usize,
    /// The number of jobs whose dependencies were checked.
    pub looked_at: usize,
    /// The distinct errors. Their jobs are still in the index.
    pub errors: Vec<String>,
}

impl Jobs {
    /// Sends the messages of the jobs that are due at `now` or within the longest delay of SQS, and checks the dependencies of
    /// the others. Each job is handled once. The next pulse handles the rest after `end`. Nine queries if nothing is due.
    ///
    /// A job leaves the index after its message was sent. A process that dies in between, or two at once, send a message
    /// twice, which starts nothing twice.
    pub async fn wake_due(&self, now: Timestamp, end: Timestamp) -> Result<WakeReport, TableError> {
        let mut report = WakeReport::default();
        let until = now.saturating_add(MAX_DELAY).unwrap_or(Timestamp::MAX);
        // Each minute begins with another partition, so that none comes always last.
        let first =
            u8::try_from(now.as_second().div_euclid(60).rem_euclid(i64::from(DUE_SHARDS))).unwrap_or(0);
        let named = (first..DUE_SHARDS).chain(0..first).map(|partition| (partition, false));
        // A pulse reads one of the eight partitions of earlier versions, so each is read every eight minutes. That is
        // less than the longest delay of SQS.
        for (partition, is_old) in named.chain([(first, true)]) {
            let mut page = None;
            loop {
                let found = if is_old {
                    self.table.due_for_queues_before(partition, until, page).await?
                } else {
                    self.table.due_for_queues(partition, until, page).await?
                };
                self.deal_with(&found.keys, now, until, &mut report).await?;
                if Timestamp::now() >= end {
                    return Ok(report);
                }
                if !found.goes_on() {
                    break;
                }
                page = Some(found);
            }
        }
        Ok(report)
    }

    async fn deal_with(
        &self,
        keys: &[JobKey],
        now: Timestamp,
        until: Timestamp,
        report: &mut WakeReport,
    ) -> Result<(), TableError> {
        let (jobs, unreadable) = self.table.open_jobs(keys).await?;
        for error in &unreadable {
            report.note_error(error);
        }
        let (mut startable, mut waiting) = (Vec::new(), Vec::new());
        for job in jobs {
            match due(&job, now, MAX_DELAY) {
                Due::Wake => startable.push(job),
                Due::CheckPredecessors => waiting.push(job.key()),
                Due::Leave => {}
            }
        }
        report.looked_at += waiting.len();
        for key in waiting {
            if let Err(error) = self.wake_followers(vec![key]).await {
                report.note_error(&error);
            }
        }
        let failed = self.waker.wake_all(&startable, now).await;
        let mut writes = JoinSet::new();
        for (place, job) in startable.iter().enumerate() {
            let error = failed.iter().find(|(failed, _)| *failed == place).map(|(_, error)| error);
            match error {
                None => report.sent += 1,
                Some(error) => report.note_error(error),
            }
            if writes.len() >= AT_ONCE {
                note(writes.join_next().await, report);
            }
            writes.spawn(self.clone().moved(job.key(), error.is_none(), until));
        }
        while let Some(written) = writes.join_next().await {
            note(Some(written), report);
        }
        Ok(())
    }

    /// Wakes the orphans of these tasks: jobs that were enqueued in the period and whose wake-up seems lost. A job that
    /// only waits in a long queue gets a second message, which does no harm. Sixteen queries for each task, and one for
    /// each further MB of records.
    pub async fn wake_orphans<'a>(
        &self,
        tasks: impl Iterator<Item = &'a TaskName>,
        between: (Timestamp, Timestamp),
    ) -> Result<WakeReport, TableError> {
        let mut report = WakeReport::default();
        for task in tasks {
            let looks = (0..SHARDS).map(|shard| self.clone().wake_partition(task.clone(), shard, between));
            for looked in looks.collect::<JoinSet<_>>().join_all().await {
                let looked = looked?;
                report.sent += looked.sent;
                looked.errors.iter().for_each(|error| report.note(error.clone()));
            }
        }
        Ok(report)
    }

    /// As [`wake_orphans`](Self::wake_orphans), of one partition, a page at a time.
    async fn wake_partition(
        self,
        task: TaskName,
        shard: u8,
        between: (Timestamp, Timestamp),
    ) -> Result<WakeReport, TableError> {
        let (mut report, mut start) = (WakeReport::default(), None);
        loop {
            let (jobs, next) = self.table.orphaned_jobs(&task, shard, between, start).await?;
            let now = Timestamp::now();
            let failed = self.waker.wake_all(&jobs, now).await;
            report.sent += jobs.len() - failed.len();
            for (place, error) in failed {
                report.note_error(&error);
                self.table.park(&jobs[place].key(), now).await?;
            }
            start = next;
            if start.is_none() {
                return Ok(report);
            }
        }
    }

    /// Takes a job off the index if its message was sent. Otherwise moves it behind all others, for the next pulse.
    async fn moved(self, key: JobKey, is_sent: bool, last: Timestamp) -> Result<(), TableError> {
        if is_sent { self.table.remove_from_due(&key).await } else { self.table.park(&key, last).await }
    }
}

impl WakeReport {
    /// Notes an error, unless it was noted before.
    fn note_error(&mut self, error: &dyn std::error::Error) {
        self.note(error.to_string());
    }

    fn note(&mut self, said: String) {
        if !self.errors.contains(&said) {
            self.errors.push(said);
        }
    }
}

fn note(written: Option<Result<Result<(), TableError>, tokio::task::JoinError>>, report: &mut WakeReport) {
    match written {
        Some(Ok(Err(error))) => report.note_error(&error),
        Some(Err(error)) => report.note_error(&error),
        Some(Ok(Ok(()))) | None => {}
    }
}
