//! `lamplighter new`: creates a project.

use std::{
    fs,
    io::{IsTerminal as _, stderr, stdin},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use dialoguer::MultiSelect;
use lamplighter_core::project;

use crate::{
    arguments::names::Misuse,
    scaffold::{
        project::{CRATES, new},
        source::Source,
        task::Kind,
    },
    terminal::output,
    tr,
    words::Words,
};

/// Creates a project that builds, passes its tests and deploys.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter new shop --kinds cron,queue")]
pub(crate) struct Arguments {
    /// The folder of the project, which must not exist or must be empty. Its last part is the project's name.
    folder: PathBuf,
    /// The kinds of which the project has a task. At a terminal you are asked; otherwise: lifecycle and cron.
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    kinds: Vec<Kind>,
    /// Asks nothing.
    #[arg(long)]
    no_input: bool,
    /// Where the crates of Lamplighter come from: `registry`, `path:FOLDER` or `git:URL`.
    #[arg(long, default_value = "registry", value_name = "SOURCE")]
    source: Source,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let current = super::current_folder()?;
    let root = current.join(&arguments.folder);
    let folder = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = project::name(Some(&folder), &folder).map_err(|error| Misuse(error.to_string()))?;
    check_empty(words, &root)?;
    if let Some(manifest) = outer_workspace(&root) {
        output::note(tr!(words, "new-inside", manifest = manifest.display().to_string()));
    }
    let crates = arguments.source.crates(&current, &CRATES)?;
    let changes = new(&name, &kinds(words, arguments)?, &crates)?;
    changes.make(words, &root, false)?;
    output::line(tr!(words, "new-next", folder = arguments.folder.display().to_string()));
    Ok(())
}

/// Fails unless the folder is empty or does not exist.
fn check_empty(words: &Words, root: &Path) -> anyhow::Result<()> {
    let mut entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read the folder {}", root.display()));
        }
    };
    if entries.next().is_some() {
        bail!(tr!(words, "new-not-empty", folder = root.display().to_string()));
    }
    Ok(())
}

/// Finds a manifest above a folder. Cargo would treat the project as a part of that manifest's workspace.
fn outer_workspace(root: &Path) -> Option<PathBuf> {
    root.ancestors().skip(1).map(|folder| folder.join("Cargo.toml")).find(|manifest| manifest.is_file())
}

fn kinds(words: &Words, arguments: &Arguments) -> anyhow::Result<Vec<Kind>> {
    let default = [Kind::Lifecycle, Kind::Cron];
    let mut kinds = arguments.kinds.clone();
    if kinds.is_empty() && !arguments.no_input && stdin().is_terminal() && stderr().is_terminal() {
        let all: Vec<_> = Kind::ALL.iter().map(|kind| (kind.as_str(), default.contains(kind))).collect();
        let chosen = MultiSelect::new().with_prompt(tr!(words, "new-kinds")).items_checked(all).interact()?;
        kinds = chosen.into_iter().map(|i| Kind::ALL[i]).collect();
    } else if kinds.is_empty() {
        kinds = default.to_vec();
    }
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds)
}
