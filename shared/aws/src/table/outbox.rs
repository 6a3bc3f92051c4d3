//! Messages to people: kept until they are delivered or given up, and delivered once.
//!
//! A message is the item of its occasion, which stays as the mark that it was sent. While it is not, an item in one partition
//! points at it, so that nobody looks through what was sent. The pointer is written first: of a process that dies in between
//! it is left alone, and is taken away when it is found.

use std::time::Duration;

use aws_sdk_dynamodb::{
    operation::{put_item::PutItemError, update_item::UpdateItemError},
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;
use lamplighter_core::{
    name::TaskName,
    notify::{Message, Redelivery},
};
use serde_json::Value;

use super::{
    Table, TableError,
    item::{Item, n, s, to_json},
    pulse::RETENTION_SECONDS,
    schema::{OUTBOX, notices_pk, outbox_sk},
};

/// How long one delivery may take before another process tries.
const SENDING: Duration = Duration::from_secs(60);
/// How long a process may take between the pointer and the message, in milliseconds.
const IN_BETWEEN: i64 = 60_000;
/// From when a message is sent, of one that is not sent any more.
const NEVER: i64 = i64::MAX;

/// A message that is to be sent, by the process that has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Undelivered {
    /// The task it is of.
    pub task: TaskName,
    /// The word that tells it from the task's others.
    pub occasion: String,
    /// What is sent.
    pub message: Message,
    /// How often it could not be delivered.
    pub failures: u32,
    /// Since when it is to be delivered.
    pub since: Timestamp,
}

impl Table {
    /// Keeps a message until it is delivered. False if it was kept, or delivered, before. Two writes.
    pub async fn post(&self, occasion: &str, message: &Message, now: Timestamp) -> Result<bool, TableError> {
        let expires_at = n(now.as_second() + RETENTION_SECONDS);
        let pointer = Item::from([
            ("pk".to_owned(), s(OUTBOX)),
            ("sk".to_owned(), s(outbox_sk(&message.task, occasion))),
            ("task".to_owned(), s(message.task.as_str())),
            ("occasion".to_owned(), s(occasion)),
            ("since".to_owned(), n(now.as_millisecond())),
            ("expires_at".to_owned(), expires_at.clone()),
        ]);
        let put = self.client.put_item().table_name(&self.name).set_item(Some(pointer));
        put.send().await.map_err(|error| self.failed("keep a message", &error))?;
        let text = serde_json::to_string(message)
            .map_err(|error| self.malformed(notices_pk(&message.task), &error))?;
        let item = Item::from([
            ("pk".to_owned(), s(notices_pk(&message.task))),
            ("sk".to_owned(), s(occasion)),
            ("message".to_owned(), s(text)),
            ("failures".to_owned(), n(0)),
            ("since".to_owned(), n(now.as_millisecond())),
            ("telling_until".to_owned(), n(0)),
            ("expires_at".to_owned(), expires_at),
        ]);
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = put.send().await else { return Ok(true) };
        let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() else {
            return Err(self.failed("keep a message", &error));
        };
        let kept = to_json(refused.item.clone().unwrap_or_default());
        if kept["message"].is_null() {
            self.forget_pointer(&message.task, occasion).await?;
        }
        Ok(false)
    }

    /// Takes the messages whose turn it is, at most `limit`. Each is this process's to send for a minute. The process notes what
    /// came of it with [`message_delivered`](Self::message_delivered) or [`message_undelivered`](Self::message_undelivered).
    /// One query, and a read and a write for each.
    pub async fn outbox(&self, now: Timestamp, limit: usize) -> Result<Vec<Undelivered>, TableError> {
        let (mut due, mut start) = (Vec::new(), None);
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.name)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", s(OUTBOX))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| self.failed("read the messages to be sent", &error))?;
            for pointer in page.items.unwrap_or_default() {
                if due.len() >= limit {
                    return Ok(due);
                }
                due.extend(self.claim_message(&to_json(pointer), now).await?);
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(due);
            }
        }
    }

    /// Takes the message that a pointer is of, if its turn has come.
    async fn claim_message(
        &self,
        pointer: &Value,
        now: Timestamp,
    ) -> Result<Option<Undelivered>, TableError> {
        let word = |key: &str| pointer[key].as_str().unwrap_or_default();
        let Ok(task) = word("task").parse::<TaskName>() else { return Ok(None) };
        let occasion = word("occasion").to_owned();
        let item = self.get(notices_pk(&task), occasion.clone(), "read a message").await?;
        let item = to_json(item.unwrap_or_default());
        let message = item["message"].as_str().and_then(|text| serde_json::from_str(text).ok());
        let Some(message) = message else {
            // A process that has just written the pointer is about to write the message.
            let is_young =
                pointer["since"].as_i64().is_some_and(|since| since + IN_BETWEEN > now.as_millisecond());
            if item["telling_until"].is_i64() || !is_young {
                self.forget_pointer(&task, &occasion).await?;
            }
            return Ok(None);
        };
        let seen = item["telling_until"].as_i64().unwrap_or(0);
        if seen > now.as_millisecond() {
            return Ok(None);
        }
        let until = now.saturating_add(SENDING).unwrap_or(Timestamp::MAX);
        let claimed = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(notices_pk(&task)))
            .key("sk", s(occasion.as_str()))
            .update_expression("SET telling_until = :until")
            .condition_expression("telling_until = :seen")
            .expression_attribute_values(":until", n(until.as_millisecond()))
            .expression_attribute_values(":seen", n(seen))
            .send()
            .await;
        match claimed {
            Ok(_) => {}
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(self.failed("take a message", &error)),
        }
        let failures =
            item["failures"].as_u64().and_then(|failures| u32::try_from(failures).ok()).unwrap_or(0);
        let since = item["since"].as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(now);
        Ok(Some(Undelivered { task, occasion, message, failures, since }))
    }

    /// Notes that a message was delivered. Two writes.
    pub async fn message_delivered(&self, message: &Undelivered) -> Result<(), TableError> {
        let update = "SET telling_until = :until REMOVE message";
        self.update_notice(message, update, [(":until", n(NEVER))]).await?;
        self.forget_pointer(&message.task, &message.occasion).await
    }

    /// Notes that a message could not be delivered, and what follows from that. One write, or two of one that is given up.
    pub async fn message_undelivered(
        &self,
        message: &Undelivered,
        retry: Redelivery,
        cause: &str,
    ) -> Result<(), TableError> {
        let again = match retry {
            Redelivery::At(at) => at.as_millisecond(),
            Redelivery::GiveUp => NEVER,
        };
        let values =
            [(":until", n(again)), (":failures", n(i64::from(message.failures) + 1)), (":cause", s(cause))];
        let update = match retry {
            Redelivery::At(_) => "SET telling_until = :until, failures = :failures, cause = :cause",
            Redelivery::GiveUp => {
                "SET telling_until = :until, failures = :failures, cause = :cause REMOVE message"
            }
        };
        self.update_notice(message, update, values).await?;
        match retry {
            Redelivery::At(_) => Ok(()),
            Redelivery::GiveUp => self.forget_pointer(&message.task, &message.occasion).await,
        }
    }

    async fn update_notice(
        &self,
        message: &Undelivered,
        update: &str,
        values: impl IntoIterator<Item = (&'static str, AttributeValue)>,
    ) -> Result<(), TableError> {
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(notices_pk(&message.task)))
            .key("sk", s(message.occasion.as_str()))
            .update_expression(update)
            .set_expression_attribute_values(Some(values))
            .send()
            .await
            .map(drop)
            .map_err(|error| self.failed("note what became of a message", &error))
    }

    async fn forget_pointer(&self, task: &TaskName, occasion: &str) -> Result<(), TableError> {
        let delete = self.client.delete_item().table_name(&self.name).key("pk", s(OUTBOX));
        let delete = delete.key("sk", s(outbox_sk(task, occasion))).send().await;
        delete.map(drop).map_err(|error| self.failed("take a sent message out", &error))
    }
}
