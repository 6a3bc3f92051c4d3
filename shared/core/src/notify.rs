//! Who is told when a task fails, and what.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    id::RunId,
    name::TaskName,
    resolve,
    run::{ErrorKind, Run, Trigger},
    status::Status,
};

/// The longest name of an event bus. Source: `EventBridge` API Reference, `PutEventsRequestEntry`.
const BUS_NAME: usize = 256;

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// An SNS topic, by its ARN.
    Topic(String),
    /// An event bus, by its name or its ARN.
    EventBus(String),
    /// Whatever takes a POST of JSON at this URL.
    Webhook(String),
}

/// Why a text cannot be a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {wanted}")]
pub struct InvalidTarget {
    /// What was given.
    pub value: String,
    /// What may stand there.
    pub wanted: &'static str,
}

impl Target {
    /// The keys by which a target is written.
    pub const KEYS: [&'static str; 3] = ["topic", "event_bus", "webhook"];

    /// The target's key.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Topic(_) => "topic",
            Self::EventBus(_) => "event_bus",
            Self::Webhook(_) => "webhook",
        }
    }

    /// The target as it is written.
    pub fn value(&self) -> &str {
        match self {
            Self::Topic(value) | Self::EventBus(value) | Self::Webhook(value) => value,
        }
    }

    /// Whether only CloudFormation can say what it is: it names a resource or a secret.
    pub fn is_template(&self) -> bool {
        self.value().contains("${") || resolve::has_reference(self.value())
    }

    /// The target as it stands in a function's environment: as JSON, and beside it the value if only CloudFormation can say
    /// what it is, which would put into the JSON whatever it finds.
    pub fn packed(&self) -> (Value, Option<&str>) {
        let beside = self.is_template().then_some(self.value());
        let value = if beside.is_some() { "" } else { self.value() };
        (serde_json::json!({ self.key(): value }), beside)
    }

    /// The target of JSON text, with the value that stands beside it, if one does.
    pub fn unpacked(text: &str, beside: Option<String>) -> Result<Self, serde_json::Error> {
        Ok(match (serde_json::from_str(text)?, beside) {
            (Self::Topic(_), Some(value)) => Self::Topic(value),
            (Self::EventBus(_), Some(value)) => Self::EventBus(value),
            (Self::Webhook(_), Some(value)) => Self::Webhook(value),
            (target, None) => target,
        })
    }

    /// The target, if it can be one. What CloudFormation will put in is not known yet and is let through.
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
            Self::Webhook(url) if !is_safe_url(url) => refused(
                "a URL that can be told a failure: it must begin with `https://`, or lead to this machine",
            ),
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

/// What is told of one failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The task.
    pub task: TaskName,
    /// The run; nothing if there was none.
    pub run_id: Option<RunId>,
    /// How the run ended, such as FAILED; MISSED if there was none.
    pub status: String,
    /// What kind of thing went wrong.
    pub kind: Option<ErrorKind>,
    /// What went wrong.
    pub message: String,
    /// The time the run was meant for.
    pub scheduled_for: Option<Timestamp>,
    /// Where it ran.
    pub environment: String,
    /// The stack it is of.
    pub stack: String,
}

impl Message {
    /// What is told of a run that is over and did not complete.
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

    /// What is told of the messages in a task's dead-letter queue, once a day for as long as there are some, with the word by which
    /// it is told once.
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

    /// One line for people.
    pub fn subject(&self) -> String {
        format!("{} {} in {}", self.task, self.status, self.stack)
    }
}

/// How long it is tried to deliver a message.
pub const DELIVERY_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// How often the messages in dead-letter queues are counted.
pub const COUNT_LETTERS: Duration = Duration::from_secs(600);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// The first pause, doubled with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(60);

/// What follows when a message could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It is tried again then.
    At(Timestamp),
    /// It is not tried again.
    GiveUp,
}

/// What follows when a message could not be delivered once more, after `failures` times before, of a message that is kept
/// since `since`. It is tried for [`DELIVERY_LIMIT`], after 1, 2, 4, .. minutes and then each hour.
pub fn after_failure(failures: u32, since: Timestamp, now: Timestamp) -> Retry {
    let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.min(10))).min(LONGEST_PAUSE);
    let end = since.saturating_add(DELIVERY_LIMIT).unwrap_or(Timestamp::MAX);
    match now.saturating_add(pause) {
        Ok(at) if now < end => Retry::At(at),
        _ => Retry::GiveUp,
    }
}

/// The word by which a failure is told once: the tick that a run was started for, or else the run.
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
        let told = |count, at: &str| {
            let task = "mail".parse().unwrap();
            Message::of_dead_letters(&task, count, at.parse().unwrap(), "dev", "shop")
        };
        assert_eq!(told(0, "2026-11-28T10:00:00Z"), None);
        let (first, message) = told(2, "2026-11-28T10:00:00Z").unwrap();
        assert_eq!(message.message, "2 messages are in the dead-letter queue: see `lamplighter jobs dead`");
        assert_eq!(told(5, "2026-11-28T23:59:59Z").unwrap().0, first);
        assert_ne!(told(5, "2026-11-29T00:00:00Z").unwrap().0, first);
    }

    #[test]
    fn o08_a_message_is_tried_for_a_day_at_longer_and_longer_pauses() {
        let since = Timestamp::from_second(1_800_000_000).unwrap();
        let (mut now, mut pauses) = (since, Vec::new());
        while let Retry::At(at) = after_failure(u32::try_from(pauses.len()).unwrap(), since, now) {
            pauses.push(at.duration_since(now).as_mins());
            now = at;
        }
        assert_eq!(pauses[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        let day = i64::try_from(DELIVERY_LIMIT.as_secs() / 60).unwrap();
        assert!((day..=day + 60).contains(&pauses.iter().sum::<i64>()), "{pauses:?}");
        assert_eq!(after_failure(u32::MAX, since, since), Retry::At(since + Duration::from_secs(3600)));
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
