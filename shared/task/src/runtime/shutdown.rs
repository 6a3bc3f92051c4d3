//! The graceful shutdown of a process after SIGTERM or SIGHUP.
//!
//! A run in progress is cancelled, as if on request, and recorded. Once the process is idle it tears down the task's state
//! and exits.

use std::{future::pending, sync::LazyLock, time::Duration};

use http::{Method, Request};
use lambda_runtime_api_client::{BoxError, PooledClient, body::Body};
use lamplighter_aws::process::EndSignals;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::runtime::erased::BoxFuture;

/// The time limit of the registration with Lambda.
const REGISTRATION_LIMIT: Duration = Duration::from_secs(1);
/// The name of the extension that is registered.
const NAME: &str = "lamplighter-teardown";

/// Fires if a signal arrives while a run is in progress. No further run starts after that.
static STOP: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);

/// Returns a token that fires when the process is to stop.
pub(crate) fn stop_requested() -> CancellationToken {
    STOP.child_token()
}

/// Returns whether the process is to stop.
pub(crate) fn is_stop_requested() -> bool {
    STOP.is_cancelled()
}

/// Installs the handler of the shutdown signals. Returns `None` if that fails.
pub(crate) fn signals() -> Option<EndSignals> {
    EndSignals::of_system()
        .inspect_err(|error| {
            tracing::warn!(
                "cannot install the signal handler, so the shutdown will not be graceful: {error}"
            );
        })
        .ok()
}

/// Waits for a signal that arrives while the process is idle, and returns the lock that keeps further runs from starting.
///
/// A signal during a run cancels that run. The process's host waits for the response, and then signals again or kills
/// the process.
pub(crate) async fn wait_until_idle(signals: Option<EndSignals>, turn: &Mutex<()>) -> MutexGuard<'_, ()> {
    let Some(mut signals) = signals else { return pending().await };
    loop {
        signals.next().await;
        if let Ok(turn) = turn.try_lock() {
            return turn;
        }
        STOP.cancel();
    }
}

/// Registers for Lambda's shutdown signal. Await it before the first event is requested.
pub(crate) fn register_for_shutdown() -> BoxFuture<'static, ()> {
    Box::pin(try_to_register())
}

async fn try_to_register() {
    // Other hosts send the signal without a registration, and reject it.
    match timeout(REGISTRATION_LIMIT, register_extension()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("cannot register for Lambda's shutdown signal: {error}"),
        Err(_) => {
            tracing::debug!(
                "the registration for Lambda's shutdown signal timed out after {REGISTRATION_LIMIT:?}"
            );
        }
    }
}

/// Registers this process as an internal extension without events, since Lambda sends SIGTERM only to functions with an
/// extension. The required request for the next event never returns. Source: AWS Lambda Developer Guide, "Using the
/// Lambda Extensions API to create extensions", "Shutdown phase".
async fn register_extension() -> Result<(), BoxError> {
    let client = PooledClient::builder().build();
    let register = Request::builder()
        .method(Method::POST)
        .uri("/2020-01-01/extension/register")
        .header("lambda-extension-name", NAME)
        .header("content-type", "application/json")
        .body(Body::from(r#"{"events":[]}"#))?;
    let registered = client.call(register).await?;
    let Some(id) = registered.headers().get("lambda-extension-identifier").cloned() else {
        return Err(format!("{}: the response has no extension identifier", registered.status()).into());
    };
    let next = Request::builder()
        .uri("/2020-01-01/extension/event/next")
        .header("lambda-extension-identifier", id)
        .body(Body::empty())?;
    tokio::spawn(async move { client.call(next).await.map(drop) });
    Ok(())
}
