//! Getting the task for a run, by its policy of overlap, and what is said of a run that does not get it.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::table::{Table, TableError};
use lamplighter_core::{
    claim::{Decision, Grant, Hold, Occasion, PastOccasion, REPLACE_WAIT, Refusal, Request},
    definition::Overlap,
    envelope::{Envelope, Report},
    id::RunId,
    name::TaskName,
    reason::Reason,
    run::{Run, Trigger},
    status::Status,
};

use crate::log;

/// How long it is from one claim to the next while another run is being ended.
const BETWEEN_CLAIMS: Duration = Duration::from_secs(1);

/// Claims the task. A run whose id the sender fixed may be over already, if it was a wish that is delivered again, a tick
/// that was recorded as SKIPPED, or an undo that a further rollback goes on with: the lock knows nothing of that, but the
/// run's record does, and while the lock is held nobody can write another.
///
/// The request's time is that of the claim when this returns.
pub(crate) async fn claim(
    table: Option<&Table>,
    task: &TaskName,
    envelope: &Envelope,
    request: &mut Request,
    latest: Timestamp,
) -> Result<Decision, TableError> {
    let Some(table) = table else {
        let hold = Hold::GroupCommit { epoch: 0 };
        return Ok(Decision::Granted(Grant { hold, lost: Vec::new(), settings: None }));
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
        table.give_back(task, request, grant.hold).await?;
        let occasion = PastOccasion::Run(request.run_id);
        return Ok(Decision::Refused(Refusal::AlreadyRan { occasion }));
    }
    Ok(decision)
}

/// Claims the task, and while another run has it, asks that to end and claims again: for [`REPLACE_WAIT`], but not after
/// `latest`.
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
            tracing::info!("{task} runs: {run_id} is asked to end, since this run is to take its place");
            // One that has just ended need not be asked.
            let _ = table.cancel(task, run_id).await?;
            asked = Some(run_id);
        }
        tokio::time::sleep(BETWEEN_CLAIMS).await;
        request.now = Timestamp::now();
    }
}

/// What is said of a run that does not begin. A run that another one kept out is recorded as SKIPPED; one that has
/// had its record or will have it from another delivery is not recorded again, and neither is one that is asked for
/// again under the same id: a deployment's, or a tick that the pulse keeps until the run before it is over.
pub(crate) async fn skip(
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
        // A record of that id from an earlier delivery stands.
        let _ = table.record(&run).await?;
    }
    log::end(&run);
    Ok(Report { refused: Some(refusal), ..Report::of(&run) })
}
