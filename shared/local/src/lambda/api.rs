//! The Invoke API over HTTP, for AWS SDKs.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, State},
    http::{HeaderMap, HeaderName, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;

use super::{
    invocation::Invocation,
    invoker::{Invoker, LambdaError},
};

/// The largest body that is read. It is above the limits for payloads, so that a client whose payload is too large can read the
/// error.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");

/// Serves the functions of an invoker.
pub(crate) fn router(invoker: Arc<Invoker>) -> Router {
    Router::new()
        .route("/2015-03-31/functions/{name}/invocations", post(invoke))
        .route("/2015-03-31/functions/{name}/configuration", get(configuration))
        .with_state(invoker)
}

async fn invoke(
    State(invoker): State<Arc<Invoker>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(payload) = to_bytes(body, MAX_BODY_BYTES).await else {
        return too_large(MAX_BODY_BYTES);
    };
    let kind =
        headers.get("x-amz-invocation-type").and_then(|it| it.to_str().ok()).unwrap_or("RequestResponse");
    let answer = match kind {
        "RequestResponse" => invoker.invoke(&name, payload, None).await.map(synchronous),
        "Event" => invoker.invoke_event(&name, payload).map(accepted),
        "DryRun" => invoker.function(&name).map(|_| StatusCode::NO_CONTENT.into_response()),
        other => {
            let message = format!("Unknown invocation type: {other}");
            return refusal(StatusCode::BAD_REQUEST, "InvalidParameterValueException", &message);
        }
    };
    answer.unwrap_or_else(|error| refused(&error))
}

fn synchronous(invocation: Invocation) -> Response {
    let headers = [(REQUEST_ID, invocation.request_id), (EXECUTED_VERSION, "$LATEST".to_owned())];
    let failed = invocation.failed.then_some([(FUNCTION_ERROR, "Unhandled")]);
    (headers, failed.map(axum::response::AppendHeaders), Bytes::from(invocation.payload)).into_response()
}

fn accepted(request_id: String) -> Response {
    (StatusCode::ACCEPTED, [(REQUEST_ID, request_id)]).into_response()
}

async fn configuration(State(invoker): State<Arc<Invoker>>, Path(name): Path<String>) -> Response {
    let function = match invoker.function(&name) {
        Ok(function) => function,
        Err(error) => return refused(&error),
    };
    let spec = &function.spec;
    let code_sha256 = match function.code_sha256().await {
        Ok(code_sha256) => code_sha256,
        Err(error) => {
            let message = format!("cannot read the code of {}: {error}", spec.name);
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, "ServiceException", &message);
        }
    };
    Json(json!({
        "FunctionName": spec.name,
        "FunctionArn": spec.arn(),
        "Runtime": "provided.al2023",
        "Handler": "bootstrap",
        "PackageType": "Zip",
        "Version": "$LATEST",
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "CodeSha256": code_sha256,
        "Timeout": spec.timeout.as_secs().max(1),
        "MemorySize": spec.memory_mb,
        "Environment": { "Variables": spec.environment },
    }))
    .into_response()
}

fn refused(error: &LambdaError) -> Response {
    match error {
        LambdaError::UnknownFunction { name } => {
            let message = format!("Function not found: {}", super::spec::arn(name));
            refusal(StatusCode::NOT_FOUND, "ResourceNotFoundException", &message)
        }
        LambdaError::PayloadTooLarge { limit, .. } => too_large(*limit),
        LambdaError::PayloadNotJson { source, .. } => {
            let message = format!("Could not parse request body into json: {source}");
            refusal(StatusCode::BAD_REQUEST, "InvalidRequestContentException", &message)
        }
        LambdaError::Serve(_) | LambdaError::Watchdog(_) | LambdaError::ShutDown | LambdaError::Random(_) => {
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "ServiceException", &error.to_string())
        }
    }
}

fn too_large(limit: usize) -> Response {
    let message = format!("Request must be smaller than {limit} bytes for the InvokeFunction operation");
    refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", &message)
}

fn refusal(status: StatusCode, error_type: &str, message: &str) -> Response {
    let kind = if status.is_server_error() { "Service" } else { "User" };
    (status, [(ERROR_TYPE, error_type)], Json(json!({ "Type": kind, "Message": message }))).into_response()
}
