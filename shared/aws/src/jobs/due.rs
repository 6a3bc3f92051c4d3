//! The jobs whose messages are still to be sent, for the pulse: those whose time was further off than SQS can hold a
//! message back, those that wait for others, and those whose message could not be sent.

use jiff::Timestamp;
use lamplighter_core::{
    id::SHARDS,
    job::{Due, JobKey, due},
    name::TaskName,
};
use tokio::task::JoinSet;

use super::Jobs;
use crate::table::{DUE_SHARDS, MAX_DELAY, TableError};

/// How many jobs are taken off the index at once.
const AT_ONCE: usize = 16;

/// What became of the jobs that were due.
#[derive(Debug, Default)]
pub struct WakeReport {
    /// Those whose messages were sent.
    pub sent: usize,
    /// Those that wait for others, and were looked at.
    pub looked_at: usize,
    /// What went wrong, some of it if there is much. The jobs are still in the index.
    pub errors: Vec<String>,
}

impl Jobs {
    /// Sends the messages of the jobs that are due at `now`, or that SQS can hold back until they are; looks at those that
    /// wait for others. Each is looked at once; what is left at `end` is left for the next pulse. Nine queries where there is
    /// nothing to do.
    ///
    /// A job leaves the index after its message was sent. So whoever dies in between, and two who do this at once, send a
    /// message twice, which starts nothing twice.
    pub async fn wake_due(&self, now: Timestamp, end: Timestamp) -> Result<WakeReport, TableError> {
        let mut report = WakeReport::default();
        let until = now.saturating_add(MAX_DELAY).unwrap_or(Timestamp::MAX);
        // Each minute begins with another partition, so that none comes always last.
        let first =
            u8::try_from(now.as_second().div_euclid(60).rem_euclid(i64::from(DUE_SHARDS))).unwrap_or(0);
        let named = (first..DUE_SHARDS).chain(0..first).map(|partition| (partition, false));
        // What an earlier version has put there is found within eight minutes, which SQS holds a message back.
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
            report.tell(error);
        }
        let (mut ringing, mut waiting) = (Vec::new(), Vec::new());
        for job in jobs {
            match due(&job, now, MAX_DELAY) {
                Due::Wake => ringing.push(job),
                Due::CheckPredecessors => waiting.push(job.key()),
                Due::Leave => {}
            }
        }
        report.looked_at += waiting.len();
        for key in waiting {
            if let Err(error) = self.wake(vec![key]).await {
                report.tell(&error);
            }
        }
        let failed = self.waker.wake_all(&ringing, now).await;
        let mut writes = JoinSet::new();
        for (place, job) in ringing.iter().enumerate() {
            let error = failed.iter().find(|(failed, _)| *failed == place).map(|(_, error)| error);
            match error {
                None => report.sent += 1,
                Some(error) => report.tell(error),
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

    /// Sends the messages of the jobs of these tasks that were enqueued from `from` to `to` and of which nobody seems to have been
    /// told. One that only waits in a long queue has two messages then, which start nothing twice. Sixteen queries a task, and
    /// one for each further MB of records.
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
                report.tell(&error);
                self.table.park(&jobs[place].key(), now).await?;
            }
            start = next;
            if start.is_none() {
                return Ok(report);
            }
        }
    }

    /// Takes a job off the index whose message was sent. One that was not is put behind all others, for the next pulse.
    async fn moved(self, key: JobKey, is_sent: bool, last: Timestamp) -> Result<(), TableError> {
        if is_sent { self.table.remove_from_due(&key).await } else { self.table.park(&key, last).await }
    }
}

impl WakeReport {
    /// Notes what went wrong, each thing once.
    fn tell(&mut self, error: &dyn std::error::Error) {
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
        Some(Ok(Err(error))) => report.tell(&error),
        Some(Err(error)) => report.tell(&error),
        Some(Ok(Ok(()))) | None => {}
    }
}
