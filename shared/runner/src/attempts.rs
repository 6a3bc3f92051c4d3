//! Attempts at jobs that this runner has started, made by the processes of their functions.
//!
//! Short attempts share an invocation: all waiting ones, up to the limit of [`Pace`]. If a process gives attempts back,
//! or dies with several left, each of these gets an invocation of its own.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lamplighter_core::job::{
    AttemptOutcome, Job,
    attempts::{self, AttemptReport, Pace, StartedJob},
};
use lamplighter_local::LambdaHost;
use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
};

/// The result of an attempt, or the reason why it is unknown.
type AttemptResult = Result<AttemptOutcome, String>;

/// Invokes functions for attempts.
pub struct Attempts {
    host: Arc<LambdaHost>,
    functions: Mutex<BTreeMap<String, Waiting>>,
}

/// The attempts that wait for an invocation of one function.
#[derive(Default)]
struct Waiting {
    jobs: VecDeque<QueuedAttempt>,
    pace: Pace,
}

/// An attempt, and the receiver of its result.
struct QueuedAttempt {
    job: StartedJob,
    reply: oneshot::Sender<AttemptResult>,
}

impl Attempts {
    /// Attempts by the functions of this host.
    pub fn by(host: Arc<LambdaHost>) -> Arc<Self> {
        Arc::new(Self { host, functions: Mutex::default() })
    }

    /// Has a function make an attempt at a job, and waits for the result.
    pub async fn make(self: &Arc<Self>, function: &str, job: &Job) -> AttemptResult {
        let (reply, result) = oneshot::channel();
        self.at(function, |waiting| waiting.jobs.push_back(QueuedAttempt { job: job.into(), reply }));
        self.invoke_soon(function);
        result.await.unwrap_or_else(|_| Err("the runner stopped before the attempt was over".to_owned()))
    }

    /// Invokes the function for the queued attempts, once the other ready tasks had a chance to queue theirs. Does
    /// nothing if another invocation has taken all of them.
    fn invoke_soon(self: &Arc<Self>, function: &str) {
        let (attempts, function) = (Arc::clone(self), function.to_owned());
        tokio::spawn(async move {
            yield_now().await;
            let wanted: VecDeque<_> = attempts.at(&function, |waiting| {
                let together = waiting.pace.together().min(waiting.jobs.len());
                waiting.jobs.drain(..together).collect()
            });
            if !wanted.is_empty() {
                attempts.invoke(&function, wanted).await;
            }
        });
    }

    /// Has one process make these attempts.
    async fn invoke(self: &Arc<Self>, function: &str, mut wanted: VecDeque<QueuedAttempt>) {
        let jobs: Vec<_> = wanted.iter().map(|wanted| wanted.job.clone()).collect();
        // The lines of several attempts cannot be told apart.
        let label = if let [job] = &jobs[..] { Some(job.run_id.to_string()) } else { None };
        let payload = serde_json::to_vec(&attempts::Attempts { jobs }).unwrap_or_default();
        let (lines, mut received) = mpsc::unbounded_channel::<Vec<u8>>();
        let receiving = async {
            while let Some(line) = received.recv().await {
                if let Ok(answer) = serde_json::from_slice(&line) {
                    self.receive(function, &mut wanted, answer);
                }
            }
        };
        let ((), invoked) =
            tokio::join!(receiving, self.host.invoke_by_line(function, payload, label, lines));
        let why = match invoked {
            Ok(it) if !it.failed => match serde_json::from_slice::<Vec<AttemptReport>>(&it.payload) {
                Ok(answers) => {
                    for answer in answers {
                        self.receive(function, &mut wanted, answer);
                    }
                    "its function answered fewer attempts than it was sent".to_owned()
                }
                Err(error) => format!("its function returned an invalid answer: {error}"),
            },
            Ok(it) => String::from_utf8_lossy(&it.payload).into_owned(),
            Err(error) => error.to_string(),
        };
        if wanted.is_empty() {
            return;
        }
        self.at(function, |waiting| waiting.pace = waiting.pace.lost());
        match wanted.pop_front() {
            Some(QueuedAttempt { reply, .. }) if wanted.is_empty() => drop(reply.send(Err(why))),
            // Each of these attempts may have crashed the process, so each is made again alone.
            first => self.again(function, first.into_iter().chain(wanted)),
        }
    }

    /// Handles one report of a process: the result of its next attempt, or the attempts that it gives back.
    fn receive(
        self: &Arc<Self>,
        function: &str,
        wanted: &mut VecDeque<QueuedAttempt>,
        answer: AttemptReport,
    ) {
        match answer {
            AttemptReport::Attempted { tried, took_us } => {
                let took = Duration::from_micros(took_us);
                self.at(function, |waiting| waiting.pace = waiting.pace.after(took));
                if let Some(QueuedAttempt { reply, .. }) = wanted.pop_front() {
                    let _ = reply.send(Ok(*tried));
                }
            }
            AttemptReport::GivenBack { from } => {
                let first = wanted.iter().position(|wanted| wanted.job.run_id == from);
                self.again(function, wanted.drain(first.unwrap_or(wanted.len())..));
            }
        }
    }

    /// Invokes the function again for attempts without a result, once for each.
    fn again(self: &Arc<Self>, function: &str, wanted: impl Iterator<Item = QueuedAttempt>) {
        for wanted in wanted {
            let (attempts, function) = (Arc::clone(self), function.to_owned());
            tokio::spawn(async move { Box::pin(attempts.invoke(&function, [wanted].into())).await });
        }
    }

    fn at<R>(&self, function: &str, change: impl FnOnce(&mut Waiting) -> R) -> R {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = functions.get_mut(function) {
            return change(waiting);
        }
        change(functions.entry(function.to_owned()).or_default())
    }
}
