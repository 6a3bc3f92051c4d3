//! The pipeline that executes every task: claim, validate, attempt, record, release; and one rollback after the final
//! failure.
//!
//! The author's code runs in a runtime of its own, and the pipeline only waits for it. It therefore writes the run's
//! record in time even if that code blocks.

use jiff::Timestamp;
use lamplighter_aws::{random::random, table::Table};
use lamplighter_core::{
    claim::{Decision, Refusal, Request, SKEW_MARGIN},
    definition::{Definition, Kind},
    envelope::{Envelope, InvalidEnvelope, Report},
    holder::Holder,
    id::RunId,
    settings::Settings,
};

use crate::runtime::{
    ExecuteError, Executed, Invocation, TaskInstance,
    body::RunInputs,
    claim::{claim, record_skip},
    claimed::{ClaimedRun, ClaimedRunResult, run_claimed},
    context::RunLease,
    due::{has_due_function, is_due},
    limits::{Limits, deadline},
    log,
    process::{ProcessEnvironment, RECORDING, RESERVE, applied, nothing_unresolved, settings_at_run_time},
    record::{conclude, finish, initial_record},
};

/// Executes a task once.
///
/// The steps, in this order:
///
/// 1. Claim the task. A refused claim runs nothing.
/// 2. Validate the configuration and the run.
/// 3. Run the body with its attempts, and its rollback if it fails for good.
/// 4. Write the record and release the lease.
///
/// # Errors
///
/// An error means that nothing was claimed, or that the table failed. In the second case the run is recorded as lost
/// once its lease has expired. Errors are logged here and nowhere else.
pub async fn execute(
    task: &TaskInstance,
    invocation: Invocation,
    process: &ProcessEnvironment,
) -> Result<Executed, ExecuteError> {
    // Boxed, since the future is large, and so would be that of every caller.
    let executed = Box::pin(pipeline(task, invocation, process)).await;
    if let Err(error) = &executed {
        tracing::error!("{error}");
    }
    log::over();
    executed
}

async fn pipeline(
    task: &TaskInstance,
    invocation: Invocation,
    process: &ProcessEnvironment,
) -> Result<Executed, ExecuteError> {
    let declared = task.definition()?;
    if matches!(declared.kind, Kind::Side(_)) {
        return Err(ExecuteError::Side { task: declared.name.clone() });
    }
    let envelope = Envelope::parse(invocation.payload)?;
    let settings = process.settings(declared);
    let definition = applied(&settings, declared);
    let mut request = request(&envelope, &definition, invocation.holder, invocation.deadline)?;
    log::begin(request.run_id, request.trigger);
    let table = process.table(definition.retention).await;

    if settings.is_ok() && has_due_function(&definition, request.trigger) {
        let limits = Limits::until(deadline(&definition, &request, invocation.deadline));
        let inputs =
            RunInputs { definition: &definition, envelope: &envelope, request: &request, limits, process };
        if let Some(executed) = not_due(task, &inputs, table.as_ref()).await? {
            return Ok(executed);
        }
    }

    // Before this, the client was created and the schedule function called.
    request.now = Timestamp::now();
    let latest = invocation.deadline.saturating_sub(RESERVE).unwrap_or(Timestamp::MIN);
    let claimed = claim(table.as_ref(), &definition.name, &envelope, &mut request, latest).await;
    let mut run = initial_record(&definition, &envelope, &request, process);
    let grant = match claimed.map_err(ExecuteError::Claim)? {
        Decision::Granted(grant) => grant,
        Decision::Refused(refusal) => {
            let skipped = record_skip(table.as_ref(), run, request.overlap, refusal).await;
            return Ok(Executed { report: skipped.map_err(ExecuteError::Claim)?, stuck: false });
        }
    };
    run.fencing_token = grant.fence.token();

    let settings = settings.and_then(|settings| {
        let at_run_time = settings_at_run_time(grant.settings.as_deref())?;
        let in_this_run = Settings { config: envelope.config.clone(), ..Settings::default() };
        nothing_unresolved(&at_run_time.config, &[])?;
        nothing_unresolved(&in_this_run.config, &[])?;
        let schema = &declared.config_schema;
        Ok(settings.overridden_by(at_run_time, schema).overridden_by(in_this_run, schema))
    });
    let claimed = ClaimedRun {
        settings,
        declared,
        envelope: &envelope,
        request: &request,
        lease: RunLease::Task(grant.fence),
        process_ends: invocation.deadline,
        table: table.as_ref(),
        process,
    };
    let ClaimedRunResult { definition, stuck, .. } = run_claimed(task, claimed, &mut run).await;
    let table = table.map(|table| table.with_retention(definition.retention));
    let latest = invocation.deadline.saturating_sub(RECORDING).unwrap_or(Timestamp::MIN);
    let run = finish(table.as_ref(), run, grant.fence, latest)
        .await
        .map_err(|source| ExecuteError::Record { source, stuck })?;
    log::end(&run);
    Ok(Executed { report: Report::of(&run), stuck })
}

/// Calls the task's schedule function. Returns `None` if the run is due, otherwise its result.
///
/// A run that is not due is not recorded. A failure of the function is recorded as FAILED.
async fn not_due(
    task: &TaskInstance,
    inputs: &RunInputs<'_>,
    table: Option<&Table>,
) -> Result<Option<Executed>, ExecuteError> {
    let RunInputs { definition, envelope, request, process, .. } = inputs;
    let (secrets, shown) = process.separate_secrets(definition, &envelope.arguments, None);
    log::mask(secrets.clone());
    let refused = match is_due(task, inputs).await {
        Ok(true) => return Ok(None),
        Ok(false) => Ok(Refusal::NotDue),
        Err(conclusion) => Err(conclusion),
    };
    let mut run = initial_record(definition, envelope, request, process);
    match refused {
        Ok(refusal) => {
            let skipped = record_skip(table, run, request.overlap, refusal).await;
            Ok(Some(Executed { report: skipped.map_err(ExecuteError::Claim)?, stuck: false }))
        }
        Err(conclusion) => {
            run.config = shown.config;
            conclude(&mut run, &conclusion, None, &secrets);
            let stuck = conclusion.stuck;
            if let Some(table) = table {
                // A record of an earlier delivery is kept.
                let recorded = table.record(&run).await;
                let _ = recorded.map_err(|source| ExecuteError::Record { source, stuck })?;
            }
            log::end(&run);
            Ok(Some(Executed { report: Report::of(&run), stuck }))
        }
    }
}

fn request(
    envelope: &Envelope,
    definition: &Definition,
    holder: Holder,
    deadline: Timestamp,
) -> Result<Request, InvalidEnvelope> {
    let now = Timestamp::now();
    Ok(Request {
        run_id: envelope.run_id.unwrap_or_else(|| RunId::new(now, random())),
        holder,
        trigger: envelope.trigger,
        occasion: envelope.occasion()?,
        overlap: definition.overlap(),
        runs_once: definition.runs_once(),
        now,
        until: deadline.saturating_add(SKEW_MARGIN).unwrap_or(Timestamp::MAX),
    })
}
