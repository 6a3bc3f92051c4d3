//! Plans the migrations to apply, from the applied migrations and the files.

use refinery::Migration;

use crate::{File, MigrationError};

/// The plan for a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The migrations to apply, in order.
    pub pending: Vec<String>,
    /// Applied migrations that are newer than all files, from a later version of the application.
    pub unknown: Vec<String>,
}

impl Plan {
    /// Summarizes the result in one line.
    pub fn summary(&self, dry_run: bool) -> String {
        let count = match self.pending.len() {
            0 => return "no new migrations".to_owned(),
            1 => "1 migration".to_owned(),
            count => format!("{count} migrations"),
        };
        let verb = if dry_run { "would apply" } else { "applied" };
        format!("{verb} {count}: {}", self.pending.join(", "))
    }
}

/// Creates the plan.
///
/// # Errors
///
/// A file that was changed or removed after it was applied, or a new file with a version below an applied one.
pub fn plan(applied: &[Migration], files: &[File]) -> Result<Plan, MigrationError> {
    let mut files: Vec<_> = files.iter().collect();
    let version = |file: &File| file.migration.version();
    files.sort_by_key(|file| version(file));
    if let Some(pair) = files.windows(2).find(|pair| version(pair[0]) == version(pair[1])) {
        let [first, second] = [pair[0], pair[1]].map(|file| file.migration.to_string());
        return Err(MigrationError::Repeated { first, second });
    }
    let newest_file = files.last().map(|file| version(file));
    let newest = applied.iter().max_by_key(|migration| migration.version());

    let mut plan = Plan::default();
    for migration in applied {
        match files.iter().find(|file| version(file) == migration.version()) {
            Some(file) if file.is(migration) => {}
            Some(file) => {
                return Err(MigrationError::Edited {
                    migration: file.migration.to_string(),
                    then: migration.to_string(),
                });
            }
            None if newest_file.is_none_or(|newest| migration.version() > newest) => {
                plan.unknown.push(migration.to_string());
            }
            None => return Err(MigrationError::Missing { migration: migration.to_string() }),
        }
    }
    for file in files.into_iter().map(|file| &file.migration) {
        match newest {
            Some(newest) if file.version() <= newest.version() => {
                if !applied.iter().any(|migration| migration.version() == file.version()) {
                    let (migration, newest) = (file.to_string(), newest.to_string());
                    return Err(MigrationError::TooLate { migration, newest });
                }
            }
            _ => plan.pending.push(file.to_string()),
        }
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(names: &[&str]) -> Vec<Migration> {
        names.iter().map(|name| Migration::unapplied(name, "SELECT 1;").unwrap()).collect()
    }

    fn files_of(names: &[&str]) -> Vec<File> {
        names.iter().map(|name| File::new(name, "SELECT 1;").unwrap()).collect()
    }

    #[test]
    fn new_files_are_pending_in_the_order_of_their_versions() {
        for (applied, files, pending, unknown) in [
            (&[][..], &[][..], &[][..], &[][..]),
            (&[], &["V10__c", "V1__a", "V2__b"], &["V1__a", "V2__b", "V10__c"], &[]),
            (&["V1__a"], &["V1__a", "V2__b"], &["V2__b"], &[]),
            (&["V1__a", "V2__b"], &["V1__a"], &[], &["V2__b"]),
            (&["V1__a"], &[], &[], &["V1__a"]),
        ] {
            let plan = plan(&all(applied), &files_of(files)).unwrap();
            assert_eq!((&plan.pending[..], &plan.unknown[..]), (&owned(pending)[..], &owned(unknown)[..]));
        }
    }

    #[test]
    fn a_conflicting_history_is_rejected_with_the_files_names() {
        for (applied, files, said) in [
            (&[][..], &["V1__a", "V1__b"][..], "V1__a and V1__b have the same version"),
            (&["V1__a"], &["V1__b"], "V1__b differs from the applied migration V1__a"),
            (&["V1__a", "V2__b"], &["V2__b"], "V1__a was applied, but its file is missing"),
            (&["V2__b"], &["V1__a", "V2__b"], "V1__a is new, but V2__b has already been applied"),
        ] {
            let error = plan(&all(applied), &files_of(files)).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }
}
