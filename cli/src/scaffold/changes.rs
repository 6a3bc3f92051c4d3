//! Changes of a project's files. All of them are made, or none. No existing file is replaced by a new one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lamplighter_project::files::write_atomically;

use crate::{terminal::output, tr, words::Words};

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The path, relative to the project.
    pub(crate) path: PathBuf,
    /// The text before, if the file is edited.
    pub(crate) before: Option<String>,
    /// The text to write.
    pub(crate) text: String,
}

/// The files to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes(Vec<Change>);

/// The error of changes that were not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// New files exist already.
    #[error("nothing was written, since {} already exists: remove it, or choose another name", list(.0))]
    Exists(Vec<PathBuf>),
    /// A file could not be written. Those before it were taken back.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl Changes {
    /// Adds a new file.
    pub(crate) fn create(&mut self, path: impl Into<PathBuf>, text: impl Into<String>) {
        self.0.push(Change { path: path.into(), before: None, text: text.into() });
    }

    /// Adds an edit of a file. No change if the text stays the same.
    pub(crate) fn edit(&mut self, path: impl Into<PathBuf>, before: String, text: String) {
        if before != text {
            self.0.push(Change { path: path.into(), before: Some(before), text });
        }
    }

    /// Iterates over the files.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Change> {
        self.0.iter()
    }

    /// Writes all files and lists them. A dry run only lists them, and fails as the other would if a new file exists already.
    pub(crate) fn make(&self, words: &Words, root: &Path, dry_run: bool) -> Result<(), ChangeError> {
        if dry_run {
            self.check(root)?;
        } else {
            self.apply(root)?;
        }
        for change in self.iter() {
            let path = change.path.display().to_string();
            output::line(if change.before.is_none() {
                tr!(words, "new-created", file = path)
            } else {
                tr!(words, "new-changed", file = path)
            });
        }
        Ok(())
    }

    /// Fails if a new file exists already.
    fn check(&self, root: &Path) -> Result<(), ChangeError> {
        let new = self.0.iter().filter(|change| change.before.is_none());
        let existing: Vec<_> = new
            .map(|change| &change.path)
            .filter(|path| root.join(path).symlink_metadata().is_ok())
            .cloned()
            .collect();
        if existing.is_empty() { Ok(()) } else { Err(ChangeError::Exists(existing)) }
    }

    /// Writes all files, or none.
    fn apply(&self, root: &Path) -> Result<(), ChangeError> {
        self.check(root)?;
        let mut created = Vec::new();
        for (i, change) in self.0.iter().enumerate() {
            let path = root.join(&change.path);
            let folders = path.ancestors().skip(1).take_while(|folder| !folder.exists());
            created.extend(folders.map(Path::to_owned).collect::<Vec<_>>().into_iter().rev());
            if let Err(source) = write_atomically(&path, change.text.as_bytes()) {
                self.take_back(root, i, &created);
                return Err(ChangeError::Write { path: change.path.clone(), source });
            }
        }
        Ok(())
    }

    /// Restores the first `count` files, and removes the folders that were created. The error of the write matters more than one
    /// of these.
    fn take_back(&self, root: &Path, count: usize, created: &[PathBuf]) {
        for change in &self.0[..count] {
            let path = root.join(&change.path);
            let _ = match &change.before {
                Some(before) => write_atomically(&path, before.as_bytes()),
                None => fs::remove_file(&path),
            };
        }
        for folder in created.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes() -> Changes {
        let mut changes = Changes::default();
        changes.create("a/b/new.txt", "new");
        changes.edit("old.txt", "old".into(), "edited".into());
        changes.edit("same.txt", "same".into(), "same".into());
        changes
    }

    #[test]
    fn all_files_are_written() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("old.txt"), "old").unwrap();
        changes().apply(folder.path()).unwrap();
        let read = |path: &str| fs::read_to_string(folder.path().join(path)).unwrap();
        assert_eq!((read("a/b/new.txt"), read("old.txt")), ("new".to_owned(), "edited".to_owned()));
        assert!(!folder.path().join("same.txt").exists());
    }

    #[test]
    fn a_file_that_exists_is_named_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/new.txt"), "mine").unwrap();
        fs::write(folder.path().join("old.txt"), "old").unwrap();
        let error = changes().apply(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("nothing was written, since a/b/new.txt already exists"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join("old.txt")).unwrap(), "old");
    }

    #[test]
    fn after_an_error_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("old.txt"), "old").unwrap();
        let mut changes = changes();
        // A file stands where a folder is needed.
        changes.create("old.txt/below.txt", "never");
        assert!(matches!(changes.apply(folder.path()), Err(ChangeError::Write { .. })));
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["old.txt"]);
        assert_eq!(fs::read_to_string(folder.path().join("old.txt")).unwrap(), "old");
    }
}
