//! `lamplighter generate`: writes the stack's template, or checks that the committed one is up to date.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use lamplighter_core::{
    definition::{Cron, Kind},
    name::TaskName,
    schedule::{Driver, driver},
};
use lamplighter_project::{
    Project,
    config::Config,
    environments::Environments,
    fault::Faults,
    files::write_atomically,
    queues::{deliveries, visibility_seconds},
};
use lamplighter_template::{Application, Destination, TEMPLATE, render_to};
use serde_json::json;

use crate::{arguments::names::Misuse, terminal::output, tr, words::Words};

/// The most lines that are shown of each side of a difference.
const SHOWN: usize = 8;

/// Writes the stack's SAM template.
///
/// The file is infra/template.yaml, unless `build.template` in lamplighter.toml names another one.
/// One template serves all environments whose values in lamplighter.toml are the same. An environment with values of its own
/// needs a template of its own, which `--environment` and `--output` write.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  lamplighter generate --check\n  \
                            lamplighter generate --environment prod --output infra/prod.yaml")]
pub(crate) struct Arguments {
    /// The environment. Overrides `environment` in lamplighter.toml.
    #[arg(long)]
    environment: Option<String>,
    /// Writes nothing, and fails if the file is out of date.
    #[arg(long)]
    check: bool,
    /// The file to write, in the workspace's folder or below. The paths in it are relative to it. Default: the stack's template.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let catalog = super::catalog(None)?;
    let root = &catalog.workspace.root;
    let config = Config::load(root)?;
    let file = file(root, &config, arguments.output.as_deref())?;
    let project = super::project(&catalog, arguments.environment.as_deref())?;
    let environments = Environments::of(&project, &catalog.tasks, &config);
    let destination = Destination { file, environments };
    let file = destination.file.as_str();
    let mut faults = project.undeployable(jiff::Timestamp::now());
    let application = faults.take(application(root, file, &project));
    let application = application.as_ref().and_then(Option::as_ref);
    let template = faults.take(render_to(&destination, &project, application));
    let template = faults.none_or(template)?.unwrap_or_default();
    let path = root.join(file);
    let committed = match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read {file}")),
    };
    let changed = committed.as_deref() != Some(template.as_str());
    if changed && !arguments.check {
        write_atomically(&path, template.as_bytes()).with_context(|| format!("cannot write {file}"))?;
    }
    if arguments.json {
        output::plain(report(&project, &destination, changed));
    } else {
        // A template of another file is for the environment that it names.
        if arguments.output.is_none() {
            for environment in destination.environments.not_served(&config) {
                output::note(tr!(words, "generate-environment", environment = environment));
            }
        }
        left_out(words, &project);
        drivers(words, &project);
        queues(words, &project);
        match (changed, arguments.check) {
            (true, true) => {}
            (true, false) => output::line(tr!(words, "generate-written", file = file)),
            (false, _) => output::line(tr!(words, "generate-current", file = file)),
        }
    }
    match (changed && arguments.check, committed) {
        (false, _) => Ok(()),
        (true, None) => bail!(tr!(words, "generate-missing", file = file)),
        (true, Some(committed)) => Err(anyhow!(
            "{}\n{}",
            tr!(words, "generate-differs", file = file),
            difference(words, &committed, &template)
        )),
    }
}

/// The path of the file to write, from the workspace's folder: that of the command line, of lamplighter.toml, or the default.
fn file(root: &Path, config: &Config, output: Option<&Path>) -> anyhow::Result<String> {
    let application = config.build.application.as_ref().map(|file| real(&root.join(file)));
    let checked = |path: &Path| match output_file(root, path) {
        Some(_) if application == Some(real(path)) => Err(format!(
            "`{}` is the application's template, which `generate` never replaces: name another file, such as \
                 `infra/lamplighter.yaml`",
            path.display()
        )),
        Some(file) => Ok(file),
        None => Err(format!("`{}` is not a file below {}", path.display(), root.display())),
    };
    if let Some(path) = output {
        let file = checked(&super::current_folder()?.join(path));
        return Ok(file.map_err(|reason| Misuse(format!("--output: {reason}")))?);
    }
    let path = config.build.template.as_deref().unwrap_or(TEMPLATE);
    checked(&root.join(path)).map_err(|reason| {
        let mut faults = Faults::default();
        faults.add(lamplighter_project::config::FILE, "build.template", reason);
        faults.into()
    })
}

/// The path of a file from the workspace's folder. The packages that a template names are in that folder, so the file must be
/// there, too.
fn output_file(root: &Path, path: &Path) -> Option<String> {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let file = real(path).strip_prefix(&root).ok()?.to_str()?.to_owned();
    (!file.is_empty() && !path.is_dir()).then_some(file)
}

/// The path without symbolic links, `.` and `..`. Its last parts need not exist.
fn real(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let (Some(parent), Some(last)) = (path.parent(), path.components().next_back()) else {
        return path.to_owned();
    };
    let mut folder = real(parent);
    match last {
        Component::ParentDir => {
            folder.pop();
        }
        Component::Normal(name) => folder.push(name),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
    }
    folder
}

/// Reads the user's own resources, if the project has any, for the template `destination`.
fn application(root: &Path, destination: &str, project: &Project) -> Result<Option<Application>, Faults> {
    let Some(file) = &project.build.application else { return Ok(None) };
    match fs::read_to_string(root.join(file)) {
        Ok(text) => Application::parse_for(destination, file, &text).map(Some),
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

fn report(project: &Project, destination: &Destination, changed: bool) -> serde_json::Value {
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
        "template": destination.file,
        "environment": project.environment,
        "environments": match &destination.environments {
            Environments::AllBut(names) => json!({ "all_but": names }),
            Environments::Only(names) => json!({ "only": names }),
        },
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
