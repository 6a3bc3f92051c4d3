//! `lamplighter tasks`: lists the tasks, with the overrides of the project and the environment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lamplighter_core::{
    claim::TaskState,
    definition::{Definition, Kind, Phase, UnknownWord},
    duration,
    name::TaskName,
};
use lamplighter_project::{Task, catalog::Catalog};
use serde_json::{Value, json};

use crate::{
    arguments::time::zone_of,
    stack::{each_task, target::Place},
    terminal::{
        output,
        show::{table, unreadable},
    },
    tr,
    words::Words,
};

/// The names of the four kinds.
const KINDS: [&str; 4] = ["lifecycle", "cron", "queue", "side"];

/// Lists the workspace's tasks and their states.
///
/// The states are shown if the stack has a table.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter tasks --kind cron --environment production")]
pub(crate) struct Arguments {
    /// Only tasks of this category.
    #[arg(long)]
    category: Option<String>,
    /// Only tasks with this tag. Repeatable; a task must have all of them.
    #[arg(long)]
    tag: Vec<String>,
    /// Only tasks of this kind: lifecycle, cron, queue or side.
    #[arg(long, value_parser = kind)]
    kind: Option<&'static str>,
    /// The environment. Overrides `environment` in lamplighter.toml.
    #[arg(long)]
    environment: Option<String>,
    /// Prints JSON: each task's definition, with the overrides applied, and its state.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// The states of the tasks, by name.
type States = BTreeMap<TaskName, TaskState>;

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    // On this machine no stack need exist.
    let place = Some(&arguments.place).filter(|place| place.is_aws());
    let catalog = super::catalog(place)?;
    let mut project = super::project(&catalog, arguments.environment.as_deref())?;
    let is_empty = project.tasks.is_empty();
    project.tasks.retain(|task| is_wanted(&task.definition, arguments));
    let now = Timestamp::now();
    let names = project.tasks.iter().map(Task::name);
    let states = super::runtime()?.block_on(states(words, &arguments.place, &catalog, names, now))?;
    if arguments.json {
        let listed = project.tasks.iter().map(|task| json(task, states.get(task.name()), now));
        let listed = listed.collect::<Result<Vec<_>, _>>()?;
        output::plain(serde_json::to_string_pretty(&listed)?);
        return Ok(());
    }
    if is_empty {
        output::line(tr!(words, "tasks-none", folder = lamplighter_project::workspace::TASKS));
    } else if project.tasks.is_empty() {
        output::line(tr!(words, "tasks-none-such"));
    }
    for line in lines(words, &project.tasks, &states, now) {
        output::line(line);
    }
    Ok(())
}

fn kind(word: &str) -> Result<&'static str, UnknownWord> {
    let known = KINDS.into_iter().find(|kind| word.eq_ignore_ascii_case(kind));
    known.ok_or_else(|| UnknownWord { what: "kind of task", word: word.to_owned(), words: &KINDS })
}

fn kind_of(definition: &Definition) -> &'static str {
    match definition.kind {
        Kind::Lifecycle(_) => KINDS[0],
        Kind::Cron(_) => KINDS[1],
        Kind::Queue(_) => KINDS[2],
        Kind::Side(_) => KINDS[3],
    }
}

fn is_wanted(definition: &Definition, arguments: &Arguments) -> bool {
    let Arguments { category, tag, kind, .. } = arguments;
    category.as_ref().is_none_or(|category| definition.category.as_ref() == Some(category))
        && tag.iter().all(|tag| definition.tags.contains(tag))
        && kind.is_none_or(|kind| kind == kind_of(definition))
}

/// Reads the states of the tasks; none if there is no table yet.
async fn states<'a>(
    words: &Words,
    place: &Place,
    catalog: &Catalog,
    tasks: impl Iterator<Item = &'a TaskName>,
    now: Timestamp,
) -> anyhow::Result<States> {
    if !place.is_aws() && !place.home(&catalog.workspace).join("table.sqlite").exists() {
        return Ok(States::new());
    }
    let target = place.open(catalog).await?;
    let states = each_task::each(tasks, async |task| {
        let (state, ignored) = each_task::settled(&target.table, task, now).await?;
        anyhow::Ok((task.clone(), state, ignored))
    });
    let states = states.await;
    target.close(words).await;
    let mut known = States::new();
    for (task, state, ignored) in states? {
        unreadable(words, ignored.as_slice());
        known.insert(task, state);
    }
    Ok(known)
}

/// The task's definition, and its state if there is one.
fn json(task: &Task, state: Option<&TaskState>, now: Timestamp) -> Result<Value, serde_json::Error> {
    let mut listed = serde_json::to_value(&task.definition)?;
    if let Some(state) = state {
        listed["state"] = json!({
            "enabled": !state.disabled,
            "running": state.leases().map(|lease| lease.run_id).collect::<Vec<_>>(),
            "last_run": state.last_run,
            "failure_streak": state.failure_streak,
            "next": next(&task.definition, now),
        });
    }
    Ok(listed)
}

/// The task's next scheduled time.
fn next(definition: &Definition, now: Timestamp) -> Option<Timestamp> {
    let cron = definition.cron()?;
    cron.schedule.as_ref()?.next_after(&zone_of(cron).ok()?, now)
}

/// The state of a task, in a few words.
fn standing(words: &Words, task: &Task, state: &TaskState, now: Timestamp) -> String {
    let mut words_of_state = Vec::new();
    if state.disabled {
        words_of_state.push(tr!(words, "tasks-disabled"));
    }
    if state.leases().next().is_some() {
        words_of_state.push(tr!(words, "tasks-running"));
    }
    if let Some(last) = &state.last_run {
        words_of_state.push(tr!(words, "tasks-last", status = last.status));
    }
    if let Some(next) = next(&task.definition, now).filter(|_| !state.disabled) {
        words_of_state.push(tr!(words, "tasks-next", far = words.from_now(next, now)));
    }
    words_of_state.join(", ")
}

/// One row: name, start, limits and state, description.
fn row(words: &Words, task: &Task, state: Option<&TaskState>, now: Timestamp) -> [String; 4] {
    let definition = &task.definition;
    let start = match &definition.kind {
        Kind::Lifecycle(lifecycle) => {
            let on: Vec<_> = lifecycle.run_on.iter().map(|on| words.occasion(*on)).collect();
            let on = on.join(" ");
            let phase = match lifecycle.phase {
                Phase::Before => tr!(words, "tasks-before"),
                Phase::After => tr!(words, "tasks-after"),
            };
            let needs: Vec<_> = lifecycle.depends_on.iter().map(ToString::to_string).collect();
            if needs.is_empty() {
                tr!(words, "tasks-lifecycle", on = on, phase = phase)
            } else {
                tr!(words, "tasks-lifecycle-needs", on = on, phase = phase, needs = needs.join(" "))
            }
        }
        Kind::Cron(cron) => {
            let schedule = cron.schedule.as_ref().map(|schedule| words.schedule(schedule));
            let schedule = schedule.unwrap_or_else(|| tr!(words, "tasks-by-function"));
            tr!(words, "tasks-cron", schedule = schedule, zone = cron.timezone)
        }
        Kind::Queue(_) => tr!(words, "tasks-queue"),
        Kind::Side(_) => tr!(words, "tasks-side"),
    };
    let attempts = tr!(words, "tasks-attempts", count = definition.retry.max_attempts);
    let mut limits = format!("{}, {attempts}", words.duration(duration::millis(definition.timeout)));
    let standing = state.map(|state| standing(words, task, state, now)).filter(|text| !text.is_empty());
    if let Some(standing) = standing {
        limits = format!("{limits}; {standing}");
    }
    let line = definition.description.trim().lines().next().unwrap_or_default();
    [task.name().to_string(), start, limits, line.to_owned()]
}

fn lines(words: &Words, tasks: &[Task], states: &States, now: Timestamp) -> Vec<String> {
    let rows = tasks.iter().map(|task| row(words, task, states.get(task.name()), now));
    table(words, 0, &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use lamplighter_project::fixtures;

    use super::*;
    use crate::words::Locale;

    #[test]
    fn the_list_reads_well() {
        let (none, now) = (States::new(), Timestamp::UNIX_EPOCH);
        let lines = lines(&Words::new(Locale::En), &fixtures::shop().tasks, &none, now);
        insta::assert_snapshot!("tasks", lines.join("\n"));
    }
}
