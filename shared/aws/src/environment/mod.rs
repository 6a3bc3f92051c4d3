//! The variables of a process's environment, read in one place and by one rule.
//!
//! A variable that is missing or empty has no value. A variable that is not UTF-8 is an error, which names the
//! variable.

mod jobs;
pub(crate) mod single;

use std::{env, ffi::OsString, sync::Arc};

use lamplighter_core::settings::DEFAULT_ENVIRONMENT;

pub use single::{NotText, text, variable};

use crate::{
    clients::Clients,
    jobs::{NoRunnerAddress, RunnerAddress, Waker},
    objects::Objects,
    table::Table,
};

/// The table's name.
pub const TABLE: &str = "LAMPLIGHTER_TABLE";
/// The name of the bucket for values that are too large for an item.
pub const BUCKET: &str = "LAMPLIGHTER_BUCKET";
/// The name of the environment, such as `prod`.
pub const ENVIRONMENT: &str = "LAMPLIGHTER_ENVIRONMENT";
/// The prefix of the queues' URLs.
pub const QUEUES: &str = "LAMPLIGHTER_QUEUES";
/// The stack for which messages about failed jobs are kept.
pub const NOTIFIES: &str = "LAMPLIGHTER_NOTIFIES";
/// The address at which a runner listens for wake-ups.
pub const WAKE_SOCKET: &str = "LAMPLIGHTER_WAKE_SOCKET";

/// The stack's output with the table's name.
pub const TABLE_OUTPUT: &str = "LamplighterTableName";
/// The stack's output with the bucket's name.
pub const BUCKET_OUTPUT: &str = "LamplighterBucketName";
/// The stack's output with the prefix of the queues' URLs.
pub const QUEUES_OUTPUT: &str = "LamplighterQueues";

/// A variable without a valid value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// The value is not UTF-8 text.
    #[error(transparent)]
    NotText(#[from] NotText),
    /// A variable that is required has no value.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// None of these variables has a value, and one of them is required.
    #[error("{names} is not set: expected {expected}")]
    Unset {
        /// The variable, or the variables.
        names: String,
        /// The valid values.
        expected: String,
    },
    /// A variable has an invalid value.
    #[error("{name} is `{value}`: expected {expected}")]
    Unfit {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
        /// The valid values.
        expected: String,
    },
    /// The address of the runner is invalid. The value is a secret, so the error does not contain it.
    #[error("{WAKE_SOCKET}: {0}")]
    WakeSocket(#[from] NoRunnerAddress),
}

/// Reads a variable that must have a value.
pub fn required(name: &'static str) -> Result<String, VariableError> {
    variable(name)?.ok_or(VariableError::Missing(name))
}

/// The variables that connect a process to its stack: its table, its bucket and its queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackVariables {
    /// The table's name.
    pub table: Option<String>,
    /// The bucket's name.
    pub bucket: Option<String>,
    /// The environment's name, by default [`DEFAULT_ENVIRONMENT`].
    pub environment: String,
    /// The prefix of the queues' URLs.
    pub queues: Option<String>,
    /// The stack for which messages about failed jobs are kept.
    pub notifies: Option<String>,
    /// The address at which a runner listens for wake-ups.
    pub wake_socket: Option<RunnerAddress>,
}

impl StackVariables {
    /// Reads the variables of this process's environment.
    pub fn read() -> Result<Self, VariableError> {
        Self::of(|name| env::var_os(name))
    }

    /// Reads the variables of an environment.
    pub fn of(value: impl Fn(&str) -> Option<OsString>) -> Result<Self, VariableError> {
        let variable = |name| text(name, value(name));
        Ok(Self {
            table: variable(TABLE)?,
            bucket: variable(BUCKET)?,
            environment: variable(ENVIRONMENT)?.unwrap_or_else(|| DEFAULT_ENVIRONMENT.to_owned()),
            queues: variable(QUEUES)?,
            notifies: variable(NOTIFIES)?,
            wake_socket: variable(WAKE_SOCKET)?.map(|address| address.parse()).transpose()?,
        })
    }

    /// The table, with the bucket if there is one. Fails if no table is named.
    pub async fn table(&self, clients: &Clients) -> Result<Table, VariableError> {
        let name = self.table.as_deref().ok_or(VariableError::Missing(TABLE))?;
        let table = open_table(clients, name, self.bucket.as_deref()).await;
        Ok(table.with_environment(&self.environment))
    }

    /// The waker: messages in queues if there are some, else datagrams to a runner.
    pub fn waker(&self, clients: &Arc<Clients>) -> Waker {
        match &self.queues {
            Some(prefix) => Waker::queues(prefix, Arc::clone(clients)),
            None => Waker::Runner { to: self.wake_socket.clone() },
        }
    }
}

/// A table, with a bucket for large values if there is one.
pub async fn open_table(clients: &Clients, name: &str, bucket: Option<&str>) -> Table {
    let table = Table::new(clients.dynamodb().await.clone(), name);
    match bucket {
        Some(bucket) => table.with_objects(Objects::new(bucket, clients.config().await)),
        None => table,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn the_variables_of_a_stack_follow_one_rule() {
        let none = StackVariables::of(|_| None).unwrap();
        assert_eq!((none.table.as_deref(), none.environment.as_str()), (None, DEFAULT_ENVIRONMENT));
        assert_eq!(StackVariables::of(|_| Some(OsString::new())), Ok(none), "empty is as if it were not set");
        for name in [TABLE, BUCKET, ENVIRONMENT, QUEUES, NOTIFIES, WAKE_SOCKET] {
            let value = |it: &str| (it == name).then(|| OsString::from_vec(b"secret\xff".to_vec()));
            let error = StackVariables::of(value).unwrap_err().to_string();
            assert_eq!(error, format!("{name} is not UTF-8 text"));
        }
        let error = StackVariables::of(|name| (name == WAKE_SOCKET).then(|| "secret".into())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "LAMPLIGHTER_WAKE_SOCKET: it must be an address and a key, as `127.0.0.1:4000/key-3f..`"
        );
    }
}
