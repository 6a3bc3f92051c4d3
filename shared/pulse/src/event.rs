//! The events of the pulse function: its own schedule, a user's request, or the record of a failed invocation.

use lamplighter_aws::functions::FunctionFailure;
use lamplighter_core::name::TaskName;
use serde::Deserialize;
use serde_json::Value;

/// An event of the pulse function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request for a pulse.
    Pulse(PulseRequest),
    /// An asynchronous invocation failed after all retries.
    Failed(Box<FailedInvocation>),
}

/// The options of a pulse. An empty object requests the minute's work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PulseRequest {
    /// Only report what would be done.
    pub dry_run: bool,
    /// Run tasks now, even if they are not due.
    pub force: bool,
    /// Only this task.
    pub task: Option<TaskName>,
}

impl PulseRequest {
    /// True for the minute's work, which is done once a minute.
    pub fn is_the_minutes_work(&self) -> bool {
        *self == Self::default()
    }
}

/// The record that Lambda sends to the destination for failed invocations. Source: AWS Lambda Developer Guide, "Capturing
/// records of asynchronous invocations".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedInvocation {
    /// The name of the function.
    pub function: String,
    /// The id of the invocation.
    pub request_id: String,
    /// Its payload.
    pub payload: Value,
    /// The failure.
    pub failure: FunctionFailure,
}

/// Reasons why an event is rejected.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEvent {
    /// It is no valid request.
    #[error(
        "invalid event for the pulse: {0}; send `{{}}` for the minute's work, or an object with `dry_run`, \
         `force` and `task`"
    )]
    PulseRequest(serde_json::Error),
    /// It is a record of a failed invocation that lacks a field.
    #[error("the record of a failed invocation has no `{0}`")]
    Record(&'static str),
}

impl Event {
    /// Reads an event. `null` counts as an empty object.
    pub fn parse(event: Value) -> Result<Self, InvalidEvent> {
        if event.get("requestPayload").is_some() {
            return failed_invocation(event).map(|failed| Self::Failed(Box::new(failed)));
        }
        // Read as an object first, since serde also reads a struct from a list.
        let fields: Option<serde_json::Map<String, Value>> =
            serde_json::from_value(event).map_err(InvalidEvent::PulseRequest)?;
        let request = serde_json::from_value(Value::Object(fields.unwrap_or_default()));
        request.map(Self::Pulse).map_err(InvalidEvent::PulseRequest)
    }
}

fn failed_invocation(mut record: Value) -> Result<FailedInvocation, InvalidEvent> {
    let context = &record["requestContext"];
    let arn = context["functionArn"].as_str().ok_or(InvalidEvent::Record("requestContext.functionArn"))?;
    // arn:aws:lambda:<region>:<account>:function:<name>[:<version>]
    let function =
        arn.split(':').nth(6).ok_or(InvalidEvent::Record("requestContext.functionArn"))?.to_owned();
    let request_id = context["requestId"].as_str().unwrap_or_default().to_owned();
    let response = &record["responsePayload"];
    let text = |key: &str| response[key].as_str().map(str::to_owned);
    let condition = || context["condition"].as_str().unwrap_or("Unhandled").to_owned();
    let failure = FunctionFailure {
        kind: text("errorType").unwrap_or_else(condition),
        // An invocation that never began, because it expired or was throttled for too long, has no response.
        message: text("errorMessage").unwrap_or_else(|| format!("the function did not run: {}", condition())),
    };
    Ok(FailedInvocation { function, request_id, failure, payload: record["requestPayload"].take() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn p01_a_request_is_read_and_an_unknown_field_is_named() {
        let request = |event: Value| match Event::parse(event).unwrap() {
            Event::Pulse(request) => request,
            Event::Failed(failed) => panic!("{failed:?}"),
        };
        assert!(request(json!({})).is_the_minutes_work() && request(Value::Null).is_the_minutes_work());
        let forced = request(json!({ "force": true, "task": "purge" }));
        assert_eq!((forced.force, forced.task.unwrap().as_str()), (true, "purge"));
        for bad in [json!([]), json!({ "dryrun": true }), json!({ "task": "No Name" }), json!("x")] {
            let error = Event::parse(bad).unwrap_err().to_string();
            assert!(error.contains("`dry_run`, `force` and `task`"), "{error}");
        }
    }

    /// A record from Lambda, shortened.
    #[test]
    fn p06_the_record_of_a_failed_invocation_is_read() {
        let record = json!({
            "version": "1.0", "timestamp": "2026-11-21T06:00:03.123Z",
            "requestContext": {
                "requestId": "e4b46cbf-b738-xmpl-8880-a18cdf61200e",
                "functionArn": "arn:aws:lambda:us-east-2:123456789012:function:shop-purge:$LATEST",
                "condition": "RetriesExhausted", "approximateInvokeCount": 1
            },
            "requestPayload": { "trigger": "schedule", "scheduled_for": "2026-11-21T06:00:00Z" },
            "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
            "responsePayload": { "errorType": "FAILED", "errorMessage": "no" }
        });
        let Event::Failed(failed) = Event::parse(record.clone()).unwrap() else {
            panic!("read as a request")
        };
        assert_eq!(failed.function, "shop-purge");
        assert_eq!((failed.failure.kind.as_str(), failed.failure.message.as_str()), ("FAILED", "no"));
        let mut aged = record;
        aged["requestContext"]["condition"] = json!("EventAgeExceeded");
        aged["responsePayload"] = Value::Null;
        let Event::Failed(failed) = Event::parse(aged).unwrap() else { panic!("read as a request") };
        assert_eq!(failed.failure.message, "the function did not run: EventAgeExceeded");
    }
}
