//! Ending a job: recording its outcome, aborting it, or withdrawing it.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use lamplighter_core::{
    job::{Job, JobKey},
    reason::Reason,
    run::Run,
    status::Status,
};

use crate::table::{
    Table, TableError,
    conditional::Conditional,
    item::{n, s},
    jobs::update::OPEN,
    keys::Key,
    record::{JobRecord, is_open, item_of_run},
};

/// The result of ending a job.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum JobEnd {
    /// The record is written, by this write or by an earlier one with the same content. The jobs that depend on this
    /// one must be woken.
    Written(Vec<JobKey>),
    /// Another process ended the job first. Its record stays.
    Before(Box<Run>),
    /// Another worker has the job.
    Lost,
}

/// The result of aborting a job.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum AbortOutcome {
    /// The job had not started, and is CANCELLED. The jobs that depend on it must be woken.
    Ended(Box<Run>, Vec<JobKey>),
    /// The job runs, and its worker will notice the request.
    Asked,
    /// It was over before.
    Over(Box<Run>),
    /// There is no such job.
    Unknown,
}

impl Table {
    /// Ends a job with its terminal record, unless it was started or ended after `job` was read. One write.
    pub async fn end_job(&self, job: &Job, run: &Run) -> Result<JobEnd, TableError> {
        let run = &*self.put_away(run).await?;
        let put = self
            .put(item_of_run(run, self.retention)?)
            .condition_expression(OPEN)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":epoch", n(job.fencing_token))
            .expression_attribute_values(":pending", s(Status::Pending.as_str()))
            .expression_attribute_values(":running", s(Status::Running.as_str()))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match self.conditional("record a job", put)? {
            Conditional::Done(output) => {
                self.free_place(job).await;
                Ok(JobEnd::Written(self.followers_of(output.attributes.unwrap_or_default())?))
            }
            // Its record may have been deleted since.
            Conditional::Refused(item) if item.is_empty() => Ok(JobEnd::Lost),
            Conditional::Refused(item) => match self.job_record(item)? {
                // Only the lost response had the followers. They are woken at their next dependency check.
                JobRecord::Over(stands) if *stands == *run => {
                    self.free_place(job).await;
                    Ok(JobEnd::Written(Vec::new()))
                }
                JobRecord::Over(stands) => Ok(JobEnd::Before(stands)),
                JobRecord::Open(_) => Ok(JobEnd::Lost),
            },
        }
    }

    /// Cancels a job that has not started, or asks the worker of a running job to end it.
    pub async fn abort_job(&self, key: &JobKey, now: Timestamp) -> Result<AbortOutcome, TableError> {
        loop {
            let job = match self.job(key).await? {
                None => return Ok(AbortOutcome::Unknown),
                Some(JobRecord::Over(run)) => return Ok(AbortOutcome::Over(run)),
                Some(JobRecord::Open(job)) => job,
            };
            if job.status == Status::Running {
                let asked = self
                    .holding(&job)
                    .update_expression("SET cancelled = :true")
                    .expression_attribute_values(":true", AttributeValue::Bool(true));
                if self.applied("ask for a job's end", asked.send().await)? {
                    return Ok(AbortOutcome::Asked);
                }
                continue;
            }
            let run = job.ended(Status::Cancelled, Reason::CancelledBeforeStart, now);
            let run = Run { environment: self.environment.clone(), ..run };
            match self.end_job(&job, &run).await? {
                JobEnd::Written(followers) => return Ok(AbortOutcome::Ended(Box::new(run), followers)),
                JobEnd::Before(run) => return Ok(AbortOutcome::Over(run)),
                JobEnd::Lost => {}
            }
        }
    }

    /// Deletes the record of a job. Returns false if the job was started or ended. One write.
    pub(crate) async fn delete_unstarted(&self, job: &Job) -> Result<bool, TableError> {
        let deleted = self
            .delete(Key::run(&job.task, job.id))
            .condition_expression("epoch = :zero AND #status = :pending")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":pending", s(Status::Pending.as_str()))
            .send()
            .await;
        self.applied("take a job back", deleted)
    }

    /// Returns true if the end of a running job was requested, or its worker has lost it. One eventually consistent read.
    pub async fn is_aborted(&self, key: &JobKey, fencing_token: u64) -> Result<bool, TableError> {
        let output = self
            .read(Key::job(key))
            .projection_expression("cancelled, epoch, #status")
            .expression_attribute_names("#status", "status")
            .send()
            .await
            .map_err(|error| self.failed("read a job", &error))?;
        let item = output.item.unwrap_or_default();
        let asked = item.get("cancelled").and_then(|it| it.as_bool().ok()).copied().unwrap_or_default();
        let taken = item
            .get("epoch")
            .and_then(|it| it.as_n().ok())
            .is_some_and(|it| *it != fencing_token.to_string());
        Ok(asked || taken || !is_open(&item))
    }
}
