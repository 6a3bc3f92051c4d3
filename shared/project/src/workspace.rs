//! Which tasks and functions a workspace has: every package below `functions/`, as cargo sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{Metadata, MetadataCommand, Package};
use lamplighter_core::{name::TaskName, project};

use crate::{
    config::{self, Config},
    fault::Faults,
};

/// The folder of all functions, from the workspace's root.
pub const FUNCTIONS: &str = "functions";
/// The folder of all tasks, from the workspace's root.
pub const TASKS: &str = "functions/tasks";

/// The name of the dispatcher's binary and package.
pub const DISPATCHER: &str = "dispatcher";
/// The name of the pulse's binary and package.
pub const PULSE: &str = "pulse";

/// A workspace and what it deploys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Its folder.
    pub root: PathBuf,
    /// The project's name, which is its stack's too unless the command line names one.
    pub name: String,
    /// Where cargo builds; `CARGO_TARGET_DIR` decides.
    pub cargo_target: PathBuf,
    /// Its tasks, by name.
    pub tasks: Vec<TaskPackage>,
    /// The other functions, by name: the dispatcher, and whatever else has a binary directly below `functions/`.
    pub functions: Vec<FunctionPackage>,
}

/// A package with a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPackage {
    /// The task's name: its folder's, and its binary's.
    pub name: TaskName,
    /// The package's name.
    pub package: String,
    /// The package's folder.
    pub folder: PathBuf,
    /// The file that defines the task, relative to the workspace.
    pub source: String,
}

/// A binary that is a function and not a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionPackage {
    /// The binary's name.
    pub name: String,
    /// The package's name.
    pub package: String,
    /// The package's manifest, relative to the workspace.
    pub manifest: String,
}

/// Why a workspace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// There is no workspace, or cargo does not understand it.
    #[error("cannot read the cargo workspace of {}", folder.display())]
    Metadata {
        /// Where it was looked for.
        folder: PathBuf,
        /// What cargo says.
        source: cargo_metadata::Error,
    },
    /// Some of its packages are not what they must be.
    #[error(transparent)]
    Faults(#[from] Faults),
}

impl Workspace {
    /// The workspace that `folder` is in. Asks cargo, and reaches no network.
    pub fn discover(folder: &Path) -> Result<Self, WorkspaceError> {
        let metadata = MetadataCommand::new()
            .current_dir(folder)
            .no_deps()
            .exec()
            .map_err(|source| WorkspaceError::Metadata { folder: folder.to_owned(), source })?;
        Ok(Self::from_metadata(&metadata)?)
    }

    fn from_metadata(metadata: &Metadata) -> Result<Self, Faults> {
        let root = metadata.workspace_root.as_std_path();
        let mut faults = Faults::default();
        let name = faults.take(name(root));
        let mut tasks = Vec::new();
        let mut functions = Vec::new();
        let mut folders = BTreeSet::new();
        for package in &metadata.packages {
            let folder = folder_of(package);
            folders.insert(folder.to_owned());
            if folder.starts_with(root.join(TASKS)) {
                tasks.extend(faults.take(task(root, package)));
            } else if folder.parent() == Some(root.join(FUNCTIONS).as_path()) {
                functions.extend(binaries(package).map(|name| FunctionPackage {
                    name: name.to_owned(),
                    package: package.name.to_string(),
                    manifest: relative(root, package.manifest_path.as_std_path()),
                }));
            }
        }
        for folder in packages_below(&root.join(TASKS)) {
            if !folders.contains(&folder) {
                let manifest = relative(root, &folder.join("Cargo.toml"));
                let folder = relative(root, &folder);
                faults.add(
                    manifest,
                    "",
                    format!("is not in the workspace: add `{folder}` to `members` in Cargo.toml"),
                );
            }
        }
        tasks.sort_by(|a: &TaskPackage, b| (&a.name, &a.source).cmp(&(&b.name, &b.source)));
        functions.sort_by(|a, b| (&a.name, &a.manifest).cmp(&(&b.name, &b.manifest)));
        duplicates(&tasks, &functions, &mut faults);
        let cargo_target = metadata.target_directory.clone().into_std_path_buf();
        let name = name.unwrap_or_default();
        faults.none_or(Self { root: root.to_owned(), name, cargo_target, tasks, functions })
    }

    /// Where the packages of the functions are, whatever `CARGO_TARGET_DIR` says, since the template names it.
    pub fn packages(&self) -> PathBuf {
        self.root.join("target/lamplighter")
    }
}

/// The name of the project in `root`, as [`project::name`] says.
fn name(root: &Path) -> Result<String, Faults> {
    let given = Config::load(root)?.name;
    let folder = root.file_name().unwrap_or_default().to_string_lossy();
    project::name(given.as_deref(), &folder).map_err(|error| {
        let mut faults = Faults::default();
        faults.add(config::FILE, "name", error);
        faults
    })
}

/// The task of a package below the folder of all tasks.
fn task(root: &Path, package: &Package) -> Result<TaskPackage, Faults> {
    let folder = folder_of(package);
    let manifest = relative(root, package.manifest_path.as_std_path());
    let mut faults = Faults::default();
    let below = relative(&root.join(TASKS), folder);
    let name = match TaskName::from_folder(&below) {
        Ok(name) => name,
        Err(error) => {
            faults.add(manifest, "", format!("the folder of package `{}`: {error}", package.name));
            return Err(faults);
        }
    };
    let library = package.targets.iter().find(|target| target.is_lib());
    let binary = package.targets.iter().find(|target| target.is_bin() && target.name == name.as_str());
    let Some(binary) = binary else {
        let reason = format!(
            "package `{}` has no task: it must have a binary `{name}`, as its folder is called",
            package.name
        );
        faults.add(manifest, "bin", reason);
        return Err(faults);
    };
    let source = relative(root, library.unwrap_or(binary).src_path.as_std_path());
    Ok(TaskPackage { name, package: package.name.to_string(), folder: folder.to_owned(), source })
}

/// Adds a fault for each two that have one name, since they would be one function.
fn duplicates(tasks: &[TaskPackage], functions: &[FunctionPackage], faults: &mut Faults) {
    let all = tasks.iter().map(|task| (task.name.as_str(), &task.source));
    let all = all.chain(functions.iter().map(|function| (function.name.as_str(), &function.manifest)));
    let mut seen = BTreeMap::new();
    for (name, file) in all {
        if let Some(first) = seen.insert(name, file) {
            faults.add(
                file,
                "name",
                format!("`{name}` is the name of {first} too: a name stands for one function"),
            );
        }
    }
}

/// Every folder with a manifest, without those inside another package.
fn packages_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.join("Cargo.toml").is_file() {
            found.push(path);
        } else if path.is_dir() && !path.is_symlink() {
            found.extend(packages_below(&path));
        }
    }
    found.sort();
    found
}

fn binaries(package: &Package) -> impl Iterator<Item = &str> {
    package.targets.iter().filter(|target| target.is_bin()).map(|target| target.name.as_str())
}

fn folder_of(package: &Package) -> &Path {
    let manifest = package.manifest_path.as_std_path();
    manifest.parent().unwrap_or(manifest)
}

/// The path from `root`, with `/`.
fn relative(root: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(root).unwrap_or(path).components();
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
