//! The processes of this machine, and waiting for them.

use std::fs;
use std::time::{Duration, Instant};

/// How long something may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many processes have this variable, such as `NAME=value`, in their environment.
pub fn processes_with(variable: &str) -> usize {
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    // Some end meanwhile.
    let environments = processes.filter_map(|process| fs::read(process.path().join("environ")).ok());
    environments.filter(|all| all.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())).count()
}

/// Waits until it is so.
pub fn wait_until(what: &str, so: impl Fn() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
