//! Steps of many jobs in one change of the table: each on its own condition, as if it were taken alone.
//!
//! For an engine of one's own, where what costs is that each write is made durable. It does one thing at a time, so that a step
//! is decided on the record as it is.

use lamplighter_core::{
    job::{Job, JobKey, Start, StartRequest, start},
    run::Run,
    status::Status,
};

use super::{
    Table, TableError,
    history::to_item,
    item::{Item, n, s},
    job::{Found, Transport, is_open},
    schema::runs_pk,
};

/// The most steps of one change, so that nobody waits for long.
pub const MOST: usize = 100;

/// An engine in this process that has the table.
pub trait GroupCommit: Send + Sync {
    /// Reads the items with these partition and sort keys, all different, and has each replaced by what
    /// `decide` makes of it; nothing stays as it is. Nobody else reads or writes meanwhile, and all is written or, after
    /// an error, nothing.
    fn change(
        &self,
        table: &str,
        keys: &[(String, String)],
        decide: &mut dyn FnMut(usize, Option<Item>) -> Option<Item>,
    ) -> Result<(), String>;
}

/// A step of one job.
#[derive(Clone, Debug)]
pub enum Step {
    /// Its start, if it only has to be started: nobody has, and it waits for nothing.
    Start(JobKey, StartRequest),
    /// Its end, unless somebody has started or ended it since, or others are to be woken by it.
    End(JobKey, End),
}

/// What a job's record becomes by its end.
#[derive(Clone, Debug)]
pub struct End {
    epoch: u64,
    item: Item,
}

/// What became of a step that was taken.
#[derive(Clone, Debug, PartialEq)]
pub enum Taken {
    /// The job as it is when it has started.
    Started(Box<Job>),
    /// It is over.
    Ended,
}

impl Step {
    fn key(&self) -> &JobKey {
        match self {
            Self::Start(key, _) | Self::End(key, _) => key,
        }
    }
}

impl Table {
    /// The end of a job, whose run's values are put away.
    pub fn end_step(&self, job: &Job, run: &Run) -> Result<Step, TableError> {
        let item = to_item(run, self.retention)?;
        Ok(Step::End(job.key(), End { epoch: job.epoch, item }))
    }

    /// Takes the steps of different jobs, at most [`MOST`], and says of each what became of it. One that was not taken has
    /// changed nothing, and is to be looked at alone; after an error none was.
    pub fn take_together(
        &self,
        engine: &dyn GroupCommit,
        steps: Vec<Step>,
        lane: Transport,
    ) -> Result<Vec<Option<Taken>>, TableError> {
        let keys: Vec<_> = steps
            .iter()
            .map(Step::key)
            .map(|key| (runs_pk(&key.task, key.run_id), key.run_id.to_string()))
            .collect();
        let mut taken = vec![None; steps.len()];
        let mut steps: Vec<_> = steps.into_iter().map(Some).collect();
        let changed = engine.change(&self.name, &keys, &mut |place, item| {
            let (item, after) = self.after(steps[place].take()?, item?, lane)?;
            taken[place] = Some(after);
            Some(item)
        });
        let operation = "take steps of jobs together";
        let failed = |cause| TableError::Service { table: self.name.clone(), operation, cause };
        changed.map_err(failed).map(|()| taken)
    }

    /// What a step makes of a record, if it can be taken.
    fn after(&self, step: Step, record: Item, lane: Transport) -> Option<(Item, Taken)> {
        match step {
            Step::Start(_, request) => {
                // Whoever asks for it alone learns of a record that cannot be read.
                let Found::Open(job) = self.found(record.clone()).ok()? else { return None };
                is_usual(&job, &request).then(|| {
                    let started = job.started(&request);
                    (with_start(record, &started, &request, lane), Taken::Started(Box::new(started)))
                })
            }
            Step::End(_, End { epoch, item }) => {
                let is_ours = is_open(&record) && record.get("epoch") == Some(&n(epoch));
                (is_ours && !record.contains_key("followers")).then_some((item, Taken::Ended))
            }
        }
    }
}

/// Whether a job only has to be started.
fn is_usual(job: &Job, request: &StartRequest) -> bool {
    job.status == Status::Pending
        && job.limit.is_none()
        && matches!(start(job, request), Start::Granted { lost: None, .. })
}

/// The record of a job that has started.
fn with_start(mut record: Item, started: &Job, request: &StartRequest, lane: Transport) -> Item {
    let until = n(request.until.as_millisecond());
    let began = started.started_at.unwrap_or(request.now).to_string();
    record.extend([
        ("status".to_owned(), s(started.status.as_str())),
        ("epoch".to_owned(), n(started.epoch)),
        ("holder".to_owned(), s(request.holder.as_str())),
        ("lease_until".to_owned(), until.clone()),
        ("started_at".to_owned(), s(began)),
    ]);
    match lane {
        Transport::Runner => drop(record.insert("due_at".to_owned(), until)),
        Transport::Queue => record.retain(|name, _| name != "due_pk" && name != "due_at"),
    }
    record
}
