//! The environment variables of a task's process, read once.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use lamplighter_aws::{
    clients::Clients,
    environment::{self, StackVariables},
    jobs::RunnerAddress,
};
use lamplighter_core::resolve::{PARAMETER_VARIABLE, SECRET_VARIABLE};
use tokio::{runtime::Handle, sync::OnceCell};
use tracing::level_filters::LevelFilter;

use crate::runtime::{
    assets::Source,
    process::{BodyRuntime, ProcessEnvironment},
    side::RunnerVariables,
};

/// The folder of the assets, beside the binary.
const ASSETS: &str = "assets";

/// The values of the environment variables.
pub(crate) struct Variables {
    pub table: Option<String>,
    pub table_is_local: bool,
    pub bucket: Option<String>,
    pub name: String,
    pub settings: Option<String>,
    pub resolved: BTreeMap<String, String>,
    pub assets: Source,
    pub log: Option<String>,
    pub queues: Option<String>,
    pub notifies: Option<String>,
    pub waker: Option<RunnerAddress>,
    pub level: LevelFilter,
    pub in_lambda: bool,
    pub runner: RunnerVariables,
}

impl Variables {
    /// Reads all variables. The error names the variable, its value, and the expected values.
    pub(crate) fn read() -> Result<Self, String> {
        let variable = |name: &str| environment::variable(name).map_err(|error| error.to_string());
        let in_lambda = variable("AWS_LAMBDA_RUNTIME_API")?.is_some();
        let stack = StackVariables::read().map_err(|error| error.to_string())?;
        if in_lambda && stack.table.is_none() {
            return Err(
                "LAMPLIGHTER_TABLE is not set: expected the name of the table for locks and history".into()
            );
        }
        let level = match variable("LAMPLIGHTER_LOG")? {
            None => LevelFilter::INFO,
            Some(level) => level.parse().map_err(|_| {
                format!("LAMPLIGHTER_LOG is `{level}`: expected off, error, warn, info, debug or trace")
            })?,
        };
        let group = variable("AWS_LAMBDA_LOG_GROUP_NAME")?;
        let stream = variable("AWS_LAMBDA_LOG_STREAM_NAME")?;
        Ok(Self {
            table: stack.table,
            table_is_local: variable("LAMPLIGHTER_TABLE_IS_LOCAL")?.is_some(),
            bucket: stack.bucket,
            name: stack.environment,
            settings: variable("LAMPLIGHTER_SETTINGS")?,
            resolved: resolved(std::env::vars_os())?,
            assets: match variable("LAMPLIGHTER_ASSETS")? {
                Some(url) => Source::Archive { url, folder: OnceCell::new() },
                None => Source::Folder(beside_the_binary(variable("LAMBDA_TASK_ROOT")?)),
            },
            log: group.zip(stream).map(|(group, stream)| format!("{group} {stream}")),
            queues: stack.queues,
            notifies: stack.notifies,
            waker: stack.wake_socket,
            level,
            in_lambda,
            runner: RunnerVariables::read(variable)?,
        })
    }

    pub(crate) fn into_process(self, body_runtime: &Handle) -> ProcessEnvironment {
        ProcessEnvironment {
            clients: Arc::new(Clients::default()),
            body_runtime: BodyRuntime::new(body_runtime.clone()),
            table: self.table,
            table_is_local: self.table_is_local,
            bucket: self.bucket,
            environment: self.name,
            settings: self.settings,
            resolved: self.resolved,
            assets: self.assets,
            log: self.log,
            queues: self.queues,
            notifies: self.notifies,
            waker: self.waker,
        }
    }
}

/// Returns the resolved references of the configuration by their variables. Unlike other variables they may be empty.
fn resolved(all: impl Iterator<Item = (OsString, OsString)>) -> Result<BTreeMap<String, String>, String> {
    let ours = all.filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        [SECRET_VARIABLE, PARAMETER_VARIABLE]
            .iter()
            .any(|start| name.starts_with(start))
            .then_some((name, value))
    });
    ours.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(format!("{name} is not UTF-8 text")),
    })
    .collect()
}

fn beside_the_binary(task_root: Option<String>) -> PathBuf {
    let root = task_root.map(PathBuf::from).or_else(|| {
        let binary = std::env::current_exe().ok()?;
        binary.parent().map(Path::to_path_buf)
    });
    root.unwrap_or_default().join(ASSETS)
}
