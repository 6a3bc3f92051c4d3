//! The status of a run, and its transitions.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The status of a run. The last six are terminal and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The run has not started.
    Pending,
    /// The run is in progress.
    Running,
    /// The body returned a success.
    Completed,
    /// The body failed, or the run was lost.
    Failed,
    /// The body did not return before its deadline.
    Timeout,
    /// The run was cancelled.
    Cancelled,
    /// The run did not start, since another run was in progress or the task was disabled.
    Skipped,
    /// The run did not start, since a task or a job that it depends on did not complete.
    Blocked,
}

/// An event in the life of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its task was claimed.
    Start,
    /// Its body returned a success.
    Complete,
    /// Its last attempt failed, or its process was lost.
    Fail,
    /// Its time limit was exceeded.
    TimeOut,
    /// It was cancelled.
    Cancel,
    /// It was not to run: the task was disabled or running already, or the run was not due.
    Skip,
    /// A dependency did not complete.
    Block,
}

/// The error of a transition that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run that is {from} cannot take the step {event:?}")]
pub struct IllegalTransition {
    /// The status before the event.
    pub from: Status,
    /// The event.
    pub event: Event,
}

impl Status {
    /// All statuses, in the order of a run's life.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Timeout,
        Self::Cancelled,
        Self::Skipped,
        Self::Blocked,
    ];

    /// Returns the status after `event`.
    pub fn next(self, event: Event) -> Result<Self, IllegalTransition> {
        match (self, event) {
            (Self::Pending, Event::Start) => Ok(Self::Running),
            (Self::Pending, Event::Skip) => Ok(Self::Skipped),
            (Self::Pending, Event::Block) => Ok(Self::Blocked),
            (Self::Running, Event::Complete) => Ok(Self::Completed),
            (Self::Running, Event::TimeOut) => Ok(Self::Timeout),
            (Self::Pending | Self::Running, Event::Fail) => Ok(Self::Failed),
            (Self::Pending | Self::Running, Event::Cancel) => Ok(Self::Cancelled),
            (from, event) => Err(IllegalTransition { from, event }),
        }
    }

    /// Returns whether the run is over.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// Returns whether the run is over and failed, so that its dependents and its deployment must not
    /// continue.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Timeout | Self::Cancelled | Self::Blocked)
    }

    /// Returns the stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Timeout => "TIMEOUT",
            Self::Cancelled => "CANCELLED",
            Self::Skipped => "SKIPPED",
            Self::Blocked => "BLOCKED",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error of a word that is not a status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a status: it must be PENDING, RUNNING, COMPLETED, FAILED, TIMEOUT, CANCELLED, SKIPPED or BLOCKED"
)]
pub struct InvalidStatus(pub String);

impl FromStr for Status {
    type Err = InvalidStatus;

    fn from_str(word: &str) -> Result<Self, InvalidStatus> {
        Self::ALL.into_iter().find(|s| s.as_str() == word).ok_or_else(|| InvalidStatus(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 7] = [
        Event::Start,
        Event::Complete,
        Event::Fail,
        Event::TimeOut,
        Event::Cancel,
        Event::Skip,
        Event::Block,
    ];

    #[test]
    fn a_terminal_status_never_changes() {
        for from in Status::ALL.into_iter().filter(|s| s.is_terminal()) {
            for event in EVENTS {
                assert_eq!(from.next(event), Err(IllegalTransition { from, event }));
            }
        }
    }

    #[test]
    fn exactly_nine_steps_are_legal() {
        let legal = Status::ALL.into_iter().flat_map(|s| EVENTS.map(|e| s.next(e))).flatten();
        assert_eq!(legal.count(), 9);
    }

    #[test]
    fn each_status_survives_its_text() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }
}
