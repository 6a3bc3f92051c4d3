//! The end of a run: its terminal record, then the release of its task. Each is one conditional write.

use aws_sdk_dynamodb::{
    operation::update_item::builders::UpdateItemFluentBuilder,
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

use crate::table::{
    Table, TableError,
    conditional::Conditional,
    item::{n, s, to_json},
    keys::Key,
    lock::lease::{HELD, RELEASE, SHARED_HELD, shared},
    record::item_of_run,
};

/// The result of recording a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Recorded {
    /// The record is written, by this write or by an earlier one with the same content whose response was lost.
    Written,
    /// The run already has another terminal record, which stays. This is that record, as [`Table::run`] returns it.
    Before(Box<Run>),
}

impl Table {
    /// Writes the record of a run that is over, then releases the task. Two writes.
    ///
    /// If another process has ended the run as lost, its record stays. The task is then released only if the run still
    /// has its lease.
    pub async fn finish(&self, run: &Run, fence: Fence) -> Result<Recorded, TableError> {
        let recorded = self.record(run).await?;
        match &recorded {
            Recorded::Written => self.release(run, fence).await?,
            // The process that found the run lost may have died before the release.
            Recorded::Before(stands) => self.release(stands, fence).await?,
        }
        Ok(recorded)
    }

    /// Writes the terminal record of a run. One write, after one to the bucket for each large value.
    pub async fn record(&self, run: &Run) -> Result<Recorded, TableError> {
        let run = &*self.put_away(run).await?;
        let put = self
            .put(item_of_run(run, self.retention)?)
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match self.conditional("record a run", put)? {
            Conditional::Done(_) => Ok(Recorded::Written),
            Conditional::Refused(item) => {
                let stands = self.run_of(item)?;
                Ok(if stands == *run { Recorded::Written } else { Recorded::Before(Box::new(stands)) })
            }
        }
    }

    /// Releases the task, if the run still has its lease. One write.
    async fn release(&self, run: &Run, fence: Fence) -> Result<(), TableError> {
        // DynamoDB refuses a value that no expression uses, so both expressions use `:streak`.
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
        // A refused update means that the lease is gone: another process has ended the run, or the response to an
        // earlier update was lost.
        self.applied("release a task", update.send().await).map(drop)
    }

    /// The update that removes a run's lease, if it is still there.
    fn letting_go(&self, task: &TaskName, run: RunId, fence: Fence, set: &str) -> UpdateItemFluentBuilder {
        let update = self.update(Key::task(task));
        match fence {
            Fence::Exclusive { token: fencing_token } => update
                .update_expression(format!("{RELEASE} {set}"))
                .condition_expression(HELD)
                .expression_attribute_names("#trigger", "trigger")
                .expression_attribute_values(":run_id", s(run.to_string()))
                .expression_attribute_values(":epoch", n(fencing_token)),
            Fence::Shared => update
                .update_expression(format!("REMOVE #lease {set}"))
                .condition_expression(SHARED_HELD)
                .expression_attribute_names("#lease", shared(run)),
        }
    }

    /// Releases a task that was claimed for a run that is already over. The task's last run stays the same. If the
    /// claim has disabled the task, it is enabled again. One write.
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
        // A refused update means that the lease is gone, as in `release`.
        self.applied("release a task", update.send().await).map(drop)
    }

    /// Ends a lost run: writes its record and releases its task. If the run already has a record, that one stays.
    /// Returns the stored record.
    pub async fn end_lost(&self, task: &TaskName, lost: &LostRun, now: Timestamp) -> Result<Run, TableError> {
        self.end_held(lost.run(task, now), lost.fence).await
    }

    /// Ends a run that holds its task and cannot record its own end: writes `run` as its record, with the environment
    /// of the claim, and releases the task. If the run already has a record, that one stays. Returns the stored record.
    pub async fn end_held(&self, run: Run, fence: Fence) -> Result<Run, TableError> {
        let environment = self.environment_of(&run, fence).await?;
        let run = Run { environment, ..run };
        let stands = match self.record(&run).await? {
            Recorded::Written => run,
            Recorded::Before(stands) => *stands,
        };
        self.release(&stands, fence).await?;
        Ok(stands)
    }

    /// Returns the environment of a run that holds its task. If this process has no environment, the claim's is read.
    async fn environment_of(&self, run: &Run, fence: Fence) -> Result<String, TableError> {
        if !self.environment.is_empty() {
            return Ok(self.environment.clone());
        }
        let item = self.get(Key::task(&run.task), "read a task").await?.map(to_json).unwrap_or_default();
        let lease = match fence {
            Fence::Shared => &item[shared(run.id)],
            Fence::Exclusive { .. } => &item,
        };
        Ok(lease["environment"].as_str().unwrap_or_default().to_owned())
    }

    /// Ends runs that were lost, one after the other.
    pub(crate) async fn end_all(
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
