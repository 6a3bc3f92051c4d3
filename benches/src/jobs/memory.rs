//! The memory of an idle runner with ten queue tasks, and of their processes.

use super::{
    Durability, Measured,
    ours::Runner,
    process::{children, memory},
};

const NAMES: [&str; 10] =
    ["task-0", "task-1", "task-2", "task-3", "task-4", "task-5", "task-6", "task-7", "task-8", "task-9"];

pub(crate) async fn measure() -> Measured<()> {
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
