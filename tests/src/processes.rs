//! The processes of this machine.

use std::fs;
use std::time::{Duration, Instant};

/// The timeout of [`wait_until`].
const PATIENCE: Duration = Duration::from_secs(60);

/// The number of processes with this variable, e.g. `NAME=value`, in their environment.
pub fn processes_with(variable: &str) -> usize {
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    // A process may end in between.
    let environments = processes.filter_map(|process| fs::read(process.path().join("environ")).ok());
    environments.filter(|all| all.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())).count()
}

/// Waits until a condition holds. `what` describes it in the failure.
pub fn wait_until(what: &str, so: impl Fn() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
