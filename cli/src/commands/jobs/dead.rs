//! `lamplighter jobs dead`: failed jobs, and the messages in the dead-letter queues.

use lamplighter_aws::{
    jobs::{DeadLetter, DeadLetterError, DeadLetters},
    table::{History, Table},
};
use lamplighter_core::{
    name::TaskName,
    run::{Run, Trigger},
    status::Status,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    arguments::names,
    commands,
    stack::{
        each_task,
        target::{Place, Target},
    },
    terminal::{
        output,
        show::{signed, table},
    },
    tr,
    words::Words,
};

/// Lists failed jobs and, in AWS, the messages in the dead-letter queues.
///
/// The messages stay in their queues.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter jobs dead send-receipt --aws")]
pub(super) struct Arguments {
    /// Only jobs of this task.
    task: Option<String>,
    /// The maximum numbers of failed jobs and of messages to list for each task.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Prints JSON: the records of the failed jobs, and the messages.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Failed jobs and dead letters, as `--json` prints them.
#[derive(Debug, Default, Serialize)]
struct DeadItems {
    failed: Vec<Run>,
    messages: Vec<Value>,
}

pub(super) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let catalog = commands::catalog_with(&arguments.place, arguments.task.as_deref())?;
    let tasks = names::tasks(words, &catalog, arguments.task.as_deref())?;
    let (items, letters) = commands::runtime()?.block_on(async {
        let target = arguments.place.open(&catalog).await?;
        let read = read(&target, &tasks, arguments.limit).await;
        target.close(words).await;
        read
    })?;
    if arguments.json {
        output::plain(serde_json::to_string_pretty(&items)?);
        return Ok(());
    }
    if items.failed.is_empty() && letters.is_empty() {
        output::line(tr!(words, "jobs-none-dead"));
    }
    for line in failed_lines(words, &items.failed).into_iter().chain(letter_lines(words, &letters)) {
        output::line(line);
    }
    Ok(())
}

/// Reads the failed jobs and the dead letters of the tasks. The messages become visible to others again.
async fn read(
    target: &Target,
    tasks: &[TaskName],
    limit: u16,
) -> anyhow::Result<(DeadItems, Vec<DeadLetter>)> {
    let runs = each_task::each(tasks, async |task| failed(&target.table, task, limit).await).await?;
    let mut items = DeadItems { failed: runs.into_iter().flatten().collect(), ..DeadItems::default() };
    items.failed.sort_by_key(|run| std::cmp::Reverse(run.id));
    let mut letters = Vec::new();
    if let Some(queues) = target.dead_letters().await? {
        for task in tasks {
            let taken = taken(&queues, task, limit).await?;
            queues.let_go(&taken).await;
            letters.extend(taken);
        }
    }
    items.messages = letters.iter().map(message).collect();
    Ok((items, letters))
}

/// Reads the failed jobs of a task.
pub(super) async fn failed(table: &Table, task: &TaskName, limit: u16) -> anyhow::Result<Vec<Run>> {
    let wanted = History {
        statuses: vec![Status::Failed, Status::Timeout],
        trigger: Some(Trigger::Queue),
        jobs: true,
        ..History::of(task.clone(), limit)
    };
    Ok(table.history(&wanted).await?.runs)
}

/// Receives the dead letters of a task; none if it has no queue.
pub(super) async fn taken(
    queues: &DeadLetters,
    task: &TaskName,
    limit: u16,
) -> Result<Vec<DeadLetter>, DeadLetterError> {
    match queues.take(task, limit.into()).await {
        Err(DeadLetterError::NoQueue(_)) => Ok(Vec::new()),
        taken => taken,
    }
}

fn message(letter: &DeadLetter) -> Value {
    json!({
        "task": letter.task, "id": letter.id, "body": letter.body, "run_id": letter.job().map(|job| job.run_id),
        "sent_at": letter.sent_at, "deliveries": letter.deliveries,
    })
}

fn failed_lines(words: &Words, runs: &[Run]) -> Vec<String> {
    let row = |run: &Run| {
        let cells = [
            words.time(run.completed_at),
            run.task.to_string(),
            run.id.to_string(),
            tr!(words, "jobs-attempts", count = run.attempts.len()),
            words.reason(run).or_else(|| run.message.clone()).unwrap_or_default(),
        ];
        (run.status, cells)
    };
    signed(words, 2, &runs.iter().map(row).collect::<Vec<_>>())
}

fn letter_lines(words: &Words, letters: &[DeadLetter]) -> Vec<String> {
    let row = |letter: &DeadLetter| {
        [
            letter.sent_at.map(|at| words.time(at)).unwrap_or_default(),
            letter.task.to_string(),
            letter.id.clone(),
            tr!(words, "jobs-deliveries", count = letter.deliveries),
            letter.body.clone(),
        ]
    };
    let rows: Vec<_> = letters.iter().map(row).collect();
    table(words, 2, &rows).into_iter().map(|line| format!("? {line}")).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lamplighter_core::id::RunId;

    use super::*;
    use crate::words::Locale;

    #[test]
    fn q09_a_dead_job_shows_its_task_id_error_attempts_and_time() {
        let words = Words::new(Locale::En);
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let mut run = Run::begun(RunId::new(at, 1), "send-receipt".parse().unwrap(), Trigger::Queue, at);
        run.status = Status::Failed;
        run.message = Some("no such address".to_owned());
        let [line] = &failed_lines(&words, std::slice::from_ref(&run))[..] else { panic!("one line") };
        for part in ["send-receipt", &run.id.to_string(), "0 attempts", "no such address", "2027"] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
}
