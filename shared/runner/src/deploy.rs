//! Creates, updates and rolls back a stack on this machine, in place of CloudFormation, with real events to the real dispatcher.
//!
//! The order is CloudFormation's: the tasks before the application, the application, the tasks after it. A failure rolls back the
//! resources that were touched. Source: CloudFormation User Guide, "Custom resources" and "Stack failure options".

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use lamplighter_aws::table::RequestKey;
use lamplighter_core::{
    definition::Phase,
    deployment::{Addressee, Entry},
};
use lamplighter_project::Project;
use lamplighter_template::{logical_id, properties};
use serde_json::{Value, json};

use super::{
    machine::Machine,
    stack::{Resource, Stack},
};

/// Receives the events of a deployment.
pub trait Observer {
    /// The dispatcher answered for a resource. `entry` is the deployment in the ledger, if one was written.
    fn answered(
        &mut self,
        logical_id: &'static str,
        answer: &Answer,
        entry: Option<&Entry>,
    ) -> impl Future<Output = anyhow::Result<()>>;
    /// The application's functions are now updated.
    fn application(&mut self, version: &str);
    /// A resource failed, and the stack is rolled back.
    fn rolling_back(&mut self);
}

/// The answer for a custom resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// True for SUCCESS.
    pub success: bool,
    /// The reason of a failure.
    pub reason: String,
    physical_id: String,
}

/// The result of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The status of the stack.
    pub status: String,
    /// The reason of its failure, if it failed.
    pub failure: Option<String>,
}

/// The change of one resource.
struct ResourceChange {
    logical_id: &'static str,
    /// Its new properties; none if it is deleted.
    wanted: Option<Value>,
    /// Its state before; none if it is created.
    had: Option<Resource>,
}

/// Deploys a version of a project whose functions are registered.
pub async fn deploy(
    machine: &Machine,
    stack: &mut Stack,
    project: &Project,
    version: &str,
    observer: &mut impl Observer,
) -> anyhow::Result<Deployed> {
    let is_new = !stack.exists();
    let word = if is_new { "CREATE" } else { "UPDATE" };
    let status = |status: &str| machine.stacks.set(&stack.id(), &stack.name, status);
    status(&format!("{word}_IN_PROGRESS"));
    let changes = changes(machine, stack, project, version)?;
    let mut touched: Vec<(&ResourceChange, Option<String>)> = Vec::new();
    let mut failure = None;
    for change in &changes {
        let Some(wanted) = &change.wanted else { continue };
        let kind = if change.had.is_some() { "Update" } else { "Create" };
        let answer = send(machine, stack, change, kind, wanted, observer).await?;
        let failed = !answer.success;
        touched.push((change, Some(answer.physical_id)));
        if failed {
            failure = Some(format!("{}: {}", change.logical_id, answer.reason));
            break;
        }
        if change.logical_id == logical_id(Phase::Before) {
            observer.application(version);
        }
    }
    if let Some(reason) = failure {
        observer.rolling_back();
        let rolling = if is_new { "ROLLBACK" } else { "UPDATE_ROLLBACK" };
        status(&format!("{rolling}_IN_PROGRESS"));
        let rolled = roll_back(machine, stack, &touched, observer).await?;
        let end = if rolled { format!("{rolling}_COMPLETE") } else { format!("{rolling}_FAILED") };
        return finish(machine, stack, end, Some(reason));
    }
    for (change, physical_id) in touched {
        let properties = change.wanted.clone().unwrap_or_default();
        let resource = Resource { physical_id: physical_id.unwrap_or_default(), properties };
        stack.state.resources.insert(change.logical_id.to_owned(), resource);
    }
    for change in changes.iter().filter(|change| change.wanted.is_none()) {
        if let Some(had) = &change.had {
            send(machine, stack, change, "Delete", &had.properties, observer).await?;
        }
        stack.state.resources.remove(change.logical_id);
    }
    stack.state.version = Some(version.to_owned());
    finish(machine, stack, format!("{word}_COMPLETE"), None)
}

fn finish(
    machine: &Machine,
    stack: &mut Stack,
    status: String,
    failure: Option<String>,
) -> anyhow::Result<Deployed> {
    machine.stacks.set(&stack.id(), &stack.name, &status);
    stack.state.status.clone_from(&status);
    stack.save()?;
    Ok(Deployed { status, failure })
}

/// The changes of the resources, in the order of an update.
fn changes(
    machine: &Machine,
    stack: &Stack,
    project: &Project,
    version: &str,
) -> anyhow::Result<Vec<ResourceChange>> {
    let change = |phase: Phase| {
        let token = serde_yaml_ng::Value::from(machine.dispatcher());
        let function = |task: &lamplighter_project::Task| machine.function(task.name().as_str()).into();
        let wanted =
            properties(project, phase, token, version.into(), function).map(|wanted| as_text(&wanted));
        let logical_id = logical_id(phase);
        let had = stack.state.resources.get(logical_id).cloned();
        Ok(ResourceChange { logical_id, wanted: wanted.transpose()?, had })
    };
    [Phase::Before, Phase::After].into_iter().map(change).collect()
}

/// Properties as CloudFormation sends them: numbers and booleans are texts.
fn as_text(properties: &serde_yaml_ng::Value) -> anyhow::Result<Value> {
    fn texts(value: Value) -> Value {
        match value {
            Value::Object(entries) => entries.into_iter().map(|(key, value)| (key, texts(value))).collect(),
            Value::Array(items) => items.into_iter().map(texts).collect(),
            Value::Number(_) | Value::Bool(_) => Value::String(value.to_string()),
            other => other,
        }
    }
    Ok(texts(serde_json::to_value(properties).context("cannot convert the resource's properties to JSON")?))
}

/// Restores the properties of every touched resource, and then deletes the created ones in reverse order. Returns true if all of
/// that succeeded.
async fn roll_back(
    machine: &Machine,
    stack: &Stack,
    touched: &[(&ResourceChange, Option<String>)],
    observer: &mut impl Observer,
) -> anyhow::Result<bool> {
    let mut complete = true;
    for (change, _) in touched {
        if let Some(had) = &change.had {
            complete &= send(machine, stack, change, "Update", &had.properties, observer).await?.success;
        }
    }
    for (change, _) in touched.iter().rev() {
        if let (None, Some(wanted)) = (&change.had, &change.wanted) {
            complete &= send(machine, stack, change, "Delete", wanted, observer).await?.success;
        }
    }
    Ok(complete)
}

/// Sends one event and waits for its answer, for at most the resource's `ServiceTimeout`.
async fn send(
    machine: &Machine,
    stack: &Stack,
    change: &ResourceChange,
    kind: &str,
    properties: &Value,
    observer: &mut impl Observer,
) -> anyhow::Result<Answer> {
    let expected = machine.answers.expect()?;
    let to = Addressee {
        stack_id: stack.id(),
        // One process at a time deploys a stack, so the time identifies the request.
        request_id: format!("local-{}", Timestamp::now().as_nanosecond()),
        logical_resource_id: change.logical_id.to_owned(),
        physical_resource_id: change.had.as_ref().map(|had| had.physical_id.clone()),
    };
    let mut event = json!({
        "RequestType": kind,
        "ServiceToken": machine.dispatcher(),
        "ResponseURL": expected.url,
        "StackId": to.stack_id,
        "RequestId": to.request_id,
        "LogicalResourceId": to.logical_resource_id,
        "ResourceType": "Custom::LamplighterTasks",
        "ResourceProperties": properties,
    });
    if kind != "Create" {
        event["PhysicalResourceId"] = json!(to.physical_id());
    }
    if kind == "Update" {
        // In a rollback the old properties are those of the failed update.
        let had = change.had.as_ref().map(|had| &had.properties);
        let old = if had == Some(properties) { change.wanted.as_ref() } else { had };
        event["OldResourceProperties"] = json!(old);
    }
    let word = kind.to_uppercase();
    let publish = |status: &str| {
        machine.stacks.publish(&to.stack_id, change.logical_id, &format!("{word}_{status}"), properties);
    };
    publish("IN_PROGRESS");
    machine.host.invoke_event(&machine.dispatcher(), event.to_string())?;
    let seconds = properties["ServiceTimeout"].as_str().and_then(|text| text.parse().ok()).unwrap_or(3600);
    let answer = match expected.answer(Duration::from_secs(seconds)).await {
        Ok(answer) => read(&answer.json()?),
        Err(error) => Answer { success: false, reason: error.to_string(), physical_id: to.physical_id() },
    };
    publish(if answer.success { "COMPLETE" } else { "FAILED" });
    let request = RequestKey { ledger: &to.ledger(), id: &to.request_id };
    let entry = machine.storage.table.entry_of(request).await?;
    observer.answered(change.logical_id, &answer, entry.as_ref()).await?;
    Ok(answer)
}

fn read(answer: &Value) -> Answer {
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    Answer {
        success: text("Status") == "SUCCESS",
        reason: text("Reason"),
        physical_id: text("PhysicalResourceId"),
    }
}
