//! The request to a task's function, and the function's report.

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

/// The payload of an invocation. An empty object requests a run by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The trigger of the run.
    #[serde(default = "manual")]
    pub trigger: Trigger,
    /// The run's id, if the sender chose it. Otherwise the task creates one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// The scheduled time of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_for: Option<Timestamp>,
    /// The deployment of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Deployment>,
    /// The earlier run that a person repeats with this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<RunId>,
    /// Configuration of this run only, which overrides the task's own key by key.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
    /// The arguments of a queue task: an object with one key for each.
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

/// The error of a payload that cannot start a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnvelope {
    /// The payload is not an envelope.
    #[error(
        "the payload is not one for a task: {0}; send `{{}}` to run it by hand, or an object with `trigger`, \
         `run_id`, `scheduled_for`, `deployment`, `config`, `arguments` and `retry_of`"
    )]
    Malformed(String),
    /// A field that the trigger requires is missing.
    #[error("a run triggered by {trigger} needs `{missing}` in the payload")]
    Incomplete {
        /// The trigger.
        trigger: Trigger,
        /// The missing field.
        missing: &'static str,
    },
}

impl Envelope {
    /// Creates an envelope with nothing but a trigger.
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

    /// Reads a payload. Null counts as an empty object.
    pub fn parse(payload: Value) -> Result<Self, InvalidEnvelope> {
        // A struct by itself would also be read from a list.
        let fields: Option<serde_json::Map<String, Value>> =
            serde_json::from_value(payload).map_err(malformed)?;
        serde_json::from_value(Value::Object(fields.unwrap_or_default())).map_err(malformed)
    }

    /// Returns the occasion of the run.
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
            Trigger::Manual | Trigger::Queue | Trigger::Runner => Ok(Occasion::Manual),
        }
    }
}

/// The report of a task's function about a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The run.
    pub run_id: RunId,
    /// Its task.
    pub task: TaskName,
    /// The status in which it ended.
    pub status: Status,
    /// The message of its success, or the reason why it did not complete.
    pub message: Option<String>,
    /// The number of attempts.
    pub attempts: usize,
    /// The time from claim to end, in milliseconds.
    pub duration_ms: u64,
    /// The reason why the body did not run, if the claim was refused. The record, if there is one, is that of
    /// an earlier delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

impl Report {
    /// Creates the report of a run that is over.
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
    fn an_empty_payload_is_a_manual_run_and_a_schedules_one_is_a_tick() {
        let manual = Envelope::parse(json!({})).unwrap();
        assert_eq!(manual.occasion(), Ok(Occasion::Manual));
        assert_eq!(Envelope::parse(Value::Null), Ok(manual));
        // The form in which EventBridge Scheduler writes `<aws.scheduler.scheduled-time>`.
        let tick = json!({ "trigger": "schedule", "scheduled_for": "2026-11-21T06:00:00Z" });
        let at = "2026-11-21T06:00:00Z".parse().unwrap();
        assert_eq!(Envelope::parse(tick).unwrap().occasion(), Ok(Occasion::Tick(at)));
    }

    #[test]
    fn a_foreign_payload_is_refused() {
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
