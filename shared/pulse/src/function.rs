//! The pulse's process: reads the environment and the plan once, then serves events under Lambda.

use std::{path::PathBuf, sync::Arc};

use futures::FutureExt;
use jiff::{Timestamp, tz::TimeZone};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use lamplighter::log;
use lamplighter_aws::{
    clients::Clients,
    functions::Functions,
    jobs::{DeadLetters, Jobs, Waker},
    notify::Notifier,
    objects::Objects,
    process::variable,
    table::Table,
};
use lamplighter_core::{
    notify::Target,
    pulse::{PLAN, Plan, Zones},
    settings::DEFAULT_ENVIRONMENT,
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
        async move { handle(&services.0, services.1.as_ref(), event).await }.boxed()
    }))
    .await
}

async fn start() -> Result<(Pulse, Option<Jobs>), lambda_runtime::Error> {
    let required = |name: &str| {
        variable(name)
            .map_err(|error| error.to_string())
            .and_then(|value| value.ok_or_else(|| format!("{name} is not set")))
    };
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
    let environment = variable("LAMPLIGHTER_ENVIRONMENT")?.unwrap_or_else(|| DEFAULT_ENVIRONMENT.to_owned());
    let table = Table::new(clients.dynamodb().await.clone(), required("LAMPLIGHTER_TABLE")?);
    let table = table.with_environment(&environment);
    let clients = Arc::new(clients);
    // A job's arguments may be another job's result, of any size.
    let job_table = match variable("LAMPLIGHTER_BUCKET")? {
        Some(bucket) => table.clone().with_objects(Objects::new(bucket, clients.config().await)),
        None => table.clone(),
    };
    // The variable is set if the stack has queue tasks.
    let jobs = variable("LAMPLIGHTER_QUEUES")?
        .map(|prefix| Jobs::new(job_table, Waker::queues(prefix, Arc::clone(&clients))));
    let letters = match variable("LAMPLIGHTER_QUEUES")?.filter(|_| notifier.is_some()) {
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
        environment,
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
