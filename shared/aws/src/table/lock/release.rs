//! The end of a run: its terminal record, then its hold taken off the task. Each is one conditional write.

use aws_sdk_dynamodb::{
    operation::update_item::builders::UpdateItemFluentBuilder,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;
use lamplighter_core::{
    claim::{Hold, Lost, Request},
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
    pub async fn finish(&self, run: &Run, hold: Hold) -> Result<Recorded, TableError> {
        let recorded = self.record(run).await?;
        match &recorded {
            Recorded::Written => self.release(run, hold).await?,
            // Who found the run lost may have died before the release.
            Recorded::Before(stands) => self.release(stands, hold).await?,
        }
        Ok(recorded)
    }

    /// Writes the terminal record of a run. One write, after one to the bucket for each value that is large.
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

    /// Lets go of the task, if the run still has its hold. One write.
    async fn release(&self, run: &Run, hold: Hold) -> Result<(), TableError> {
        // A value that no expression uses is refused, so each way has its own.
        let (streak, by) = match run.status {
            Status::Completed => (":streak", 0),
            _ => ("failure_streak + :streak", 1),
        };
        let set = format!("SET last_run = :last_run, last_status = :status, failure_streak = {streak}");
        let update = self
            .letting_go(&run.task, run.id, hold, &set)
            .expression_attribute_values(":last_run", s(run.id.to_string()))
            .expression_attribute_values(":status", s(run.status.as_str()))
            .expression_attribute_values(":streak", n(by));
        // StepOutcome over, or let go by an earlier write whose response was lost: nothing is held any more.
        self.applied("release a task", update.send().await).map(drop)
    }

    /// The update that takes a run's hold off its task, if it is still there.
    fn letting_go(&self, task: &TaskName, run: RunId, hold: Hold, set: &str) -> UpdateItemFluentBuilder {
        let update = self.update(Key::task(task));
        match hold {
            Hold::GroupCommit { epoch } => update
                .update_expression(format!("{RELEASE} {set}"))
                .condition_expression(HELD)
                .expression_attribute_names("#trigger", "trigger")
                .expression_attribute_values(":run_id", s(run.to_string()))
                .expression_attribute_values(":epoch", n(epoch)),
            Hold::Shared => update
                .update_expression(format!("REMOVE #lease {set}"))
                .condition_expression(SHARED_HELD)
                .expression_attribute_names("#lease", shared(run)),
        }
    }

    /// Lets go of a task that was claimed for a run which is over already, if it still has that hold. What the table says
    /// of the task's last run stays, and what the claim has switched off is switched on again. One write.
    pub async fn give_back(&self, task: &TaskName, request: &Request, hold: Hold) -> Result<(), TableError> {
        let update = if request.runs_once {
            self.letting_go(task, request.run_id, hold, "SET enabled = :true")
                .expression_attribute_values(":true", AttributeValue::Bool(true))
        } else {
            self.letting_go(task, request.run_id, hold, "")
        };
        // StepOutcome over, or let go by an earlier write whose response was lost: nothing is held any more.
        self.applied("release a task", update.send().await).map(drop)
    }

    /// Ends a run that was lost: writes its record and releases its task. Its own record stands if it has one. Returns the record
    /// that the run has then.
    pub async fn end_lost(&self, task: &TaskName, lost: &Lost, now: Timestamp) -> Result<Run, TableError> {
        self.end_held(lost.run(task, now), lost.hold).await
    }

    /// Ends a run that holds its task and cannot record its end: writes `run` as its record, with the environment that it was
    /// claimed in, and releases the task. Its own record stands if it has one. Returns the record that the run has then.
    pub async fn end_held(&self, run: Run, hold: Hold) -> Result<Run, TableError> {
        let environment = self.environment_of(&run, hold).await?;
        let run = Run { environment, ..run };
        let stands = match self.record(&run).await? {
            Recorded::Written => run,
            Recorded::Before(stands) => *stands,
        };
        self.release(&stands, hold).await?;
        Ok(stands)
    }

    /// The environment of a run that holds its task: this process's, or, if it has none, the one that the claim stored.
    async fn environment_of(&self, run: &Run, hold: Hold) -> Result<String, TableError> {
        if !self.environment.is_empty() {
            return Ok(self.environment.clone());
        }
        let item = self.get(Key::task(&run.task), "read a task").await?.map(to_json).unwrap_or_default();
        let lease = match hold {
            Hold::Shared => &item[shared(run.id)],
            Hold::GroupCommit { .. } => &item,
        };
        Ok(lease["environment"].as_str().unwrap_or_default().to_owned())
    }

    /// Ends runs that were lost, one after the other.
    pub(crate) async fn end_all(
        &self,
        task: &TaskName,
        lost: &[Lost],
        now: Timestamp,
    ) -> Result<(), TableError> {
        for lost in lost {
            self.end_lost(task, lost, now).await?;
        }
        Ok(())
    }
}
