//! Starts and ends of jobs that wait are written down together.
//!
//! On an engine of one's own a write costs most for being made durable, and many that share that cost little more than one.
//! Nobody is waited for: while some steps are written others gather, and go together next. A step that is alone, or that is not
//! one of the usual kind, goes its usual way, [`Table::start_job`] or [`Table::end_job`], and has its turn for that.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::table::{Exclusive, Lane, MOST, Step, Table, Taken};

/// How long the others wait for one that goes its usual way.
const TURN: Duration = Duration::from_millis(20);

/// Whoever writes steps down together.
#[derive(Clone, Debug)]
pub(super) struct Together(mpsc::UnboundedSender<Wish>);

/// The right to go the usual way, while it is kept: others may gather meanwhile.
#[derive(Default)]
#[must_use]
pub(super) struct Turn {
    _over: Option<oneshot::Sender<()>>,
}

/// A step that somebody waits for.
struct Wish {
    step: Step,
    reply: oneshot::Sender<Result<Taken, Turn>>,
}

impl Together {
    /// Somebody who writes steps down in this table, for as long as somebody has it.
    pub(super) fn of(table: Table, engine: Arc<dyn Exclusive>, lane: Lane) -> Self {
        let (wishes, waiting) = mpsc::unbounded_channel();
        tokio::spawn(write(table, engine, lane, waiting));
        Self(wishes)
    }

    /// Takes a step with others, or is told to go alone.
    pub(super) async fn take(&self, step: Step) -> Result<Taken, Turn> {
        let (reply, answer) = oneshot::channel();
        // Where nobody writes any more everybody goes alone.
        let _ = self.0.send(Wish { step, reply });
        answer.await.unwrap_or(Err(Turn::default()))
    }
}

async fn write(
    table: Table,
    engine: Arc<dyn Exclusive>,
    lane: Lane,
    mut waiting: mpsc::UnboundedReceiver<Wish>,
) {
    let mut wishes = Vec::with_capacity(MOST);
    while waiting.recv_many(&mut wishes, MOST).await > 0 {
        if wishes.len() > 1 {
            let (steps, replies): (Vec<_>, Vec<_>) =
                wishes.drain(..).map(|Wish { step, reply }| (step, reply)).unzip();
            let taken = table.take_together(&*engine, steps, lane);
            let taken = taken.unwrap_or_else(|_| vec![None; replies.len()]);
            for (reply, taken) in replies.into_iter().zip(taken) {
                // Whoever asked may be gone.
                drop(reply.send(taken.ok_or_else(Turn::default)));
            }
        } else if let Some(Wish { reply, .. }) = wishes.pop() {
            let (over, done) = oneshot::channel();
            drop(reply.send(Err(Turn { _over: Some(over) })));
            // It ends with the turn, which nothing is sent through.
            let _ = timeout(TURN, done).await;
        }
    }
}
