//! Delivery of an answer to its response URL, once.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::table::{RequestKey, Table, TableError};
use lamplighter_core::{
    deployment::{Answered, EntryKey},
    digest::short_digest,
};

use crate::event::ResponseUrl;

/// The pauses between attempts to send an answer, in milliseconds.
const PAUSES: [u64; 5] = [200, 1_000, 3_000, 8_000, 15_000];
/// The timeout of one attempt.
pub const ATTEMPT: Duration = Duration::from_secs(20);
/// The time that another delivery of the same request has to send the answer before this one sends it. Covers one attempt
/// and the write that records it.
const PATIENCE: Duration = Duration::from_secs(22);

/// The answer was not accepted by the response URL. Lambda must deliver the event again.
#[derive(Debug, thiserror::Error)]
#[error("the answer was not accepted after {attempts} attempts: {cause}")]
pub struct NotAccepted {
    /// The number of attempts.
    pub attempts: usize,
    /// The status or error of the last attempt.
    pub cause: String,
}

/// Identifies the stored answer of a request.
#[derive(Clone, Copy, Debug)]
pub struct StoredAnswer<'a> {
    /// The table.
    pub table: &'a Table,
    /// The request.
    pub request: RequestKey<'a>,
    /// The request's entry, if it has one.
    pub entry: Option<&'a EntryKey>,
}

/// Creates the HTTP client that sends answers. It follows no redirect, since only the signed URL itself belongs to
/// CloudFormation and no other server may learn it.
pub fn client() -> reqwest::Result<reqwest::Client> {
    let builder = reqwest::Client::builder().timeout(ATTEMPT).referer(false);
    builder.redirect(reqwest::redirect::Policy::none()).build()
}

/// Sends a body to a response URL. Only a status 2xx counts as accepted. Each further attempt is recorded at `stored`, if
/// given.
pub async fn put(
    http: &reqwest::Client,
    url: &ResponseUrl,
    body: &str,
    stored: Option<StoredAnswer<'_>>,
) -> Result<(), NotAccepted> {
    let mut cause = String::new();
    for pause in PAUSES.map(Duration::from_millis).into_iter().map(Some).chain([None]) {
        // The URL is signed for an empty content type.
        let request = http.put(url.expose()).header("content-type", "").body(body.to_owned());
        cause = match request.send().await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => response.status().to_string(),
            Err(error) => chain(&error.without_url()),
        };
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
            if let Some(StoredAnswer { table, request, entry }) = stored {
                warn_unrecorded(request, table.sending(request, entry, Timestamp::now()).await);
            }
        }
    }
    Err(NotAccepted { attempts: PAUSES.len() + 1, cause })
}

/// Sends the answer of a request to its response URL.
///
/// `own` is true if this delivery of the request decided the answer. Otherwise another delivery may be sending it, and
/// this one first waits for the time of one attempt. An answer that has arrived at this URL is not sent again. At another
/// URL it is sent with the same bytes.
///
/// An accepted answer ends the request. If the table cannot record that, it is only a warning.
pub async fn deliver(
    stored: StoredAnswer<'_>,
    http: &reqwest::Client,
    url: &ResponseUrl,
    answer: &Answered,
    own: bool,
) -> Result<(), NotAccepted> {
    let StoredAnswer { table, request, entry } = stored;
    let digest = digest(url);
    if !own {
        match table.claim_sending(request, entry, &digest, Timestamp::now()).await {
            Ok(false) if arrived(stored, answer, &digest).await => return Ok(()),
            // No other delivery is sending it, or the other one has not succeeded.
            Ok(_) => {}
            Err(error) => tracing::warn!(
                request_id = request.id,
                "cannot read if the answer was sent; sending it: {error}"
            ),
        }
    }
    put(http, url, &answer.body, Some(stored)).await?;
    warn_unrecorded(request, table.delivered(request, entry, &digest).await);
    Ok(())
}

fn warn_unrecorded(request: RequestKey<'_>, written: Result<(), TableError>) {
    if let Err(error) = written {
        tracing::warn!(
            request_id = request.id,
            "cannot record in the ledger that the answer was sent: {error}"
        );
    }
}

/// Waits for another delivery to send the answer. Returns true once it has arrived at the URL. Returns false after
/// [`PATIENCE`], or if the table fails.
async fn arrived(stored: StoredAnswer<'_>, decided: &Answered, digest: &str) -> bool {
    let StoredAnswer { table, request, entry } = stored;
    loop {
        let answer = match table.answered(request, entry).await {
            Ok(answer) => answer.unwrap_or_else(|| decided.clone()),
            Err(error) => {
                tracing::warn!(
                    request_id = request.id,
                    "cannot read if the answer has arrived; sending it again: {error}"
                );
                return false;
            }
        };
        if answer.delivered_to.iter().any(|to| to == digest) {
            return true;
        }
        let since = answer.sent_at.unwrap_or(answer.at).max(answer.at);
        if Timestamp::now().duration_since(since).unsigned_abs() >= PATIENCE {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Returns a digest that identifies a URL without revealing it.
pub fn digest(url: &ResponseUrl) -> String {
    short_digest(url.expose())
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}
