//! Supervises the side tasks of a runner, and restarts those that change.

use std::sync::Arc;

use lamplighter_aws::table::Table;
use lamplighter_core::name::TaskName;
use lamplighter_local::LogLine;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    events::{Event, Reporter},
    machine::Machine,
    side::{Side, SideEvent, supervise},
};

/// A supervised side task.
struct SupervisedSide {
    side: Side,
    end: CancellationToken,
    task: JoinHandle<()>,
}

/// Supervises the current side tasks until `stop`, and returns once their processes have ended.
pub async fn supervise_all(
    mut sides: watch::Receiver<Arc<Vec<Side>>>,
    machine: Arc<Machine>,
    table: Table,
    reporter: Arc<dyn Reporter>,
    stop: CancellationToken,
) {
    let mut supervised: Vec<SupervisedSide> = Vec::new();
    loop {
        let wanted = Arc::clone(&sides.borrow_and_update());
        let (same, others): (Vec<_>, Vec<_>) =
            supervised.into_iter().partition(|it| wanted.contains(&it.side));
        supervised = same;
        for it in &others {
            it.end.cancel();
        }
        ended(others).await;
        let missing = wanted.iter().filter(|side| supervised.iter().all(|it| it.side != **side));
        let begun: Vec<_> = missing
            .map(|side| SupervisedSide::begin(side.clone(), &machine, &table, &reporter, &stop))
            .collect();
        supervised.extend(begun);
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = sides.changed() => if changed.is_err() {
                stop.cancelled().await;
                break;
            }
        }
    }
    ended(supervised).await;
}

async fn ended(supervised: Vec<SupervisedSide>) {
    for it in supervised {
        // An error means that the task panicked, so it has ended as well.
        let _ = it.task.await;
    }
}

impl SupervisedSide {
    fn begin(
        side: Side,
        machine: &Arc<Machine>,
        table: &Table,
        reporter: &Arc<dyn Reporter>,
        stop: &CancellationToken,
    ) -> Self {
        let (machine, table, reporter) = (Arc::clone(machine), table.clone(), Arc::clone(reporter));
        let (end, it) = (stop.child_token(), side.clone());
        let shutdown = end.clone();
        let task = tokio::spawn(async move {
            let on_event = |event: SideEvent<'_>| report(&*reporter, &machine, &it.task, &event);
            supervise(&it, &table, on_event, shutdown).await;
        });
        Self { side, end, task }
    }
}

/// Reports an event of a side task, or passes on a line that it printed.
fn report(reporter: &dyn Reporter, machine: &Machine, task: &TaskName, event: &SideEvent<'_>) {
    match event {
        SideEvent::Line(run, line) => machine.log(LogLine {
            function: machine.function(task.as_str()),
            request_id: None,
            label: Some(run.to_string()),
            line: (*line).to_owned(),
        }),
        SideEvent::Began(_) => reporter.event(&Event::SideBegan(task)),
        SideEvent::Ended(run, _) => reporter.event(&Event::SideEnded(task, run.status)),
        SideEvent::Elsewhere(_) => reporter.event(&Event::SideElsewhere(task)),
        SideEvent::Disabled => {}
        SideEvent::TableFailed(error) => reporter.warn(&error.to_string()),
    }
}
