//! `lamplighter tasks`: which tasks there are, as the project and the environment have them.

use lamplighter_core::definition::{Kind, Phase};

use crate::{project::Task, say, show::table, words::Words};

/// Lists the tasks of the workspace.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter tasks --environment production")]
pub(crate) struct Arguments {
    /// The environment; goes before `environment` in lamplighter.toml.
    #[arg(long)]
    environment: Option<String>,
    /// Prints JSON: each task's definition, with the overrides applied.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    let project = super::project(&workspace, arguments.environment.as_deref())?;
    if arguments.json {
        let definitions: Vec<_> = project.tasks.iter().map(|task| &task.definition).collect();
        println!("{}", serde_json::to_string_pretty(&definitions)?);
        return Ok(());
    }
    if project.tasks.is_empty() {
        println!("{}", say!(words, "tasks-none", folder = crate::workspace::TASKS));
    }
    for line in lines(words, &project.tasks) {
        println!("{line}");
    }
    Ok(())
}

/// Name, start, time, description.
fn row(words: &Words, task: &Task) -> [String; 4] {
    let definition = &task.definition;
    let start = match &definition.kind {
        Kind::Lifecycle(lifecycle) => {
            let on: Vec<_> = lifecycle.run_on.iter().map(|on| words.occasion(*on)).collect();
            let on = on.join(" ");
            let phase = match lifecycle.phase {
                Phase::Before => say!(words, "tasks-before"),
                Phase::After => say!(words, "tasks-after"),
            };
            let needs: Vec<_> = lifecycle.depends_on.iter().map(ToString::to_string).collect();
            if needs.is_empty() {
                say!(words, "tasks-lifecycle", on = on, phase = phase)
            } else {
                say!(words, "tasks-lifecycle-needs", on = on, phase = phase, needs = needs.join(" "))
            }
        }
        Kind::Cron(cron) => {
            let schedule = cron.schedule.as_ref().map(|schedule| words.schedule(schedule));
            let schedule = schedule.unwrap_or_else(|| say!(words, "tasks-by-function"));
            say!(words, "tasks-cron", schedule = schedule, zone = cron.timezone)
        }
        Kind::Queue(_) => say!(words, "tasks-queue"),
        Kind::Side(_) => say!(words, "tasks-side"),
    };
    let attempts = say!(words, "tasks-attempts", count = definition.retry.max_attempts);
    let limits = format!("{:?}, {attempts}", definition.timeout);
    let line = definition.description.trim().lines().next().unwrap_or_default();
    [task.name().to_string(), start, limits, line.to_owned()]
}

fn lines(words: &Words, tasks: &[Task]) -> Vec<String> {
    table(words, 0, &tasks.iter().map(|task| row(words, task)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{generate::fixtures, words::Locale};

    #[test]
    fn the_list_reads_well() {
        let lines = lines(&Words::new(Locale::En), &fixtures::shop().tasks);
        insta::assert_snapshot!("tasks", lines.join("\n"));
    }
}
