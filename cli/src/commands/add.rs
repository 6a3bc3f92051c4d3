//! `lamplighter add`: adds a task to a project.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use lamplighter_core::schedule::Schedule;
use lamplighter_project::{config::Config, workspace::Workspace};

use crate::{
    arguments::names::Misuse,
    scaffold::{
        changes::Changes,
        manifest,
        project::{CRATES, TASKS},
        source::Source,
        task::{self, Kind, NewTask},
    },
    terminal::output,
    tr,
    words::Words,
};

/// Adds a task: a package with its source and a test.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter add cron tidy --schedule @daily")]
pub(crate) struct Arguments {
    /// The kind of the task.
    kind: Kind,
    /// Its name: lowercase letters, digits and hyphens.
    name: String,
    /// The schedule of a cron task: a cron expression, or words such as `every day`. Default: each night at three.
    #[arg(long)]
    schedule: Option<String>,
    /// The source of the crates of Lamplighter, if the workspace does not have them yet: `registry`, `path:FOLDER` or `git:URL`.
    #[arg(long, default_value = "registry", value_name = "SOURCE")]
    source: Source,
    /// Writes nothing, and shows what would be written.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let task = task(words, arguments)?;
    let workspace = super::workspace()?;
    let is_same = |name: &str| name == task.name.as_str();
    if workspace.tasks.iter().any(|other| is_same(&other.name)) {
        bail!(tr!(words, "add-exists", task = task.name));
    }
    let base = base(words, &Config::load(&workspace.root)?)?;
    let mut changes = Changes::default();
    let folder = task.write(&base, &mut changes);
    let path = workspace.root.join("Cargo.toml");
    let before = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let after = members(&workspace, arguments, &before, &folder)?;
    changes.edit("Cargo.toml", before, after);
    changes.make(words, &workspace.root, arguments.dry_run)?;
    if arguments.dry_run {
        output::line(tr!(words, "new-dry-run"));
    } else {
        output::line(tr!(words, "add-next", task = task.name));
    }
    Ok(())
}

fn task(words: &Words, arguments: &Arguments) -> anyhow::Result<NewTask> {
    let name = task::name(&arguments.name).map_err(|error| Misuse(error.to_string()))?;
    let schedule = match &arguments.schedule {
        Some(_) if arguments.kind != Kind::Cron => {
            return Err(Misuse(tr!(words, "add-no-schedule", kind = arguments.kind.as_str())).into());
        }
        Some(schedule) => {
            schedule.parse::<Schedule>().map_err(|error| Misuse(format!("--schedule: {error}")))?;
            schedule.clone()
        }
        None => task::SCHEDULE.to_owned(),
    };
    Ok(NewTask { name, kind: arguments.kind, schedule })
}

/// Returns the folder of new tasks: the one of the first pattern that takes any name.
fn base(words: &Words, config: &Config) -> anyhow::Result<PathBuf> {
    let Some(patterns) = &config.project.tasks else { return Ok(TASKS.into()) };
    let folder = patterns.iter().find_map(|pattern| {
        let folder = pattern.trim_start_matches("./").trim_end_matches('/');
        let folder = folder.strip_suffix("/**").or_else(|| folder.strip_suffix("/*"))?;
        (!folder.contains(['*', '?', '[', '{'])).then(|| PathBuf::from(folder))
    });
    folder.with_context(|| tr!(words, "add-no-folder", patterns = patterns.join(", ")))
}

fn members(
    workspace: &Workspace,
    arguments: &Arguments,
    manifest: &str,
    folder: &Path,
) -> anyhow::Result<String> {
    // A pattern takes the next tasks, too. Cargo refuses one without a package, so `init` does not add it.
    let pattern = folder.parent().map(|base| base.join("*")).unwrap_or_default();
    let is_member = manifest::is_member(manifest, &folder.to_string_lossy())?;
    let text = if is_member {
        manifest.to_owned()
    } else {
        manifest::add_members(manifest, &[&pattern.to_string_lossy()])?
    };
    if manifest::has_dependency(&text, CRATES[0])? {
        return Ok(text);
    }
    let crates = arguments.source.crates(&workspace.root, &CRATES[..1])?;
    Ok(manifest::add_crates(&text, &crates, &CRATES[..1])?)
}
