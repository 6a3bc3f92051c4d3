//! A side task's process: its body runs until it ends by itself or the process is asked to end.
//!
//! A runner starts it with `side` and keeps its standard input open. SIGTERM, SIGHUP and SIGINT ask it to end, and so does the input's end,
//! which comes with the runner's, however that dies. What is logged goes to standard error; the last line of standard
//! output is how it ended.

use std::{io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::{process::EndSignals, random::random};
use lamplighter_core::{
    claim::{Hold, Occasion, Request},
    definition::{Definition, Overlap},
    envelope::Envelope,
    holder::Holder,
    id::RunId,
    run::{ErrorKind, RunError, Trigger},
    secret::Secrets,
    settings::Settings,
    side::{BODY_PARTING, Ended, HOOK_LIMIT},
};
use serde_json::Value;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    Context, Edges, Hosted, Outcome, Task,
    attempt::{Limits, Settled, panicked, settle},
    body::{Order, admit},
    context::Held,
    execute::{declared, settings_at_run_time},
    log, output,
};

/// How long a body may take to stop at its next await once it is dropped.
const DROP_LIMIT: Duration = Duration::from_millis(500);

/// What a runner tells the process in its environment; by hand there is none.
#[derive(Debug, Default)]
pub(crate) struct Hosting {
    run_id: Option<RunId>,
    epoch: u64,
    settings: Option<String>,
}

impl Hosting {
    /// Whether a runner reads what the process prints.
    pub(crate) fn is_by_runner(&self) -> bool {
        self.run_id.is_some()
    }

    /// Reads it by its variables' names.
    pub(crate) fn read(variable: impl Fn(&str) -> Result<Option<String>, String>) -> Result<Self, String> {
        let run_id = variable("LAMPLIGHTER_RUN_ID")?
            .map(|text| text.parse().map_err(|error| format!("LAMPLIGHTER_RUN_ID is `{text}`: {error}")));
        let epoch = variable("LAMPLIGHTER_EPOCH")?.map(|text| {
            text.parse().map_err(|_| format!("LAMPLIGHTER_EPOCH is `{text}`: it must be a number"))
        });
        let settings = variable("LAMPLIGHTER_SETTINGS_AT_RUN_TIME")?;
        Ok(Self { run_id: run_id.transpose()?, epoch: epoch.transpose()?.unwrap_or(0), settings })
    }
}

/// Runs the task's body to its end, and tells how that was.
pub(crate) async fn live<T: Task>(task: T, hosting: Hosting, edges: &Edges) -> ExitCode {
    let Ok(declared) = declared::<T>() else { return ExitCode::FAILURE };
    let asked = asked_to_end(hosting.run_id.is_some());
    let task = Arc::new(Hosted::from(task));
    let now = Timestamp::now();
    let run_id = hosting.run_id.unwrap_or_else(|| RunId::new(now, random()));
    log::begin(run_id, Trigger::Runner);

    let settings = settings(&hosting, &declared, edges);
    let definition = match &settings {
        Ok(settings) => settings.applied_to(declared),
        Err(_) => declared,
    };
    log::mask(edges.hide(&definition, &Value::Null, None).0);
    let (ended, code) = match settings {
        Ok(_) => body(&task, &definition, run_id, hosting.epoch, &asked, edges).await,
        Err(error) => failed(error),
    };
    task.end(&edges.bodies.runtime).await;
    let (secrets, shown) = edges.hide(&definition, &Value::Null, ended.data.as_ref());
    tell(masked(Ended { config: shown.config, data: shown.data, ..ended }, &secrets));
    log::over();
    code
}

fn settings(hosting: &Hosting, declared: &Definition, edges: &Edges) -> Result<Settings, RunError> {
    let at_run_time = settings_at_run_time(hosting.settings.as_deref())?;
    Ok(edges.settings(declared)?.overridden_by(at_run_time, &declared.config_schema))
}

/// Fires when the process is asked to end.
fn asked_to_end(hosted: bool) -> CancellationToken {
    let asked = CancellationToken::new();
    match EndSignals::of_anybody() {
        Ok(mut signals) => {
            let asked = asked.clone();
            tokio::spawn(async move {
                signals.next().await;
                asked.cancel();
            });
        }
        Err(error) => tracing::warn!("the process's end will not be noticed: {error}"),
    }
    if hosted {
        let asked = asked.clone();
        // A thread of its own, which nobody waits for when the process ends.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            // Its runner is gone, and what the body prints as it ends must not fail for that.
            output::let_go();
            asked.cancel();
        });
    }
    asked
}

/// Runs the body, and what the author has for its end.
async fn body<T: Task>(
    task: &Arc<Hosted<T>>,
    definition: &Definition,
    run_id: RunId,
    epoch: u64,
    asked: &CancellationToken,
    edges: &Edges,
) -> (Ended, ExitCode) {
    let now = Timestamp::now();
    let limits =
        Limits { deadline: Timestamp::MAX, asked: asked.clone(), cancellation: CancellationToken::new() };
    let envelope = Envelope::of(Trigger::Runner);
    let request = Request {
        run_id,
        holder: Holder::default(),
        trigger: Trigger::Runner,
        occasion: Occasion::Wish,
        overlap: Overlap::Skip,
        runs_once: false,
        now,
        until: Timestamp::MAX,
    };
    let order = Order { definition, envelope: &envelope, request: &request, limits: limits.clone(), edges };
    let ctx = match admit(task, &order, Held::Task(Hold::GroupCommit { epoch })).await {
        Ok(ctx) => ctx,
        Err(_) if asked.is_cancelled() => return stopped(),
        Err(conclusion) => return failed(conclusion.error.unwrap_or_else(unsaid)),
    };
    log::attempt(1);
    tracing::info!("{} begins", definition.name);
    let runtime = &edges.bodies.runtime;
    let mut code = {
        let (task, ctx) = (Arc::clone(task), ctx.clone());
        runtime.spawn(async move {
            match task.equip(ctx).await {
                Ok(ctx) => settle(task.run(ctx).await),
                Err(error) => settle(Err(error)),
            }
        })
    };
    let settled = tokio::select! {
        biased;
        settled = &mut code => settled.unwrap_or_else(|join| Settled::Failed { error: panicked(join), retryable: true }),
        () = asked.cancelled() => {
            limits.cancellation.cancel();
            part(code).await;
            hook("on_shutdown", runtime.spawn(shut_down(Arc::clone(task), ctx))).await;
            return stopped();
        }
    };
    match settled {
        Settled::Succeeded(outcome) => {
            tracing::info!("{} came to its end by itself: {}", definition.name, outcome.message);
            let Outcome { message, data, .. } = outcome;
            (Ended { message: Some(message), data, ..Ended::default() }, ExitCode::SUCCESS)
        }
        Settled::Failed { error, .. } => {
            tracing::error!("{} failed: {error}", definition.name);
            let (task, of) = (Arc::clone(task), error.clone());
            hook("on_error", runtime.spawn(async move { task.on_error(ctx, of).await })).await;
            failed(error)
        }
    }
}

/// What the author has for a shutdown, with the state that the body had.
async fn shut_down<T: Task>(task: Arc<Hosted<T>>, ctx: Context<T::Config>) {
    if let Some(ctx) = task.equipped(ctx) {
        task.on_shutdown(ctx).await;
    }
}

/// Waits for a body whose cancellation has fired, and drops it if it takes too long.
async fn part(mut code: JoinHandle<Settled>) {
    match timeout(BODY_PARTING, &mut code).await {
        Ok(Ok(Settled::Failed { error, .. })) => tracing::warn!("as it was to end it failed: {error}"),
        Ok(Err(join)) => tracing::warn!("as it was to end it {}", panicked(join)),
        Ok(Ok(Settled::Succeeded(_))) => {}
        Err(_) => {
            tracing::warn!("it did not end within {BODY_PARTING:?} of its cancellation, and is dropped");
            code.abort();
            let _ = timeout(DROP_LIMIT, code).await;
        }
    }
}

/// Waits for a piece of the author's code that is called once.
async fn hook(name: &str, code: JoinHandle<()>) {
    match timeout(HOOK_LIMIT, code).await {
        Ok(Ok(())) => {}
        Ok(Err(join)) => tracing::error!("`{name}` {}", panicked(join)),
        Err(_) => tracing::error!("`{name}` took more than {HOOK_LIMIT:?}, and is left"),
    }
}

fn failed(error: RunError) -> (Ended, ExitCode) {
    (Ended { error: Some(error), ..Ended::default() }, ExitCode::FAILURE)
}

fn stopped() -> (Ended, ExitCode) {
    let message = Some("stopped: it was asked to end".to_owned());
    (Ended { message, ..Ended::default() }, ExitCode::SUCCESS)
}

fn unsaid() -> RunError {
    RunError::new(ErrorKind::System, "it did not begin")
}

fn masked(ended: Ended, secrets: &Secrets) -> Ended {
    let Ended { message, data, error, config, why } = ended;
    Ended {
        message: message.map(|text| secrets.mask(&text)),
        data: data.map(|data| secrets.mask_value(data)),
        error: error.map(|error| RunError::new(error.kind, secrets.mask(&error.message))),
        config,
        why,
    }
}

/// The last line of standard output. The exit code says the most important of it too, so nobody has to listen.
fn tell(ended: Ended) {
    let ended: Value = serde_json::to_value(ended).unwrap_or_default();
    let _ = writeln!(std::io::stdout(), "{ended}");
}
