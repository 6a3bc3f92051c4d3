//! Writes the log files of the functions on this machine, line by line, and rotates them.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::json;

/// The largest size of a log file in bytes. A file with a single line may be larger.
const FILE_BYTES: u64 = 10 * 1024 * 1024;
/// The number of full files that a function keeps beside the current one.
pub(super) const FULL_FILES: usize = 4;

/// The log files of the functions in a folder. Several processes may write them at the same time.
#[derive(Debug)]
pub struct LogFiles {
    folder: PathBuf,
    file_bytes: u64,
    files: Mutex<BTreeMap<String, Log>>,
}

/// The current file of a function.
#[derive(Debug, Default)]
struct Log {
    file: Option<File>,
    /// The number of lines that could not be written since the last one that was.
    lost: u64,
    /// True if the last line was written only in part.
    is_torn: bool,
}

/// The path of a function's current file.
pub fn path(folder: &Path, function: &str) -> PathBuf {
    folder.join(format!("{function}.log"))
}

/// The path of the full file of this number; 1 is the newest.
pub(super) fn full(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

impl LogFiles {
    /// The log files in a folder, which is created if it is missing.
    pub fn new(folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        Ok(Self { folder, file_bytes: FILE_BYTES, files: Mutex::default() })
    }

    /// Appends a line to a function's file. An error must not fail the run, so lines that cannot be written are only
    /// counted. Their number is logged before the next line that can be written.
    pub fn append(&self, function: &str, text: &str) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if !files.contains_key(function) {
            files.insert(function.to_owned(), Log::default());
        }
        if let Some(log) = files.get_mut(function)
            && log.append(&path(&self.folder, function), text, self.file_bytes).is_err()
        {
            log.lost += 1;
        }
    }

    /// Deletes the files that were not written for `age`. If one cannot be deleted, the next call tries again.
    pub fn delete_older(&self, age: Duration) {
        // Another process that writes meanwhile creates a new file, as after a rotation.
        let _files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let written = entry.metadata().and_then(|found| found.modified()).ok();
            let is_old = written.and_then(|at| at.elapsed().ok()).is_some_and(|since| since >= age);
            if is_old && is_log(&entry.file_name()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Returns true for the names of [`path`] and [`full`].
fn is_log(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let stem = match name.rsplit_once('.') {
        Some((stem, number)) if number.parse::<usize>().is_ok() => stem,
        _ => name,
    };
    Path::new(stem).extension().is_some_and(|extension| extension == "log")
}

impl Log {
    fn append(&mut self, path: &Path, text: &str, most: u64) -> io::Result<()> {
        let mut line = String::with_capacity(text.len() + 1);
        if self.is_torn {
            line.push('\n');
        }
        if self.lost > 0 {
            let message = format!("{} lines before this one could not be written", self.lost);
            let at = format!("{:.3}", Timestamp::now());
            let lost = json!({ "timestamp": at, "level": "WARN", "message": message });
            line.push_str(&lost.to_string());
            line.push('\n');
        }
        line.push_str(text);
        line.push('\n');
        let mut file = self.opened(path, line.len() as u64, most)?;
        // One write for each line, so that lines of several runners do not mix.
        let mut rest = line.as_bytes();
        let mut failed = None;
        while !rest.is_empty() && failed.is_none() {
            match file.write(rest) {
                Ok(0) => failed = Some(io::ErrorKind::WriteZero.into()),
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => failed = Some(error),
            }
        }
        self.file = Some(file);
        self.is_torn |= rest.len() < line.len();
        if let Some(error) = failed {
            return Err(error);
        }
        (self.lost, self.is_torn) = (0, false);
        Ok(())
    }

    /// The file to which so many bytes can be appended: a new one if they do not fit into the current one.
    fn opened(&mut self, path: &Path, bytes: u64, most: u64) -> io::Result<File> {
        let found = fs::metadata(path).ok().map(|found| (id(&found), found.len()));
        let is_it = |file: &File| file.metadata().is_ok_and(|own| Some(id(&own)) == found.map(|(id, _)| id));
        // Another process may have rotated the file.
        let mut file = match self.file.take().filter(is_it) {
            Some(file) => file,
            None => open(path)?,
        };
        if found.is_some_and(|(_, length)| length > 0 && length + bytes > most) {
            file = rotate(path, file)?;
        }
        Ok(file)
    }
}

/// Rotates a full file, unless another process does so.
fn rotate(path: &Path, full_file: File) -> io::Result<File> {
    // The lock is released when the file is closed, even if this process is killed.
    if full_file.try_lock().is_err() {
        return Ok(full_file);
    }
    if id(&full_file.metadata()?) == id(&fs::metadata(path)?) {
        for number in (1..FULL_FILES).rev() {
            // It fails until there are so many full files.
            let _ = fs::rename(full(path, number), full(path, number + 1));
        }
        fs::rename(path, full(path, 1))?;
    }
    open(path)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The identity of a file, independent of its name.
pub(super) fn id(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::LogFile;

    fn files(folder: &Path, file_bytes: u64) -> LogFiles {
        LogFiles { file_bytes, ..LogFiles::new(folder.to_owned()).unwrap() }
    }

    fn read(log: &mut LogFile) -> Vec<String> {
        let mut lines = Vec::new();
        log.read(|line| lines.push(line)).unwrap();
        lines
    }

    fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
        range.map(|number| format!("line {number:04}")).collect()
    }

    #[test]
    fn full_files_are_rotated_and_the_oldest_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        // Ten lines for each file.
        let files = files(folder.path(), 100);
        for line in numbers(0..1000) {
            files.append("f", &line);
        }
        let mut sizes: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
            .collect();
        sizes.sort();
        let names = ["f.log", "f.log.1", "f.log.2", "f.log.3", "f.log.4"];
        assert_eq!(sizes, names.map(|name| (name.to_owned(), 100)));
        let mut log = LogFile::open(path(folder.path(), "f")).unwrap();
        assert_eq!(read(&mut log), numbers(950..1000), "in the order in which they were written");
    }

    #[test]
    fn a_log_is_followed_across_rotations() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), 100);
        let mut log = LogFile::open(path(folder.path(), "f")).unwrap();
        for (from, until) in [(0, 3), (3, 12), (12, 35), (35, 36), (36, 36), (36, 70)] {
            for line in numbers(from..until) {
                files.append("f", &line);
            }
            assert_eq!(read(&mut log), numbers(from..until));
        }
        // More lines than are kept, between two reads.
        for line in numbers(70..1000) {
            files.append("f", &line);
        }
        assert_eq!(read(&mut log), numbers(950..1000));
    }

    #[test]
    fn old_log_files_are_deleted_and_other_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), 100);
        for line in numbers(0..30) {
            files.append("f", &line);
        }
        for other in ["f.log.txt", "notes", "f.log.1x"] {
            fs::write(folder.path().join(other), "").unwrap();
        }
        let names = || {
            let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            names.map(|name| name.into_string().unwrap()).collect::<std::collections::BTreeSet<_>>()
        };
        files.delete_older(Duration::from_secs(60));
        assert_eq!(names().len(), 6, "{:?}", names());
        files.delete_older(Duration::ZERO);
        assert_eq!(names(), ["f.log.1x", "f.log.txt", "notes"].map(str::to_owned).into());
        files.append("f", "again");
        assert_eq!(read(&mut LogFile::open(path(folder.path(), "f")).unwrap()), ["again"]);
    }

    #[test]
    fn several_writers_lose_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let written = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let files = files(folder.path(), 40_000);
                    scope.spawn(move || {
                        let lines: Vec<_> = (0..2000).map(|line| format!("{writer} {line:08}")).collect();
                        for line in &lines {
                            files.append("f", line);
                        }
                        lines
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
        });
        let mut log = LogFile::open(path(folder.path(), "f")).unwrap();
        let all = read(&mut log);
        for (writer, lines) in written.iter().enumerate() {
            let own: Vec<_> = all.iter().filter(|line| line.starts_with(&format!("{writer} "))).collect();
            assert_eq!(own, lines.iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), 1000);
        // A folder in its place makes every write fail.
        let path = path(folder.path(), "f");
        fs::create_dir(&path).unwrap();
        files.append("f", "a");
        files.append("f", "b");
        fs::remove_dir(&path).unwrap();
        files.append("f", "c");
        files.append("f", "d");
        let lines = read(&mut LogFile::open(path).unwrap());
        assert!(lines[0].contains("2 lines before this one could not be written"), "{lines:?}");
        assert_eq!(lines[1..], ["c", "d"]);
    }
}
