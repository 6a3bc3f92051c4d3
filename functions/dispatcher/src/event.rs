//! What CloudFormation sends, read in two steps: first what is needed to answer at all, then the request itself.
//!
//! Properties come as text, whatever they were in the template. Source: CloudFormation User Guide, "Custom resource
//! request objects".

use std::{collections::BTreeSet, fmt::Display, str::FromStr, time::Duration};

use lamplighter_core::{
    definition::{DEFAULT_TIMEOUT, MAX_TIMEOUT, OncePer, RunOn},
    deployment::{Addressee, Change, PlannedTask, Request, shortened, waves},
    name::TaskName,
};
use serde_json::Value;

/// The longest stack, request and logical id, in bytes of JSON. CloudFormation's own are far shorter; the answer must
/// hold them all in its 4096 bytes, and the table in its keys.
const MAX_ID: usize = 512;
/// The longest physical id, in bytes. Source: CloudFormation User Guide, "Custom resource response objects".
const MAX_PHYSICAL_ID: usize = 1024;
/// The longest version and the longest name of a function, in bytes.
const MAX_WORD: usize = 256;
/// The most tasks that a resource may have, and the most bytes of JSON they may take: with what becomes of each, the
/// ledger's entry must fit one item of 400 KB.
const MAX_TASKS: usize = 100;
const MAX_TASKS_BYTES: usize = 100_000;
/// How much of a faulty value is told, in bytes.
const MAX_FAULTY: usize = 100;
/// The time CloudFormation waits for an answer unless the resource says otherwise.
const DEFAULT_SERVICE_TIMEOUT: Duration = Duration::from_secs(3600);

/// A response URL. It is a secret: who has it can forge the answer. It is never printed.
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

/// An event of which it is known where to send the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Whom the answer is for.
    pub to: Addressee,
    /// Where it goes.
    pub response_url: ResponseUrl,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To deploy.
    Deploy {
        /// What.
        request: Request,
        /// How long CloudFormation waits for the answer.
        service_timeout: Duration,
    },
    /// To let go of the resource.
    Delete,
}

/// An event that nobody can be answered about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event cannot be answered: {0}")]
pub struct Unanswerable(String);

/// An event that is answered FAILED.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {fault}")]
pub struct Malformed {
    /// The key at fault.
    pub key: String,
    /// What is wrong with it, and what may stand there.
    pub fault: String,
}

fn malformed(key: impl Into<String>, fault: impl Into<String>) -> Malformed {
    Malformed { key: key.into(), fault: fault.into() }
}

/// Reads what is needed to answer. `local` is the one place without TLS that may be answered, on a machine of one's
/// own.
pub fn envelope(event: &Value, local: Option<&str>) -> Result<Envelope, Unanswerable> {
    let id = |key: &str| match event[key].as_str() {
        Some(id) if !id.is_empty() && event[key].to_string().len() - 2 <= MAX_ID => Ok(id.to_owned()),
        Some(_) => Err(Unanswerable(format!("`{key}` must have 1 to {MAX_ID} bytes"))),
        None => Err(Unanswerable(format!("`{key}` is missing or not a text"))),
    };
    let physical_id =
        event["PhysicalResourceId"].as_str().filter(|id| (1..=MAX_PHYSICAL_ID).contains(&id.len()));
    let url = event["ResponseURL"]
        .as_str()
        .ok_or_else(|| Unanswerable("`ResponseURL` is missing or not a text".into()))?;
    let is_local =
        local.is_some_and(|local| url.strip_prefix(local).is_some_and(|rest| rest.starts_with('/')));
    if !is_local && !url.starts_with("https://") {
        return Err(Unanswerable("`ResponseURL` is not https".into()));
    }
    Ok(Envelope {
        to: Addressee {
            stack_id: id("StackId")?,
            request_id: id("RequestId")?,
            logical_resource_id: id("LogicalResourceId")?,
            physical_resource_id: physical_id.map(str::to_owned),
        },
        response_url: ResponseUrl(url.to_owned()),
    })
}

/// Reads what is asked for.
pub fn wish(event: &Value, to: &Addressee) -> Result<Wish, Malformed> {
    let change = match event["RequestType"].as_str() {
        Some("Delete") => return Ok(Wish::Delete),
        _ => change(event).ok_or_else(|| malformed("RequestType", "must be Create, Update or Delete"))?,
    };
    let properties = &event["ResourceProperties"];
    if !properties.is_object() {
        return Err(malformed("ResourceProperties", "is missing or not an object"));
    }
    let version = text(properties, "Version").ok_or_else(|| missing("Version", "the version to deploy"))?;
    let version = bounded("ResourceProperties.Version", version)?;
    let service_timeout = match text(properties, "ServiceTimeout") {
        Some(seconds) => service_timeout(&seconds)?,
        None => DEFAULT_SERVICE_TIMEOUT,
    };
    let request = Request { version, tasks: tasks(&properties["Tasks"])?, ..remains(event, to, change) };
    Ok(Wish::Deploy { request, service_timeout })
}

/// What is left of a request whose properties cannot be read: it has no tasks. Nothing, if it is not one to deploy.
pub fn remnant(event: &Value, to: &Addressee) -> Option<Request> {
    change(event).map(|change| remains(event, to, change))
}

fn remains(event: &Value, to: &Addressee, change: Change) -> Request {
    let version = |properties: &str| text(&event[properties], "Version").map(|it| shortened(&it, MAX_WORD));
    Request {
        change,
        request_id: to.request_id.clone(),
        ledger: to.ledger(),
        version: version("ResourceProperties").unwrap_or_default(),
        old_version: version("OldResourceProperties"),
        tasks: Vec::new(),
    }
}

fn change(event: &Value) -> Option<Change> {
    match event["RequestType"].as_str() {
        Some("Create") => Some(Change::Create),
        Some("Update") => Some(Change::Update),
        _ => None,
    }
}

/// The tasks, which must have an order.
fn tasks(listed: &Value) -> Result<Vec<PlannedTask>, Malformed> {
    let tasks = listed.as_array().ok_or_else(|| missing("Tasks", "the list of tasks"))?;
    let too_large = |fault: String| Err(malformed("ResourceProperties.Tasks", fault));
    if tasks.len() > MAX_TASKS {
        return too_large(format!("there are {}, and a resource has at most {MAX_TASKS}", tasks.len()));
    }
    let tasks: Vec<_> =
        tasks.iter().enumerate().map(|(i, task)| planned(i, task)).collect::<Result<_, _>>()?;
    let bytes = listed.to_string().len();
    if bytes > MAX_TASKS_BYTES {
        return too_large(format!("they have {bytes} bytes, and may have {MAX_TASKS_BYTES}"));
    }
    waves(&tasks).map_err(|error| malformed("ResourceProperties.Tasks", error.to_string()))?;
    Ok(tasks)
}

fn service_timeout(seconds: &str) -> Result<Duration, Malformed> {
    let fault = || format!("`{}` is not whole seconds from 1 on", shortened(seconds, MAX_FAULTY));
    let whole = seconds.parse().ok().filter(|whole| *whole > 0);
    whole.map(Duration::from_secs).ok_or_else(|| malformed("ResourceProperties.ServiceTimeout", fault()))
}

fn bounded(key: &str, word: String) -> Result<String, Malformed> {
    let fault = || malformed(key, format!("has {} bytes, and may have {MAX_WORD}", word.len()));
    if word.len() > MAX_WORD { Err(fault()) } else { Ok(word) }
}

/// A property as text. A number or a truth stands for its text, should somebody send one.
fn text(properties: &Value, key: &str) -> Option<String> {
    match &properties[key] {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
        _ => None,
    }
}

fn missing(key: &str, what: &str) -> Malformed {
    malformed(format!("ResourceProperties.{key}"), format!("{what} is missing or of the wrong type"))
}

fn planned(place: usize, task: &Value) -> Result<PlannedTask, Malformed> {
    let key = |name: &str| format!("ResourceProperties.Tasks[{place}].{name}");
    let required =
        |name: &str| text(task, name).ok_or_else(|| malformed(key(name), "is missing or not a text"));
    let timeout = match text(task, "TimeoutMs") {
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
        once_per: match text(task, "OncePer") {
            Some(scope) => word(&key("OncePer"), &scope)?,
            None => OncePer::default(),
        },
        rollback: match text(task, "Rollback") {
            Some(truth) => word(&key("Rollback"), &truth)?,
            None => false,
        },
        timeout: timeout.min(MAX_TIMEOUT),
    })
}

fn words<T: FromStr<Err: Display>>(key: &str, listed: &Value) -> Result<Vec<T>, Malformed> {
    let fault = || malformed(key, "must be a list of texts");
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
        // What a parser says of a text may have all of it.
        MAX_FAULTY.. => format!("`{}` cannot stand here", shortened(text, MAX_FAULTY)),
        _ => format!("`{text}`: {error}"),
    };
    text.parse().map_err(|error| malformed(key, fault(error)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A real event of a deployment through CloudFormation, with the ids replaced.
    fn event() -> Value {
        serde_json::from_str(include_str!("../tests/events/update.json")).unwrap()
    }

    #[test]
    fn a_recorded_event_is_read() {
        let envelope = envelope(&event(), None).unwrap();
        assert_eq!(envelope.to.ledger(), "shop#LamplighterBefore");
        let Wish::Deploy { request, service_timeout } = wish(&event(), &envelope.to).unwrap() else {
            panic!("not a deployment")
        };
        assert_eq!((request.change, request.version.as_str()), (Change::Update, "2"));
        assert_eq!(request.old_version.as_deref(), Some("1"));
        assert_eq!(service_timeout, Duration::from_secs(600));
        assert_eq!(request.tasks.len(), 2);
        let seed = &request.tasks[1];
        assert_eq!((seed.name.as_str(), seed.function.as_str()), ("seed-data", "shop-seed-data"));
        assert_eq!(seed.run_on, BTreeSet::from([RunOn::Deploy]));
        assert_eq!(seed.depends_on, ["run-migrations".parse().unwrap()]);
        assert_eq!((seed.timeout, seed.rollback), (Duration::from_secs(120), true));
    }

    #[test]
    fn l22_what_nobody_can_be_answered_about_is_said() {
        for (key, value) in [
            ("ResponseURL", json!(null)),
            ("ResponseURL", json!(7)),
            ("ResponseURL", json!("http://example.com/answer")),
            ("ResponseURL", json!("http://127.0.0.1:90.example.com/")),
            ("StackId", json!(null)),
            ("RequestId", json!("")),
            ("LogicalResourceId", json!("x".repeat(5000))),
        ] {
            let mut event = event();
            event[key] = value;
            let error = envelope(&event, Some("http://127.0.0.1:9")).unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
    }

    #[test]
    fn l22_what_is_wrong_with_a_request_is_named() {
        for (pointer, value, key) in [
            ("/RequestType", json!("Upsert"), "RequestType"),
            ("/ResourceProperties", json!([]), "ResourceProperties"),
            ("/ResourceProperties/Version", json!(null), "ResourceProperties.Version"),
            ("/ResourceProperties/ServiceTimeout", json!("soon"), "ResourceProperties.ServiceTimeout"),
            ("/ResourceProperties/Tasks", json!("all"), "ResourceProperties.Tasks"),
            ("/ResourceProperties/Tasks/0", json!("migrate"), "ResourceProperties.Tasks[0].Name"),
            ("/ResourceProperties/Tasks/1/Name", json!("Seed Data"), "ResourceProperties.Tasks[1].Name"),
            ("/ResourceProperties/Tasks/1/Function", json!({}), "ResourceProperties.Tasks[1].Function"),
            ("/ResourceProperties/Tasks/1/RunOn", json!(["delete"]), "ResourceProperties.Tasks[1].RunOn"),
            ("/ResourceProperties/Tasks/1/DependsOn", json!("a"), "ResourceProperties.Tasks[1].DependsOn"),
            ("/ResourceProperties/Tasks/1/TimeoutMs", json!("-1"), "ResourceProperties.Tasks[1].TimeoutMs"),
            ("/ResourceProperties/Tasks/1/Rollback", json!("yes"), "ResourceProperties.Tasks[1].Rollback"),
        ] {
            let mut event = event();
            *event.pointer_mut(pointer).unwrap() = value;
            let to = envelope(&event, None).unwrap().to;
            assert_eq!(wish(&event, &to).unwrap_err().key, key);
        }
    }

    #[test]
    fn l06_a_delete_needs_nothing_else() {
        let mut event = event();
        event["RequestType"] = json!("Delete");
        event["ResourceProperties"] = json!(null);
        let to = envelope(&event, None).unwrap().to;
        assert_eq!(wish(&event, &to), Ok(Wish::Delete));
    }

    #[test]
    fn l23_a_response_url_is_not_printed() {
        let printed = format!("{:?}", envelope(&event(), None).unwrap());
        assert!(!printed.contains("X-Amz-Signature"), "{printed}");
    }
}
