//! Log lines: one JSON object each, with task, run id, attempt and trigger, so that CloudWatch Logs Insights can select
//! the lines of one run.
//!
//! A process executes one run at a time, as in Lambda, so the current run is global state. Lines of threads and async
//! tasks that the body spawns therefore have it, too. In return, a thread that outlives its run logs under the next one.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt::{self, Write as _},
    io::Write as _,
    panic::PanicHookInfo,
    sync::{PoisonError, RwLock},
};

use jiff::Timestamp;
use lamplighter_core::{
    id::RunId,
    name::TaskName,
    run::{Run, Trigger},
    secret::Secrets,
};
use serde_json::{Map, Value, json};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    filter::filter_fn,
    layer::{Context, SubscriberExt},
    registry,
};

/// The task and run to which lines belong.
struct LogContext {
    task: String,
    run: Option<LogRun>,
    /// Kept until the next run replaces them: a thread that outlives its run may still log them.
    secrets: Secrets,
}

struct LogRun {
    id: String,
    trigger: Trigger,
    attempt: u32,
}

static CURRENT: RwLock<Option<LogContext>> = RwLock::new(None);

/// The destination of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output, which Lambda sends to CloudWatch Logs.
    Stdout,
    /// Standard error. By hand, standard output has the run's report.
    Stderr,
}

/// Installs the global logger and a panic hook.
///
/// The hook logs panics as lines with their secrets masked; Rust's own would print them to standard error as they are.
pub fn start(level: LevelFilter, output: Output) {
    // The Lambda runtime would log each failed invocation a second time.
    let ours = filter_fn(|metadata| metadata.target() != "lambda_runtime::layers::panic");
    let lines = Lines(output).with_filter(level).with_filter(ours);
    // A subscriber that is already set, e.g. by an author's test, is kept.
    let _ = tracing::subscriber::set_global_default(registry().with(lines));
    std::panic::set_hook(Box::new(panicked));
}

/// Logs a panic's place and message. This is a warning; the run's result is the error.
fn panicked(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("without a message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let trace = Backtrace::capture();
    let backtrace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    tracing::warn!(backtrace, "panicked at {place}: {message}");
}

/// Sets the task of all further lines.
pub(crate) fn task(task: &TaskName) {
    let mut current = CURRENT.write().unwrap_or_else(PoisonError::into_inner);
    let secrets = current.take().map(|current| current.secrets).unwrap_or_default();
    *current = Some(LogContext { task: task.to_string(), run: None, secrets });
}

/// Sets the run of all further lines.
pub(crate) fn begin(run_id: RunId, trigger: Trigger) {
    with_current(|current| current.run = Some(LogRun { id: run_id.to_string(), trigger, attempt: 0 }));
}

/// Sets the secrets that are masked in all further lines.
pub(crate) fn mask(secrets: Secrets) {
    with_current(|current| current.secrets = secrets);
}

/// Sets the attempt of all further lines.
pub(crate) fn attempt(number: u32) {
    with_current(|current| {
        if let Some(run) = &mut current.run {
            run.attempt = number;
        }
    });
}

/// Ends the run: further lines belong to none.
pub(crate) fn over() {
    with_current(|current| current.run = None);
}

/// Logs a run's result in one line. A failure is logged here and nowhere else.
pub(crate) fn end(run: &Run) {
    let (status, duration_ms) = (run.status.as_str(), run.duration_ms());
    let message = run.reason().or(run.message.as_deref()).unwrap_or_default();
    let text = format!("{} {status}: {message}", run.task);
    if let Some(error) = &run.error {
        tracing::error!(status, duration_ms, error_kind = error.kind.as_str(), "{text}");
    } else {
        tracing::info!(status, duration_ms, "{text}");
    }
}

fn with_current(change: impl FnOnce(&mut LogContext)) {
    if let Some(current) = CURRENT.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
        change(current);
    }
}

/// The layer that writes the lines.
struct Lines(Output);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let current = CURRENT.read().unwrap_or_else(PoisonError::into_inner);
        let line = line(Timestamp::now(), *metadata.level(), metadata.target(), fields, current.as_ref());
        drop(current);
        // One write per line, so that lines of several threads do not mix. A failure cannot be reported anywhere.
        let line = format!("{line}\n");
        let _ = match self.0 {
            Output::Stdout => std::io::stdout().lock().write_all(line.as_bytes()),
            Output::Stderr => std::io::stderr().lock().write_all(line.as_bytes()),
        };
    }
}

fn line(at: Timestamp, level: Level, target: &str, fields: Fields, current: Option<&LogContext>) -> Value {
    let mut line = Map::new();
    line.insert("timestamp".into(), json!(format!("{at:.3}")));
    line.insert("level".into(), json!(level.as_str()));
    if let Some(current) = current {
        line.insert("task".into(), json!(current.task));
    }
    if let Some(run) = current.and_then(|current| current.run.as_ref()) {
        line.insert("run_id".into(), json!(run.id));
        line.insert("attempt".into(), json!(run.attempt));
        line.insert("trigger".into(), json!(run.trigger.as_str()));
    }
    line.insert("target".into(), json!(target));
    // Only the message and the author's fields can contain secrets. The fields above are never masked.
    let Fields { message, others } = fields;
    let (message, others) = match current {
        Some(current) => (current.secrets.mask(&message), current.secrets.mask_value(Value::Object(others))),
        None => (message, Value::Object(others)),
    };
    line.insert("message".into(), json!(message));
    if let Value::Object(others) = others {
        for (key, value) in others {
            line.entry(key).or_insert(value);
        }
    }
    Value::Object(line)
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String does not fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.put(field, json!(format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { self.message.push_str(value) } else { self.put(field, json!(value)) }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, json!(value));
    }
}
