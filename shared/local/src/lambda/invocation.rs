//! The end of an invocation, and its answer in Lambda's own format.

use std::{fmt::Display, os::unix::process::ExitStatusExt as _, process::ExitStatus, time::Duration};

use axum::body::Bytes;
use serde_json::json;
use tokio::sync::mpsc;

/// The largest payload of a synchronous invocation, and of any response, in bytes.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;
/// The largest payload of an asynchronous invocation, in bytes.
pub(crate) const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The result of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The request id, which the function received as well.
    pub request_id: String,
    /// True for a function error (`X-Amz-Function-Error: Unhandled`): the function reported an error, crashed, did not start or
    /// timed out.
    pub failed: bool,
    /// The function's response; for a function error, a JSON object with `errorType` and `errorMessage`.
    pub payload: Vec<u8>,
}

/// An event for a function.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) payload: Bytes,
    /// A second identifier of its log lines, beside the request id.
    pub(crate) label: Option<String>,
    /// The receiver of a streamed response's lines.
    pub(crate) lines: Option<mpsc::UnboundedSender<Vec<u8>>>,
}

/// The answer of the process.
#[derive(Debug)]
pub(crate) enum Answer {
    Response(Bytes),
    Error(Bytes),
    /// The response was larger than [`MAX_PAYLOAD_BYTES`].
    TooLarge,
}

/// The end of an invocation in a process.
#[derive(Debug)]
#[must_use]
pub(crate) enum InvocationEnd {
    Answered(Answer),
    /// The process ended before it took the event.
    NeverTook {
        status: std::io::Result<ExitStatus>,
        init_error: Option<Bytes>,
    },
    /// The process ended before it answered the event.
    Exited(std::io::Result<ExitStatus>),
    TimedOut(Duration),
}

/// The result of an invocation that ended like this.
pub(crate) fn conclude(request_id: &str, end: InvocationEnd) -> Invocation {
    let (failed, payload) = match end {
        InvocationEnd::Answered(Answer::Response(payload)) => (false, payload.to_vec()),
        InvocationEnd::Answered(Answer::Error(payload))
        | InvocationEnd::NeverTook { init_error: Some(payload), .. } => (true, payload.to_vec()),
        InvocationEnd::Answered(Answer::TooLarge) => {
            let message = format!(
                "Response payload size exceeded maximum allowed payload size ({MAX_PAYLOAD_BYTES} bytes)."
            );
            (true, error_payload("Function.ResponseSizeTooLarge", &message))
        }
        InvocationEnd::Exited(status) | InvocationEnd::NeverTook { status, init_error: None } => {
            (true, error_payload("Runtime.ExitError", &about(request_id, exit_reason(status))))
        }
        InvocationEnd::TimedOut(limit) => {
            let message = format!("Task timed out after {:.2} seconds", limit.as_secs_f64());
            (true, error_payload("Sandbox.Timedout", &about(request_id, message)))
        }
    };
    Invocation { request_id: request_id.to_owned(), failed, payload }
}

/// The result of an invocation whose process could not be started.
pub(crate) fn not_started(request_id: &str, reason: impl Display) -> Invocation {
    let payload = error_payload("Runtime.InvalidEntrypoint", &about(request_id, reason));
    Invocation { request_id: request_id.to_owned(), failed: true, payload }
}

fn about(request_id: &str, what: impl Display) -> String {
    format!("RequestId: {request_id} Error: {what}")
}

fn error_payload(error_type: &str, message: &str) -> Vec<u8> {
    json!({ "errorType": error_type, "errorMessage": message }).to_string().into_bytes()
}

fn exit_reason(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("Runtime exited with error: signal: {}", signal_name(signal)),
            (None, Some(0) | None) => "Runtime exited without providing a reason".to_owned(),
            (None, Some(code)) => format!("Runtime exited with error: exit status {code}"),
        },
        Err(error) => format!("Runtime exited with error: {error}"),
    }
}

/// The name of a signal as Lambda shows it, which is Go's.
fn signal_name(signal: i32) -> String {
    match signal {
        1 => "hangup".to_owned(),
        2 => "interrupt".to_owned(),
        3 => "quit".to_owned(),
        4 => "illegal instruction".to_owned(),
        6 => "aborted".to_owned(),
        8 => "floating point exception".to_owned(),
        9 => "killed".to_owned(),
        11 => "segmentation fault".to_owned(),
        13 => "broken pipe".to_owned(),
        15 => "terminated".to_owned(),
        other => format!("signal {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_lambdas_error_types_and_messages() {
        let exited = |raw| InvocationEnd::Exited(Ok(ExitStatus::from_raw(raw)));
        let cases = [
            (exited(9), "Runtime.ExitError", "RequestId: r Error: Runtime exited with error: signal: killed"),
            (
                exited(6),
                "Runtime.ExitError",
                "RequestId: r Error: Runtime exited with error: signal: aborted",
            ),
            (
                exited(1 << 8),
                "Runtime.ExitError",
                "RequestId: r Error: Runtime exited with error: exit status 1",
            ),
            (exited(0), "Runtime.ExitError", "RequestId: r Error: Runtime exited without providing a reason"),
            (
                InvocationEnd::TimedOut(Duration::from_secs(3)),
                "Sandbox.Timedout",
                "RequestId: r Error: Task timed out after 3.00 seconds",
            ),
            (
                InvocationEnd::Answered(Answer::TooLarge),
                "Function.ResponseSizeTooLarge",
                "Response payload size exceeded maximum allowed payload size (6291456 bytes).",
            ),
        ];
        for (end, error_type, message) in cases {
            let invocation = conclude("r", end);
            let payload: serde_json::Value = serde_json::from_slice(&invocation.payload).unwrap();
            assert!(invocation.failed);
            assert_eq!(payload, json!({ "errorType": error_type, "errorMessage": message }));
        }
    }

    #[test]
    fn an_init_error_is_passed_on_unchanged() {
        let init_error = Some(Bytes::from_static(b"{\"errorType\":\"Extension.Boom\"}"));
        let invocation =
            conclude("r", InvocationEnd::NeverTook { status: Ok(ExitStatus::from_raw(0)), init_error });
        assert!(invocation.failed);
        assert_eq!(invocation.payload, b"{\"errorType\":\"Extension.Boom\"}");
    }
}
