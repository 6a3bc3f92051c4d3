//! `lamplighter tasks`: which tasks there are, as the project and the environment have them.

use lamplighter_core::{definition::Kind, schedule::Schedule};

use crate::project::Task;

/// Lists the tasks of the workspace.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The environment; goes before `environment` in lamplighter.toml.
    #[arg(long)]
    environment: Option<String>,
    /// Prints JSON: each task's definition, with the overrides applied.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    let project = super::project(&workspace, arguments.environment.as_deref())?;
    if arguments.json {
        let definitions: Vec<_> = project.tasks.iter().map(|task| &task.definition).collect();
        println!("{}", serde_json::to_string_pretty(&definitions)?);
        return Ok(());
    }
    if project.tasks.is_empty() {
        println!("no tasks below {}", crate::workspace::TASKS);
    }
    let rows: Vec<_> = project.tasks.iter().map(row).collect();
    print!("{}", table(&rows));
    Ok(())
}

/// Name, start, time, description.
fn row(task: &Task) -> [String; 4] {
    let definition = &task.definition;
    let start = match &definition.kind {
        Kind::Lifecycle(lifecycle) => {
            let words: Vec<_> = lifecycle.run_on.iter().map(|word| word.as_str()).collect();
            let needs = lifecycle.depends_on.iter().map(ToString::to_string).collect::<Vec<_>>();
            let order = if needs.is_empty() { String::new() } else { format!(", needs {}", needs.join(" ")) };
            format!("{} ({}{order})", words.join(" "), lifecycle.phase)
        }
        Kind::Cron(cron) => format!(
            "{} {}",
            cron.schedule.as_ref().map_or("by its function", Schedule::as_str),
            cron.timezone
        ),
        Kind::Queue(_) => "queue".to_owned(),
        Kind::Side(_) => "side".to_owned(),
    };
    let attempts = match definition.retry.max_attempts {
        1 => "1 attempt".to_owned(),
        more => format!("{more} attempts"),
    };
    let limits = format!("{:?}, {attempts}", definition.timeout);
    let line = definition.description.trim().lines().next().unwrap_or_default();
    [task.name().to_string(), start, limits, line.to_owned()]
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let line = |row: &[String; N]| {
        let cells = row.iter().enumerate().map(|(i, cell)| format!("{cell:0$}", width(i)));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::fixtures;

    #[test]
    fn the_list_reads_well() {
        let rows: Vec<_> = fixtures::shop().tasks.iter().map(row).collect();
        insta::assert_snapshot!("tasks", table(&rows));
    }
}
