//! The stored state of a stack on this machine, as CloudFormation keeps it between two deployments.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use lamplighter_core::project;
use lamplighter_project::files::write_atomically;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The stored state of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackState {
    /// The status after the last deployment.
    pub status: String,
    /// The live version.
    pub version: Option<String>,
    /// The custom resources, by logical id.
    pub resources: BTreeMap<String, Resource>,
}

/// A custom resource that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// The physical id from its answer.
    pub physical_id: String,
    /// The properties of its last successful deployment.
    pub properties: Value,
}

/// A stack on this machine.
#[derive(Debug)]
pub struct Stack {
    /// The name.
    pub name: String,
    /// The stored state.
    pub state: StackState,
    file: PathBuf,
}

impl Stack {
    /// Reads the state of a stack below `home`. That of a stack that was never deployed is empty.
    pub fn open(home: &Path, name: &str) -> anyhow::Result<Self> {
        project::check(name)?;
        let file = home.join("stacks").join(format!("{name}.json"));
        let state = match fs::read_to_string(&file) {
            Ok(text) => {
                serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => StackState::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        Ok(Self { name: name.to_owned(), state, file })
    }

    /// Locks and reads a stack for a deployment. The lock is the second value, and released when that is dropped. Fails if
    /// another process has it.
    pub fn open_locked(home: &Path, name: &str) -> anyhow::Result<(Self, File)> {
        let file = Self::open(home, name)?.file.with_extension("lock");
        super::home::make(home)?;
        let locked = || -> io::Result<Option<File>> {
            fs::create_dir_all(file.parent().unwrap_or(Path::new("")))?;
            let lock = File::create(&file)?;
            match lock.try_lock() {
                Ok(()) => Ok(Some(lock)),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error),
            }
        };
        match locked().with_context(|| format!("cannot lock {}", file.display()))? {
            // Read after the lock is taken: another deployment may have changed it before.
            Some(lock) => Ok((Self::open(home, name)?, lock)),
            None => bail!("another deployment of stack `{name}` is in progress"),
        }
    }

    /// The ARN, in CloudFormation's form.
    pub fn id(&self) -> String {
        format!("arn:aws:cloudformation:us-east-1:000000000000:stack/{}/local", self.name)
    }

    /// Returns true if it has been created, so that the next deployment is an update.
    pub fn exists(&self) -> bool {
        self.state.version.is_some()
    }

    /// The version after the live one: the next number, or none if the live version is no number.
    pub fn next_version(&self) -> Option<String> {
        match &self.state.version {
            None => Some("1".to_owned()),
            Some(version) => version.parse::<u64>().ok()?.checked_add(1).map(|next| next.to_string()),
        }
    }

    /// Writes the state to its file, atomically.
    pub fn save(&self) -> anyhow::Result<()> {
        let written = serde_json::to_vec_pretty(&self.state)
            .map_err(io::Error::from)
            .and_then(|state| write_atomically(&self.file, &state));
        written.with_context(|| format!("cannot write {}", self.file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stacks_state_is_kept_and_its_versions_are_numbered() {
        let home = tempfile::tempdir().unwrap();
        let mut stack = Stack::open(home.path(), "shop").unwrap();
        assert_eq!((stack.exists(), stack.next_version().as_deref()), (false, Some("1")));
        stack.state.version = Some("9".into());
        stack.save().unwrap();
        let (again, lock) = Stack::open_locked(home.path(), "shop").unwrap();
        let error = Stack::open_locked(home.path(), "shop").unwrap_err();
        assert_eq!(error.to_string(), "another deployment of stack `shop` is in progress");
        drop(lock);
        Stack::open_locked(home.path(), "shop").unwrap();
        assert_eq!((again.exists(), again.next_version().as_deref()), (true, Some("10")));
        stack.state.version = Some("v2.1".into());
        assert_eq!(stack.next_version(), None);
    }

    #[test]
    fn an_invalid_stack_name_is_refused() {
        let home = tempfile::tempdir().unwrap();
        for name in ["", "1a", "a b", "../x"] {
            assert!(Stack::open(home.path(), name).is_err(), "{name}");
        }
    }
}
