//! Between the table's items and runs or jobs.
//!
//! A run and a job share one item, the record. Until the run is over the item holds a job, from then on a run.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use lamplighter_core::{
    id::RunId,
    job::{Job, JobKey, Lease},
    run::{Attempt, Run},
    status::Status,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    MAX_VALUE_BYTES, Table, TableError,
    item::{self, Item, n, s},
    keys::Key,
};

/// The attributes with values of users, stored as JSON text.
const TEXTS: [&str; 3] = ["config", "data", "arguments"];
/// The times of a job that conditions compare, kept in milliseconds.
const TIMES: [&str; 3] = ["not_before", "start_by", "full_since"];

/// An item of the table that is not what Lamplighter writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnreadableItem {
    /// Its key.
    pub key: String,
    /// The cause.
    pub cause: String,
}

/// The record of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobRecord {
    /// The job is not over.
    Open(Box<Job>),
    /// The job is over.
    Over(Box<Run>),
}

impl JobRecord {
    /// Its run's id.
    pub fn id(&self) -> RunId {
        match self {
            Self::Open(job) => job.id,
            Self::Over(run) => run.id,
        }
    }

    /// Its status.
    pub fn status(&self) -> Status {
        match self {
            Self::Open(job) => job.status,
            Self::Over(run) => run.status,
        }
    }
}

impl Table {
    /// The job or the run that an item holds.
    pub(crate) fn job_record(&self, item: Item) -> Result<JobRecord, TableError> {
        Ok(if is_open(&item) {
            JobRecord::Open(Box::new(self.job_of(item)?))
        } else {
            JobRecord::Over(Box::new(self.run_of(item)?))
        })
    }

    /// The run that an item holds. If it holds a job that is not over, the run's end is the job's first start, or its
    /// enqueue if it has not started.
    pub(crate) fn run_of(&self, item: Item) -> Result<Run, TableError> {
        if is_open(&item) {
            let job = self.job_of(item)?;
            let known = job.started_at.unwrap_or(job.id.made_at());
            return Ok(job.as_run(known));
        }
        let key = item::key(&item);
        let malformed =
            |cause: String| TableError::Malformed { table: self.name.clone(), key: key.clone(), cause };
        let mut value = item::to_json(item);
        read_texts(&mut value).map_err(malformed)?;
        if value.get("config").is_none() {
            value["config"] = Value::Null;
        }
        serde_json::from_value(value).map_err(|error| malformed(error.to_string()))
    }

    /// The job that an item holds.
    pub(crate) fn job_of(&self, item: Item) -> Result<Job, TableError> {
        let key = item::key(&item);
        let malformed =
            |cause: String| TableError::Malformed { table: self.name.clone(), key: key.clone(), cause };
        let mut value = item::to_json(item);
        read_texts(&mut value).map_err(malformed)?;
        let time = |value: &Value| value.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        if let (Some(holder), Some(until)) = (value["holder"].as_str(), time(&value["lease_until"])) {
            let lease = Lease { holder: holder.into(), until };
            value["lease"] = serde_json::to_value(lease).map_err(|error| malformed(error.to_string()))?;
        }
        for name in TIMES {
            if let Some(at) = time(&value[name]) {
                value[name] = Value::String(at.to_string());
            }
        }
        serde_json::from_value(value).map_err(|error| malformed(error.to_string()))
    }

    /// The followers of the job in an item: the jobs that wait for it.
    pub(crate) fn followers_of(&self, mut item: Item) -> Result<Vec<JobKey>, TableError> {
        let Some(followers) = item.remove("followers") else { return Ok(Vec::new()) };
        serde_json::from_value(item::from_attribute(followers)).map_err(|error| TableError::Malformed {
            table: self.name.clone(),
            key: item::key(&item),
            cause: format!("`followers`: {error}"),
        })
    }

    /// The item of a job that has not started.
    pub(crate) fn item_of_job(
        &self,
        job: &Job,
        place: Option<(String, Timestamp)>,
    ) -> Result<Item, TableError> {
        let malformed = |error: serde_json::Error| TableError::Malformed {
            table: self.name.clone(),
            key: job.key().to_string(),
            cause: error.to_string(),
        };
        let mut value = serde_json::to_value(job).map_err(malformed)?;
        write_texts(&mut value)?;
        let times = [("not_before", job.not_before), ("start_by", job.start_by)];
        let mut item = item::to_item(value);
        for (name, at) in times {
            if let Some(at) = at {
                item.insert(name.into(), n(at.as_millisecond()));
            }
        }
        item.extend(Key::run(&job.task, job.id).attributes());
        item.insert("trigger".into(), s("queue"));
        if let Some((pk, at)) = place {
            item.insert("due_pk".into(), s(pk));
            item.insert("due_at".into(), n(at.as_millisecond()));
        }
        Ok(item)
    }
}

/// Returns true if the item is that of a run that is not over.
pub(crate) fn is_open(item: &Item) -> bool {
    let status = item.get("status").and_then(|status| status.as_s().ok());
    status.and_then(|word| word.parse::<Status>().ok()).is_some_and(|status| !status.is_terminal())
}

/// The item of a run. `retention` is how long it is kept.
pub(crate) fn item_of_run(run: &Run, retention: Duration) -> Result<Item, TableError> {
    // Not expected: all keys of a run are strings, so it can be written as JSON.
    let unwritable = |error: serde_json::Error| TableError::Malformed {
        table: String::new(),
        key: Key::run(&run.task, run.id).to_string(),
        cause: error.to_string(),
    };
    let mut value = serde_json::to_value(run).map_err(unwritable)?;
    write_texts(&mut value)?;
    let mut item = item::to_item(value);
    item.extend(Key::run(&run.task, run.id).attributes());
    item.insert("duration_ms".into(), n(run.duration_ms()));
    let retention = i64::try_from(retention.as_secs()).unwrap_or(i64::MAX);
    item.insert("expires_at".into(), n(run.completed_at.as_second().saturating_add(retention)));
    Ok(item)
}

pub(crate) fn list_of_attempts(attempts: &[Attempt]) -> AttributeValue {
    item::to_attribute(serde_json::json!(attempts))
}

/// Parses the values of users. The error names the attribute.
pub(crate) fn read_texts(value: &mut Value) -> Result<(), String> {
    for name in TEXTS {
        if let Some(text) = value[name].as_str() {
            value[name] = serde_json::from_str(text).map_err(|e| format!("`{name}`: {e}"))?;
        }
    }
    Ok(())
}

/// Converts the values of users to JSON text. Fails if they exceed [`MAX_VALUE_BYTES`].
pub(crate) fn write_texts(value: &mut Value) -> Result<(), TableError> {
    let mut bytes = 0;
    for name in TEXTS {
        if !value[name].is_null() {
            let text = value[name].to_string();
            bytes += text.len();
            if text.len() > MAX_VALUE_BYTES {
                return Err(TableError::TooLarge { what: name, bytes: text.len() });
            }
            if bytes > MAX_VALUE_BYTES {
                return Err(TableError::TooLarge {
                    what: "data with the configuration and the arguments",
                    bytes,
                });
            }
            value[name] = Value::String(text);
        }
    }
    Ok(())
}
