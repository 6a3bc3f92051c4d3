//! What a runner says of itself in the table: that it lives, and what runs. There it is also asked to stop.

use std::sync::Arc;

use jiff::Timestamp;
use lamplighter_aws::table::Table;
use lamplighter_core::runner::{HEARTBEAT, Runner, Running};
use lamplighter_local::LambdaHost;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::events::Reporter;

/// A name that no other runner has: the machine's, and some random letters.
pub fn instance() -> anyhow::Result<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String =
        host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes)?;
    // Without those that look alike.
    let letters =
        bytes.iter().map(|byte| char::from(b"abcdefghjkmnpqrstuvwxyz23456789a"[usize::from(byte % 32)]));
    let letters: String = letters.collect();
    Ok(if host.is_empty() { format!("runner-{letters}") } else { format!("{host}-{letters}") })
}

/// Says each [`HEARTBEAT`] how the runner fares, until `over`; then its item goes. Who asks it to stop fires `stop`.
pub async fn show(
    table: Table,
    mut me: Runner,
    host: Arc<LambdaHost>,
    prefix: String,
    reporter: Arc<dyn Reporter>,
    stop: CancellationToken,
    over: CancellationToken,
) {
    let mut is_lost = false;
    while !over.is_cancelled() {
        me.heartbeat_at = Timestamp::now();
        me.stopping = stop.is_cancelled();
        me.running = running(&host, &prefix);
        match table.heartbeat(&me).await {
            Ok(asked) => {
                is_lost = false;
                if asked {
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
            () = stop.cancelled(), if !me.stopping => {}
            () = sleep(HEARTBEAT) => {}
        }
    }
    if let Err(error) = table.forget_runner(&me.instance).await {
        reporter.warn(&error.to_string());
    }
}

fn running(host: &LambdaHost, prefix: &str) -> Vec<Running> {
    let known = |it: lamplighter_local::InProgress| {
        let task = it.function.strip_prefix(prefix)?.parse().ok()?;
        Some(Running { task, run_id: it.label.and_then(|id| id.parse().ok()), since: it.since })
    };
    host.in_progress().into_iter().filter_map(known).collect()
}
