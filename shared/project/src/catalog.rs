//! The tasks of a workspace as they were last built, so that commands that only read need no compiler.
//!
//! A file beside the packages keeps the workspace, the definitions, and the sizes and times of the files that they come from. The
//! catalog is current while none of these files has changed, and no source file is newer than the binary that it is part of.
//! Cargo lists a binary's source files in the file `<binary>.d`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use lamplighter_core::{definition::Definition, name::TaskName};
use serde::{Deserialize, Serialize};

use crate::{
    compile::Binaries,
    config,
    describe::{DescribedTask, describe},
    fault::Faults,
    files::write_atomically,
    workspace::{CATALOG, Workspace},
};

/// The version of the file's format, and of the program that has checked the tasks. A file of another version is built anew.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " format 4");

/// The tasks of a workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    version: String,
    /// The workspace.
    pub workspace: Workspace,
    /// The tasks, in the order of their names.
    pub tasks: Vec<DescribedTask>,
    /// The environment of a stack whose dispatcher has kept these tasks. None if they come from sources.
    #[serde(skip)]
    pub deployed_to: Option<String>,
    /// The binaries of the tasks, by their names.
    binaries: BTreeMap<String, PathBuf>,
    /// The files and folders that the catalog comes from. A missing one has no stamp.
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
}

/// The size and the time of a file's last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    changed: u128,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let changed = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
        // A folder's size says nothing, and differs between file systems.
        Some(Self { bytes: if metadata.is_dir() { 0 } else { metadata.len() }, changed })
    }
}

impl Catalog {
    /// Describes the tasks of a workspace by their binaries, and keeps the catalog. A binary that has not changed since it was last
    /// described is not run again.
    pub fn describe(workspace: Workspace, binaries: &Binaries) -> Result<Self, Faults> {
        let last = Self::read(&workspace.root);
        let known = |name: &str, binary: &Path| last.as_ref()?.definition(name, binary);
        let tasks = describe(&workspace, binaries, known)?;
        Self::keep(&workspace, &tasks, binaries);
        Ok(Self::of(workspace, tasks))
    }

    /// Creates a catalog of tasks that have been described.
    pub fn of(workspace: Workspace, tasks: Vec<DescribedTask>) -> Self {
        Self {
            version: VERSION.to_owned(),
            workspace,
            tasks,
            deployed_to: None,
            binaries: BTreeMap::new(),
            stamps: BTreeMap::new(),
        }
    }

    /// Creates the catalog of a stack from the definitions that its dispatcher has kept. It needs no sources.
    pub fn deployed(folder: &Path, stack: &str, environment: String, tasks: Vec<Definition>) -> Self {
        let workspace = Workspace {
            root: folder.to_owned(),
            name: stack.to_owned(),
            cargo_target: folder.join("target"),
            cargo_build: folder.join("target"),
            manifests: Vec::new(),
            tasks: Vec::new(),
            functions: Vec::new(),
        };
        let described = |definition: Definition| DescribedTask {
            binary: definition.name.to_string(),
            source: format!("stack {stack}"),
            folder: folder.to_owned(),
            definition,
        };
        let tasks = tasks.into_iter().map(described).collect();
        Self { deployed_to: Some(environment), ..Self::of(workspace, tasks) }
    }

    /// Iterates over the names of the tasks.
    pub fn names(&self) -> impl Iterator<Item = &TaskName> {
        self.tasks.iter().map(|task| &task.definition.name)
    }

    /// Finds the catalog of the workspace around a folder. Returns nothing unless it is current.
    pub fn current(folder: &Path) -> Option<Self> {
        Self::last(folder).filter(Self::is_current)
    }

    /// Finds the catalog of the workspace around a folder, current or not.
    pub fn last(folder: &Path) -> Option<Self> {
        folder.ancestors().find_map(Self::read).filter(|catalog| catalog.is_at(folder))
    }

    /// Keeps the tasks of a workspace with the binaries that described them. The catalog only saves time, so it is left out if it
    /// cannot be written.
    fn keep(workspace: &Workspace, tasks: &[DescribedTask], built: &Binaries) {
        let is_task = |name: &String| workspace.tasks.iter().any(|task| task.name == *name);
        let of_tasks = built.paths.iter().filter(|(name, _)| is_task(name));
        let binaries: BTreeMap<_, _> = of_tasks.map(|(name, path)| (name.clone(), path.clone())).collect();
        let root = &workspace.root;
        let mut origins: BTreeSet<PathBuf> = workspace.manifests.iter().cloned().collect();
        origins.extend(["Cargo.toml", config::FILE].map(|name| root.join(name)));
        // A folder changes with a package that is added or removed.
        origins.extend(workspace.tasks.iter().filter_map(|task| Some(task.folder.parent()?.to_owned())));
        origins.extend(binaries.values().cloned());
        let stamps = origins.into_iter().map(|path| (path.clone(), Stamp::of(&path))).collect();
        let (workspace, tasks) = (workspace.clone(), tasks.to_vec());
        let version = VERSION.to_owned();
        let catalog = Self { version, workspace, tasks, deployed_to: None, binaries, stamps };
        // A source that was changed during the build may not be part of the binaries.
        if catalog.newest_source().is_none_or(|changed| changed < built.started)
            && let Ok(text) = serde_json::to_vec(&catalog)
        {
            let _ = write_atomically(&catalog.workspace.catalog(), &text);
        }
    }

    /// Returns the definition that a binary printed when it was last described, if it has not changed since then.
    fn definition(&self, name: &str, binary: &Path) -> Option<Definition> {
        let is_same = self.binaries.get(name).is_some_and(|path| path == binary)
            && Stamp::of(binary).is_some_and(|stamp| self.stamps.get(binary) == Some(&Some(stamp)));
        let task = self.tasks.iter().find(|task| task.binary == name).filter(|_| is_same)?;
        Some(task.definition.clone())
    }

    /// Reads the catalog in a workspace's folder, current or not.
    fn read(root: &Path) -> Option<Self> {
        let catalog: Self = serde_json::from_slice(&fs::read(root.join(CATALOG)).ok()?).ok()?;
        // The folder may have been moved or copied.
        (catalog.version == VERSION && catalog.workspace.root == root).then_some(catalog)
    }

    /// Returns true if the folder belongs to the workspace: no other workspace or package lies between them.
    fn is_at(&self, folder: &Path) -> bool {
        let mut between = folder.ancestors().take_while(|ancestor| *ancestor != self.workspace.root);
        between.all(|folder| {
            let manifest = folder.join("Cargo.toml");
            !manifest.exists() || self.workspace.manifests.contains(&manifest)
        })
    }

    /// Returns true if nothing that the catalog comes from has changed since it was written.
    fn is_current(&self) -> bool {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let mut times = BTreeMap::new();
        target.is_none_or(|target| self.workspace.root.join(target) == self.workspace.cargo_target)
            && self.stamps.iter().all(|(path, stamp)| Stamp::of(path) == *stamp)
            && self.binaries.values().all(|binary| is_newest(binary, &mut times))
    }

    fn newest_source(&self) -> Option<SystemTime> {
        let sources: BTreeSet<_> =
            self.binaries.values().flat_map(|binary| sources(binary).unwrap_or_default()).collect();
        sources.iter().filter_map(|source| fs::metadata(source).ok()?.modified().ok()).max()
    }
}

/// Returns true if a binary is at least as new as each of its sources. A missing source, or a missing list of them, is newer.
fn is_newest(binary: &Path, times: &mut BTreeMap<PathBuf, Option<SystemTime>>) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let (Some(built), Some(sources)) = (modified(binary), sources(binary)) else { return false };
    sources.into_iter().all(|source| {
        let changed = *times.entry(source).or_insert_with_key(|source| modified(source));
        changed.is_some_and(|changed| changed <= built)
    })
}

/// Reads the source files of a binary, as cargo lists them.
fn sources(binary: &Path) -> Option<Vec<PathBuf>> {
    let text = fs::read_to_string(binary.with_extension("d")).ok()?;
    Some(listed(text.lines().next()?))
}

/// Parses a line of a makefile: `target: source source`. A space in a path follows a backslash.
fn listed(line: &str) -> Vec<PathBuf> {
    let Some((_, sources)) = line.split_once(": ") else { return Vec::new() };
    let mut found = vec![String::new()];
    let mut characters = sources.chars().peekable();
    while let Some(character) = characters.next() {
        let last = found.len() - 1;
        match character {
            '\\' if characters.peek() == Some(&' ') => found[last].extend(characters.next()),
            ' ' => found.push(String::new()),
            _ => found[last].push(character),
        }
    }
    found.into_iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;
    use crate::{fixtures::described, workspace::TaskBinary};

    /// A workspace with one task, whose catalog is kept.
    struct Stage {
        folder: tempfile::TempDir,
    }

    impl Stage {
        fn new() -> Self {
            let stage = Self { folder: tempfile::tempdir().unwrap() };
            for file in ["Cargo.toml", "functions/tasks/a/Cargo.toml", "functions/tasks/a/src/main.rs"] {
                stage.write(file, "");
            }
            let [binary, source] =
                ["target/debug/a", "functions/tasks/a/src/main.rs"].map(|path| stage.path(path));
            stage.write("target/debug/a.d", &format!("{}: {}\n", binary.display(), source.display()));
            stage.write("target/debug/a", "binary");
            stage.keep();
            stage
        }

        fn keep(&self) {
            let folder = self.path("functions/tasks/a");
            let root = self.folder.path().to_owned();
            let workspace = Workspace {
                root: root.clone(),
                name: "shop".into(),
                cargo_target: root.join("target"),
                cargo_build: root.join("target"),
                manifests: vec![folder.join("Cargo.toml")],
                tasks: vec![TaskBinary {
                    name: "a".into(),
                    package: "a".into(),
                    folder,
                    source: "functions/tasks/a/src/main.rs".into(),
                }],
                functions: Vec::new(),
            };
            let paths = BTreeMap::from([("a".to_owned(), self.path("target/debug/a"))]);
            let built = Binaries { paths, started: SystemTime::now() + Duration::from_secs(60) };
            let tasks = [described("a", serde_json::json!({}))];
            Catalog::keep(&workspace, &tasks, &built);
        }

        fn path(&self, path: &str) -> PathBuf {
            self.folder.path().join(path)
        }

        fn write(&self, path: &str, text: &str) {
            fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
            fs::write(self.path(path), text).unwrap();
        }

        /// Makes a file newer than all others.
        fn touch(&self, path: &str) {
            let file = File::options().append(true).open(self.path(path)).unwrap();
            file.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
        }

        fn is_current(&self) -> bool {
            Catalog::current(&self.path("functions/tasks/a/src")).is_some()
        }
    }

    #[test]
    fn a_catalog_is_current_until_one_of_its_sources_changes() {
        assert!(Stage::new().is_current());
        for (what, change) in [
            (
                "a source",
                Box::new(|stage: &Stage| stage.touch("functions/tasks/a/src/main.rs")) as Box<dyn Fn(&Stage)>,
            ),
            (
                "a source that is gone",
                Box::new(|stage| fs::remove_file(stage.path("functions/tasks/a/src/main.rs")).unwrap()),
            ),
            ("a binary", Box::new(|stage| stage.write("target/debug/a", "another binary"))),
            (
                "a binary that is gone",
                Box::new(|stage| fs::remove_file(stage.path("target/debug/a")).unwrap()),
            ),
            (
                "the list of sources",
                Box::new(|stage| fs::remove_file(stage.path("target/debug/a.d")).unwrap()),
            ),
            ("the workspace", Box::new(|stage| stage.write("Cargo.toml", "[workspace]"))),
            ("a package", Box::new(|stage| stage.write("functions/tasks/a/Cargo.toml", "[package]"))),
            ("a package that is new", Box::new(|stage| stage.write("functions/tasks/b/Cargo.toml", ""))),
            ("the configuration", Box::new(|stage| stage.write("lamplighter.toml", ""))),
            ("the catalog", Box::new(|stage| stage.write(CATALOG, "{}"))),
        ] {
            let stage = Stage::new();
            change(&stage);
            assert!(!stage.is_current(), "{what} has changed");
        }
    }

    #[test]
    fn a_catalog_of_another_folder_is_not_used() {
        let stage = Stage::new();
        stage.write("elsewhere/Cargo.toml", "[workspace]");
        assert_eq!(Catalog::current(&stage.path("elsewhere")), None);
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir_all(copy.path().join("target")).unwrap();
        fs::copy(stage.path(CATALOG), copy.path().join(CATALOG)).unwrap();
        assert_eq!(Catalog::current(copy.path()), None);
    }

    #[test]
    fn a_definition_is_reused_for_the_same_binary_only() {
        let stage = Stage::new();
        let catalog = Catalog::read(stage.folder.path()).unwrap();
        let binary = stage.path("target/debug/a");
        assert!(catalog.definition("a", &binary).is_some());
        assert_eq!(catalog.definition("b", &binary), None);
        stage.write("target/debug/a", "another binary");
        assert_eq!(catalog.definition("a", &binary), None);
    }

    #[test]
    fn a_list_of_sources_may_have_spaces_in_its_paths() {
        let line = r"/t/a: /my\ shop/main.rs /shop/lib.rs /odd\name.rs";
        assert_eq!(listed(line), ["/my shop/main.rs", "/shop/lib.rs", r"/odd\name.rs"].map(PathBuf::from));
        assert_eq!(listed("/t/a:"), Vec::<PathBuf>::new());
    }
}
