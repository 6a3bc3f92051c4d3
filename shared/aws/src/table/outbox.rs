//! Messages to people: kept until they are delivered or given up, and delivered once.
//! Each occasion has one item, which holds its message. After the delivery the item stays, without the message, as the
//! mark that it was sent. Until then a second item, the pointer, refers to it. All pointers share one partition, so a
//! search for undelivered messages does not read the delivered ones. The pointer is written first. If the process dies
//! before it writes the message, a later search deletes the pointer.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use lamplighter_core::{
    name::TaskName,
    notification::{Message, Redelivery},
};
use serde_json::Value;

use super::{
    Table, TableError,
    conditional::Conditional,
    item::{n, s, to_json},
    keys::{Key, Partition},
    pulse::RETENTION_SECONDS,
};

/// The time for one delivery, after which another process tries.
const SENDING: Duration = Duration::from_secs(60);
/// The longest time between the writes of pointer and message, in milliseconds.
const IN_BETWEEN: i64 = 60_000;
/// The time of the next delivery of a message that is never sent again.
const NEVER: i64 = i64::MAX;

/// A message that this process must send.
#[derive(Clone, Debug, PartialEq)]
pub struct Undelivered {
    /// Its task.
    pub task: TaskName,
    /// The occasion, which distinguishes it from the task's other messages.
    pub occasion: String,
    /// The message.
    pub message: Message,
    /// The number of failed deliveries.
    pub failures: u32,
    /// The time at which it was posted.
    pub since: Timestamp,
}

impl Table {
    /// Stores a message until it is delivered. Returns false if it was stored or delivered before. Two writes.
    pub async fn post(&self, occasion: &str, message: &Message, now: Timestamp) -> Result<bool, TableError> {
        let expires_at = n(now.as_second() + RETENTION_SECONDS);
        let mut pointer = Key::undelivered(&message.task, occasion).attributes();
        pointer.extend([
            ("task".to_owned(), s(message.task.as_str())),
            ("occasion".to_owned(), s(occasion)),
            ("since".to_owned(), n(now.as_millisecond())),
            ("expires_at".to_owned(), expires_at.clone()),
        ]);
        let put = self.put(pointer);
        put.send().await.map_err(|error| self.failed("keep a message", &error))?;
        let text = serde_json::to_string(message)
            .map_err(|error| self.malformed(Key::notice(&message.task, occasion).to_string(), &error))?;
        let mut item = Key::notice(&message.task, occasion).attributes();
        item.extend([
            ("message".to_owned(), s(text)),
            ("failures".to_owned(), n(0)),
            ("since".to_owned(), n(now.as_millisecond())),
            ("telling_until".to_owned(), n(0)),
            ("expires_at".to_owned(), expires_at),
        ]);
        let put = self
            .put(item)
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Conditional::Refused(kept) = self.conditional("keep a message", put.send().await)? else {
            return Ok(true);
        };
        if to_json(kept)["message"].is_null() {
            self.forget_pointer(&message.task, occasion).await?;
        }
        Ok(false)
    }

    /// Claims the messages that are due, at most `limit`, for one minute. The caller records the result of each
    /// delivery with [`message_delivered`](Self::message_delivered) or
    /// [`message_undelivered`](Self::message_undelivered). One query, and a read and a write for each message.
    pub async fn outbox(&self, now: Timestamp, limit: usize) -> Result<Vec<Undelivered>, TableError> {
        let (mut due, mut start) = (Vec::new(), None);
        loop {
            let page = self
                .query(Partition::Outbox)
                .key_condition_expression("pk = :pk")
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

    /// Takes the message of a pointer, if it is due.
    async fn claim_message(
        &self,
        pointer: &Value,
        now: Timestamp,
    ) -> Result<Option<Undelivered>, TableError> {
        let word = |key: &str| pointer[key].as_str().unwrap_or_default();
        let Ok(task) = word("task").parse::<TaskName>() else { return Ok(None) };
        let occasion = word("occasion").to_owned();
        let item = self.get(Key::notice(&task, &occasion), "read a message").await?;
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
            .update(Key::notice(&task, &occasion))
            .update_expression("SET telling_until = :until")
            .condition_expression("telling_until = :seen")
            .expression_attribute_values(":until", n(until.as_millisecond()))
            .expression_attribute_values(":seen", n(seen))
            .send()
            .await;
        if !self.applied("take a message", claimed)? {
            return Ok(None);
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

    /// Notes that a message could not be delivered, and schedules the retry. One write, or two if it is given up.
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
        self.update(Key::notice(&message.task, &message.occasion))
            .update_expression(update)
            .set_expression_attribute_values(Some(values))
            .send()
            .await
            .map(drop)
            .map_err(|error| self.failed("note what became of a message", &error))
    }

    async fn forget_pointer(&self, task: &TaskName, occasion: &str) -> Result<(), TableError> {
        let delete = self.delete(Key::undelivered(task, occasion)).send().await;
        delete.map(drop).map_err(|error| self.failed("take a sent message out", &error))
    }
}
