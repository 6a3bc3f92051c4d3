//! Constraints between the jobs of one task: limits by key, and uniqueness.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The maximum of a limit. All places of a key are in one item.
pub const MAX_AT_ONCE: u32 = 1000;

/// A limit on the number of jobs of a task with the same key that run at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The key, such as a customer or a host.
    pub key: String,
    /// The maximum number of jobs that run at once.
    pub at_once: u32,
}

/// The uniqueness of a job among those of its task that are not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unique {
    /// The property that must be unique.
    pub scope: Scope,
    /// The maximum time for which it is unique. It ends earlier if the job is over.
    #[serde(rename = "within_ms", with = "crate::duration::as_millis")]
    pub within: Duration,
    /// The policy for a second job.
    pub on_twin: OnConflict,
}

/// The property by which jobs count as equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The task alone.
    Task,
    /// The task and the arguments.
    Arguments,
    /// The task and this key.
    Key(String),
}

/// The policy for a job if an equal one exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// The job is refused.
    #[default]
    Refuse,
    /// The caller gets the existing job.
    Join,
}
