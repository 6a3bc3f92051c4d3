//! Notifications about failures, with their idempotency keys.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    id::RunId,
    name::TaskName,
    run::{ErrorKind, Run, Trigger},
    status::Status,
};

/// The interval at which messages in dead-letter queues are counted.
pub const COUNT_LETTERS: Duration = Duration::from_secs(600);

/// The notification about one failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The task.
    pub task: TaskName,
    /// The run; none if there was none.
    pub run_id: Option<RunId>,
    /// The status in which the run ended, such as FAILED; MISSED if there was no run.
    pub status: String,
    /// The kind of the error.
    pub kind: Option<ErrorKind>,
    /// The reason of the failure.
    pub message: String,
    /// The scheduled time of the run.
    pub scheduled_for: Option<Timestamp>,
    /// The environment in which it ran.
    pub environment: String,
    /// The stack of the task.
    pub stack: String,
}

impl Message {
    /// Creates the notification about a run that did not complete.
    pub fn of(run: &Run, environment: &str, stack: &str) -> Self {
        Self {
            task: run.task.clone(),
            run_id: Some(run.id),
            status: run.status.as_str().to_owned(),
            kind: run.error.as_ref().map(|error| error.kind),
            message: run.reason().unwrap_or_default().to_owned(),
            scheduled_for: run.scheduled_for,
            environment: environment.to_owned(),
            stack: stack.to_owned(),
        }
    }

    /// Creates the notification about the messages in a task's dead-letter queue, with its idempotency key:
    /// one notification a day while there are messages.
    pub fn of_dead_letters(
        task: &TaskName,
        count: u64,
        now: Timestamp,
        environment: &str,
        stack: &str,
    ) -> Option<(String, Self)> {
        let text = match count {
            0 => return None,
            1 => "a message is in the dead-letter queue".to_owned(),
            _ => format!("{count} messages are in the dead-letter queue"),
        };
        let message = Self {
            task: task.clone(),
            run_id: None,
            status: Status::Failed.as_str().to_owned(),
            kind: Some(ErrorKind::System),
            message: format!("{text}: see `lamplighter jobs dead`"),
            scheduled_for: None,
            environment: environment.to_owned(),
            stack: stack.to_owned(),
        };
        Some((format!("dead letters of {}", now.strftime("%Y-%m-%d")), message))
    }

    /// Returns a one-line summary.
    pub fn subject(&self) -> String {
        format!("{} {} in {}", self.task, self.status, self.stack)
    }
}

/// Returns the idempotency key of a failure's notification: the tick of the run, or else the run's id.
pub fn occasion(trigger: Trigger, tick: Option<Timestamp>, run_id: RunId) -> String {
    match (trigger, tick) {
        (Trigger::Schedule | Trigger::Pulse, Some(tick)) => tick.to_string(),
        _ => run_id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o08_dead_letters_are_notified_once_a_day_while_the_queue_has_some() {
        let reported = |count, at: &str| {
            let task = "mail".parse().unwrap();
            Message::of_dead_letters(&task, count, at.parse().unwrap(), "dev", "shop")
        };
        assert_eq!(reported(0, "2026-11-28T10:00:00Z"), None);
        let (first, message) = reported(2, "2026-11-28T10:00:00Z").unwrap();
        assert_eq!(message.message, "2 messages are in the dead-letter queue: see `lamplighter jobs dead`");
        assert_eq!(reported(5, "2026-11-28T23:59:59Z").unwrap().0, first);
        assert_ne!(reported(5, "2026-11-29T00:00:00Z").unwrap().0, first);
    }
}
