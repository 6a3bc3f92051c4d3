//! The Lambda host: functions as child processes, called in process or over the Invoke API.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    api,
    invocation::Invocation,
    invoker::{HostOptions, InProgress, Invoker, LambdaError},
    log::LogLine,
    processes::gone,
    sandbox::Launcher,
    spec::FunctionSpec,
};
use crate::loopback::Loopback;

/// Runs functions as child processes. All of them end when it is dropped, or when this process ends for any reason.
pub struct LambdaHost {
    invoker: Arc<Invoker>,
    api: Loopback,
    /// Stops processes that are idle for too long, and ends with the host.
    _tidying: JoinSet<()>,
}

impl LambdaHost {
    /// Starts a host without functions. `sink` receives each line that functions print, in the order of each of their two
    /// outputs. It is called from many tasks and must not block.
    pub async fn start(sink: impl Fn(LogLine) + Send + Sync + 'static) -> Result<Self, LambdaError> {
        Self::start_with(HostOptions::default(), sink).await
    }

    /// [`start`](Self::start) with options.
    pub async fn start_with(
        options: HostOptions,
        sink: impl Fn(LogLine) + Send + Sync + 'static,
    ) -> Result<Self, LambdaError> {
        let launcher = Launcher::new(Arc::new(sink), options.clock.clone()).map_err(LambdaError::Watchdog)?;
        let invoker = Arc::new(Invoker::new(options, launcher));
        let api = Loopback::serve(api::router(Arc::clone(&invoker))).await?;
        let mut tidying = JoinSet::new();
        tidying.spawn(tidy_for_ever(Arc::clone(&invoker)));
        Ok(Self { invoker, api, _tidying: tidying })
    }

    /// The URL of the Invoke API, with its key.
    pub fn endpoint(&self) -> String {
        self.api.endpoint()
    }

    /// Adds a function, or replaces the one of that name. The invocations in progress of a replaced function finish in its
    /// processes, which take no further ones.
    pub fn register(&self, spec: FunctionSpec) {
        self.invoker.register(spec);
    }

    /// Invokes the function and waits for its answer. An empty payload is `{}`.
    ///
    /// A function error is an `Ok` with [`failed`](Invocation::failed) set. The invocation goes on when this future is
    /// dropped. Lines that the function printed may arrive at the sink shortly after its answer; those of a process that
    /// ended arrive before.
    pub async fn invoke(&self, name: &str, payload: impl Into<Vec<u8>>) -> Result<Invocation, LambdaError> {
        self.invoker.invoke(name, Bytes::from(payload.into()), None).await
    }

    /// Same as [`invoke`](Self::invoke), with a label. If the function streams its answer, `lines` receives each line
    /// on arrival, even if the invocation fails later. The payload is then the text after the last line.
    pub async fn invoke_by_line(
        &self,
        name: &str,
        payload: impl Into<Vec<u8>>,
        label: Option<String>,
        lines: mpsc::UnboundedSender<Vec<u8>>,
    ) -> Result<Invocation, LambdaError> {
        self.invoker.invoke(name, Bytes::from(payload.into()), Some((label, lines))).await
    }

    /// Invokes the function asynchronously, with the retries and the destination of its spec. Returns the request id, which
    /// all attempts share.
    pub fn invoke_event(&self, name: &str, payload: impl Into<Vec<u8>>) -> Result<String, LambdaError> {
        self.invoker.invoke_event(name, Bytes::from(payload.into()))
    }

    /// Kills (SIGKILL) every process of the function, busy or idle, with all its child processes. Returns the number of
    /// processes killed. Invocations in progress end with `Runtime.ExitError` at once.
    pub fn kill(&self, name: &str) -> usize {
        self.invoker.launcher.processes.kill(name)
    }

    /// The invocations in progress.
    pub fn in_progress(&self) -> Vec<InProgress> {
        self.invoker.in_progress()
    }

    /// Takes no more invocations, retries none, and returns once those in progress have ended.
    pub async fn drain(&self) {
        self.invoker.drain().await;
    }

    /// Sends SIGTERM to every process, busy or idle.
    pub fn terminate(&self) {
        self.invoker.launcher.processes.terminate();
    }

    /// Takes no more invocations, lets idle processes clean up, and kills every process. Returns once they have ended.
    /// Invocations in progress end with [`LambdaError::ShutDown`]; call [`drain`](Self::drain) first to let them finish.
    pub async fn shutdown(&self) {
        let groups = self.invoker.launcher.processes.groups();
        if let Some(mut invocations) = self.invoker.take_invocations() {
            invocations.shutdown().await;
        }
        let functions = self.invoker.functions();
        let stops = functions.into_iter().map(|function| async move { function.stop().await });
        stops.collect::<JoinSet<()>>().join_all().await;
        gone(&groups).await;
    }
}

impl Drop for LambdaHost {
    fn drop(&mut self) {
        // Dropping the set aborts its tasks, which drops their sandboxes.
        drop(self.invoker.take_invocations());
        for function in self.invoker.functions() {
            function.retire();
        }
    }
}

/// Stops the processes that are idle for too long, as often as that time passes.
async fn tidy_for_ever(invoker: Arc<Invoker>) {
    loop {
        tokio::time::sleep(invoker.options.idle).await;
        for function in invoker.functions() {
            function.tidy(invoker.options.idle).await;
        }
    }
}
