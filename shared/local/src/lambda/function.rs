//! A registered function: its idle sandboxes, and one invocation from start to end.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    sync::{OnceCell, Semaphore},
    task::JoinSet,
};

use super::{
    code::code_sha256,
    invocation::{Invocation, InvocationEnd, Request, conclude, not_started},
    sandbox::{Launcher, Sandbox},
    spec::FunctionSpec,
};
use crate::mutex::lock;

/// A registered function.
pub(crate) struct Function {
    pub(crate) spec: FunctionSpec,
    launcher: Arc<Launcher>,
    /// None once the function is retired: its sandboxes are not reused then.
    idle: Mutex<Option<Vec<Idle>>>,
    code_sha256: OnceCell<String>,
    turns: Semaphore,
}

/// An idle sandbox.
struct Idle {
    sandbox: Sandbox,
    since: Instant,
}

impl Function {
    /// A function without sandboxes.
    pub(crate) fn new(spec: FunctionSpec, launcher: Arc<Launcher>) -> Self {
        let turns = Semaphore::new(spec.concurrency.unwrap_or(Semaphore::MAX_PERMITS).max(1));
        Self { spec, launcher, idle: Mutex::new(Some(Vec::new())), code_sha256: OnceCell::new(), turns }
    }

    /// Runs one invocation in an idle sandbox, or in a new one, as soon as the function's concurrency allows.
    pub(crate) async fn run(&self, request: &Request) -> Invocation {
        // The semaphore is never closed, so this cannot fail.
        let _turn = self.turns.acquire().await;
        // After the machine was suspended, this run may take over an expired lease. The process of that lease is killed first.
        self.launcher.processes.end_overdue(&self.launcher.clock).await;
        // If a process ended before it took the event, another process gets the event.
        while let Some(warm) = self.take_idle() {
            match self.run_in(warm, request).await {
                InvocationEnd::NeverTook { .. } => {}
                end => return conclude(&request.id, end),
            }
        }
        match self.launcher.launch(&self.spec).await {
            Ok(cold) => conclude(&request.id, self.run_in(cold, request).await),
            Err(error) => not_started(&request.id, error),
        }
    }

    async fn run_in(&self, mut sandbox: Sandbox, request: &Request) -> InvocationEnd {
        let end = sandbox.invoke(request.clone(), self.spec.timeout).await;
        if matches!(end, InvocationEnd::Answered(_)) {
            self.keep(sandbox);
        }
        end
    }

    fn take_idle(&self) -> Option<Sandbox> {
        let mut idle = lock(&self.idle);
        let idle = idle.as_mut()?;
        idle.retain_mut(|it| !it.sandbox.has_ended());
        idle.pop().map(|it| it.sandbox)
    }

    fn keep(&self, sandbox: Sandbox) {
        if let Some(idle) = lock(&self.idle).as_mut() {
            idle.push(Idle { sandbox, since: Instant::now() });
        }
    }

    /// Stops the sandboxes that have been idle for at least `limit`.
    pub(crate) async fn tidy(&self, limit: Duration) {
        let old = match lock(&self.idle).as_mut() {
            Some(idle) => idle.extract_if(.., |it| it.since.elapsed() >= limit).collect(),
            None => Vec::new(),
        };
        stop_all(old).await;
    }

    /// Kills the idle sandboxes, and each busy one once it is idle.
    pub(crate) fn retire(&self) {
        lock(&self.idle).take();
    }

    /// Stops the idle sandboxes, which may clean up first, and kills each busy one once it is idle.
    pub(crate) async fn stop(&self) {
        let idle = lock(&self.idle).take();
        stop_all(idle.unwrap_or_default()).await;
    }

    /// The hash of the function's code, computed once: the code of a registration does not change.
    pub(crate) async fn code_sha256(&self) -> std::io::Result<&str> {
        let compute = || async {
            let spec = self.spec.clone();
            tokio::task::spawn_blocking(move || code_sha256(&spec)).await.map_err(std::io::Error::other)?
        };
        self.code_sha256.get_or_try_init(compute).await.map(String::as_str)
    }
}

async fn stop_all(idle: Vec<Idle>) {
    let stops = idle.into_iter().map(|it| it.sandbox.stop());
    stops.collect::<JoinSet<()>>().join_all().await;
}
