//! What takes long says so: one line on the terminal, gone when the work is done.

use std::{
    io::{IsTerminal as _, stderr},
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::terminal::output;

/// What is over sooner needs no line.
const PATIENCE: Duration = Duration::from_millis(700);
/// How often the line is written again.
const TICK: Duration = Duration::from_millis(250);

/// Whether there is somebody to see progress: a person at a terminal, who did not ask for JSON.
pub fn is_seen(json: bool) -> bool {
    !json && stderr().is_terminal()
}

/// Does the work and, if `seen`, shows meanwhile what `line` says of the time it has taken.
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
