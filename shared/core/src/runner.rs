//! The record of a runner, and its state by its last heartbeat.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{id::RunId, name::TaskName};

/// The interval of a runner's heartbeats.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// The time without a heartbeat after which a runner counts as dead. Two heartbeats may be lost.
pub const SILENCE: Duration = Duration::from_secs(30);

/// A runner at its last heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// The unique name of the runner.
    pub instance: String,
    /// The environment whose tasks it runs.
    pub environment: String,
    /// The start of the runner.
    pub started_at: Timestamp,
    /// The time of the last heartbeat.
    pub heartbeat_at: Timestamp,
    /// The runner is stopping and starts nothing more.
    pub stopping: bool,
    /// The invocations in progress.
    #[serde(default)]
    pub running: Vec<Running>,
}

/// An invocation in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The task.
    pub task: TaskName,
    /// The run, if the runner chose its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// The start of the invocation.
    pub since: Timestamp,
}

/// The state of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Standing {
    /// It starts what is due.
    Running,
    /// It waits for the invocations in progress.
    Stopping,
    /// Its last heartbeat is too long ago.
    Dead,
}

impl Standing {
    /// Returns the stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Dead => "DEAD",
        }
    }
}

impl Runner {
    /// Returns the runner's state at `now`.
    pub fn standing(&self, now: Timestamp) -> Standing {
        match self.heartbeat_at.saturating_add(SILENCE) {
            Ok(end) if end < now => Standing::Dead,
            _ if self.stopping => Standing::Stopping,
            _ => Standing::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_without_heartbeats_is_dead_whatever_its_last_state() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let runner = |stopping| Runner {
            instance: "a".to_owned(),
            environment: "dev".to_owned(),
            started_at: at(0),
            heartbeat_at: at(100),
            stopping,
            running: Vec::new(),
        };
        for (stopping, now, wanted) in [
            (false, 130, Standing::Running),
            (true, 130, Standing::Stopping),
            (false, 131, Standing::Dead),
            (true, 131, Standing::Dead),
        ] {
            assert_eq!(runner(stopping).standing(at(now)), wanted, "{stopping} {now}");
        }
    }
}
