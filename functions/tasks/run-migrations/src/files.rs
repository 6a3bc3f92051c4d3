//! The files of the migrations, compared regardless of their line endings, which an editor or a checkout on another
//! system may change.

use std::{ffi::OsStr, path::Path};

use refinery::Migration;

use crate::MigrationError;

/// The byte order mark, which some editors insert before the text.
const MARK: char = '\u{feff}';

/// A migration from a file.
#[derive(Clone, Debug)]
pub struct File {
    /// The migration to apply and record: with LF line endings, and without a byte order mark.
    pub migration: Migration,
    /// The migration under each checksum that a database may have recorded.
    forms: Vec<Migration>,
}

impl File {
    /// Creates the migration of a file with this name (without `.sql`) and text. Returns `None` if the name is invalid.
    pub fn new(stem: &str, text: &str) -> Option<Self> {
        let plain = plain(text);
        let migration = named(stem, &plain)?;
        let ends_plainly = plain.trim_end_matches('\n');
        let mut forms = vec![migration.clone()];
        // Earlier versions recorded the checksum of the file as it was.
        for body in [plain.as_str(), ends_plainly, &format!("{ends_plainly}\n")] {
            for lines in [body.to_owned(), body.replace('\n', "\r\n"), body.replace('\n', "\r")] {
                forms.extend(
                    [named(stem, &format!("{MARK}{lines}")), named(stem, &lines)].into_iter().flatten(),
                );
            }
        }
        forms.extend(named(stem, text));
        Some(Self { migration, forms })
    }

    /// Returns true if `applied` is this migration, regardless of its line endings.
    pub fn is(&self, applied: &Migration) -> bool {
        self.forms.contains(applied)
    }
}

/// Converts all line endings to LF, and removes the byte order mark.
fn plain(text: &str) -> String {
    let text = text.strip_prefix(MARK).unwrap_or(text);
    let mut plain = String::with_capacity(text.len());
    let mut returns = 0;
    for c in text.chars() {
        match c {
            '\r' => returns += 1,
            '\n' => {
                // Any number of CRs before an LF is one line ending.
                returns = 0;
                plain.push('\n');
            }
            other => {
                plain.extend(std::iter::repeat_n('\n', returns));
                returns = 0;
                plain.push(other);
            }
        }
    }
    plain.extend(std::iter::repeat_n('\n', returns));
    plain
}

/// Reads the folder's `.sql` files, named `V<number>__<words>.sql`. Other files are ignored.
pub fn load(folder: &Path) -> Result<Vec<File>, MigrationError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| MigrationError::Unreadable { path, source }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension() == Some(OsStr::new("sql")) {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).map_err(unreadable(path))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        File::new(&stem, &text).ok_or_else(|| MigrationError::Name { file: format!("{stem}.sql") })
    };
    paths.iter().map(|path| read(path)).collect()
}

/// Returns the migration if its whole name is valid. refinery itself ignores text after the last word.
fn named(stem: &str, sql: &str) -> Option<Migration> {
    let migration = stem.starts_with('V').then(|| Migration::unapplied(stem, sql).ok())??;
    stem.ends_with(&format!("__{}", migration.name())).then_some(migration)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "-- users\nCREATE TABLE users (\n\n  id TEXT\n);\n";

    fn file(text: &str) -> File {
        File::new("V1__users", text).unwrap()
    }

    #[test]
    fn line_endings_do_not_change_a_migration() {
        let ended = |end: &str| TEXT.replace('\n', end);
        let forms = [
            TEXT.to_owned(),
            ended("\r\n"),
            ended("\r\r\n"),
            ended("\r"),
            TEXT.replacen('\n', "\r\n", 2),
            format!("{MARK}{TEXT}"),
            format!("{MARK}{}", ended("\r\n")),
            TEXT.trim_end().to_owned(),
            format!("{}\r", TEXT.trim_end()),
        ];
        for recorded in &forms {
            for now in &forms {
                assert!(file(now).is(&file(recorded).migration), "{recorded:?} {now:?}");
            }
        }
        // Earlier versions recorded the file as it was.
        for before in [&forms[0], &forms[1], &forms[3], &forms[5], &forms[6], &forms[7]] {
            let recorded = Migration::unapplied("V1__users", before).unwrap();
            for now in &forms {
                assert!(file(now).is(&recorded), "{before:?} {now:?}");
            }
        }
        let mixed = Migration::unapplied("V1__users", &forms[4]).unwrap();
        assert!(file(&forms[4]).is(&mixed), "as it is");
    }

    #[test]
    fn any_other_change_is_detected() {
        for edited in [
            TEXT.replace("id TEXT", "id  TEXT"),
            TEXT.replace("id TEXT", "id TEXT "),
            TEXT.replace("\n\n", "\n"),
            TEXT.replace("users (", "\nusers ("),
            format!("\n{TEXT}"),
            format!("{TEXT}\u{feff}"),
            String::new(),
        ] {
            assert!(!file(&edited).is(&file(TEXT).migration), "{edited:?}");
        }
        assert!(!File::new("V1__user", TEXT).unwrap().is(&file(TEXT).migration), "another name");
    }

    #[test]
    fn the_applied_text_has_lf_line_endings() {
        let file = file("\u{feff}SELECT 1;\r\n\r\nSELECT 2;");
        assert_eq!(file.migration.sql(), Some("SELECT 1;\n\nSELECT 2;"));
    }
}
