//! The receiving end of a custom resource's `ResponseURL`: one unguessable URL an expected answer.

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

/// The largest answer that CloudFormation reads.
const MAX_ANSWER_BYTES: usize = 4096;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// Nobody answered in time.
    #[error("the custom resource was not answered within {} seconds", waited.as_secs_f64())]
    Unanswered {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The machine gave no random bytes for the URL.
    #[error("cannot make an unguessable response url")]
    Random(#[source] getrandom::Error),
}

/// One PUT to a response URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The body as it came, at most 4096 bytes.
    pub body: Vec<u8>,
    /// The content type that was sent. CloudFormation's own URLs want it empty or absent.
    pub content_type: Option<String>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// A server for response URLs, until this is dropped.
#[derive(Debug)]
pub struct Answers {
    expected: Expected,
    server: Loopback,
}

type Expected = Arc<Mutex<HashMap<String, watch::Sender<Vec<Answer>>>>>;

impl Answers {
    /// Serves on a free loopback port. It expects nothing yet.
    pub async fn serve() -> Result<Self, ServeError> {
        let expected = Expected::default();
        let router = Router::new().route("/{token}", put(receive)).with_state(Arc::clone(&expected));
        Ok(Self { expected, server: Loopback::serve(router).await? })
    }

    /// Where all of its URLs are: the endpoint's URL, with its key.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// A new URL that can be answered for as long as the expectation is kept.
    pub fn expect(&self) -> Result<Expectation, AnswersError> {
        let token = random::token().map_err(AnswersError::Random)?;
        let (sender, received) = watch::channel(Vec::new());
        lock(&self.expected).insert(token.clone(), sender);
        let url = format!("{}/{token}", self.endpoint());
        Ok(Expectation { url, token, received, expected: Arc::clone(&self.expected) })
    }
}

/// An answer that is waited for. Its URL is a secret: who holds it can answer.
#[derive(Debug)]
pub struct Expectation {
    /// The `ResponseURL` for the custom resource's event.
    pub url: String,
    token: String,
    received: watch::Receiver<Vec<Answer>>,
    expected: Expected,
}

impl Expectation {
    /// The first answer, waited for if it has not come yet.
    pub async fn answer(&self, timeout: Duration) -> Result<Answer, AnswersError> {
        let mut received = self.received.clone();
        let first = received.wait_for(|answers| !answers.is_empty());
        let answers = tokio::time::timeout(timeout, first).await;
        let first = answers.ok().and_then(Result::ok).and_then(|answers| answers.first().cloned());
        first.ok_or(AnswersError::Unanswered { waited: timeout })
    }

    /// Every answer so far, in the order they came: a dispatcher answers once.
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
