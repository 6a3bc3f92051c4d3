//! A stack as CloudFormation sees it: what it remembers of its resources between two deployments.

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

/// What is remembered of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Its last status that was not one of progress.
    pub status: String,
    /// The version that serves.
    pub version: Option<String>,
    /// Its custom resources, by logical id.
    pub resources: BTreeMap<String, Resource>,
}

/// A custom resource that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// The id that it was answered with.
    pub physical_id: String,
    /// The properties of its last successful deployment.
    pub properties: Value,
}

/// A stack on this machine.
#[derive(Debug)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// What is remembered of it.
    pub memory: Memory,
    file: PathBuf,
}

impl Stack {
    /// Opens a stack's memory below `home`. A stack that was never deployed has an empty one.
    pub fn open(home: &Path, name: &str) -> anyhow::Result<Self> {
        project::check(name)?;
        let file = home.join("stacks").join(format!("{name}.json"));
        let memory = match fs::read_to_string(&file) {
            Ok(text) => {
                serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Memory::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        Ok(Self { name: name.to_owned(), memory, file })
    }

    /// Opens a stack to deploy it, which one process does at a time: until the second value is dropped.
    pub fn open_alone(home: &Path, name: &str) -> anyhow::Result<(Self, File)> {
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
            // What was remembered may have changed until the lock was there.
            Some(lock) => Ok((Self::open(home, name)?, lock)),
            None => bail!("another deployment of stack `{name}` is in progress"),
        }
    }

    /// The stack's ARN, of the form that CloudFormation gives.
    pub fn id(&self) -> String {
        format!("arn:aws:cloudformation:us-east-1:000000000000:stack/{}/local", self.name)
    }

    /// Whether it has been created, so that the next deployment is an update.
    pub fn exists(&self) -> bool {
        self.memory.version.is_some()
    }

    /// The version after the one that serves: the next number if it is one, else none.
    pub fn next_version(&self) -> Option<String> {
        match &self.memory.version {
            None => Some("1".to_owned()),
            Some(version) => version.parse::<u64>().ok()?.checked_add(1).map(|next| next.to_string()),
        }
    }

    /// Remembers the stack, whole or not at all.
    pub fn keep(&self) -> anyhow::Result<()> {
        let written = serde_json::to_vec_pretty(&self.memory)
            .map_err(io::Error::from)
            .and_then(|memory| write_atomically(&self.file, &memory));
        written.with_context(|| format!("cannot write {}", self.file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_remembered_and_counts_its_versions() {
        let home = tempfile::tempdir().unwrap();
        let mut stack = Stack::open(home.path(), "shop").unwrap();
        assert_eq!((stack.exists(), stack.next_version().as_deref()), (false, Some("1")));
        stack.memory.version = Some("9".into());
        stack.keep().unwrap();
        let (again, alone) = Stack::open_alone(home.path(), "shop").unwrap();
        let error = Stack::open_alone(home.path(), "shop").unwrap_err();
        assert_eq!(error.to_string(), "another deployment of stack `shop` is in progress");
        drop(alone);
        Stack::open_alone(home.path(), "shop").unwrap();
        assert_eq!((again.exists(), again.next_version().as_deref()), (true, Some("10")));
        stack.memory.version = Some("v2.1".into());
        assert_eq!(stack.next_version(), None);
    }

    #[test]
    fn what_is_no_stacks_name_is_refused() {
        let home = tempfile::tempdir().unwrap();
        for name in ["", "1a", "a b", "../x"] {
            assert!(Stack::open(home.path(), name).is_err(), "{name}");
        }
    }
}
