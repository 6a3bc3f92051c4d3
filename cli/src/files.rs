//! Files that are whole or not there at all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Writes the file so that whoever reads it finds the old or the new content, never a part.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(parent)?;
    let temporary = beside(path);
    let written = fs::write(&temporary, content).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The write's own error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A name beside the path's that no other process uses.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}
