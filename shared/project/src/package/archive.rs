//! The zip of a package. The same content always gives the same bytes.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use zip::{CompressionMethod, DateTime, ZipWriter, result::ZipError, write::SimpleFileOptions};

use super::mode;
use crate::{
    assets::{Content, Entry},
    files::beside,
};

/// Writes a zip. Its bytes depend only on the content and the compression level.
pub(super) fn write(path: &Path, entries: &[Entry], level: i64) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
    let temporary = beside(path);
    zip_entries(&temporary, entries, level)?;
    fs::rename(&temporary, path)
}

fn zip_entries(path: &Path, entries: &[Entry], level: i64) -> io::Result<()> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(level))
        .last_modified_time(DateTime::default());
    let mut zip = ZipWriter::new(File::create(path)?);
    for entry in entries {
        match &entry.content {
            Content::File { from, executable } => {
                zip.start_file(&entry.to, options.unix_permissions(mode(*executable))).map_err(into_io)?;
                io::copy(&mut File::open(from)?, &mut zip)?;
            }
            Content::Text(text) => {
                zip.start_file(&entry.to, options.unix_permissions(mode(false))).map_err(into_io)?;
                zip.write_all(text.as_bytes())?;
            }
            Content::EmptyFolder => {
                zip.add_directory(&entry.to, options.unix_permissions(0o755)).map_err(into_io)?;
            }
        }
    }
    zip.finish().map_err(into_io)?.flush()
}

fn into_io(error: ZipError) -> io::Error {
    match error {
        ZipError::Io(error) => error,
        other => io::Error::other(other),
    }
}
