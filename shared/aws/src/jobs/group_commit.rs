//! Group commit: starts and ends of jobs that wait at the same time are written in one change.
//!
//! On a local engine the cost of a write is making it durable, and many writes can share it. No step waits for others to
//! arrive: while one group is written, the next one gathers. A step that does not qualify is written alone, by
//! [`Table::start_job`] or [`Table::end_job`].

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
};

use crate::table::{GroupCommit, JobStep, MAX_STEPS, StepOutcome, Table, Transport};

/// A handle to the process's writer of grouped steps.
#[derive(Clone, Debug)]
pub(super) struct GroupCommitter(mpsc::UnboundedSender<PendingStep>);

/// A step whose caller waits for its outcome.
struct PendingStep {
    step: JobStep,
    reply: oneshot::Sender<Option<StepOutcome>>,
}

impl GroupCommitter {
    /// Starts the writer of a table. It ends when the last handle is dropped.
    pub(super) fn of(table: Table, engine: Arc<dyn GroupCommit>, transport: Transport) -> Self {
        let (pending, waiting) = mpsc::unbounded_channel();
        tokio::spawn(write(table, engine, transport, waiting));
        Self(pending)
    }

    /// Commits a step with others. `None` if it must be written alone.
    pub(super) async fn take(&self, step: JobStep) -> Option<StepOutcome> {
        let (reply, answer) = oneshot::channel();
        // Without a writer each step is written alone.
        let _ = self.0.send(PendingStep { step, reply });
        answer.await.ok().flatten()
    }
}

async fn write(
    table: Table,
    engine: Arc<dyn GroupCommit>,
    transport: Transport,
    mut waiting: mpsc::UnboundedReceiver<PendingStep>,
) {
    let mut pending = Vec::with_capacity(MAX_STEPS);
    while let Some(first) = waiting.recv().await {
        pending.push(first);
        // Lets callers that are ready add their steps to this group.
        yield_now().await;
        while pending.len() < MAX_STEPS
            && let Ok(next) = waiting.try_recv()
        {
            pending.push(next);
        }
        let (steps, replies): (Vec<_>, Vec<_>) =
            pending.drain(..).map(|PendingStep { step, reply }| (step, reply)).unzip();
        let taken = table.commit_steps(&*engine, steps, transport);
        let taken = taken.unwrap_or_else(|_| vec![None; replies.len()]);
        for (reply, taken) in replies.into_iter().zip(taken) {
            // The caller may be gone.
            let _ = reply.send(taken);
        }
    }
}
