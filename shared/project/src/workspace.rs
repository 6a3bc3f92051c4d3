//! The tasks and functions of a workspace, as cargo lists them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{Metadata, MetadataCommand, Package, Target};
use lamplighter_core::project;
use serde::{Deserialize, Serialize};

use crate::{
    config::{self, Config},
    fault::Faults,
    folder_pattern::FolderPattern,
    versions,
};

/// The folder of all functions, from the workspace's root.
pub const FUNCTIONS: &str = "functions";
/// The default folders of the packages with tasks, as a glob pattern relative to the workspace's root.
pub const TASKS: &str = "functions/tasks/**";

/// The file that keeps the tasks as they were last built, from the workspace's root.
pub(crate) const CATALOG: &str = "target/lamplighter-tasks.json";

/// The name of the dispatcher's binary and package.
pub const DISPATCHER: &str = "dispatcher";
/// The name of the pulse's binary and package.
pub const PULSE: &str = "pulse";

/// A workspace with its tasks and functions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// The workspace's folder.
    pub root: PathBuf,
    /// The project's name. The stack has the same name unless the command line names another.
    pub name: String,
    /// Cargo's target folder, which `CARGO_TARGET_DIR` changes.
    pub cargo_target: PathBuf,
    /// The folder of cargo's intermediate files, which `build.build-dir` changes. By default it is the target folder.
    pub cargo_build: PathBuf,
    /// The manifests of its packages.
    pub manifests: Vec<PathBuf>,
    /// The binaries with tasks, by name.
    pub tasks: Vec<TaskBinary>,
    /// The other functions, by name: the dispatcher, the pulse, and any other binary of a package directly below `functions/`.
    pub functions: Vec<FunctionPackage>,
}

/// A binary with a task. Its name may differ from the task's name, which the binary prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskBinary {
    /// The binary's name.
    pub name: String,
    /// The package's name.
    pub package: String,
    /// The package's folder.
    pub folder: PathBuf,
    /// The file that defines the task, relative to the workspace.
    pub source: String,
}

/// A function that is no task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        Ok(Self::from_metadata(&metadata(folder)?)?)
    }

    /// Returns the name of the project around a folder. Its packages may be invalid.
    pub fn project_name(folder: &Path) -> Result<String, WorkspaceError> {
        let metadata = metadata(folder)?;
        let root = metadata.workspace_root.as_std_path();
        Ok(name(root, &Config::load(root)?)?)
    }

    fn from_metadata(metadata: &Metadata) -> Result<Self, Faults> {
        let root = metadata.workspace_root.as_std_path();
        let config = Config::load(root)?;
        let mut faults = Faults::default();
        let name = faults.take(name(root, &config));
        let patterns = faults.take(Patterns::of(&config)).unwrap_or_default();
        let mut tasks = Vec::new();
        let mut functions = Vec::new();
        let mut folders = BTreeSet::new();
        for package in &metadata.packages {
            let folder = package_folder(package);
            let below = relative(root, folder);
            if let Err(reason) = versions::check_dependencies(package) {
                faults.add(relative(root, package.manifest_path.as_std_path()), "dependencies", reason);
            }
            if patterns.has(&below) {
                tasks.extend(faults.take(task_binaries(root, package)).into_iter().flatten());
            } else if folder.parent() == Some(root.join(FUNCTIONS).as_path()) {
                functions.extend(binaries(package).map(|name| FunctionPackage {
                    name: name.to_owned(),
                    package: package.name.to_string(),
                    manifest: relative(root, package.manifest_path.as_std_path()),
                }));
            }
            folders.insert(below);
        }
        patterns.check(root, &folders, &mut faults);
        tasks.sort_by(|a: &TaskBinary, b| (&a.name, &a.source).cmp(&(&b.name, &b.source)));
        functions.sort_by(|a, b| (&a.name, &a.manifest).cmp(&(&b.name, &b.manifest)));
        duplicates(&tasks, &functions, &mut faults);
        let cargo_target = metadata.target_directory.clone().into_std_path_buf();
        let cargo_build = metadata.build_directory.clone().map_or_else(|| cargo_target.clone(), Into::into);
        let name = name.unwrap_or_default();
        let manifest = |package: &Package| package.manifest_path.clone().into_std_path_buf();
        let manifests = metadata.packages.iter().map(manifest).collect();
        faults.none_or(Self {
            root: root.to_owned(),
            name,
            cargo_target,
            cargo_build,
            manifests,
            tasks,
            functions,
        })
    }

    /// The file that keeps the tasks as they were last built.
    pub fn catalog(&self) -> PathBuf {
        self.root.join(CATALOG)
    }

    /// The folder of the packaged functions. It does not depend on `CARGO_TARGET_DIR`, since the template refers to it.
    pub fn packages(&self) -> PathBuf {
        self.root.join("target/lamplighter")
    }
}

fn metadata(folder: &Path) -> Result<Metadata, WorkspaceError> {
    let metadata = MetadataCommand::new().current_dir(folder).no_deps().exec();
    metadata.map_err(|source| WorkspaceError::Metadata { folder: folder.to_owned(), source })
}

/// The name of the project in `root`, by the rules of [`project::name`].
fn name(root: &Path, config: &Config) -> Result<String, Faults> {
    let folder = root.file_name().unwrap_or_default().to_string_lossy();
    project::name(config.name.as_deref(), &folder).map_err(|error| {
        let mut faults = Faults::default();
        faults.add(config::FILE, "name", error);
        faults
    })
}

/// The patterns of the folders with tasks.
#[derive(Debug, Default)]
struct Patterns {
    /// The patterns, in the order of lamplighter.toml.
    all: Vec<FolderPattern>,
    /// True if lamplighter.toml has them. Then each of them must match a package.
    are_configured: bool,
}

impl Patterns {
    fn of(config: &Config) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let are_configured = config.project.tasks.is_some();
        let patterns = config.project.tasks.clone().unwrap_or_else(|| vec![TASKS.to_owned()]);
        let mut all = Vec::new();
        for (i, pattern) in patterns.into_iter().enumerate() {
            let key = format!("project.tasks[{i}]");
            match FolderPattern::new(&pattern) {
                Ok(known) if is_below_the_workspace(known.text()) => all.push(known),
                Ok(_) => {
                    let reason = format!(
                        "`{pattern}` is not a folder below the workspace: give a pattern such as `functions/tasks/*`"
                    );
                    faults.add(config::FILE, key, reason);
                }
                Err(error) => faults.add(config::FILE, key, format!("`{pattern}` is not a pattern: {error}")),
            }
        }
        faults.none_or(Self { all, are_configured })
    }

    /// Returns true if a folder, relative to the workspace, matches one of them.
    fn has(&self, folder: &str) -> bool {
        self.all.iter().any(|pattern| pattern.matches(folder))
    }

    /// Adds a fault for each folder with a package that is not a member of the workspace, and for each pattern of lamplighter.toml
    /// without a package.
    fn check(&self, root: &Path, members: &BTreeSet<String>, faults: &mut Faults) {
        for (i, pattern) in self.all.iter().enumerate() {
            let fixed = pattern.text().split('/').take_while(|part| !part.contains(['*', '?', '[', '{']));
            let base = fixed.fold(root.to_owned(), |base, part| base.join(part));
            // A pattern for folders anywhere would lead through everything that lies in the workspace, such as `target`.
            let packages = if base == root { Vec::new() } else { packages_at(&base) };
            let packages = packages.into_iter().map(|folder| relative(root, &folder));
            let forgotten = packages.filter(|folder| pattern.matches(folder) && !members.contains(folder));
            let mut is_matched = members.iter().any(|folder| pattern.matches(folder));
            for folder in forgotten {
                is_matched = true;
                let reason = format!("is not in the workspace: add `{folder}` to `members` in Cargo.toml");
                faults.add(format!("{folder}/Cargo.toml"), "", reason);
            }
            if self.are_configured && !is_matched {
                let reason = format!("`{}` matches no package of the workspace", pattern.text());
                faults.add(config::FILE, format!("project.tasks[{i}]"), reason);
            }
        }
    }
}

fn is_below_the_workspace(pattern: &str) -> bool {
    !pattern.is_empty() && !pattern.starts_with('/') && pattern.split('/').all(|part| part != "..")
}

/// Returns the binaries of a package with tasks. Each of them is a task.
fn task_binaries(root: &Path, package: &Package) -> Result<Vec<TaskBinary>, Faults> {
    let binaries: Vec<_> = package.targets.iter().filter(|target| target.is_bin()).collect();
    let library = package.targets.iter().find(|target| target.is_lib()).filter(|_| binaries.len() == 1);
    if binaries.is_empty() {
        let mut faults = Faults::default();
        let manifest = relative(root, package.manifest_path.as_std_path());
        faults.add(manifest, "bin", format!("package `{}` has no task: it needs a binary", package.name));
        return Err(faults);
    }
    let task = |binary: &&Target| TaskBinary {
        name: binary.name.clone(),
        package: package.name.to_string(),
        folder: package_folder(package).to_owned(),
        source: relative(root, library.unwrap_or(binary).src_path.as_std_path()),
    };
    Ok(binaries.iter().map(task).collect())
}

/// Adds a fault for each name that two binaries share.
fn duplicates(tasks: &[TaskBinary], functions: &[FunctionPackage], faults: &mut Faults) {
    let all = tasks.iter().map(|task| (task.name.as_str(), &task.source));
    let all = all.chain(functions.iter().map(|function| (function.name.as_str(), &function.manifest)));
    let mut seen = BTreeMap::new();
    for (name, file) in all {
        if let Some(first) = seen.insert(name, file) {
            faults.add(
                file,
                "name",
                format!("the binary `{name}` is also that of {first}: each function needs a binary with a name of its own"),
            );
        }
    }
}

/// Finds the folders with a manifest below a folder, except for those inside another package.
fn packages_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let folders =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir() && !path.is_symlink());
    let mut found: Vec<_> = folders.flat_map(|folder| packages_at(&folder)).collect();
    found.sort();
    found
}

/// Returns the folder itself if it has a manifest, or else those below it.
fn packages_at(folder: &Path) -> Vec<PathBuf> {
    if folder.join("Cargo.toml").is_file() { vec![folder.to_owned()] } else { packages_below(folder) }
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
