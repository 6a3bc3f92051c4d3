//! The conditional updates of a job: renewing its lease, and giving it back for another attempt.

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::update_item::{UpdateItemError, UpdateItemOutput, builders::UpdateItemFluentBuilder},
    types::Put,
};
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

/// That a worker, told by its fencing number, has a job.
pub(crate) const WORKING: &str = "#status = :running AND epoch = :epoch";

/// That a job is not over, and that nobody has started it since it was read.
pub(crate) const OPEN: &str = "epoch = :epoch AND #status IN (:pending, :running)";

impl Table {
    /// A job, whether or not it is over. One consistent read.
    pub async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>, TableError> {
        let item = self.read_record(&key.task, key.run_id, "read a job").await?;
        item.map(|item| self.job_record(item)).transpose()
    }

    /// The write that makes a job's record.
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

    /// Renews the lease of a job that a worker has. False if it has it no more. One write.
    pub async fn renew_job(&self, job: &Job, until: Timestamp, lane: Transport) -> Result<bool, TableError> {
        let index = if lane == Transport::Runner { ", due_at = :until" } else { "" };
        let update = self
            .holding(job)
            .update_expression(format!("SET lease_until = :until{index}"))
            .expression_attribute_values(":until", n(until.as_millisecond()));
        let held = self.held("renew a job's lease", update.send().await)?;
        if held {
            self.keep_place(job, until).await;
        }
        Ok(held)
    }

    /// Gives a job back for another attempt, after one that failed. False if the worker has it no more. One write.
    pub async fn try_again(
        &self,
        job: &Job,
        attempts: &[Attempt],
        not_before: Timestamp,
        lane: Transport,
    ) -> Result<bool, TableError> {
        let index = if lane == Transport::Runner { ", due_at = :not_before" } else { "" };
        let update = self
            .holding(job)
            .update_expression(format!(
                "SET #status = :pending, not_before = :not_before, attempts = :attempts{index} REMOVE holder, lease_until"
            ))
            .expression_attribute_values(":pending", s(Status::Pending.as_str()))
            .expression_attribute_values(":not_before", n(not_before.as_millisecond()))
            .expression_attribute_values(":attempts", list_of_attempts(attempts));
        let held = self.held("give a job back", update.send().await)?;
        if held {
            self.free_place(job).await;
        }
        Ok(held)
    }

    /// An update of a job as long as the worker has it.
    pub(crate) fn holding(&self, job: &Job) -> UpdateItemFluentBuilder {
        self.update_job(&job.key())
            .condition_expression(WORKING)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":running", s(Status::Running.as_str()))
            .expression_attribute_values(":epoch", n(job.epoch))
    }

    pub(crate) fn held(
        &self,
        what: &'static str,
        sent: Result<UpdateItemOutput, SdkError<UpdateItemError>>,
    ) -> Result<bool, TableError> {
        match sent {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(self.failed(what, &error)),
            },
        }
    }
}
