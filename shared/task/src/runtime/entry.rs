//! A task's `main`: serves Lambda's Runtime API, or runs a command by hand.

use std::{io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use jiff::Timestamp;
use lambda_runtime::{Diagnostic, FunctionResponse, LambdaEvent, service_fn, streaming::Body};
use lamplighter_aws::{authorities, random::random};
use lamplighter_core::{definition::Description, holder::Holder, run::ErrorKind, status::Status};
use serde_json::Value;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Mutex, OwnedMutexGuard},
};

use crate::runtime::{
    ExecuteError, Executed, Invocation, ProcessEnvironment, Task, TaskInstance,
    answer::{Answer, Answered},
    execute::execute,
    instance::RunSide,
    job::is_message_batch,
    log::{self, Output},
    output::{DetachedOutputs, print_error},
    shutdown,
    variables::Variables,
};

/// The time a run by hand has beyond its task's timeout, to write its record.
const BY_HAND_MARGIN: Duration = Duration::from_secs(10);

/// Runs a task's process and returns its exit code. [`main!`](crate::main) calls it.
///
/// Without arguments the process serves invocations of Lambda's Runtime API until it is stopped. With arguments it runs
/// one command:
///
/// - `describe` prints the definition as JSON.
/// - `run [PAYLOAD]` executes the task once and prints its report as JSON.
/// - `side` runs a side task until it is stopped.
///
/// The exit code is 0 on success, 1 on failure, and 2 on wrong usage.
pub fn start<T: Task>(task: T) -> ExitCode {
    start_instance(task.into())
}

fn start_instance(task: TaskInstance) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    // An argument that is not UTF-8 matches no command.
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_str().unwrap_or_default()).collect();
    let variables = match Variables::read() {
        Ok(variables) => variables,
        Err(message) => return failed(&message),
    };
    if arguments == ["describe"] {
        return describe(&task);
    }
    // An invalid certificate file fails the process before its first request.
    if let Err(error) = authorities::named() {
        return failed(&error.to_string());
    }
    match (&arguments[..], task.parts.side) {
        ([], _) if variables.in_lambda => serve(task, variables),
        (["run"], _) => detached(|| run(task, variables, "{}")),
        (["run", payload], _) => detached(|| run(task, variables, payload)),
        (["side"], Some(side)) if variables.runner.is_by_runner() => run_side(task, side, variables),
        (["side"], Some(side)) => detached(|| run_side(task, side, variables)),
        _ => usage(&task),
    }
}

/// Runs `act` with outputs whose readers cannot block or fail it.
fn detached(act: impl FnOnce() -> ExitCode) -> ExitCode {
    let _detached = DetachedOutputs::new();
    act()
}

fn usage(task: &TaskInstance) -> ExitCode {
    let name = match task.definition() {
        Ok(definition) => &definition.name,
        Err(error) => return failed(&error.to_string()),
    };
    let what = if task.parts.side.is_some() {
        format!("{name} side            run the side task until SIGTERM or Ctrl-C")
    } else {
        format!("{name} run [PAYLOAD]   execute the task once; PAYLOAD is JSON, {{}} by default")
    };
    print_error(&format!(
        "usage: {name} describe        print the task's definition as JSON\n       \
                {what}\n\
         Without arguments it serves Lambda's Runtime API (AWS_LAMBDA_RUNTIME_API)."
    ));
    ExitCode::from(2)
}

fn describe(task: &TaskInstance) -> ExitCode {
    let definition = match task.definition() {
        Ok(definition) => definition.clone(),
        Err(error) => return failed(&error.to_string()),
    };
    let description = Description { lamplighter: env!("CARGO_PKG_VERSION").to_owned(), definition };
    let described = serde_json::to_string_pretty(&description).map_err(|error| error.to_string());
    // `println!` would panic if the reader is gone.
    let printed = described.and_then(|json| writeln!(std::io::stdout(), "{json}").map_err(|e| e.to_string()));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&format!("error: cannot print the definition: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The two runtimes of a process. The pipeline has its own in the main thread, so that a body that blocks its runtime
/// cannot keep the pipeline from enforcing the deadline and writing the record.
struct Runtimes {
    pipeline: Runtime,
    body: Runtime,
}

impl Runtimes {
    fn start() -> std::io::Result<Self> {
        Ok(Self {
            pipeline: Builder::new_current_thread().enable_all().build()?,
            // Two threads: a body that blocks one can still be cancelled from the other.
            body: Builder::new_multi_thread().worker_threads(2).enable_all().build()?,
        })
    }
}

/// Serves invocations.
fn serve(task: TaskInstance, variables: Variables) -> ExitCode {
    log::start(variables.level, Output::Stdout);
    let served = Runtimes::start().map_err(|error| error.to_string()).and_then(|runtimes| {
        let process = Arc::new(variables.into_process(runtimes.body.handle()));
        let task = Arc::new(task);
        // Locked by each run, and at the end by the shutdown.
        let turn = Arc::new(Mutex::new(()));
        let handler = {
            let (task, turn) = (Arc::clone(&task), Arc::clone(&turn));
            service_fn(move |event: LambdaEvent<Value>| {
                let (task, turn, process) = (Arc::clone(&task), Arc::clone(&turn), Arc::clone(&process));
                async move {
                    let turn = turn.lock_owned().await;
                    invoked(task, event, process, turn).await
                }
            })
        };
        let served = runtimes.pipeline.block_on(async {
            // Install the handler first: without it the signal kills the process at once.
            let signals = shutdown::signals();
            if let Some(register) = task.parts.shutdown_signal {
                register().await;
            }
            let served = tokio::select! {
                served = lambda_runtime::run(handler) => served,
                _turn = shutdown::wait_until_idle(signals, &turn) => Ok(()),
            };
            task.tear_down(runtimes.body.handle()).await;
            served
        });
        // A plain drop of the runtime would wait forever for a body that does not stop.
        runtimes.body.shutdown_background();
        served.map_err(|error| error.to_string())
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => failed(&message),
    }
}

fn failed(message: &str) -> ExitCode {
    print_error(&format!("error: {message}"));
    ExitCode::FAILURE
}

/// Handles one invocation. A failed run fails the invocation, so that the function's error metric and alarms count it.
async fn invoked(
    task: Arc<TaskInstance>,
    event: LambdaEvent<Value>,
    process: Arc<ProcessEnvironment>,
    turn: OwnedMutexGuard<()>,
) -> Result<FunctionResponse<Answer, Body>, Diagnostic> {
    let deadline = i64::try_from(event.context.deadline).ok();
    let invocation = Invocation {
        payload: event.payload,
        // A retry of an asynchronous invocation has the same request id, so the id alone is not unique.
        holder: Holder::new(
            &event.context.request_id,
            format_args!("{:016x}", random() & u128::from(u64::MAX)),
        ),
        deadline: deadline.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_else(Timestamp::now),
    };
    let answered = match task.parts.jobs {
        Some(handlers) if invocation.payload.get("jobs").is_some() => {
            let answer = (handlers.attempt_jobs)(task, invocation, process, turn).await;
            return answer.map_err(|error| diagnostic_of(&error));
        }
        Some(handlers) if is_message_batch(&invocation.payload) => {
            (handlers.process_messages)(&task, invocation, &process).await
        }
        _ => execute(&task, invocation, &process).await.map(|Executed { report, stuck }| Answered {
            failed: report
                .status
                .is_failure()
                .then(|| (report.status.as_str(), report.message.clone().unwrap_or_default())),
            payload: serde_json::to_value(&report).unwrap_or_default(),
            stuck,
        }),
    };
    if let Ok(Answered { stuck: true, .. }) | Err(ExecuteError::Record { stuck: true, .. }) = answered {
        // Only the end of the process stops the body, which must not run beside the next run.
        std::process::exit(1);
    }
    match answered {
        Ok(Answered { failed: Some((kind, message)), .. }) => Err(diagnostic(kind, message)),
        Ok(Answered { payload, .. }) => Ok(FunctionResponse::BufferedResponse(Answer::Report(payload))),
        Err(error) => Err(diagnostic_of(&error)),
    }
}

/// Converts an error into Lambda's diagnostic.
fn diagnostic_of(error: &ExecuteError) -> Diagnostic {
    let kind = match error {
        ExecuteError::Envelope(_) | ExecuteError::Side { .. } => ErrorKind::Configuration,
        ExecuteError::Definition(_) => ErrorKind::Execution,
        ExecuteError::Claim(_) | ExecuteError::Record { .. } => ErrorKind::System,
    };
    diagnostic(kind.as_str(), error.to_string())
}

fn diagnostic(kind: &str, message: String) -> Diagnostic {
    Diagnostic { error_type: kind.into(), error_message: message }
}

/// Executes the task once, by hand.
fn run(task: TaskInstance, variables: Variables, payload: &str) -> ExitCode {
    let payload = match serde_json::from_str(payload) {
        Ok(payload) => payload,
        Err(error) => return misused(&format!("the payload is not JSON: {error}")),
    };
    log::start(variables.level, Output::Stderr);
    let runtimes = match Runtimes::start() {
        Ok(runtimes) => runtimes,
        Err(error) => return failed(&error.to_string()),
    };
    let definition = match task.definition() {
        Ok(definition) => definition.clone(),
        Err(error) => return failed(&error.to_string()),
    };
    let process = variables.into_process(runtimes.body.handle());
    if process.table.is_none() {
        print_error("note: LAMPLIGHTER_TABLE is not set: this run has neither a lock nor history");
    }
    let settings = process.settings(&definition).unwrap_or_default();
    let limit = settings.applied_to(definition).timeout + BY_HAND_MARGIN;
    let deadline = Timestamp::now().saturating_add(limit).unwrap_or(Timestamp::MAX);
    let holder = Holder::new("by-hand", format_args!("{:032x}", random()));
    let invocation = Invocation { payload, holder, deadline };
    let executed = runtimes.pipeline.block_on(async {
        let executed = execute(&task, invocation, &process).await;
        Arc::new(task).tear_down(runtimes.body.handle()).await;
        executed
    });
    let code = match executed {
        Ok(Executed { report, .. }) => {
            let done = report.status == Status::Completed;
            let report = serde_json::to_value(&report).unwrap_or_default();
            // A missing reader is no failure: the exit code has the result, too.
            let _ = writeln!(std::io::stdout(), "{report}");
            if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(ExecuteError::Envelope(error)) => misused(&error.to_string()),
        Err(error) => failed(&error.to_string()),
    };
    // A plain drop of the runtime would wait forever for a body that does not stop.
    runtimes.body.shutdown_background();
    code
}

/// Runs a side task until it is stopped, with `run_to_end` of its parts.
fn run_side(task: TaskInstance, run_to_end: RunSide, mut variables: Variables) -> ExitCode {
    log::start(variables.level, Output::Stderr);
    let runtimes = match Runtimes::start() {
        Ok(runtimes) => runtimes,
        Err(error) => return failed(&error.to_string()),
    };
    let runner = std::mem::take(&mut variables.runner);
    let process = variables.into_process(runtimes.body.handle());
    let code = runtimes.pipeline.block_on(run_to_end(task, runner, &process));
    runtimes.body.shutdown_background();
    code
}

fn misused(message: &str) -> ExitCode {
    print_error(&format!("error: {message}"));
    ExitCode::from(2)
}
