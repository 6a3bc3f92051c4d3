//! The end of a process in good order, noticed by SIGTERM or SIGHUP.
//!
//! A run in progress is asked to end, as if a person had asked, and is recorded. Once the process is idle it puts in order
//! what its task has to, and goes.

use std::{
    future::{Future, pending, ready},
    pin::Pin,
    sync::LazyLock,
    time::Duration,
};

use http::{Method, Request};
use lambda_runtime_api_client::{BoxError, PooledClient, body::Body};
use lamplighter_aws::process::EndSignals;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::Task;

/// How long Lambda is asked to tell this process of its end.
const ASKING_LIMIT: Duration = Duration::from_secs(1);
/// The name under which it is asked.
const NAME: &str = "lamplighter-teardown";

/// Fires when the process is told to end while a run is in progress. It has no further run then.
static STOP: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);

/// A token that fires when the process is told to end.
pub(crate) fn asked() -> CancellationToken {
    STOP.child_token()
}

/// Whether the process was told to end.
pub(crate) fn is_asked() -> bool {
    STOP.is_cancelled()
}

/// The signals by which the process is told to end; nothing if they cannot be noticed.
pub(crate) fn signals() -> Option<EndSignals> {
    EndSignals::of_system()
        .inspect_err(|error| tracing::warn!("the process's end will not be noticed: {error}"))
        .ok()
}

/// Returns when the process is told to end and is idle, with the turn of those that would run. A run in progress is asked
/// to end; whoever runs the process waits for its answer, and then tells it again or kills it.
pub(crate) async fn told_when_idle(signals: Option<EndSignals>, turn: &Mutex<()>) -> MutexGuard<'_, ()> {
    let Some(mut signals) = signals else { return pending().await };
    loop {
        signals.next().await;
        if let Ok(turn) = turn.try_lock() {
            return turn;
        }
        STOP.cancel();
    }
}

/// Asks to be told of this process's end, where its task has something to put in order. To be awaited before the first
/// event is asked for. Not an `async fn`: its state would have the code for it in it, in every task's binary.
pub(crate) fn ask_to_be_told<T: Task>() -> Pin<Box<dyn Future<Output = ()> + Send>> {
    if T::TEARS_DOWN { Box::pin(ask()) } else { Box::pin(ready(())) }
}

async fn ask() {
    // Other hosts send the signal without being asked, and do not know the question.
    match timeout(ASKING_LIMIT, register()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("Lambda will not tell of the process's end: {error}"),
        Err(_) => tracing::debug!("Lambda did not say within {ASKING_LIMIT:?} whether it tells of the end"),
    }
}

/// Lambda sends SIGTERM only where an extension is registered, so this process is one as well, which wants no events. It
/// asks for the next one as it must, and never gets any. Source: AWS Lambda Developer Guide, "Using the Lambda Extensions
/// API to create extensions", "Shutdown phase".
async fn register() -> Result<(), BoxError> {
    let client = PooledClient::builder().build();
    let register = Request::builder()
        .method(Method::POST)
        .uri("/2020-01-01/extension/register")
        .header("lambda-extension-name", NAME)
        .header("content-type", "application/json")
        .body(Body::from(r#"{"events":[]}"#))?;
    let registered = client.call(register).await?;
    let Some(id) = registered.headers().get("lambda-extension-identifier").cloned() else {
        return Err(format!("{} without an identifier", registered.status()).into());
    };
    let next = Request::builder()
        .uri("/2020-01-01/extension/event/next")
        .header("lambda-extension-identifier", id)
        .body(Body::empty())?;
    tokio::spawn(async move { client.call(next).await.map(drop) });
    Ok(())
}
