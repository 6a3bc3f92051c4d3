//! Reads the log of a function from its files on this machine.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::logs::{FULL_FILES, full, id};

/// A log, which may grow and need not exist yet. It includes the full files.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    /// The files to read; the last one may grow.
    files: VecDeque<OpenFile>,
    /// The beginning of a line that is not complete yet.
    begun: Vec<u8>,
}

/// An open file, which may have been renamed since.
#[derive(Debug)]
struct OpenFile {
    id: (u64, u64),
    reader: BufReader<File>,
}

impl LogFile {
    /// Opens the log whose newest file has this path, at its beginning.
    pub fn open(path: PathBuf) -> anyhow::Result<Self> {
        let mut log = Self { path, files: VecDeque::new(), begun: Vec::new() };
        log.find()?;
        Ok(log)
    }

    /// Passes on every complete line since the last call.
    pub fn read(&mut self, mut line: impl FnMut(String)) -> anyhow::Result<()> {
        self.find()?;
        while let Some(OpenFile { reader, .. }) = self.files.front_mut() {
            loop {
                let failed = || format!("cannot read {}", self.path.display());
                let read = reader.read_until(b'\n', &mut self.begun).with_context(failed)?;
                if read == 0 || !self.begun.ends_with(b"\n") {
                    break;
                }
                line(text(&self.begun));
                self.begun.clear();
            }
            if self.files.len() == 1 {
                break;
            }
            self.files.pop_front();
            // A rotated file does not grow any more, so the rest is its last line.
            if !self.begun.is_empty() {
                line(text(&std::mem::take(&mut self.begun)));
            }
        }
        Ok(())
    }

    /// Opens the files that are newer than the open ones, from the newest to the oldest. In this order a file that is
    /// rotated during the search is found twice, which is detected. In the opposite order it could be missed.
    fn find(&mut self) -> anyhow::Result<()> {
        let newest = self.files.back().map(|file| file.id);
        let mut found: Vec<OpenFile> = Vec::new();
        let names = (1..=FULL_FILES).map(|number| full(&self.path, number));
        for path in std::iter::once(self.path.clone()).chain(names) {
            let Some(file) = open(&path)? else { continue };
            if Some(file.id) == newest {
                break;
            }
            if found.iter().all(|other| other.id != file.id) {
                found.push(file);
            }
        }
        self.files.extend(found.into_iter().rev());
        Ok(())
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches(['\r', '\n']).to_owned()
}

fn open(path: &Path) -> anyhow::Result<Option<OpenFile>> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    match opened {
        Ok((metadata, file)) => Ok(Some(OpenFile { id: id(&metadata), reader: BufReader::new(file) })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => bail!("cannot read {}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    #[test]
    fn a_growing_file_is_read_in_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = LogFile::open(path.clone()).unwrap();
        let mut read = || {
            let mut lines = Vec::new();
            log.read(|line| lines.push(line)).unwrap();
            lines
        };
        assert_eq!(read(), Vec::<String>::new());
        fs::write(&path, "one\ntw").unwrap();
        assert_eq!(read(), ["one"]);
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"o\n").unwrap();
        assert_eq!(read(), ["two"]);
    }
}
