//! The Lambda Runtime API of one sandbox, from which its process takes events and to which it sends the answers.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::{Body, Bytes, HttpBody as _, to_bytes},
    extract::{Path, State},
    http::{HeaderMap, HeaderName, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::{
    clock::{Clock, Deadline},
    invocation::{Answer, MAX_PAYLOAD_BYTES, Request},
    log::LineOrigin,
};
use crate::mutex::lock;

/// The state that a sandbox shares with the server of its process.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    function_arn: String,
    timeout: Duration,
    clock: Clock,
    offers: tokio::sync::Mutex<mpsc::Receiver<Offer>>,
    in_flight: Mutex<Option<InFlight>>,
    init_error: Mutex<Option<Bytes>>,
    /// The current or the last invocation, to which printed lines belong.
    pub(crate) current: Arc<Mutex<LineOrigin>>,
}

/// An event for the process to take.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) request: Request,
    /// Receives the deadline once the process has taken the event.
    pub(crate) taken: oneshot::Sender<Deadline>,
    pub(crate) answered: oneshot::Sender<Answer>,
}

#[derive(Debug)]
struct InFlight {
    request_id: String,
    answered: oneshot::Sender<Answer>,
    lines: Option<mpsc::UnboundedSender<Vec<u8>>>,
}

impl RuntimeApi {
    /// Creates the API of a function's sandbox, and the channel for its events.
    pub(crate) fn new(
        function_arn: String,
        timeout: Duration,
        clock: Clock,
    ) -> (Arc<Self>, mpsc::Sender<Offer>) {
        let (sender, offers) = mpsc::channel(1);
        let api = Self {
            function_arn,
            timeout,
            clock,
            offers: tokio::sync::Mutex::new(offers),
            in_flight: Mutex::default(),
            init_error: Mutex::default(),
            current: Arc::default(),
        };
        (Arc::new(api), sender)
    }

    /// The error that the process reported when it failed to initialise.
    pub(crate) fn take_init_error(&self) -> Option<Bytes> {
        lock(&self.init_error).take()
    }
}

/// Serves the API.
pub(crate) fn router(api: Arc<RuntimeApi>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .with_state(api)
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Response {
    let Some(Offer { request, taken, answered }) = api.offers.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    *lock(&api.current) = LineOrigin { request_id: Some(request.id.clone()), label: request.label.clone() };
    *lock(&api.in_flight) =
        Some(InFlight { request_id: request.id.clone(), answered, lines: request.lines.clone() });
    let deadline = Deadline::after(api.timeout, &api.clock);
    let deadline_ms = deadline.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    // It fails only while the host shuts down, which kills this process as well.
    let _ = taken.send(deadline);
    let headers = [
        (HeaderName::from_static("lambda-runtime-trace-id"), trace_id(&request.id)),
        (HeaderName::from_static("lambda-runtime-aws-request-id"), request.id),
        (HeaderName::from_static("lambda-runtime-deadline-ms"), deadline_ms.to_string()),
        (HeaderName::from_static("lambda-runtime-invoked-function-arn"), api.function_arn.clone()),
        (axum::http::header::CONTENT_TYPE, "application/json".to_owned()),
    ];
    (headers, request.payload).into_response()
}

/// A well-formed X-Ray id, different for each invocation.
fn trace_id(request_id: &str) -> String {
    let digits: String = request_id.chars().filter(char::is_ascii_hexdigit).take(24).collect();
    format!("Root=1-00000000-{digits};Sampled=0")
}

async fn response(
    State(api): State<Arc<RuntimeApi>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let lines =
        lock(&api.in_flight).as_ref().filter(|it| it.request_id == id).and_then(|it| it.lines.clone());
    if let Some(lines) = lines.filter(|_| is_streamed(&headers)) {
        return match pass_on_lines(&lines, body).await {
            Ok(rest) => answer_invocation(&api, &id, Answer::Response(rest), StatusCode::ACCEPTED),
            Err(TooLong) => answer_invocation(&api, &id, Answer::TooLarge, StatusCode::PAYLOAD_TOO_LARGE),
        };
    }
    match to_bytes(body, MAX_PAYLOAD_BYTES).await {
        Ok(payload) => answer_invocation(&api, &id, Answer::Response(payload), StatusCode::ACCEPTED),
        Err(_) => answer_invocation(&api, &id, Answer::TooLarge, StatusCode::PAYLOAD_TOO_LARGE),
    }
}

/// A line of an answer was longer than [`MAX_PAYLOAD_BYTES`].
struct TooLong;

/// Returns true for a streamed response.
fn is_streamed(headers: &HeaderMap) -> bool {
    headers.get("lambda-runtime-function-response-mode").is_some_and(|mode| mode == "streaming")
}

/// Passes on the lines of a streamed response as they arrive, and returns the rest behind the last one. A response that breaks off
/// only has fewer lines.
async fn pass_on_lines(lines: &mpsc::UnboundedSender<Vec<u8>>, mut body: Body) -> Result<Bytes, TooLong> {
    let mut text = Vec::new();
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.into_data() else { continue };
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            text.extend_from_slice(piece);
            if text.len() > MAX_PAYLOAD_BYTES {
                return Err(TooLong);
            }
            if text.pop_if(|last| *last == b'\n').is_some() {
                // A streamed response begins with a prelude that ends with up to eight zero bytes.
                let begins = text.iter().rposition(|byte| *byte == 0).map_or(0, |at| at + 1);
                // It fails if the receiver has ended.
                let _ = lines.send(text.split_off(begins));
                text.clear();
            }
        }
    }
    Ok(text.into())
}

async fn error(State(api): State<Arc<RuntimeApi>>, Path(id): Path<String>, body: Body) -> Response {
    match to_bytes(body, MAX_PAYLOAD_BYTES).await {
        Ok(payload) => answer_invocation(&api, &id, Answer::Error(payload), StatusCode::ACCEPTED),
        Err(_) => answer_invocation(&api, &id, Answer::TooLarge, StatusCode::PAYLOAD_TOO_LARGE),
    }
}

/// Passes an answer on to the invocation, if it is in progress.
fn answer_invocation(api: &RuntimeApi, request_id: &str, answer: Answer, status: StatusCode) -> Response {
    let Some(in_flight) = lock(&api.in_flight).take_if(|it| it.request_id == request_id) else {
        let message = format!("invocation {request_id} is not in progress");
        let body = json!({ "errorType": "InvalidRequestID", "errorMessage": message });
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    };
    let _ = in_flight.answered.send(answer);
    (status, Json(json!({ "status": "OK" }))).into_response()
}

async fn init_error(State(api): State<Arc<RuntimeApi>>, body: Body) -> Response {
    let Ok(payload) = to_bytes(body, MAX_PAYLOAD_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    *lock(&api.init_error) = Some(payload);
    (StatusCode::ACCEPTED, Json(json!({ "status": "OK" }))).into_response()
}
