//! Figures of processes from Linux's `/proc`: children, processor time and memory.

use std::{fs, time::Duration};

use super::Measured;

/// The field `utime` of `stat`, counted from the state; `stime` follows it. Source: proc(5).
const OWN: usize = 11;
/// The field `cutime`; `cstime` follows it.
const ENDED_CHILDREN: usize = 13;

/// Returns all descendants of a process.
pub(crate) fn children(of: u32) -> Measured<Vec<u32>> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{of}/task"))? {
        // The thread may have ended in the meantime.
        let Ok(text) = fs::read_to_string(task?.path().join("children")) else { continue };
        for child in text.split_whitespace() {
            let child = child.parse()?;
            all.push(child);
            all.extend(children(child)?);
        }
    }
    Ok(all)
}

/// Returns the CPU time of a process and its descendants, in seconds.
pub(crate) fn processor(of: u32) -> Measured<f64> {
    let processes = children(of)?.into_iter().chain([of]);
    processes.map(|process| seconds(&process.to_string(), OWN)).sum()
}

/// Returns the CPU time of all children of this process that have ended, in seconds.
pub(crate) fn processor_of_ended_children() -> Measured<f64> {
    seconds("self", ENDED_CHILDREN)
}

/// Returns the sum of two adjacent times in a process's `stat`, in seconds. `field` is the number of the first, counted from
/// the state.
fn seconds(process: &str, field: usize) -> Measured<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The program's name in parentheses may have spaces.
    let (_, rest) = text.rsplit_once(')').ok_or("unexpected format of stat")?;
    let fields = rest.split_whitespace().skip(field).take(2).map(str::parse::<u64>);
    // Linux reports hundredths of a second on every machine.
    Ok(Duration::from_millis(fields.sum::<Result<u64, _>>()? * 10).as_secs_f64())
}

/// Returns the resident memory of a process, and its proportional share of it, in MB.
pub(crate) fn memory(process: u32) -> Measured<(f64, f64)> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let value = |name: &str| -> Measured<f64> {
        let line =
            text.lines().find(|line| line.starts_with(name)).ok_or("unexpected format of smaps_rollup")?;
        let kilobytes = line.split_whitespace().nth(1).ok_or("unexpected format of smaps_rollup")?;
        Ok(kilobytes.parse::<f64>()? / 1024.0)
    };
    Ok((value("Rss:")?, value("Pss:")?))
}
