//! The DynamoDB API of an engine over HTTP, for other processes.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::store::LockedStore;

/// The prefix of a request's target, before its operation.
const TARGET: &str = "DynamoDB_20120810.";
/// The prefix of a target of the streams API.
const STREAMS: &str = "DynamoDBStreams_20120810.";
/// DynamoDB's limit for the size of a request, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// Serves an engine.
pub(crate) fn router(open: Arc<LockedStore>) -> Router {
    // The health check of DynamoDB's own endpoints.
    let healthy = async || "healthy: dynamodb.us-east-1.amazonaws.com ";
    Router::new().route("/", get(healthy).post(answer)).layer(DefaultBodyLimit::max(LONGEST)).with_state(open)
}

/// The operation in a request's target; empty if the target is not one of DynamoDB.
pub(crate) fn operation_of(target: &str) -> &str {
    target.strip_prefix(TARGET).or_else(|| target.strip_prefix(STREAMS)).unwrap_or_default()
}

async fn answer(State(open): State<Arc<LockedStore>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let (status, body) = open.store.answer(operation_of(target), &body);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(CONTENT_TYPE, "application/x-amz-json-1.0")], body).into_response()
}
