//! Jobs, typed: what `#[task(queue)]` gives whoever enqueues them.

use std::{
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    time::Duration,
};

use jiff::Timestamp;
use lamplighter_aws::{
    jobs::{Accepted, EnqueueError, Jobs, NotAccepted},
    table::{AbortOutcome, JobRecord, TableError},
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

/// A job that is to be enqueued; awaited, it is. `T` is what its task promises.
#[must_use = "a job is enqueued when this is awaited"]
#[derive(Debug)]
pub struct Enqueue<T> {
    jobs: Jobs,
    new: NewJob,
    fault: Option<InvalidJob>,
    promised: PhantomData<fn() -> T>,
    schema: Option<&'static Value>,
}

impl<T> Enqueue<T> {
    /// A job of a task of that name with these arguments, for what cannot call the task's own `enqueue`.
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
        Self { jobs: jobs.clone(), new, fault, promised: PhantomData, schema: None }
    }

    /// The job, whose arguments have that schema: it may mark none of them as secret that is not empty.
    #[doc(hidden)]
    pub fn checked(mut self, schema: &'static Value) -> Self {
        self.schema = Some(schema);
        self
    }

    /// It may start so long after it was enqueued, and not before. At most 366 days.
    pub fn delay(self, delay: Duration) -> Self {
        self.when(When::In(delay))
    }

    /// It may start then, and not before; a time that has passed is now.
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

    /// It goes before or after the waiting jobs of other priorities, where a runner has them; SQS knows no priorities.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.new.priority = priority;
        self
    }

    /// It must be the only one of that which is not over, for so long at most; a second one is refused.
    pub fn unique(mut self, scope: Scope, within: Duration) -> Self {
        let on_twin = self.new.unique.map(|unique| unique.on_twin).unwrap_or_default();
        self.new.unique = Some(Unique { scope, within, on_twin });
        self
    }

    /// Where it is [`unique`](Self::unique) and not the first, the first one stands for it.
    pub fn or_join(mut self) -> Self {
        if let Some(unique) = &mut self.new.unique {
            unique.on_twin = OnConflict::Join;
        }
        self
    }

    /// By what it is known beside its own id: of all with this one there is one, which stands for the others, as long as
    /// its record is kept.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.new.id = Some(id.into());
        self
    }

    /// Of the jobs of its task with this key at most so many run at once; the others wait, in no order.
    pub fn at_most(mut self, at_once: u32, key: impl Into<String>) -> Self {
        self.new.limit = Some(Limit { key: key.into(), at_once });
        self
    }

    /// It fails if nobody has started it by then.
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.new.expires_in = Some(time);
        self
    }

    /// It waits until that job has completed, and is blocked if it does not. Of several it waits for all, at most 50.
    pub fn after<U>(mut self, job: &Job<U>) -> Self {
        self.new.after.push(job.key.clone());
        self
    }

    /// The job as it would be enqueued, without its type.
    pub fn into_new(self) -> Result<NewJob, InvalidJob> {
        match (self.fault, self.schema) {
            (Some(fault), _) => Err(fault),
            (None, Some(schema)) => self.new.without_secrets(schema).map(|()| self.new),
            (None, None) => Ok(self.new),
        }
    }
}

/// In the place of a name that is none; such a job is never enqueued.
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

/// Enqueues many jobs, 25 with a request. An error names those that were not accepted by their places, and has those that
/// were; what cannot be enqueued at all, as it is given two times, refuses the whole.
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

/// A job that was enqueued. `T` is the data that its task promises.
#[derive(Debug)]
pub struct Job<T> {
    jobs: Jobs,
    key: JobKey,
    joined: bool,
    promised: PhantomData<fn() -> T>,
}

impl<T> Clone for Job<T> {
    fn clone(&self) -> Self {
        Self { joined: self.joined, ..Self::of(self.jobs.clone(), self.key.clone()) }
    }
}

/// Why a job does not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It was not over in time, and goes on.
    #[error("the job {0} was not over in time; it goes on")]
    TimedOut(JobKey),
    /// It is over and did not complete.
    #[error("the job {key} is {}: {}", run.status, run.reason().unwrap_or("no reason was given"))]
    NotCompleted {
        /// Which.
        key: JobKey,
        /// Its record.
        run: Box<Run>,
    },
    /// It is over already.
    #[error("the job {key} is over already: it is {status}")]
    Over {
        /// Which.
        key: JobKey,
        /// How it ended.
        status: Status,
    },
    /// Its data is not of the type that was asked for.
    #[error("the data of the job {key} is not what was asked for: {source}")]
    Unreadable {
        /// Which.
        key: JobKey,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// There is no such job, or its record is not kept any more.
    #[error("there is no job {0}; records are kept as long as their task says")]
    Unknown(JobKey),
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
}

impl<T> Job<T> {
    /// The job of that key, whoever has enqueued it.
    pub fn of(jobs: Jobs, key: JobKey) -> Self {
        Self { jobs, key, joined: false, promised: PhantomData }
    }

    /// Which it is: its task and its run's id. As text it is `<task>/<run id>`.
    pub fn id(&self) -> &JobKey {
        &self.key
    }

    /// Whether it was there before, and stands for the one that was to be enqueued.
    pub fn is_joined(&self) -> bool {
        self.joined
    }

    /// How far it is.
    pub async fn status(&self) -> Result<Status, JobError> {
        match self.jobs.find(&self.key).await? {
            Some(JobRecord::Open(job)) => Ok(job.status),
            Some(JobRecord::Over(run)) => Ok(run.status),
            None => Err(JobError::Unknown(self.key.clone())),
        }
    }

    /// Ends it: at once if it waits, and soon if it runs. One that is over says no.
    pub async fn abort(&self) -> Result<(), JobError> {
        match self.jobs.abort(&self.key).await? {
            AbortOutcome::Ended(..) | AbortOutcome::Asked => Ok(()),
            AbortOutcome::Over(run) => Err(JobError::Over { key: self.key.clone(), status: run.status }),
            AbortOutcome::Unknown => Err(JobError::Unknown(self.key.clone())),
        }
    }

    /// That job, once this one has completed, and with this one's data as its argument of that name in the place of what
    /// it was given.
    pub fn then<U>(&self, next: Enqueue<U>, argument: impl Into<String>) -> Enqueue<U> {
        let mut next = next.after(self);
        next.new.receives = Some(argument.into());
        next
    }
}

impl<T: DeserializeOwned> Job<T> {
    /// Waits for its end, for so long, and gives the data of its success, however large it is. [`Duration::MAX`] waits without
    /// an end.
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
