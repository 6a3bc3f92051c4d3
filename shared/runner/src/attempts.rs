//! Attempts at jobs that this runner has started, made by the processes of their functions.
//!
//! Short ones share an invocation: as many as wait, at most as many as [`Pace`] says. What one process gives back, and what it
//! was sent with others when it died, each goes to a process by itself.

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

/// What came of an attempt, or why nobody can say.
type Made = Result<AttemptOutcome, String>;

/// What has attempts made.
pub struct Attempts {
    host: Arc<LambdaHost>,
    functions: Mutex<BTreeMap<String, Waiting>>,
}

/// What waits for the processes of one function.
#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Wanted>,
    pace: Pace,
}

/// An attempt that somebody waits for.
struct Wanted {
    job: StartedJob,
    reply: oneshot::Sender<Made>,
}

impl Attempts {
    /// Attempts made by that host's functions.
    pub fn by(host: Arc<LambdaHost>) -> Arc<Self> {
        Arc::new(Self { host, functions: Mutex::default() })
    }

    /// Has a function make an attempt at a job.
    pub async fn make(self: &Arc<Self>, function: &str, job: &Job) -> Made {
        let (reply, made) = oneshot::channel();
        self.at(function, |waiting| waiting.jobs.push_back(Wanted { job: job.into(), reply }));
        self.invoke_soon(function);
        made.await.unwrap_or_else(|_| Err("the runner gave it up".to_owned()))
    }

    /// Invokes the function once whoever was started together has come, unless somebody else has taken what waits by then.
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

    /// Has one process make some attempts.
    async fn invoke(self: &Arc<Self>, function: &str, mut wanted: VecDeque<Wanted>) {
        let jobs: Vec<_> = wanted.iter().map(|wanted| wanted.job.clone()).collect();
        // What several print in turn is nobody's.
        let label = if let [job] = &jobs[..] { Some(job.run_id.to_string()) } else { None };
        let payload = serde_json::to_vec(&attempts::Attempts { jobs }).unwrap_or_default();
        let (lines, mut heard) = mpsc::unbounded_channel::<Vec<u8>>();
        let hearing = async {
            while let Some(line) = heard.recv().await {
                if let Ok(told) = serde_json::from_slice(&line) {
                    self.hear(function, &mut wanted, told);
                }
            }
        };
        let ((), invoked) = tokio::join!(hearing, self.host.invoke_by_line(function, payload, label, lines));
        let why = match invoked {
            Ok(it) if !it.failed => match serde_json::from_slice::<Vec<AttemptReport>>(&it.payload) {
                Ok(told) => {
                    for told in told {
                        self.hear(function, &mut wanted, told);
                    }
                    "its function answered something else".to_owned()
                }
                Err(error) => format!("its function answered something else: {error}"),
            },
            Ok(it) => String::from_utf8_lossy(&it.payload).into_owned(),
            Err(error) => error.to_string(),
        };
        if wanted.is_empty() {
            return;
        }
        self.at(function, |waiting| waiting.pace = waiting.pace.lost());
        match wanted.pop_front() {
            Some(Wanted { reply, .. }) if wanted.is_empty() => drop(reply.send(Err(why))),
            // Any of them may have been the one.
            first => self.again(function, first.into_iter().chain(wanted)),
        }
    }

    /// Passes on what a process tells of the next of its jobs.
    fn hear(self: &Arc<Self>, function: &str, wanted: &mut VecDeque<Wanted>, told: AttemptReport) {
        match told {
            AttemptReport::Attempted { tried, took_us } => {
                let took = Duration::from_micros(took_us);
                self.at(function, |waiting| waiting.pace = waiting.pace.after(took));
                if let Some(Wanted { reply, .. }) = wanted.pop_front() {
                    let _ = reply.send(Ok(*tried));
                }
            }
            AttemptReport::GivenBack { from } => {
                let first = wanted.iter().position(|wanted| wanted.job.run_id == from);
                self.again(function, wanted.drain(first.unwrap_or(wanted.len())..));
            }
        }
    }

    /// Has others make attempts that were not begun, each by itself.
    fn again(self: &Arc<Self>, function: &str, wanted: impl Iterator<Item = Wanted>) {
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
