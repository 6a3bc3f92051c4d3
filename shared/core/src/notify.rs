//! Notifications about failures: their targets, their contents and their redelivery.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    id::RunId,
    name::TaskName,
    resolve,
    retry::Retry,
    run::{ErrorKind, Run, Trigger},
    status::Status,
};

/// The maximum length of an event bus's name. Source: `EventBridge` API Reference, `PutEventsRequestEntry`.
const BUS_NAME: usize = 256;

/// The target of notifications.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// An SNS topic, by its ARN.
    Topic(String),
    /// An event bus, by its name or its ARN.
    EventBus(String),
    /// A URL that accepts a POST of JSON.
    Webhook(String),
}

/// The error of a text that cannot be a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {wanted}")]
pub struct InvalidTarget {
    /// The given text.
    pub value: String,
    /// The expected form.
    pub wanted: &'static str,
}

impl Target {
    /// The keys of the targets in `lamplighter.toml`.
    pub const KEYS: [&'static str; 3] = ["topic", "event_bus", "webhook"];

    /// Returns the target's key.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Topic(_) => "topic",
            Self::EventBus(_) => "event_bus",
            Self::Webhook(_) => "webhook",
        }
    }

    /// Returns the target as it is written.
    pub fn value(&self) -> &str {
        match self {
            Self::Topic(value) | Self::EventBus(value) | Self::Webhook(value) => value,
        }
    }

    /// Returns whether only CloudFormation knows the value, since it refers to a resource or a secret.
    pub fn is_template(&self) -> bool {
        self.value().contains("${") || resolve::has_reference(self.value())
    }

    /// Returns the target for a function's environment: JSON, and next to it the value if CloudFormation
    /// resolves it. The resolved text may contain any character, so it must not be part of the JSON.
    pub fn packed(&self) -> (Value, Option<&str>) {
        let beside = self.is_template().then_some(self.value());
        let value = if beside.is_some() { "" } else { self.value() };
        (serde_json::json!({ self.key(): value }), beside)
    }

    /// Reads a target from JSON text and the value next to it, if there is one.
    pub fn unpacked(text: &str, beside: Option<String>) -> Result<Self, serde_json::Error> {
        Ok(match (serde_json::from_str(text)?, beside) {
            (Self::Topic(_), Some(value)) => Self::Topic(value),
            (Self::EventBus(_), Some(value)) => Self::EventBus(value),
            (Self::Webhook(_), Some(value)) => Self::Webhook(value),
            (target, None) => target,
        })
    }

    /// Returns the target if it is valid. A value that CloudFormation resolves is not checked.
    pub fn checked(self) -> Result<Self, InvalidTarget> {
        let refused = |wanted| Err(InvalidTarget { value: self.value().to_owned(), wanted });
        if self.is_template() {
            return Ok(self);
        }
        match &self {
            Self::Topic(arn) if !is_arn(arn, "sns") => {
                refused("the ARN of an SNS topic, such as `arn:aws:sns:eu-central-1:123456789012:alerts`")
            }
            Self::EventBus(bus) if !is_arn(bus, "events") && !is_bus_name(bus) => refused(
                "an event bus: give its name, such as `default`, or its ARN, such as \
                 `arn:aws:events:eu-central-1:123456789012:event-bus/alerts`",
            ),
            Self::Webhook(url) if !is_safe_url(url) => {
                refused("a webhook URL: it must begin with `https://`, or lead to this machine")
            }
            _ => Ok(self),
        }
    }
}

fn is_arn(text: &str, service: &str) -> bool {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    matches!(parts[..], ["arn", partition, of, region, account, name]
        if of == service && ![partition, region, account, name].contains(&""))
}

fn is_bus_name(text: &str) -> bool {
    (1..=BUS_NAME).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/'))
}

fn is_safe_url(text: &str) -> bool {
    let host = |rest: &str| rest.split(['/', ':', '?', '#']).next().unwrap_or_default().to_owned();
    match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => !host(rest).is_empty() && !text.contains(char::is_whitespace),
        (_, Some(rest)) => ["127.0.0.1", "localhost"].contains(&host(rest).as_str()),
        _ => false,
    }
}

/// The notification about one failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The task.
    pub task: TaskName,
    /// The run; none if there was none.
    pub run_id: Option<RunId>,
    /// The status in which the run ended, such as FAILED; MISSED if there was no run.
    pub status: String,
    /// The kind of the error.
    pub kind: Option<ErrorKind>,
    /// The reason of the failure.
    pub message: String,
    /// The scheduled time of the run.
    pub scheduled_for: Option<Timestamp>,
    /// The environment in which it ran.
    pub environment: String,
    /// The stack of the task.
    pub stack: String,
}

impl Message {
    /// Creates the notification about a run that did not complete.
    pub fn of(run: &Run, environment: &str, stack: &str) -> Self {
        Self {
            task: run.task.clone(),
            run_id: Some(run.id),
            status: run.status.as_str().to_owned(),
            kind: run.error.as_ref().map(|error| error.kind),
            message: run.reason().unwrap_or_default().to_owned(),
            scheduled_for: run.scheduled_for,
            environment: environment.to_owned(),
            stack: stack.to_owned(),
        }
    }

    /// Creates the notification about the messages in a task's dead-letter queue, with its idempotency key:
    /// one notification a day while there are messages.
    pub fn of_dead_letters(
        task: &TaskName,
        count: u64,
        now: Timestamp,
        environment: &str,
        stack: &str,
    ) -> Option<(String, Self)> {
        let text = match count {
            0 => return None,
            1 => "a message is in the dead-letter queue".to_owned(),
            _ => format!("{count} messages are in the dead-letter queue"),
        };
        let message = Self {
            task: task.clone(),
            run_id: None,
            status: Status::Failed.as_str().to_owned(),
            kind: Some(ErrorKind::System),
            message: format!("{text}: see `lamplighter jobs dead`"),
            scheduled_for: None,
            environment: environment.to_owned(),
            stack: stack.to_owned(),
        };
        Some((format!("dead letters of {}", now.strftime("%Y-%m-%d")), message))
    }

    /// Returns a one-line summary.
    pub fn subject(&self) -> String {
        format!("{} {} in {}", self.task, self.status, self.stack)
    }
}

/// The time for which delivery of a message is tried.
pub const DELIVERY_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// The interval at which messages in dead-letter queues are counted.
pub const COUNT_LETTERS: Duration = Duration::from_secs(600);
/// The backoff between two deliveries of a message.
const PAUSES: Retry =
    Retry { max_attempts: u32::MAX, initial: Duration::from_secs(60), max: Duration::from_secs(3600) };

/// The decision after a failed delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivery {
    /// Deliver the message again at this time.
    At(Timestamp),
    /// Do not deliver it again.
    GiveUp,
}

/// Decides what follows a failed delivery, after `failures` earlier ones, of a message that is kept since
/// `since`.
///
/// Delivery is tried for [`DELIVERY_LIMIT`]: after 1, 2, 4, .. minutes, and then each hour.
pub fn after_failure(failures: u32, since: Timestamp, now: Timestamp) -> Redelivery {
    let pause = PAUSES.longest_pause(failures.saturating_add(1));
    let end = since.saturating_add(DELIVERY_LIMIT).unwrap_or(Timestamp::MAX);
    match now.saturating_add(pause) {
        Ok(at) if now < end => Redelivery::At(at),
        _ => Redelivery::GiveUp,
    }
}

/// Returns the idempotency key of a failure's notification: the tick of the run, or else the run's id.
pub fn occasion(trigger: Trigger, tick: Option<Timestamp>, run_id: RunId) -> String {
    match (trigger, tick) {
        (Trigger::Schedule | Trigger::Pulse, Some(tick)) => tick.to_string(),
        _ => run_id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o04_a_target_that_is_looked_up_arrives_whatever_characters_it_has() {
        let webhook = Target::Webhook("https://hooks.example/{{resolve:ssm:/hook}}".into());
        assert!(webhook.is_template());
        let (json, beside) = webhook.packed();
        assert_eq!((json.to_string(), beside), (r#"{"webhook":""}"#.to_owned(), Some(webhook.value())));
        let arrived = Target::unpacked(&json.to_string(), Some("https://h/\"},{\"".into())).unwrap();
        assert_eq!(arrived, Target::Webhook("https://h/\"},{\"".into()));
        let bus = Target::EventBus("default".into());
        let (json, beside) = bus.packed();
        assert_eq!((Target::unpacked(&json.to_string(), None).unwrap(), beside), (bus.clone(), None));
    }

    #[test]
    fn o08_dead_letters_are_told_once_a_day_while_there_are_some() {
        let reported = |count, at: &str| {
            let task = "mail".parse().unwrap();
            Message::of_dead_letters(&task, count, at.parse().unwrap(), "dev", "shop")
        };
        assert_eq!(reported(0, "2026-11-28T10:00:00Z"), None);
        let (first, message) = reported(2, "2026-11-28T10:00:00Z").unwrap();
        assert_eq!(message.message, "2 messages are in the dead-letter queue: see `lamplighter jobs dead`");
        assert_eq!(reported(5, "2026-11-28T23:59:59Z").unwrap().0, first);
        assert_ne!(reported(5, "2026-11-29T00:00:00Z").unwrap().0, first);
    }

    #[test]
    fn o08_a_message_is_tried_for_a_day_at_longer_and_longer_pauses() {
        let since = Timestamp::from_second(1_800_000_000).unwrap();
        let (mut now, mut pauses) = (since, Vec::new());
        while let Redelivery::At(at) = after_failure(u32::try_from(pauses.len()).unwrap(), since, now) {
            pauses.push(at.duration_since(now).as_mins());
            now = at;
        }
        assert_eq!(pauses[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        let day = i64::try_from(DELIVERY_LIMIT.as_secs() / 60).unwrap();
        assert!((day..=day + 60).contains(&pauses.iter().sum::<i64>()), "{pauses:?}");
        assert_eq!(after_failure(u32::MAX, since, since), Redelivery::At(since + Duration::from_secs(3600)));
    }

    #[test]
    fn p06_a_target_is_read_or_refused_with_what_may_stand_there() {
        for good in [
            Target::Topic("arn:aws:sns:eu-central-1:123456789012:alerts".into()),
            Target::Topic("${Alerts}".into()),
            Target::EventBus("default".into()),
            Target::EventBus("arn:aws-cn:events:cn-north-1:123456789012:event-bus/alerts".into()),
            Target::Webhook("https://hooks.example/x?y=z".into()),
            Target::Webhook("{{resolve:secretsmanager:hook}}".into()),
            Target::Webhook("http://127.0.0.1:8080/".into()),
        ] {
            assert_eq!(good.clone().checked(), Ok(good));
        }
        for bad in [
            Target::Topic("alerts".into()),
            Target::Topic("arn:aws:sqs:eu-central-1:123456789012:alerts".into()),
            Target::EventBus(String::new()),
            Target::EventBus("a b".into()),
            Target::Webhook("http://hooks.example/".into()),
            Target::Webhook("http://127.0.0.1.example/".into()),
            Target::Webhook("https://".into()),
            Target::Webhook("hooks.example".into()),
        ] {
            let error = bad.clone().checked().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{}` is not", bad.value())), "{error}");
        }
    }
}
