//! Atomic writes, and files that only their owner can read.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The permission bits of the group and of others.
pub const OTHERS: u32 = 0o077;

/// Writes a file atomically: a reader finds either the old or the new content.
pub fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(parent)?;
    let temporary = beside(path);
    let written = fs::write(&temporary, content).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The error of the write matters more.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Writes a file atomically, such that only this user can read or write it.
pub fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let temporary = beside(path);
    // An existing file was left by a killed process or belongs to another user. Its mode may differ.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
    let written = new
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The error of the write matters more.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Reads a file that [`write_private`] has written. Returns nothing if others can read or write the file, or own it.
pub fn read_private(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & OTHERS == 0;
    if is_ours { fs::read_to_string(path).ok() } else { None }
}

/// A temporary path in the same folder that no other process uses.
pub fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_private_file_belongs_to_its_owner_and_an_accessible_one_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for existing in [&path, &beside(&path)] {
            fs::write(existing, "old").unwrap();
        }
        assert_eq!(read_private(&path), None, "others may read it");
        write_private(&path, "new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_private(&path).as_deref(), Some("new"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        assert_eq!(read_private(&path), None, "others may write it");
        assert_eq!(read_private(&folder.path().join("none")), None);
    }
}
