//! Ending a job: with its terminal record, by somebody who asks for it, or by taking it back.

use aws_sdk_dynamodb::{
    operation::{delete_item::DeleteItemError, put_item::PutItemError},
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;
use lamplighter_core::{
    job::{Job, JobKey},
    run::Run,
    status::Status,
};

use crate::table::{
    Table, TableError,
    item::{n, s},
    jobs::update::OPEN,
    keys::Key,
    record::{JobRecord, is_open, item_of_run},
};

/// What became of a job's end.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Ended {
    /// It was written, now or by an earlier write of the same. The jobs that come after it are to be woken.
    Written(Vec<JobKey>),
    /// The job was ended by somebody else, and that stands.
    Before(Box<Run>),
    /// Somebody else has the job by now.
    Lost,
}

/// What became of a wish to end a job.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Aborted {
    /// It had not started, and is CANCELLED now.
    Ended(Box<Run>, Vec<JobKey>),
    /// It runs, and its worker will find the wish.
    Asked,
    /// It was over before.
    Over(Box<Run>),
    /// There is no such job.
    Unknown,
}

impl Table {
    /// Ends a job with its terminal record, if nobody has started or ended it since `job` was read. One write.
    pub async fn end_job(&self, job: &Job, run: &Run) -> Result<Ended, TableError> {
        let run = &*self.put_away(run).await?;
        let put = self
            .put(item_of_run(run, self.retention)?)
            .condition_expression(OPEN)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":epoch", n(job.epoch))
            .expression_attribute_values(":pending", s(Status::Pending.as_str()))
            .expression_attribute_values(":running", s(Status::Running.as_str()))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match put {
            Ok(output) => {
                self.free_place(job).await;
                Ok(Ended::Written(self.followers_of(output.attributes.unwrap_or_default())?))
            }
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    // Its record may have been deleted since.
                    let Some(item) = refused.item.clone() else { return Ok(Ended::Lost) };
                    match self.job_record(item)? {
                        // Whom to wake was in the response that was lost: they are found again when they are looked at.
                        JobRecord::Over(stands) if *stands == *run => {
                            self.free_place(job).await;
                            Ok(Ended::Written(Vec::new()))
                        }
                        JobRecord::Over(stands) => Ok(Ended::Before(stands)),
                        JobRecord::Open(_) => Ok(Ended::Lost),
                    }
                }
                _ => Err(self.failed("record a job", &error)),
            },
        }
    }

    /// Ends a job that has not started, or asks the worker of one that runs to end it.
    pub async fn abort_job(&self, key: &JobKey, now: Timestamp) -> Result<Aborted, TableError> {
        loop {
            let job = match self.job(key).await? {
                None => return Ok(Aborted::Unknown),
                Some(JobRecord::Over(run)) => return Ok(Aborted::Over(run)),
                Some(JobRecord::Open(job)) => job,
            };
            if job.status == Status::Running {
                let asked = self
                    .holding(&job)
                    .update_expression("SET cancelled = :true")
                    .expression_attribute_values(":true", AttributeValue::Bool(true));
                if self.held("ask for a job's end", asked.send().await)? {
                    return Ok(Aborted::Asked);
                }
                continue;
            }
            let why = "cancelled: somebody asked for its end before it was started";
            let run = job.ended(Status::Cancelled, lamplighter_core::run::ErrorKind::Execution, why, now);
            let run = Run { environment: self.environment.clone(), ..run };
            match self.end_job(&job, &run).await? {
                Ended::Written(followers) => return Ok(Aborted::Ended(Box::new(run), followers)),
                Ended::Before(run) => return Ok(Aborted::Over(run)),
                Ended::Lost => {}
            }
        }
    }

    /// Deletes the record of a job, unless somebody has started or ended it: then this is false. One write.
    pub(crate) async fn delete_unstarted(&self, job: &Job) -> Result<bool, TableError> {
        let deleted = self
            .delete(Key::run(&job.task, job.id))
            .condition_expression("epoch = :zero AND #status = :pending")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":pending", s(Status::Pending.as_str()))
            .send()
            .await;
        match deleted {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DeleteItemError::is_conditional_check_failed_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(self.failed("take a job back", &error)),
        }
    }

    /// Whether somebody asked for the end of a job that a worker has, or it has it no more. One eventually consistent read.
    pub async fn is_aborted(&self, key: &JobKey, epoch: u64) -> Result<bool, TableError> {
        let output = self
            .read(Key::job(key))
            .projection_expression("cancelled, epoch, #status")
            .expression_attribute_names("#status", "status")
            .send()
            .await
            .map_err(|error| self.failed("read a job", &error))?;
        let item = output.item.unwrap_or_default();
        let asked = item.get("cancelled").and_then(|it| it.as_bool().ok()).copied().unwrap_or_default();
        let taken =
            item.get("epoch").and_then(|it| it.as_n().ok()).is_some_and(|it| *it != epoch.to_string());
        Ok(asked || taken || !is_open(&item))
    }
}
