//! Sending messages about failures: to a topic, an event bus or a webhook.

use std::{error::Error, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use lamplighter_core::notification::{Message, Target};

use crate::{authorities, clients::cause};

/// The source of the events, and their type.
const SOURCE: &str = "lamplighter";
const DETAIL_TYPE: &str = "Lamplighter Task Failure";
/// The longest subject of a message to a topic, in characters. Source: SNS API Reference, `Publish`.
const SUBJECT: usize = 99;
/// The timeout of a webhook.
const PATIENCE: Duration = Duration::from_secs(10);

/// The receiver of messages about failures.
#[derive(Debug)]
pub struct Notifier {
    target: Target,
    channel: Channel,
}

#[derive(Debug)]
enum Channel {
    Topic(aws_sdk_sns::Client),
    EventBus(aws_sdk_eventbridge::Client),
    Webhook(reqwest::Client),
}

/// A message that was not sent. A webhook's URL may be a secret and is not repeated.
#[derive(Debug, thiserror::Error)]
#[error("cannot send a message about a failure to the {target}: {cause}")]
pub struct NotifyError {
    /// The kind of the target.
    pub target: &'static str,
    /// The error of the target or the network.
    pub cause: String,
}

impl Notifier {
    /// A notifier of a target. `config` serves targets in AWS.
    pub fn new(target: Target, config: &SdkConfig) -> Result<Self, NotifyError> {
        let channel = match &target {
            Target::Topic(_) => Channel::Topic(aws_sdk_sns::Client::new(config)),
            Target::EventBus(_) => Channel::EventBus(aws_sdk_eventbridge::Client::new(config)),
            Target::Webhook(_) => {
                let failed =
                    |error: &(dyn Error + 'static)| NotifyError { target: target.key(), cause: cause(error) };
                let named = authorities::named().map_err(|error| failed(&error))?;
                let named = named.iter().filter_map(|der| reqwest::Certificate::from_der(der).ok());
                let builder = reqwest::Client::builder().timeout(PATIENCE);
                let client = named.fold(builder, reqwest::ClientBuilder::add_root_certificate).build();
                Channel::Webhook(client.map_err(|error| failed(&error))?)
            }
        };
        Ok(Self { target, channel })
    }

    /// Sends one message, as JSON.
    pub async fn send(&self, message: &Message) -> Result<(), NotifyError> {
        let failed = |cause: String| NotifyError { target: self.target.key(), cause };
        let text = serde_json::to_string(message).map_err(|error| failed(error.to_string()))?;
        let to = self.target.value();
        match &self.channel {
            Channel::Topic(client) => {
                let subject: String = message.subject().chars().take(SUBJECT).collect();
                let sent = client.publish().topic_arn(to).subject(subject).message(text).send().await;
                sent.map(drop).map_err(|error| failed(cause(&error)))
            }
            Channel::EventBus(client) => {
                let event = PutEventsRequestEntry::builder()
                    .event_bus_name(to)
                    .source(SOURCE)
                    .detail_type(DETAIL_TYPE)
                    .detail(text)
                    .build();
                let sent = client.put_events().entries(event).send().await;
                let sent = sent.map_err(|error| failed(cause(&error)))?;
                let refused =
                    sent.entries.unwrap_or_default().into_iter().find_map(|entry| entry.error_message);
                refused.map_or(Ok(()), |reason| Err(failed(reason)))
            }
            Channel::Webhook(client) => {
                let post = client.post(to).header("content-type", "application/json").body(text);
                let answer = post.send().await.map_err(|error| failed(cause(&error.without_url())))?;
                match answer.status() {
                    status if status.is_success() => Ok(()),
                    status => Err(failed(format!("it answered {status}"))),
                }
            }
        }
    }
}
