//! Figures of processes from Linux's `/proc`: children, processor time and memory.

use std::{fs, time::Duration};

use super::Measured;

/// The processes that a process has started, and those that they have.
pub(crate) fn children(of: u32) -> Measured<Vec<u32>> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{of}/task"))? {
        // A thread may have ended since.
        let Ok(text) = fs::read_to_string(task?.path().join("children")) else { continue };
        for child in text.split_whitespace() {
            let child = child.parse()?;
            all.push(child);
            all.extend(children(child)?);
        }
    }
    Ok(all)
}

/// The processor time that a process and those that it has started have taken, in seconds.
pub(crate) fn processor(of: u32) -> Measured<f64> {
    let mut ticks = 0;
    for process in children(of)?.into_iter().chain([of]) {
        let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name of the program, in parentheses, may have spaces.
        let (_, rest) = text.rsplit_once(')').ok_or("stat is otherwise")?;
        let fields = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        ticks += fields.sum::<Result<u64, _>>()?;
    }
    // Linux tells it in hundredths of a second, whatever the machine.
    Ok(Duration::from_millis(ticks * 10).as_secs_f64())
}

/// What a process has resident, and its part of it where pages are shared, in MB.
pub(crate) fn memory(process: u32) -> Measured<(f64, f64)> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let value = |name: &str| -> Measured<f64> {
        let line = text.lines().find(|line| line.starts_with(name)).ok_or("smaps_rollup is otherwise")?;
        let kilobytes = line.split_whitespace().nth(1).ok_or("smaps_rollup is otherwise")?;
        Ok(kilobytes.parse::<f64>()? / 1024.0)
    };
    Ok((value("Rss:")?, value("Pss:")?))
}
