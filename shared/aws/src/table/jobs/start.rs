//! Starting a job for a worker.

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::update_item::{UpdateItemError, UpdateItemOutput, builders::UpdateItemFluentBuilder},
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;
use lamplighter_core::{
    job::{Job, JobKey, Refusal, Start, StartRequest, start},
    run::Run,
    status::Status,
};

use crate::table::{
    Table, TableError,
    item::{Item, n, s},
    jobs::{end::Ended, transport::Transport},
    record::{JobRecord, list_of_attempts},
};

/// What became of a start.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Started {
    /// The worker has it.
    Granted(Box<Job>),
    /// Nothing starts: it is over, by this start or before it.
    Over(Box<Run>, Vec<JobKey>),
    /// Nothing starts now.
    Refused(Refusal, Box<Job>),
    /// There is no such job.
    Unknown,
}

impl Transport {
    /// What a start that lasts `:until` does to a job's place in the index, at the end of what it sets.
    fn at_start(self) -> &'static str {
        match self {
            Self::Queue => " REMOVE full_since, due_pk, due_at",
            Self::Runner => ", due_at = :until REMOVE full_since",
        }
    }
}

impl Table {
    /// Starts a job for a worker. One write; a second one if the worker before it was lost, or the job ends instead.
    pub async fn start_job(
        &self,
        key: &JobKey,
        request: &StartRequest,
        lane: Transport,
    ) -> Result<Started, TableError> {
        let fresh = self
            .start_update(key, request, lane, "")
            .condition_expression(
                "#status = :pending AND attribute_not_exists(waits_for) AND attribute_not_exists(place_limit) \
                 AND (attribute_not_exists(not_before) OR not_before <= :now) \
                 AND (attribute_not_exists(start_by) OR start_by >= :now OR epoch > :zero)",
            )
            .expression_attribute_values(":pending", s(Status::Pending.as_str()))
            .expression_attribute_values(":now", n(request.now.as_millisecond()))
            .expression_attribute_values(":zero", n(0));
        let mut refused = match self.started(fresh.send().await)? {
            Ok(job) => return Ok(Started::Granted(Box::new(job))),
            Err(refused) => refused,
        };
        let mut placed: Option<Box<Job>> = None;
        loop {
            if refused.is_empty() {
                return Ok(Started::Unknown);
            }
            let job = match self.job_record(refused)? {
                JobRecord::Over(run) => {
                    // It was ended while a place was taken for it.
                    if let Some(job) = placed {
                        self.free_place(&job).await;
                    }
                    return Ok(Started::Over(run, Vec::new()));
                }
                JobRecord::Open(job) => job,
            };
            let lost = match start(&job, request) {
                Start::Refused(refusal) => return Ok(Started::Refused(refusal, job)),
                Start::Ends(run) => {
                    let run = Run { environment: self.environment.clone(), ..*run };
                    match self.end_job(&job, &run).await? {
                        Ended::Written(followers) => return Ok(Started::Over(Box::new(run), followers)),
                        Ended::Before(run) => return Ok(Started::Over(run, Vec::new())),
                        Ended::Lost => {
                            let until = request.until;
                            return Ok(Started::Refused(Refusal::Running { until }, job));
                        }
                    }
                }
                // One's own start, whose response was lost.
                Start::Granted { epoch, .. } if epoch == job.epoch => return Ok(Started::Granted(job)),
                Start::Granted { lost, .. } => lost,
            };
            if let Some(limit) = &job.limit
                && !self.take_place(&job, limit, request.now, request.until).await?
            {
                let wait = lane.wait(&job, request.now);
                let until = request.now.saturating_add(wait.pause()).unwrap_or(Timestamp::MAX);
                return Ok(Started::Refused(Refusal::Full { until }, job));
            }
            let (attempts, status) = if lost.is_some() {
                (", attempts = list_append(if_not_exists(attempts, :none), :lost)", Status::Running)
            } else {
                ("", Status::Pending)
            };
            let update = self
                .start_update(key, request, lane, attempts)
                .condition_expression("#status = :status AND epoch = :epoch")
                .expression_attribute_values(":status", s(status.as_str()))
                .expression_attribute_values(":epoch", n(job.epoch));
            let update = match lost {
                Some(lost) => update
                    .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
                    .expression_attribute_values(":lost", list_of_attempts(std::slice::from_ref(&lost))),
                None => update,
            };
            refused = match self.started(update.send().await)? {
                Ok(job) => return Ok(Started::Granted(Box::new(job))),
                Err(refused) => refused,
            };
            placed = Some(job);
        }
    }

    fn start_update(
        &self,
        key: &JobKey,
        request: &StartRequest,
        lane: Transport,
        further: &str,
    ) -> UpdateItemFluentBuilder {
        let index = lane.at_start();
        // What is set must come before what is removed.
        let set = format!(
            "SET #status = :running, epoch = epoch + :one, holder = :holder, lease_until = :until, \
             started_at = if_not_exists(started_at, :began){further}{index}"
        );
        self.update_job(key)
            .update_expression(set)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":running", s(Status::Running.as_str()))
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":holder", s(&request.holder))
            .expression_attribute_values(":until", n(request.until.as_millisecond()))
            .expression_attribute_values(":began", s(request.now.to_string()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    /// What an update made of a job, or the item that its condition did not fit.
    fn started(
        &self,
        sent: Result<UpdateItemOutput, SdkError<UpdateItemError>>,
    ) -> Result<Result<Job, Item>, TableError> {
        match sent {
            Ok(output) => Ok(Ok(self.job_of(output.attributes.unwrap_or_default())?)),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Err(refused.item.clone().unwrap_or_default()))
                }
                _ => Err(self.failed("start a job", &error)),
            },
        }
    }
}
