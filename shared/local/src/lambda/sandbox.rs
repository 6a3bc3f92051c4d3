//! A sandbox: one process of a function, its Runtime API, and its life from start to kill.

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
    invocation::{End, Request},
    living::{Entry, Living, kill_group, terminate},
    log::{Sink, pass_on},
    runtime_api::{Offer, RuntimeApi, router},
    spec::FunctionSpec,
};
use crate::loopback::{Loopback, ServeError};

/// How long a process may take until it asks for an event: Lambda's limit of the init phase.
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// How long an idle process has to put things in order when it is stopped.
const PARTING: Duration = Duration::from_millis(2500);
/// How long the last words of a dead process are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("cannot start {command}: {source}")]
    Start { command: String, source: io::Error },
}

/// Starts sandboxes.
pub(crate) struct Launcher {
    /// What every function has from this machine.
    environment: Vec<(&'static str, OsString)>,
    pub(crate) sink: Sink,
    pub(crate) living: Arc<Living>,
    pub(crate) clock: Clock,
    sequence: AtomicU64,
}

impl Launcher {
    pub(crate) fn new(sink: Sink, clock: Clock) -> io::Result<Self> {
        let environment = ["PATH", "HOME"].into_iter();
        let environment = environment.filter_map(|name| Some((name, std::env::var_os(name)?))).collect();
        Ok(Self { environment, sink, living: Living::watched()?, clock, sequence: AtomicU64::new(1) })
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
            // In Lambda it is only an address; the Rust runtime's client takes a URL as well, and keeps its path.
            .env("AWS_LAMBDA_RUNTIME_API", server.endpoint())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: what the function starts dies with it, and a Ctrl-C at the terminal reaches
            // only the host, which decides.
            .process_group(0)
            .kill_on_drop(true);
        if let Some(folder) = spec.current_folder.as_ref().or(spec.task_root.as_ref()) {
            command.current_dir(folder);
        }
        let mut child = command.spawn().map_err(failed)?;
        let group = group_of(&child).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let living = self.living.enter(group, &spec.name);

        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(self.read(stdout, spec, &api));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(self.read(stderr, spec, &api));
        }
        let clock = self.clock.clone();
        Ok(Sandbox { child, group, api, offers, readers, living: Some(living), clock, _server: server })
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

/// A started process. Dropping it kills the process and all that it started.
pub(crate) struct Sandbox {
    child: Child,
    group: Pid,
    api: Arc<RuntimeApi>,
    offers: mpsc::Sender<Offer>,
    readers: JoinSet<()>,
    living: Option<Entry>,
    clock: Clock,
    _server: Loopback,
}

impl Sandbox {
    /// Hands the event to the process and waits for the answer, the end of the process, or the end of its time.
    /// Unless it was answered, the process is gone when this returns.
    pub(crate) async fn invoke(&mut self, request: Request, limit: Duration) -> End {
        let (taken, was_taken) = oneshot::channel();
        let (answered, answer) = oneshot::channel();
        // It cannot be full: a sandbox has one invocation at a time. It can be closed only by the server's end.
        let _ = self.offers.send(Offer { request, taken, answered }).await;

        let taken = tokio::select! {
            biased;
            Ok(deadline) = was_taken => Taken::Until(deadline),
            status = self.child.wait() => Taken::Exited(status),
            () = sleep(INIT_LIMIT) => Taken::Never,
        };
        let deadline = match taken {
            Taken::Until(deadline) => deadline,
            Taken::Exited(status) => {
                self.bury().await;
                return End::NeverTook { status, init_error: self.api.take_init_error() };
            }
            Taken::Never => {
                self.kill().await;
                return End::TimedOut(INIT_LIMIT);
            }
        };
        if let Some(living) = &self.living {
            living.until(deadline);
        }
        tokio::select! {
            biased;
            Ok(answer) = answer => {
                if let Some(living) = &self.living {
                    living.is_idle();
                }
                End::Answered(answer)
            }
            status = self.child.wait() => {
                // Somebody else may have noticed first that its time was up.
                let is_late = deadline.has_passed(&self.clock);
                self.bury().await;
                if is_late { End::TimedOut(limit) } else { End::Exited(status) }
            }
            () = deadline.comes(&self.clock) => {
                self.kill().await;
                End::TimedOut(limit)
            }
        }
    }

    /// Whether it can take no more events.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.living.as_ref().is_none_or(Entry::was_killed) || !matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks the process to end (SIGTERM), and kills it if it does not within [`PARTING`].
    pub(crate) async fn stop(mut self) {
        if !self.has_ended() {
            terminate(self.group);
            let _ = timeout(PARTING, self.child.wait()).await;
        }
        self.bury().await;
    }

    async fn kill(&mut self) {
        kill_group(self.group);
        let _ = self.child.wait().await;
        self.bury().await;
    }

    /// Ends what an ended process leaves behind, and lets its last lines through.
    async fn bury(&mut self) {
        kill_group(self.group);
        self.living = None;
        let _ = timeout(LAST_WORDS, async { while self.readers.join_next().await.is_some() {} }).await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The id is there until the process was waited for: after that it may be someone else's.
        if let Some(group) = group_of(&self.child) {
            kill_group(group);
        }
    }
}

enum Taken {
    Until(Deadline),
    Exited(io::Result<ExitStatus>),
    Never,
}

fn group_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}
