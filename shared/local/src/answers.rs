//! The server of a custom resource's `ResponseURL`, with one unguessable URL for each expected answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    routing::put,
};
use tokio::sync::watch;

use crate::{
    loopback::{Loopback, ServeError},
    mutex::lock,
    random,
};

/// The largest answer that CloudFormation reads, in bytes.
const MAX_ANSWER_BYTES: usize = 4096;

/// An error of an expected answer.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// No answer came in time.
    #[error("the custom resource got no answer within {} seconds", waited.as_secs_f64())]
    Unanswered {
        /// The time for the answer.
        waited: Duration,
    },
    /// The system returned no random bytes for the URL.
    #[error("cannot create an unguessable response URL")]
    Random(#[source] getrandom::Error),
}

/// A PUT request to a response URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The body, unchanged, of at most 4096 bytes.
    pub body: Vec<u8>,
    /// The content type of the request. CloudFormation's own URLs require it to be empty or absent.
    pub content_type: Option<String>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// Serves response URLs until it is dropped.
#[derive(Debug)]
pub struct Answers {
    expected: Expected,
    server: Loopback,
}

type Expected = Arc<Mutex<HashMap<String, watch::Sender<Vec<Answer>>>>>;

impl Answers {
    /// Serves on a free loopback port, without any expected answers yet.
    pub async fn serve() -> Result<Self, ServeError> {
        let expected = Expected::default();
        let router = Router::new().route("/{token}", put(receive)).with_state(Arc::clone(&expected));
        Ok(Self { expected, server: Loopback::serve(router).await? })
    }

    /// The common prefix of its URLs: the endpoint's URL, with its key.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Creates a URL that accepts answers until the expectation is dropped.
    pub fn expect(&self) -> Result<Expectation, AnswersError> {
        let token = random::token().map_err(AnswersError::Random)?;
        let (sender, received) = watch::channel(Vec::new());
        lock(&self.expected).insert(token.clone(), sender);
        let url = format!("{}/{token}", self.endpoint());
        Ok(Expectation { url, token, received, expected: Arc::clone(&self.expected) })
    }
}

/// An expected answer. Its URL is a secret: any program that has it can answer.
#[derive(Debug)]
pub struct Expectation {
    /// The `ResponseURL` for the custom resource's event.
    pub url: String,
    token: String,
    received: watch::Receiver<Vec<Answer>>,
    expected: Expected,
}

impl Expectation {
    /// Waits for the first answer, for at most `timeout`.
    pub async fn answer(&self, timeout: Duration) -> Result<Answer, AnswersError> {
        let mut received = self.received.clone();
        let first = received.wait_for(|answers| !answers.is_empty());
        let answers = tokio::time::timeout(timeout, first).await;
        let first = answers.ok().and_then(Result::ok).and_then(|answers| answers.first().cloned());
        first.ok_or(AnswersError::Unanswered { waited: timeout })
    }

    /// All answers so far, in order of arrival. A dispatcher answers once.
    pub fn received(&self) -> Vec<Answer> {
        self.received.borrow().clone()
    }
}

impl Drop for Expectation {
    fn drop(&mut self) {
        lock(&self.expected).remove(&self.token);
    }
}

async fn receive(
    State(expected): State<Expected>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> StatusCode {
    let Ok(body) = to_bytes(body, MAX_ANSWER_BYTES).await else { return StatusCode::BAD_REQUEST };
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).map(str::to_owned);
    match lock(&expected).get(&token) {
        Some(answers) => {
            answers.send_modify(|all| all.push(Answer { body: body.to_vec(), content_type }));
            StatusCode::OK
        }
        None => StatusCode::NOT_FOUND,
    }
}
