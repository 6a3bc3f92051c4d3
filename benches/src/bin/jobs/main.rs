//! Jobs: 20 000 that do nothing, enqueued and drained by one runner, beside streaq on Redis; from an enqueue to the start on
//! an idle runner; and the memory of one. Part of `make bench`; `tests/setup streaq` and `redis-server` are needed.
//!
//! The two systems take turns, so that whatever else the machine does falls on both. Figures are medians, and the promise
//! is a ratio; one that is not kept makes the exit code 1.

mod memory;
mod ours;
mod peer;
mod process;

use std::{process::ExitCode, time::Duration};

use lamplighter_benches::{median, sign};
use ours::Runner;
use peer::Peer;

const JOBS: usize = 20_000;
const ROUNDS: usize = 3;
/// Jobs one after the other.
const STARTS: usize = 200;
/// Jobs before those that count.
const WARM_UP: usize = 500;

type Measured<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long many jobs took.
#[derive(Clone, Copy, Debug)]
struct Took {
    /// Until all were enqueued.
    enqueued: Duration,
    /// Until all were over, from the first enqueue on.
    drained: Duration,
    /// The processor time of whoever runs them, in seconds; not that of the client.
    processor: f64,
}

/// What survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// Each side's default: a crash of the machine may lose the last moments.
    Default,
    /// Each acknowledged write survives a crash of the machine.
    Each,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(measure()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Takes every measure. Whether all promises are kept.
async fn measure() -> Measured<bool> {
    let (jobs, rounds) = (number("JOBS", JOBS)?, number("ROUNDS", ROUNDS)?);
    println!("{jobs} jobs that do nothing, enqueued and drained, of {rounds} rounds");
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
    Box::pin(memory::tell()).await?;
    Ok(kept)
}

/// How often something is done, where the environment does not say so.
fn number(name: &str, default: usize) -> Measured<usize> {
    match std::env::var(name) {
        Ok(text) => Ok(text.parse().map_err(|_| format!("{name} is `{text}`: it must be a number"))?),
        Err(_) => Ok(default),
    }
}

fn rates(jobs: f64, ours: &[Took], peers: &[Took], durability: Durability) -> bool {
    let rates = |all: &[Took], of: fn(&Took) -> Duration| -> Vec<f64> {
        all.iter().map(|took| jobs / of(took).as_secs_f64()).collect()
    };
    let (mine, theirs) = (rates(ours, |it| it.drained), rates(peers, |it| it.drained));
    println!("        each round, ours:   {}", listed(&mine));
    println!("        each round, streaq: {}", listed(&theirs));
    let processor = |all: &[Took]| median(all.iter().map(|it| it.processor * 1e3 / jobs).collect());
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

    /// What stands before a figure: of one that nobody has promised, nothing.
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
