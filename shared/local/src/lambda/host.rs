//! The host: which functions there are, and the invocations in progress.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use axum::body::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use super::{
    api,
    clock::Clock,
    event::deliver,
    function::Function,
    invocation::{Invocation, MAX_EVENT_BYTES, MAX_PAYLOAD_BYTES, Request},
    log::LogLine,
    sandbox::Launcher,
    spec::{FunctionSpec, arn, function_name},
};
use crate::{
    loopback::{Loopback, ServeError},
    mutex::lock,
    random,
};

/// Why the host did not start, or an invocation did not come to its function.
#[derive(Debug, thiserror::Error)]
pub enum LambdaError {
    /// The Invoke API's endpoint could not be opened.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The process that ends the functions of a killed host could not be started.
    #[error("cannot start the watchdog of the functions with /bin/sh")]
    Watchdog(#[source] std::io::Error),
    /// No function of this name is registered.
    #[error("function not found: {}", arn(name))]
    UnknownFunction {
        /// The name asked for.
        name: String,
    },
    /// The payload is larger than Lambda takes: 6 MB for a synchronous invocation, 1 MB for an asynchronous one.
    #[error("the payload of {actual} bytes for {name} is larger than {limit} bytes")]
    PayloadTooLarge {
        /// The function.
        name: String,
        /// The payload's size in bytes.
        actual: usize,
        /// The largest that is taken, in bytes.
        limit: usize,
    },
    /// The payload is not JSON.
    #[error("the payload for {name} is not JSON")]
    PayloadNotJson {
        /// The function.
        name: String,
        /// Where it is not.
        source: serde_json::Error,
    },
    /// The host was shut down, before the invocation or during it.
    #[error("the lambda host is shut down")]
    ShutDown,
    /// The machine gave no random bytes for the request id.
    #[error("cannot make a request id")]
    Random(#[source] getrandom::Error),
}

/// Finds in a payload by what its invocation's lines are known.
pub type Label = fn(&[u8]) -> Option<String>;

/// What can be set for a whole host.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The pause before an asynchronous event's first retry; the second is twice as long, and so on.
    pub retry_pause: Duration,
    /// How long a process may be idle before it is stopped.
    pub idle: Duration,
    /// By what the lines of an invocation are known, beside its request id.
    pub label: Option<Label>,
    /// Is sent the record of each event that failed for good, of functions without a destination of their own.
    pub failures: Option<mpsc::UnboundedSender<Value>>,
    /// The clock by which processes are killed, that leases are written by.
    pub clock: Clock,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            retry_pause: Duration::from_secs(1),
            idle: Duration::from_secs(600),
            label: None,
            failures: None,
            clock: Clock::default(),
        }
    }
}

/// An invocation in progress, of which retries are a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InProgress {
    /// Its function.
    pub function: String,
    /// Its request id.
    pub request_id: String,
    /// Its label, if it has one.
    pub label: Option<String>,
    /// When it came.
    pub since: Timestamp,
}

/// Runs functions as child processes. Dropping it ends them all, and so does whatever ends this process.
pub struct LambdaHost {
    host: Arc<Host>,
    api: Loopback,
    /// Stops what is idle for too long, and ends with the host.
    _tidying: JoinSet<()>,
}

impl LambdaHost {
    /// Starts a host without functions. `sink` is given each line that functions print, in the order of each of
    /// their two outputs; it is called from many tasks and must not block.
    pub async fn start(sink: impl Fn(LogLine) + Send + Sync + 'static) -> Result<Self, LambdaError> {
        Self::start_with(HostOptions::default(), sink).await
    }

    /// [`start`](Self::start) with options.
    pub async fn start_with(
        options: HostOptions,
        sink: impl Fn(LogLine) + Send + Sync + 'static,
    ) -> Result<Self, LambdaError> {
        let launcher = Launcher::new(Arc::new(sink), options.clock.clone()).map_err(LambdaError::Watchdog)?;
        let host = Arc::new(Host {
            options,
            launcher: Arc::new(launcher),
            functions: Mutex::default(),
            invocations: Mutex::new(Some(JoinSet::new())),
            in_progress: watch::Sender::default(),
            draining: watch::Sender::default(),
        });
        let api = Loopback::serve(api::router(Arc::clone(&host))).await?;
        let mut tidying = JoinSet::new();
        tidying.spawn(tidy_for_ever(Arc::clone(&host)));
        Ok(Self { host, api, _tidying: tidying })
    }

    /// The URL of the Invoke API, with its key.
    pub fn endpoint(&self) -> String {
        self.api.endpoint()
    }

    /// Adds the function, or replaces the one of that name: its invocations in progress end as they would have,
    /// its processes are not used again.
    pub fn register(&self, spec: FunctionSpec) {
        let name = spec.name.clone();
        let function = Arc::new(Function::new(spec, Arc::clone(&self.host.launcher)));
        if let Some(replaced) = lock(&self.host.functions).insert(name, function) {
            replaced.retire();
        }
    }

    /// Invokes the function and waits for its answer. A function error is an `Ok` with
    /// [`failed`](Invocation::failed) set. The invocation goes on when this future is dropped. An empty payload
    /// is `{}`. Lines that the function printed may arrive at the sink shortly after its answer; those of a
    /// process that ended arrive before.
    pub async fn invoke(&self, name: &str, payload: impl Into<Vec<u8>>) -> Result<Invocation, LambdaError> {
        self.host.invoke(name, Bytes::from(payload.into()), None).await
    }

    /// [`invoke`](Self::invoke) under a label of its own. If the function streams its answer, each line goes to `lines` as it
    /// comes, whatever becomes of the invocation, and its payload is what comes behind the last one.
    pub async fn invoke_by_line(
        &self,
        name: &str,
        payload: impl Into<Vec<u8>>,
        label: Option<String>,
        lines: mpsc::UnboundedSender<Vec<u8>>,
    ) -> Result<Invocation, LambdaError> {
        self.host.invoke(name, Bytes::from(payload.into()), Some((label, lines))).await
    }

    /// Invokes the function asynchronously, with the retries and the destination of its spec, and returns the
    /// request id, which all attempts have in common.
    pub fn invoke_event(&self, name: &str, payload: impl Into<Vec<u8>>) -> Result<String, LambdaError> {
        self.host.invoke_event(name, Bytes::from(payload.into()))
    }

    /// Kills (SIGKILL) every process of the function, busy or idle, with all that it started, and returns how
    /// many there were. Invocations in progress end with `Runtime.ExitError` at once.
    pub fn kill(&self, name: &str) -> usize {
        self.host.launcher.living.kill(name)
    }

    /// The invocations in progress.
    pub fn in_progress(&self) -> Vec<InProgress> {
        self.host.in_progress.borrow().values().cloned().collect()
    }

    /// Takes no more invocations, tries none again, and returns once those in progress have ended.
    pub async fn drain(&self) {
        self.host.draining.send_replace(true);
        // It fails when the host is gone, and then nothing is in progress.
        let _ = self.host.in_progress.subscribe().wait_for(BTreeMap::is_empty).await;
    }

    /// Asks every process to end (SIGTERM), busy or idle. What one makes of that is its own.
    pub fn terminate(&self) {
        self.host.launcher.living.terminate();
    }

    /// Takes no more invocations, lets idle processes put things in order, and kills every process. Invocations in
    /// progress end with [`LambdaError::ShutDown`]; who wants them to finish waits for [`drain`](Self::drain) first.
    pub async fn shutdown(&self) {
        let invocations = lock(&self.host.invocations).take();
        if let Some(mut invocations) = invocations {
            invocations.shutdown().await;
        }
        let functions: Vec<_> = lock(&self.host.functions).values().cloned().collect();
        let stops = functions.into_iter().map(|function| async move { function.stop().await });
        stops.collect::<JoinSet<()>>().join_all().await;
    }
}

impl Drop for LambdaHost {
    fn drop(&mut self) {
        // With the set its tasks are aborted, and with them their sandboxes.
        drop(self.host.close());
    }
}

pub(crate) struct Host {
    pub(crate) options: HostOptions,
    pub(crate) launcher: Arc<Launcher>,
    functions: Mutex<HashMap<String, Arc<Function>>>,
    /// None once the host is shut down.
    invocations: Mutex<Option<JoinSet<()>>>,
    /// By request id.
    in_progress: watch::Sender<BTreeMap<String, InProgress>>,
    draining: watch::Sender<bool>,
}

/// Stops the processes that are idle for too long, as often as that time passes.
async fn tidy_for_ever(host: Arc<Host>) {
    loop {
        tokio::time::sleep(host.options.idle).await;
        let functions: Vec<_> = lock(&host.functions).values().cloned().collect();
        for function in functions {
            function.tidy(host.options.idle).await;
        }
    }
}

/// The entry of an invocation in progress.
struct Entered {
    host: Weak<Host>,
    request_id: String,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(host) = self.host.upgrade() {
            host.in_progress.send_modify(|all| drop(all.remove(&self.request_id)));
        }
    }
}

impl Host {
    /// The function of this name or ARN.
    pub(crate) fn function(&self, reference: &str) -> Result<Arc<Function>, LambdaError> {
        let name = function_name(reference);
        let found = lock(&self.functions).get(name).cloned();
        found.ok_or_else(|| LambdaError::UnknownFunction { name: name.to_owned() })
    }

    /// Whether nothing is begun any more.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Returns when nothing is begun any more.
    pub(crate) async fn drains(&self) {
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    pub(crate) async fn invoke(
        self: &Arc<Self>,
        reference: &str,
        payload: Bytes,
        by_line: Option<(Option<String>, mpsc::UnboundedSender<Vec<u8>>)>,
    ) -> Result<Invocation, LambdaError> {
        let function = self.function(reference)?;
        let mut request = self.request(&function, payload, MAX_PAYLOAD_BYTES)?;
        if let Some((label, lines)) = by_line {
            request = Request { label, lines: Some(lines), ..request };
        }
        let (sender, ended) = oneshot::channel();
        let name = function.spec.name.clone();
        let of = request.clone();
        // A task of its own: the invocation goes on when its caller goes away.
        self.spawn(&name, &of, async move {
            let _ = sender.send(function.run(&request).await);
        })?;
        ended.await.map_err(|_| LambdaError::ShutDown)
    }

    pub(crate) fn invoke_event(
        self: &Arc<Self>,
        reference: &str,
        payload: Bytes,
    ) -> Result<String, LambdaError> {
        let function = self.function(reference)?;
        let request = self.request(&function, payload, MAX_EVENT_BYTES)?;
        let id = request.id.clone();
        let (name, of) = (function.spec.name.clone(), request.clone());
        self.spawn(&name, &of, deliver(Arc::clone(self), function, request))?;
        Ok(id)
    }

    fn spawn(
        self: &Arc<Self>,
        function: &str,
        of: &Request,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), LambdaError> {
        let mut invocations = lock(&self.invocations);
        let invocations =
            invocations.as_mut().filter(|_| !self.is_draining()).ok_or(LambdaError::ShutDown)?;
        while invocations.try_join_next().is_some() {}
        let entered = self.enter(function, of);
        invocations.spawn(async move {
            work.await;
            drop(entered);
        });
        Ok(())
    }

    fn enter(self: &Arc<Self>, function: &str, of: &Request) -> Entered {
        let Request { id, label, .. } = of.clone();
        let function = function.to_owned();
        let entry = InProgress { function, request_id: id.clone(), label, since: Timestamp::now() };
        self.in_progress.send_modify(|all| drop(all.insert(id.clone(), entry)));
        Entered { host: Arc::downgrade(self), request_id: id }
    }

    fn request(&self, function: &Function, payload: Bytes, limit: usize) -> Result<Request, LambdaError> {
        let name = || function.spec.name.clone();
        if payload.len() > limit {
            return Err(LambdaError::PayloadTooLarge { name: name(), actual: payload.len(), limit });
        }
        let payload = if payload.is_empty() { Bytes::from_static(b"{}") } else { payload };
        serde_json::from_slice::<serde::de::IgnoredAny>(&payload)
            .map_err(|source| LambdaError::PayloadNotJson { name: name(), source })?;
        let label = self.options.label.and_then(|label| label(&payload));
        Ok(Request { id: random::request_id().map_err(LambdaError::Random)?, payload, label, lines: None })
    }

    /// Ends the host and returns the invocations in progress, once.
    fn close(&self) -> Option<JoinSet<()>> {
        let invocations = lock(&self.invocations).take();
        for function in lock(&self.functions).values() {
            function.retire();
        }
        invocations
    }
}
