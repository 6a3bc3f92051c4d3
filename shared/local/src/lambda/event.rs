//! Asynchronous invocations: the retries, and the record of an event that failed for good.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    function::Function,
    host::Host,
    invocation::{Invocation, Request},
    log::LogLine,
    spec::arn,
};

/// Runs the event until it succeeds or has no retries left, and then sends its record to the destination.
pub(crate) async fn deliver(host: Arc<Host>, function: Arc<Function>, request: Request) {
    let mut function = function;
    let mut attempt = 0;
    let last = loop {
        attempt += 1;
        let invocation = function.run(&request).await;
        if !invocation.failed {
            return;
        }
        if attempt > u32::from(function.spec.max_retries) || host.is_draining() {
            break invocation;
        }
        tokio::select! {
            () = tokio::time::sleep(host.options.retry_pause * attempt) => {}
            () = host.drains() => break invocation,
        }
        // What was registered in the meantime is what runs.
        function = host.function(&function.spec.name).unwrap_or(function);
    };
    let record = || record(&function.spec.name, &request, &last, attempt, &jiff::Timestamp::now());
    let Some(destination) = &function.spec.on_failure else {
        if let Some(failures) = &host.options.failures {
            // Whoever listened is gone with what the record was for.
            let _ = failures.send(record());
        }
        return;
    };
    let record = record();
    if let Err(error) = host.invoke_event(destination, record.to_string().into()) {
        let line = format!("the record of the failed event was not delivered to {destination}: {error}");
        let function = function.spec.name.clone();
        let Request { id, label, .. } = request;
        (host.launcher.sink)(LogLine { function, request_id: Some(id), label, line });
    }
}

/// What Lambda sends to an `OnFailure` destination.
fn record(name: &str, request: &Request, last: &Invocation, attempts: u32, now: &jiff::Timestamp) -> Value {
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
    fn the_record_is_lambdas() {
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
