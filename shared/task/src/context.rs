//! What a body is given.

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

use crate::{TaskError, attempt::Limits, http::Http};

/// What a body is given: its configuration, the task's own state, and where and why it runs. Cheap to clone.
#[derive(Debug)]
pub struct Context<C = (), S = ()> {
    /// The task's configuration: its default with what the project and the environment override.
    pub config: Arc<C>,
    pub(crate) state: Arc<S>,
    pub(crate) surroundings: Arc<Surroundings>,
    pub(crate) attempt: u32,
}

/// By what a run may write, and somebody may ask for its end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Held {
    /// Its hold on its task.
    Task(Fence),
    /// Its start of the job.
    Job { fencing_token: u64, in_runner: bool },
}

impl Held {
    /// Which attempt comes first under it, from 1.
    pub(crate) fn attempt(self) -> u32 {
        match self {
            Self::Task(_) => 1,
            Self::Job { fencing_token, .. } => u32::try_from(fencing_token).unwrap_or(u32::MAX),
        }
    }
}

/// What is the same in all attempts of a run.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
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
    /// What the run has, once it is claimed.
    pub held: Option<Held>,
}

impl<C, S> Clone for Context<C, S> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            state: Arc::clone(&self.state),
            surroundings: Arc::clone(&self.surroundings),
            attempt: self.attempt,
        }
    }
}

impl<C, S> Context<C, S> {
    /// What the task has built once for all runs of its process: that of `#[task(state = init)]`.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The arguments of the job, of a queue task. What does not fit was not enqueued by this version of the task: trying
    /// again cannot mend that.
    pub fn arguments<A: DeserializeOwned>(&self) -> Result<A, TaskError> {
        let unfit = |why: String| TaskError::configuration(format!("the job's arguments do not fit: {why}"));
        let arguments = &*self.surroundings.arguments;
        if is_too_deep(arguments) {
            return Err(unfit(format!("they are nested more than {MAX_NESTING} levels deep")));
        }
        A::deserialize(arguments).map_err(|error| unfit(error.to_string()))
    }

    /// The run's id.
    pub fn run_id(&self) -> RunId {
        self.surroundings.run_id
    }

    /// What started the run.
    pub fn trigger(&self) -> Trigger {
        self.surroundings.trigger
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The time the run was meant for, if a schedule started it.
    pub fn scheduled_for(&self) -> Option<Timestamp> {
        self.surroundings.scheduled_for
    }

    /// Where it runs: `dev`, `production`.
    pub fn environment(&self) -> &str {
        &self.surroundings.environment
    }

    /// The deployment the run belongs to, if one started it.
    pub fn deployment(&self) -> Option<&Deployment> {
        self.surroundings.deployment.as_ref()
    }

    /// Whether no deployment has succeeded before this one. False outside a deployment.
    pub fn is_first_deploy(&self) -> bool {
        self.deployment().is_some_and(|deployment| deployment.is_first_deploy)
    }

    /// The version that is being deployed.
    pub fn version(&self) -> Option<&str> {
        self.deployment().map(|deployment| deployment.version.as_str())
    }

    /// The version of the last deployment that succeeded.
    pub fn previous_version(&self) -> Option<&str> {
        self.deployment().and_then(|deployment| deployment.previous_version.as_deref())
    }

    /// The folder that holds the task's copied assets.
    pub fn working_directory(&self) -> &Path {
        &self.surroundings.working_directory
    }

    /// When the run's time is up.
    pub fn deadline(&self) -> Timestamp {
        self.surroundings.limits.deadline
    }

    /// The time that is left until the deadline.
    pub fn remaining(&self) -> Duration {
        until(self.deadline())
    }

    /// Fires when the run's time is up or somebody ends it. A body that waits for it has half a second to put things
    /// in order; then it is dropped at its next await.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.surroundings.limits.cancellation
    }

    /// Writes all of `writes` in one DynamoDB transaction, if this run still has its task, or nothing: a run that was
    /// taken for lost, as a new one may have begun, cannot write any more. At most 99 writes; they may be to any table of
    /// the same account and region that the task may write.
    ///
    /// A transaction that was committed is not taken back if the attempt fails after it: let the writes' own conditions
    /// say whether they have happened. Without a table for locks (a run by hand) they are written as they are.
    pub async fn commit(&self, writes: Vec<TransactWriteItem>) -> Result<(), CommitError> {
        let Surroundings { clients, table, task, run_id, held, .. } = &*self.surroundings;
        let client = clients.dynamodb().await.clone();
        match (table, held) {
            (Some(table), Some(Held::Task(fence))) => {
                Table::new(client, table).commit(task, *run_id, *fence, writes).await
            }
            (Some(table), Some(Held::Job { fencing_token, .. })) => {
                let key = JobKey { task: task.clone(), run_id: *run_id };
                Table::new(client, table).commit_job(&key, *fencing_token, writes).await
            }
            // Whoever is asked whether a run is due has no run yet.
            (Some(_), None) => Err(CommitError::LostHold),
            (None, _) => transact(&client, writes).await,
        }
    }

    /// The jobs of the stack, to enqueue some: `SendWelcomeEmail::enqueue(&ctx.jobs().await?, ..)`. Name the queue tasks in
    /// `enqueues`: only then may this one send to their queues.
    pub async fn jobs(&self) -> Result<Jobs, TaskError> {
        let Surroundings { clients, table, bucket, queues, waker, environment, .. } = &*self.surroundings;
        let Some(table) = table else {
            let message = "without a table there are no jobs: LAMPLIGHTER_TABLE is not set";
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

    /// SDK clients for AWS, made at their first use.
    pub fn clients(&self) -> &Clients {
        &self.surroundings.clients
    }

    /// An HTTP client, made at its first use and shared by all runs of the process, whose connections it keeps. It trusts
    /// Mozilla's roots, and gives up on a server that it does not reach within 10 s; how long a response may take is
    /// yours to say. A task that never asks for it does not have its code in its binary.
    pub fn http(&self) -> &reqwest::Client {
        self.surroundings.http.client()
    }

    pub(crate) fn with_state<T>(self, state: Arc<T>) -> Context<C, T> {
        let Self { config, surroundings, attempt, .. } = self;
        Context { config, state, surroundings, attempt }
    }
}

/// The time from now until `at`; none if it has passed.
pub(crate) fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}
