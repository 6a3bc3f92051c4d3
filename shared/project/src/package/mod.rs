//! Packages the functions: a zip for AWS and a folder for this machine, with the same content.

mod archive;
mod folder;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use lamplighter_core::{deployed::DEFINITIONS, pulse::PLAN, value::sorted};
use serde::Serialize;

use crate::{
    assets::{self, Content, Entry},
    catalog::Catalog,
    compile::{self, CompileError, Profile},
    config::Config,
    describe::DescribedTask,
    fault::Faults,
    tasks::Project,
    workspace::{DISPATCHER, PULSE, Workspace},
};

/// The name of the binary in a package.
const BOOTSTRAP: &str = "bootstrap";
/// The folder of a task's assets in a package.
const ASSETS: &str = "assets";

/// A packaged function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Package {
    /// The function's name: the task's, or the binary's.
    pub name: String,
    /// The zip, for AWS.
    pub zip: PathBuf,
    /// The size of the zip.
    pub zip_bytes: u64,
    /// The folder with the same content, for this machine.
    pub folder: PathBuf,
    /// The task's definition. None for a function that is no task.
    #[serde(skip)]
    pub task: Option<DescribedTask>,
}

/// The reason why functions could not be packaged.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The functions do not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A task's definition or its assets are invalid.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// A package could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Compiles every function of the workspace and packages it below `target/lamplighter`. Returns the packages by name.
///
/// Packages of functions that no longer exist are removed. The pulse's package contains the plan of the tasks in one
/// environment: `environment`, or else the one that lamplighter.toml names.
pub fn package_all(
    workspace: &Workspace,
    profile: Profile,
    environment: Option<&str>,
) -> Result<Vec<Package>, PackageError> {
    let binaries = compile::all(workspace, profile)?;
    let described = if profile.runs_here() { binaries.clone() } else { compile::tasks(workspace)? };
    let described = Catalog::describe(workspace.clone(), &described)?.tasks;
    let mut contents = contents(&binaries.paths, &described)?;
    let config = Config::load(&workspace.root)?;
    let project = Project::resolve(&workspace.name, described.clone(), &config, environment)?;
    for (function, file, text) in
        [(PULSE, PLAN, plan(&project)), (DISPATCHER, DEFINITIONS, definitions(&project))]
    {
        if let Some(entries) = contents.get_mut(function) {
            entries.push(Entry { to: file.to_owned(), content: Content::Text(text) });
        }
    }
    let target = workspace.packages();
    let _lock = exclusive_lock(&target).map_err(failed(&target))?;
    remove_others(&target, &contents)?;
    let package = |(name, entries): (&String, &Vec<Entry>)| {
        let zip = target.join(format!("{name}.zip"));
        let folder = target.join(name);
        // The folder is written last. So if it has this content, the zip has it too.
        if !(zip.is_file() && folder::is_current(&folder, entries).map_err(failed(&folder))?) {
            archive::write(&zip, entries, level(profile)).map_err(failed(&zip))?;
            folder::write(&folder, entries).map_err(failed(&folder))?;
        }
        let zip_bytes = fs::metadata(&zip).map_err(failed(&zip))?.len();
        let task = described.iter().find(|task| task.definition.name.as_str() == name).cloned();
        Ok(Package { name: name.clone(), zip, zip_bytes, folder, task })
    };
    contents.iter().map(package).collect()
}

/// The plan of a project's tasks, as text that is the same for the same tasks.
fn plan(project: &Project) -> String {
    // A plan consists of lists and records, which can always be JSON.
    serde_json::to_value(project.plan()).map(|plan| sorted(&plan)).unwrap_or_default()
}

/// The definitions of a project's tasks, as text that is the same for the same tasks.
fn definitions(project: &Project) -> String {
    let definitions: Vec<_> = project.tasks.iter().map(|task| &task.definition).collect();
    serde_json::to_value(definitions).map(|definitions| sorted(&definitions)).unwrap_or_default()
}

/// Waits until no other process writes packages here. Others wait until the returned file is dropped.
fn exclusive_lock(target: &Path) -> io::Result<fs::File> {
    fs::create_dir_all(target)?;
    let lock = fs::File::create(target.with_extension("lock"))?;
    lock.lock()?;
    Ok(lock)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> PackageError {
    let path = path.to_owned();
    move |source| PackageError::Write { path, source }
}

/// The content of each package by the name of its function, sorted by destination.
fn contents(
    binaries: &BTreeMap<String, PathBuf>,
    described: &[DescribedTask],
) -> Result<BTreeMap<String, Vec<Entry>>, Faults> {
    let mut faults = Faults::default();
    let names: BTreeMap<_, _> =
        described.iter().map(|task| (task.binary.as_str(), task.definition.name.as_str())).collect();
    let mut contents: BTreeMap<_, _> = binaries
        .iter()
        .map(|(binary, path)| {
            let name = names.get(binary.as_str()).copied().unwrap_or(binary);
            let content = Content::File { from: path.clone(), executable: true };
            (name.to_owned(), vec![Entry { to: BOOTSTRAP.to_owned(), content }])
        })
        .collect();
    for task in described {
        let Some(entries) = contents.get_mut(task.definition.name.as_str()) else { continue };
        for asset in &task.definition.copy_assets {
            match assets::files(&task.folder, asset) {
                Ok(files) => entries.extend(
                    files
                        .into_iter()
                        .map(|file| Entry { to: format!("{ASSETS}/{}", file.to), content: file.content }),
                ),
                Err(error) => faults.add(&task.source, "copy_assets", error),
            }
        }
        entries.sort();
        for (entry, next) in entries.iter().zip(entries.iter().skip(1)) {
            if next.to == entry.to || next.to.starts_with(&format!("{}/", entry.to)) {
                faults.add(
                    &task.source,
                    "copy_assets",
                    format!("two assets have the destination `{}`", entry.to),
                );
            }
        }
    }
    faults.none_or(contents)
}

/// Removes the packages of functions that no longer exist.
fn remove_others(target: &Path, contents: &BTreeMap<String, Vec<Entry>>) -> Result<(), PackageError> {
    let kept: BTreeSet<_> = contents.keys().flat_map(|name| [name.clone(), format!("{name}.zip")]).collect();
    let entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(target)(error)),
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !kept.contains(name.as_ref()) {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(failed(&path))?;
        }
    }
    Ok(())
}

/// The compression level of a zip. A debug binary is large and never uploaded, so it is compressed quickly.
fn level(profile: Profile) -> i64 {
    match profile {
        Profile::Dev | Profile::Optimised => 1,
        Profile::Release { .. } => 9,
    }
}

fn mode(executable: bool) -> u32 {
    if executable { 0o755 } else { 0o644 }
}
