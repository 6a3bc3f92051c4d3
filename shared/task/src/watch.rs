//! Noticing that somebody asked for the end of a run in progress.

use std::{convert::Infallible, future::pending, time::Duration};

use lamplighter_aws::table::Table;
use lamplighter_core::{claim::Hold, id::RunId, name::TaskName};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// When a run is first looked at. Shorter ones, which are most, cost no read.
const FIRST_LOOK: Duration = Duration::from_secs(10);
/// How long it is from one look to the next. Each costs half a read unit.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// Looks now and then whether somebody asked for the end of a run, and fires `asked` if so. Whoever awaits it waits for
/// something else besides: it never returns. A look that fails is told, and the run goes on.
pub(crate) async fn watch(
    table: Option<&Table>,
    task: &TaskName,
    run_id: RunId,
    hold: Hold,
    asked: &CancellationToken,
) -> Infallible {
    let Some(table) = table else { return pending().await };
    let mut pause = FIRST_LOOK;
    while !asked.is_cancelled() {
        sleep(pause).await;
        match table.is_cancelled(task, run_id, hold).await {
            Ok(true) => asked.cancel(),
            Ok(false) => {}
            Err(error) => tracing::warn!("whether somebody asked for the run's end is not known: {error}"),
        }
        pause = BETWEEN_LOOKS;
    }
    pending().await
}
