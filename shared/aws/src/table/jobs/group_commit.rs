//! Group commit: steps of many jobs in one change of the table, each on its own condition.
//!
//! For a local engine, where the cost of a write is making it durable. The engine makes one change at a time, so each step is
//! decided on the current record.

use lamplighter_core::{
    job::{Job, JobKey, Start, StartRequest, start},
    run::Run,
    status::Status,
};

use crate::table::{
    Table, TableError,
    item::{Item, n, s},
    jobs::transport::Transport,
    keys::Key,
    record::{JobRecord, is_open, item_of_run},
};

/// The most steps of one change, which bounds the wait.
pub const MAX_STEPS: usize = 100;

/// A table engine in this process that can commit groups.
pub trait GroupCommit: Send + Sync {
    /// Reads the items with these partition and sort keys, which must all differ, and passes each to `decide` with its
    /// index. An item that `decide` returns replaces the one that was read; `None` leaves it unchanged. The change is
    /// atomic and isolated: no other request reads or writes meanwhile, and after an error nothing is written.
    fn change(
        &self,
        table: &str,
        keys: &[(String, String)],
        decide: &mut dyn FnMut(usize, Option<Item>) -> Option<Item>,
    ) -> Result<(), String>;
}

/// A step of one job.
#[derive(Clone, Debug)]
pub enum JobStep {
    /// The start of a pending job that has no limit and can start now.
    Start(JobKey, StartRequest),
    /// The end of a job. It is not committed if the job was started or ended since, or if other jobs depend on it.
    End(JobKey, End),
}

/// The terminal record of a job.
#[derive(Clone, Debug)]
pub struct End {
    fencing_token: u64,
    item: Item,
}

/// The outcome of a step that was committed.
#[derive(Clone, Debug, PartialEq)]
pub enum StepOutcome {
    /// The job has started.
    Started(Box<Job>),
    /// The job is over.
    Ended,
}

impl JobStep {
    fn key(&self) -> &JobKey {
        match self {
            Self::Start(key, _) | Self::End(key, _) => key,
        }
    }
}

impl Table {
    /// The step that ends a job. The large values of `run` are in the bucket.
    pub fn end_step(&self, job: &Job, run: &Run) -> Result<JobStep, TableError> {
        let item = item_of_run(run, self.retention)?;
        Ok(JobStep::End(job.key(), End { fencing_token: job.fencing_token, item }))
    }

    /// Commits the steps of different jobs, at most [`MAX_STEPS`], and returns the outcome of each. `None` means that
    /// the step was not committed and must be written alone. After an error no step was committed.
    pub fn commit_steps(
        &self,
        engine: &dyn GroupCommit,
        steps: Vec<JobStep>,
        transport: Transport,
    ) -> Result<Vec<Option<StepOutcome>>, TableError> {
        let keys: Vec<_> =
            steps.iter().map(JobStep::key).map(Key::job).map(|Key { pk, sk }| (pk, sk)).collect();
        let mut taken = vec![None; steps.len()];
        let mut steps: Vec<_> = steps.into_iter().map(Some).collect();
        let changed = engine.change(&self.name, &keys, &mut |place, item| {
            let (item, after) = self.after(steps[place].take()?, item?, transport)?;
            taken[place] = Some(after);
            Some(item)
        });
        let operation = "commit steps of jobs";
        let failed = |cause| TableError::Service { table: self.name.clone(), operation, cause };
        changed.map_err(failed).map(|()| taken)
    }

    /// The record after a step, if the step can be committed.
    fn after(&self, step: JobStep, record: Item, transport: Transport) -> Option<(Item, StepOutcome)> {
        match step {
            JobStep::Start(_, request) => {
                // An unreadable record is reported when the job is started alone.
                let JobRecord::Open(job) = self.job_record(record.clone()).ok()? else { return None };
                is_usual(&job, &request).then(|| {
                    let started = job.started(&request);
                    (
                        with_start(record, &started, &request, transport),
                        StepOutcome::Started(Box::new(started)),
                    )
                })
            }
            JobStep::End(_, End { fencing_token, item }) => {
                let is_ours = is_open(&record) && record.get("epoch") == Some(&n(fencing_token));
                (is_ours && !record.contains_key("followers")).then_some((item, StepOutcome::Ended))
            }
        }
    }
}

/// Returns true if the start of a job consists of one write: it takes no place, records no lost attempt and ends no
/// job.
fn is_usual(job: &Job, request: &StartRequest) -> bool {
    job.status == Status::Pending
        && job.limit.is_none()
        && matches!(start(job, request), Start::Granted { lost: None, .. })
}

/// The record of a job that has started.
fn with_start(mut record: Item, started: &Job, request: &StartRequest, transport: Transport) -> Item {
    let until = n(request.until.as_millisecond());
    let began = started.started_at.unwrap_or(request.now).to_string();
    record.extend([
        ("status".to_owned(), s(started.status.as_str())),
        ("epoch".to_owned(), n(started.fencing_token)),
        ("holder".to_owned(), s(request.holder.as_str())),
        ("lease_until".to_owned(), until.clone()),
        ("started_at".to_owned(), s(began)),
    ]);
    match transport {
        Transport::Runner => drop(record.insert("due_at".to_owned(), until)),
        Transport::Queue => record.retain(|name, _| name != "due_pk" && name != "due_at"),
    }
    record
}
