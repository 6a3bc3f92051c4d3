//! The deployments' ledgers: an entry for each request that was begun, and the ledger's state.
//!
//! A request is found by its id, and the newest entry by the ledger's state. So reads do not grow with the ledger. Entries and
//! requests expire; the ledger's state does not.

use std::{fmt::Write as _, time::Duration};

use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValue, TransactWriteItem, Update};
use jiff::Timestamp;
use lamplighter_core::deployment::{Answered, Entry, EntryKey, Latest, Ledger};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::table::{
    Table, TableError,
    item::{Item, n, s, to_item, to_json},
    keys::{Key, LATEST, Partition},
    transaction::{CommitError, transact},
};

/// The shortest retention of a ledger's entries.
pub const LEDGER_RETENTION: Duration = Duration::from_hours(400 * 24);

/// The result of opening an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Opened {
    /// The entry is the ledger's newest.
    Yes,
    /// Another entry was opened after the ledger was read: read it again.
    Overtaken,
}

/// A request of CloudFormation, by its ledger and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKey<'a> {
    /// The ledger.
    pub ledger: &'a str,
    /// The id.
    pub id: &'a str,
}

/// The state of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its first delivery.
    pub first_at: Timestamp,
    /// Its entry, if one was opened.
    pub entry: Option<EntryKey>,
    /// Its answer, if it was answered without an entry.
    pub answer: Option<Answered>,
}

impl RequestKey<'_> {
    pub(crate) fn key(self) -> Key {
        Key::request(self.ledger, self.id)
    }
}

impl Table {
    /// Notes a delivery of a request at `now`, and returns what is known of it. One write.
    pub async fn receive(&self, request: RequestKey<'_>, now: Timestamp) -> Result<Received, TableError> {
        let update = self
            .request_update(request)
            .update_expression(
                "SET first_at = if_not_exists(first_at, :now), expires_at = if_not_exists(expires_at, :expires)",
            )
            .expression_attribute_values(":now", n(now.as_millisecond()))
            .expression_attribute_values(":expires", self.ledger_expiry(now))
            .return_values(ReturnValue::AllNew);
        let output = update.send().await.map_err(|error| self.failed("note a request", &error))?;
        let item = to_json(output.attributes.unwrap_or_default());
        let first_at = item["first_at"].as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let answer = match item.get("answer") {
            Some(answer) => Some(self.read_as(request.ledger, answer.clone())?),
            None => None,
        };
        let entry = item["entry"].as_str().and_then(|key| key.parse().ok());
        Ok(Received { first_at: first_at.unwrap_or(now), entry, answer })
    }

    /// Reads a ledger for a request, whose entry is `own` if it has one. At most three consistent reads.
    pub async fn ledger(&self, ledger: &str, own: Option<&EntryKey>) -> Result<Ledger, TableError> {
        let latest = self.latest(ledger).await?;
        let newest = match &latest {
            Some(latest) => self.entry(ledger, &latest.entry).await?,
            None => None,
        };
        let own = match own {
            Some(own) if newest.as_ref().is_some_and(|newest| newest.key == *own) => newest.clone(),
            Some(own) => self.entry(ledger, own).await?,
            None => None,
        };
        Ok(Ledger { latest, newest, own, before: Vec::new() })
    }

    /// One entry of a ledger. One consistent read.
    pub async fn entry(&self, ledger: &str, key: &EntryKey) -> Result<Option<Entry>, TableError> {
        self.ledger_item(ledger, Key::entry(ledger, key)).await
    }

    /// The entry of a request, if one was opened. Two consistent reads.
    pub async fn entry_of(&self, request: RequestKey<'_>) -> Result<Option<Entry>, TableError> {
        let item = self.get(request.key(), "read a request").await?;
        let item = item.map(to_json).unwrap_or_default();
        match item["entry"].as_str().and_then(|key| key.parse().ok()) {
            Some(key) => self.entry(request.ledger, &key).await,
            None => Ok(None),
        }
    }

    /// Copies the ledger `by_name` of an earlier version to `ledger` if it is newer: its state and its newest entry.
    /// The old items stay, for a rollback to that version. At most three reads, and a transaction if there is something
    /// to copy.
    pub async fn move_ledger(&self, by_name: &str, ledger: &str) -> Result<(), TableError> {
        let Some(old) = self.latest(by_name).await? else { return Ok(()) };
        let current = self.latest(ledger).await?;
        if current.as_ref().is_some_and(|current| current.entry >= old.entry) {
            return Ok(());
        }
        let mut writes = vec![self.put_latest(ledger, &old, current.as_ref())?];
        if let Some(mut newest) = self.entry(by_name, &old.entry).await? {
            ledger.clone_into(&mut newest.deployment.ledger);
            let request = RequestKey { ledger, id: newest.key.request_id() };
            writes.push(self.put_entry(&newest, false)?);
            writes.push(self.point_to(request, &newest.key, newest.started_at, false)?);
        }
        match transact(&self.client, writes).await {
            // Another process has moved it.
            Ok(()) | Err(CommitError::Refused { .. } | CommitError::LostHold) => Ok(()),
            Err(CommitError::Service(cause)) => Err(self.transaction_failed("move a ledger", cause)),
        }
    }

    /// The entries of a ledger, newest first, at most `limit`.
    pub async fn deployments(&self, ledger: &str, limit: u16) -> Result<Vec<Entry>, TableError> {
        let page = self
            .query(Partition::Ledger(ledger))
            .key_condition_expression("pk = :pk AND sk < :latest")
            .expression_attribute_values(":latest", s(LATEST))
            .scan_index_forward(false)
            .limit(i32::from(limit))
            .send()
            .await
            .map_err(|error| self.failed("read a ledger", &error))?;
        page.items.unwrap_or_default().into_iter().map(|item| self.parsed(ledger, item)).collect()
    }

    /// Writes a new entry and makes it the ledger's newest, unless the ledger's state is no longer `seen`, or the
    /// request has an entry or an answer. One transaction, so that of two deliveries of a request one opens the entry
    /// and the other continues it. The ledger's last success becomes `entry.previous`, so a rollback changes it when it
    /// is opened, not when it is closed.
    pub async fn open(&self, entry: &Entry, seen: Option<&Latest>) -> Result<Opened, TableError> {
        let ledger = &entry.deployment.ledger;
        let latest = Latest { entry: entry.key.clone(), successful: entry.previous.clone(), deleted: None };
        let request = RequestKey { ledger, id: entry.key.request_id() };
        let writes = vec![
            self.put_latest(ledger, &latest, seen)?,
            self.put_entry(entry, true)?,
            self.point_to(request, &entry.key, entry.started_at, true)?,
        ];
        match transact(&self.client, writes).await {
            Ok(()) => Ok(Opened::Yes),
            Err(CommitError::Refused { .. } | CommitError::LostHold) => Ok(Opened::Overtaken),
            Err(CommitError::Service(cause)) => Err(self.transaction_failed("open a deployment", cause)),
        }
    }

    /// Writes the progress of a deployment's tasks. One write.
    pub async fn progress(&self, entry: &Entry) -> Result<(), TableError> {
        let tasks = self.value(entry, "tasks")?;
        let update = self
            .update(Key::entry(&entry.deployment.ledger, &entry.key))
            .update_expression("SET tasks = :tasks")
            .condition_expression("attribute_not_exists(answer)")
            .expression_attribute_values(":tasks", tasks);
        self.applied("note a deployment's progress", update.send().await).map(drop)
    }

    /// Decides a deployment's answer, once. Returns the decided answer, and whether it is `answer`. The same
    /// transaction updates the ledger's state, unless a newer deployment has been opened or the resource was deleted.
    pub async fn close(&self, entry: &Entry, answer: &Answered) -> Result<(Answered, bool), TableError> {
        let ledger = &entry.deployment.ledger;
        let successful = entry.successful_after(answer.success);
        let latest = Latest { entry: entry.key.clone(), successful, deleted: None };
        let closed = Entry { answer: Some(answer.clone()), ..entry.clone() };
        let update = Update::builder()
            .table_name(&self.name)
            .set_key(Some(Key::entry(ledger, &entry.key).attributes()))
            .update_expression("SET tasks = :tasks, answer = :answer")
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(answer)")
            .expression_attribute_values(":tasks", self.value(&closed, "tasks")?)
            .expression_attribute_values(":answer", self.value(&closed, "answer")?)
            .build()
            .map_err(|error| self.failed("close a deployment", &error))?;
        let update = TransactWriteItem::builder().update(update).build();
        let stand = Put::builder()
            .table_name(&self.name)
            .set_item(Some(self.item(Key::latest(ledger), &latest)?))
            .condition_expression("#entry = :entry AND attribute_not_exists(#deleted)")
            .expression_attribute_names("#entry", "entry")
            .expression_attribute_names("#deleted", "deleted")
            .expression_attribute_values(":entry", s(entry.key.as_str()))
            .build()
            .map_err(|error| self.failed("close a deployment", &error))?;
        let stand = TransactWriteItem::builder().put(stand).build();
        for writes in [vec![update.clone(), stand], vec![update]] {
            match transact(&self.client, writes).await {
                Ok(()) => return Ok((answer.clone(), true)),
                // A newer deployment has been opened, whose state stays.
                Err(CommitError::Refused { index: 1 }) => {}
                Err(CommitError::Refused { .. } | CommitError::LostHold) => {
                    let stands = self.entry(ledger, &entry.key).await?.and_then(|entry| entry.answer);
                    let Some(stands) = stands else { break };
                    let own = stands == *answer;
                    return Ok((stands, own));
                }
                Err(CommitError::Service(cause)) => {
                    return Err(self.transaction_failed("close a deployment", cause));
                }
            }
        }
        Err(TableError::Malformed {
            table: self.name.clone(),
            key: Key::entry(ledger, &entry.key).to_string(),
            cause: "the entry is gone".into(),
        })
    }

    /// Sets a ledger's state after its resource was deleted, without closing a deployment. Returns false if the state
    /// is no longer `seen`: then nothing changes. One write.
    pub async fn stand(&self, ledger: &str, seen: Option<&Latest>, now: &Latest) -> Result<bool, TableError> {
        match transact(&self.client, vec![self.put_latest(ledger, now, seen)?]).await {
            Ok(()) => Ok(true),
            Err(CommitError::Refused { .. } | CommitError::LostHold) => Ok(false),
            Err(CommitError::Service(cause)) => Err(self.transaction_failed("note a deletion", cause)),
        }
    }

    /// Reads the state of a ledger. One consistent read.
    pub async fn latest(&self, ledger: &str) -> Result<Option<Latest>, TableError> {
        self.ledger_item(ledger, Key::latest(ledger)).await
    }

    /// The write of a ledger's state, on the condition that it is still `seen`.
    fn put_latest(
        &self,
        ledger: &str,
        latest: &Latest,
        seen: Option<&Latest>,
    ) -> Result<TransactWriteItem, TableError> {
        let put = Put::builder()
            .table_name(&self.name)
            .set_item(Some(self.item(Key::latest(ledger), latest)?))
            .expression_attribute_names("#entry", "entry");
        let Some(seen) = seen else {
            let put = put.condition_expression("attribute_not_exists(#entry)");
            let put = put.build().map_err(|error| self.failed("write a ledger", &error))?;
            return Ok(TransactWriteItem::builder().put(put).build());
        };
        // The condition covers each attribute, so that a success recorded in the meantime is not overwritten.
        let mut seen = self.item(Key::latest(ledger), seen)?;
        let mut condition = "#entry = :entry".to_owned();
        let mut put =
            put.expression_attribute_values(":entry", seen.remove("entry").unwrap_or_else(|| s("")));
        for name in ["successful", "deleted"] {
            put = put.expression_attribute_names(format!("#{name}"), name);
            match seen.remove(name) {
                Some(value) => {
                    let _ = write!(condition, " AND #{name} = :{name}");
                    put = put.expression_attribute_values(format!(":{name}"), value);
                }
                None => {
                    let _ = write!(condition, " AND attribute_not_exists(#{name})");
                }
            }
        }
        let put = put.condition_expression(condition);
        let put = put.build().map_err(|error| self.failed("write a ledger", &error))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    fn put_entry(&self, entry: &Entry, is_new: bool) -> Result<TransactWriteItem, TableError> {
        let mut item = self.item(Key::entry(&entry.deployment.ledger, &entry.key), entry)?;
        item.insert("expires_at".into(), self.ledger_expiry(entry.started_at));
        let put = Put::builder().table_name(&self.name).set_item(Some(item));
        let put = if is_new { put.condition_expression("attribute_not_exists(pk)") } else { put };
        let put = put.build().map_err(|error| self.failed("write a ledger", &error))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Links a request to its entry.
    fn point_to(
        &self,
        request: RequestKey<'_>,
        entry: &EntryKey,
        at: Timestamp,
        is_new: bool,
    ) -> Result<TransactWriteItem, TableError> {
        let update = Update::builder()
            .table_name(&self.name)
            .set_key(Some(request.key().attributes()))
            .update_expression(
                "SET #entry = :entry, first_at = if_not_exists(first_at, :at), \
                 expires_at = if_not_exists(expires_at, :expires)",
            )
            .expression_attribute_names("#entry", "entry")
            .expression_attribute_values(":entry", s(entry.as_str()))
            .expression_attribute_values(":at", n(at.as_millisecond()))
            .expression_attribute_values(":expires", self.ledger_expiry(at));
        let update = if is_new {
            update.condition_expression("attribute_not_exists(#entry) AND attribute_not_exists(answer)")
        } else {
            update
        };
        let update = update.build().map_err(|error| self.failed("write a ledger", &error))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    pub(crate) fn request_update(
        &self,
        request: RequestKey<'_>,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        self.update(request.key())
    }

    /// Returns the expiry of an item that is written at `now`, in seconds, as time to live requires.
    pub(crate) fn ledger_expiry(&self, now: Timestamp) -> AttributeValue {
        let kept = self.retention.max(LEDGER_RETENTION);
        n(now.saturating_add(kept).unwrap_or(Timestamp::MAX).as_second())
    }

    async fn ledger_item<T: DeserializeOwned>(
        &self,
        ledger: &str,
        key: Key,
    ) -> Result<Option<T>, TableError> {
        let item = self.get(key, "read a ledger").await?;
        item.map(|item| self.parsed(ledger, item)).transpose()
    }

    fn item<T: serde::Serialize>(&self, key: Key, record: &T) -> Result<Item, TableError> {
        let value = serde_json::to_value(record).map_err(|error| self.malformed(key.to_string(), &error))?;
        let mut item = to_item(value);
        item.extend(key.attributes());
        Ok(item)
    }

    /// One attribute of an entry's item.
    fn value(&self, entry: &Entry, name: &str) -> Result<AttributeValue, TableError> {
        let mut item = self.item(Key::entry(&entry.deployment.ledger, &entry.key), entry)?;
        Ok(item.remove(name).unwrap_or(AttributeValue::Null(true)))
    }

    fn parsed<T: DeserializeOwned>(&self, ledger: &str, item: Item) -> Result<T, TableError> {
        self.read_as(ledger, to_json(item))
    }

    pub(crate) fn read_as<T: DeserializeOwned>(&self, ledger: &str, value: Value) -> Result<T, TableError> {
        serde_json::from_value(value).map_err(|error| self.unreadable(ledger, &error))
    }

    pub(crate) fn unreadable(&self, ledger: &str, error: &serde_json::Error) -> TableError {
        TableError::Malformed {
            table: self.name.clone(),
            key: Partition::Ledger(ledger).pk(),
            cause: error.to_string(),
        }
    }

    fn transaction_failed(&self, operation: &'static str, cause: String) -> TableError {
        TableError::Service { table: self.name.clone(), operation, cause }
    }
}
