//! The environment of a task's process: clients, runtime, table, bucket and settings.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lamplighter_aws::{
    clients::Clients,
    jobs::{Jobs, RunnerAddress, Waker},
    objects::Objects,
    table::Table,
};
use lamplighter_core::{
    definition::Definition,
    hidden,
    resolve::{self, SECRET_VARIABLE},
    run::{ErrorKind, RunError},
    secret::Secrets,
    settings::Settings,
};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::runtime::{assets, http::Http};

/// The time before the process's end that is reserved for the record.
pub(crate) const RESERVE: Duration = Duration::from_millis(1500);

/// The part of [`RESERVE`] that is reserved for the record itself, after its large values are stored.
pub(crate) const RECORDING: Duration = Duration::from_millis(500);

/// The environment of a process: everything that [`execute`](crate::execute()) needs beside the task.
pub struct ProcessEnvironment {
    /// The pipeline's own SDK clients, created at first use.
    pub clients: Arc<Clients>,
    /// The runtime and clients of the author's code.
    pub body_runtime: BodyRuntime,
    /// The table's name. Without a table a run has neither lock nor history.
    pub table: Option<String>,
    /// The table is on this machine, so that frequent reads cost nothing.
    pub table_is_local: bool,
    /// The bucket for values that exceed the table's item size.
    pub bucket: Option<String>,
    /// The environment's name, e.g. `production`.
    pub environment: String,
    /// The project's overrides of the task, as JSON.
    pub settings: Option<String>,
    /// The resolved references of the configuration, by the names of their environment variables.
    pub resolved: BTreeMap<String, String>,
    /// The source of the assets.
    pub assets: assets::Source,
    /// The log group and stream, for the record.
    pub log: Option<String>,
    /// The common prefix of the URLs of the tasks' queues.
    pub queues: Option<String>,
    /// The stack under which notifications of failed jobs are stored, if notifications are on.
    pub notifies: Option<String>,
    /// The address at which a runner receives wake-ups.
    pub waker: Option<RunnerAddress>,
}

/// The runtime and clients of the author's code.
///
/// A body that never yields blocks its runtime and the connections on it, so the pipeline has a runtime and clients of
/// its own to write the record.
pub struct BodyRuntime {
    /// The runtime. It must not be the one that awaits [`execute`](crate::execute()).
    pub handle: Handle,
    pub(crate) clients: Arc<Clients>,
    pub(crate) http: Arc<Http>,
}

impl BodyRuntime {
    /// Creates clients of their own for a runtime, each connected at first use.
    pub fn new(runtime: Handle) -> Self {
        Self { handle: runtime, clients: Arc::default(), http: Arc::default() }
    }
}

/// The values of a run, without their secrets.
pub(crate) struct MaskedValues {
    pub config: Value,
    pub data: Option<Value>,
}

impl ProcessEnvironment {
    /// Returns the project's overrides of the task, with their references resolved.
    pub(crate) fn settings(&self, declared: &Definition) -> Result<Settings, RunError> {
        let text = self.settings.as_deref().unwrap_or("{}");
        let unpacked = resolve::unpack(text, |name| self.resolved.get(name).map(String::as_str));
        let unpacked = unpacked.map_err(|error| unreadable("LAMPLIGHTER_SETTINGS", &error))?;
        let whole = |settings: &Settings| settings.applied_to(declared.clone()).config;
        // The overrides may replace a reference in the defaults, so the merged configuration decides. Merge it only if needed.
        let suspicious = |config: &Value| resolve::unresolved(config, &[]).is_some();
        if suspicious(&unpacked.settings.config) || suspicious(&declared.config) {
            nothing_unresolved(&whole(&unpacked.settings), &unpacked.places).map_err(|error| {
                RunError::new(error.kind, format!("LAMPLIGHTER_SETTINGS: {}", error.message))
            })?;
        }
        Ok(unpacked.typed(whole, &declared.config_schema))
    }

    /// Returns the secrets of a run, and its values without them. Secrets are the values that the schemas mark, and all
    /// values from Secrets Manager.
    pub(crate) fn separate_secrets(
        &self,
        definition: &Definition,
        arguments: &Value,
        data: Option<&Value>,
    ) -> (Secrets, MaskedValues) {
        // Arguments may be large, so they are only searched if their schema marks a secret.
        let of_jobs = definition.queue().map(|queue| &queue.arguments_schema).filter(|it| hidden::marks(it));
        let (arguments, of_jobs) = of_jobs.map_or((&Value::Null, &Value::Null), |schema| (arguments, schema));
        let resolved = self.resolved.iter().filter(|(name, _)| name.starts_with(SECRET_VARIABLE));
        let (texts, marked) = hidden::texts(resolved.map(|(_, text)| text.as_str()));
        let (secrets, [config, _, shown, _]) = hidden::take_all([
            (&definition.config, &definition.config_schema),
            (arguments, of_jobs),
            (data.unwrap_or(&Value::Null), &definition.result_schema),
            (&texts, &marked),
        ]);
        let shown = MaskedValues { config: secrets.mask_value(config), data: data.map(|_| shown) };
        (secrets, shown)
    }

    /// Returns the client for jobs, if there is a table.
    pub(crate) async fn jobs(&self, retention: Duration) -> Option<Jobs> {
        let table = self.table(retention).await?;
        let waker = match &self.queues {
            Some(prefix) => Waker::queues(prefix, Arc::clone(&self.clients)),
            None => Waker::Runner { to: self.waker.clone() },
        };
        let jobs = Jobs::new(table, waker);
        Some(match &self.notifies {
            Some(stack) => jobs.with_failure_messages(stack.as_str()),
            None => jobs,
        })
    }

    /// Returns the table, if there is one. Its records are kept for `retention`.
    pub(crate) async fn table(&self, retention: Duration) -> Option<Table> {
        let name = self.table.as_deref()?;
        let table = Table::new(self.clients.dynamodb().await.clone(), name);
        let table = match &self.bucket {
            Some(bucket) => table.with_objects(Objects::new(bucket, self.clients.config().await)),
            None => table,
        };
        Some(table.with_retention(retention).with_environment(&self.environment))
    }
}

/// Applies the settings to the definition, if they could be read.
pub(crate) fn applied(settings: &Result<Settings, RunError>, declared: &Definition) -> Definition {
    match settings {
        Ok(settings) => settings.applied_to(declared.clone()),
        Err(_) => declared.clone(),
    }
}

/// Parses the settings in the table, which are read with the claim.
pub(crate) fn settings_at_run_time(text: Option<&str>) -> Result<Settings, RunError> {
    read_settings("invalid settings of the task in the table", text)
}

/// Parses settings. The error does not quote the text, which may have secrets.
fn read_settings(where_from: &str, text: Option<&str>) -> Result<Settings, RunError> {
    Settings::parse(text.unwrap_or("{}")).map_err(|error| unreadable(where_from, &error))
}

/// Rejects a reference that would reach the body as text. `places` are the paths of resolved values, which may look like
/// references.
pub(crate) fn nothing_unresolved(config: &Value, places: &[String]) -> Result<(), RunError> {
    let Some(path) = resolve::unresolved(config, places) else { return Ok(()) };
    let message = format!(
        "`{path}` is an unresolved reference: CloudFormation resolves references in lamplighter.toml during a deployment, \
         and nowhere else"
    );
    Err(RunError::new(ErrorKind::Configuration, message))
}

fn unreadable(where_from: &str, error: &dyn std::error::Error) -> RunError {
    RunError::new(ErrorKind::Configuration, format!("{where_from}: {error}"))
}
