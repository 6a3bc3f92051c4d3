//! Dead letters: messages that SQS has moved to a dead-letter queue, because no worker could process them.

use aws_config::SdkConfig;
use aws_sdk_sqs::{
    Client,
    error::ProvideErrorMetadata,
    types::{
        ChangeMessageVisibilityBatchRequestEntry, Message, MessageSystemAttributeName,
        MessageSystemAttributeName::{ApproximateReceiveCount, SentTimestamp},
        QueueAttributeName::ApproximateNumberOfMessages,
    },
};
use jiff::Timestamp;
use lamplighter_core::{job::JobKey, name::TaskName};

use super::wake::is_missing;
use crate::clients::cause;

/// The suffix of the name of a dead-letter queue.
const DEAD: &str = "-dead";
/// The most messages of one request.
const BATCH: i32 = 10;
/// The visibility timeout of messages that are read, in seconds.
const LOOK_SECONDS: i32 = 60;
/// The wait of a receive request, in seconds: with no wait, SQS asks only some of its
/// servers.
const SEARCH_SECONDS: i32 = 1;

/// The dead letters of the queues whose URLs have a common prefix.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    client: Client,
    prefix: String,
}

/// A message among the dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The task in whose queue it was.
    pub task: TaskName,
    /// SQS's id of it.
    pub id: String,
    /// Its body.
    pub body: String,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
    /// The number of deliveries, to workers and to readers of the dead-letter queue.
    pub deliveries: u32,
    receipt: String,
}

/// A failed request for dead letters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeadLetterError {
    /// There is no such queue.
    #[error("there is no queue {0}: is it a queue task of this stack, and deployed?")]
    NoQueue(String),
    /// SQS refused, or was not reached.
    #[error("queue {queue}: {operation}: {cause}")]
    Service {
        /// The queue's URL.
        queue: String,
        /// The operation.
        operation: &'static str,
        /// The error of SQS or the network.
        cause: String,
    },
}

impl DeadLetter {
    /// Returns the job that the message names. `None` if the message is not one of Lamplighter's.
    pub fn job(&self) -> Option<JobKey> {
        serde_json::from_str(&self.body).ok()
    }

    fn of(task: &TaskName, message: Message) -> Option<Self> {
        let attribute = |name: &MessageSystemAttributeName| message.attributes()?.get(name)?.parse().ok();
        Some(Self {
            task: task.clone(),
            sent_at: attribute(&SentTimestamp).and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            deliveries: attribute(&ApproximateReceiveCount).and_then(|n| n.try_into().ok()).unwrap_or(0),
            id: message.message_id?,
            body: message.body.unwrap_or_default(),
            receipt: message.receipt_handle?,
        })
    }
}

impl DeadLetters {
    /// The dead letters of the queues whose URLs consist of `prefix` and a task's name.
    pub fn new(config: &SdkConfig, prefix: impl Into<String>) -> Self {
        Self { client: Client::new(config), prefix: prefix.into() }
    }

    /// At most `limit` dead letters of a task. They are hidden from others for a minute, unless they are [`let_go`](Self::let_go).
    pub async fn take(&self, task: &TaskName, limit: usize) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let url = self.dead(task);
        let mut letters = Vec::new();
        while letters.len() < limit {
            let left = i32::try_from(limit - letters.len()).unwrap_or(BATCH).min(BATCH);
            let received = self
                .client
                .receive_message()
                .queue_url(&url)
                .max_number_of_messages(left)
                .visibility_timeout(LOOK_SECONDS)
                .wait_time_seconds(SEARCH_SECONDS)
                .message_system_attribute_names(SentTimestamp)
                .message_system_attribute_names(ApproximateReceiveCount)
                .send()
                .await;
            let messages = received.map_err(|error| failed(&url, "read", &error))?.messages;
            let messages = messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            letters.extend(messages.into_iter().filter_map(|message| DeadLetter::of(task, message)));
        }
        Ok(letters)
    }

    /// Counts the dead letters of a task, as far as SQS knows. One request.
    pub async fn count(&self, task: &TaskName) -> Result<u64, DeadLetterError> {
        let url = self.dead(task);
        let asked =
            self.client.get_queue_attributes().queue_url(&url).attribute_names(ApproximateNumberOfMessages);
        let answer = asked.send().await.map_err(|error| failed(&url, "count the messages", &error))?;
        let count = answer.attributes.and_then(|all| all.get(&ApproximateNumberOfMessages)?.parse().ok());
        Ok(count.unwrap_or(0))
    }

    /// Makes dead letters visible to other readers again. If this fails, they are visible a minute after they were
    /// taken.
    pub async fn let_go(&self, letters: &[DeadLetter]) {
        for letters in letters.chunk_by(|a, b| a.task == b.task) {
            let url = self.dead(&letters[0].task);
            for batch in letters.chunks(usize::try_from(BATCH).unwrap_or(1)) {
                let entries = batch.iter().enumerate().map(|(i, letter)| {
                    ChangeMessageVisibilityBatchRequestEntry::builder()
                        .id(i.to_string())
                        .receipt_handle(&letter.receipt)
                        .visibility_timeout(0)
                        .build()
                });
                if let Ok(entries) = entries.collect::<Result<Vec<_>, _>>() {
                    let change = self.client.change_message_visibility_batch().queue_url(&url);
                    let _ = change.set_entries(Some(entries)).send().await;
                }
            }
        }
    }

    /// Sends a dead letter to its task's queue again, then deletes it from the dead-letter queue. If only the deletion
    /// fails, the message is in both queues. That does no harm, since a job that is over is not run again.
    pub async fn send_back(&self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let url = format!("{}{}", self.prefix, letter.task);
        let sent = self.client.send_message().queue_url(&url).message_body(&letter.body).send().await;
        sent.map_err(|error| failed(&url, "send a message", &error))?;
        self.delete(letter).await
    }

    /// Deletes a dead letter.
    pub async fn delete(&self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let url = self.dead(&letter.task);
        let delete = self.client.delete_message().queue_url(&url).receipt_handle(&letter.receipt);
        delete.send().await.map(drop).map_err(|error| failed(&url, "delete a message", &error))
    }

    fn dead(&self, task: &TaskName) -> String {
        format!("{}{task}{DEAD}", self.prefix)
    }
}

fn failed<E: std::error::Error + ProvideErrorMetadata + 'static>(
    url: &str,
    operation: &'static str,
    error: &E,
) -> DeadLetterError {
    if is_missing(error.code()) {
        return DeadLetterError::NoQueue(url.to_owned());
    }
    DeadLetterError::Service { queue: url.to_owned(), operation, cause: cause(error) }
}
