//! A side task's process, which runs the body until it returns or the process is asked to stop.
//!
//! A runner starts the process with the argument `side` and keeps its standard input open. SIGTERM, SIGHUP and SIGINT
//! stop the process, and so does the end of the input. The input ends when the runner ends, even if the runner is
//! killed. Log lines go to standard error. The last line of standard output is the result.

use std::{io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::{process::EndSignals, random::random};
use lamplighter_core::{
    claim::{Fence, Occasion, Request},
    definition::{Definition, Overlap},
    envelope::Envelope,
    holder::Holder,
    id::RunId,
    run::{ErrorKind, RunError, Trigger},
    secret::Secrets,
    settings::Settings,
    side::{BODY_PARTING, HOOK_LIMIT, SideTaskEnd},
};
use serde_json::Value;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::runtime::{
    Outcome, ProcessEnvironment, TaskInstance,
    attempt::{BodyResult, body_result, panicked},
    body::{Admitted, RunInputs, admit},
    context::RunLease,
    erased::BoxFuture,
    limits::Limits,
    log, output,
    process::settings_at_run_time,
};

/// The time a dropped body has to reach its next await.
const DROP_LIMIT: Duration = Duration::from_millis(500);

/// The variables that a runner sets for a side task. By hand all are missing.
#[derive(Debug, Default)]
pub(crate) struct RunnerVariables {
    run_id: Option<RunId>,
    fencing_token: u64,
    settings: Option<String>,
}

impl RunnerVariables {
    /// Returns whether a runner started the process, and reads its output.
    pub(crate) fn is_by_runner(&self) -> bool {
        self.run_id.is_some()
    }

    /// Reads the variables with `variable`.
    pub(crate) fn read(variable: impl Fn(&str) -> Result<Option<String>, String>) -> Result<Self, String> {
        let run_id = variable("LAMPLIGHTER_RUN_ID")?
            .map(|text| text.parse().map_err(|error| format!("LAMPLIGHTER_RUN_ID is `{text}`: {error}")));
        let fencing_token = variable("LAMPLIGHTER_EPOCH")?.map(|text| {
            text.parse().map_err(|_| format!("LAMPLIGHTER_EPOCH is `{text}`: expected a number"))
        });
        let settings = variable("LAMPLIGHTER_SETTINGS_AT_RUN_TIME")?;
        Ok(Self {
            run_id: run_id.transpose()?,
            fencing_token: fencing_token.transpose()?.unwrap_or(0),
            settings,
        })
    }
}

/// Runs the task's body to its end, and prints the result.
pub(crate) fn run_to_end(
    task: TaskInstance,
    runner: RunnerVariables,
    process: &ProcessEnvironment,
) -> BoxFuture<'_, ExitCode> {
    Box::pin(run(task, runner, process))
}

async fn run(task: TaskInstance, runner: RunnerVariables, process: &ProcessEnvironment) -> ExitCode {
    let Ok(declared) = task.definition().cloned() else { return ExitCode::FAILURE };
    let stop = stop_token(runner.run_id.is_some());
    let now = Timestamp::now();
    let run_id = runner.run_id.unwrap_or_else(|| RunId::new(now, random()));
    log::begin(run_id, Trigger::Runner);

    let settings = settings(&runner, &declared, process);
    let definition = match &settings {
        Ok(settings) => settings.applied_to(declared),
        Err(_) => declared,
    };
    log::mask(process.separate_secrets(&definition, &Value::Null, None).0);
    let (ended, code) = match settings {
        Ok(_) => body(&task, &definition, run_id, runner.fencing_token, &stop, process).await,
        Err(error) => failed(error),
    };
    Arc::new(task).tear_down(&process.body_runtime.handle).await;
    let (secrets, shown) = process.separate_secrets(&definition, &Value::Null, ended.data.as_ref());
    print_result(masked(SideTaskEnd { config: shown.config, data: shown.data, ..ended }, &secrets));
    log::over();
    code
}

fn settings(
    runner: &RunnerVariables,
    declared: &Definition,
    process: &ProcessEnvironment,
) -> Result<Settings, RunError> {
    let at_run_time = settings_at_run_time(runner.settings.as_deref())?;
    Ok(process.settings(declared)?.overridden_by(at_run_time, &declared.config_schema))
}

/// Returns a token that fires when the process is asked to stop.
fn stop_token(has_runner: bool) -> CancellationToken {
    let stop = CancellationToken::new();
    match EndSignals::of_anybody() {
        Ok(mut signals) => {
            let stop = stop.clone();
            tokio::spawn(async move {
                signals.next().await;
                stop.cancel();
            });
        }
        Err(error) => {
            tracing::warn!(
                "cannot install the signal handler, so the shutdown will not be graceful: {error}"
            );
        }
    }
    if has_runner {
        let stop = stop.clone();
        // A detached thread, since a blocking read cannot be cancelled.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            // The runner is gone. Prints of the body must not fail because of that.
            output::discard_outputs();
            stop.cancel();
        });
    }
    stop
}

/// Runs the body, then the author's `on_shutdown` or `on_error`.
async fn body(
    task: &TaskInstance,
    definition: &Definition,
    run_id: RunId,
    fencing_token: u64,
    stop: &CancellationToken,
    process: &ProcessEnvironment,
) -> (SideTaskEnd, ExitCode) {
    let now = Timestamp::now();
    let limits = Limits {
        deadline: Timestamp::MAX,
        cancel_requested: stop.clone(),
        cancellation: CancellationToken::new(),
    };
    let envelope = Envelope::of(Trigger::Runner);
    let request = Request {
        run_id,
        holder: Holder::default(),
        trigger: Trigger::Runner,
        occasion: Occasion::Manual,
        overlap: Overlap::Skip,
        runs_once: false,
        now,
        until: Timestamp::MAX,
    };
    let inputs =
        RunInputs { definition, envelope: &envelope, request: &request, limits: limits.clone(), process };
    let lease = RunLease::Task(Fence::Exclusive { token: fencing_token });
    let Admitted { ctx, task } = match admit(task, &inputs, lease).await {
        Ok(admitted) => admitted,
        Err(_) if stop.is_cancelled() => return stopped(),
        Err(conclusion) => return failed(conclusion.error.unwrap_or_else(not_started)),
    };
    log::attempt(1);
    tracing::info!("{} started", definition.name);
    let runtime = &process.body_runtime.handle;
    let mut code = {
        let (task, ctx) = (Arc::clone(&task), ctx.clone());
        runtime.spawn(async move { body_result(task.run(ctx).await) })
    };
    let result = tokio::select! {
        biased;
        result = &mut code => result.unwrap_or_else(|join| BodyResult::Failed { error: panicked(join), retryable: true }),
        () = stop.cancelled() => {
            limits.cancellation.cancel();
            wait_for_body(code).await;
            run_hook("on_shutdown", runtime.spawn(async move { task.on_shutdown(ctx).await })).await;
            return stopped();
        }
    };
    match result {
        BodyResult::Succeeded(outcome) => {
            tracing::info!("{} completed: {}", definition.name, outcome.message);
            let Outcome { message, data, .. } = outcome;
            (SideTaskEnd { message: Some(message), data, ..SideTaskEnd::default() }, ExitCode::SUCCESS)
        }
        BodyResult::Failed { error, .. } => {
            tracing::error!("{} failed: {error}", definition.name);
            let of = error.clone();
            run_hook("on_error", runtime.spawn(async move { task.on_error(ctx, of).await })).await;
            failed(error)
        }
    }
}

/// Waits for a cancelled body, and drops it if it does not return in time.
async fn wait_for_body(mut code: JoinHandle<BodyResult>) {
    match timeout(BODY_PARTING, &mut code).await {
        Ok(Ok(BodyResult::Failed { error, .. })) => {
            tracing::warn!("the body failed during the shutdown: {error}");
        }
        Ok(Err(join)) => tracing::warn!("the body failed during the shutdown: {}", panicked(join)),
        Ok(Ok(BodyResult::Succeeded(_))) => {}
        Err(_) => {
            tracing::warn!(
                "the body did not return within {BODY_PARTING:?} of its cancellation and was dropped"
            );
            code.abort();
            let _ = timeout(DROP_LIMIT, code).await;
        }
    }
}

/// Waits for one of the author's hooks, for at most [`HOOK_LIMIT`].
async fn run_hook(name: &str, code: JoinHandle<()>) {
    match timeout(HOOK_LIMIT, code).await {
        Ok(Ok(())) => {}
        Ok(Err(join)) => tracing::error!("`{name}` {}", panicked(join)),
        Err(_) => tracing::error!("`{name}` did not return within {HOOK_LIMIT:?}"),
    }
}

fn failed(error: RunError) -> (SideTaskEnd, ExitCode) {
    (SideTaskEnd { error: Some(error), ..SideTaskEnd::default() }, ExitCode::FAILURE)
}

fn stopped() -> (SideTaskEnd, ExitCode) {
    let message = Some("stopped on request".to_owned());
    (SideTaskEnd { message, ..SideTaskEnd::default() }, ExitCode::SUCCESS)
}

fn not_started() -> RunError {
    RunError::new(ErrorKind::System, "the body did not start")
}

fn masked(ended: SideTaskEnd, secrets: &Secrets) -> SideTaskEnd {
    let SideTaskEnd { message, data, error, config, why } = ended;
    SideTaskEnd {
        message: message.map(|text| secrets.mask(&text)),
        data: data.map(|data| secrets.mask_value(data)),
        error: error.map(|error| RunError::new(error.kind, secrets.mask(&error.message))),
        config,
        why,
    }
}

/// Prints the result as the last line of standard output. A missing reader is no failure: the exit code has the
/// essential part.
fn print_result(ended: SideTaskEnd) {
    let ended: Value = serde_json::to_value(ended).unwrap_or_default();
    let _ = writeln!(std::io::stdout(), "{ended}");
}
