//! What a task's function is sent, and what it reports.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    claim::{Occasion, Refusal},
    deployment::Deployment,
    id::RunId,
    name::TaskName,
    run::{Run, Trigger},
    status::Status,
};

/// The payload of an invocation. An empty object is somebody's wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// What starts the run.
    #[serde(default = "manual")]
    pub trigger: Trigger,
    /// The run's id, where the sender fixed it. Without one the task makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// The time the run is meant for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_for: Option<Timestamp>,
    /// The deployment the run belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Deployment>,
    /// The run that this one does over, of somebody's wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<RunId>,
    /// What the task's configuration has instead, key by key, in this run only.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
    /// What a queue task's body is given: an object with one key for each argument.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub arguments: Value,
}

fn manual() -> Trigger {
    Trigger::Manual
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn malformed(error: serde_json::Error) -> InvalidEnvelope {
    InvalidEnvelope::Malformed(error.to_string())
}

/// Why an invocation's payload cannot start a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnvelope {
    /// It is not an envelope at all.
    #[error(
        "the payload is not one for a task: {0}; send `{{}}` to run it by hand, or an object with `trigger`, \
         `run_id`, `scheduled_for`, `deployment`, `config`, `arguments` and `retry_of`"
    )]
    Malformed(String),
    /// What its trigger needs is not there.
    #[error("a run triggered by {trigger} needs `{missing}` in the payload")]
    Incomplete {
        /// The trigger.
        trigger: Trigger,
        /// What is missing.
        missing: &'static str,
    },
}

impl Envelope {
    /// What says no more than what starts the run.
    pub fn of(trigger: Trigger) -> Self {
        Self {
            trigger,
            run_id: None,
            scheduled_for: None,
            deployment: None,
            retry_of: None,
            config: Value::Null,
            arguments: Value::Null,
        }
    }

    /// Reads a payload. Nothing at all counts as an empty object.
    pub fn parse(payload: Value) -> Result<Self, InvalidEnvelope> {
        // By way of an object, since a struct would be read from a list as well.
        let fields: Option<serde_json::Map<String, Value>> =
            serde_json::from_value(payload).map_err(malformed)?;
        serde_json::from_value(Value::Object(fields.unwrap_or_default())).map_err(malformed)
    }

    /// What the run may be the only one of.
    pub fn occasion(&self) -> Result<Occasion, InvalidEnvelope> {
        let missing = |missing| InvalidEnvelope::Incomplete { trigger: self.trigger, missing };
        match self.trigger {
            Trigger::Deploy | Trigger::Update | Trigger::Rollback => {
                let deployment = self.deployment.as_ref().ok_or_else(|| missing("deployment"))?;
                let (ledger, entry) = (deployment.ledger.clone(), deployment.entry.clone());
                Ok(Occasion::Deployment { ledger, entry })
            }
            Trigger::Schedule | Trigger::Pulse => {
                self.scheduled_for.map(Occasion::Tick).ok_or_else(|| missing("scheduled_for"))
            }
            Trigger::Manual | Trigger::Queue | Trigger::Runner => Ok(Occasion::Wish),
        }
    }
}

/// What a task's function says of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The run.
    pub run_id: RunId,
    /// Its task.
    pub task: TaskName,
    /// How it ended.
    pub status: Status,
    /// What the body said of its success, or why it did not complete.
    pub message: Option<String>,
    /// How often the body was tried.
    pub attempts: usize,
    /// From claim to end.
    pub duration_ms: u64,
    /// Why the body was not run, if another run or a switch kept it out. The record, if there is one, is that of
    /// an earlier delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

impl Report {
    /// The report of a run that is over.
    pub fn of(run: &Run) -> Self {
        Self {
            run_id: run.id,
            task: run.task.clone(),
            status: run.status,
            message: run.message.clone().or_else(|| run.reason().map(str::to_owned)),
            attempts: run.attempts.len(),
            duration_ms: run.duration_ms(),
            refused: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_empty_payload_is_a_wish_and_a_schedules_one_a_tick() {
        let wish = Envelope::parse(json!({})).unwrap();
        assert_eq!(wish.occasion(), Ok(Occasion::Wish));
        assert_eq!(Envelope::parse(Value::Null), Ok(wish));
        // As EventBridge Scheduler writes `<aws.scheduler.scheduled-time>`.
        let tick = json!({ "trigger": "schedule", "scheduled_for": "2026-11-21T06:00:00Z" });
        let at = "2026-11-21T06:00:00Z".parse().unwrap();
        assert_eq!(Envelope::parse(tick).unwrap().occasion(), Ok(Occasion::Tick(at)));
    }

    #[test]
    fn a_payload_of_something_else_is_refused() {
        let records = Envelope::parse(json!({ "Records": [] })).unwrap_err().to_string();
        assert!(records.contains("unknown field `Records`"), "{records}");
        for payload in [json!([]), json!(["manual"]), json!(1), json!("x"), json!(false)] {
            assert!(matches!(Envelope::parse(payload), Err(InvalidEnvelope::Malformed(_))));
        }
        for trigger in ["deploy", "schedule"] {
            assert!(Envelope::parse(json!({ "trigger": trigger })).unwrap().occasion().is_err());
        }
    }
}
