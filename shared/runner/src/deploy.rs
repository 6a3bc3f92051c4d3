//! Create, update and roll back a stack on this machine: CloudFormation's part, played with real events to the real
//! dispatcher.
//!
//! The order is CloudFormation's: the tasks before the application, the application, the tasks after it; a failure
//! rolls back what was touched. Source: CloudFormation User Guide, "Custom resources" and "Stack failure options".

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

/// Who is told of a deployment while it goes on.
pub trait Observer {
    /// A resource was answered; `entry` is its deployment in the ledger, if it came that far.
    fn answered(
        &mut self,
        logical_id: &'static str,
        answer: &Answer,
        entry: Option<&Entry>,
    ) -> impl Future<Output = anyhow::Result<()>>;
    /// The application's functions are updated now.
    fn application(&mut self, version: &str);
    /// Something failed, and the stack turns back.
    fn rolling_back(&mut self);
}

/// The answer of a custom resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it was SUCCESS.
    pub success: bool,
    /// Why not.
    pub reason: String,
    physical_id: String,
}

/// How a deployment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The stack's status.
    pub status: String,
    /// Why it failed; nothing if it did not.
    pub failure: Option<String>,
}

/// What happens to one resource.
struct Step {
    logical_id: &'static str,
    /// What it shall have; nothing if it goes.
    wanted: Option<Value>,
    /// What it had; nothing if it is new.
    had: Option<Resource>,
}

/// Deploys a version of a project whose functions are in place.
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
    let steps = steps(machine, stack, project, version)?;
    let mut touched: Vec<(&Step, Option<String>)> = Vec::new();
    let mut failure = None;
    for step in &steps {
        let Some(wanted) = &step.wanted else { continue };
        let kind = if step.had.is_some() { "Update" } else { "Create" };
        let answer = send(machine, stack, step, kind, wanted, observer).await?;
        let failed = !answer.success;
        touched.push((step, Some(answer.physical_id)));
        if failed {
            failure = Some(format!("{}: {}", step.logical_id, answer.reason));
            break;
        }
        if step.logical_id == logical_id(Phase::Before) {
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
    for (step, physical_id) in touched {
        let properties = step.wanted.clone().unwrap_or_default();
        let resource = Resource { physical_id: physical_id.unwrap_or_default(), properties };
        stack.memory.resources.insert(step.logical_id.to_owned(), resource);
    }
    for step in steps.iter().filter(|step| step.wanted.is_none()) {
        if let Some(had) = &step.had {
            send(machine, stack, step, "Delete", &had.properties, observer).await?;
        }
        stack.memory.resources.remove(step.logical_id);
    }
    stack.memory.version = Some(version.to_owned());
    finish(machine, stack, format!("{word}_COMPLETE"), None)
}

fn finish(
    machine: &Machine,
    stack: &mut Stack,
    status: String,
    failure: Option<String>,
) -> anyhow::Result<Deployed> {
    machine.stacks.set(&stack.id(), &stack.name, &status);
    stack.memory.status.clone_from(&status);
    stack.keep()?;
    Ok(Deployed { status, failure })
}

/// The resources in the order in which they are updated.
fn steps(machine: &Machine, stack: &Stack, project: &Project, version: &str) -> anyhow::Result<Vec<Step>> {
    let step = |phase: Phase| {
        let token = serde_yaml_ng::Value::from(machine.dispatcher());
        let function = |task: &lamplighter_project::Task| machine.function(task.name().as_str()).into();
        let wanted =
            properties(project, phase, token, version.into(), function).map(|wanted| as_text(&wanted));
        let logical_id = logical_id(phase);
        let had = stack.memory.resources.get(logical_id).cloned();
        Ok(Step { logical_id, wanted: wanted.transpose()?, had })
    };
    [Phase::Before, Phase::After].into_iter().map(step).collect()
}

/// Properties as CloudFormation sends them: every number and truth as text.
fn as_text(properties: &serde_yaml_ng::Value) -> anyhow::Result<Value> {
    fn texts(value: Value) -> Value {
        match value {
            Value::Object(entries) => entries.into_iter().map(|(key, value)| (key, texts(value))).collect(),
            Value::Array(items) => items.into_iter().map(texts).collect(),
            Value::Number(_) | Value::Bool(_) => Value::String(value.to_string()),
            other => other,
        }
    }
    Ok(texts(serde_json::to_value(properties).context("the resource's properties have no JSON")?))
}

/// Returns every touched resource to what it had. A new one is deleted, the last first. Whether all of it worked.
async fn roll_back(
    machine: &Machine,
    stack: &Stack,
    touched: &[(&Step, Option<String>)],
    observer: &mut impl Observer,
) -> anyhow::Result<bool> {
    let mut complete = true;
    for (step, _) in touched {
        if let Some(had) = &step.had {
            complete &= send(machine, stack, step, "Update", &had.properties, observer).await?.success;
        }
    }
    for (step, _) in touched.iter().rev() {
        if let (None, Some(wanted)) = (&step.had, &step.wanted) {
            complete &= send(machine, stack, step, "Delete", wanted, observer).await?.success;
        }
    }
    Ok(complete)
}

/// Sends one event and waits for its answer, as long as the resource's `ServiceTimeout` says.
async fn send(
    machine: &Machine,
    stack: &Stack,
    step: &Step,
    kind: &str,
    properties: &Value,
    observer: &mut impl Observer,
) -> anyhow::Result<Answer> {
    let expected = machine.answers.expect()?;
    let to = Addressee {
        stack_id: stack.id(),
        // A stack is deployed by one process at a time, so the time tells requests apart.
        request_id: format!("local-{}", Timestamp::now().as_nanosecond()),
        logical_resource_id: step.logical_id.to_owned(),
        physical_resource_id: step.had.as_ref().map(|had| had.physical_id.clone()),
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
        // In a rollback what was wanted is what is old.
        let had = step.had.as_ref().map(|had| &had.properties);
        let old = if had == Some(properties) { step.wanted.as_ref() } else { had };
        event["OldResourceProperties"] = json!(old);
    }
    let word = kind.to_uppercase();
    let publish = |status: &str| {
        machine.stacks.publish(&to.stack_id, step.logical_id, &format!("{word}_{status}"), properties);
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
    observer.answered(step.logical_id, &answer, entry.as_ref()).await?;
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
