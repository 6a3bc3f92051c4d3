//! What the table holds of a task, and what people change of it: its switch, its settings, the end of a run.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{operation::update_item::UpdateItemError, types::AttributeValue};
use jiff::Timestamp;
use lamplighter_core::{
    claim::{Fence, KnownSchedule, LastRun, TaskState},
    deployment::{Deployment, EntryKey},
    id::RunId,
    name::TaskName,
};
use serde_json::Value;

use super::{
    Table, TableError,
    item::{Item, s, to_item, to_json},
    lease::{DEPLOYED, SHARED, lease_of, shared},
    schema::{TASK, task_pk},
};

impl Table {
    /// What the table holds of a task now. One consistent read.
    pub async fn state(&self, task: &TaskName) -> Result<TaskState, TableError> {
        let item = self.get(task_pk(task), TASK, "read a task").await?;
        self.task_state(task, item.unwrap_or_default())
    }

    /// Sees to it that a deployment's run of a task does not begin any more. False if it has begun, or a later one has:
    /// then nothing has changed. One write.
    pub async fn prevent_start(&self, task: &TaskName, deployment: &Deployment) -> Result<bool, TableError> {
        let forestalled = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(task_pk(task)))
            .key("sk", s(TASK))
            .update_expression("SET #newest = :newest")
            .condition_expression("attribute_not_exists(#newest) OR #newest < :newest")
            .expression_attribute_names("#newest", format!("{DEPLOYED}{}", deployment.ledger))
            .expression_attribute_values(":newest", s(deployment.entry.as_str()))
            .send()
            .await;
        match forestalled {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(self.failed("prevent_start a run", &error)),
            },
        }
    }

    /// Asks a run in progress to end. False if it is not in progress: then nothing has changed. One write.
    pub async fn cancel(&self, task: &TaskName, run_id: RunId) -> Result<bool, TableError> {
        let asked = |update: &str, condition: &str| {
            self.client
                .update_item()
                .table_name(&self.name)
                .key("pk", s(task_pk(task)))
                .key("sk", s(TASK))
                .update_expression(update)
                .condition_expression(condition)
                .expression_attribute_values(":true", AttributeValue::Bool(true))
        };
        let ways = [
            asked("SET cancelled = :true", "run_id = :run_id")
                .expression_attribute_values(":run_id", s(run_id.to_string())),
            asked("SET #lease.cancelled = :true", "attribute_exists(#lease)")
                .expression_attribute_names("#lease", shared(run_id)),
        ];
        for way in ways {
            match way.send().await {
                Ok(_) => return Ok(true),
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(_)) => {}
                    _ => return Err(self.failed("cancel a run", &error)),
                },
            }
        }
        Ok(false)
    }

    /// Whether somebody asked a run in progress to end. One read, which may be some moments old: half a read unit.
    pub async fn is_cancelled(
        &self,
        task: &TaskName,
        run_id: RunId,
        fence: Fence,
    ) -> Result<bool, TableError> {
        let read =
            self.client.get_item().table_name(&self.name).key("pk", s(task_pk(task))).key("sk", s(TASK));
        let read = match fence {
            Fence::Exclusive { .. } => read.projection_expression("run_id, cancelled"),
            Fence::Shared => read
                .projection_expression("#lease.cancelled")
                .expression_attribute_names("#lease", shared(run_id)),
        };
        let output = read.send().await.map_err(|error| self.failed("look at a run", &error))?;
        let found = to_json(output.item.unwrap_or_default());
        Ok(match fence {
            Fence::Exclusive { .. } => {
                found["cancelled"] == Value::Bool(true) && found["run_id"] == run_id.to_string()
            }
            Fence::Shared => found[shared(run_id)]["cancelled"] == Value::Bool(true),
        })
    }

    /// Sets what a task shall have at run time instead of what it and the project say; nothing takes it back. The text is
    /// that of [`lamplighter_core::settings::Settings`]. One write.
    pub async fn set(&self, task: &TaskName, settings: Option<&str>) -> Result<(), TableError> {
        let update =
            self.client.update_item().table_name(&self.name).key("pk", s(task_pk(task))).key("sk", s(TASK));
        let update = match settings {
            Some(text) => update
                .update_expression("SET settings = :settings")
                .expression_attribute_values(":settings", s(text)),
            None => update.update_expression("REMOVE settings"),
        };
        update.send().await.map(|_| ()).map_err(|error| self.failed("set a task's settings", &error))
    }

    /// Notes since when a task's schedule is known, unless another schedule was noted than the one `before`. One write.
    pub async fn know(
        &self,
        task: &TaskName,
        known: &KnownSchedule,
        before: Option<&KnownSchedule>,
    ) -> Result<(), TableError> {
        let value = serde_json::to_value(known).unwrap_or_default();
        let update = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(task_pk(task)))
            .key("sk", s(TASK))
            .update_expression("SET known = :known")
            .expression_attribute_values(":known", AttributeValue::M(to_item(value)));
        let update = match before {
            None => update.condition_expression("attribute_not_exists(known)"),
            Some(before) => update
                .condition_expression("known.schedule = :before")
                .expression_attribute_values(":before", s(before.schedule.as_str())),
        };
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(self.failed("note a task's schedule", &error)),
            },
        }
    }

    /// Switches a task on or off. One write.
    pub async fn enable(&self, task: &TaskName, enabled: bool) -> Result<(), TableError> {
        self.client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(task_pk(task)))
            .key("sk", s(TASK))
            .update_expression("SET enabled = :enabled")
            .expression_attribute_values(":enabled", AttributeValue::Bool(enabled))
            .send()
            .await
            .map_err(|error| self.failed("switch a task", &error))?;
        Ok(())
    }

    pub(super) fn task_state(&self, task: &TaskName, item: Item) -> Result<TaskState, TableError> {
        let malformed =
            |cause: String| TableError::Malformed { table: self.name.clone(), key: task_pk(task), cause };
        let value = to_json(item);
        let time = |key: &str| value[key].as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let lease =
            if value["run_id"].is_null() { None } else { Some(lease_of(value.clone()).map_err(malformed)?) };
        let entries = || value.as_object().into_iter().flatten();
        let shared =
            entries().filter(|(key, _)| key.starts_with(SHARED)).map(|(_, lease)| lease_of(lease.clone()));
        let mut shared = shared.collect::<Result<Vec<_>, _>>().map_err(malformed)?;
        shared.sort_by_key(|lease| lease.run_id);
        let last_deployments = entries().filter_map(|(key, entry)| {
            let entry: EntryKey = entry.as_str()?.parse().ok()?;
            Some((key.strip_prefix(DEPLOYED)?.to_owned(), entry))
        });
        let last_run = || {
            let run_id = value["last_run"].as_str()?.parse().ok()?;
            Some(LastRun { run_id, status: value["last_status"].as_str()?.parse().ok()? })
        };
        Ok(TaskState {
            disabled: value["enabled"] == Value::Bool(false),
            lease,
            shared,
            fencing_token: value["epoch"].as_u64().unwrap_or(0),
            last_tick: time("last_tick"),
            last_deployments: last_deployments.collect::<BTreeMap<_, _>>(),
            settings: value["settings"].as_str().map(str::to_owned),
            last_run: last_run(),
            failure_streak: value["failure_streak"].as_u64().unwrap_or(0),
            known: serde_json::from_value(value["known"].clone()).ok(),
        })
    }
}
