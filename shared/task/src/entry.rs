//! A task's `main`: under Lambda's Runtime API, or by hand from the shell.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use lambda_runtime::{Diagnostic, FunctionResponse, LambdaEvent, service_fn, streaming::Body};
use lamplighter_aws::{
    authorities,
    clients::Clients,
    jobs::{NoRunnerAddress, RunnerAddress},
    process,
    random::random,
};
use lamplighter_core::{
    holder::Holder,
    job::attempts::Told,
    resolve::{PARAMETER_VARIABLE, SECRET_VARIABLE},
    run::ErrorKind,
    settings::DEFAULT_ENVIRONMENT,
    status::Status,
};
use serde::Serialize;
use serde_json::Value;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{Mutex, OnceCell, OwnedMutexGuard},
};
use tracing::level_filters::LevelFilter;

use crate::{
    Bodies, Edges, ExecuteError, Executed, Hosted, Invocation, Task,
    assets::Source,
    ending,
    execute::execute,
    job,
    log::{self, Output},
    output::{Detached, complain},
    side::{self, Hosting},
};

/// The folder of the assets, beside the binary.
const ASSETS: &str = "assets";
/// What a run by hand may take beyond its task's timeout, to write down how it ended.
const BY_HAND_MARGIN: Duration = Duration::from_secs(10);

/// The environment of a process, read once.
struct Environment {
    table: Option<String>,
    bucket: Option<String>,
    name: String,
    settings: Option<String>,
    resolved: BTreeMap<String, String>,
    assets: Source,
    log: Option<String>,
    queues: Option<String>,
    notifies: Option<String>,
    waker: Option<RunnerAddress>,
    level: LevelFilter,
    in_lambda: bool,
    hosting: Hosting,
}

/// Starts a task's process. Under Lambda it serves invocations for as long as it lives. By hand it does what its
/// arguments say: `describe` prints the definition as JSON, `run [PAYLOAD]` executes the task once and prints its
/// report; exit code 0 if that was done, 1 if it failed, 2 on bad usage.
pub fn start<T: Task>(task: T) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    // What is not text is no argument that is known.
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_str().unwrap_or_default()).collect();
    let environment = match Environment::read() {
        Ok(environment) => environment,
        Err(message) => return failed(&message),
    };
    if arguments == ["describe"] {
        return describe::<T>();
    }
    // What cannot be trusted is known before anything is asked of anybody.
    if let Err(error) = authorities::named() {
        return failed(&error.to_string());
    }
    match arguments[..] {
        [] if environment.in_lambda => serve(task, environment),
        ["run"] => by_hand(|| run(task, environment, "{}")),
        ["run", payload] => by_hand(|| run(task, environment, payload)),
        ["side"] if T::IS_SIDE && environment.hosting.is_by_runner() => beside(task, environment),
        ["side"] if T::IS_SIDE => by_hand(|| beside(task, environment)),
        _ => usage::<T>(),
    }
}

/// Does something that goes on whatever becomes of the readers of its outputs.
fn by_hand(act: impl FnOnce() -> ExitCode) -> ExitCode {
    let _detached = Detached::new();
    act()
}

fn usage<T: Task>() -> ExitCode {
    let name = T::definition().name;
    let what = if T::IS_SIDE {
        format!("{name} side            run the side task until SIGTERM or Ctrl-C asks it to end")
    } else {
        format!("{name} run [PAYLOAD]   execute the task once; PAYLOAD is JSON, {{}} by default")
    };
    complain(&format!(
        "usage: {name} describe        print the task's definition as JSON\n       \
                {what}\n\
         Without arguments it needs Lambda's Runtime API (AWS_LAMBDA_RUNTIME_API)."
    ));
    ExitCode::from(2)
}

fn describe<T: Task>() -> ExitCode {
    let described = serde_json::to_string_pretty(&T::definition()).map_err(|error| error.to_string());
    // Not with println, which panics when nobody listens any more.
    let told = described.and_then(|json| writeln!(std::io::stdout(), "{json}").map_err(|e| e.to_string()));
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: cannot tell the definition: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The two runtimes of a process. The pipeline has one to itself, in the main thread: whatever a body does to its own,
/// its deadline is noticed and its end is written down.
struct Runtimes {
    pipeline: Runtime,
    bodies: Runtime,
}

impl Runtimes {
    fn start() -> std::io::Result<Self> {
        Ok(Self {
            pipeline: Builder::new_current_thread().enable_all().build()?,
            // Two threads, so that a body that holds one can still be told that its time is up.
            bodies: Builder::new_multi_thread().worker_threads(2).enable_all().build()?,
        })
    }
}

/// Serves invocations.
fn serve<T: Task>(task: T, environment: Environment) -> ExitCode {
    log::start(environment.level, Output::Stdout);
    let served = Runtimes::start().map_err(|error| error.to_string()).and_then(|runtimes| {
        let edges = Arc::new(environment.edges(runtimes.bodies.handle()));
        let task = Arc::new(Hosted::from(task));
        // Held by a run, and in the end by what comes after the last one.
        let turn = Arc::new(Mutex::new(()));
        let handler = {
            let (task, turn) = (Arc::clone(&task), Arc::clone(&turn));
            service_fn(move |event: LambdaEvent<Value>| {
                let (task, turn, edges) = (Arc::clone(&task), Arc::clone(&turn), Arc::clone(&edges));
                async move {
                    let turn = turn.lock_owned().await;
                    invoked(task, event, edges, turn).await
                }
            })
        };
        let served = runtimes.pipeline.block_on(async {
            // Before anybody is asked: without a handler the signal ends the process at once.
            let signals = ending::signals();
            ending::ask_to_be_told::<T>().await;
            let served = tokio::select! {
                served = lambda_runtime::run(handler) => served,
                _turn = ending::told_when_idle(signals, &turn) => Ok(()),
            };
            task.end(runtimes.bodies.handle()).await;
            served
        });
        // A body that does not stop would hold up the end of its runtime for ever.
        runtimes.bodies.shutdown_background();
        served.map_err(|error| error.to_string())
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => failed(&message),
    }
}

fn failed(message: &str) -> ExitCode {
    complain(&format!("error: {message}"));
    ExitCode::FAILURE
}

/// One invocation under Lambda. A run that failed is a failed invocation too, so that the function's own error
/// count and alarms see it.
async fn invoked<T: Task>(
    task: Arc<Hosted<T>>,
    event: LambdaEvent<Value>,
    edges: Arc<Edges>,
    turn: OwnedMutexGuard<()>,
) -> Result<FunctionResponse<Answer, Body>, Diagnostic> {
    let deadline = i64::try_from(event.context.deadline).ok();
    let invocation = Invocation {
        payload: event.payload,
        // A retry of an asynchronous invocation has the same request id, so that alone would not tell them apart.
        holder: Holder::new(
            &event.context.request_id,
            format_args!("{:016x}", random() & u128::from(u64::MAX)),
        ),
        deadline: deadline.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_else(Timestamp::now),
    };
    if T::TAKES_JOBS && invocation.payload.get("jobs").is_some() {
        let answer = job::attempt_started(task, invocation, edges, turn).await;
        return answer.map_err(|error| refused(&error));
    }
    let answered = if T::TAKES_JOBS && job::are_messages(&invocation.payload) {
        Box::pin(job::take_messages(&task, invocation, &edges)).await
    } else {
        execute(task, invocation, &edges).await.map(|Executed { report, stuck }| Answered {
            failed: report
                .status
                .is_failure()
                .then(|| (report.status.as_str(), report.message.clone().unwrap_or_default())),
            payload: serde_json::to_value(&report).unwrap_or_default(),
            stuck,
        })
    };
    if let Ok(Answered { stuck: true, .. }) | Err(ExecuteError::Record { stuck: true, .. }) = answered {
        // Only the end of the process stops the body, and the next run must not meet it.
        std::process::exit(1);
    }
    match answered {
        Ok(Answered { failed: Some((kind, message)), .. }) => Err(diagnostic(kind, message)),
        Ok(Answered { payload, .. }) => Ok(FunctionResponse::BufferedResponse(Answer::Report(payload))),
        Err(error) => Err(refused(&error)),
    }
}

/// What Lambda is told of a run that could not be carried to its record.
fn refused(error: &ExecuteError) -> Diagnostic {
    let kind = match error {
        ExecuteError::Envelope(_) | ExecuteError::Side { .. } => ErrorKind::Configuration,
        ExecuteError::Definition => ErrorKind::Execution,
        ExecuteError::Claim(_) | ExecuteError::Record { .. } => ErrorKind::System,
    };
    diagnostic(kind.as_str(), error.to_string())
}

fn diagnostic(kind: &str, message: String) -> Diagnostic {
    Diagnostic { error_type: kind.into(), error_message: message }
}

/// An answer as it is sent.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// Of a run, or of a batch of messages.
    Report(Value),
    /// Of jobs.
    Told(Vec<Told>),
}

/// What an invocation is answered.
pub(crate) struct Answered {
    /// The response.
    pub payload: Value,
    /// The kind and the message, if it is one that failed.
    pub failed: Option<(&'static str, String)>,
    /// As in [`Executed`].
    pub stuck: bool,
}

/// One execution by hand.
fn run<T: Task>(task: T, environment: Environment, payload: &str) -> ExitCode {
    let payload = match serde_json::from_str(payload) {
        Ok(payload) => payload,
        Err(error) => return misused(&format!("the payload is not JSON: {error}")),
    };
    log::start(environment.level, Output::Stderr);
    let runtimes = match Runtimes::start() {
        Ok(runtimes) => runtimes,
        Err(error) => return failed(&error.to_string()),
    };
    let edges = environment.edges(runtimes.bodies.handle());
    if edges.table.is_none() {
        complain("note: LAMPLIGHTER_TABLE is not set, so this run has neither lock nor history");
    }
    let settings = edges.settings(&T::definition()).unwrap_or_default();
    let limit = settings.applied_to(T::definition()).timeout + BY_HAND_MARGIN;
    let deadline = Timestamp::now().saturating_add(limit).unwrap_or(Timestamp::MAX);
    let holder = Holder::new("by-hand", format_args!("{:032x}", random()));
    let invocation = Invocation { payload, holder, deadline };
    let task = Arc::new(Hosted::from(task));
    let executed = runtimes.pipeline.block_on(async {
        let executed = execute(Arc::clone(&task), invocation, &edges).await;
        task.end(runtimes.bodies.handle()).await;
        executed
    });
    let code = match executed {
        Ok(Executed { report, .. }) => {
            let done = report.status == Status::Completed;
            let report = serde_json::to_value(&report).unwrap_or_default();
            // The exit code says it too, so nobody has to listen.
            let _ = writeln!(std::io::stdout(), "{report}");
            if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(ExecuteError::Envelope(error)) => misused(&error.to_string()),
        Err(error) => failed(&error.to_string()),
    };
    // A body that does not stop would hold up the end of its runtime for ever.
    runtimes.bodies.shutdown_background();
    code
}

/// Runs a side task for as long as nobody asks for its end.
fn beside<T: Task>(task: T, mut environment: Environment) -> ExitCode {
    log::start(environment.level, Output::Stderr);
    let runtimes = match Runtimes::start() {
        Ok(runtimes) => runtimes,
        Err(error) => return failed(&error.to_string()),
    };
    let hosting = std::mem::take(&mut environment.hosting);
    let edges = environment.edges(runtimes.bodies.handle());
    let code = runtimes.pipeline.block_on(side::live(task, hosting, &edges));
    runtimes.bodies.shutdown_background();
    code
}

fn misused(message: &str) -> ExitCode {
    complain(&format!("error: {message}"));
    ExitCode::from(2)
}

impl Environment {
    /// Reads the environment; a value that cannot stand is told with its variable.
    fn read() -> Result<Self, String> {
        let variable = |name: &str| process::variable(name).map_err(|error| error.to_string());
        let in_lambda = variable("AWS_LAMBDA_RUNTIME_API")?.is_some();
        let table = variable("LAMPLIGHTER_TABLE")?;
        if in_lambda && table.is_none() {
            return Err(
                "LAMPLIGHTER_TABLE is not set: it must name the table that has locks and history".into()
            );
        }
        let level = match variable("LAMPLIGHTER_LOG")? {
            None => LevelFilter::INFO,
            Some(level) => level.parse().map_err(|_| {
                format!("LAMPLIGHTER_LOG is `{level}`: it must be off, error, warn, info, debug or trace")
            })?,
        };
        let group = variable("AWS_LAMBDA_LOG_GROUP_NAME")?;
        let stream = variable("AWS_LAMBDA_LOG_STREAM_NAME")?;
        Ok(Self {
            table,
            bucket: variable("LAMPLIGHTER_BUCKET")?,
            name: variable("LAMPLIGHTER_ENVIRONMENT")?.unwrap_or_else(|| DEFAULT_ENVIRONMENT.to_owned()),
            settings: variable("LAMPLIGHTER_SETTINGS")?,
            resolved: resolved(std::env::vars_os())?,
            assets: match variable("LAMPLIGHTER_ASSETS")? {
                Some(url) => Source::Archive { url, folder: OnceCell::new() },
                None => Source::Folder(beside_the_binary(variable("LAMBDA_TASK_ROOT")?)),
            },
            log: group.zip(stream).map(|(group, stream)| format!("{group} {stream}")),
            queues: variable("LAMPLIGHTER_QUEUES")?,
            notifies: variable("LAMPLIGHTER_NOTIFIES")?,
            waker: match variable("LAMPLIGHTER_WAKE_SOCKET")? {
                None => None,
                // The value is a secret.
                Some(waker) => Some(
                    waker
                        .parse()
                        .map_err(|error: NoRunnerAddress| format!("LAMPLIGHTER_WAKE_SOCKET: {error}"))?,
                ),
            },
            level,
            in_lambda,
            hosting: Hosting::read(variable)?,
        })
    }

    fn edges(self, bodies: &Handle) -> Edges {
        Edges {
            clients: Arc::new(Clients::default()),
            bodies: Bodies::new(bodies.clone()),
            table: self.table,
            bucket: self.bucket,
            environment: self.name,
            settings: self.settings,
            resolved: self.resolved,
            assets: self.assets,
            log: self.log,
            queues: self.queues,
            notifies: self.notifies,
            waker: self.waker,
        }
    }
}

/// The texts of the configuration that have variables of their own, by those. Unlike other variables they may be empty.
fn resolved(all: impl Iterator<Item = (OsString, OsString)>) -> Result<BTreeMap<String, String>, String> {
    let ours = all.filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        [SECRET_VARIABLE, PARAMETER_VARIABLE]
            .iter()
            .any(|start| name.starts_with(start))
            .then_some((name, value))
    });
    ours.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(format!("{name} is not UTF-8 text")),
    })
    .collect()
}

fn beside_the_binary(task_root: Option<String>) -> PathBuf {
    let root = task_root.map(PathBuf::from).or_else(|| {
        let binary = std::env::current_exe().ok()?;
        binary.parent().map(Path::to_path_buf)
    });
    root.unwrap_or_default().join(ASSETS)
}
