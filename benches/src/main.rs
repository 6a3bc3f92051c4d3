//! The benchmarks: `bench NAME..` runs each of them beside its baseline, and fails if a promise is broken.

mod cold_build;
mod due;
mod figures;
mod history;
mod jobs;
mod latency;
mod measure;
mod pulse_decisions;
mod reading;

use std::process::ExitCode;

use tokio::runtime::Builder;

/// The result of a benchmark, or of a part of one.
type Measured<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The names of the benchmarks.
const NAMES: [&str; 8] =
    ["due", "measure", "latency", "pulse_decisions", "history", "reading", "cold_build", "jobs"];

fn main() -> ExitCode {
    let names: Vec<_> = std::env::args().skip(1).collect();
    if names.is_empty() {
        eprintln!("usage: bench NAME.. with {}", NAMES.join(", "));
        return ExitCode::FAILURE;
    }
    let mut all_kept = true;
    for name in names {
        // A broken promise does not stop the next benchmark.
        match run(&name) {
            Ok(kept) => all_kept &= kept,
            Err(error) => {
                eprintln!("error: {name}: {error}");
                all_kept = false;
            }
        }
    }
    if all_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one benchmark. Returns true if its promises are kept.
fn run(name: &str) -> Measured<bool> {
    let runtime = || Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match name {
        "cold_build" => cold_build::measure(),
        "due" => due::measure(),
        "history" => runtime()?.block_on(history::measure()),
        "jobs" => runtime()?.block_on(Box::pin(jobs::measure())),
        "latency" => runtime()?.block_on(latency::serve()),
        latency::TASK => latency::measure(),
        "measure" => runtime()?.block_on(measure::measure()),
        "pulse_decisions" => pulse_decisions::measure(),
        "reading" => runtime()?.block_on(reading::measure()),
        _ => Err(format!("there is no such benchmark: give one of {}", NAMES.join(", ")).into()),
    }
}
