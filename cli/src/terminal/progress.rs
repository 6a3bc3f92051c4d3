//! The progress of long operations: one line on the terminal, removed at the end.

use std::{
    io::{IsTerminal as _, stderr},
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::terminal::output;

/// Shorter operations show no line.
const PATIENCE: Duration = Duration::from_millis(700);
/// The interval between updates of the line.
const TICK: Duration = Duration::from_millis(250);

/// Returns true if progress is shown: at a terminal, without `--json`.
pub fn is_seen(json: bool) -> bool {
    !json && stderr().is_terminal()
}

/// Does the work and, if `seen`, shows `line` with the time that it has taken.
pub async fn beside<T>(seen: bool, line: impl Fn(Duration) -> String, work: impl Future<Output = T>) -> T {
    if !seen {
        return work.await;
    }
    let started = Instant::now();
    let shown = async {
        sleep(PATIENCE).await;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            output::progress(line(started.elapsed()));
        }
    };
    let done = tokio::select! {
        done = work => done,
        never = shown => never,
    };
    if started.elapsed() > PATIENCE {
        output::progress("");
    }
    done
}
