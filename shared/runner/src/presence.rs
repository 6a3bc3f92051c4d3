//! The record of a runner in the table: its heartbeat, the runs in progress, and the request to stop.

use std::sync::Arc;

use jiff::Timestamp;
use lamplighter_aws::table::Table;
use lamplighter_core::runner::{HEARTBEAT, Runner, Running};
use lamplighter_local::LambdaHost;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::events::Reporter;

/// Creates a unique name for a runner: the name of the machine and random letters.
pub fn instance() -> anyhow::Result<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String =
        host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes)?;
    // Without characters that look alike.
    let letters =
        bytes.iter().map(|byte| char::from(b"abcdefghjkmnpqrstuvwxyz23456789a"[usize::from(byte % 32)]));
    let letters: String = letters.collect();
    Ok(if host.is_empty() { format!("runner-{letters}") } else { format!("{host}-{letters}") })
}

/// Writes the record of the runner each [`HEARTBEAT`] until `over`, and then deletes it. A request to stop in the table fires
/// `stop`.
pub async fn publish(
    table: Table,
    mut runner: Runner,
    host: Arc<LambdaHost>,
    prefix: String,
    reporter: Arc<dyn Reporter>,
    stop: CancellationToken,
    over: CancellationToken,
) {
    let mut is_lost = false;
    while !over.is_cancelled() {
        runner.heartbeat_at = Timestamp::now();
        runner.stopping = stop.is_cancelled();
        runner.running = running(&host, &prefix);
        match table.heartbeat(&runner).await {
            Ok(stop_requested) => {
                is_lost = false;
                if stop_requested {
                    stop.cancel();
                }
            }
            Err(error) if !is_lost => {
                is_lost = true;
                reporter.warn(&error.to_string());
            }
            Err(_) => {}
        }
        tokio::select! {
            () = over.cancelled() => break,
            () = stop.cancelled(), if !runner.stopping => {}
            () = sleep(HEARTBEAT) => {}
        }
    }
    if let Err(error) = table.forget_runner(&runner.instance).await {
        reporter.warn(&error.to_string());
    }
}

fn running(host: &LambdaHost, prefix: &str) -> Vec<Running> {
    let entry = |it: lamplighter_local::InProgress| {
        let task = it.function.strip_prefix(prefix)?.parse().ok()?;
        Some(Running { task, run_id: it.label.and_then(|id| id.parse().ok()), since: it.since })
    };
    host.in_progress().into_iter().filter_map(entry).collect()
}
