//! The state of single runs. A run that was lost is ended by the process that finds it.

use jiff::Timestamp;
use lamplighter_core::{
    backoff::Backoff,
    claim::{LostRun, TaskState},
    id::RunId,
    name::TaskName,
    run::Run,
};

use crate::table::{Table, TableError};

/// The state of a run in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The run is over.
    Over(Box<Run>),
    /// The run holds its task.
    Held(Box<LostRun>),
    /// The run has no record and does not hold its task.
    Nowhere,
}

impl Table {
    /// Reads the state of a run at `now`. A run whose lease has ended is lost, and is ended here. One consistent read if the run
    /// is over, two if it holds its task.
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
        // The run may have written its record and released its task after the first read.
        let run = self.run(task, run_id).await?;
        Ok(run.map_or(Seen::Nowhere, |run| Seen::Over(Box::new(run))))
    }

    /// Follows a run until it is over. Looks at it after each pause.
    pub async fn follow_run(
        &self,
        task: &TaskName,
        run_id: RunId,
        mut backoff: Backoff,
    ) -> Result<Run, TableError> {
        loop {
            tokio::time::sleep(backoff.pause()).await;
            if let Seen::Over(run) = self.look(task, run_id, Timestamp::now()).await? {
                return Ok(*run);
            }
        }
    }

    /// Ends the runs of a task that are lost at `now`, and returns the task's state after that. No request if there are none.
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
