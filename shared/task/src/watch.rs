//! Noticing that somebody asked for the end of a run in progress.

use std::{convert::Infallible, future::pending, time::Duration};

use lamplighter_aws::table::{Table, TableError};
use lamplighter_core::{id::RunId, job::JobKey, name::TaskName};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::context::Held;

/// When a run is first looked at. Shorter ones, which are most, cost no read.
const FIRST_LOOK: Duration = Duration::from_secs(10);
/// How long it is from one look to the next. Each costs half a read unit.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);
/// How long it is from one look to the next at a job that a runner started: its table is at hand.
const LOOKS_IN_RUNNER: Duration = Duration::from_secs(1);

/// Looks now and then whether somebody asked for the end of a run, and fires `asked` if so. Whoever awaits it waits for
/// something else besides: it never returns. A look that fails is told, and the run goes on.
pub(crate) async fn watch(
    table: Option<&Table>,
    task: &TaskName,
    run_id: RunId,
    held: Held,
    asked: &CancellationToken,
) -> Infallible {
    let Some(table) = table else { return pending().await };
    let (mut pause, further) = match held {
        Held::Job { in_runner: true, .. } => (LOOKS_IN_RUNNER, LOOKS_IN_RUNNER),
        Held::Job { in_runner: false, .. } | Held::Task(_) => (FIRST_LOOK, BETWEEN_LOOKS),
    };
    while !asked.is_cancelled() {
        sleep(pause).await;
        match is_asked(table, task, run_id, held).await {
            Ok(true) => asked.cancel(),
            Ok(false) => {}
            Err(error) => tracing::warn!("whether somebody asked for the run's end is not known: {error}"),
        }
        pause = further;
    }
    pending().await
}

async fn is_asked(table: &Table, task: &TaskName, run_id: RunId, held: Held) -> Result<bool, TableError> {
    match held {
        Held::Task(its) => table.is_cancelled(task, run_id, its).await,
        Held::Job { fencing_token, .. } => {
            table.is_aborted(&JobKey { task: task.clone(), run_id }, fencing_token).await
        }
    }
}
