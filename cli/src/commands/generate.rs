//! `lamplighter generate`: writes the stack's template, or checks that the committed one is up to date.

use std::{fs, io, path::Path};

use anyhow::{Context as _, anyhow, bail};
use lamplighter_core::{
    definition::{Cron, Kind},
    name::TaskName,
    schedule::{Driver, driver},
};
use lamplighter_project::{
    Project,
    fault::Faults,
    files::write_atomically,
    queues::{deliveries, visibility_seconds},
};
use lamplighter_template::{Application, TEMPLATE, render};
use serde_json::json;

use crate::{terminal::output, tr, words::Words};

/// The most lines that are shown of each side of a difference.
const SHOWN: usize = 8;

/// Writes infra/template.yaml, the stack's SAM template.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter generate --check")]
pub(crate) struct Arguments {
    /// The environment. Overrides `environment` in lamplighter.toml.
    #[arg(long)]
    environment: Option<String>,
    /// Writes nothing, and fails if the file is out of date.
    #[arg(long)]
    check: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let catalog = super::catalog(None)?;
    let project = super::project(&catalog, arguments.environment.as_deref())?;
    let mut faults = project.undeployable(jiff::Timestamp::now());
    let application = faults.take(application(&catalog.workspace.root, &project));
    let template = faults.take(render(&project, application.as_ref().and_then(Option::as_ref)));
    let template = faults.none_or(template)?.unwrap_or_default();
    let path = catalog.workspace.root.join(TEMPLATE);
    let committed = match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read {TEMPLATE}")),
    };
    let changed = committed.as_deref() != Some(template.as_str());
    if changed && !arguments.check {
        write_atomically(&path, template.as_bytes()).with_context(|| format!("cannot write {TEMPLATE}"))?;
    }
    if arguments.json {
        output::plain(report(&project, changed));
    } else {
        left_out(words, &project);
        drivers(words, &project);
        queues(words, &project);
        match (changed, arguments.check) {
            (true, true) => {}
            (true, false) => output::line(tr!(words, "generate-written", file = TEMPLATE)),
            (false, _) => output::line(tr!(words, "generate-current", file = TEMPLATE)),
        }
    }
    match (changed && arguments.check, committed) {
        (false, _) => Ok(()),
        (true, None) => bail!(tr!(words, "generate-missing", file = TEMPLATE)),
        (true, Some(committed)) => Err(anyhow!(
            "{}\n{}",
            tr!(words, "generate-differs", file = TEMPLATE),
            difference(words, &committed, &template)
        )),
    }
}

/// Reads the user's own resources, if the project has any.
fn application(root: &Path, project: &Project) -> Result<Option<Application>, Faults> {
    let Some(file) = &project.build.application else { return Ok(None) };
    match fs::read_to_string(root.join(file)) {
        Ok(text) => Application::parse(file, &text).map(Some),
        Err(error) => {
            let mut faults = Faults::default();
            let reason = format!("cannot read `{file}`: {error}");
            faults.add(lamplighter_project::config::FILE, "build.application", reason);
            Err(faults)
        }
    }
}

fn side_tasks(project: &Project) -> Vec<&str> {
    let side = project.tasks.iter().filter(|task| matches!(task.definition.kind, Kind::Side(_)));
    side.map(|task| task.name().as_str()).collect()
}

fn left_out(words: &Words, project: &Project) {
    for name in side_tasks(project) {
        output::note(tr!(words, "generate-side-task", task = name));
    }
}

/// Shows which service starts each cron task, and why the pulse is needed.
fn drivers(words: &Words, project: &Project) {
    for (task, cron) in cron_tasks(project) {
        match driver(cron) {
            Driver::EventBridge { expression } => {
                let zone = &cron.timezone;
                output::line(tr!(
                    words,
                    "generate-eventbridge",
                    task = task,
                    expression = expression,
                    zone = zone
                ));
            }
            Driver::Pulse { reasons } => {
                let reasons: Vec<_> = reasons.iter().map(|reason| words.for_the_pulse(reason)).collect();
                output::line(tr!(words, "generate-pulse", task = task, reasons = reasons.join("; ")));
            }
        }
    }
}

/// Shows the settings of each queue.
fn queues(words: &Words, project: &Project) {
    for (task, queue) in project.queues() {
        let at_once = queue.concurrency.unwrap_or(0);
        output::line(tr!(
            words,
            "generate-queue",
            task = task.name(),
            batch = task.batch(),
            at_once = at_once,
            deliveries = deliveries(task)
        ));
    }
}

fn cron_tasks(project: &Project) -> impl Iterator<Item = (&TaskName, &Cron)> {
    project.tasks.iter().filter_map(|task| Some((task.name(), task.definition.cron()?)))
}

fn report(project: &Project, changed: bool) -> serde_json::Value {
    let side = side_tasks(project);
    let tasks: Vec<_> = project.tasks.iter().map(|task| task.name().as_str()).collect();
    let deployed: Vec<_> = tasks.into_iter().filter(|name| !side.contains(name)).collect();
    let schedules = cron_tasks(project).map(|(task, cron)| match driver(cron) {
        Driver::EventBridge { expression } => json!({
            "task": task, "driver": "eventbridge", "expression": expression, "timezone": cron.timezone,
        }),
        Driver::Pulse { reasons } => {
            let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            json!({ "task": task, "driver": "pulse", "reasons": reasons })
        }
    });
    let queues = project.queues().map(|(task, queue)| {
        json!({
            "task": task.name(), "batch": task.batch(), "concurrency": queue.concurrency,
            "deliveries": deliveries(task), "visibility_s": visibility_seconds(task),
        })
    });
    json!({
        "template": TEMPLATE,
        "environment": project.environment,
        "changed": changed,
        "tasks": deployed,
        "left_out": side,
        "schedules": schedules.collect::<Vec<_>>(),
        "queues": queues.collect::<Vec<_>>(),
    })
}

/// Shows the lines from the first difference of two texts to the last, at most [`SHOWN`] of each.
fn difference(words: &Words, old: &str, new: &str) -> String {
    let [old, new]: [Vec<_>; 2] = [old, new].map(|text| text.lines().collect());
    let same = |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(a, b)| a == b).count();
    let first = same(&mut old.iter().zip(&new));
    let last = same(&mut old[first..].iter().rev().zip(new[first..].iter().rev()));
    let show = |sign: char, lines: &[&str]| {
        let mut shown: Vec<_> = lines.iter().take(SHOWN).map(|line| format!("\n{sign} {line}")).collect();
        if lines.len() > SHOWN {
            shown
                .push(format!("\n{sign} {}", tr!(words, "generate-more-lines", count = lines.len() - SHOWN)));
        }
        shown.concat()
    };
    let removed = show('-', &old[first..old.len() - last]);
    let added = show('+', &new[first..new.len() - last]);
    format!("{}{removed}{added}", tr!(words, "generate-from-line", line = first + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Locale;

    #[test]
    fn a_difference_shows_what_changed() {
        let words = Words::new(Locale::En);
        let difference = |old: &str, new: &str| difference(&words, old, new);
        assert_eq!(difference("a\nb\nc\n", "a\nx\ny\nc\n"), "from line 2:\n- b\n+ x\n+ y");
        assert_eq!(difference("a\n", "a\nb\n"), "from line 2:\n+ b");
        let many: Vec<_> = (0..20).map(|i| i.to_string()).collect();
        assert!(difference("", &many.join("\n")).ends_with("\n+ 7\n+ (12 more lines)"));
    }
}
