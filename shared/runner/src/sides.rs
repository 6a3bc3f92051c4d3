//! The side tasks of a runner: each is kept as it is at the moment, and started anew when it is built anew.

use std::sync::Arc;

use lamplighter_aws::table::Table;
use lamplighter_core::name::TaskName;
use lamplighter_local::LogLine;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    events::{Event, Reporter},
    machine::Machine,
    side::{Side, Told, supervise},
};

/// One that is kept.
struct Kept {
    side: Side,
    end: CancellationToken,
    task: JoinHandle<()>,
}

/// Keeps the side tasks of the moment until `stop`, and returns when their processes are gone.
pub async fn keep(
    mut sides: watch::Receiver<Arc<Vec<Side>>>,
    machine: Arc<Machine>,
    table: Table,
    reporter: Arc<dyn Reporter>,
    stop: CancellationToken,
) {
    let mut kept: Vec<Kept> = Vec::new();
    loop {
        let wanted = Arc::clone(&sides.borrow_and_update());
        let (same, others): (Vec<_>, Vec<_>) = kept.into_iter().partition(|it| wanted.contains(&it.side));
        kept = same;
        for it in &others {
            it.end.cancel();
        }
        ended(others).await;
        let missing = wanted.iter().filter(|side| kept.iter().all(|it| it.side != **side));
        let begun: Vec<_> =
            missing.map(|side| Kept::begin(side.clone(), &machine, &table, &reporter, &stop)).collect();
        kept.extend(begun);
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = sides.changed() => if changed.is_err() {
                stop.cancelled().await;
                break;
            }
        }
    }
    ended(kept).await;
}

async fn ended(kept: Vec<Kept>) {
    for it in kept {
        // One that panicked has ended, too.
        let _ = it.task.await;
    }
}

impl Kept {
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
            let told = |told: Told<'_>| tell(&*reporter, &machine, &it.task, &told);
            supervise(&it, &table, told, shutdown).await;
        });
        Self { side, end, task }
    }
}

/// Tells what becomes of a side task, and what it prints.
fn tell(reporter: &dyn Reporter, machine: &Machine, task: &TaskName, told: &Told<'_>) {
    match told {
        Told::Line(run, line) => machine.hear(LogLine {
            function: machine.function(task.as_str()),
            request_id: None,
            label: Some(run.to_string()),
            line: (*line).to_owned(),
        }),
        Told::Began(_) => reporter.event(&Event::SideBegan(task)),
        Told::Ended(run, _) => reporter.event(&Event::SideEnded(task, run.status)),
        Told::Elsewhere(_) => reporter.event(&Event::SideElsewhere(task)),
        Told::Disabled => {}
        Told::Trouble(error) => reporter.warn(&error.to_string()),
    }
}
