//! `lamplighter jobs`: the dead letters, and another go for them.

use anstream::println;
use anyhow::bail;
use lamplighter_aws::{
    jobs::{DeadLetter, DeadLetterError, DeadLetters, Jobs},
    table::{History, Table},
};
use lamplighter_core::{
    id::RunId,
    job::{JobKey, NewJob},
    name::TaskName,
    run::{Run, Trigger},
    status::Status,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    known, many, say,
    show::{sign, table},
    target::{Place, Target},
    words::Words,
};

/// How many dead letters of a queue a replay of all takes at once.
const AT_ONCE: u16 = 1000;

/// Lists the jobs that failed and the messages that nobody understood, or gives them another go.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter jobs dead\n  lamplighter jobs replay send-receipt --all")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Dead(Dead),
    Replay(Replay),
}

/// Lists jobs that failed, newest first, and in AWS the messages in the dead-letter queues. They stay where they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter jobs dead send-receipt --aws")]
struct Dead {
    /// Only those of this task.
    task: Option<String>,
    /// How many of each kind, of each task.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Prints JSON: the jobs' whole records, and the messages.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Gives dead letters another go: a job that failed as a new job with the same arguments, once; a message in its queue.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter jobs replay send-receipt --all")]
struct Replay {
    /// The task.
    task: String,
    /// Which: the ids of runs, or of messages.
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "RUN|MESSAGE")]
    which: Vec<String>,
    /// All of them, at most 1000 of each kind.
    #[arg(long)]
    all: bool,
    /// Prints JSON: what became of each.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// What is dead.
#[derive(Debug, Default, Serialize)]
struct Told {
    failed: Vec<Run>,
    messages: Vec<Value>,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.what {
        What::Dead(arguments) => dead(words, arguments),
        What::Replay(arguments) => replay(words, arguments),
    }
}

fn dead(words: &Words, arguments: &Dead) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    let tasks: Vec<_> = match &arguments.task {
        Some(task) => vec![known::task(words, &workspace, task)?],
        None => workspace.tasks.iter().map(|task| task.name.clone()).collect(),
    };
    let (told, letters) = super::runtime()?.block_on(async {
        let target = arguments.place.open(&workspace).await?;
        let found = found(&target, &tasks, arguments.limit).await;
        target.close().await;
        found
    })?;
    if arguments.json {
        std::println!("{}", serde_json::to_string_pretty(&told)?);
        return Ok(());
    }
    if told.failed.is_empty() && letters.is_empty() {
        println!("{}", say!(words, "jobs-none-dead"));
    }
    for line in failed_lines(words, &told.failed).into_iter().chain(letter_lines(words, &letters)) {
        println!("{line}");
    }
    Ok(())
}

/// What is dead of the tasks. The messages are seen by others again.
async fn found(target: &Target, tasks: &[TaskName], limit: u16) -> anyhow::Result<(Told, Vec<DeadLetter>)> {
    let runs = many::each(tasks, async |task| failed(&target.table, task, limit).await).await?;
    let mut told = Told { failed: runs.into_iter().flatten().collect(), ..Told::default() };
    told.failed.sort_by_key(|run| std::cmp::Reverse(run.id));
    let mut letters = Vec::new();
    if let Some(queues) = target.dead_letters().await? {
        for task in tasks {
            let taken = taken(&queues, task, limit).await?;
            queues.let_go(&taken).await;
            letters.extend(taken);
        }
    }
    told.messages = letters.iter().map(message).collect();
    Ok((told, letters))
}

/// The jobs of a task that failed.
async fn failed(table: &Table, task: &TaskName, limit: u16) -> anyhow::Result<Vec<Run>> {
    let wanted = History {
        statuses: vec![Status::Failed, Status::Timeout],
        trigger: Some(Trigger::Queue),
        jobs: true,
        ..History::of(task.clone(), limit)
    };
    Ok(table.history(&wanted).await?.runs)
}

/// The dead letters of a task; none if it has no queue.
async fn taken(
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
        [
            words.time(run.completed_at),
            run.task.to_string(),
            run.id.to_string(),
            say!(words, "jobs-attempts", count = run.attempts.len()),
            words.reason(run).or_else(|| run.message.clone()).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = runs.iter().map(row).collect();
    let (sign, style) = sign(Status::Failed);
    table(words, 2, &rows).into_iter().map(|line| format!("{style}{sign}{style:#} {line}")).collect()
}

fn letter_lines(words: &Words, letters: &[DeadLetter]) -> Vec<String> {
    let row = |letter: &DeadLetter| {
        [
            letter.sent_at.map(|at| words.time(at)).unwrap_or_default(),
            letter.task.to_string(),
            letter.id.clone(),
            say!(words, "jobs-deliveries", count = letter.deliveries),
            letter.body.clone(),
        ]
    };
    let rows: Vec<_> = letters.iter().map(row).collect();
    table(words, 2, &rows).into_iter().map(|line| format!("? {line}")).collect()
}

/// What became of one that was replayed.
enum Replayed {
    /// A job, as a new one; or as one that there was, because it had been replayed before.
    Job { run: RunId, new: JobKey, before: bool },
    /// A message.
    Message(String),
}

fn replay(words: &Words, arguments: &Replay) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    let task = known::task(words, &workspace, &arguments.task)?;
    let replayed = super::runtime()?.block_on(async {
        let target = arguments.place.open(&workspace).await?;
        let replayed = replay_in(words, &target, &task, arguments).await;
        target.close().await;
        replayed
    })?;
    if arguments.json {
        let told = replayed.iter().map(|it| match it {
            Replayed::Job { run, new, before } => {
                json!({ "retry_of": run, "run_id": new.run_id, "replayed_before": before })
            }
            Replayed::Message(id) => json!({ "message": id }),
        });
        std::println!("{}", serde_json::to_string_pretty(&told.collect::<Vec<_>>())?);
        return Ok(());
    }
    if replayed.is_empty() {
        println!("{}", say!(words, "jobs-none-dead"));
    }
    for it in &replayed {
        match it {
            Replayed::Job { run, new, before: false } => {
                println!("{}", say!(words, "jobs-replayed", run = run, new = new.run_id));
            }
            Replayed::Job { run, new, before: true } => {
                println!("{}", say!(words, "jobs-replayed-before", run = run, new = new.run_id));
            }
            Replayed::Message(id) => println!("{}", say!(words, "jobs-sent-back", message = id)),
        }
    }
    Ok(())
}

async fn replay_in(
    words: &Words,
    target: &Target,
    task: &TaskName,
    arguments: &Replay,
) -> anyhow::Result<Vec<Replayed>> {
    let jobs = target.jobs().await?;
    let mut left = arguments.which.clone();
    let mut replayed = Vec::new();
    let runs: Vec<RunId> = if arguments.all {
        failed(&target.table, task, AT_ONCE).await?.into_iter().map(|run| run.id).collect()
    } else {
        left.extract_if(.., |word| word.parse::<RunId>().is_ok())
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    for id in runs {
        replayed.push(replay_job(words, &jobs, task, id).await?);
    }
    if let Some(queues) = target.dead_letters().await?.filter(|_| arguments.all || !left.is_empty()) {
        let (chosen, others): (Vec<_>, Vec<_>) = taken(&queues, task, AT_ONCE)
            .await?
            .into_iter()
            .partition(|letter| arguments.all || left.contains(&letter.id));
        queues.let_go(&others).await;
        for letter in chosen {
            queues.send_back(&letter).await?;
            left.retain(|id| *id != letter.id);
            replayed.push(Replayed::Message(letter.id));
        }
    }
    match left.first() {
        Some(id) => bail!(say!(words, "jobs-no-such", id = id, task = task)),
        None => Ok(replayed),
    }
}

/// A job that failed, as a new one. Its id follows from the old one's, so that there is one however often it is asked for.
async fn replay_job(words: &Words, jobs: &Jobs, task: &TaskName, id: RunId) -> anyhow::Result<Replayed> {
    let Some(run) = jobs.table().run(task, id).await? else {
        bail!(say!(words, "jobs-no-such", id = id, task = task));
    };
    if !run.status.is_failure() {
        bail!(say!(words, "control-did-not-fail", task = task, run = id, status = run.status));
    }
    let new = NewJob {
        arguments: run.arguments,
        id: Some(format!("replay of {id}")),
        retry_of: Some(id),
        ..NewJob::of(task.clone())
    };
    let accepted = jobs.enqueue(new).await?;
    Ok(Replayed::Job { run: id, new: accepted.key, before: accepted.joined })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

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
