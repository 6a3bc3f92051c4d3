//! The pulse's process: reads the environment and the plan once, then serves events under Lambda.

use std::{path::PathBuf, sync::Arc};

use futures::FutureExt;
use jiff::{Timestamp, tz::TimeZone};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use lamplighter::log;
use lamplighter_aws::{
    clients::Clients,
    environment::{StackVariables, required, variable},
    functions::Functions,
    jobs::{DeadLetters, Jobs},
    notify::Notifier,
};
use lamplighter_core::{
    notification::Target,
    pulse::{PLAN, Plan, Zones},
};
use serde_json::Value;
use tracing::level_filters::LevelFilter;

use crate::{event::Event, notify, run::run, services::Pulse};

/// Serves the events that Lambda delivers, until Lambda stops the process. Called by [`main!`](crate::main).
///
/// Fails if a variable that the function needs is missing or has an invalid value.
#[tokio::main]
pub async fn main() -> Result<(), lambda_runtime::Error> {
    log::start(LevelFilter::INFO, log::Output::Stdout);
    let services = Arc::new(start().await?);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let services = Arc::clone(&services);
        // Boxed, since the compiler limits the depth of nested futures.
        async move { Box::pin(handle(&services.0, services.1.as_ref(), event)).await }.boxed()
    }))
    .await
}

async fn start() -> Result<(Pulse, Option<Jobs>), lambda_runtime::Error> {
    let variables = StackVariables::read()?;
    let file = PathBuf::from(variable("LAMBDA_TASK_ROOT")?.unwrap_or_default()).join(PLAN);
    let failed = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", file.display());
    let text = std::fs::read_to_string(&file).map_err(|error| failed(&error))?;
    let plan: Plan = serde_json::from_str(&text).map_err(|error| failed(&error))?;
    let plan = match variable("LAMPLIGHTER_SCHEDULER")?.as_deref() {
        None | Some("eventbridge") => plan,
        Some("pulse") => plan.without_schedules(),
        Some(other) => {
            let text = format!("LAMPLIGHTER_SCHEDULER is `{other}`; expected eventbridge or pulse");
            return Err(text.into());
        }
    };
    let names = plan.tasks().iter().filter_map(|task| Some(task.cron()?.timezone.clone()));
    // An unknown zone is left out, and reported with each task that uses it.
    let zones: Zones = names.filter_map(|name| Some((name.clone(), TimeZone::get(&name).ok()?))).collect();
    let clients = Clients::default();
    let notifier = match variable("LAMPLIGHTER_NOTIFY")? {
        None => None,
        Some(text) => {
            // The error leaves the value out, since a webhook's URL may be a secret.
            let target = Target::unpacked(&text, variable("LAMPLIGHTER_NOTIFY_VALUE")?).map_err(
                |_| "LAMPLIGHTER_NOTIFY is invalid; expected JSON, e.g. `{\"topic\": \"arn:..\"}`",
            )?;
            Some(Notifier::new(target, clients.config().await)?)
        }
    };
    let clients = Arc::new(clients);
    // The table has the bucket, since a job's arguments may be another job's result, of any size.
    let table = variables.table(&clients).await?;
    // The variable is set if the stack has queue tasks.
    let has_queues = variables.queues.is_some();
    let jobs = has_queues.then(|| Jobs::new(table.clone(), variables.waker(&clients)));
    let letters = match variables.queues.filter(|_| notifier.is_some()) {
        Some(prefix) => Some(DeadLetters::new(clients.config().await, prefix)),
        None => None,
    };
    let pulse = Pulse {
        table,
        functions: Functions::new(clients.config().await),
        notifier,
        plan,
        zones,
        stack: required("LAMPLIGHTER_STACK")?,
        environment: variables.environment,
        letters,
        posted: Arc::default(),
    };
    Ok((pulse, jobs))
}

async fn handle(pulse: &Pulse, jobs: Option<&Jobs>, event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    let deadline =
        i64::try_from(event.context.deadline).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let failed = |kind: &str, error: &dyn std::error::Error| {
        tracing::error!("{error}");
        Diagnostic { error_type: kind.to_owned(), error_message: error.to_string() }
    };
    match Event::parse(event.payload).map_err(|error| failed("Event", &error))? {
        Event::Pulse(request) => {
            let report = run(pulse, jobs, &request, deadline.unwrap_or(Timestamp::MAX)).await;
            let report = report.map_err(|error| failed("Pulse", &error))?;
            serde_json::to_value(report).map_err(|error| failed("Report", &error))
        }
        Event::Failed(record) => {
            // The notification is stored; a later pulse delivers it if this one cannot.
            notify::failed(pulse, &record).await.map_err(|error| failed("Notify", &error))?;
            if let Err(error) = notify::deliver(pulse, deadline.unwrap_or(Timestamp::MAX)).await {
                tracing::error!("{error}");
            }
            Ok(Value::Null)
        }
    }
}
