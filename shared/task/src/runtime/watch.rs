//! Watches for the cancellation of a run in progress.

use std::{convert::Infallible, future::pending, time::Duration};

use lamplighter_aws::table::{Table, TableError};
use lamplighter_core::{id::RunId, job::JobKey, name::TaskName};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::runtime::context::RunLease;

/// The time until the first check. Shorter runs, which are most, cost no read.
const FIRST_CHECK: Duration = Duration::from_secs(10);
/// The interval between checks. Each costs half a read unit.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// The interval between checks of a job under a runner, whose table is local.
const CHECK_INTERVAL_IN_RUNNER: Duration = Duration::from_secs(1);
/// The interval between checks of a cron or lifecycle run whose table is local.
const CHECK_INTERVAL_IN_LOCAL_TABLE: Duration = Duration::from_millis(500);

/// Checks periodically whether the run's cancellation is requested, and fires `cancel_requested` if so.
///
/// It never returns: use it in a `select!`. A failed check is logged, and the run continues.
pub(crate) async fn watch_for_cancellation(
    table: Option<&Table>,
    table_is_local: bool,
    task: &TaskName,
    run_id: RunId,
    lease: RunLease,
    cancel_requested: &CancellationToken,
) -> Infallible {
    let Some(table) = table else { return pending().await };
    let (mut pause, interval) = match lease {
        RunLease::Job { in_runner: true, .. } => (CHECK_INTERVAL_IN_RUNNER, CHECK_INTERVAL_IN_RUNNER),
        RunLease::Task(_) if table_is_local => (CHECK_INTERVAL_IN_LOCAL_TABLE, CHECK_INTERVAL_IN_LOCAL_TABLE),
        RunLease::Job { in_runner: false, .. } | RunLease::Task(_) => (FIRST_CHECK, CHECK_INTERVAL),
    };
    while !cancel_requested.is_cancelled() {
        sleep(pause).await;
        match is_cancel_requested(table, task, run_id, lease).await {
            Ok(true) => cancel_requested.cancel(),
            Ok(false) => {}
            Err(error) => tracing::warn!("cannot check whether the run is cancelled: {error}"),
        }
        pause = interval;
    }
    pending().await
}

async fn is_cancel_requested(
    table: &Table,
    task: &TaskName,
    run_id: RunId,
    lease: RunLease,
) -> Result<bool, TableError> {
    match lease {
        RunLease::Task(fence) => table.is_cancelled(task, run_id, fence).await,
        RunLease::Job { fencing_token, .. } => {
            table.is_aborted(&JobKey { task: task.clone(), run_id }, fencing_token).await
        }
    }
}
