//! What processes take: the memory of an idle runner with ten queue tasks and of their processes, and processor time.

use std::{fs, time::Duration};

use super::{Durability, Measured, ours::Runner};

const NAMES: [&str; 10] =
    ["task-0", "task-1", "task-2", "task-3", "task-4", "task-5", "task-6", "task-7", "task-8", "task-9"];

pub(crate) async fn tell() -> Measured<()> {
    let runner = Runner::start(Durability::Default, &NAMES).await?;
    let id = runner.process.id().ok_or("the runner has ended")?;
    println!("memory of an idle runner with {} tasks", NAMES.len());
    let line = |when: &str| -> Measured<()> {
        let children = children(id)?;
        let own = memory(id)?;
        let mut theirs = (0.0, 0.0);
        for child in &children {
            let (resident, share) = memory(*child)?;
            theirs = (theirs.0 + resident, theirs.1 + share);
        }
        println!(
            "        {when:<42} runner {:>5.1} MB, its {:>2} processes {:>5.1} MB resident ({:.1} MB without what they share)",
            own.0,
            children.len(),
            theirs.0,
            theirs.1
        );
        Ok(())
    };
    line("before any job")?;
    for task in 0..NAMES.len() {
        runner.once(task, task).await?;
    }
    line("after one job of each, processes kept warm")?;
    runner.stop().await
}

/// The processes that a process has started, and those that they have.
fn children(of: u32) -> Measured<Vec<u32>> {
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
fn memory(process: u32) -> Measured<(f64, f64)> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let value = |name: &str| -> Measured<f64> {
        let line = text.lines().find(|line| line.starts_with(name)).ok_or("smaps_rollup is otherwise")?;
        let kilobytes = line.split_whitespace().nth(1).ok_or("smaps_rollup is otherwise")?;
        Ok(kilobytes.parse::<f64>()? / 1024.0)
    };
    Ok((value("Rss:")?, value("Pss:")?))
}
