//! The dispatcher's process: reads the environment once, then serves CloudFormation's events under Lambda.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use futures::FutureExt;
use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use lamplighter::{log, random};
use lamplighter_aws::{
    clients::Clients,
    environment::{TABLE, open_table, required, variable},
    functions::Functions,
    stacks::Stacks,
};
use lamplighter_core::{definition::Definition, deployed::DEFINITIONS};
use serde_json::{Value, json, value::RawValue};
use tracing::level_filters::LevelFilter;

use crate::{dispatch::dispatch, services::Dispatcher};

/// The longest retention among the stack's tasks, in days.
const RETENTION_DAYS: &str = "LAMPLIGHTER_RETENTION_DAYS";

/// Serves the events that Lambda delivers, until Lambda stops the process. Called by [`main!`](crate::main).
///
/// Fails if a variable that the function needs is missing or has an invalid value.
#[tokio::main]
pub async fn main() -> Result<(), lambda_runtime::Error> {
    log::start(LevelFilter::INFO, log::Output::Stdout);
    let days: u32 = match variable(RETENTION_DAYS)? {
        Some(days) => {
            days.parse().map_err(|_| format!("{RETENTION_DAYS} is `{days}`; expected a number of days"))?
        }
        None => 0,
    };
    // The ledger keeps its entries for at least 400 days in any case.
    let retention = Duration::from_secs(u64::from(days) * 24 * 3600);
    let clients = Clients::default();
    let dispatcher = Arc::new(Dispatcher {
        // Each request names its environment.
        table: open_table(&clients, &required(TABLE)?, None).await.with_retention(retention),
        functions: Functions::new(clients.config().await),
        stacks: Stacks::new(clients.config().await),
        http: crate::answer::client()?,
        local: variable("LAMPLIGHTER_ANSWER_ENDPOINT")?,
        definitions: definitions()?,
        own_function: required("AWS_LAMBDA_FUNCTION_NAME")?,
        random,
    });
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let dispatcher = Arc::clone(&dispatcher);
        // Boxed, since the compiler limits the depth of nested futures.
        async move { handle(&dispatcher, event).await }.boxed()
    }))
    .await
}

/// Reads the definitions of the tasks from the function's package.
fn definitions() -> Result<Option<Vec<Definition>>, lambda_runtime::Error> {
    let file = PathBuf::from(variable("LAMBDA_TASK_ROOT")?.unwrap_or_default()).join(DEFINITIONS);
    match fs::read(&file) {
        Ok(text) => {
            let read = serde_json::from_slice(&text);
            Ok(Some(read.map_err(|error| format!("{} cannot be read: {error}", file.display()))?))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} cannot be read: {error}", file.display()).into()),
    }
}

async fn handle(dispatcher: &Dispatcher, event: LambdaEvent<Box<RawValue>>) -> Result<Value, Diagnostic> {
    let deadline =
        i64::try_from(event.context.deadline).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    match dispatch(dispatcher, event.payload.get(), deadline.unwrap_or(Timestamp::MAX)).await {
        Ok(outcome) => Ok(json!(format!("{outcome:?}"))),
        Err(error) => {
            tracing::error!("{error}");
            Err(Diagnostic { error_type: "Dispatch".to_owned(), error_message: error.to_string() })
        }
    }
}
