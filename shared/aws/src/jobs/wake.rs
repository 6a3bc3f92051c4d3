//! Wake-ups: telling workers that there is a job.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use aws_sdk_sqs::{error::ProvideErrorMetadata as _, types::SendMessageBatchRequestEntry};
use jiff::Timestamp;
use lamplighter_core::{
    job::{Job, JobKey},
    name::TaskName,
};
use tokio::{net::UdpSocket, sync::OnceCell};

use crate::{
    clients::{Clients, cause},
    table::{MAX_DELAY, Transport},
};

/// The number of messages in one request.
const BATCH: usize = 10;
/// The longest visibility timeout, in seconds.
const MAX_HELD: i32 = 12 * 3600;
/// The error code of SQS for a queue that does not exist.
const NO_QUEUE: &str = "QueueDoesNotExist";

/// The channel by which workers are woken.
#[derive(Clone, Debug)]
pub enum Waker {
    /// A message in the SQS queue of the job's task. The queue's URL is `prefix` followed by the task's name.
    Queues {
        /// The prefix of all queues' URLs: `https://sqs.eu-west-1.amazonaws.com/123456789012/shop-`.
        prefix: String,
        /// The client that sends the messages.
        sqs: Sqs,
    },
    /// A datagram to a runner. It has the key of a single job that can start now, otherwise the name of the task. If it
    /// is lost, the runner finds the jobs in the index `due`, which it reads every few seconds.
    Runner {
        /// The runner's address, if a runner is there.
        to: Option<RunnerAddress>,
    },
}

/// The address at which a runner listens for datagrams, and the key that begins each datagram: `127.0.0.1:4000/key-3f..`.
///
/// Its text is a secret, and its `Debug` does not show the key.
#[derive(Clone, PartialEq, Eq)]
pub struct RunnerAddress {
    socket: SocketAddr,
    key: String,
}

/// An invalid address of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be an address and a key, as `127.0.0.1:4000/key-3f..`")]
pub struct NoRunnerAddress;

impl RunnerAddress {
    /// The address of a runner at that socket. The key has no white space.
    pub fn new(socket: SocketAddr, key: impl Into<String>) -> Self {
        Self { socket, key: key.into() }
    }

    /// Sends a text. Errors are ignored: the runner polls for lost wake-ups.
    async fn send(&self, text: &str) {
        if let Ok(socket) = UdpSocket::bind(("127.0.0.1", 0)).await {
            let _ = socket.send_to(format!("{} {text}", self.key).as_bytes(), self.socket).await;
        }
    }
}

/// Splits a datagram into the key that it begins with and its text.
pub fn split_datagram(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = datagram.iter().position(|byte| *byte == b' ')?;
    Some((&datagram[..space], &datagram[space + 1..]))
}

impl FromStr for RunnerAddress {
    type Err = NoRunnerAddress;

    fn from_str(text: &str) -> Result<Self, NoRunnerAddress> {
        let (socket, key) = text.split_once('/').ok_or(NoRunnerAddress)?;
        let is_key = !key.is_empty() && !key.contains(char::is_whitespace);
        let socket = socket.parse().ok().filter(|_| is_key).ok_or(NoRunnerAddress)?;
        Ok(Self::new(socket, key))
    }
}

impl fmt::Display for RunnerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.socket, self.key)
    }
}

impl fmt::Debug for RunnerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunnerAddress({}, ..)", self.socket)
    }
}

/// A client of SQS, made at first use.
#[derive(Clone, Debug)]
pub struct Sqs {
    client: Arc<OnceCell<aws_sdk_sqs::Client>>,
    clients: Arc<Clients>,
}

impl From<aws_sdk_sqs::Client> for Sqs {
    fn from(client: aws_sdk_sqs::Client) -> Self {
        Self { client: Arc::new(OnceCell::new_with(Some(client))), clients: Arc::default() }
    }
}

impl Sqs {
    async fn client(&self) -> &aws_sdk_sqs::Client {
        self.client.get_or_init(async || aws_sdk_sqs::Client::new(self.clients.config().await)).await
    }
}

/// A wake-up that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WakeError {
    /// There is no queue for its task.
    #[error("task `{task}` has no queue: {cause}")]
    NoQueue {
        /// The task.
        task: String,
        /// The error of the lookup.
        cause: String,
    },
    /// The message was not sent.
    #[error("{0}")]
    NotSent(String),
}

/// The body of a job's message: its key as JSON.
pub fn message(key: &JobKey) -> String {
    serde_json::json!({ "task": key.task, "run_id": key.run_id }).to_string()
}

impl Waker {
    /// Wakes by messages in the SQS queues whose URLs begin with `prefix`.
    pub fn queues(prefix: impl Into<String>, clients: Arc<Clients>) -> Self {
        Self::Queues { prefix: prefix.into(), sqs: Sqs { client: Arc::default(), clients } }
    }

    /// The transport of its wake-ups.
    pub fn transport(&self) -> Transport {
        match self {
            Self::Queues { .. } => Transport::Queue,
            Self::Runner { .. } => Transport::Runner,
        }
    }

    /// Sets the visibility timeout of a message that was received, at most 12 hours.
    pub async fn hold_back(&self, task: &TaskName, receipt: &str, pause: Duration) -> Result<(), WakeError> {
        let Self::Queues { prefix, sqs } = self else { return Ok(()) };
        let seconds = i32::try_from(pause.as_millis().div_ceil(1000)).unwrap_or(MAX_HELD).min(MAX_HELD);
        let held = sqs
            .client()
            .await
            .change_message_visibility()
            .queue_url(format!("{prefix}{task}"))
            .receipt_handle(receipt)
            .visibility_timeout(seconds);
        held.send().await.map(drop).map_err(|error| WakeError::NotSent(cause(&error)))
    }

    /// Sends the wake-up of a job that can start at once or within the longest delay of SQS. The pulse wakes later jobs in time.
    pub async fn wake(&self, job: &Job, now: Timestamp) -> Result<(), WakeError> {
        match self.wake_all(std::slice::from_ref(job), now).await.pop() {
            None => Ok(()),
            Some((_, error)) => Err(error),
        }
    }

    /// Sends the wake-ups of many jobs. Returns the indices of those that failed, with the errors.
    pub async fn wake_all(&self, jobs: &[Job], now: Timestamp) -> Vec<(usize, WakeError)> {
        match self {
            Self::Runner { to: None } => Vec::new(),
            Self::Runner { to: Some(to) } => {
                match jobs {
                    [job] if job.not_before.is_none_or(|at| at <= now) => {
                        to.send(&job.key().to_string()).await;
                    }
                    _ => {
                        // One datagram makes the runner look at all jobs of the task.
                        let tasks: BTreeSet<_> = jobs.iter().map(|job| &job.task).collect();
                        for task in tasks {
                            to.send(task.as_str()).await;
                        }
                    }
                }
                Vec::new()
            }
            Self::Queues { prefix, sqs } => send(sqs.client().await, prefix, jobs, now).await,
        }
    }
}

/// The delay of a job's message, in seconds. `None` if it exceeds the longest delay of SQS.
fn delay(job: &Job, now: Timestamp) -> Option<i32> {
    let Some(at) = job.not_before else { return Some(0) };
    let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
    let seconds = i32::try_from(wait.as_millis().div_ceil(1000)).ok()?;
    (wait <= MAX_DELAY).then_some(seconds)
}

/// Returns true for the error code of a queue that does not exist.
pub(super) fn is_missing(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.contains(NO_QUEUE) || code.contains("NonExistentQueue"))
}

/// Sends the messages of jobs, ten with a request, each task's to its own queue.
async fn send(
    client: &aws_sdk_sqs::Client,
    prefix: &str,
    jobs: &[Job],
    now: Timestamp,
) -> Vec<(usize, WakeError)> {
    let mut failed = Vec::new();
    let mut by_task = BTreeMap::<_, Vec<_>>::new();
    for (place, job) in jobs.iter().enumerate() {
        if let Some(delay) = delay(job, now) {
            by_task.entry(&job.task).or_default().push((place, job, delay));
        }
    }
    for (task, jobs) in by_task {
        let url = format!("{prefix}{task}");
        for batch in jobs.chunks(BATCH) {
            let entries = batch.iter().map(|(place, job, delay)| {
                SendMessageBatchRequestEntry::builder()
                    .id(place.to_string())
                    .message_body(message(&job.key()))
                    .delay_seconds(*delay)
                    .build()
            });
            let all = |error: &WakeError| {
                batch.iter().map(|(place, ..)| (*place, error.clone())).collect::<Vec<_>>()
            };
            let entries = match entries.collect::<Result<Vec<_>, _>>() {
                Ok(entries) => entries,
                Err(error) => {
                    failed.extend(all(&WakeError::NotSent(error.to_string())));
                    continue;
                }
            };
            match client.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await {
                Ok(output) => failed.extend(output.failed().iter().filter_map(|entry| {
                    let why =
                        format!("{}: {}", entry.code(), entry.message().unwrap_or("no reason was given"));
                    Some((entry.id().parse().ok()?, WakeError::NotSent(why)))
                })),
                Err(error) => {
                    let error = if is_missing(error.code()) {
                        WakeError::NoQueue {
                            task: task.to_string(),
                            cause: format!("there is no queue {url}"),
                        }
                    } else {
                        WakeError::NotSent(cause(&error))
                    };
                    failed.extend(all(&error));
                }
            }
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runners_address_survives_its_text_and_hides_its_key() {
        let address: RunnerAddress = "127.0.0.1:4000/key-3f".parse().unwrap();
        assert_eq!(address.to_string(), "127.0.0.1:4000/key-3f");
        assert_eq!(format!("{address:?}"), "RunnerAddress(127.0.0.1:4000, ..)");
        for none in ["", "127.0.0.1:4000", "127.0.0.1:4000/", "127.0.0.1:4000/a b", "localhost/key", "/key"] {
            assert_eq!(none.parse::<RunnerAddress>(), Err(NoRunnerAddress), "{none}");
        }
    }

    #[test]
    fn a_datagram_is_a_key_and_a_text() {
        assert_eq!(split_datagram(b"key send-mail 1"), Some((&b"key"[..], &b"send-mail 1"[..])));
        assert_eq!(split_datagram(b" a"), Some((&b""[..], &b"a"[..])));
        assert_eq!(split_datagram(b"send-mail"), None);
    }
}
