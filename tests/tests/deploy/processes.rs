//! The function processes that the emulator starts.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// Kills all processes of a function, and returns their number.
pub fn kill(function: &str) -> usize {
    let variable = format!("AWS_LAMBDA_FUNCTION_NAME={function}");
    let mut killed = 0;
    for process in fs::read_dir("/proc").unwrap().flatten() {
        // Other users' processes are unreadable, and a process may end in between.
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        if let Some(pid) = pid
            && environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
            && kill_process(pid, Signal::KILL).is_ok()
        {
            killed += 1;
        }
    }
    killed
}
