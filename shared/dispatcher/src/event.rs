//! Parses CloudFormation's events in two steps: first the fields that an answer needs, then the request itself.
//!
//! CloudFormation sends properties as strings, whatever their type in the template. Source: CloudFormation User Guide, "Custom resource
//! request objects".

mod parts;

use std::{collections::BTreeSet, fmt::Display, str::FromStr, time::Duration};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use lamplighter_core::{
    definition::{DEFAULT_TIMEOUT, MAX_TIMEOUT, OncePer, RunOn},
    deployment::{
        Addressee, Change, MAX_SERVICE_TIMEOUT, PlannedTask, Properties, Request, shortened, waves,
    },
    name::TaskName,
};
use serde_json::Value;

pub use parts::Event;

/// The longest stack, request and logical id, in bytes of JSON. All of them must fit in the answer's 4096 bytes and in the
/// table's keys. CloudFormation's own are far shorter.
const MAX_ID: usize = 512;
/// The longest version and the longest name of a function, in bytes.
const MAX_WORD: usize = 256;
/// The most tasks of a resource, and the most bytes of their JSON. The ledger's entry, which has them and their outcomes,
/// must fit in one item of 400 KB.
const MAX_TASKS: usize = 100;
const MAX_TASKS_BYTES: usize = 100_000;
/// The most bytes of an invalid value in an error.
const MAX_FAULTY: usize = 100;
/// The key under which a dispatcher that hands over passes the time of the request's first delivery.
pub const FIRST_DELIVERY: &str = "LamplighterFirstDelivery";

/// A response URL. It is a secret, since anyone who has it can forge the answer. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ResponseUrl(String);

impl ResponseUrl {
    /// The URL itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for ResponseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// The fields of an event that an answer needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The ids that the answer repeats.
    pub to: Addressee,
    /// The URL to which the answer is sent.
    pub response_url: ResponseUrl,
    /// The time at which CloudFormation sent the event, if the URL has the date of its signature.
    pub sent_at: Option<Timestamp>,
    /// The time of the request's first delivery, if an earlier invocation has passed it.
    pub first_delivery: Option<Timestamp>,
}

/// The action that an event requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Deploy or roll back.
    Deploy(Box<Deploy>),
    /// Delete the resource.
    Delete,
    /// An unknown request type.
    Unknown(Malformed),
}

impl Action {
    /// The fault of a malformed event.
    pub fn fault(&self) -> Option<&Malformed> {
        match self {
            Self::Deploy(deploy) => deploy.fault.as_ref(),
            Self::Delete => None,
            Self::Unknown(fault) => Some(fault),
        }
    }
}

/// A request to deploy or roll back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deploy {
    /// The request. A malformed one has no tasks.
    pub request: Request,
    /// The time that CloudFormation waits for the answer.
    pub service_timeout: Duration,
    /// The stack's environment.
    pub environment: String,
    /// The fault of malformed properties. A rollback ignores it.
    pub fault: Option<Malformed>,
}

/// An event that lacks the fields that an answer needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event cannot be answered: {0}")]
pub struct Unanswerable(String);

/// A malformed event. It is answered FAILED.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {fault}")]
pub struct Malformed {
    /// The key of the invalid value.
    pub key: String,
    /// The fault, and the expected value.
    pub fault: String,
}

fn malformed(key: impl Into<String>, fault: impl Into<String>) -> Malformed {
    Malformed { key: key.into(), fault: fault.into() }
}

/// Reads the fields that an answer needs. `local` is the only endpoint without TLS that is accepted, for local runs.
pub fn envelope(event: &Event, local: Option<&str>) -> Result<Envelope, Unanswerable> {
    let id = |key: &str| match event.text(key) {
        Some(id) if !id.is_empty() && Value::from(id.as_str()).to_string().len() - 2 <= MAX_ID => Ok(id),
        Some(_) => Err(Unanswerable(format!("`{key}` must have 1 to {MAX_ID} bytes"))),
        None => Err(Unanswerable(format!("`{key}` is missing or not a string"))),
    };
    let url = event
        .text("ResponseURL")
        .ok_or_else(|| Unanswerable("`ResponseURL` is missing or not a string".into()))?;
    let parsed = reqwest::Url::parse(&url);
    let local = local.map(|local| local.trim_end_matches('/'));
    let is_local =
        local.is_some_and(|local| url.strip_prefix(local).is_some_and(|rest| rest.starts_with('/')));
    if !is_local && !url.starts_with("https://") {
        return Err(Unanswerable("`ResponseURL` is not https".into()));
    }
    let parsed = parsed.map_err(|error| Unanswerable(format!("`ResponseURL` is not a URL: {error}")))?;
    Ok(Envelope {
        to: Addressee {
            stack_id: id("StackId")?,
            request_id: id("RequestId")?,
            logical_resource_id: id("LogicalResourceId")?,
            physical_resource_id: event.text("PhysicalResourceId").filter(|id| !id.is_empty()),
        },
        sent_at: signed_at(&parsed),
        response_url: ResponseUrl(url),
        first_delivery: event.text(FIRST_DELIVERY).and_then(|time| time.parse().ok()),
    })
}

/// The time at which a URL was signed. Source: IAM User Guide, "Signature Version 4", `X-Amz-Date`.
fn signed_at(url: &reqwest::Url) -> Option<Timestamp> {
    let (_, date) = url.query_pairs().find(|(key, _)| key == "X-Amz-Date")?;
    let date = DateTime::strptime("%Y%m%dT%H%M%SZ", &*date).ok()?;
    date.to_zoned(TimeZone::UTC).ok().map(|date| date.timestamp())
}

/// Reads the requested action.
pub fn action(event: &Event, envelope: &Envelope) -> Action {
    let change = match event.text("RequestType").as_deref() {
        Some("Delete") => return Action::Delete,
        Some("Create") => Change::Create,
        Some("Update") => Change::Update,
        _ => return Action::Unknown(malformed("RequestType", "must be Create, Update or Delete")),
    };
    let read = event.value("ResourceProperties");
    let properties = read.as_ref().ok().filter(|properties| properties.is_object());
    let old = event.value("OldResourceProperties").ok().filter(Value::is_object);
    let version = |properties: &Value| match &properties["Version"] {
        Value::String(version) => Some(shortened(version, MAX_WORD)),
        value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
        _ => None,
    };
    let to = &envelope.to;
    let mut request = Request {
        change,
        request_id: to.request_id.clone(),
        ledger: to.ledger(),
        version: properties.and_then(version).unwrap_or_default(),
        old_version: old.as_ref().and_then(version),
        old_properties: old.as_ref().map(Properties::of),
        properties: match &read {
            Ok(properties) => Properties::of(properties),
            Err(_) => Properties::of_text(event.raw("ResourceProperties").unwrap_or_default()),
        },
        sent_at: envelope.sent_at,
        tasks: Vec::new(),
    };
    let mut service_timeout = MAX_SERVICE_TIMEOUT;
    let mut parse = || {
        let properties = match (&read, properties) {
            (_, Some(properties)) => properties,
            (Err(error), None) => {
                return Err(malformed("ResourceProperties", format!("cannot be read: {error}")));
            }
            (Ok(_), None) => return Err(malformed("ResourceProperties", "is missing or not an object")),
        };
        let key = |name: &str| format!("ResourceProperties.{name}");
        if let Some(seconds) = optional(properties, "ServiceTimeout", &key("ServiceTimeout"))? {
            service_timeout = self::service_timeout(&seconds)?;
        }
        let version = optional(properties, "Version", &key("Version"))?;
        let version = version.ok_or_else(|| missing("Version", "the version to deploy"))?;
        request.version = bounded("ResourceProperties.Version", version)?;
        request.tasks = tasks(&properties["Tasks"])?;
        Ok(())
    };
    let fault = parse().err();
    let environment = properties.and_then(|properties| properties["Environment"].as_str());
    let environment = environment.filter(|word| !word.is_empty()).unwrap_or("dev");
    let environment = shortened(environment, MAX_WORD);
    Action::Deploy(Box::new(Deploy { request, service_timeout, environment, fault }))
}

/// Reads the list of tasks and checks that their dependencies have an order.
fn tasks(listed: &Value) -> Result<Vec<PlannedTask>, Malformed> {
    let tasks = listed.as_array().ok_or_else(|| missing("Tasks", "the list of tasks"))?;
    let too_large = |fault: String| Err(malformed("ResourceProperties.Tasks", fault));
    if tasks.len() > MAX_TASKS {
        return too_large(format!("has {} tasks; the most is {MAX_TASKS}", tasks.len()));
    }
    let tasks: Vec<_> =
        tasks.iter().enumerate().map(|(i, task)| planned(i, task)).collect::<Result<_, _>>()?;
    let bytes = listed.to_string().len();
    if bytes > MAX_TASKS_BYTES {
        return too_large(format!("has {bytes} bytes; the most is {MAX_TASKS_BYTES}"));
    }
    waves(&tasks).map_err(|error| malformed("ResourceProperties.Tasks", error.to_string()))?;
    Ok(tasks)
}

fn service_timeout(seconds: &str) -> Result<Duration, Malformed> {
    let fault =
        || format!("expected whole seconds, at least 1, and found `{}`", shortened(seconds, MAX_FAULTY));
    let whole = seconds.parse().ok().filter(|whole| *whole > 0);
    whole.map(Duration::from_secs).ok_or_else(|| malformed("ResourceProperties.ServiceTimeout", fault()))
}

fn bounded(key: &str, word: String) -> Result<String, Malformed> {
    let fault = || malformed(key, format!("has {} bytes; the most is {MAX_WORD}", word.len()));
    if word.len() > MAX_WORD { Err(fault()) } else { Ok(word) }
}

/// Reads a property as a string; `None` if it is missing. A number or boolean is accepted as its text.
fn optional(properties: &Value, name: &str, key: &str) -> Result<Option<String>, Malformed> {
    match &properties[name] {
        Value::Null => Ok(None),
        Value::String(text) if !text.is_empty() => Ok(Some(text.clone())),
        value @ (Value::Number(_) | Value::Bool(_)) => Ok(Some(value.to_string())),
        Value::String(_) => Err(malformed(key, "is empty")),
        Value::Array(_) => Err(malformed(key, "expected a string, found a list")),
        Value::Object(_) => Err(malformed(key, "expected a string, found an object")),
    }
}

fn missing(key: &str, what: &str) -> Malformed {
    malformed(format!("ResourceProperties.{key}"), format!("{what} is missing or of the wrong type"))
}

fn planned(place: usize, task: &Value) -> Result<PlannedTask, Malformed> {
    let key = |name: &str| format!("ResourceProperties.Tasks[{place}].{name}");
    let text = |name: &str| optional(task, name, &key(name));
    let required = |name: &str| text(name)?.ok_or_else(|| malformed(key(name), "is missing or not a string"));
    let timeout = match text("TimeoutMs")? {
        Some(ms) => Duration::from_millis(word(&key("TimeoutMs"), &ms)?),
        None => DEFAULT_TIMEOUT,
    };
    Ok(PlannedTask {
        name: word(&key("Name"), &required("Name")?)?,
        function: bounded(&key("Function"), required("Function")?)?,
        run_on: match &task["RunOn"] {
            Value::Null => BTreeSet::from([RunOn::Deploy, RunOn::Update]),
            listed => words(&key("RunOn"), listed)?.into_iter().collect(),
        },
        depends_on: words::<TaskName>(&key("DependsOn"), &task["DependsOn"])?,
        once_per: match text("OncePer")? {
            Some(scope) => word(&key("OncePer"), &scope)?,
            None => OncePer::default(),
        },
        rollback: match text("Rollback")? {
            Some(truth) => word(&key("Rollback"), &truth)?,
            None => false,
        },
        timeout: timeout.min(MAX_TIMEOUT),
    })
}

fn words<T: FromStr<Err: Display>>(key: &str, listed: &Value) -> Result<Vec<T>, Malformed> {
    let fault = || malformed(key, "expected a list of strings");
    match listed {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => {
            items.iter().map(|item| word(key, item.as_str().ok_or_else(fault)?)).collect::<Result<_, _>>()
        }
        _ => Err(fault()),
    }
}

fn word<T: FromStr<Err: Display>>(key: &str, text: &str) -> Result<T, Malformed> {
    let fault = |error: T::Err| match text.len() {
        // A parser's error may quote the whole text.
        MAX_FAULTY.. => format!("`{}` is not valid here", shortened(text, MAX_FAULTY)),
        _ => format!("`{text}`: {error}"),
    };
    text.parse().map_err(|error| malformed(key, fault(error)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An event of a real deployment by CloudFormation, with its ids replaced.
    fn event() -> Value {
        serde_json::from_str(include_str!("../tests/events/update.json")).unwrap()
    }

    fn read(event: &Value) -> (Envelope, Action) {
        let event = Event::read(&event.to_string());
        let envelope = envelope(&event, None).unwrap();
        let action = action(&event, &envelope);
        (envelope, action)
    }

    fn deploy(event: &Value) -> Deploy {
        match read(event).1 {
            Action::Deploy(deploy) => *deploy,
            other => panic!("not a deployment: {other:?}"),
        }
    }

    #[test]
    fn l04_a_recorded_event_is_read() {
        let (envelope, _) = read(&event());
        let ledger = format!("{}#LamplighterBefore", event()["StackId"].as_str().unwrap());
        assert_eq!(envelope.to.ledger(), ledger);
        assert_eq!(envelope.sent_at, "2026-11-20T12:00:07Z".parse().ok());
        let Deploy { request, service_timeout, environment, fault } = deploy(&event());
        assert_eq!((request.change, request.version.as_str()), (Change::Update, "2"));
        assert_eq!(request.old_version.as_deref(), Some("1"));
        assert_eq!((service_timeout, environment.as_str(), fault), (Duration::from_secs(600), "dev", None));
        assert_eq!(request.properties, Properties::of(&event()["ResourceProperties"]));
        assert_eq!(request.tasks.len(), 2);
        let seed = &request.tasks[1];
        assert_eq!((seed.name.as_str(), seed.function.as_str()), ("seed-data", "shop-seed-data"));
        assert_eq!(seed.run_on, BTreeSet::from([RunOn::Deploy]));
        assert_eq!(seed.depends_on, ["run-migrations".parse().unwrap()]);
        assert_eq!((seed.timeout, seed.rollback), (Duration::from_secs(120), true));
    }

    #[test]
    fn l22_an_event_that_cannot_be_answered_is_an_error_that_names_the_key() {
        for (key, value) in [
            ("ResponseURL", json!(null)),
            ("ResponseURL", json!(7)),
            ("ResponseURL", json!("http://example.com/answer")),
            ("ResponseURL", json!("http://127.0.0.1:90.example.com/")),
            ("ResponseURL", json!("https://example.com:99999/")),
            ("ResponseURL", json!("https://[::1/")),
            ("ResponseURL", json!("http://127.0.0.1:9:7/")),
            ("StackId", json!(null)),
            ("RequestId", json!("")),
            ("LogicalResourceId", json!("x".repeat(5000))),
        ] {
            let mut event = event();
            event[key] = value;
            let error = envelope(&Event::read(&event.to_string()), Some("http://127.0.0.1:9"));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
    }

    #[test]
    fn l22_a_local_answer_endpoint_may_end_in_a_slash() {
        let mut event = event();
        event["ResponseURL"] = json!("http://127.0.0.1:9/answer");
        for local in ["http://127.0.0.1:9", "http://127.0.0.1:9/"] {
            assert!(envelope(&Event::read(&event.to_string()), Some(local)).is_ok(), "{local}");
        }
    }

    #[test]
    fn l22_a_malformed_request_is_an_error_that_names_the_property() {
        for (pointer, value, key) in [
            ("/ResourceProperties", json!([]), "ResourceProperties"),
            ("/ResourceProperties/Version", json!(null), "ResourceProperties.Version"),
            ("/ResourceProperties/Version", json!({}), "ResourceProperties.Version"),
            ("/ResourceProperties/ServiceTimeout", json!("soon"), "ResourceProperties.ServiceTimeout"),
            ("/ResourceProperties/ServiceTimeout", json!([]), "ResourceProperties.ServiceTimeout"),
            ("/ResourceProperties/ServiceTimeout", json!(""), "ResourceProperties.ServiceTimeout"),
            ("/ResourceProperties/ServiceTimeout", json!(0), "ResourceProperties.ServiceTimeout"),
            ("/ResourceProperties/Tasks", json!("all"), "ResourceProperties.Tasks"),
            ("/ResourceProperties/Tasks/0", json!("migrate"), "ResourceProperties.Tasks[0].Name"),
            ("/ResourceProperties/Tasks/1/Name", json!("Seed Data"), "ResourceProperties.Tasks[1].Name"),
            ("/ResourceProperties/Tasks/1/Function", json!({}), "ResourceProperties.Tasks[1].Function"),
            ("/ResourceProperties/Tasks/1/RunOn", json!(["delete"]), "ResourceProperties.Tasks[1].RunOn"),
            ("/ResourceProperties/Tasks/1/RunOn", json!("deploy"), "ResourceProperties.Tasks[1].RunOn"),
            ("/ResourceProperties/Tasks/1/DependsOn", json!("a"), "ResourceProperties.Tasks[1].DependsOn"),
            ("/ResourceProperties/Tasks/1/TimeoutMs", json!("-1"), "ResourceProperties.Tasks[1].TimeoutMs"),
            ("/ResourceProperties/Tasks/1/TimeoutMs", json!([]), "ResourceProperties.Tasks[1].TimeoutMs"),
            ("/ResourceProperties/Tasks/1/OncePer", json!({}), "ResourceProperties.Tasks[1].OncePer"),
            ("/ResourceProperties/Tasks/1/Rollback", json!("yes"), "ResourceProperties.Tasks[1].Rollback"),
            ("/ResourceProperties/Tasks/1/Rollback", json!([]), "ResourceProperties.Tasks[1].Rollback"),
        ] {
            let mut event = event();
            *event.pointer_mut(pointer).unwrap() = value.clone();
            assert_eq!(deploy(&event).fault.map(|fault| fault.key).as_deref(), Some(key), "{value}");
        }
        let mut unknown = event();
        unknown["RequestType"] = json!("Upsert");
        assert!(matches!(read(&unknown).1, Action::Unknown(fault) if fault.key == "RequestType"));
    }

    #[test]
    fn l06_a_delete_needs_no_properties() {
        let mut event = event();
        event["RequestType"] = json!("Delete");
        event["ResourceProperties"] = json!(null);
        assert_eq!(read(&event).1, Action::Delete);
    }

    #[test]
    fn d10_an_unreadable_event_is_answered_if_its_ids_are_readable() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        for (properties, other) in [
            (deep.as_str(), "1"),
            (r#"{"Version": "\ud800"}"#, "1"),
            (r#"{"Version": 1e999}"#, "1"),
            (r#"{"Version": "1", "Tasks": []}"#, "1e999"),
        ] {
            let ids =
                r#""StackId": "s", "RequestId": "r", "LogicalResourceId": "l", "ResponseURL": "https://x/""#;
            let text = format!(
                r#"{{"\ud800": 1, "Other": {other}, "requestPayload": {{}}, "RequestType": "Update", {ids},
                    "ResourceProperties": {properties}}}"#
            );
            let event = Event::read(&text);
            assert!(event.undelivered().is_none());
            let envelope = envelope(&event, None).unwrap();
            let Action::Deploy(deploy) = action(&event, &envelope) else { panic!("not a deployment") };
            let key = deploy.fault.map(|fault| fault.key);
            let expected = (other == "1").then_some("ResourceProperties");
            assert_eq!(key.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn l23_a_response_url_is_not_printed() {
        let printed = format!("{:?}", read(&event()));
        assert!(!printed.contains("X-Amz-Signature"), "{printed}");
    }
}
