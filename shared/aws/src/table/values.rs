//! Values that are too large for an item: each is an object of the table's bucket, and the item keeps where it is.
//!
//! An object is written before the record that names it, and never changes: the hash of its content is in its key. So
//! a process that was taken for dead cannot change what another has recorded since.

use std::{borrow::Cow, collections::BTreeMap};

use lamplighter_core::{
    id::RunId,
    job::Job,
    name::TaskName,
    run::{Run, Stored},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Table, TableError};

/// The most that a value may have to stay in its item, as JSON text in bytes.
pub const LARGE: usize = 100_000;
/// How many digits of its hash are in an object's key.
const DIGITS: usize = 16;

/// The arguments among the large values.
const ARGUMENTS: &str = "arguments";

/// Whether a value is too large for an item, where there is a bucket.
pub fn is_large(value: &Value) -> bool {
    value.to_string().len() > LARGE
}

impl Table {
    /// Puts one value of a run into the bucket if it is large, and says where it is then: at
    /// `runs/<task>/<run>/<which>-<hash>.json`. The same value has the same place. Without a bucket every value stays.
    pub async fn put_value(
        &self,
        task: &TaskName,
        run: RunId,
        which: &str,
        value: &Value,
    ) -> Result<Option<Stored>, TableError> {
        let Some(objects) = &self.objects else { return Ok(None) };
        let text = value.to_string();
        if text.len() <= LARGE {
            return Ok(None);
        }
        let hash = crate::hex(&Sha256::digest(&text));
        let key = format!("runs/{task}/{run}/{which}-{}.json", &hash[..DIGITS]);
        let bytes = text.len() as u64;
        objects.put(&key, text.into_bytes()).await?;
        Ok(Some(Stored { key, bytes }))
    }

    /// Gets a value from the bucket.
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

    /// The run as its record has it: its large values are in the bucket when this returns, and it says where.
    pub async fn put_away<'a>(&self, run: &'a Run) -> Result<Cow<'a, Run>, TableError> {
        let mut run = Cow::Borrowed(run);
        if let Some(stored) = self.put_value(&run.task, run.id, "config", &run.config).await? {
            let run = run.to_mut();
            run.config = Value::Null;
            run.large.insert("config".to_owned(), stored);
        }
        if let Some(stored) = self.put_value(&run.task, run.id, ARGUMENTS, &run.arguments).await? {
            let run = run.to_mut();
            run.arguments = Value::Null;
            run.large.insert(ARGUMENTS.to_owned(), stored);
        }
        if let Some(data) = &run.data
            && let Some(stored) = self.put_value(&run.task, run.id, "data", data).await?
        {
            let run = run.to_mut();
            run.data = None;
            run.large.insert("data".to_owned(), stored);
        }
        Ok(run)
    }

    /// The job as its record has it: large arguments are in the bucket when this returns, and it says where.
    pub(super) async fn put_away_job<'a>(&self, job: &'a Job) -> Result<Cow<'a, Job>, TableError> {
        let Some(stored) = self.put_value(&job.task, job.id, ARGUMENTS, &job.arguments).await? else {
            return Ok(Cow::Borrowed(job));
        };
        let large = BTreeMap::from([(ARGUMENTS.to_owned(), stored)]);
        Ok(Cow::Owned(Job { arguments: Value::Null, large, ..job.clone() }))
    }

    /// A job's arguments, from the bucket if they are there.
    pub async fn arguments_of(&self, job: &Job) -> Result<Value, TableError> {
        match job.large.get(ARGUMENTS) {
            Some(stored) => self.get_value(stored).await,
            None => Ok(job.arguments.clone()),
        }
    }

    /// The run with its large values, from the bucket. Nothing is asked if it has none.
    pub async fn whole(&self, mut run: Run) -> Result<Run, TableError> {
        if let Some(stored) = run.large.remove("config") {
            run.config = self.get_value(&stored).await?;
        }
        if let Some(stored) = run.large.remove(ARGUMENTS) {
            run.arguments = self.get_value(&stored).await?;
        }
        if let Some(stored) = run.large.remove("data") {
            run.data = Some(self.get_value(&stored).await?);
        }
        Ok(run)
    }
}
