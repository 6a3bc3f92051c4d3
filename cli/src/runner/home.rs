//! The folder that keeps the table, the bucket and the logs of this machine's stacks: whether it can be written.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// How much must fit, in bytes: more than what a file system keeps with a file's name, and less than anybody misses.
const ROOM: usize = 64 * 1024;

/// Why the folder cannot keep anything.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to the folder {}, which keeps the table, the bucket and the logs: {error}; {}", folder.display(), advice(error))]
pub struct Unwritable {
    /// The folder.
    pub folder: PathBuf,
    /// What the file system said; the text above has it already.
    pub error: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on its disk, or name another folder with `--home`"
        }
        _ => "make it writable, or name another folder with `--home`",
    }
}

/// Makes the folder if it is missing, and writes a file in it to see that it can be written, which is removed again. So a
/// command fails before it has begun anything.
pub fn check(folder: &Path) -> Result<(), Unwritable> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let probe = folder.join(format!(".room-{}-{number}", std::process::id()));
    let written = fs::create_dir_all(folder).and_then(|()| {
        let written = fs::write(&probe, vec![0; ROOM]);
        let removed = fs::remove_file(&probe);
        // A file that was not made cannot be removed, and the write says why.
        written.and(removed)
    });
    written.map_err(|error| Unwritable { folder: folder.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_and_left_empty_or_named_with_what_to_do() {
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
            (io::ErrorKind::StorageFull, "make room"),
            (io::ErrorKind::QuotaExceeded, "make room"),
            (io::ErrorKind::ReadOnlyFilesystem, "make it writable"),
            (io::ErrorKind::PermissionDenied, "make it writable"),
        ] {
            assert!(advice(&kind.into()).starts_with(wanted), "{kind}");
        }
    }
}
