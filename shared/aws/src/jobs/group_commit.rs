//! Starts and ends of jobs that wait are written down together.
//!
//! On an engine of one's own a write costs most for being made durable, and many that share that cost little more than one.
//! Nobody is waited for: while some steps are written others gather, and go together next. A step that is not one of the usual
//! kind goes its usual way, [`Table::start_job`] or [`Table::end_job`].

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
};

use crate::table::{GroupCommit, MOST, Step, Table, Taken, Transport};

/// Whoever writes steps down together.
#[derive(Clone, Debug)]
pub(super) struct Together(mpsc::UnboundedSender<Wish>);

/// A step that somebody waits for.
struct Wish {
    step: Step,
    reply: oneshot::Sender<Option<Taken>>,
}

impl Together {
    /// Somebody who writes steps down in this table, for as long as somebody has it.
    pub(super) fn of(table: Table, engine: Arc<dyn GroupCommit>, lane: Transport) -> Self {
        let (wishes, waiting) = mpsc::unbounded_channel();
        tokio::spawn(write(table, engine, lane, waiting));
        Self(wishes)
    }

    /// Takes a step with others. Nothing if it was not taken, and is to be looked at alone.
    pub(super) async fn take(&self, step: Step) -> Option<Taken> {
        let (reply, answer) = oneshot::channel();
        // Where nobody writes any more everybody goes alone.
        let _ = self.0.send(Wish { step, reply });
        answer.await.ok().flatten()
    }
}

async fn write(
    table: Table,
    engine: Arc<dyn GroupCommit>,
    lane: Transport,
    mut waiting: mpsc::UnboundedReceiver<Wish>,
) {
    let mut wishes = Vec::with_capacity(MOST);
    while let Some(first) = waiting.recv().await {
        wishes.push(first);
        // Whoever was about to ask does so before the first one's turn.
        yield_now().await;
        while wishes.len() < MOST
            && let Ok(next) = waiting.try_recv()
        {
            wishes.push(next);
        }
        let (steps, replies): (Vec<_>, Vec<_>) =
            wishes.drain(..).map(|Wish { step, reply }| (step, reply)).unzip();
        let taken = table.take_together(&*engine, steps, lane);
        let taken = taken.unwrap_or_else(|_| vec![None; replies.len()]);
        for (reply, taken) in replies.into_iter().zip(taken) {
            // Whoever asked may be gone.
            let _ = reply.send(taken);
        }
    }
}
