//! A claimed run: everything between its claim and its record.

use jiff::Timestamp;
use lamplighter_aws::table::Table;
use lamplighter_core::{
    claim::Request,
    definition::Definition,
    envelope::Envelope,
    hidden,
    run::{Run, RunError},
    settings::Settings,
};

use crate::runtime::{
    TaskInstance,
    attempt::Conclusion,
    body::{RunInputs, admit, run_body},
    context::RunLease,
    limits::{Limits, deadline},
    log,
    process::{ProcessEnvironment, applied},
    record::conclude,
    watch::watch_for_cancellation,
};

/// A run between its claim and its record.
pub(crate) struct ClaimedRun<'a> {
    /// The overrides of the task's definition.
    pub settings: Result<Settings, RunError>,
    /// The definition as the task declares it.
    pub declared: &'a Definition,
    pub envelope: &'a Envelope,
    pub request: &'a Request,
    pub lease: RunLease,
    pub process_ends: Timestamp,
    pub table: Option<&'a Table>,
    pub process: &'a ProcessEnvironment,
}

/// The result of a claimed run, beside its record.
pub(crate) struct ClaimedRunResult {
    /// The definition, with all overrides applied.
    pub definition: Definition,
    /// Another attempt may succeed.
    pub retryable: bool,
    /// As in [`Executed`](crate::Executed).
    pub stuck: bool,
}

/// Runs the body of a claimed run, and writes its result into `run`. The caller stores the record.
pub(crate) async fn run_claimed(
    task: &TaskInstance,
    claimed: ClaimedRun<'_>,
    run: &mut Run,
) -> ClaimedRunResult {
    let ClaimedRun { settings, declared, envelope, request, lease, process_ends, table, process } = claimed;
    let definition = applied(&settings, declared);
    let (mut secrets, shown) = process.separate_secrets(&definition, &envelope.arguments, None);
    log::mask(secrets.clone());
    let limits = Limits::until(deadline(&definition, request, process_ends));
    let inputs = RunInputs { definition: &definition, envelope, request, limits, process };

    let executing = async {
        settings.map_err(Conclusion::refused)?;
        let admitted = admit(task, &inputs, lease).await?;
        Ok(run_body(admitted, &definition, process_ends, &process.body_runtime).await)
    };
    let conclusion: Result<_, Conclusion> = tokio::select! {
        conclusion = executing => conclusion,
        never = watch_for_cancellation(table, process.table_is_local, &run.task, run.id, lease, &inputs.limits.cancel_requested) => match never {},
    };
    let conclusion = conclusion.unwrap_or_else(|refused| refused);

    run.config = shown.config;
    let mut data = conclusion.outcome.as_ref().and_then(|outcome| outcome.data.clone());
    if data.is_some() && hidden::marks(&definition.result_schema) {
        let with_data = process.separate_secrets(&definition, &envelope.arguments, data.as_ref());
        (secrets, data) = (with_data.0, with_data.1.data);
        log::mask(secrets.clone());
    }
    conclude(run, &conclusion, data, &secrets);
    let Conclusion { retryable, stuck, .. } = conclusion;
    ClaimedRunResult { definition, retryable, stuck }
}
