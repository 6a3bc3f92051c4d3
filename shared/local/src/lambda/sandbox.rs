//! A sandbox: one process of a function, with its Runtime API, from its start to its end.

use std::{
    ffi::OsString,
    io,
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::process::Pid;
use tokio::{
    io::AsyncRead,
    process::{Child, Command},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    clock::{Clock, Deadline},
    invocation::{InvocationEnd, Request},
    log::{Sink, pass_on},
    processes::{ProcessEntry, Processes, kill_group, terminate},
    runtime_api::{Offer, RuntimeApi, router},
    spec::FunctionSpec,
};
use crate::loopback::{Loopback, ServeError};

/// Lambda's limit of the init phase. If a process needs longer, Lambda starts it again with the function's timeout for both the
/// init phase and the event. Here the first start goes on. Source: AWS Lambda Developer Guide, "Lambda execution environment
/// lifecycle".
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// The time that an idle process has to clean up after SIGTERM.
const STOP_GRACE: Duration = Duration::from_millis(2500);
/// The longest wait for the last lines of an ended process.
const OUTPUT_DRAIN: Duration = Duration::from_secs(5);

/// An error while starting a process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("cannot start {command}: {source}")]
    Start { command: String, source: io::Error },
}

/// Starts the sandboxes of all functions.
pub(crate) struct Launcher {
    /// The variables of this machine that every function has.
    environment: Vec<(&'static str, OsString)>,
    pub(crate) sink: Sink,
    pub(crate) processes: Arc<Processes>,
    pub(crate) clock: Clock,
    sequence: AtomicU64,
}

impl Launcher {
    pub(crate) fn new(sink: Sink, clock: Clock) -> io::Result<Self> {
        let environment = ["PATH", "HOME"].into_iter();
        let environment = environment.filter_map(|name| Some((name, std::env::var_os(name)?))).collect();
        Ok(Self { environment, sink, processes: Processes::watched()?, clock, sequence: AtomicU64::new(1) })
    }

    pub(crate) async fn launch(&self, spec: &FunctionSpec) -> Result<Sandbox, LaunchError> {
        let id = self.sequence.fetch_add(1, Ordering::Relaxed);
        let (api, offers) = RuntimeApi::new(spec.arn(), spec.timeout, self.clock.clone());
        let server = Loopback::serve(router(Arc::clone(&api))).await?;
        let failed = |source| LaunchError::Start { command: spec.command.display().to_string(), source };

        let mut command = Command::new(std::path::absolute(&spec.command).map_err(failed)?);
        command
            .env_clear()
            .envs(spec.environment(&self.environment, id))
            // In Lambda it is only an address. The Rust runtime's client accepts a URL as well, and keeps its path.
            .env("AWS_LAMBDA_RUNTIME_API", server.endpoint())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // With a process group of its own, the process is killed together with its child processes, and the SIGINT
            // of a Ctrl-C at the terminal reaches only the host.
            .process_group(0)
            .kill_on_drop(true);
        if let Some(folder) = spec.current_folder.as_ref().or(spec.task_root.as_ref()) {
            command.current_dir(folder);
        }
        let mut child = command.spawn().map_err(failed)?;
        let group = group_of(&child).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let processes = self.processes.enter(group, &spec.name);

        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(self.read(stdout, spec, &api));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(self.read(stderr, spec, &api));
        }
        let clock = self.clock.clone();
        Ok(Sandbox { child, group, api, offers, readers, processes: Some(processes), clock, _server: server })
    }

    fn read(
        &self,
        output: impl AsyncRead + Unpin + Send + 'static,
        spec: &FunctionSpec,
        api: &RuntimeApi,
    ) -> impl Future<Output = ()> + Send + 'static {
        pass_on(output, Arc::clone(&self.sink), spec.name.clone(), Arc::clone(&api.current))
    }
}

/// A running process. When it is dropped, the process and all its child processes are killed.
pub(crate) struct Sandbox {
    child: Child,
    group: Pid,
    api: Arc<RuntimeApi>,
    offers: mpsc::Sender<Offer>,
    readers: JoinSet<()>,
    processes: Option<ProcessEntry>,
    clock: Clock,
    _server: Loopback,
}

impl Sandbox {
    /// Offers the event to the process and waits for the answer, the end of the process, or the deadline. Without an answer the
    /// process has ended when this returns.
    pub(crate) async fn invoke(&mut self, request: Request, limit: Duration) -> InvocationEnd {
        let (taken, was_taken) = oneshot::channel();
        let (answered, answer) = oneshot::channel();
        // The channel is never full, since a sandbox has one invocation at a time. It closes only with the server.
        let _ = self.offers.send(Offer { request, taken, answered }).await;

        let taken = tokio::select! {
            biased;
            Ok(deadline) = was_taken => Pickup::Until(deadline),
            status = self.child.wait() => Pickup::Exited(status),
            () = sleep(INIT_LIMIT.saturating_add(limit)) => Pickup::Never,
        };
        let deadline = match taken {
            Pickup::Until(deadline) => deadline,
            Pickup::Exited(status) => {
                self.reap().await;
                return InvocationEnd::NeverTook { status, init_error: self.api.take_init_error() };
            }
            Pickup::Never => {
                self.kill().await;
                return InvocationEnd::TimedOut(limit);
            }
        };
        if let Some(processes) = &self.processes {
            processes.until(deadline);
        }
        tokio::select! {
            biased;
            Ok(answer) = answer => {
                if let Some(processes) = &self.processes {
                    processes.is_idle();
                }
                InvocationEnd::Answered(answer)
            }
            status = self.child.wait() => {
                // `end_overdue` may have killed it at its deadline first.
                let is_late = deadline.has_passed(&self.clock);
                self.reap().await;
                if is_late { InvocationEnd::TimedOut(limit) } else { InvocationEnd::Exited(status) }
            }
            () = deadline.comes(&self.clock) => {
                self.kill().await;
                InvocationEnd::TimedOut(limit)
            }
        }
    }

    /// Returns true if it cannot take further events.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.processes.as_ref().is_none_or(ProcessEntry::was_killed)
            || !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGTERM to the process, and kills it if it does not end within [`STOP_GRACE`].
    pub(crate) async fn stop(mut self) {
        if !self.has_ended() {
            terminate(self.group);
            let _ = timeout(STOP_GRACE, self.child.wait()).await;
        }
        self.reap().await;
    }

    async fn kill(&mut self) {
        kill_group(self.group);
        let _ = self.child.wait().await;
        self.reap().await;
    }

    /// Kills the child processes of an ended process, and waits for its last lines.
    async fn reap(&mut self) {
        kill_group(self.group);
        self.processes = None;
        let _ = timeout(OUTPUT_DRAIN, async { while self.readers.join_next().await.is_some() {} }).await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The id is present until the process is waited for. After that, another process may have it.
        if let Some(group) = group_of(&self.child) {
            kill_group(group);
        }
    }
}

/// The outcome of offering an event to a process.
enum Pickup {
    Until(Deadline),
    Exited(io::Result<ExitStatus>),
    Never,
}

fn group_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}
