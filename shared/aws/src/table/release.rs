//! The end of a run: its terminal record, then its hold taken off the task. Each is one conditional write.

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{
        put_item::PutItemError,
        update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    },
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;
use lamplighter_core::{
    claim::{Fence, LostRun, Request},
    id::RunId,
    name::TaskName,
    run::Run,
    status::Status,
};

use super::{
    Table, TableError,
    item::{n, s},
    lease::{HELD, RELEASE, SHARED_HELD, shared},
    schema::{TASK, task_pk},
};

/// What became of a run's record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Recorded {
    /// It was written, now or by an earlier write of the same whose response was lost.
    Written,
    /// The run had a terminal record already, and that stands. It is as [`Table::run`] gives it.
    Before(Box<Run>),
}

impl Table {
    /// Writes the record of a run that is over, then lets go of the task. Two writes.
    ///
    /// A run that was taken for lost can do neither: its record and its hold's end were written by who found it.
    pub async fn finish(&self, run: &Run, fence: Fence) -> Result<Recorded, TableError> {
        let recorded = self.record(run).await?;
        match &recorded {
            Recorded::Written => self.release(run, fence).await?,
            // Who found the run lost may have died before the release.
            Recorded::Before(stands) => self.release(stands, fence).await?,
        }
        Ok(recorded)
    }

    /// Writes the terminal record of a run. One write, after one to the bucket for each value that is large.
    pub async fn record(&self, run: &Run) -> Result<Recorded, TableError> {
        let run = &*self.put_away(run).await?;
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(super::history::to_item(run, self.retention)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match put {
            Ok(_) => Ok(Recorded::Written),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    let stands = self.run_of(refused.item.clone().unwrap_or_default())?;
                    Ok(if stands == *run { Recorded::Written } else { Recorded::Before(Box::new(stands)) })
                }
                _ => Err(self.failed("record", &error)),
            },
        }
    }

    /// Lets go of the task, if the run still has its hold. One write.
    async fn release(&self, run: &Run, fence: Fence) -> Result<(), TableError> {
        // A value that no expression uses is refused, so each way has its own.
        let (streak, by) = match run.status {
            Status::Completed => (":streak", 0),
            _ => ("failure_streak + :streak", 1),
        };
        let set = format!("SET last_run = :last_run, last_status = :status, failure_streak = {streak}");
        let update = self
            .letting_go(&run.task, run.id, fence, &set)
            .expression_attribute_values(":last_run", s(run.id.to_string()))
            .expression_attribute_values(":status", s(run.status.as_str()))
            .expression_attribute_values(":streak", n(by));
        self.released(update.send().await)
    }

    /// The update that takes a run's hold off its task, if it is still there.
    fn letting_go(&self, task: &TaskName, run: RunId, fence: Fence, set: &str) -> UpdateItemFluentBuilder {
        let update =
            self.client.update_item().table_name(&self.name).key("pk", s(task_pk(task))).key("sk", s(TASK));
        match fence {
            Fence::Exclusive { token } => update
                .update_expression(format!("{RELEASE} {set}"))
                .condition_expression(HELD)
                .expression_attribute_names("#trigger", "trigger")
                .expression_attribute_values(":run_id", s(run.to_string()))
                .expression_attribute_values(":epoch", n(token)),
            Fence::Shared => update
                .update_expression(format!("REMOVE #lease {set}"))
                .condition_expression(SHARED_HELD)
                .expression_attribute_names("#lease", shared(run)),
        }
    }

    fn released<T>(&self, released: Result<T, SdkError<UpdateItemError>>) -> Result<(), TableError> {
        match released {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                // Taken over, or let go by an earlier write whose response was lost: nothing is held any more.
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(self.failed("release", &error)),
            },
        }
    }

    /// Lets go of a task that was claimed for a run which is over already, if it still has that hold. What the table says
    /// of the task's last run stays, and what the claim has switched off is switched on again. One write.
    pub async fn give_back(
        &self,
        task: &TaskName,
        request: &Request,
        fence: Fence,
    ) -> Result<(), TableError> {
        let update = if request.runs_once {
            self.letting_go(task, request.run_id, fence, "SET enabled = :true")
                .expression_attribute_values(":true", AttributeValue::Bool(true))
        } else {
            self.letting_go(task, request.run_id, fence, "")
        };
        self.released(update.send().await)
    }

    /// Ends a run that was lost: writes its record and lets go of its task. Its own record stands if it has one.
    pub async fn end_lost(&self, task: &TaskName, lost: &LostRun, now: Timestamp) -> Result<Run, TableError> {
        let run = Run { environment: self.environment.clone(), ..lost.run(task, now) };
        let stands = match self.record(&run).await? {
            Recorded::Written => run,
            Recorded::Before(stands) => *stands,
        };
        self.release(&stands, lost.fence).await?;
        Ok(stands)
    }

    /// Ends runs that were lost, one after the other.
    pub(super) async fn end_all(
        &self,
        task: &TaskName,
        lost: &[LostRun],
        now: Timestamp,
    ) -> Result<(), TableError> {
        for lost in lost {
            self.end_lost(task, lost, now).await?;
        }
        Ok(())
    }
}
