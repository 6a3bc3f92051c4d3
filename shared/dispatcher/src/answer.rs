//! The answer, delivered once.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::table::{RequestKey, Table, TableError};
use lamplighter_core::deployment::{Answered, EntryKey};
use sha2::{Digest, Sha256};

use crate::event::ResponseUrl;

/// The pauses between attempts to deliver an answer.
const PAUSES: [u64; 5] = [200, 1_000, 3_000, 8_000, 15_000];
/// How long an attempt may take.
pub const ATTEMPT: Duration = Duration::from_secs(20);
/// How long another delivery of the same request may take to deliver the answer before this one does: an attempt, and the
/// note of its end.
const PATIENCE: Duration = Duration::from_secs(22);

/// The answer was not accepted, however often it was tried. The event must come again.
#[derive(Debug, thiserror::Error)]
#[error("the answer was not accepted after {attempts} attempts: {cause}")]
pub struct NotAccepted {
    /// How often it was tried.
    pub attempts: usize,
    /// The last attempt's status or error.
    pub cause: String,
}

/// Where the answer of a request is kept.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The table.
    pub table: &'a Table,
    /// The request.
    pub request: RequestKey<'a>,
    /// Its entry, if it has one.
    pub entry: Option<&'a EntryKey>,
}

/// The client that delivers answers. It follows no redirect: only the signed URL itself is CloudFormation's, and nobody
/// else may learn of it.
pub fn client() -> reqwest::Result<reqwest::Client> {
    let builder = reqwest::Client::builder().timeout(ATTEMPT).referer(false);
    builder.redirect(reqwest::redirect::Policy::none()).build()
}

/// Puts a body to a response URL. Only a 2xx is an acceptance. Each further attempt is noted at `place`, if there is one.
pub async fn put(
    http: &reqwest::Client,
    url: &ResponseUrl,
    body: &str,
    place: Option<Place<'_>>,
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
            if let Some(Place { table, request, entry }) = place {
                note(request, table.sending(request, entry, Timestamp::now()).await);
            }
        }
    }
    Err(NotAccepted { attempts: PAUSES.len() + 1, cause })
}

/// Delivers the answer of a request. `own` says whether this delivery of the request decided it, and so sends it to this
/// URL. If another one sends it there, that one is given the time of an attempt. An answer that has arrived at this URL is
/// not sent again; at another URL it is, byte for byte.
///
/// Once the answer is accepted, the request is over: a table that cannot note that costs a warning.
pub async fn deliver(
    place: Place<'_>,
    http: &reqwest::Client,
    url: &ResponseUrl,
    answer: &Answered,
    own: bool,
) -> Result<(), NotAccepted> {
    let Place { table, request, entry } = place;
    let digest = digest(url);
    if !own {
        match table.claim_sending(request, entry, &digest, Timestamp::now()).await {
            Ok(false) if arrived(place, answer, &digest).await => return Ok(()),
            // It falls to this delivery, or the one that sent it has not succeeded.
            Ok(_) => {}
            Err(error) => tracing::warn!(request_id = request.id, "sending the answer all the same: {error}"),
        }
    }
    put(http, url, &answer.body, Some(place)).await?;
    note(request, table.delivered(request, entry, &digest).await);
    Ok(())
}

fn note(request: RequestKey<'_>, noted: Result<(), TableError>) {
    if let Err(error) = noted {
        tracing::warn!(request_id = request.id, "the ledger does not note the delivery: {error}");
    }
}

/// Whether the answer arrives at the URL while another delivery may still be sending it. A table that cannot say counts as
/// no.
async fn arrived(place: Place<'_>, decided: &Answered, digest: &str) -> bool {
    let Place { table, request, entry } = place;
    loop {
        let answer = match table.answered(request, entry).await {
            Ok(answer) => answer.unwrap_or_else(|| decided.clone()),
            Err(error) => {
                tracing::warn!(request_id = request.id, "sending the answer once more: {error}");
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

/// A word by which a URL is known again, and which does not tell it.
pub fn digest(url: &ResponseUrl) -> String {
    format!("{:x}", Sha256::digest(url.expose())).chars().take(32).collect()
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}
