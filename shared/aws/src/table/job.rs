//! The record of a job: written when it is enqueued, started and ended by conditional writes.
//!
//! What a job costs, in write units, with an item under 1 KB: 3 (enqueue, start, end), two more for each further attempt.
//! While a job stands in the index `due`, each of these writes the index too, which DynamoDB charges besides: under the
//! runner every job does, in AWS only one that waits for longer than SQS can.

use std::time::Duration;

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{
        delete_item::DeleteItemError,
        put_item::PutItemError,
        update_item::{UpdateItemError, UpdateItemOutput, builders::UpdateItemFluentBuilder},
    },
    types::{AttributeValue, Put, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;
use lamplighter_core::{
    id::RunId,
    job::{Job, JobKey, Lease, Refusal, Start, StartRequest, Wait, start},
    reason::Reason,
    run::{Attempt, Run},
    status::Status,
};
use serde_json::Value;

use super::{
    Table, TableError,
    history::{read_texts, write_texts},
    item::{self, Item, n, s},
    schema::{due_pk_of_queues, due_pk_of_runner, runs_pk},
};

/// For how long SQS can hold a message back.
pub const MAX_DELAY: Duration = Duration::from_secs(15 * 60);
/// After how long somebody looks again at a job that waits for others: its wake-up may have been lost.
pub const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// That a worker, told by its fencing number, has a job.
pub(super) const WORKING: &str = "#status = :running AND epoch = :epoch";

/// That a job is not over, and that nobody has started it since it was read.
pub(super) const OPEN: &str = "epoch = :epoch AND #status IN (:pending, :running)";

/// By what a job that can start is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A message in its task's queue. What SQS cannot hold back is in the index `due`, for the pulse.
    Queue,
    /// The index `due`, in which each job stands until it is over: for the runner, by priority.
    Runner,
}

/// A job as it is found.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// It is not over.
    Open(Box<Job>),
    /// It is.
    Over(Box<Run>),
}

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

impl Found {
    /// Its run's id.
    pub fn id(&self) -> RunId {
        match self {
            Self::Open(job) => job.id,
            Self::Over(run) => run.id,
        }
    }

    /// Its status.
    pub fn status(&self) -> Status {
        match self {
            Self::Open(job) => job.status,
            Self::Over(run) => run.status,
        }
    }
}

impl Transport {
    /// What a start that lasts `:until` does to a job's place in the index, at the end of what it sets.
    pub(super) fn at_start(self) -> &'static str {
        match self {
            Self::Queue => " REMOVE full_since, due_pk, due_at",
            Self::Runner => ", due_at = :until REMOVE full_since",
        }
    }

    /// How a job waits that found no place.
    pub(crate) fn wait(self, job: &Job, now: Timestamp) -> Wait {
        let since = job.full_since.unwrap_or(now);
        let waited = now.duration_since(since).try_into().unwrap_or_default();
        match self {
            Self::Queue => Wait::in_queue(waited),
            Self::Runner => Wait::in_runner(waited),
        }
    }

    /// Where a job that is not running stands in the index, and from when on it is to be looked at.
    pub(super) fn place(self, job: &Job, now: Timestamp) -> Option<(String, Timestamp)> {
        let look = if job.after.is_empty() {
            job.not_before.unwrap_or(now)
        } else {
            now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX)
        };
        match self {
            Self::Runner => Some((due_pk_of_runner(&job.task, job.priority), look)),
            Self::Queue => {
                let waits =
                    !job.after.is_empty() || look > now.saturating_add(MAX_DELAY).unwrap_or(Timestamp::MAX);
                waits.then(|| (due_pk_of_queues(job.id), look))
            }
        }
    }
}

impl Table {
    /// A job, whether or not it is over. One consistent read.
    pub async fn job(&self, key: &JobKey) -> Result<Option<Found>, TableError> {
        let item = self.read_record(&key.task, key.run_id, "read a job").await?;
        item.map(|item| self.found(item)).transpose()
    }

    /// The job or the run that an item holds.
    pub(super) fn found(&self, item: Item) -> Result<Found, TableError> {
        Ok(if is_open(&item) {
            Found::Open(Box::new(self.job_of(item)?))
        } else {
            Found::Over(Box::new(self.run_of(item)?))
        })
    }

    /// The job that an item holds.
    pub(super) fn job_of(&self, item: Item) -> Result<Job, TableError> {
        let key = item::key(&item);
        let malformed =
            |cause: String| TableError::Malformed { table: self.name.clone(), key: key.clone(), cause };
        let mut value = item::to_json(item);
        read_texts(&mut value).map_err(malformed)?;
        let time = |value: &Value| value.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        if let (Some(holder), Some(until)) = (value["holder"].as_str(), time(&value["lease_until"])) {
            let lease = Lease { holder: holder.into(), until };
            value["lease"] = serde_json::to_value(lease).map_err(|error| malformed(error.to_string()))?;
        }
        for name in TIMES {
            if let Some(at) = time(&value[name]) {
                value[name] = Value::String(at.to_string());
            }
        }
        serde_json::from_value(value).map_err(|error| malformed(error.to_string()))
    }

    /// The jobs that come after the one that an item holds.
    fn followers_of(&self, mut item: Item) -> Result<Vec<JobKey>, TableError> {
        let Some(followers) = item.remove("followers") else { return Ok(Vec::new()) };
        serde_json::from_value(item::from_attribute(followers)).map_err(|error| TableError::Malformed {
            table: self.name.clone(),
            key: item::key(&item),
            cause: format!("`followers`: {error}"),
        })
    }

    /// The item of a job that nobody has started.
    pub(super) fn item_of(&self, job: &Job, place: Option<(String, Timestamp)>) -> Result<Item, TableError> {
        let malformed = |error: serde_json::Error| TableError::Malformed {
            table: self.name.clone(),
            key: job.key().to_string(),
            cause: error.to_string(),
        };
        let mut value = serde_json::to_value(job).map_err(malformed)?;
        write_texts(&mut value)?;
        let times = [("not_before", job.not_before), ("start_by", job.start_by)];
        let mut item = item::to_item(value);
        for (name, at) in times {
            if let Some(at) = at {
                item.insert(name.into(), n(at.as_millisecond()));
            }
        }
        item.insert("pk".into(), s(runs_pk(&job.task, job.id)));
        item.insert("sk".into(), s(job.id.to_string()));
        item.insert("trigger".into(), s("queue"));
        if let Some((pk, at)) = place {
            item.insert("due_pk".into(), s(pk));
            item.insert("due_at".into(), n(at.as_millisecond()));
        }
        Ok(item)
    }

    /// The write that makes a job's record.
    pub(super) fn put_of(&self, item: Item) -> Result<Put, TableError> {
        Put::builder()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(|error| self.failed("describe a job", &error))
    }

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
            let job = match self.found(refused)? {
                Found::Over(run) => {
                    // It was ended while a place was taken for it.
                    if let Some(job) = placed {
                        self.free_place(&job).await;
                    }
                    return Ok(Started::Over(run, Vec::new()));
                }
                Found::Open(job) => job,
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
                    .expression_attribute_values(":lost", to_list(std::slice::from_ref(&lost))),
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
            .expression_attribute_values(":holder", s(request.holder.as_str()))
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

    pub(super) fn update_job(&self, key: &JobKey) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(runs_pk(&key.task, key.run_id)))
            .key("sk", s(key.run_id.to_string()))
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
            .expression_attribute_values(":attempts", to_list(attempts));
        let held = self.held("give a job back", update.send().await)?;
        if held {
            self.free_place(job).await;
        }
        Ok(held)
    }

    /// An update of a job as long as the worker has it.
    pub(super) fn holding(&self, job: &Job) -> UpdateItemFluentBuilder {
        self.update_job(&job.key())
            .condition_expression(WORKING)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":running", s(Status::Running.as_str()))
            .expression_attribute_values(":epoch", n(job.epoch))
    }

    pub(super) fn held(
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

    /// Ends a job with its terminal record, if nobody has started or ended it since `job` was read. One write.
    pub async fn end_job(&self, job: &Job, run: &Run) -> Result<Ended, TableError> {
        let run = &*self.put_away(run).await?;
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(super::history::to_item(run, self.retention)?))
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
                    match self.found(item)? {
                        // Whom to wake was in the response that was lost: they are found again when they are looked at.
                        Found::Over(stands) if *stands == *run => {
                            self.free_place(job).await;
                            Ok(Ended::Written(Vec::new()))
                        }
                        Found::Over(stands) => Ok(Ended::Before(stands)),
                        Found::Open(_) => Ok(Ended::Lost),
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
                Some(Found::Over(run)) => return Ok(Aborted::Over(run)),
                Some(Found::Open(job)) => job,
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
            let run = job.ended(Status::Cancelled, Reason::CancelledBeforeStart, now);
            let run = Run { environment: self.environment.clone(), ..run };
            match self.end_job(&job, &run).await? {
                Ended::Written(followers) => return Ok(Aborted::Ended(Box::new(run), followers)),
                Ended::Before(run) => return Ok(Aborted::Over(run)),
                Ended::Lost => {}
            }
        }
    }

    /// Deletes the record of a job, unless somebody has started or ended it: then this is false. One write.
    pub(super) async fn delete_unstarted(&self, job: &Job) -> Result<bool, TableError> {
        let deleted = self
            .client
            .delete_item()
            .table_name(&self.name)
            .key("pk", s(runs_pk(&job.task, job.id)))
            .key("sk", s(job.id.to_string()))
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
            .client
            .get_item()
            .table_name(&self.name)
            .key("pk", s(runs_pk(&key.task, key.run_id)))
            .key("sk", s(key.run_id.to_string()))
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

/// The times of a job that conditions compare, kept in milliseconds.
const TIMES: [&str; 3] = ["not_before", "start_by", "full_since"];

/// Whether an item is that of a run that is not over.
pub(super) fn is_open(item: &Item) -> bool {
    let status = item.get("status").and_then(|status| status.as_s().ok());
    status.and_then(|word| word.parse::<Status>().ok()).is_some_and(|status| !status.is_terminal())
}

fn to_list(attempts: &[Attempt]) -> AttributeValue {
    item::to_attribute(serde_json::json!(attempts))
}
