//! A run's record: its start, its result, and its storage.

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::table::{Recorded, Table, TableError, is_large};
use lamplighter_core::{
    claim::{Fence, Request},
    definition::Definition,
    envelope::Envelope,
    hidden,
    reason::Reason,
    run::{ErrorKind, Run, RunError},
    secret::Secrets,
    status::Status,
};
use serde_json::Value;
use tokio::time::timeout;

use crate::runtime::{attempt::Conclusion, process::ProcessEnvironment};

/// The maximum length of a run's message, in bytes.
const MAX_MESSAGE: usize = 8192;
/// The maximum length of an attempt's message, in bytes. All attempts must fit into one item.
const MAX_ATTEMPT_MESSAGE: usize = 1024;

/// Creates the record at the start of a run.
pub(crate) fn initial_record(
    task: &Definition,
    envelope: &Envelope,
    request: &Request,
    process: &ProcessEnvironment,
) -> Run {
    let arguments = match task.queue() {
        Some(queue) => hidden::take_all([(&envelope.arguments, &queue.arguments_schema)]).1[0].take(),
        None => envelope.arguments.clone(),
    };
    Run {
        arguments,
        scheduled_for: envelope.scheduled_for,
        deployment: envelope.deployment.clone(),
        retry_of: envelope.retry_of,
        environment: process.environment.clone(),
        log: process.log.clone(),
        ..Run::begun(request.run_id, task.name.clone(), request.trigger, request.now)
    }
}

/// Writes the result into the record, with secrets masked and messages cut to their maximum length. `data` is the
/// outcome's data, without the values that its schema marks as secret.
pub(crate) fn conclude(run: &mut Run, conclusion: &Conclusion, data: Option<Value>, secrets: &Secrets) {
    let shown = |text: &str, most: usize| {
        let text = secrets.mask(text);
        text[..text.floor_char_boundary(most)].to_owned()
    };
    let shortened = |error: &RunError, most| RunError::new(error.kind, shown(&error.message, most));
    run.status = conclusion.status();
    run.error = conclusion.error.as_ref().map(|error| shortened(error, MAX_MESSAGE));
    let masked = |reason: Reason| reason.map_texts(|text| shown(text, MAX_ATTEMPT_MESSAGE));
    run.why = conclusion.why.clone().map(masked);
    run.attempts.clone_from(&conclusion.attempts);
    for attempt in &mut run.attempts {
        attempt.error = attempt.error.as_ref().map(|error| shortened(error, MAX_ATTEMPT_MESSAGE));
    }
    if let Some(outcome) = &conclusion.outcome {
        run.message = Some(shown(&outcome.message, MAX_MESSAGE));
        run.data = data.map(|data| secrets.mask_value(data));
    }
    run.completed_at = Timestamp::now();
}

/// Writes the record and releases the lease. Data that is too large for a record, or cannot be stored before `latest`,
/// fails the run.
pub(crate) async fn finish(
    table: Option<&Table>,
    run: Run,
    fence: Fence,
    latest: Timestamp,
) -> Result<Run, TableError> {
    let Some(table) = table else { return Ok(run) };
    let run = store(table, run, latest).await;
    let (recorded, run) = match table.finish(&run, fence).await {
        Err(error @ TableError::TooLarge { .. }) => {
            let failed = without_values(run, ErrorKind::Execution, error.to_string());
            (table.finish(&failed, fence).await?, failed)
        }
        recorded => (recorded?, run),
    };
    Ok(match recorded {
        Recorded::Written => run,
        Recorded::Before(stands) => *stands,
    })
}

/// Stores the run's large values in the bucket. If that fails, the run fails and the values are dropped.
pub(crate) async fn store(table: &Table, run: Run, latest: Timestamp) -> Run {
    match stored(table, &run, latest).await {
        Ok(stored) => stored.into_owned(),
        Err(why) => without_values(run, ErrorKind::System, format!("cannot store the run's values: {why}")),
    }
}

/// Returns the run with its large values in the bucket.
async fn stored<'a>(table: &Table, run: &'a Run, latest: Timestamp) -> Result<Cow<'a, Run>, String> {
    let left = Duration::try_from(latest.duration_since(Timestamp::now())).unwrap_or_default();
    match timeout(left, table.put_away(run)).await {
        Ok(stored) => stored.map_err(|error| error.to_string()),
        Err(_) => Err("the function's time ran out".to_owned()),
    }
}

/// Returns the record without the values that cannot be stored. An earlier failure takes precedence over this one.
fn without_values(run: Run, kind: ErrorKind, why: String) -> Run {
    let config = if is_large(&run.config) { Value::Null } else { run.config };
    let run = Run { data: None, config, ..run };
    if run.status != Status::Completed {
        tracing::warn!("{why}");
        return run;
    }
    Run { message: None, ..run }.failed_with(RunError::new(kind, why))
}
