//! Values that are too large for an item: each is an object in the table's bucket, and the item holds its key.
//!
//! An object is written before the record that refers to it, and never changes: its key contains the hash of its content. So a
//! process that was taken for dead cannot change the values of a later record.

use std::{borrow::Cow, collections::BTreeMap};

use lamplighter_core::{
    digest::sha256,
    id::RunId,
    job::Job,
    name::TaskName,
    run::{Run, Stored},
};
use serde_json::Value;

use crate::table::{Table, TableError};

/// The maximum size of a value that stays in its item, in bytes of JSON text.
pub const LARGE: usize = 100_000;
/// The number of digits of the hash in an object's key.
const DIGITS: usize = 16;

/// The arguments among the large values.
const ARGUMENTS: &str = "arguments";
/// The data among the large values.
const DATA: &str = "data";
/// The folder of the values of runs. Objects expire when no task keeps records for that long.
pub const RUNS_FOLDER: &str = "runs";
/// The folder of the arguments of jobs. Objects are kept for as long as a job may run or be replayed.
pub const JOBS_FOLDER: &str = "jobs";

/// Returns true if a value is too large for an item, where there is a bucket.
pub fn is_large(value: &Value) -> bool {
    value.to_string().len() > LARGE
}

impl Table {
    /// Puts a value of a run into the bucket if it is large, at the key `<folder>/<task>/<run>/<which>-<hash>.json`.
    /// The same value always has the same key. Returns `None` if the value is not large, or if there is no bucket.
    async fn put_value(
        &self,
        folder: &str,
        (task, run): (&TaskName, RunId),
        which: &str,
        value: &Value,
    ) -> Result<Option<Stored>, TableError> {
        let Some(objects) = &self.objects else { return Ok(None) };
        let text = value.to_string();
        if text.len() <= LARGE {
            return Ok(None);
        }
        let hash = sha256(&text);
        let key = format!("{folder}/{task}/{run}/{which}-{}.json", &hash[..DIGITS]);
        let bytes = text.len() as u64;
        objects.put(&key, text.into_bytes()).await?;
        Ok(Some(Stored { key, bytes }))
    }

    /// Reads a value from the bucket.
    pub async fn get_value(&self, stored: &Stored) -> Result<Value, TableError> {
        let Stored { key, bytes } = stored;
        let Some(objects) = &self.objects else { return Err(TableError::NoBucket { key: key.clone() }) };
        let text = objects.get(key, *bytes).await?;
        serde_json::from_slice(&text).map_err(|error| TableError::Malformed {
            table: self.name.clone(),
            key: format!("{} / {key}", objects.bucket()),
            cause: error.to_string(),
        })
    }

    /// Moves the large values of a run to the bucket, and returns the run with references to them.
    pub async fn put_away<'a>(&self, run: &'a Run) -> Result<Cow<'a, Run>, TableError> {
        let mut run = Cow::Borrowed(run);
        if let Some(stored) = self.put_value(RUNS_FOLDER, (&run.task, run.id), "config", &run.config).await? {
            let run = run.to_mut();
            run.config = Value::Null;
            run.large.insert("config".to_owned(), stored);
        }
        if let Some(stored) =
            self.put_value(RUNS_FOLDER, (&run.task, run.id), ARGUMENTS, &run.arguments).await?
        {
            let run = run.to_mut();
            run.arguments = Value::Null;
            run.large.insert(ARGUMENTS.to_owned(), stored);
        }
        if let Some(data) = &run.data
            && let Some(stored) = self.put_value(RUNS_FOLDER, (&run.task, run.id), DATA, data).await?
        {
            let run = run.to_mut();
            run.data = None;
            run.large.insert(DATA.to_owned(), stored);
        }
        Ok(run)
    }

    /// Moves large arguments of a job to the bucket, and returns the job with a reference to them.
    pub(crate) async fn put_away_job<'a>(&self, job: &'a Job) -> Result<Cow<'a, Job>, TableError> {
        let stored = self.put_value(JOBS_FOLDER, (&job.task, job.id), ARGUMENTS, &job.arguments).await?;
        let Some(stored) = stored else { return Ok(Cow::Borrowed(job)) };
        let large = BTreeMap::from([(ARGUMENTS.to_owned(), stored)]);
        Ok(Cow::Owned(Job { arguments: Value::Null, large, ..job.clone() }))
    }

    /// Deletes the objects of a job that has no record. An object that cannot be deleted expires later.
    pub(crate) async fn discard(&self, kept: &Job) {
        let Some(objects) = &self.objects else { return };
        for stored in kept.large.values() {
            let _ = objects.delete(&stored.key).await;
        }
    }

    /// A job's arguments, from the bucket if they are there.
    pub async fn arguments_of(&self, job: &Job) -> Result<Value, TableError> {
        match job.large.get(ARGUMENTS) {
            Some(stored) => self.get_value(stored).await,
            None => Ok(job.arguments.clone()),
        }
    }

    /// The data that a run returned, from the bucket if it is there; null if it returned none.
    pub async fn data_of(&self, run: &Run) -> Result<Value, TableError> {
        match run.large.get(DATA) {
            Some(stored) => self.get_value(stored).await,
            None => Ok(run.data.clone().unwrap_or(Value::Null)),
        }
    }

    /// Reads the large values of a run from the bucket. No request if it has none.
    pub async fn whole(&self, mut run: Run) -> Result<Run, TableError> {
        if let Some(stored) = run.large.remove("config") {
            run.config = self.get_value(&stored).await?;
        }
        if let Some(stored) = run.large.remove(ARGUMENTS) {
            run.arguments = self.get_value(&stored).await?;
        }
        if let Some(stored) = run.large.remove(DATA) {
            run.data = Some(self.get_value(&stored).await?);
        }
        Ok(run)
    }
}
