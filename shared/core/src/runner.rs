//! What a runner says of itself.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{id::RunId, name::TaskName};

/// How often a runner says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long one may say nothing before it is taken for dead: two heartbeats may be lost.
pub const SILENCE: Duration = Duration::from_secs(30);

/// A runner, as it said of itself last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// Its name, which no other runner has.
    pub instance: String,
    /// The environment whose tasks it runs.
    pub environment: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it said so.
    pub heartbeat_at: Timestamp,
    /// Whether it begins nothing any more.
    pub stopping: bool,
    /// What runs.
    #[serde(default)]
    pub running: Vec<Running>,
}

/// An invocation in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The task.
    pub task: TaskName,
    /// Its run, where the runner chose the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Since when.
    pub since: Timestamp,
}

/// How a runner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Standing {
    /// It begins what is due.
    Running,
    /// It waits for what still runs.
    Stopping,
    /// It has said nothing for too long.
    Dead,
}

impl Standing {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Dead => "DEAD",
        }
    }
}

impl Runner {
    /// How it stands.
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
    fn a_runner_that_says_nothing_is_dead_whatever_it_said_last() {
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
