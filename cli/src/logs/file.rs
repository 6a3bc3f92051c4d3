//! A log file of this machine.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// A log file that may grow, and need not be there yet.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    reader: Option<BufReader<File>>,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

impl LogFile {
    /// The file, from its beginning.
    pub fn open(path: PathBuf) -> anyhow::Result<Self> {
        let reader = open(&path)?;
        Ok(Self { path, reader, begun: Vec::new() })
    }

    /// Hands on every whole line that has come since the last call.
    pub fn read(&mut self, mut line: impl FnMut(String)) -> anyhow::Result<()> {
        if self.reader.is_none() {
            self.reader = open(&self.path)?;
        }
        let Some(reader) = &mut self.reader else { return Ok(()) };
        loop {
            let failed = || format!("cannot read {}", self.path.display());
            let read = reader.read_until(b'\n', &mut self.begun).with_context(failed)?;
            if read == 0 || !self.begun.ends_with(b"\n") {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&self.begun);
            line(text.trim_end_matches(['\r', '\n']).to_owned());
            self.begun.clear();
        }
    }
}

fn open(path: &Path) -> anyhow::Result<Option<BufReader<File>>> {
    match File::open(path) {
        Ok(file) => Ok(Some(BufReader::new(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => bail!("cannot read {}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    #[test]
    fn a_file_that_grows_is_read_in_whole_lines() {
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
