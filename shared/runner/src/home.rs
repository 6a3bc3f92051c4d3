//! The folder of this machine's stacks: closed to other users, and checked to be writable.
//!
//! It contains the keys of the endpoints, and the records, logs and objects of every run.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, bail};
use lamplighter_project::files::OTHERS;

/// The default name of the folder with the table, the bucket and the logs of this machine's stacks.
pub const HOME: &str = ".lamplighter";

/// The size of the file that checks for free space, in bytes. It is larger than content that a file system stores inline.
const ROOM: usize = 64 * 1024;
/// The mode of the folder.
const MODE: u32 = 0o700;
/// The entries that identify a folder of stacks.
const ENTRIES: [&str; 4] = ["table.sqlite", "stacks", "runners", "bucket"];

/// The folder cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to the folder {}, which has the table, the bucket and the logs: {error}; {}", folder.display(), advice(error))]
pub struct Unwritable {
    /// The folder.
    pub folder: PathBuf,
    /// The file system's error, which the message includes.
    pub error: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space on its disk, or name another folder with `--home`"
        }
        _ => "make it writable, or name another folder with `--home`",
    }
}

/// The treatment of an existing folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// Only its owner can use it.
    Use,
    /// It belongs to stacks, and its mode is changed.
    Tighten,
    /// It belongs to another user.
    Foreign,
    /// It has other content, which other users may need.
    Shared,
}

/// Creates the folder if it is missing, and closes an existing one to other users. The folder of another user is an error.
pub fn make(home: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot close the folder {} to other users", home.display());
    let unwritable = |error| Unwritable { folder: home.to_owned(), error };
    if let Some(parent) = home.parent() {
        fs::create_dir_all(parent).map_err(unwritable)?;
    }
    match DirBuilder::new().mode(MODE).create(home) {
        // The umask of this process may have removed more bits.
        Ok(()) => return fs::set_permissions(home, Permissions::from_mode(MODE)).with_context(failed),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unwritable(error).into()),
    }
    let metadata = fs::metadata(home).with_context(failed)?;
    if !metadata.is_dir() {
        bail!("{} is not a folder", home.display());
    }
    let me = rustix::process::geteuid().as_raw();
    match decide(metadata.uid(), me, metadata.mode(), || is_of_stacks(home).unwrap_or(false)) {
        Decision::Use => Ok(()),
        Decision::Tighten => {
            fs::set_permissions(home, Permissions::from_mode(MODE)).map_err(unwritable)?;
            // Some file systems have no modes, and changing one does not fail.
            let mode = fs::metadata(home).with_context(failed)?.mode();
            if mode & OTHERS != 0 {
                bail!(
                    "{} has the mode {:o}, which its file system does not change: name a folder elsewhere with --home",
                    home.display(),
                    mode & 0o7777
                );
            }
            Ok(())
        }
        Decision::Foreign => bail!(
            "{} belongs to another user (uid {}; yours is {me}): name a folder of your own with --home",
            home.display(),
            metadata.uid()
        ),
        Decision::Shared => bail!(
            "{} has other files in it and is open to others (mode {:o}): name a folder of its own with --home, \
             or close this one with `chmod 700`",
            home.display(),
            metadata.mode() & 0o7777
        ),
    }
}

fn decide(owner: u32, me: u32, mode: u32, is_of_stacks: impl FnOnce() -> bool) -> Decision {
    if owner != me {
        Decision::Foreign
    } else if mode & OTHERS == 0 {
        Decision::Use
    } else if is_of_stacks() {
        Decision::Tighten
    } else {
        Decision::Shared
    }
}

/// Returns true if a folder is only for stacks: by its name, by its entries, or because it is empty. The name of a symbolic link
/// does not count.
fn is_of_stacks(home: &Path) -> io::Result<bool> {
    Ok((home.file_name().is_some_and(|name| name == HOME) && !home.is_symlink())
        || ENTRIES.iter().any(|entry| home.join(entry).exists())
        || fs::read_dir(home)?.next().is_none())
}

/// Creates the folder as [`make`] does, and writes and removes a file in it. So a command fails before it begins.
pub fn check(folder: &Path) -> anyhow::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    make(folder)?;
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let probe = folder.join(format!(".room-{}-{number}", std::process::id()));
    let written = fs::write(&probe, vec![0; ROOM]);
    let removed = fs::remove_file(&probe);
    // If the write fails, so does the removal. The write's error is the one to return.
    written.and(removed).map_err(|error| Unwritable { folder: folder.to_owned(), error })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o06_a_folder_is_used_tightened_or_refused() {
        for (owner, mode, is_of_stacks, wanted) in [
            (7, 0o700, false, Decision::Use),
            (7, 0o40500, false, Decision::Use),
            (7, 0o755, true, Decision::Tighten),
            (7, 0o701, true, Decision::Tighten),
            (7, 0o1777, true, Decision::Tighten),
            (7, 0o755, false, Decision::Shared),
            (8, 0o700, true, Decision::Foreign),
            (0, 0o777, true, Decision::Foreign),
        ] {
            assert_eq!(decide(owner, 7, mode, || is_of_stacks), wanted, "{owner} {mode:o}");
        }
        assert_eq!(decide(7, 0, 0o700, || true), Decision::Foreign, "root does not use it either");
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn o06_the_folder_is_closed_to_others_whether_new_or_open_before() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("parent/home");
        make(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
        assert_ne!(mode(new.parent().unwrap()), 0o700, "only the folder itself is closed");
        for (name, entry) in
            [(HOME, "anything"), ("empty", ""), ("old", "table.sqlite"), ("deployed", "stacks/shop.json")]
        {
            let home = folder.path().join(name);
            fs::create_dir(&home).unwrap();
            if !entry.is_empty() {
                fs::create_dir_all(home.join(entry).parent().unwrap()).unwrap();
                fs::write(home.join(entry), "").unwrap();
            }
            fs::set_permissions(&home, Permissions::from_mode(0o777)).unwrap();
            for _ in 0..2 {
                make(&home).unwrap();
                assert_eq!(mode(&home), 0o700, "{name}");
            }
        }
        let documents = folder.path().join("documents");
        fs::create_dir(&documents).unwrap();
        fs::write(documents.join("letter"), "").unwrap();
        fs::set_permissions(&documents, Permissions::from_mode(0o755)).unwrap();
        let error = make(&documents).unwrap_err().to_string();
        assert!(error.contains("open to others (mode 755)") && error.contains("--home"), "{error}");
        assert_eq!(mode(&documents), 0o755, "it is unchanged");
        let link = folder.path().join("linked/.lamplighter");
        fs::create_dir(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&documents, &link).unwrap();
        assert!(make(&link).is_err());
        assert_eq!(mode(&documents), 0o755, "it is unchanged through a link as well");
        fs::set_permissions(&documents, Permissions::from_mode(0o700)).unwrap();
        make(&documents).unwrap();
        let error = make(&documents.join("letter")).unwrap_err().to_string();
        assert!(error.ends_with("is not a folder"), "{error}");
    }

    #[test]
    fn a_folder_is_created_and_left_empty_or_the_error_names_it_and_a_remedy() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("new/home");
        check(&folder).unwrap();
        check(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        let file = above.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = check(&file.join("home")).unwrap_err().to_string();
        let wanted = format!("cannot write to the folder {}", file.join("home").display());
        assert!(refused.starts_with(&wanted) && refused.contains("with `--home`"), "{refused}");
    }

    #[test]
    fn the_advice_fits_the_error() {
        for (kind, wanted) in [
            (io::ErrorKind::StorageFull, "free space"),
            (io::ErrorKind::QuotaExceeded, "free space"),
            (io::ErrorKind::ReadOnlyFilesystem, "make it writable"),
            (io::ErrorKind::PermissionDenied, "make it writable"),
        ] {
            assert!(advice(&kind.into()).starts_with(wanted), "{kind}");
        }
    }
}
