//! What the table tells of runs, by whoever looks: a run that was lost is ended when it is met.

use jiff::Timestamp;
use lamplighter_core::{
    claim::{LostRun, TaskState},
    id::RunId,
    name::TaskName,
    run::Run,
};

use super::{Table, TableError};

/// What the table tells of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is over.
    Over(Box<Run>),
    /// It holds its task.
    Held(Box<LostRun>),
    /// It has no record and does not hold its task.
    Nowhere,
}

impl Table {
    /// What the table tells of a run at `now`. One whose lease has run out is lost, and is ended here. One consistent read
    /// if it is over, two if it holds its task.
    pub async fn look(&self, task: &TaskName, run_id: RunId, now: Timestamp) -> Result<Seen, TableError> {
        if let Some(run) = self.run(task, run_id).await? {
            return Ok(Seen::Over(Box::new(run)));
        }
        let state = self.state(task).await?;
        if let Some(lost) = state.lost(now).into_iter().find(|lost| lost.lease.run_id == run_id) {
            return Ok(Seen::Over(Box::new(self.end_lost(task, &lost, now).await?)));
        }
        if let Some(held) = state.held().find(|held| held.lease.run_id == run_id) {
            return Ok(Seen::Held(Box::new(held)));
        }
        // A run writes its record and then lets go, which may have been since the first look.
        let run = self.run(task, run_id).await?;
        Ok(run.map_or(Seen::Nowhere, |run| Seen::Over(Box::new(run))))
    }

    /// A task's state once the runs that were lost by `now` are ended. Nothing is asked if there are none.
    pub async fn settle(
        &self,
        task: &TaskName,
        state: TaskState,
        now: Timestamp,
    ) -> Result<TaskState, TableError> {
        let lost = state.lost(now);
        if lost.is_empty() {
            return Ok(state);
        }
        self.end_all(task, &lost, now).await?;
        self.state(task).await
    }
}
