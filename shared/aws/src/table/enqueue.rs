//! Enqueuing jobs: one by one, where keys may keep a second one out, or many at once.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::types::{AttributeValue, Put, PutRequest, TransactWriteItem, WriteRequest};
use jiff::Timestamp;
use lamplighter_core::{
    id::RunId,
    job::{Job, JobKey, OnTwin, Scope, Unique},
    name::TaskName,
    status::Status,
    value::sorted,
};

use sha2::{Digest as _, Sha256};

use super::{
    CommitError, Table, TableError,
    item::{Item, n, s, to_item},
    job::{Found, Lane},
    schema::job_keys_pk,
    transact,
};
use crate::hex;

/// How many records one request takes.
const BATCH: usize = 25;
/// How often a request is made again for the records that the service did not take.
const TRIES: u32 = 8;
/// How often keys are tried again that others take and free at the same time.
const ROUNDS: usize = 5;

/// By what a job is told from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobKeys {
    /// Its own id, for as long as its record is kept.
    pub id: Option<String>,
    /// What it must be the only one of.
    pub unique: Option<Unique>,
}

/// What became of an enqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Enqueued {
    /// The job has its record.
    New,
    /// Another job stands in its place.
    Joined(RunId),
    /// Another job keeps it out.
    Refused(RunId),
}

/// A key item that is to be taken.
struct Taking {
    sk: String,
    until: Timestamp,
    on_twin: OnTwin,
    /// Whether it is free once its job is over.
    ends: bool,
}

impl Table {
    /// Writes the record of a new job. One write unit without keys; with them a transaction with an item for each, at twice
    /// the units. A key whose job is over, or whose time is, is taken over.
    pub async fn enqueue(
        &self,
        job: &Job,
        keys: &JobKeys,
        lane: Lane,
        now: Timestamp,
    ) -> Result<Enqueued, TableError> {
        let item = self.item_of(&*self.put_away_job(job).await?, lane.place(job, now))?;
        let takings = self.takings(job, keys, now);
        if takings.is_empty() {
            // Ids are random: one that is there is this very write, whose response was lost.
            let put = self.client.put_item().table_name(&self.name).set_item(Some(item)).send().await;
            return put.map(|_| Enqueued::New).map_err(|error| self.failed("enqueue a job", &error));
        }
        let mut taken_from: HashMap<String, RunId> = HashMap::new();
        for _ in 0..ROUNDS {
            let mut writes = vec![TransactWriteItem::builder().put(self.put_of(item.clone())?).build()];
            for taking in &takings {
                let put = self.taking_of(job, taking, taken_from.get(&taking.sk), now)?;
                writes.push(TransactWriteItem::builder().put(put).build());
            }
            match transact(&self.client, writes).await {
                // The record is there already: by this very transaction, whose response was lost.
                Ok(()) | Err(CommitError::Refused { index: 0 }) => return Ok(Enqueued::New),
                Err(CommitError::Refused { .. } | CommitError::LostHold) => {}
                Err(CommitError::Service(cause)) => {
                    return Err(TableError::Service {
                        table: self.name.clone(),
                        operation: "enqueue a job",
                        cause,
                    });
                }
            }
            for taking in &takings {
                let Some(twin) = self.holder_of(&job.task, &taking.sk, now).await? else { continue };
                if twin == job.id {
                    return Ok(Enqueued::New);
                }
                let key = JobKey { task: job.task.clone(), run_id: twin };
                match self.job(&key).await? {
                    Some(Found::Over(_)) | None if taking.ends => {
                        taken_from.insert(taking.sk.clone(), twin);
                    }
                    _ => {
                        return Ok(match taking.on_twin {
                            OnTwin::Refuse => Enqueued::Refused(twin),
                            OnTwin::Join => Enqueued::Joined(twin),
                        });
                    }
                }
            }
        }
        let cause = "others take and free its keys at the same time: try again".to_owned();
        Err(TableError::Service { table: self.name.clone(), operation: "enqueue a job", cause })
    }

    fn takings(&self, job: &Job, keys: &JobKeys, now: Timestamp) -> Vec<Taking> {
        let later = |wait: Duration| now.saturating_add(wait).unwrap_or(Timestamp::MAX);
        let id = keys.id.iter().map(|id| Taking {
            sk: format!("ID#{id}"),
            until: later(self.retention),
            on_twin: OnTwin::Join,
            ends: false,
        });
        let unique = keys.unique.iter().map(|unique| Taking {
            sk: match &unique.scope {
                Scope::Task => "ONLY#".to_owned(),
                Scope::Arguments => format!("ARGUMENTS#{}", hex(&Sha256::digest(sorted(&job.arguments)))),
                Scope::Key(key) => format!("KEY#{key}"),
            },
            until: later(unique.within),
            on_twin: unique.on_twin,
            ends: true,
        });
        id.chain(unique).collect()
    }

    /// The write that takes a key, which must be free, or that of a job which is over.
    fn taking_of(
        &self,
        job: &Job,
        taking: &Taking,
        from: Option<&RunId>,
        now: Timestamp,
    ) -> Result<Put, TableError> {
        let item = Item::from([
            ("pk".to_owned(), s(job_keys_pk(&job.task))),
            ("sk".to_owned(), s(&taking.sk)),
            ("run_id".to_owned(), s(job.id.to_string())),
            ("held_until".to_owned(), n(taking.until.as_millisecond())),
            ("expires_at".to_owned(), n(taking.until.as_second().saturating_add(1))),
        ]);
        let put = Put::builder().table_name(&self.name).set_item(Some(item));
        let put = match from {
            None => put
                .condition_expression("attribute_not_exists(pk) OR held_until < :now")
                .expression_attribute_values(":now", n(now.as_millisecond())),
            Some(twin) => put
                .condition_expression("run_id = :twin")
                .expression_attribute_values(":twin", s(twin.to_string())),
        };
        put.build().map_err(|error| self.failed("describe a job's key", &error))
    }

    /// The job that has a key now.
    async fn holder_of(
        &self,
        task: &TaskName,
        sk: &str,
        now: Timestamp,
    ) -> Result<Option<RunId>, TableError> {
        let item = self.get(job_keys_pk(task), sk, "read a job's key").await?;
        let Some(item) = item else { return Ok(None) };
        let until =
            item.get("held_until").and_then(|it| it.as_n().ok()).and_then(|it| it.parse::<i64>().ok());
        if until.is_none_or(|until| until < now.as_millisecond()) {
            return Ok(None);
        }
        let holder = item.get("run_id").and_then(|it| it.as_s().ok()).and_then(|it| it.parse().ok());
        holder.map(Some).ok_or_else(|| TableError::Malformed {
            table: self.name.clone(),
            key: super::item::key(&item),
            cause: "`run_id` is not a run's id".to_owned(),
        })
    }

    /// Writes the records of many new jobs, 25 with a request. Returns those that the service did not take in the end, with the
    /// reason; the others have their records.
    pub async fn enqueue_all(&self, jobs: &[Job], lane: Lane, now: Timestamp) -> Vec<(RunId, TableError)> {
        let mut failed = Vec::new();
        for jobs in jobs.chunks(BATCH) {
            let mut items = Vec::with_capacity(jobs.len());
            for job in jobs {
                let item = match self.put_away_job(job).await {
                    Ok(kept) => self.item_of(&kept, lane.place(job, now)),
                    Err(error) => Err(error),
                };
                match item {
                    Ok(item) => items.push(item),
                    Err(error) => failed.push((job.id, error)),
                }
            }
            if let Err((left, cause)) = self.put_all(items).await {
                failed.extend(jobs.iter().filter(|job| left.contains(&job.id.to_string())).map(|job| {
                    let cause = cause.clone();
                    let operation = "enqueue jobs";
                    (job.id, TableError::Service { table: self.name.clone(), operation, cause })
                }));
            }
        }
        failed
    }

    /// Writes items, or says by their sort keys which are left, and why.
    async fn put_all(&self, items: Vec<Item>) -> Result<(), (Vec<String>, String)> {
        let mut pause = Duration::from_millis(50);
        // An item that is there cannot be missing.
        let puts =
            items.into_iter().filter_map(|item| PutRequest::builder().set_item(Some(item)).build().ok());
        let mut requests: Vec<_> = puts.map(|put| WriteRequest::builder().put_request(put).build()).collect();
        for _ in 0..TRIES {
            if requests.is_empty() {
                return Ok(());
            }
            let asked = keys_of(&requests);
            let sent = self.client.batch_write_item().request_items(&self.name, requests).send().await;
            let output = sent.map_err(|error| (asked, crate::clients::cause(&error)))?;
            requests = output.unprocessed_items.unwrap_or_default().remove(&self.name).unwrap_or_default();
            if !requests.is_empty() {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
        if requests.is_empty() {
            Ok(())
        } else {
            Err((keys_of(&requests), "the table takes no more writes for now".to_owned()))
        }
    }

    /// Notes with a job that another one comes after it. False if it is over already, or is not there: whoever asked looks
    /// at its record then. One write.
    pub async fn follow(&self, first: &JobKey, follower: &JobKey) -> Result<bool, TableError> {
        let entry = AttributeValue::M(HashMap::from([
            ("task".to_owned(), s(follower.task.as_str())),
            ("run_id".to_owned(), s(follower.run_id.to_string())),
        ]));
        let update = self
            .update_job(first)
            .update_expression("SET followers = list_append(if_not_exists(followers, :none), :follower)")
            .condition_expression("#status IN (:pending, :running)")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pending", s(Status::Pending.as_str()))
            .expression_attribute_values(":running", s(Status::Running.as_str()))
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":follower", AttributeValue::L(vec![entry]));
        self.held("note what comes after a job", update.send().await)
    }

    /// Lets a job start that has waited for others, with these arguments. False if it waits no more. One write.
    pub async fn release_job(&self, job: &Job, lane: Lane, now: Timestamp) -> Result<bool, TableError> {
        let kept = self.put_away_job(job).await?;
        let freed = Job { after: Vec::new(), receives: None, ..job.clone() };
        let place = lane.place(&freed, now);
        let index = if place.is_some() { ", due_pk = :due_pk, due_at = :due_at" } else { "" };
        let gone = if place.is_some() { "" } else { ", due_pk, due_at" };
        let update = self
            .update_job(&job.key())
            .update_expression(format!(
                "SET arguments = :arguments, #large = :large{index} REMOVE waits_for, receives{gone}"
            ))
            .condition_expression("#status = :pending AND attribute_exists(waits_for)")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pending", s(Status::Pending.as_str()))
            .expression_attribute_values(":arguments", s(kept.arguments.to_string()))
            .expression_attribute_names("#large", "large")
            .expression_attribute_values(":large", large(&kept));
        let update = match place {
            Some((pk, at)) => update
                .expression_attribute_values(":due_pk", s(pk))
                .expression_attribute_values(":due_at", n(at.as_millisecond())),
            None => update,
        };
        self.held("let a job start", update.send().await)
    }
}

/// The sort keys of items that are to be written.
fn keys_of(requests: &[WriteRequest]) -> Vec<String> {
    let key = |request: &WriteRequest| request.put_request()?.item().get("sk")?.as_s().ok().cloned();
    requests.iter().filter_map(key).collect()
}

/// Where a job's large arguments are.
fn large(job: &Job) -> AttributeValue {
    let value = serde_json::json!({ "large": job.large });
    to_item(value).remove("large").unwrap_or_else(|| AttributeValue::M(HashMap::new()))
}
