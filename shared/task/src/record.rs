//! A run's record: as it begins, as it ends, and its way into the table.

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::table::{Recorded, Table, TableError, is_large};
use lamplighter_core::{
    claim::{Hold, Request},
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

use crate::{attempt::Conclusion, execute::Edges};

/// The longest message that is kept of a run, in bytes.
const MAX_MESSAGE: usize = 8192;
/// The longest message that is kept of one attempt, in bytes. There may be many, and all must fit one item.
const MAX_ATTEMPT_MESSAGE: usize = 1024;

/// The record as far as it is known when the run begins.
pub(crate) fn begun(task: &Definition, envelope: &Envelope, request: &Request, edges: &Edges) -> Run {
    let arguments = match task.queue() {
        Some(queue) => hidden::take_all([(&envelope.arguments, &queue.arguments_schema)]).1[0].take(),
        None => envelope.arguments.clone(),
    };
    Run {
        arguments,
        scheduled_for: envelope.scheduled_for,
        deployment: envelope.deployment.clone(),
        retry_of: envelope.retry_of,
        environment: edges.environment.clone(),
        log: edges.log.clone(),
        ..Run::begun(request.run_id, task.name.clone(), request.trigger, request.now)
    }
}

/// Puts the end into the record, without secrets and within bounds. `data` is the outcome's, without what its schema marks.
pub(crate) fn conclude(run: &mut Run, conclusion: &Conclusion, data: Option<Value>, secrets: &Secrets) {
    let shown = |text: &str, most: usize| {
        let text = secrets.mask(text);
        text[..text.floor_char_boundary(most)].to_owned()
    };
    let told = |error: &RunError, most| RunError::new(error.kind, shown(&error.message, most));
    run.status = conclusion.status();
    run.error = conclusion.error.as_ref().map(|error| told(error, MAX_MESSAGE));
    let masked = |reason: Reason| reason.map_texts(|text| shown(text, MAX_ATTEMPT_MESSAGE));
    run.why = conclusion.why.clone().map(masked);
    run.attempts.clone_from(&conclusion.attempts);
    for attempt in &mut run.attempts {
        attempt.error = attempt.error.as_ref().map(|error| told(error, MAX_ATTEMPT_MESSAGE));
    }
    if let Some(outcome) = &conclusion.outcome {
        run.message = Some(shown(&outcome.message, MAX_MESSAGE));
        run.data = data.map(|data| secrets.mask_value(data));
    }
    run.completed_at = Timestamp::now();
}

/// Writes the record and lets go of the task. Data that no record can hold, or that cannot be stored until `latest`, fails
/// the run, and the record says so.
pub(crate) async fn finish(
    table: Option<&Table>,
    run: Run,
    hold: Hold,
    latest: Timestamp,
) -> Result<Run, TableError> {
    let Some(table) = table else { return Ok(run) };
    let run = store(table, run, latest).await;
    let (recorded, run) = match table.finish(&run, hold).await {
        Err(error @ TableError::TooLarge { .. }) => {
            let failed = without_values(run, ErrorKind::Execution, error.to_string());
            (table.finish(&failed, hold).await?, failed)
        }
        recorded => (recorded?, run),
    };
    Ok(match recorded {
        Recorded::Written => run,
        Recorded::Before(stands) => *stands,
    })
}

/// Puts the run's large values into the bucket. Should that fail, the run has failed, and is without them.
pub(crate) async fn store(table: &Table, run: Run, latest: Timestamp) -> Run {
    match stored(table, &run, latest).await {
        Ok(stored) => stored.into_owned(),
        Err(why) => {
            without_values(run, ErrorKind::System, format!("what the run leaves could not be stored: {why}"))
        }
    }
}

/// The run with its large values in the bucket.
async fn stored<'a>(table: &Table, run: &'a Run, latest: Timestamp) -> Result<Cow<'a, Run>, String> {
    let left = Duration::try_from(latest.duration_since(Timestamp::now())).unwrap_or_default();
    match timeout(left, table.put_away(run)).await {
        Ok(stored) => stored.map_err(|error| error.to_string()),
        Err(_) => Err("the time of the function was up before".to_owned()),
    }
}

/// The run as it is recorded if its values cannot be. What failed before tells more than that.
fn without_values(run: Run, kind: ErrorKind, why: String) -> Run {
    let config = if is_large(&run.config) { Value::Null } else { run.config };
    let run = Run { data: None, config, ..run };
    if run.status != Status::Completed {
        tracing::warn!("{why}");
        return run;
    }
    Run { message: None, ..run }.failed_with(RunError::new(kind, why))
}
