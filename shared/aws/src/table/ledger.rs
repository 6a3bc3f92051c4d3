//! The deployments' ledgers: an entry for each request, and where the ledger stands.

use aws_sdk_dynamodb::{
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{AttributeValue, Put, TransactWriteItem, Update},
};
use lamplighter_core::deployment::{Answered, Entry, EntryKey, Latest, Ledger, Success};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Table, TableError,
    item::{Item, s, to_item, to_json},
    schema::{LATEST, ledger_pk},
};

/// Whether an entry was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Opened {
    /// It is in the ledger, and is its newest.
    Yes,
    /// Somebody else opened one since the ledger was read: read it again.
    Overtaken,
}

impl Table {
    /// Reads a ledger for somebody who has a request. Consistent queries, newest first, until the request is
    /// found or the ledger ends.
    pub async fn ledger(&self, ledger: &str, request_id: &str) -> Result<Ledger, TableError> {
        let mut found = Ledger::default();
        let mut start = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.name)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", s(ledger_pk(ledger)))
                .scan_index_forward(false)
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| self.failed("read a ledger", &error))?;
            for item in page.items.unwrap_or_default() {
                let sk = item.get("sk").and_then(|v| v.as_s().ok()).cloned().unwrap_or_default();
                if sk == LATEST {
                    found.latest = Some(self.parsed::<Latest>(ledger, item)?);
                    continue;
                }
                let own = sk.parse::<EntryKey>().is_ok_and(|key| key.request_id() == request_id);
                if own || found.newest.is_none() {
                    let entry = self.parsed::<Entry>(ledger, item)?;
                    found.own = if own { Some(entry.clone()) } else { found.own };
                    found.newest = found.newest.or(Some(entry));
                }
            }
            start = page.last_evaluated_key;
            if start.is_none() || found.own.is_some() {
                return Ok(found);
            }
        }
    }

    /// The entries of a ledger, newest first, at most `limit`.
    pub async fn deployments(&self, ledger: &str, limit: u16) -> Result<Vec<Entry>, TableError> {
        let page = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("pk = :pk AND sk < :latest")
            .expression_attribute_values(":pk", s(ledger_pk(ledger)))
            .expression_attribute_values(":latest", s(LATEST))
            .scan_index_forward(false)
            .limit(i32::from(limit))
            .send()
            .await
            .map_err(|error| self.failed("read a ledger", &error))?;
        page.items.unwrap_or_default().into_iter().map(|item| self.parsed(ledger, item)).collect()
    }

    /// Writes a new entry and makes it the ledger's newest, if the ledger still stands where `seen` says. One
    /// transaction, so that of two deliveries of a request one opens and the other resumes.
    pub async fn open(&self, entry: &Entry, seen: Option<&Latest>) -> Result<Opened, TableError> {
        let ledger = &entry.deployment.ledger;
        let latest = Latest { entry: entry.key.clone(), successful: seen.and_then(|l| l.successful.clone()) };
        let put_latest = Put::builder()
            .table_name(&self.name)
            .set_item(Some(self.item(ledger, LATEST, &latest)?))
            .expression_attribute_names("#entry", "entry");
        let put_latest = match seen {
            Some(seen) => put_latest
                .condition_expression("#entry = :seen")
                .expression_attribute_values(":seen", s(seen.entry.as_str())),
            None => put_latest.condition_expression("attribute_not_exists(#entry)"),
        };
        let put_entry = Put::builder()
            .table_name(&self.name)
            .set_item(Some(self.item(ledger, entry.key.as_str(), entry)?))
            .condition_expression("attribute_not_exists(pk)");
        let built = |put: aws_sdk_dynamodb::types::builders::PutBuilder| {
            let put = put.build().map_err(|error| self.failed("open a deployment", &error))?;
            Ok::<_, TableError>(TransactWriteItem::builder().put(put).build())
        };
        let sent = self
            .client
            .transact_write_items()
            .transact_items(built(put_latest)?)
            .transact_items(built(put_entry)?)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Opened::Yes),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(_)) => Ok(Opened::Overtaken),
                _ => Err(self.failed("open a deployment", &error)),
            },
        }
    }

    /// Writes how a deployment's tasks fare, for those who watch. One write.
    pub async fn progress(&self, entry: &Entry) -> Result<(), TableError> {
        let tasks = self.value(entry, "tasks")?;
        self.client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(ledger_pk(&entry.deployment.ledger)))
            .key("sk", s(entry.key.as_str()))
            .update_expression("SET tasks = :tasks")
            .condition_expression("attribute_not_exists(answer)")
            .expression_attribute_values(":tasks", tasks)
            .send()
            .await
            .map(|_| ())
            .or_else(|error| match error.as_service_error() {
                Some(e) if e.is_conditional_check_failed_exception() => Ok(()),
                _ => Err(self.failed("note a deployment's progress", &error)),
            })
    }

    /// Decides a deployment's answer, once: of several that try, the first one's answer stands and is returned
    /// with whether it is one's own. With it goes where the ledger stands from now on, unless a newer deployment
    /// has been opened.
    pub async fn close(
        &self,
        entry: &Entry,
        answer: &Answered,
        successful: Option<&Success>,
    ) -> Result<(Answered, bool), TableError> {
        let ledger = &entry.deployment.ledger;
        let latest = Latest { entry: entry.key.clone(), successful: successful.cloned() };
        let closed = Entry { answer: Some(answer.clone()), ..entry.clone() };
        let update = Update::builder()
            .table_name(&self.name)
            .key("pk", s(ledger_pk(ledger)))
            .key("sk", s(entry.key.as_str()))
            .update_expression("SET tasks = :tasks, answer = :answer")
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(answer)")
            .expression_attribute_values(":tasks", self.value(&closed, "tasks")?)
            .expression_attribute_values(":answer", self.value(&closed, "answer")?)
            .build()
            .map_err(|error| self.failed("close a deployment", &error))?;
        let stand = Put::builder()
            .table_name(&self.name)
            .set_item(Some(self.item(ledger, LATEST, &latest)?))
            .condition_expression("#entry = :entry")
            .expression_attribute_names("#entry", "entry")
            .expression_attribute_values(":entry", s(entry.key.as_str()))
            .build()
            .map_err(|error| self.failed("close a deployment", &error))?;
        for with_stand in [true, false] {
            let sent = self
                .client
                .transact_write_items()
                .transact_items(TransactWriteItem::builder().update(update.clone()).build());
            let sent = if with_stand {
                sent.transact_items(TransactWriteItem::builder().put(stand.clone()).build())
            } else {
                sent
            };
            match sent.send().await {
                Ok(_) => return Ok((answer.clone(), true)),
                Err(error) => match error.as_service_error() {
                    Some(TransactWriteItemsError::TransactionCanceledException(_)) => {
                        let stands =
                            self.ledger(ledger, entry.key.request_id()).await?.own.and_then(|e| e.answer);
                        if let Some(stands) = stands {
                            let own = stands == *answer;
                            return Ok((stands, own));
                        }
                    }
                    _ => return Err(self.failed("close a deployment", &error)),
                },
            }
        }
        Err(TableError::Malformed {
            table: self.name.clone(),
            key: format!("{} / {}", ledger_pk(ledger), entry.key),
            cause: "the entry is gone".into(),
        })
    }

    /// Says where a ledger stands although no deployment was closed: its resource was deleted while the stack rolled
    /// back. One write; nothing changes if the ledger has gone on since `seen`.
    pub async fn revert(&self, ledger: &str, seen: &Latest, to: Option<Success>) -> Result<(), TableError> {
        let latest = Latest { entry: seen.entry.clone(), successful: to };
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(self.item(ledger, LATEST, &latest)?))
            .condition_expression("#entry = :entry")
            .expression_attribute_names("#entry", "entry")
            .expression_attribute_values(":entry", s(seen.entry.as_str()));
        match put.send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(PutItemError::is_conditional_check_failed_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(self.failed("revert a ledger", &error)),
        }
    }

    /// Notes that an answer has arrived at the URL with this digest. One write.
    pub async fn delivered(&self, entry: &Entry, to: &str) -> Result<(), TableError> {
        self.client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(ledger_pk(&entry.deployment.ledger)))
            .key("sk", s(entry.key.as_str()))
            .update_expression(
                "SET answer.delivered_to = list_append(if_not_exists(answer.delivered_to, :none), :to)",
            )
            .condition_expression("attribute_exists(answer)")
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":to", AttributeValue::L(vec![s(to)]))
            .send()
            .await
            .map_err(|error| self.failed("note an answer's arrival", &error))?;
        Ok(())
    }

    fn item<T: serde::Serialize>(&self, ledger: &str, sk: &str, record: &T) -> Result<Item, TableError> {
        let value = serde_json::to_value(record).map_err(|error| self.unreadable(ledger, &error))?;
        let mut item = to_item(value);
        item.insert("pk".into(), s(ledger_pk(ledger)));
        item.insert("sk".into(), s(sk));
        Ok(item)
    }

    /// One attribute of an entry's item.
    fn value(&self, entry: &Entry, name: &str) -> Result<AttributeValue, TableError> {
        let mut item = self.item(&entry.deployment.ledger, entry.key.as_str(), entry)?;
        Ok(item.remove(name).unwrap_or(AttributeValue::Null(true)))
    }

    fn parsed<T: DeserializeOwned>(&self, ledger: &str, item: Item) -> Result<T, TableError> {
        let value: Value = to_json(item);
        serde_json::from_value(value).map_err(|error| self.unreadable(ledger, &error))
    }

    fn unreadable(&self, ledger: &str, error: &serde_json::Error) -> TableError {
        TableError::Malformed { table: self.name.clone(), key: ledger_pk(ledger), cause: error.to_string() }
    }
}
