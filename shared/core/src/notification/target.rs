//! Targets of notifications.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::resolve;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o04_a_resolved_target_may_have_any_characters() {
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
    fn p06_an_invalid_target_is_refused_with_the_allowed_forms() {
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
