//! The tasks and functions of a workspace: the packages below `functions/`, as cargo lists them.

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

/// A workspace with its tasks and functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// The workspace's folder.
    pub root: PathBuf,
    /// The project's name. The stack has the same name unless the command line names another.
    pub name: String,
    /// Cargo's target folder, which `CARGO_TARGET_DIR` changes.
    pub cargo_target: PathBuf,
    /// The tasks, by name.
    pub tasks: Vec<TaskPackage>,
    /// The other functions, by name: the dispatcher, the pulse, and any other binary directly below `functions/`.
    pub functions: Vec<FunctionPackage>,
}

/// A package with a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPackage {
    /// The task's name, which is that of its folder and its binary.
    pub name: TaskName,
    /// The package's name.
    pub package: String,
    /// The package's folder.
    pub folder: PathBuf,
    /// The file that defines the task, relative to the workspace.
    pub source: String,
}

/// A function that is no task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionPackage {
    /// The binary's name.
    pub name: String,
    /// The package's name.
    pub package: String,
    /// The package's manifest, relative to the workspace.
    pub manifest: String,
}

/// The reason why a workspace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// There is no workspace, or cargo cannot read it.
    #[error("cannot read the cargo workspace of {}", folder.display())]
    Metadata {
        /// The folder in which it was looked for.
        folder: PathBuf,
        /// Cargo's error.
        source: cargo_metadata::Error,
    },
    /// Some of its packages are invalid.
    #[error(transparent)]
    Faults(#[from] Faults),
}

impl Workspace {
    /// Finds the workspace that contains `folder`, with `cargo metadata`. Needs no network.
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
            let folder = package_folder(package);
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

    /// The folder of the packaged functions. It does not depend on `CARGO_TARGET_DIR`, since the template refers to it.
    pub fn packages(&self) -> PathBuf {
        self.root.join("target/lamplighter")
    }
}

/// The name of the project in `root`, by the rules of [`project::name`].
fn name(root: &Path) -> Result<String, Faults> {
    let configured = Config::load(root)?.name;
    let folder = root.file_name().unwrap_or_default().to_string_lossy();
    project::name(configured.as_deref(), &folder).map_err(|error| {
        let mut faults = Faults::default();
        faults.add(config::FILE, "name", error);
        faults
    })
}

/// Reads the task of a package below `functions/tasks`.
fn task(root: &Path, package: &Package) -> Result<TaskPackage, Faults> {
    let folder = package_folder(package);
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
            "package `{}` has no task: it needs a binary `{name}`, named like its folder",
            package.name
        );
        faults.add(manifest, "bin", reason);
        return Err(faults);
    };
    let source = relative(root, library.unwrap_or(binary).src_path.as_std_path());
    Ok(TaskPackage { name, package: package.name.to_string(), folder: folder.to_owned(), source })
}

/// Adds a fault for each name that two functions share.
fn duplicates(tasks: &[TaskPackage], functions: &[FunctionPackage], faults: &mut Faults) {
    let all = tasks.iter().map(|task| (task.name.as_str(), &task.source));
    let all = all.chain(functions.iter().map(|function| (function.name.as_str(), &function.manifest)));
    let mut seen = BTreeMap::new();
    for (name, file) in all {
        if let Some(first) = seen.insert(name, file) {
            faults.add(
                file,
                "name",
                format!("`{name}` is also the name of {first}: each function needs a name of its own"),
            );
        }
    }
}

/// Finds the folders with a manifest, except for those inside another package.
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

fn package_folder(package: &Package) -> &Path {
    let manifest = package.manifest_path.as_std_path();
    manifest.parent().unwrap_or(manifest)
}

/// The path relative to `root`, with `/`.
fn relative(root: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(root).unwrap_or(path).components();
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
