//! Starts and ends of jobs that wait are written down together.
//!
//! On an engine of one's own a write costs most for being made durable, and many that share that cost little more than one.
//! Nobody is waited for: while some steps are written others gather, and go together next. A step that is alone, or that is not
//! one of the usual kind, goes its usual way, [`Table::start_job`] or [`Table::end_job`], and has its turn for that.

use std::{collections::HashMap, time::Duration};

use lamplighter_core::{
    id::RunId,
    job::{Job, JobKey, Start, StartRequest, start},
    status::Status,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::table::{Lane, MOST, Step, Table};

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
enum Wish {
    Start { key: JobKey, request: StartRequest, reply: oneshot::Sender<Result<Job, Turn>> },
    End { step: Step, reply: oneshot::Sender<Result<(), Turn>> },
}

/// Where the answer to a step goes.
enum Reply {
    /// The job as it is when it has started.
    Started(Box<Job>, oneshot::Sender<Result<Job, Turn>>),
    Ended(oneshot::Sender<Result<(), Turn>>),
}

impl Together {
    /// Somebody who writes steps down in this table, for as long as somebody has it.
    pub(super) fn of(table: Table, lane: Lane) -> Self {
        let (wishes, waiting) = mpsc::unbounded_channel();
        tokio::spawn(write(table, lane, waiting));
        Self(wishes)
    }

    /// Starts a job with others.
    pub(super) async fn start(&self, key: &JobKey, request: StartRequest) -> Result<Job, Turn> {
        self.ask(|reply| Wish::Start { key: key.clone(), request, reply }).await
    }

    /// Ends a job with others.
    pub(super) async fn end(&self, step: Step) -> Result<(), Turn> {
        self.ask(|reply| Wish::End { step, reply }).await
    }

    async fn ask<T>(&self, wish: impl FnOnce(oneshot::Sender<Result<T, Turn>>) -> Wish) -> Result<T, Turn> {
        let (reply, answer) = oneshot::channel();
        // Where nobody writes any more everybody goes alone.
        let _ = self.0.send(wish(reply));
        answer.await.unwrap_or(Err(Turn::default()))
    }
}

impl Wish {
    /// Lets it go its usual way.
    fn alone(self, turn: Turn) {
        match self {
            Self::Start { reply, .. } => drop(reply.send(Err(turn))),
            Self::End { reply, .. } => drop(reply.send(Err(turn))),
        }
    }
}

impl Reply {
    /// Says what became of the step. Whoever asked may be gone.
    fn send(self, taken: bool) {
        match self {
            Self::Started(job, reply) => {
                drop(reply.send(if taken { Ok(*job) } else { Err(Turn::default()) }));
            }
            Self::Ended(reply) => drop(reply.send(if taken { Ok(()) } else { Err(Turn::default()) })),
        }
    }
}

async fn write(table: Table, lane: Lane, mut waiting: mpsc::UnboundedReceiver<Wish>) {
    let mut wishes = Vec::with_capacity(MOST);
    while waiting.recv_many(&mut wishes, MOST).await > 0 {
        if wishes.len() > 1 {
            grant(&table, lane, std::mem::take(&mut wishes)).await;
        } else if let Some(wish) = wishes.pop() {
            let (over, done) = oneshot::channel();
            wish.alone(Turn { _over: Some(over) });
            // It ends with the turn, which nothing is sent through.
            let _ = timeout(TURN, done).await;
        }
    }
}

async fn grant(table: &Table, lane: Lane, wishes: Vec<Wish>) {
    let starting = wishes.iter().filter_map(|wish| match wish {
        Wish::Start { key, .. } => Some(key.clone()),
        Wish::End { .. } => None,
    });
    let mut open = read(table, starting.collect()).await;
    let (mut steps, mut replies) = (Vec::with_capacity(wishes.len()), Vec::with_capacity(wishes.len()));
    for wish in wishes {
        match wish {
            Wish::End { step, reply } => {
                steps.push(step);
                replies.push(Reply::Ended(reply));
            }
            Wish::Start { key, request, reply } => {
                let job = open.remove(&key.run_id).filter(|job| is_usual(job, &request));
                let step = job.as_ref().and_then(|job| table.start_step(job, &request, lane).ok());
                match job.zip(step) {
                    Some((job, step)) => {
                        steps.push(step);
                        replies.push(Reply::Started(Box::new(job.started(&request)), reply));
                    }
                    None => drop(reply.send(Err(Turn::default()))),
                }
            }
        }
    }
    // What was written by a transaction that failed all the same, each finds in the record.
    let taken = table.take_together(&steps).await.unwrap_or_else(|_| vec![false; steps.len()]);
    for (reply, taken) in replies.into_iter().zip(taken) {
        reply.send(taken);
    }
}

/// The jobs that are not over. Whoever misses one looks for it alone.
async fn read(table: &Table, keys: Vec<JobKey>) -> HashMap<RunId, Job> {
    if keys.is_empty() {
        return HashMap::new();
    }
    let (jobs, _) = table.open_jobs(&keys).await.unwrap_or_default();
    jobs.into_iter().map(|job| (job.id, job)).collect()
}

/// Whether a job only has to be started.
fn is_usual(job: &Job, request: &StartRequest) -> bool {
    job.status == Status::Pending
        && job.limit.is_none()
        && matches!(start(job, request), Start::Granted { lost: None, .. })
}
