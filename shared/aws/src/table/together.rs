//! Steps of several jobs in one transaction. Each is a decision of its own, with its own condition: they share only what it
//! costs to write them down.
//!
//! DynamoDB bills a transaction twice what its writes cost alone, so this is for an engine of one's own, where what costs is
//! that each write is made durable.

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{Put, TransactWriteItem, Update},
};
use lamplighter_core::{
    job::{Job, StartRequest},
    run::Run,
    status::Status,
};

use super::{
    Table, TableError,
    history::to_item,
    item::{n, s},
    job::{Lane, OPEN},
    schema::runs_pk,
};

/// The most steps of one transaction: half of what DynamoDB takes, so that nobody waits for long.
pub const MOST: usize = 50;
/// What DynamoDB says of a write that is not the cause of a cancelled transaction.
const NO_FAULT: &str = "None";

/// One step of one job, to be written with others.
#[derive(Clone, Debug)]
pub struct Step(Box<TransactWriteItem>);

impl Table {
    /// The start of a job that nobody has started, and that waits for nothing, unless it was changed since it was read.
    pub fn start_step(&self, job: &Job, request: &StartRequest, lane: Lane) -> Result<Step, TableError> {
        let index = lane.at_start();
        let update = Update::builder()
            .table_name(&self.name)
            .key("pk", s(runs_pk(&job.task, job.id)))
            .key("sk", s(job.id.to_string()))
            .update_expression(format!(
                "SET #status = :running, epoch = :next, holder = :holder, lease_until = :until, \
                 started_at = :began{index}"
            ))
            .condition_expression("#status = :pending AND epoch = :epoch")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pending", s(Status::Pending.as_str()))
            .expression_attribute_values(":running", s(Status::Running.as_str()))
            .expression_attribute_values(":epoch", n(job.epoch))
            .expression_attribute_values(":next", n(job.epoch + 1))
            .expression_attribute_values(":holder", s(&request.holder))
            .expression_attribute_values(":until", n(request.until.as_millisecond()))
            .expression_attribute_values(":began", s(job.started_at.unwrap_or(request.now).to_string()))
            .build()
            .map_err(|error| self.failed("describe a job's start", &error))?;
        Ok(Step(TransactWriteItem::builder().update(update).build().into()))
    }

    /// The end of a job, whose values are put away, unless somebody has started or ended it since it was read, or others are to
    /// be woken by it.
    pub fn end_step(&self, job: &Job, run: &Run) -> Result<Step, TableError> {
        let put = Put::builder()
            .table_name(&self.name)
            .set_item(Some(to_item(run, self.retention)?))
            .condition_expression(format!("{OPEN} AND attribute_not_exists(followers)"))
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":epoch", n(job.epoch))
            .expression_attribute_values(":pending", s(Status::Pending.as_str()))
            .expression_attribute_values(":running", s(Status::Running.as_str()))
            .build()
            .map_err(|error| self.failed("describe a job's end", &error))?;
        Ok(Step(TransactWriteItem::builder().put(put).build().into()))
    }

    /// Takes the steps of different jobs, at most [`MOST`], and says of each whether it was taken. One that was not has changed
    /// nothing, and is to be looked at alone. After an error it is not known which were.
    pub async fn take_together(&self, steps: &[Step]) -> Result<Vec<bool>, TableError> {
        let mut taken = vec![true; steps.len()];
        loop {
            let places: Vec<_> = (0..steps.len()).filter(|place| taken[*place]).collect();
            if places.is_empty() {
                return Ok(taken);
            }
            let writes = places.iter().map(|place| TransactWriteItem::clone(&steps[*place].0)).collect();
            let sent = self.client.transact_write_items().set_transact_items(Some(writes)).send().await;
            let Err(error) = sent else { return Ok(taken) };
            let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
                error.as_service_error()
            else {
                return Err(self.failed("take steps of jobs together", &error));
            };
            // The others are tried again without those for whose sake nothing was written.
            let is_at_fault = |at: usize| {
                cancelled.cancellation_reasons().get(at).is_some_and(|reason| reason.code() != Some(NO_FAULT))
            };
            let at_fault: Vec<_> = (0..places.len()).filter(|at| is_at_fault(*at)).collect();
            if at_fault.is_empty() {
                return Err(self.failed("take steps of jobs together", &error));
            }
            for at in at_fault {
                taken[places[at]] = false;
            }
        }
    }
}
