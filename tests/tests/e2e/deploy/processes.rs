//! The function processes that the emulator starts.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// Kills all processes of a function, and returns their number. `emulator` is the endpoint, since the tests of another clone
/// may run at the same time.
pub fn kill(emulator: &str, function: &str) -> usize {
    of(emulator, function).filter(|(pid, _)| kill_process(*pid, Signal::KILL).is_ok()).count()
}

/// The value of an environment variable of a function's process; `None` if it has no process.
pub fn variable(emulator: &str, function: &str, name: &str) -> Option<String> {
    let start = format!("{name}=");
    of(emulator, function).find_map(|(_, environment)| {
        Some(environment.iter().find_map(|entry| entry.strip_prefix(&start))?.to_owned())
    })
}

/// The processes of a function, with their environments.
fn of(emulator: &str, function: &str) -> impl Iterator<Item = (Pid, Vec<String>)> {
    let wanted = [format!("AWS_LAMBDA_FUNCTION_NAME={function}"), format!("AWS_ENDPOINT_URL={emulator}")];
    fs::read_dir("/proc").unwrap().flatten().filter_map(move |process| {
        let pid = Pid::from_raw(process.file_name().to_str()?.parse().ok()?)?;
        // Other users' processes are unreadable, and a process may end in between.
        let environment = fs::read(process.path().join("environ")).ok()?;
        let entries: Vec<_> = String::from_utf8_lossy(&environment).split('\0').map(str::to_owned).collect();
        wanted.iter().all(|entry| entries.contains(entry)).then_some((pid, entries))
    })
}
