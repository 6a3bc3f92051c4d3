//! The end of a process in good order, noticed by SIGTERM, where the task has something to put in order.

use std::{
    future::{Future, pending, ready},
    pin::Pin,
    time::Duration,
};

use http::{Method, Request};
use lambda_runtime_api_client::{BoxError, PooledClient, body::Body};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::Task;

/// How long Lambda is asked to tell this process of its end.
const ASKING_LIMIT: Duration = Duration::from_secs(1);
/// The name under which it is asked.
const NAME: &str = "lamplighter-teardown";

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Gives what is over once this process was told to end, as soon as it will be told. To be awaited before the first event
/// is asked for. Not an `async fn`: its state would have the code for it in it, in every task's binary.
pub(crate) fn told_to_end<T: Task>() -> Boxed<Boxed<()>> {
    if T::TEARS_DOWN { Box::pin(ask_to_be_told()) } else { Box::pin(ready(Box::pin(pending()) as Boxed<()>)) }
}

async fn ask_to_be_told() -> Boxed<()> {
    // Before anybody is asked: without a handler the signal ends the process at once.
    let terminated = signal(SignalKind::terminate());
    // Other hosts send the signal without being asked, and do not know the question.
    match timeout(ASKING_LIMIT, register()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("Lambda will not tell of the process's end: {error}"),
        Err(_) => tracing::debug!("Lambda did not say within {ASKING_LIMIT:?} whether it tells of the end"),
    }
    Box::pin(async move {
        match terminated {
            Ok(mut terminated) => {
                terminated.recv().await;
            }
            Err(error) => {
                tracing::warn!("the process's end will not be noticed: {error}");
                pending::<()>().await;
            }
        }
    })
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
