//! The registered functions, their invocations in progress, and the retries of asynchronous events.

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
    clock::Clock,
    event::record,
    function::Function,
    invocation::{Invocation, MAX_EVENT_BYTES, MAX_PAYLOAD_BYTES, Request},
    log::LogLine,
    sandbox::Launcher,
    spec::{FunctionSpec, arn, function_name},
};
use crate::{loopback::ServeError, mutex::lock, random};

/// An error of the host, or of an invocation that did not reach its function.
#[derive(Debug, thiserror::Error)]
pub enum LambdaError {
    /// The endpoint of the Invoke API cannot be opened.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The process that kills the functions of a killed host cannot be started.
    #[error("cannot start the watchdog of the functions' processes with /bin/sh")]
    Watchdog(#[source] std::io::Error),
    /// No function of this name is registered.
    #[error("function not found: {}", arn(name))]
    UnknownFunction {
        /// The requested name.
        name: String,
    },
    /// The payload exceeds Lambda's limit: 6 MB for a synchronous invocation, 1 MB for an asynchronous one.
    #[error("the payload for {name} has {actual} bytes, and the limit is {limit} bytes")]
    PayloadTooLarge {
        /// The function.
        name: String,
        /// The payload's size in bytes.
        actual: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The payload is not JSON.
    #[error("the payload for {name} is not JSON")]
    PayloadNotJson {
        /// The function.
        name: String,
        /// The position and the kind of the mistake.
        source: serde_json::Error,
    },
    /// The host was shut down, before the invocation or during it.
    #[error("the Lambda host is shut down")]
    ShutDown,
    /// The system returned no random bytes for the request id.
    #[error("cannot create a request id")]
    Random(#[source] getrandom::Error),
}

/// Reads the label of an invocation from its payload: a second identifier of its log lines.
pub type Label = fn(&[u8]) -> Option<String>;

/// The options of a host.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The pause before an asynchronous event's first retry. The second pause is twice as long, the third three times.
    pub retry_pause: Duration,
    /// The time after which an idle process is stopped.
    pub idle: Duration,
    /// Reads the labels of invocations from their payloads.
    pub label: Option<Label>,
    /// Receives the record of each event whose retries are exhausted, unless its function has a destination.
    pub failures: Option<mpsc::UnboundedSender<Value>>,
    /// The wall clock of deadlines, the same as that of leases.
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

/// An invocation in progress, including its retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InProgress {
    /// The function.
    pub function: String,
    /// The request id.
    pub request_id: String,
    /// The label, if it has one.
    pub label: Option<String>,
    /// The time at which it was accepted.
    pub since: Timestamp,
}

/// The registered functions and the invocations in progress.
pub(crate) struct Invoker {
    pub(crate) options: HostOptions,
    pub(crate) launcher: Arc<Launcher>,
    functions: Mutex<HashMap<String, Arc<Function>>>,
    /// None once the host is shut down.
    invocations: Mutex<Option<JoinSet<()>>>,
    /// By request id.
    in_progress: watch::Sender<BTreeMap<String, InProgress>>,
    draining: watch::Sender<bool>,
}

/// The entry of an invocation in progress, removed when this is dropped.
struct InProgressEntry {
    invoker: Weak<Invoker>,
    request_id: String,
}

impl Drop for InProgressEntry {
    fn drop(&mut self) {
        if let Some(invoker) = self.invoker.upgrade() {
            invoker.in_progress.send_modify(|all| drop(all.remove(&self.request_id)));
        }
    }
}

impl Invoker {
    /// Creates an invoker without functions.
    pub(crate) fn new(options: HostOptions, launcher: Launcher) -> Self {
        Self {
            options,
            launcher: Arc::new(launcher),
            functions: Mutex::default(),
            invocations: Mutex::new(Some(JoinSet::new())),
            in_progress: watch::Sender::default(),
            draining: watch::Sender::default(),
        }
    }

    /// Adds a function, or replaces the one of that name.
    pub(crate) fn register(&self, spec: FunctionSpec) {
        let name = spec.name.clone();
        let function = Arc::new(Function::new(spec, Arc::clone(&self.launcher)));
        if let Some(replaced) = lock(&self.functions).insert(name, function) {
            replaced.retire();
        }
    }

    /// The function of this name or ARN.
    pub(crate) fn function(&self, reference: &str) -> Result<Arc<Function>, LambdaError> {
        let name = function_name(reference);
        let found = lock(&self.functions).get(name).cloned();
        found.ok_or_else(|| LambdaError::UnknownFunction { name: name.to_owned() })
    }

    /// All functions.
    pub(crate) fn functions(&self) -> Vec<Arc<Function>> {
        lock(&self.functions).values().cloned().collect()
    }

    /// The invocations in progress.
    pub(crate) fn in_progress(&self) -> Vec<InProgress> {
        self.in_progress.borrow().values().cloned().collect()
    }

    /// Takes no more invocations, and returns once those in progress have ended.
    pub(crate) async fn drain(&self) {
        self.draining.send_replace(true);
        // It fails when the host is gone, and then nothing is in progress.
        let _ = self.in_progress.subscribe().wait_for(BTreeMap::is_empty).await;
    }

    /// Ends the intake for good and returns the tasks of the invocations in progress; none the second time.
    pub(crate) fn take_invocations(&self) -> Option<JoinSet<()>> {
        lock(&self.invocations).take()
    }

    /// Returns true once no further invocations are taken.
    fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Returns once no further invocations are taken.
    async fn drains(&self) {
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// Invokes a function and waits for its answer. `by_line` is a label, and the receiver of a streamed answer's lines.
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

    /// Invokes a function asynchronously and returns the request id.
    pub(crate) fn invoke_event(
        self: &Arc<Self>,
        reference: &str,
        payload: Bytes,
    ) -> Result<String, LambdaError> {
        let function = self.function(reference)?;
        let request = self.request(&function, payload, MAX_EVENT_BYTES)?;
        let id = request.id.clone();
        let (name, of) = (function.spec.name.clone(), request.clone());
        self.spawn(&name, &of, Arc::clone(self).deliver(function, request))?;
        Ok(id)
    }

    /// Runs an event until it succeeds or has no retries left, and then sends its record to the destination.
    async fn deliver(self: Arc<Self>, mut function: Arc<Function>, request: Request) {
        let mut attempt = 0;
        let last = loop {
            attempt += 1;
            let invocation = function.run(&request).await;
            if !invocation.failed {
                return;
            }
            if attempt > u32::from(function.spec.max_retries) || self.is_draining() {
                break invocation;
            }
            tokio::select! {
                () = tokio::time::sleep(self.options.retry_pause * attempt) => {}
                () = self.drains() => break invocation,
            }
            // A retry runs the function that is registered by then.
            function = self.function(&function.spec.name).unwrap_or(function);
        };
        let record = || record(&function.spec.name, &request, &last, attempt, &Timestamp::now());
        let Some(destination) = &function.spec.on_failure else {
            if let Some(failures) = &self.options.failures {
                // It fails when the receiver has ended, which needs no records any more.
                let _ = failures.send(record());
            }
            return;
        };
        if let Err(error) = self.invoke_event(destination, record().to_string().into()) {
            let line = format!("cannot deliver the record of the failed event to {destination}: {error}");
            let function = function.spec.name.clone();
            let Request { id, label, .. } = request;
            (self.launcher.sink)(LogLine { function, request_id: Some(id), label, line });
        }
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
        let entry = self.enter(function, of);
        invocations.spawn(async move {
            work.await;
            drop(entry);
        });
        Ok(())
    }

    fn enter(self: &Arc<Self>, function: &str, of: &Request) -> InProgressEntry {
        let Request { id, label, .. } = of.clone();
        let function = function.to_owned();
        let entry = InProgress { function, request_id: id.clone(), label, since: Timestamp::now() };
        self.in_progress.send_modify(|all| drop(all.insert(id.clone(), entry)));
        InProgressEntry { invoker: Arc::downgrade(self), request_id: id }
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
}
