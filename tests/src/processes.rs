//! The processes of this machine.

use std::fs;
use std::time::{Duration, Instant};

/// The timeout of [`wait_until`].
const PATIENCE: Duration = Duration::from_secs(180);

/// The ids of the processes with this variable, e.g. `NAME=value`, in their environment.
pub fn processes_with(variable: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    let has_variable = |process: &fs::DirEntry| {
        // A process may end in between.
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    };
    let found = processes.filter(has_variable);
    found.map(|process| process.file_name().to_string_lossy().into_owned()).collect()
}

/// Waits until a condition holds. `what` describes it in the failure.
pub fn wait_until(what: &str, so: impl Fn() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
