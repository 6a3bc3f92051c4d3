//! Typed jobs of queue tasks.

use std::{
    borrow::Cow,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    time::Duration,
};

use jiff::Timestamp;
use lamplighter_aws::{
    jobs::{Accepted, EnqueueError, Jobs, NotAccepted},
    table::{AbortOutcome, JobRecord, TableError, TransactWriteItem},
};
use lamplighter_core::{
    definition::Priority,
    job::{InvalidJob, JobKey, Limit, NewJob, OnConflict, Scope, Unique, When},
    run::Run,
    status::Status,
    value::written,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A job to enqueue, with its options. Awaiting it enqueues the job and returns a [`Job<T>`], where `T` is the type of
/// the task's result.
///
/// ```no_run
/// # use std::time::Duration;
/// # use lamplighter::{Enqueue, Jobs, definition::Priority};
/// # async fn example(jobs: &Jobs) -> Result<(), Box<dyn std::error::Error>> {
/// let job = Enqueue::<()>::new(jobs, "send-welcome-email", Priority::High, &serde_json::json!({ "to": "ada" }))
///     .delay(Duration::from_secs(60))
///     .expires_in(Duration::from_secs(3600))
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Awaiting it fails if an option or argument is invalid, if a job with the same unique key exists, or if the table or
/// the queue fails.
#[must_use = "the job is enqueued when this is awaited"]
#[derive(Debug)]
pub struct Enqueue<T> {
    jobs: Jobs,
    new: NewJob,
    fault: Option<InvalidJob>,
    result: PhantomData<fn() -> T>,
    schema: Option<Cow<'static, Value>>,
}

impl<T> Enqueue<T> {
    /// Prepares a job of the task `task`. Use it where the task's own `enqueue` is not available.
    pub fn new(jobs: &Jobs, task: &str, priority: Priority, arguments: &impl Serialize) -> Self {
        let (task, fault) = match task.parse() {
            Ok(task) => (task, None),
            Err(_) => (unnamed(), Some(InvalidJob::Task(task.to_owned()))),
        };
        let (arguments, fault) = match written(arguments) {
            Ok(arguments) => (arguments, fault),
            Err(error) => (Value::Null, Some(InvalidJob::Unwritable(error.to_string()))),
        };
        let new = NewJob { arguments, priority, ..NewJob::of(task) };
        Self { jobs: jobs.clone(), new, fault, result: PhantomData, schema: None }
    }

    /// Rejects arguments that `schema` marks as secret, unless they are empty.
    #[doc(hidden)]
    pub fn checked(mut self, schema: Cow<'static, Value>) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Delays the start by `delay` after the enqueue, at most 366 days. Excludes [`at`](Self::at).
    pub fn delay(self, delay: Duration) -> Self {
        self.when(When::In(delay))
    }

    /// Delays the start until `at`, at most 366 days ahead. A time in the past starts the job at once. Excludes
    /// [`delay`](Self::delay).
    pub fn at(self, at: Timestamp) -> Self {
        self.when(When::At(at))
    }

    fn when(mut self, when: When) -> Self {
        if self.new.when != When::Now {
            self.fault.get_or_insert(InvalidJob::TwoTimes);
        }
        self.new.when = when;
        self
    }

    /// Sets the priority among the waiting jobs of a runner. SQS ignores priorities.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.new.priority = priority;
        self
    }

    /// Makes the job unique within `scope` until it ends, for at most `within`. Enqueuing a second one is an error, or
    /// returns the first one with [`or_join`](Self::or_join).
    pub fn unique(mut self, scope: Scope, within: Duration) -> Self {
        let on_twin = self.new.unique.map(|unique| unique.on_twin).unwrap_or_default();
        self.new.unique = Some(Unique { scope, within, on_twin });
        self
    }

    /// Returns the existing job instead of an error if the job is not [`unique`](Self::unique). Call it after `unique`.
    pub fn or_join(mut self) -> Self {
        if let Some(unique) = &mut self.new.unique {
            unique.on_twin = OnConflict::Join;
        }
        self
    }

    /// Sets an idempotency key: enqueuing another job with this id returns the existing one, as long as its record is
    /// kept.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.new.id = Some(id.into());
        self
    }

    /// Limits how many jobs of the task with this `key` run at once. The others wait, in no particular order.
    pub fn at_most(mut self, at_once: u32, key: impl Into<String>) -> Self {
        self.new.limit = Some(Limit { key: key.into(), at_once });
        self
    }

    /// Fails the job if no worker has started it within `time` after the enqueue.
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.new.expires_in = Some(time);
        self
    }

    /// Makes the job wait until `job` has completed; if that fails, this job is blocked. May be called up to 50 times: the
    /// job then waits for all.
    pub fn after<U>(mut self, job: &Job<U>) -> Self {
        self.new.after.push(job.key.clone());
        self
    }

    /// Prepares the job for a DynamoDB transaction of the application's own, which enqueues it together with the
    /// application's items: all of them or none. Stores nothing yet, except arguments of more than 100 KB, as an object.
    ///
    /// ```no_run
    /// # use aws_sdk_dynamodb::types::{AttributeValue, Put};
    /// # use lamplighter::{Arguments, Enqueue, Jobs, TransactWriteItem, transact};
    /// # async fn example(jobs: &Jobs, receipt: Enqueue<()>) -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = jobs.table().client();
    /// let prepared = receipt.in_transaction().await?;
    /// let order = Put::builder().table_name("orders").item("id", AttributeValue::S("42".into())).build()?;
    /// let order = TransactWriteItem::builder().put(order).build();
    /// transact(client, [&[order], prepared.writes()].concat()).await?;
    /// let job = prepared.wake().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// If the process dies before [`wake`](PreparedJob::wake), the job starts later: the pulse finds it among the orphans
    /// within 35 minutes, and a runner within 5 s. Commit within minutes: the pulse counts from this call.
    ///
    /// A transaction has at most 100 writes, of which the job has one, and one more for an id and for `unique`. If another
    /// job takes one of these keys after this call, the transaction is cancelled: prepare the job again.
    ///
    /// # Errors
    ///
    /// As an ordinary enqueue: an option or argument is invalid, a job with the same unique key exists, or the table fails.
    pub async fn in_transaction(self) -> Result<PreparedJob<T>, EnqueueError> {
        let jobs = self.jobs.clone();
        let prepared = jobs.prepare(self.into_new()?).await?;
        Ok(PreparedJob { jobs, prepared, result: PhantomData })
    }

    /// Returns the untyped job without enqueuing it.
    ///
    /// # Errors
    ///
    /// The first invalid option or argument.
    pub fn into_new(self) -> Result<NewJob, InvalidJob> {
        match (self.fault, self.schema) {
            (Some(fault), _) => Err(fault),
            (None, Some(schema)) => self.new.without_secrets(&schema).map(|()| self.new),
            (None, None) => Ok(self.new),
        }
    }
}

/// Returns the placeholder for an invalid task name. Such a job is never enqueued.
fn unnamed() -> lamplighter_core::name::TaskName {
    "unnamed".parse().expect("it is a task's name")
}

impl<T: Send + 'static> IntoFuture for Enqueue<T> {
    type Output = Result<Job<T>, EnqueueError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let jobs = self.jobs.clone();
            let Accepted { key, joined } = jobs.enqueue(self.into_new()?).await?;
            Ok(Job { joined, ..Job::of(jobs, key) })
        })
    }
}

/// Enqueues many jobs, 25 per request.
///
/// # Errors
///
/// The error lists the rejected jobs by their positions, and the accepted ones. If any job has an invalid option or
/// argument, none is enqueued.
pub async fn enqueue_many<T>(many: impl IntoIterator<Item = Enqueue<T>>) -> Result<Vec<Job<T>>, NotAccepted> {
    let (mut jobs, mut new, mut failed) = (None, Vec::new(), Vec::new());
    for (place, one) in many.into_iter().enumerate() {
        jobs.get_or_insert_with(|| one.jobs.clone());
        match one.into_new() {
            Ok(one) => new.push(one),
            Err(fault) => failed.push((place, fault.into())),
        }
    }
    if !failed.is_empty() {
        return Err(NotAccepted { accepted: Vec::new(), failed });
    }
    let Some(jobs) = jobs else { return Ok(Vec::new()) };
    let keys = jobs.enqueue_many(new).await?;
    Ok(keys.into_iter().map(|key| Job::of(jobs.clone(), key)).collect())
}

/// A job that a transaction of the application enqueues. See [`Enqueue::in_transaction`].
#[derive(Debug)]
pub struct PreparedJob<T> {
    jobs: Jobs,
    prepared: lamplighter_aws::jobs::PreparedJob,
    result: PhantomData<fn() -> T>,
}

impl<T> PreparedJob<T> {
    /// Returns the key that the job will have.
    pub fn id(&self) -> &JobKey {
        self.prepared.key()
    }

    /// Returns the writes that enqueue the job. Empty if an existing job is returned instead, as with
    /// [`or_join`](Enqueue::or_join) and [`id`](Enqueue::id).
    pub fn writes(&self) -> &[TransactWriteItem] {
        self.prepared.writes()
    }

    /// Wakes a worker for the job. Call it after the transaction is committed.
    ///
    /// # Errors
    ///
    /// [`EnqueueError::UnknownTask`] if the task has no queue: the job is withdrawn, and the application's items stay.
    pub async fn wake(self) -> Result<Job<T>, EnqueueError> {
        let Accepted { key, joined } = self.prepared.wake().await?;
        Ok(Job { joined, ..Job::of(self.jobs, key) })
    }
}

/// An enqueued job. `T` is the type of its result.
///
/// ```no_run
/// # use std::time::Duration;
/// # use lamplighter::{Job, JobError, Jobs};
/// # async fn example(jobs: Jobs, key: &str) -> Result<(), Box<dyn std::error::Error>> {
/// // Another process may have kept the text of the job's id.
/// let job = Job::<u64>::of(jobs, key.parse()?);
/// match job.result(Duration::from_secs(30)).await {
///     Ok(imported) => println!("{imported} users were imported"),
///     Err(JobError::TimedOut(_)) => println!("the import is {}", job.status().await?),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Job<T> {
    jobs: Jobs,
    key: JobKey,
    joined: bool,
    result: PhantomData<fn() -> T>,
}

impl<T> Clone for Job<T> {
    fn clone(&self) -> Self {
        Self { joined: self.joined, ..Self::of(self.jobs.clone(), self.key.clone()) }
    }
}

/// An error of a [`Job`]'s methods.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The job did not end within the timeout. It continues.
    #[error("job {0} did not end within the timeout; it continues")]
    TimedOut(JobKey),
    /// The job ended without completing.
    #[error("job {key} is {}: {}", run.status, run.reason().unwrap_or("no reason was given"))]
    NotCompleted {
        /// The job's key.
        key: JobKey,
        /// Its record.
        run: Box<Run>,
    },
    /// The job has already ended.
    #[error("job {key} has already ended as {status}")]
    Over {
        /// The job's key.
        key: JobKey,
        /// Its final status.
        status: Status,
    },
    /// The job's data does not match the type `T`.
    #[error("the data of job {key} does not match the expected type: {source}")]
    Unreadable {
        /// The job's key.
        key: JobKey,
        /// The mismatch.
        source: serde_json::Error,
    },
    /// The job does not exist, or its record's retention is over.
    #[error("job {0} does not exist; its record may have expired")]
    Unknown(JobKey),
    /// A request to the table failed.
    #[error(transparent)]
    Table(#[from] TableError),
}

impl<T> Job<T> {
    /// Refers to an existing job by its key. The key is not checked.
    pub fn of(jobs: Jobs, key: JobKey) -> Self {
        Self { jobs, key, joined: false, result: PhantomData }
    }

    /// Returns the job's key: its task and its run's id. Its text form is `<task>/<run id>`.
    pub fn id(&self) -> &JobKey {
        &self.key
    }

    /// Returns whether this job existed before and was returned instead of a new one.
    pub fn is_joined(&self) -> bool {
        self.joined
    }

    /// Returns the current status.
    pub async fn status(&self) -> Result<Status, JobError> {
        match self.jobs.find(&self.key).await? {
            Some(JobRecord::Open(job)) => Ok(job.status),
            Some(JobRecord::Over(run)) => Ok(run.status),
            None => Err(JobError::Unknown(self.key.clone())),
        }
    }

    /// Aborts the job: at once if it waits, within seconds if it runs.
    ///
    /// # Errors
    ///
    /// [`JobError::Over`] if the job has already ended.
    pub async fn abort(&self) -> Result<(), JobError> {
        match self.jobs.abort(&self.key).await? {
            AbortOutcome::Ended(..) | AbortOutcome::Asked => Ok(()),
            AbortOutcome::Over(run) => Err(JobError::Over { key: self.key.clone(), status: run.status }),
            AbortOutcome::Unknown => Err(JobError::Unknown(self.key.clone())),
        }
    }

    /// Makes `next` wait for this job, and replaces its argument named `argument` with this job's data.
    pub fn then<U>(&self, next: Enqueue<U>, argument: impl Into<String>) -> Enqueue<U> {
        let mut next = next.after(self);
        next.new.receives = Some(argument.into());
        next
    }
}

impl<T: DeserializeOwned> Job<T> {
    /// Waits for the job's end and returns its data. [`Duration::MAX`] waits without a limit.
    ///
    /// # Errors
    ///
    /// [`JobError::TimedOut`] after `timeout`, and [`JobError::NotCompleted`] with the record if the job did not complete.
    pub async fn result(&self, timeout: Duration) -> Result<T, JobError> {
        let Some(run) = self.jobs.wait(&self.key, timeout).await? else {
            return Err(JobError::TimedOut(self.key.clone()));
        };
        if run.status != Status::Completed {
            return Err(JobError::NotCompleted { key: self.key.clone(), run: Box::new(run) });
        }
        let data = self.jobs.table().data_of(&run).await?;
        serde_json::from_value(data).map_err(|source| JobError::Unreadable { key: self.key.clone(), source })
    }
}
