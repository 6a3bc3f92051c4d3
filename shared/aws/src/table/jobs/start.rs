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
    conditional::Conditional,
    item::{n, s},
    jobs::{end::JobEnd, transport::Transport},
    record::{JobRecord, list_of_attempts},
};

/// The result of starting a job.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum JobStart {
    /// The worker has the job.
    Granted(Box<Job>),
    /// The job is over, by this start or before it. The jobs that depend on it must be woken.
    Over(Box<Run>, Vec<JobKey>),
    /// The job does not start now.
    Refused(Refusal, Box<Job>),
    /// There is no such job.
    Unknown,
}

impl Transport {
    /// Returns the last part of the update expression of a start. It moves the job's index entry to the end of the
    /// lease, or removes the entry.
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
        transport: Transport,
    ) -> Result<JobStart, TableError> {
        let fresh = self
            .start_update(key, request, transport, "")
            .condition_expression(
                "#status = :pending AND attribute_not_exists(waits_for) AND attribute_not_exists(place_limit) \
                 AND (attribute_not_exists(not_before) OR not_before <= :now) \
                 AND (attribute_not_exists(start_by) OR start_by >= :now OR epoch > :zero)",
            )
            .expression_attribute_values(":pending", s(Status::Pending.as_str()))
            .expression_attribute_values(":now", n(request.now.as_millisecond()))
            .expression_attribute_values(":zero", n(0));
        let mut refused = match self.started(fresh.send().await)? {
            Conditional::Done(job) => return Ok(JobStart::Granted(Box::new(job))),
            Conditional::Refused(item) => item,
        };
        let mut placed: Option<Box<Job>> = None;
        loop {
            if refused.is_empty() {
                return Ok(JobStart::Unknown);
            }
            let job = match self.job_record(refused)? {
                JobRecord::Over(run) => {
                    // The job ended while a place was taken for it.
                    if let Some(job) = placed {
                        self.free_place(&job).await;
                    }
                    return Ok(JobStart::Over(run, Vec::new()));
                }
                JobRecord::Open(job) => job,
            };
            let lost = match start(&job, request) {
                Start::Refused(refusal) => return Ok(JobStart::Refused(refusal, job)),
                Start::Ends(run) => {
                    let run = Run { environment: self.environment.clone(), ..*run };
                    match self.end_job(&job, &run).await? {
                        JobEnd::Written(followers) => return Ok(JobStart::Over(Box::new(run), followers)),
                        JobEnd::Before(run) => return Ok(JobStart::Over(run, Vec::new())),
                        JobEnd::Lost => {
                            let until = request.until;
                            return Ok(JobStart::Refused(Refusal::Running { until }, job));
                        }
                    }
                }
                // This worker's own start, whose response was lost.
                Start::Granted { fencing_token, .. } if fencing_token == job.fencing_token => {
                    return Ok(JobStart::Granted(job));
                }
                Start::Granted { lost, .. } => lost,
            };
            if let Some(limit) = &job.limit
                && !self.take_place(&job, limit, request.now, request.until).await?
            {
                let wait = transport.wait(&job, request.now);
                let until = request.now.saturating_add(wait.pause()).unwrap_or(Timestamp::MAX);
                return Ok(JobStart::Refused(Refusal::Full { until }, job));
            }
            let (attempts, status) = if lost.is_some() {
                (", attempts = list_append(if_not_exists(attempts, :none), :lost)", Status::Running)
            } else {
                ("", Status::Pending)
            };
            let update = self
                .start_update(key, request, transport, attempts)
                .condition_expression("#status = :status AND epoch = :epoch")
                .expression_attribute_values(":status", s(status.as_str()))
                .expression_attribute_values(":epoch", n(job.fencing_token));
            let update = match lost {
                Some(lost) => update
                    .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
                    .expression_attribute_values(":lost", list_of_attempts(std::slice::from_ref(&lost))),
                None => update,
            };
            refused = match self.started(update.send().await)? {
                Conditional::Done(job) => return Ok(JobStart::Granted(Box::new(job))),
                Conditional::Refused(item) => item,
            };
            placed = Some(job);
        }
    }

    fn start_update(
        &self,
        key: &JobKey,
        request: &StartRequest,
        transport: Transport,
        further: &str,
    ) -> UpdateItemFluentBuilder {
        let index = transport.at_start();
        // SET must precede REMOVE.
        let set = format!(
            "SET #status = :running, epoch = epoch + :one, holder = :holder, lease_until = :until, \
             started_at = if_not_exists(started_at, :began){further}{index}"
        );
        self.update_job(key)
            .update_expression(set)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":running", s(Status::Running.as_str()))
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":holder", s(request.holder.as_str()))
            .expression_attribute_values(":until", n(request.until.as_millisecond()))
            .expression_attribute_values(":began", s(request.now.to_string()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    fn started(
        &self,
        sent: Result<UpdateItemOutput, SdkError<UpdateItemError>>,
    ) -> Result<Conditional<Job>, TableError> {
        Ok(match self.conditional("start a job", sent)? {
            Conditional::Done(output) => {
                Conditional::Done(self.job_of(output.attributes.unwrap_or_default())?)
            }
            Conditional::Refused(item) => Conditional::Refused(item),
        })
    }
}
