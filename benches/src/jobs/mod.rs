//! Benchmark: 20 000 empty jobs, enqueued and drained by one runner, compared with streaq on Redis; the latency of a start on
//! an idle runner; and its memory. Part of `make bench`; requires `tests/setup streaq` and `redis-server`.
//!
//! The two systems take turns, so that other load on the machine affects both. Figures are medians, and the promise is a
//! ratio. The exit code is 1 if it is broken.

mod memory;
mod ours;
mod peer;
pub(crate) mod process;

use std::time::Duration;

use crate::{
    Measured,
    figures::{median, sign},
};
use ours::Runner;
use peer::Peer;

const JOBS: usize = 20_000;
const ROUNDS: usize = 3;
/// The number of sequential jobs.
const STARTS: usize = 200;
/// The number of uncounted jobs at the start.
const WARM_UP: usize = 500;

/// The durations of a batch of jobs.
#[derive(Clone, Copy, Debug)]
struct BatchTimes {
    /// The time until all were enqueued.
    enqueued: Duration,
    /// The time from the first enqueue until all had ended.
    drained: Duration,
    /// The CPU time of the workers, in seconds, without the client's.
    processor: f64,
}

/// The durability of writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// Each side's default: a crash of the machine may lose the last moments.
    Default,
    /// Each acknowledged write survives a crash of the machine.
    Each,
}

/// Takes all measurements. Returns whether all promises are kept.
pub(crate) async fn measure() -> Measured<bool> {
    let (jobs, rounds) = (number("JOBS", JOBS)?, number("ROUNDS", ROUNDS)?);
    println!("{jobs} jobs that do nothing, enqueued and drained, in {rounds} rounds");
    let mut kept = true;
    for durability in [Durability::Default, Durability::Each] {
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        let (mut our_starts, mut peer_starts) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let peer = Peer::start(durability).await?;
            peer.many(WARM_UP).await?;
            peers.push(peer.many(jobs).await?);
            peer_starts.extend(peer.starts(STARTS).await?);
            peer.stop().await?;
            let runner = Runner::start(durability, &["noop"]).await?;
            runner.many(WARM_UP).await?;
            ours.push(runner.many(jobs).await?);
            our_starts.extend(runner.starts(STARTS).await?);
            runner.stop().await?;
        }
        println!("{}", durability.words());
        kept &= rates(f64::from(u32::try_from(jobs)?), &ours, &peers, durability);
        kept &= starts(our_starts, peer_starts, durability);
    }
    Box::pin(memory::measure()).await?;
    Ok(kept)
}

/// Reads a count from the environment.
fn number(name: &str, default: usize) -> Measured<usize> {
    match std::env::var(name) {
        Ok(text) => Ok(text.parse().map_err(|_| format!("{name} is `{text}`: expected a number"))?),
        Err(_) => Ok(default),
    }
}

fn rates(jobs: f64, ours: &[BatchTimes], peers: &[BatchTimes], durability: Durability) -> bool {
    let rates = |all: &[BatchTimes], of: fn(&BatchTimes) -> Duration| -> Vec<f64> {
        all.iter().map(|took| jobs / of(took).as_secs_f64()).collect()
    };
    let (mine, theirs) = (rates(ours, |it| it.drained), rates(peers, |it| it.drained));
    println!("        each round, ours:   {}", listed(&mine));
    println!("        each round, streaq: {}", listed(&theirs));
    let processor = |all: &[BatchTimes]| median(all.iter().map(|it| it.processor * 1e3 / jobs).collect());
    println!(
        "        processor time a job, without the client: {:.2} ms, streaq {:.2} ms",
        processor(ours),
        processor(peers)
    );
    let (enqueued, peer_enqueued) = (rates(ours, |it| it.enqueued), rates(peers, |it| it.enqueued));
    println!(
        "        enqueued alone: {:.0} jobs/s, streaq {:.0} jobs/s",
        median(enqueued),
        median(peer_enqueued)
    );
    let ratios = mine.iter().zip(&theirs).map(|(mine, theirs)| mine / theirs).collect();
    let ratio = median(ratios);
    let kept = ratio >= 3.0;
    println!(
        "{}  enqueued, run and verified: {:.0} jobs/s against {:.0} jobs/s = {ratio:.2} (promised: 3 by default)",
        durability.sign(kept),
        median(mine),
        median(theirs)
    );
    kept || !durability.is_promised()
}

fn starts(ours: Vec<f64>, peers: Vec<f64>, durability: Durability) -> bool {
    let (mine, theirs) = (median(ours), median(peers));
    let kept = mine <= 10.0;
    println!(
        "{}  enqueue to the body's first line, idle, p50: {mine:.1} ms, streaq {theirs:.1} ms (promised: 10 by default)",
        durability.sign(kept)
    );
    kept || !durability.is_promised()
}

fn listed(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:.0}")).collect::<Vec<_>>().join(", ")
}

impl Durability {
    fn is_promised(self) -> bool {
        self == Self::Default
    }

    /// Returns the sign before a figure, blank without a promise.
    fn sign(self, kept: bool) -> &'static str {
        if self.is_promised() { sign(kept) } else { "      " }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Default => "each side's defaults: nothing is synced to the disk before it is acknowledged",
            Self::Each => "each write synced to the disk before it is acknowledged",
        }
    }
}
