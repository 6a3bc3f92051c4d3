//! The folder of a package, from which the function runs on this machine.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::mode;
use crate::{
    assets::{Content, Entry},
    files::beside,
};

/// Returns true if the folder has exactly these entries, with the same bytes and executable bits.
pub(super) fn is_current(folder: &Path, entries: &[Entry]) -> io::Result<bool> {
    let mut existing = Vec::new();
    walk(folder, &mut existing)?;
    let wanted: BTreeSet<_> = entries.iter().map(|entry| folder.join(&entry.to)).collect();
    if existing.into_iter().collect::<BTreeSet<_>>() != wanted {
        return Ok(false);
    }
    for entry in entries {
        let place = folder.join(&entry.to);
        let same = match &entry.content {
            Content::File { from, executable } => {
                let existing_mode = fs::metadata(&place)?.permissions().mode() & 0o777;
                place.is_file() && existing_mode == mode(*executable) && same_bytes(from, &place)?
            }
            Content::Text(text) => place.is_file() && fs::read(&place)? == text.as_bytes(),
            Content::EmptyFolder => place.is_dir(),
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Lists the files and the empty folders below a folder, which may be missing.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && fs::read_dir(&path)?.next().is_some() {
            walk(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

fn same_bytes(a: &Path, b: &Path) -> io::Result<bool> {
    Ok(fs::metadata(a)?.len() == fs::metadata(b)?.len() && fs::read(a)? == fs::read(b)?)
}

/// Replaces the folder by a new one. A process that runs from the old one keeps its files.
pub(super) fn write(path: &Path, entries: &[Entry]) -> io::Result<()> {
    let temporary = beside(path);
    remove_folder(&temporary)?;
    for entry in entries {
        let place = temporary.join(&entry.to);
        match &entry.content {
            Content::File { from, executable } => {
                fs::create_dir_all(place.parent().unwrap_or(&temporary))?;
                copy(from, &place)?;
                fs::set_permissions(&place, fs::Permissions::from_mode(mode(*executable)))?;
            }
            Content::Text(text) => {
                fs::create_dir_all(place.parent().unwrap_or(&temporary))?;
                fs::write(&place, text)?;
                fs::set_permissions(&place, fs::Permissions::from_mode(mode(false)))?;
            }
            Content::EmptyFolder => fs::create_dir_all(&place)?,
        }
    }
    remove_folder(path)?;
    fs::rename(&temporary, path)
}

/// Copies the bytes. A hard link would change when cargo writes the file again.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    io::copy(&mut File::open(from)?, &mut File::create(to)?).map(drop)
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
