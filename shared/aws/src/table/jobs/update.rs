//! The conditional updates of a job: renewing its lease, and giving it back for another attempt.

use aws_sdk_dynamodb::{operation::update_item::builders::UpdateItemFluentBuilder, types::Put};
use jiff::Timestamp;
use lamplighter_core::{
    job::{Job, JobKey},
    run::Attempt,
    status::Status,
};

use crate::table::{
    Table, TableError,
    item::{Item, n, s},
    jobs::transport::Transport,
    keys::Key,
    record::{JobRecord, list_of_attempts},
};

/// The condition that the worker with this fencing token has the job.
pub(crate) const WORKING: &str = "#status = :running AND epoch = :epoch";

/// The condition that a job is not over and was not started after it was read.
pub(crate) const OPEN: &str = "epoch = :epoch AND #status IN (:pending, :running)";

impl Table {
    /// Reads a job's record, whether or not the job is over. One consistent read.
    pub async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>, TableError> {
        let item = self.read_record(&key.task, key.run_id, "read a job").await?;
        item.map(|item| self.job_record(item)).transpose()
    }

    /// The write that creates a job's record.
    pub(crate) fn put_of(&self, item: Item) -> Result<Put, TableError> {
        Put::builder()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(|error| self.failed("describe a job", &error))
    }

    pub(crate) fn update_job(&self, key: &JobKey) -> UpdateItemFluentBuilder {
        self.update(Key::job(key))
    }

    /// Extends the lease of a running job. Returns false if the worker has lost the job. One write.
    pub async fn renew_job(
        &self,
        job: &Job,
        until: Timestamp,
        transport: Transport,
    ) -> Result<bool, TableError> {
        let index = if transport == Transport::Runner { ", due_at = :until" } else { "" };
        let update = self
            .holding(job)
            .update_expression(format!("SET lease_until = :until{index}"))
            .expression_attribute_values(":until", n(until.as_millisecond()));
        let held = self.applied("renew a job's lease", update.send().await)?;
        if held {
            self.keep_place(job, until).await;
        }
        Ok(held)
    }

    /// Schedules the next attempt of a job after one that failed. Returns false if the worker has lost the job. One write.
    pub async fn try_again(
        &self,
        job: &Job,
        attempts: &[Attempt],
        not_before: Timestamp,
        transport: Transport,
    ) -> Result<bool, TableError> {
        let index = if transport == Transport::Runner { ", due_at = :not_before" } else { "" };
        let update = self
            .holding(job)
            .update_expression(format!(
                "SET #status = :pending, not_before = :not_before, attempts = :attempts{index} REMOVE holder, lease_until"
            ))
            .expression_attribute_values(":pending", s(Status::Pending.as_str()))
            .expression_attribute_values(":not_before", n(not_before.as_millisecond()))
            .expression_attribute_values(":attempts", list_of_attempts(attempts));
        let held = self.applied("give a job back", update.send().await)?;
        if held {
            self.free_place(job).await;
        }
        Ok(held)
    }

    /// An update of a job on the condition that the worker has it.
    pub(crate) fn holding(&self, job: &Job) -> UpdateItemFluentBuilder {
        self.update_job(&job.key())
            .condition_expression(WORKING)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":running", s(Status::Running.as_str()))
            .expression_attribute_values(":epoch", n(job.fencing_token))
    }
}
