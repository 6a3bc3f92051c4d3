//! The record of an asynchronous event whose retries are exhausted.

use serde_json::{Value, json};

use super::{
    invocation::{Invocation, Request},
    spec::arn,
};

/// The record that Lambda sends to an `OnFailure` destination.
pub(crate) fn record(
    name: &str,
    request: &Request,
    last: &Invocation,
    attempts: u32,
    now: &jiff::Timestamp,
) -> Value {
    json!({
        "version": "1.0",
        "timestamp": format!("{now:.3}"),
        "requestContext": {
            "requestId": request.id,
            "functionArn": format!("{}:$LATEST", arn(name)),
            "condition": "RetriesExhausted",
            "approximateInvokeCount": attempts,
        },
        "requestPayload": json_or_text(&request.payload),
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
        "responsePayload": json_or_text(&last.payload),
    })
}

fn json_or_text(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).unwrap_or_else(|_| String::from_utf8_lossy(payload).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_has_the_form_of_lambdas() {
        let request = Request { id: "r-1".to_owned(), payload: "{\"a\":1}".into(), label: None, lines: None };
        let last = Invocation {
            request_id: "r-1".to_owned(),
            failed: true,
            payload: b"{\"errorType\":\"Boom\",\"errorMessage\":\"no\"}".to_vec(),
        };
        let now = "2026-01-02T03:04:05.678901Z".parse().unwrap();
        let wanted = json!({
            "version": "1.0",
            "timestamp": "2026-01-02T03:04:05.678Z",
            "requestContext": {
                "requestId": "r-1",
                "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:migrate:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 3,
            },
            "requestPayload": { "a": 1 },
            "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
            "responsePayload": { "errorType": "Boom", "errorMessage": "no" },
        });
        assert_eq!(record("migrate", &request, &last, 3, &now), wanted);
    }
}
