//! The context of a body.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use lamplighter_aws::{
    clients::Clients,
    jobs::{Jobs, RunnerAddress, Waker},
    objects::Objects,
    table::{CommitError, Table, TransactWriteItem, transact},
};
use lamplighter_core::{
    claim::Fence,
    deployment::Deployment,
    id::RunId,
    job::JobKey,
    name::TaskName,
    run::Trigger,
    value::{MAX_NESTING, is_too_deep},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::runtime::{
    TaskError,
    http::Http,
    limits::{Limits, time_left},
};

/// The context of a run: its configuration, the task's state, and access to jobs, AWS and HTTP.
///
/// `C` is the type of the configuration, `S` that of the state built by `#[task(state = ..)]`. A clone is cheap.
///
/// ```
/// # use lamplighter::prelude::*;
/// # #[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
/// # pub struct Config { pub batches: u32 }
/// /// Deletes old rows in batches.
/// #[task(schedule = "0 3 * * *")]
/// pub async fn purge(ctx: Context<Config>) -> TaskResult {
///     for _batch in 0..ctx.config.batches {
///         if ctx.cancellation().is_cancelled() {
///             return Err(TaskError::new("stopped before the last batch"));
///         }
///         // delete one batch
///     }
///     Ok(Outcome::success("purged"))
/// }
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct Context<C = (), S = ()> {
    /// The task's configuration: its `Default`, overridden by the project, the environment and the run.
    pub config: Arc<C>,
    pub(crate) state: Arc<S>,
    pub(crate) run: Arc<RunEnvironment>,
    pub(crate) attempt: u32,
}

/// The lease under which a run may write and can be cancelled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RunLease {
    /// A lease of the task.
    Task(Fence),
    /// A lease of the job, with its fencing token.
    Job { fencing_token: u64, in_runner: bool },
}

impl RunLease {
    /// Returns the number of its first attempt, from 1.
    pub(crate) fn attempt(self) -> u32 {
        match self {
            Self::Task(_) => 1,
            Self::Job { fencing_token, .. } => u32::try_from(fencing_token).unwrap_or(u32::MAX),
        }
    }
}

/// The environment of a run, shared by all of its attempts.
#[derive(Clone, Debug)]
pub(crate) struct RunEnvironment {
    pub task: TaskName,
    pub run_id: RunId,
    pub trigger: Trigger,
    pub scheduled_for: Option<Timestamp>,
    pub deployment: Option<Deployment>,
    pub environment: String,
    pub working_directory: PathBuf,
    pub limits: Limits,
    pub clients: Arc<Clients>,
    pub http: Arc<Http>,
    pub arguments: Arc<Value>,
    pub table: Option<String>,
    pub bucket: Option<String>,
    pub queues: Option<String>,
    pub waker: Option<RunnerAddress>,
    /// The run's lease, once it is claimed.
    pub lease: Option<RunLease>,
}

impl<C, S> Clone for Context<C, S> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            state: Arc::clone(&self.state),
            run: Arc::clone(&self.run),
            attempt: self.attempt,
        }
    }
}

impl<C, S> Context<C, S> {
    /// Returns the state that the function of `#[task(state = ..)]` built for all runs of this process.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Deserializes the arguments of the job, in a queue task. `#[task(queue)]` calls this for you.
    ///
    /// # Errors
    ///
    /// A fatal configuration error if the arguments do not match `A`, e.g. when another version of the task enqueued
    /// the job.
    pub fn arguments<A: DeserializeOwned>(&self) -> Result<A, TaskError> {
        let unfit = |why: String| {
            TaskError::configuration(format!("the job's arguments do not match the task: {why}"))
        };
        let arguments = &*self.run.arguments;
        if is_too_deep(arguments) {
            return Err(unfit(format!("they are nested more than {MAX_NESTING} levels deep")));
        }
        A::deserialize(arguments).map_err(|error| unfit(error.to_string()))
    }

    /// Returns the run's id.
    pub fn run_id(&self) -> RunId {
        self.run.run_id
    }

    /// Returns the trigger that started the run.
    pub fn trigger(&self) -> Trigger {
        self.run.trigger
    }

    /// Returns the number of this attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the tick (the due time) that started the run, if a schedule did.
    pub fn scheduled_for(&self) -> Option<Timestamp> {
        self.run.scheduled_for
    }

    /// Returns the name of the environment, e.g. `dev` or `production`.
    pub fn environment(&self) -> &str {
        &self.run.environment
    }

    /// Returns the deployment that started the run, if any.
    pub fn deployment(&self) -> Option<&Deployment> {
        self.run.deployment.as_ref()
    }

    /// Returns whether no earlier deployment has succeeded. False outside a deployment.
    pub fn is_first_deploy(&self) -> bool {
        self.deployment().is_some_and(|deployment| deployment.is_first_deploy)
    }

    /// Returns the version being deployed, if a deployment started the run.
    pub fn version(&self) -> Option<&str> {
        self.deployment().map(|deployment| deployment.version.as_str())
    }

    /// Returns the version of the last successful deployment, if a deployment started the run.
    pub fn previous_version(&self) -> Option<&str> {
        self.deployment().and_then(|deployment| deployment.previous_version.as_deref())
    }

    /// Returns the folder of the assets named by `#[task(copy_assets = ..)]`.
    pub fn working_directory(&self) -> &Path {
        &self.run.working_directory
    }

    /// Returns the run's deadline: its timeout after its start, or earlier if the process ends before.
    pub fn deadline(&self) -> Timestamp {
        self.run.limits.deadline
    }

    /// Returns the time left until the deadline, zero if it has passed.
    pub fn remaining(&self) -> Duration {
        time_left(self.deadline())
    }

    /// Returns the token that fires when the deadline passes or the run is cancelled.
    ///
    /// The body then has 0.5 s to clean up and return (5 s in a side task). After that it is dropped at its next await.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.run.limits.cancellation
    }

    /// Commits all `writes` in one DynamoDB transaction, or none if this run has lost its lease.
    ///
    /// A run that was declared lost cannot commit, since another one may have started. At most 99 writes; they may go to
    /// any table in the same account and region that the task's role can write.
    ///
    /// A committed transaction stays if the attempt fails afterwards, and the next attempt commits again: make the
    /// writes idempotent with conditions of their own. Without a table for locks (a run by hand) there is no lease to
    /// check.
    ///
    /// # Errors
    ///
    /// [`CommitError::LostHold`] if the run has lost its lease, otherwise the errors of the transaction.
    pub async fn commit(&self, writes: Vec<TransactWriteItem>) -> Result<(), CommitError> {
        let RunEnvironment { clients, table, task, run_id, lease, .. } = &*self.run;
        let client = clients.dynamodb().await.clone();
        match (table, lease) {
            (Some(table), Some(RunLease::Task(fence))) => {
                Table::new(client, table).commit(task, *run_id, *fence, writes).await
            }
            (Some(table), Some(RunLease::Job { fencing_token, .. })) => {
                let key = JobKey { task: task.clone(), run_id: *run_id };
                Table::new(client, table).commit_job(&key, *fencing_token, writes).await
            }
            // A schedule function runs before the claim.
            (Some(_), None) => Err(CommitError::LostHold),
            (None, _) => transact(&client, writes).await,
        }
    }

    /// Returns the client for jobs: `SendWelcomeEmail::enqueue(&ctx.jobs().await?, ..)`.
    ///
    /// List the queue tasks in `#[task(enqueues = [..])]`, which grants this task's role access to their queues.
    ///
    /// # Errors
    ///
    /// A configuration error if the process has no table (`LAMPLIGHTER_TABLE` is not set).
    pub async fn jobs(&self) -> Result<Jobs, TaskError> {
        let RunEnvironment { clients, table, bucket, queues, waker, environment, .. } = &*self.run;
        let Some(table) = table else {
            let message = "jobs need a table, and LAMPLIGHTER_TABLE is not set";
            return Err(TaskError::configuration(message));
        };
        let table = Table::new(clients.dynamodb().await.clone(), table).with_environment(environment);
        let table = match bucket {
            Some(bucket) => table.with_objects(Objects::new(bucket, clients.config().await)),
            None => table,
        };
        let waker = match queues {
            Some(prefix) => Waker::queues(prefix, Arc::clone(clients)),
            None => Waker::Runner { to: waker.clone() },
        };
        Ok(Jobs::new(table, waker))
    }

    /// Returns the AWS SDK clients, each created at its first use.
    pub fn clients(&self) -> &Clients {
        &self.run.clients
    }

    /// Returns the HTTP client of the process, created at its first use. Its connections are reused by later runs.
    ///
    /// It trusts Mozilla's root certificates and has a connect timeout of 10 s. It sets no timeout for responses: set one
    /// per request. A task that never calls this does not link the client into its binary.
    pub fn http(&self) -> &reqwest::Client {
        self.run.http.client()
    }

    pub(crate) fn with_config<T>(self, config: Arc<T>) -> Context<T, S> {
        let Self { state, run, attempt, .. } = self;
        Context { config, state, run, attempt }
    }

    pub(crate) fn with_state<T>(self, state: Arc<T>) -> Context<C, T> {
        let Self { config, run, attempt, .. } = self;
        Context { config, state, run, attempt }
    }
}

impl From<RunEnvironment> for Context {
    fn from(run: RunEnvironment) -> Self {
        let attempt = run.lease.map_or(1, RunLease::attempt);
        Self { config: Arc::new(()), state: Arc::new(()), run: Arc::new(run), attempt }
    }
}
