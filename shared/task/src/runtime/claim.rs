//! Claims the task for a run by its overlap policy, and records a run whose claim is refused.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::table::{Table, TableError};
use lamplighter_core::{
    claim::{Decision, Fence, Grant, Occasion, PastOccasion, REPLACE_WAIT, Refusal, Request},
    definition::Overlap,
    envelope::{Envelope, Report},
    id::RunId,
    name::TaskName,
    reason::Reason,
    run::{Run, Trigger},
    status::Status,
};

use crate::runtime::{limits::time_left, log};

/// The longest pause between claims while another run is being cancelled.
const BETWEEN_CLAIMS: Duration = Duration::from_secs(1);

/// Claims the task. On return, `request.now` is the time of the claim.
///
/// A run whose id the sender chose may have ended already: after a redelivered request, a tick recorded as SKIPPED, or
/// a rollback that resumes. The lock does not show this, so the run's record is read while the lock is held, when
/// nobody else can write one.
pub(crate) async fn claim(
    table: Option<&Table>,
    task: &TaskName,
    envelope: &Envelope,
    request: &mut Request,
    latest: Timestamp,
) -> Result<Decision, TableError> {
    let Some(table) = table else {
        let fence = Fence::Exclusive { token: 0 };
        return Ok(Decision::Granted(Grant { fence, lost: Vec::new(), settings: None }));
    };
    let decision = match request.overlap {
        Overlap::Replace => replace(table, task, request, latest).await?,
        Overlap::Skip | Overlap::Allow | Overlap::Buffer => table.claim(task, request).await?,
    };
    if let Decision::Granted(grant) = &decision
        && (request.trigger == Trigger::Rollback || !matches!(request.occasion, Occasion::Deployment { .. }))
        && envelope.run_id.is_some()
        && table.run(task, request.run_id).await?.is_some()
    {
        table.give_back(task, request, grant.fence).await?;
        let occasion = PastOccasion::Run(request.run_id);
        return Ok(Decision::Refused(Refusal::AlreadyRan { occasion }));
    }
    Ok(decision)
}

/// Claims the task. If another run holds it, cancels that run and claims again, for at most [`REPLACE_WAIT`] and not
/// after `latest`.
async fn replace(
    table: &Table,
    task: &TaskName,
    request: &mut Request,
    latest: Timestamp,
) -> Result<Decision, TableError> {
    let latest = latest.min(request.now.saturating_add(REPLACE_WAIT).unwrap_or(Timestamp::MAX));
    let mut asked: Option<RunId> = None;
    loop {
        let decision = table.claim(task, request).await?;
        let Decision::Refused(Refusal::PreviousInstanceRunning { run_id, .. }) = decision else {
            return Ok(decision);
        };
        if request.now >= latest {
            return Ok(decision);
        }
        if asked != Some(run_id) {
            tracing::info!("cancelling run {run_id} of {task}, which this run replaces");
            // The result does not matter: the run may have just ended.
            let _ = table.cancel(task, run_id).await?;
            asked = Some(run_id);
        }
        tokio::time::sleep(BETWEEN_CLAIMS.min(time_left(latest))).await;
        request.now = Timestamp::now();
    }
}

/// Reports a run whose claim was refused, and records it as SKIPPED if the task is disabled or another run prevented
/// it.
///
/// Nothing is recorded if another delivery of the same run has or will have the record, or if the run is requested
/// again under the same id: runs of a deployment, and ticks that the pulse buffers.
pub(crate) async fn record_skip(
    table: Option<&Table>,
    run: Run,
    overlap: Overlap,
    refusal: Refusal,
) -> Result<Report, TableError> {
    let is_kept_out = matches!(refusal, Refusal::PreviousInstanceRunning { .. });
    let reason = match (overlap, refusal.reason()) {
        (Overlap::Replace, Reason::Held { run_id, until }) => Reason::NotReplaced { run_id, until },
        (_, reason) => reason,
    };
    let run = Run { status: Status::Skipped, ..run }.because(reason);
    let is_kept = run.deployment.is_some() || (overlap == Overlap::Buffer && run.trigger == Trigger::Pulse);
    let is_new = (is_kept_out && !is_kept) || refusal == Refusal::Disabled;
    if let Some(table) = table.filter(|_| is_new) {
        // A record of an earlier delivery is kept.
        let _ = table.record(&run).await?;
    }
    log::end(&run);
    Ok(Report { refused: Some(refusal), ..Report::of(&run) })
}
