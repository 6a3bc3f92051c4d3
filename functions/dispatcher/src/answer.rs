//! The answer, delivered once.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::table::{Table, TableError};
use lamplighter_core::deployment::{Answered, Entry};
use sha2::{Digest, Sha256};

use crate::event::ResponseUrl;

/// The pauses between attempts to deliver an answer.
const PAUSES: [u64; 5] = [200, 1_000, 3_000, 8_000, 15_000];
/// How long another delivery of the same request may take to deliver the answer before this one does.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same, once the answer has arrived at another URL: then it is being sent.
const SHORT_PATIENCE: Duration = Duration::from_millis(400);

/// Why an answer has not arrived. The event must come again.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// It was not accepted, however often it was tried.
    #[error("the answer was not accepted after {attempts} attempts: {cause}")]
    NotAccepted {
        /// How often it was tried.
        attempts: usize,
        /// The last attempt's status or error.
        cause: String,
    },
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Puts a body to a response URL. Only a 2xx is an acceptance.
pub async fn put(http: &reqwest::Client, url: &ResponseUrl, body: &str) -> Result<(), DeliveryError> {
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
        }
    }
    Err(DeliveryError::NotAccepted { attempts: PAUSES.len() + 1, cause })
}

/// Delivers the answer of an entry. `own` says whether this delivery of the request decided it; if another one did, it
/// may just be delivering it, and is given a while. An answer that has arrived at this URL is not sent again; at another
/// URL it is, byte for byte.
pub async fn deliver(
    table: &Table,
    http: &reqwest::Client,
    url: &ResponseUrl,
    entry: &Entry,
    answer: &Answered,
    own: bool,
) -> Result<(), DeliveryError> {
    let digest = digest(url);
    if !own && arrived(table, entry, answer.at, &digest).await? {
        return Ok(());
    }
    put(http, url, &answer.body).await?;
    Ok(table.delivered(entry, &digest).await?)
}

/// Whether the answer arrives at the URL while one is patient: for a while after it was decided, whoever decided it may
/// still be sending it.
async fn arrived(
    table: &Table,
    entry: &Entry,
    decided_at: Timestamp,
    digest: &str,
) -> Result<bool, TableError> {
    loop {
        let ledger = table.ledger(&entry.deployment.ledger, entry.key.request_id()).await?;
        let delivered_to = ledger.own.and_then(|own| own.answer).map(|answer| answer.delivered_to);
        let delivered_to = delivered_to.unwrap_or_default();
        if delivered_to.iter().any(|to| to == digest) {
            return Ok(true);
        }
        let patience = if delivered_to.is_empty() { PATIENCE } else { SHORT_PATIENCE };
        if Timestamp::now().duration_since(decided_at).unsigned_abs() >= patience {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A word that stands for a URL without telling it.
fn digest(url: &ResponseUrl) -> String {
    format!("{:x}", Sha256::digest(url.expose())).chars().take(32).collect()
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}
