//! The host: which functions there are, and the invocations in progress.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Bytes;
use tokio::{sync::oneshot, task::JoinSet};

use super::{
    api,
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

/// What can be set for a whole host.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The pause before an asynchronous event's first retry; the second is twice as long, and so on.
    pub retry_pause: Duration,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self { retry_pause: Duration::from_secs(1) }
    }
}

/// Runs functions as child processes. Dropping it ends them all, and so does whatever ends this process.
pub struct LambdaHost {
    host: Arc<Host>,
    api: Loopback,
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
        let launcher = Launcher::new(Arc::new(sink)).map_err(LambdaError::Watchdog)?;
        let host = Arc::new(Host {
            options,
            launcher: Arc::new(launcher),
            functions: Mutex::default(),
            invocations: Mutex::new(Some(JoinSet::new())),
        });
        let api = Loopback::serve(api::router(Arc::clone(&host))).await?;
        Ok(Self { host, api })
    }

    /// The endpoint of the Invoke API, `http://127.0.0.1:<port>`.
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
        self.host.invoke(name, Bytes::from(payload.into())).await
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

    /// Takes no more invocations and kills every process. Invocations in progress end with
    /// [`LambdaError::ShutDown`]; who wants them to finish waits for them first.
    pub async fn shutdown(&self) {
        if let Some(mut invocations) = self.host.close() {
            invocations.shutdown().await;
        }
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
}

impl Host {
    /// The function of this name or ARN.
    pub(crate) fn function(&self, reference: &str) -> Result<Arc<Function>, LambdaError> {
        let name = function_name(reference);
        let found = lock(&self.functions).get(name).cloned();
        found.ok_or_else(|| LambdaError::UnknownFunction { name: name.to_owned() })
    }

    pub(crate) async fn invoke(&self, reference: &str, payload: Bytes) -> Result<Invocation, LambdaError> {
        let function = self.function(reference)?;
        let request = request(&function, payload, MAX_PAYLOAD_BYTES)?;
        let (sender, ended) = oneshot::channel();
        // A task of its own: the invocation goes on when its caller goes away.
        self.spawn(async move {
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
        let request = request(&function, payload, MAX_EVENT_BYTES)?;
        let id = request.id.clone();
        self.spawn(deliver(Arc::clone(self), function, request))?;
        Ok(id)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), LambdaError> {
        let mut invocations = lock(&self.invocations);
        let invocations = invocations.as_mut().ok_or(LambdaError::ShutDown)?;
        while invocations.try_join_next().is_some() {}
        invocations.spawn(task);
        Ok(())
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

fn request(function: &Function, payload: Bytes, limit: usize) -> Result<Request, LambdaError> {
    let name = || function.spec.name.clone();
    if payload.len() > limit {
        return Err(LambdaError::PayloadTooLarge { name: name(), actual: payload.len(), limit });
    }
    let payload = if payload.is_empty() { Bytes::from_static(b"{}") } else { payload };
    serde_json::from_slice::<serde::de::IgnoredAny>(&payload)
        .map_err(|source| LambdaError::PayloadNotJson { name: name(), source })?;
    Ok(Request { id: random::request_id().map_err(LambdaError::Random)?, payload })
}
