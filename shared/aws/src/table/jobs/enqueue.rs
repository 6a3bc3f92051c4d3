//! Enqueuing jobs: one by one with unique keys, or many at once.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::types::{AttributeValue, Put, PutRequest, TransactWriteItem, WriteRequest};
use jiff::Timestamp;
use lamplighter_core::{
    digest::sha256,
    id::RunId,
    job::{Job, JobKey, LONGEST_LIFE, NewJob, OnConflict, Scope, Unique},
    retry::Retry,
    status::Status,
    value::sorted,
};

use crate::{
    random::jitter,
    table::{
        Table, TableError,
        item::{Item, n, s, to_item},
        jobs::transport::Transport,
        keys::{Key, UniqueItem},
        record::JobRecord,
        transaction::{CommitError, transact},
    },
};

/// The number of records in one request.
const BATCH: usize = 25;
/// The maximum number of requests for one batch, since the service may leave records unprocessed.
const TRIES: u32 = 8;
/// The attempts to claim keys that other jobs take and free at the same time, and the pauses between them.
const ROUNDS: Retry =
    Retry { max_attempts: 8, initial: Duration::from_millis(10), max: Duration::from_millis(500) };

/// The keys that only one job of a task can have at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobKeys {
    /// The id that the enqueuer chose. It is taken as long as the job's record is kept.
    pub id: Option<String>,
    /// The run that the job replays. No other job can replay it as long as the job's record is kept.
    pub replay_of: Option<RunId>,
    /// The scope in which the job must be unique.
    pub unique: Option<Unique>,
}

impl JobKeys {
    /// The keys of a new job.
    pub(crate) fn of(new: &NewJob) -> Self {
        let replay_of = new.retry_of.filter(|_| new.is_replay);
        Self { id: new.id.clone(), replay_of, unique: new.unique.clone() }
    }
}

/// The result of enqueuing a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum EnqueueOutcome {
    /// The job is enqueued.
    New,
    /// An existing job with its key was joined.
    Joined(RunId),
    /// An existing job with its key refuses it.
    Refused(RunId),
}

/// The claim of a unique key.
pub(super) struct KeyClaim {
    key: Key,
    /// The time until which the key excludes other jobs. `None` if it excludes them as long as its job's record is
    /// kept.
    until: Option<Timestamp>,
    /// When its item may be deleted.
    expires: Timestamp,
    pub(super) on_twin: OnConflict,
}

/// The state of a key for a job that claims it.
pub(super) enum KeyState {
    /// No job has it.
    Free,
    /// The job itself has it.
    Own,
    /// Another job has it, and keeps this one out.
    Held(RunId),
    /// Another job has it but no longer excludes this one, since that job is over or gone, or the key's time has
    /// passed.
    Ended(RunId),
}

/// The job that has a key.
struct Holder {
    run_id: RunId,
    until: Option<Timestamp>,
}

impl Table {
    /// Writes the record of a new job. One write unit without keys. With keys, a transaction with an item for each, at
    /// twice the units. A unique key is taken over if its job is over or its time has passed, an id only if its job's
    /// record is gone. A job that is joined or refused leaves neither an item nor an object.
    pub async fn enqueue(
        &self,
        job: &Job,
        keys: &JobKeys,
        transport: Transport,
        now: Timestamp,
    ) -> Result<EnqueueOutcome, TableError> {
        let kept = self.put_away_job(job).await?;
        let key_claims = self.key_claims(job, keys, now);
        let enqueued = match self.item_of_job(&kept, transport.place(job, now)) {
            Ok(item) if key_claims.is_empty() => self.enqueue_item(item).await,
            // Boxed, so that the future of an enqueue without keys, the usual case, stays small.
            Ok(item) => Box::pin(self.enqueue_keyed(job, item, &key_claims, now)).await,
            Err(error) => {
                self.discard(&kept).await;
                return Err(error);
            }
        };
        // After an error of the service it is not known whether the record is there.
        if matches!(enqueued, Ok(EnqueueOutcome::Joined(_) | EnqueueOutcome::Refused(_))) {
            self.discard(&kept).await;
        }
        enqueued
    }

    async fn enqueue_item(&self, item: Item) -> Result<EnqueueOutcome, TableError> {
        let put = self.put(item);
        let sent = put.condition_expression("attribute_not_exists(pk)").send().await;
        // Ids are random, so an existing record is from an earlier attempt of this write, whose response was lost. The
        // job may have started since.
        self.applied("enqueue a job", sent).map(|_| EnqueueOutcome::New)
    }

    async fn enqueue_keyed(
        &self,
        job: &Job,
        item: Item,
        key_claims: &[KeyClaim],
        now: Timestamp,
    ) -> Result<EnqueueOutcome, TableError> {
        let mut taken_from: HashMap<&str, RunId> = HashMap::new();
        for round in 1..=ROUNDS.max_attempts {
            let mut writes = vec![TransactWriteItem::builder().put(self.put_of(item.clone())?).build()];
            for taking in key_claims {
                let put = self.taking_of(job, taking, taken_from.get(taking.key.sk.as_str()), now)?;
                writes.push(TransactWriteItem::builder().put(put).build());
            }
            let refused = match transact(&self.client, writes).await {
                // The record exists, so an earlier attempt of this transaction succeeded and its response was lost.
                Ok(()) | Err(CommitError::Refused { index: 0 }) => return Ok(EnqueueOutcome::New),
                // Only the key whose condition failed may keep the job out.
                Err(CommitError::Refused { index }) => key_claims.get(index - 1),
                Err(CommitError::LostHold) => None,
                Err(CommitError::Service(cause)) => {
                    return Err(TableError::Service {
                        table: self.name.clone(),
                        operation: "enqueue a job",
                        cause,
                    });
                }
            };
            if let Some(taking) = refused {
                match self.key_state(job, taking, now).await? {
                    KeyState::Own => return Ok(EnqueueOutcome::New),
                    KeyState::Held(twin) => {
                        return Ok(match taking.on_twin {
                            OnConflict::Refuse => EnqueueOutcome::Refused(twin),
                            OnConflict::Join => EnqueueOutcome::Joined(twin),
                        });
                    }
                    KeyState::Ended(twin) => drop(taken_from.insert(&taking.key.sk, twin)),
                    // It was freed meanwhile.
                    KeyState::Free => drop(taken_from.remove(taking.key.sk.as_str())),
                }
            }
            tokio::time::sleep(ROUNDS.pause(round, jitter())).await;
        }
        let cause = "others take and free its keys at the same time: try again".to_owned();
        Err(TableError::Service { table: self.name.clone(), operation: "enqueue a job", cause })
    }

    /// The state of a key, by one or two reads.
    pub(super) async fn key_state(
        &self,
        job: &Job,
        taking: &KeyClaim,
        now: Timestamp,
    ) -> Result<KeyState, TableError> {
        let Some(twin) = self.holder_of(taking.key.clone()).await? else { return Ok(KeyState::Free) };
        if twin.run_id == job.id {
            return Ok(KeyState::Own);
        }
        let key = JobKey { task: job.task.clone(), run_id: twin.run_id };
        let keeps_out = match self.job(&key).await? {
            None => false,
            Some(JobRecord::Open(_)) => taking.until.is_none() || twin.until >= Some(now),
            Some(JobRecord::Over(_)) => taking.until.is_none(),
        };
        Ok(if keeps_out { KeyState::Held(twin.run_id) } else { KeyState::Ended(twin.run_id) })
    }

    pub(super) fn key_claims(&self, job: &Job, keys: &JobKeys, now: Timestamp) -> Vec<KeyClaim> {
        let later = |wait: Duration| now.saturating_add(wait).unwrap_or(Timestamp::MAX);
        let id = keys.id.iter().map(|id| UniqueItem::Id(id));
        let ids = id.chain(keys.replay_of.map(UniqueItem::Replay)).map(|item| KeyClaim {
            key: Key::unique(&job.task, item),
            until: None,
            expires: later(LONGEST_LIFE.saturating_add(self.retention)),
            on_twin: OnConflict::Join,
        });
        let unique = keys.unique.iter().map(|unique| KeyClaim {
            key: match &unique.scope {
                Scope::Task => Key::unique(&job.task, UniqueItem::Only),
                Scope::Arguments => {
                    let hash = sha256(sorted(&job.arguments));
                    Key::unique(&job.task, UniqueItem::Arguments(&hash))
                }
                Scope::Key(key) => Key::unique(&job.task, UniqueItem::Key(key)),
            },
            until: Some(later(unique.within)),
            expires: later(unique.within),
            on_twin: unique.on_twin,
        });
        ids.chain(unique).collect()
    }

    /// Returns the write that claims a key. With `from`, its condition is that this job still has the key. Otherwise
    /// the key must be free, or its time must have passed.
    pub(super) fn taking_of(
        &self,
        job: &Job,
        taking: &KeyClaim,
        from: Option<&RunId>,
        now: Timestamp,
    ) -> Result<Put, TableError> {
        let mut item = taking.key.clone().attributes();
        item.insert("run_id".to_owned(), s(job.id.to_string()));
        item.insert("expires_at".to_owned(), n(taking.expires.as_second().saturating_add(1)));
        if let Some(until) = taking.until {
            item.insert("held_until".to_owned(), n(until.as_millisecond()));
        }
        let put = Put::builder().table_name(&self.name).set_item(Some(item));
        let put = match (from, taking.until) {
            (Some(twin), _) => put
                .condition_expression("run_id = :twin")
                .expression_attribute_values(":twin", s(twin.to_string())),
            (None, Some(_)) => put
                .condition_expression("attribute_not_exists(pk) OR held_until < :now")
                .expression_attribute_values(":now", n(now.as_millisecond())),
            (None, None) => put.condition_expression("attribute_not_exists(pk)"),
        };
        put.build().map_err(|error| self.failed("describe a job's key", &error))
    }

    /// Withdraws a job that has not started, with its keys and its objects.
    pub async fn withdraw(&self, job: &Job, keys: &JobKeys, now: Timestamp) -> Result<(), TableError> {
        let kept = self.put_away_job(job).await?;
        if !self.delete_unstarted(job).await? {
            return Ok(());
        }
        for taking in self.key_claims(job, keys, now) {
            let deleted = self
                .delete(taking.key)
                .condition_expression("run_id = :own")
                .expression_attribute_values(":own", s(job.id.to_string()));
            // Another job may have taken it over by now.
            self.applied("take a job's key back", deleted.send().await)?;
        }
        self.discard(&kept).await;
        Ok(())
    }

    /// The job that has a key.
    async fn holder_of(&self, key: Key) -> Result<Option<Holder>, TableError> {
        let item = self.get(key, "read a job's key").await?;
        let Some(item) = item else { return Ok(None) };
        let until = item.get("held_until").and_then(|it| it.as_n().ok()).and_then(|it| it.parse().ok());
        let until = until.and_then(|until| Timestamp::from_millisecond(until).ok());
        let holder = item.get("run_id").and_then(|it| it.as_s().ok()).and_then(|it| it.parse().ok());
        holder.map(|run_id| Some(Holder { run_id, until })).ok_or_else(|| TableError::Malformed {
            table: self.name.clone(),
            key: crate::table::item::key(&item),
            cause: "`run_id` is not a run's id".to_owned(),
        })
    }

    /// Writes the records of many new jobs, 25 with a request. Returns the jobs whose records could not be written,
    /// with the errors.
    pub async fn enqueue_all(
        &self,
        jobs: &[Job],
        transport: Transport,
        now: Timestamp,
    ) -> Vec<(RunId, TableError)> {
        let mut failed = Vec::new();
        for jobs in jobs.chunks(BATCH) {
            let mut items = Vec::with_capacity(jobs.len());
            for job in jobs {
                let item = match self.put_away_job(job).await {
                    Ok(kept) => match self.item_of_job(&kept, transport.place(job, now)) {
                        Err(error) => {
                            self.discard(&kept).await;
                            Err(error)
                        }
                        item => item,
                    },
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

    /// Writes items. The error has the sort keys of the items that were left, and the cause.
    async fn put_all(&self, items: Vec<Item>) -> Result<(), (Vec<String>, String)> {
        let mut pause = Duration::from_millis(50);
        // `build` fails only if no item is set.
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

    /// Adds a follower to a job. Returns false if the job is over or missing: then its record must be checked. One write.
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
        self.applied("note what comes after a job", update.send().await)
    }

    /// Releases a job that has waited for others, with its new arguments. Returns false if it does not wait. One write.
    pub async fn release_job(
        &self,
        job: &Job,
        transport: Transport,
        now: Timestamp,
    ) -> Result<bool, TableError> {
        let kept = self.put_away_job(job).await?;
        let freed = Job { after: Vec::new(), receives: None, ..job.clone() };
        let place = transport.place(&freed, now);
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
        self.applied("let a job start", update.send().await)
    }
}

/// The sort keys of items that are to be written.
fn keys_of(requests: &[WriteRequest]) -> Vec<String> {
    let key = |request: &WriteRequest| request.put_request()?.item().get("sk")?.as_s().ok().cloned();
    requests.iter().filter_map(key).collect()
}

/// The references to a job's large arguments.
fn large(job: &Job) -> AttributeValue {
    let value = serde_json::json!({ "large": job.large });
    to_item(value).remove("large").unwrap_or_else(|| AttributeValue::M(HashMap::new()))
}
