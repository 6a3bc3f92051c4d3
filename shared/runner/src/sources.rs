//! The sources of a project: which files they are, and what says that one of them may have changed.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ignore::WalkBuilder;
use lamplighter_project::workspace::Workspace;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{sync::Notify, time::sleep};

/// How often the sources are looked at, at most; where nothing tells of changes, as often as this.
const LOOK: Duration = Duration::from_millis(500);
/// How long a change is left alone, since editors and generators write several files at once.
const SETTLING: Duration = Duration::from_millis(100);
/// The only hidden folder that has sources: cargo's own configuration.
const CARGO_CONFIGURATION: &str = ".cargo";
/// A folder in which nothing is a source of Rust, and which is often not in a `.gitignore` of its own.
const NODE_MODULES: &str = "node_modules";
/// What is a source directly in the project's folder, which is also where tasks write: manifests and code.
const IN_THE_ROOT: [&str; 3] = ["toml", "lock", "rs"];
/// An old name of the toolchain's file, without an extension.
const TOOLCHAIN: &str = "rust-toolchain";

/// Where the sources of a project are.
///
/// A file is a source unless a `.gitignore` leaves it out, it is hidden, or it lies where cargo builds, where packages are made or
/// in the folder of this machine's stacks.
#[derive(Clone, Debug)]
pub struct Sources {
    root: PathBuf,
    left_out: Arc<Vec<PathBuf>>,
}

/// The sources at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// A number that changes with the names, the sizes and the times of the files.
    pub stamp: u64,
    /// The folders that may have sources.
    pub folders: BTreeSet<PathBuf>,
}

impl Sources {
    /// Those of a workspace whose stacks are kept in `home`.
    pub fn of(workspace: &Workspace, home: &Path) -> Self {
        let packages = workspace.packages();
        let lock = packages.with_extension("lock");
        let left_out = vec![workspace.cargo_target.clone(), packages, lock, home.to_owned()];
        Self { root: workspace.root.clone(), left_out: Arc::new(left_out) }
    }

    /// Looks at them. No file is read. What cannot be looked at is left out: the compiler will say so.
    pub fn look(&self) -> Seen {
        let is_in_repository = self.root.ancestors().any(|folder| folder.join(".git").exists());
        let (root, left_out) = (self.root.clone(), Arc::clone(&self.left_out));
        let walk = WalkBuilder::new(&self.root)
            .hidden(false)
            .ignore(false)
            // Outside a repository the project's own files count, and none above it.
            .require_git(is_in_repository)
            .parents(is_in_repository)
            .filter_entry(move |entry| {
                let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
                entry.depth() == 0 || may_be_source(&root, &left_out, entry.path(), is_folder)
            })
            .sort_by_file_name(OsStr::cmp)
            .build();
        let (mut hasher, mut folders) = (DefaultHasher::new(), BTreeSet::new());
        for entry in walk.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.insert(entry.into_path());
            } else {
                // Its number tells a file from another one of the same time that was put in its place.
                (entry.path(), metadata.len(), metadata.modified().ok(), metadata.ino()).hash(&mut hasher);
            }
        }
        Seen { stamp: hasher.finish(), folders }
    }
}

/// Whether a file, or the files in a folder, may be sources, as far as its path says it.
fn may_be_source(root: &Path, left_out: &[PathBuf], path: &Path, is_folder: bool) -> bool {
    let name = path.file_name().unwrap_or_default();
    let is_hidden = name.as_encoded_bytes().starts_with(b".") && name != CARGO_CONFIGURATION;
    if is_hidden || (is_folder && name == NODE_MODULES) || left_out.iter().any(|folder| folder == path) {
        return false;
    }
    let is_in_root = !is_folder && path.parent() == Some(root);
    !is_in_root
        || name == TOOLCHAIN
        || path.extension().is_some_and(|extension| IN_THE_ROOT.iter().any(|known| extension == *known))
}

/// What says that sources may have changed.
pub struct Signs {
    watcher: Option<RecommendedWatcher>,
    told: Arc<Notify>,
    watched: BTreeSet<PathBuf>,
}

/// Why nothing tells of changes, so that the sources are looked at again and again.
#[derive(Debug, thiserror::Error)]
pub enum Unwatchable {
    /// What is changed on another machine is not told here.
    #[error("{} is on a file system that is shared with other machines", folder.display())]
    Shared {
        /// The project's folder.
        folder: PathBuf,
    },
    /// The system refuses, e.g. since it has no more watches to give.
    #[error("the system does not tell of changes: {0}")]
    System(#[from] notify::Error),
}

impl Signs {
    /// Signs of changes in a folder; without an error, the system tells of them.
    pub fn of(root: &Path) -> (Self, Option<Unwatchable>) {
        let told = Arc::new(Notify::new());
        let heard = Arc::clone(&told);
        let watcher = if is_shared(root) {
            Err(Unwatchable::Shared { folder: root.to_owned() })
        } else {
            notify::recommended_watcher(move |event| {
                if is_change(&event) {
                    heard.notify_one();
                }
            })
            .map_err(Unwatchable::System)
        };
        let (watcher, refused) = match watcher {
            Ok(watcher) => (Some(watcher), None),
            Err(refused) => (None, Some(refused)),
        };
        (Self { watcher, told, watched: BTreeSet::new() }, refused)
    }

    /// Has changes in these folders told, and no others. Whether there are new ones among them, in which something may have
    /// changed before they were watched. After an error nothing is told any more, and the folders are looked at instead.
    pub fn follow(&mut self, folders: &BTreeSet<PathBuf>) -> Result<bool, Unwatchable> {
        let Some(watcher) = &mut self.watcher else { return Ok(false) };
        for gone in self.watched.difference(folders) {
            // One that was removed is not watched any more.
            let _ = watcher.unwatch(gone);
        }
        // All of them, since a folder may be another one than it was under the same name.
        for folder in folders {
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(error) if is_gone(&error) => {}
                Err(error) => {
                    self.watcher = None;
                    return Err(error.into());
                }
            }
        }
        let has_new = !folders.is_subset(&self.watched);
        self.watched.clone_from(folders);
        Ok(has_new)
    }

    /// Waits until something may have changed.
    pub async fn next(&self) {
        if self.watcher.is_some() {
            self.told.notified().await;
            sleep(SETTLING).await;
        } else {
            sleep(LOOK).await;
        }
    }

    /// Waits until it may be looked again, after a look that found nothing.
    pub async fn pause(&self) {
        if self.watcher.is_some() {
            sleep(LOOK).await;
        }
    }
}

/// Whether an event may be a change. A look at the files makes events too.
fn is_change(event: &notify::Result<Event>) -> bool {
    !matches!(event, Ok(Event { kind: EventKind::Access(_), .. }))
}

fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

/// The file systems by whose names other machines, or another system on this one, may write. Source: statfs(2), and the Linux
/// kernel's `magic.h`.
#[cfg(target_os = "linux")]
const SHARED: [u64; 11] = [
    0x0102_1997, // 9P
    0x517b,      // SMB
    0x6969,      // NFS
    0x5346_414f, // AFS
    0x00c3_6400, // Ceph
    0x0bd0_0bd0, // Lustre
    0x7673_7576, // Coda
    0x6573_5546, // FUSE, by which many others come
    0x786f_4256, // VirtualBox
    0xfe53_4d42, // SMB2
    0xff53_4d42, // CIFS
];

#[cfg(target_os = "linux")]
fn is_shared(folder: &Path) -> bool {
    rustix::fs::statfs(folder)
        .is_ok_and(|it| u64::try_from(it.f_type).is_ok_and(|magic| SHARED.contains(&magic)))
}

#[cfg(not(target_os = "linux"))]
fn is_shared(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_path_says_whether_something_may_be_a_source() {
        let root = Path::new("/work/shop");
        let left_out =
            ["/work/shop/out", "/work/shop/target/lamplighter", "/work/shop/state"].map(PathBuf::from);
        for (path, is_folder, wanted) in [
            ("functions", true, true),
            ("functions/tasks/a/src/main.rs", false, true),
            ("functions/tasks/a/src/target", true, true),
            ("functions/tasks/a/src/target/mod.rs", false, true),
            ("functions/tasks/a/assets/data.sqlite", false, true),
            ("functions/tasks/a/.main.rs.swp", false, false),
            (".cargo", true, true),
            (".git", true, false),
            ("web/node_modules", true, false),
            ("out", true, false),
            ("target/lamplighter", true, false),
            ("state", true, false),
            ("Cargo.toml", false, true),
            ("Cargo.lock", false, true),
            ("lamplighter.toml", false, true),
            ("rust-toolchain", false, true),
            ("build.rs", false, true),
            ("app.sqlite", false, false),
            ("app.sqlite-wal", false, false),
            ("notes", false, false),
        ] {
            assert_eq!(may_be_source(root, &left_out, &root.join(path), is_folder), wanted, "{path}");
        }
    }

    /// A folder whose sources are looked at.
    fn sources(folder: &Path) -> Sources {
        let left_out = Arc::new(vec![folder.join("out")]);
        Sources { root: folder.to_owned(), left_out }
    }

    fn write(folder: &Path, path: &str, text: &str) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_look_changes_with_each_source_and_with_nothing_else() {
        for in_repository in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            if in_repository {
                fs::create_dir(root.join(".git")).unwrap();
            }
            write(root, ".gitignore", "*.log\n/generated/\n");
            write(root, "a/.gitignore", "!kept.log\n");
            write(root, "a/src/lib.rs", "1");
            write(root, "a/src/old.rs", "1");
            let sources = sources(root);
            let (stamp, mut before) = (|| sources.look().stamp, sources.look().stamp);
            for path in
                ["b.log", "a/src/c.log", "generated/d.rs", "out/e.rs", "out/f/g.rs", "app.sqlite", ".hidden"]
            {
                write(root, path, "1");
                assert_eq!(stamp(), before, "{path} is no source");
            }
            let changes: [(&str, &dyn Fn()); 6] = [
                ("a new file", &|| write(root, "a/src/new.rs", "1")),
                ("a new folder", &|| write(root, "a/src/deep/er/mod.rs", "1")),
                ("what is ignored no more", &|| write(root, "a/kept.log", "1")),
                ("a file over another", &|| {
                    // Of the same size and time.
                    let time = fs::metadata(root.join("a/src/lib.rs")).unwrap().modified().unwrap();
                    write(root, "a/src/.lib", "2");
                    let other = fs::File::options().write(true).open(root.join("a/src/.lib")).unwrap();
                    other.set_modified(time).unwrap();
                    fs::rename(root.join("a/src/.lib"), root.join("a/src/lib.rs")).unwrap();
                }),
                ("a deleted file", &|| fs::remove_file(root.join("a/src/old.rs")).unwrap()),
                ("a moved folder", &|| {
                    fs::rename(root.join("a/src/deep"), root.join("a/src/deeper")).unwrap();
                }),
            ];
            for (what, change) in changes {
                change();
                let now = stamp();
                assert_ne!(now, before, "{what}");
                before = now;
            }
        }
    }

    #[tokio::test]
    async fn signs_come_of_new_folders_too_and_not_of_a_look() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "a/lib.rs", "1");
        let sources = sources(root);
        let (mut signs, refused) = Signs::of(root);
        assert!(refused.is_none(), "{refused:?}");
        assert!(signs.follow(&sources.look().folders).unwrap());
        let told = |signs: &Signs| {
            let told = Arc::clone(&signs.told);
            async move { tokio::time::timeout(LOOK, told.notified()).await.is_ok() }
        };
        while told(&signs).await {}
        sources.look();
        assert!(!told(&signs).await, "a look is no change");
        for path in ["a/lib.rs", "a/new/lib.rs", "a/new/lib.rs", "a/new/er/lib.rs", "a/new/er/lib.rs"] {
            write(root, path, "2");
            assert!(told(&signs).await, "{path}");
            signs.follow(&sources.look().folders).unwrap();
        }
        while told(&signs).await {}
        // Another folder of the same name.
        fs::rename(root.join("a/new"), root.join("a/old")).unwrap();
        write(root, "a/new/lib.rs", "3");
        assert!(told(&signs).await);
        signs.follow(&sources.look().folders).unwrap();
        while told(&signs).await {}
        for path in ["a/new/lib.rs", "a/old/er/lib.rs"] {
            write(root, path, "4");
            assert!(told(&signs).await, "{path}");
            while told(&signs).await {}
        }
    }
}
