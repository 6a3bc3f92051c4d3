//! The sources of a project: which files they are, and a watcher for their changes.

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

/// The shortest pause between two scans of the sources, and the pause where they are polled.
const SCAN_PAUSE: Duration = Duration::from_millis(500);
/// The pause after a change, since editors and generators write several files at once.
const SETTLING: Duration = Duration::from_millis(100);
/// The only hidden folder with sources: cargo's configuration.
const CARGO_CONFIGURATION: &str = ".cargo";
/// A folder without Rust sources, which is often not in a `.gitignore`.
const NODE_MODULES: &str = "node_modules";
/// The extensions of sources directly in the project's folder. Tasks write other files there.
const IN_THE_ROOT: [&str; 3] = ["toml", "lock", "rs"];
/// The older name of the toolchain file, without an extension.
const TOOLCHAIN: &str = "rust-toolchain";

/// The sources of a project.
///
/// A file is a source unless a `.gitignore` excludes it, it is hidden, or it is in the folder of builds, of packages, or of this
/// machine's stacks.
#[derive(Clone, Debug)]
pub struct Sources {
    root: PathBuf,
    excluded: Arc<Vec<PathBuf>>,
}

/// The state of the sources at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// A hash of the names, the sizes and the times of the files.
    pub stamp: u64,
    /// The folders that may contain sources.
    pub folders: BTreeSet<PathBuf>,
}

impl Sources {
    /// The sources of a workspace whose stacks are in `home`.
    pub fn of(workspace: &Workspace, home: &Path) -> Self {
        let packages = workspace.packages();
        let lock = packages.with_extension("lock");
        let cargos = [workspace.cargo_target.clone(), workspace.cargo_build.clone()];
        let ours = [packages, lock, workspace.catalog(), home.to_owned()];
        let excluded = cargos.into_iter().chain(ours).collect();
        Self { root: workspace.root.clone(), excluded: Arc::new(excluded) }
    }

    /// Scans the files' metadata. An unreadable file is omitted: the compiler will report it.
    pub fn scan(&self) -> Snapshot {
        let is_in_repository = self.root.ancestors().any(|folder| folder.join(".git").exists());
        let (root, excluded) = (self.root.clone(), Arc::clone(&self.excluded));
        let walk = WalkBuilder::new(&self.root)
            .hidden(false)
            .ignore(false)
            // Outside a repository only the `.gitignore` files of the project count, and none of its parents.
            .require_git(is_in_repository)
            .parents(is_in_repository)
            .filter_entry(move |entry| {
                let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
                entry.depth() == 0 || may_be_source(&root, &excluded, entry.path(), is_folder)
            })
            .sort_by_file_name(OsStr::cmp)
            .build();
        let (mut hasher, mut folders) = (DefaultHasher::new(), BTreeSet::new());
        for entry in walk.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.insert(entry.into_path());
            } else {
                // The inode number detects a file that was replaced by another one of the same size and time.
                (entry.path(), metadata.len(), metadata.modified().ok(), metadata.ino()).hash(&mut hasher);
            }
        }
        Snapshot { stamp: hasher.finish(), folders }
    }
}

/// Returns true if a file, or the files in a folder, may be sources, judging by the path alone.
fn may_be_source(root: &Path, excluded: &[PathBuf], path: &Path, is_folder: bool) -> bool {
    let name = path.file_name().unwrap_or_default();
    let is_hidden = name.as_encoded_bytes().starts_with(b".") && name != CARGO_CONFIGURATION;
    if is_hidden || (is_folder && name == NODE_MODULES) || excluded.iter().any(|folder| folder == path) {
        return false;
    }
    let is_in_root = !is_folder && path.parent() == Some(root);
    !is_in_root
        || name == TOOLCHAIN
        || path.extension().is_some_and(|extension| IN_THE_ROOT.iter().any(|known| extension == *known))
}

/// Watches folders for changes of sources.
pub struct ChangeWatcher {
    watcher: Option<RecommendedWatcher>,
    changed: Arc<Notify>,
    watched: BTreeSet<PathBuf>,
}

/// The reason why the sources cannot be watched, and are polled.
#[derive(Debug, thiserror::Error)]
pub enum Unwatchable {
    /// The system does not report changes that other machines make.
    #[error("{} is on a file system that is shared with other machines", folder.display())]
    Shared {
        /// The project's folder.
        folder: PathBuf,
    },
    /// The system refuses, for example at its limit of watches.
    #[error("the system cannot watch the sources: {0}")]
    System(#[from] notify::Error),
}

impl ChangeWatcher {
    /// Creates a watcher for the file system of a folder. With an error it polls.
    pub fn of(root: &Path) -> (Self, Option<Unwatchable>) {
        let changed = Arc::new(Notify::new());
        let notified = Arc::clone(&changed);
        let watcher = if is_shared(root) {
            Err(Unwatchable::Shared { folder: root.to_owned() })
        } else {
            notify::recommended_watcher(move |event| {
                if is_change(&event) {
                    notified.notify_one();
                }
            })
            .map_err(Unwatchable::System)
        };
        let (watcher, refused) = match watcher {
            Ok(watcher) => (Some(watcher), None),
            Err(refused) => (None, Some(refused)),
        };
        (Self { watcher, changed, watched: BTreeSet::new() }, refused)
    }

    /// Watches these folders and no others. Returns true if some of them are new: files in those may have changed before they were
    /// watched. After an error the watcher polls.
    pub fn follow(&mut self, folders: &BTreeSet<PathBuf>) -> Result<bool, Unwatchable> {
        let Some(watcher) = &mut self.watcher else { return Ok(false) };
        for gone in self.watched.difference(folders) {
            // It fails for a folder that was removed, whose watch has ended.
            let _ = watcher.unwatch(gone);
        }
        // Watched folders are watched again, since another folder may have replaced one of them under the same name.
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

    /// Waits until sources may have changed.
    pub async fn next(&self) {
        if self.watcher.is_some() {
            self.changed.notified().await;
            sleep(SETTLING).await;
        } else {
            sleep(SCAN_PAUSE).await;
        }
    }

    /// Waits after a scan that found no change.
    pub async fn pause(&self) {
        if self.watcher.is_some() {
            sleep(SCAN_PAUSE).await;
        }
    }
}

/// Returns true if an event may be a change. Scanning the files causes events too.
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

/// The types of file systems to which other machines, or another system on this one, may write. Source: statfs(2), and the Linux
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
    0x6573_5546, // FUSE, which many others use
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
    fn a_path_decides_whether_a_file_may_be_a_source() {
        let root = Path::new("/work/shop");
        let excluded =
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
            assert_eq!(may_be_source(root, &excluded, &root.join(path), is_folder), wanted, "{path}");
        }
    }

    /// The sources of a folder.
    fn sources(folder: &Path) -> Sources {
        let excluded = Arc::new(vec![folder.join("out")]);
        Sources { root: folder.to_owned(), excluded }
    }

    fn write(folder: &Path, path: &str, text: &str) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_scan_changes_with_each_source_and_with_no_other_file() {
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
            let (stamp, mut before) = (|| sources.scan().stamp, sources.scan().stamp);
            for path in
                ["b.log", "a/src/c.log", "generated/d.rs", "out/e.rs", "out/f/g.rs", "app.sqlite", ".hidden"]
            {
                write(root, path, "1");
                assert_eq!(stamp(), before, "{path} is no source");
            }
            let changes: [(&str, &dyn Fn()); 6] = [
                ("a new file", &|| write(root, "a/src/new.rs", "1")),
                ("a new folder", &|| write(root, "a/src/deep/er/mod.rs", "1")),
                ("a file that is not ignored", &|| write(root, "a/kept.log", "1")),
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
    async fn changes_in_new_folders_are_reported_and_scans_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "a/lib.rs", "1");
        let sources = sources(root);
        let (mut watcher, refused) = ChangeWatcher::of(root);
        assert!(refused.is_none(), "{refused:?}");
        assert!(watcher.follow(&sources.scan().folders).unwrap());
        let changes_within = |limit: Duration, watcher: &ChangeWatcher| {
            let notify = Arc::clone(&watcher.changed);
            async move { tokio::time::timeout(limit, notify.notified()).await.is_ok() }
        };
        let has_changed = |watcher: &ChangeWatcher| changes_within(SCAN_PAUSE, watcher);
        let changes = |watcher: &ChangeWatcher| changes_within(SCAN_PAUSE * 100, watcher);
        while has_changed(&watcher).await {}
        sources.scan();
        assert!(!has_changed(&watcher).await, "a scan is no change");
        for path in ["a/lib.rs", "a/new/lib.rs", "a/new/lib.rs", "a/new/er/lib.rs", "a/new/er/lib.rs"] {
            write(root, path, "2");
            assert!(changes(&watcher).await, "{path}");
            watcher.follow(&sources.scan().folders).unwrap();
        }
        while has_changed(&watcher).await {}
        // Another folder of the same name.
        fs::rename(root.join("a/new"), root.join("a/old")).unwrap();
        write(root, "a/new/lib.rs", "3");
        assert!(changes(&watcher).await);
        watcher.follow(&sources.scan().folders).unwrap();
        while has_changed(&watcher).await {}
        for path in ["a/new/lib.rs", "a/old/er/lib.rs"] {
            write(root, path, "4");
            assert!(changes(&watcher).await, "{path}");
            while has_changed(&watcher).await {}
        }
    }
}
