//! An SQS server for wake-ups: it keeps the messages that it receives, and fails on request.

use std::sync::{Arc, Mutex};

use aws_sdk_sqs::Client;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use lamplighter_aws::{
    clients::local_config,
    jobs::{Jobs, Sqs, Waker},
    table::Table,
};
use serde_json::{Value, json};

use crate::server::serve;

/// The common prefix of the queues' URLs.
pub const PREFIX: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/shop-";

pub struct Queues {
    pub url: String,
    state: Arc<Mutex<ServerState>>,
}

#[derive(Default)]
struct ServerState {
    messages: Vec<Message>,
    requests: usize,
    is_down: bool,
    /// The tasks that have no queue.
    missing: Vec<String>,
    /// The number of messages in each task's dead-letter queue.
    dead: usize,
    /// The number of requests for that number.
    counts: usize,
}

/// A message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub task: String,
    pub run_id: String,
    pub delay_s: u64,
}

impl Queues {
    pub async fn new() -> Self {
        let state: Arc<Mutex<ServerState>> = Arc::default();
        let router = Router::new().route("/", post(take)).with_state(Arc::clone(&state));
        Self { url: serve(router).await, state }
    }

    /// Takes the messages sent since the last call.
    pub fn sent(&self) -> Vec<Message> {
        std::mem::take(&mut self.state.lock().unwrap().messages)
    }

    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().requests
    }

    /// Sets the number of messages in each dead-letter queue.
    pub fn set_dead(&self, count: usize) {
        self.state.lock().unwrap().dead = count;
    }

    /// The number of times that a dead-letter queue's messages were counted.
    pub fn counts(&self) -> usize {
        self.state.lock().unwrap().counts
    }

    pub fn down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    pub fn delete(&self, task: &str) {
        self.state.lock().unwrap().missing.push(task.to_owned());
    }

    /// The jobs of a table, with wake-ups sent to these queues.
    pub fn jobs(&self, table: &Table) -> Jobs {
        let sqs = Sqs::from(Client::new(&local_config(&self.url)));
        Jobs::new(table.clone(), Waker::Queues { prefix: PREFIX.to_owned(), sqs })
    }
}

/// `SendMessageBatch`, and `GetQueueAttributes` of dead-letter queues. Source: Amazon SQS API Reference.
async fn take(State(state): State<Arc<Mutex<ServerState>>>, headers: HeaderMap, request: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&request).unwrap();
    let mut state = state.lock().unwrap();
    if headers["x-amz-target"] == "AmazonSQS.GetQueueAttributes" {
        assert!(request["QueueUrl"].as_str().unwrap().ends_with("-dead"), "{request}");
        state.counts += 1;
        let body = json!({ "Attributes": { "ApproximateNumberOfMessages": state.dead.to_string() } });
        return (StatusCode::OK, [("content-type", "application/x-amz-json-1.0")], body.to_string())
            .into_response();
    }
    assert_eq!(headers["x-amz-target"], "AmazonSQS.SendMessageBatch");
    state.requests += 1;
    let refusal = |status, kind: &str| {
        let body = json!({ "__type": format!("com.amazonaws.sqs#{kind}"), "message": "no" });
        (status, [("content-type", "application/x-amz-json-1.0")], body.to_string()).into_response()
    };
    if state.is_down {
        return refusal(StatusCode::FORBIDDEN, "AccessDenied");
    }
    let task = request["QueueUrl"].as_str().unwrap().strip_prefix(PREFIX).unwrap().to_owned();
    if state.missing.contains(&task) {
        return refusal(StatusCode::BAD_REQUEST, "QueueDoesNotExist");
    }
    let entries = request["Entries"].as_array().unwrap();
    assert!((1..=10).contains(&entries.len()));
    let mut taken = Vec::new();
    for entry in entries {
        let body: Value = serde_json::from_str(entry["MessageBody"].as_str().unwrap()).unwrap();
        assert_eq!(body["task"], task);
        let delay_s = entry["DelaySeconds"].as_u64().unwrap();
        assert!(delay_s <= 900, "SQS refuses more");
        let run_id = body["run_id"].as_str().unwrap().to_owned();
        state.messages.push(Message { task: task.clone(), run_id, delay_s });
        taken.push(json!({ "Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "d" }));
    }
    let body = json!({ "Successful": taken, "Failed": [] }).to_string();
    (StatusCode::OK, [("content-type", "application/x-amz-json-1.0")], body).into_response()
}
