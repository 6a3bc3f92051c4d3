//! The index `due`: the jobs that the pulse or a runner must handle.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use jiff::Timestamp;
use lamplighter_core::{
    definition::Priority,
    job::{Job, JobKey},
    name::TaskName,
};

use crate::table::{
    Table, TableError,
    item::{Item, n, s},
    keys::{DuePartition, Key},
    record::JobRecord,
};

/// The number of jobs in a page: as many as one request reads.
const DUE_PAGE: u8 = 100;

/// A page of jobs from a partition of the index.
#[derive(Clone, Debug, Default)]
pub struct DuePage {
    /// Their keys, the soonest first.
    pub keys: Vec<JobKey>,
    end: Option<Item>,
}

impl DuePage {
    /// Returns true if there are more pages.
    pub fn goes_on(&self) -> bool {
        self.end.is_some()
    }
}

impl Table {
    /// Returns the jobs of a task and a priority in the index, each with the time at which a runner must check it. At
    /// that time the job can start, its lease expires, or its dependencies are checked again. At most `limit` jobs, the
    /// soonest first. One query, eventually consistent.
    pub async fn due_for_runner(
        &self,
        task: &TaskName,
        priority: Priority,
        limit: u16,
    ) -> Result<Vec<(JobKey, Timestamp)>, TableError> {
        let query =
            self.due_query(DuePartition::Runner(task, priority), Timestamp::MAX).limit(i32::from(limit));
        let output = query.send().await.map_err(|error| self.failed("look for due jobs", &error))?;
        let time = |item: &Item| {
            let at = item.get("due_at")?.as_n().ok()?.parse().ok()?;
            Timestamp::from_millisecond(at).ok()
        };
        let items = output.items.unwrap_or_default();
        Ok(items.iter().filter_map(|item| Some((key_of(item)?, time(item)?))).collect())
    }

    /// Returns a page of the jobs in one partition of the index that the pulse must handle by `until`, the soonest
    /// first. The page starts after the end of `from`. One query, eventually consistent.
    pub async fn due_for_queues(
        &self,
        partition: u8,
        until: Timestamp,
        from: Option<DuePage>,
    ) -> Result<DuePage, TableError> {
        self.due_page(DuePartition::Queues { shard: partition }, until, from).await
    }

    /// Like [`due_for_queues`](Self::due_for_queues), for index entries of an earlier version. The jobs of a task named
    /// `q` are left out, since the partition may hold them for a runner.
    pub async fn due_for_queues_before(
        &self,
        partition: u8,
        until: Timestamp,
        from: Option<DuePage>,
    ) -> Result<DuePage, TableError> {
        let mut page = self.due_page(DuePartition::OldQueues { shard: partition }, until, from).await?;
        page.keys.retain(|key| !DuePartition::has_old_name(&key.task));
        Ok(page)
    }

    async fn due_page(
        &self,
        partition: DuePartition<'_>,
        until: Timestamp,
        from: Option<DuePage>,
    ) -> Result<DuePage, TableError> {
        let query = self
            .due_query(partition, until)
            .limit(i32::from(DUE_PAGE))
            .set_exclusive_start_key(from.and_then(|page| page.end));
        let output = query.send().await.map_err(|error| self.failed("look for due jobs", &error))?;
        let keys = output.items.unwrap_or_default().iter().filter_map(key_of).collect();
        Ok(DuePage { keys, end: output.last_evaluated_key })
    }

    /// Reads these jobs and returns those that are not over: consistent reads, 100 at a time. The errors of unreadable
    /// records are returned as well.
    pub async fn open_jobs(&self, keys: &[JobKey]) -> Result<(Vec<Job>, Vec<TableError>), TableError> {
        let keys = keys.iter().map(Key::job).collect();
        let (mut jobs, mut unreadable) = (Vec::new(), Vec::new());
        for item in self.batch(keys, "read jobs").await? {
            match self.job_record(item) {
                Ok(JobRecord::Open(job)) => jobs.push(*job),
                Ok(JobRecord::Over(_)) => {}
                Err(error) => unreadable.push(error),
            }
        }
        Ok((jobs, unreadable))
    }

    /// The query of the jobs in a partition of the index that are due by `until`, the soonest first.
    pub(crate) fn due_query(&self, partition: DuePartition<'_>, until: Timestamp) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.name)
            .index_name("due")
            .key_condition_expression("due_pk = :pk AND due_at <= :until")
            .expression_attribute_values(":pk", s(partition.pk()))
            .expression_attribute_values(":until", n(until.as_millisecond()))
    }

    /// Takes a job off the index after its message was sent. Nothing changes if it was started or moved since. One write.
    pub async fn remove_from_due(&self, key: &JobKey) -> Result<(), TableError> {
        // For a task named `q`, the old partition belongs to the runner.
        let old = if DuePartition::has_old_name(&key.task) {
            DuePartition::of_queues(key.run_id)
        } else {
            DuePartition::of_old_queues(key.run_id)
        };
        let update = self
            .update_job(key)
            .update_expression("REMOVE due_pk, due_at")
            .condition_expression("due_pk IN (:queues, :old)")
            .expression_attribute_values(":queues", s(DuePartition::of_queues(key.run_id).pk()))
            .expression_attribute_values(":old", s(old.pk()));
        self.applied("take a job off the index", update.send().await).map(drop)
    }

    /// Takes an item that is not a job off the index. Jobs that are not over stay. One write.
    pub async fn clear_due(&self, key: &JobKey) -> Result<(), TableError> {
        let update = self
            .update_job(key)
            .update_expression("REMOVE due_pk, due_at")
            .condition_expression("attribute_exists(due_pk) AND attribute_not_exists(epoch)");
        self.applied("take something off the index", update.send().await).map(drop)
    }

    /// Puts a job into the index, for the pulse: its message could not be sent. One write.
    pub async fn park(&self, key: &JobKey, at: Timestamp) -> Result<(), TableError> {
        let update = self
            .update_job(key)
            .update_expression("SET due_pk = :pk, due_at = :at")
            .condition_expression("#status = :pending")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pending", s("PENDING"))
            .expression_attribute_values(":pk", s(DuePartition::of_queues(key.run_id).pk()))
            .expression_attribute_values(":at", n(at.as_millisecond()));
        self.applied("park a job", update.send().await).map(drop)
    }

    /// Postpones the next dependency check of a job. One write.
    pub async fn look_later(&self, key: &JobKey, at: Timestamp) -> Result<(), TableError> {
        let update = self
            .update_job(key)
            .update_expression("SET due_at = :at")
            .condition_expression("attribute_exists(due_pk) AND attribute_exists(waits_for)")
            .expression_attribute_values(":at", n(at.as_millisecond()));
        self.applied("look at a job later", update.send().await).map(drop)
    }
}

/// The key of a job in the index. `None` if the item is not a job.
pub(crate) fn key_of(item: &Item) -> Option<JobKey> {
    Key::of(item)?.parse_job()
}
