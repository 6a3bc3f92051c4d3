//! The state of a task, and the changes that people make: its switch, its settings, the end of a run.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use lamplighter_core::{
    claim::{Fence, KnownSchedule, LastRun, TaskState},
    deployment::{Deployment, EntryKey},
    id::RunId,
    name::TaskName,
};
use serde_json::Value;

use crate::table::{
    Table, TableError,
    item::{Item, s, to_item, to_json},
    keys::Key,
    lock::lease::{DEPLOYED, SHARED, lease_of, shared},
};

impl Table {
    /// Reads the state of a task. One consistent read.
    pub async fn state(&self, task: &TaskName) -> Result<TaskState, TableError> {
        let item = self.get(Key::task(task), "read a task").await?;
        self.task_state(task, item.unwrap_or_default())
    }

    /// Prevents the start of a deployment's run of a task. Returns false if the run, or that of a later deployment, has started:
    /// then nothing changes. One write.
    pub async fn prevent_start(&self, task: &TaskName, deployment: &Deployment) -> Result<bool, TableError> {
        let prevented = self
            .update(Key::task(task))
            .update_expression("SET #newest = :newest")
            .condition_expression("attribute_not_exists(#newest) OR #newest < :newest")
            .expression_attribute_names("#newest", format!("{DEPLOYED}{}", deployment.ledger))
            .expression_attribute_values(":newest", s(deployment.entry.as_str()))
            .send()
            .await;
        self.applied("prevent the start of a run", prevented)
    }

    /// Requests the end of a run. Returns false if the run is not in progress: then nothing changes. One write.
    pub async fn cancel(&self, task: &TaskName, run_id: RunId) -> Result<bool, TableError> {
        let asked = |update: &str, condition: &str| {
            self.update(Key::task(task))
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
            if self.applied("cancel a run", way.send().await)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns true if the end of a run was requested. One eventually consistent read: half a read unit.
    pub async fn is_cancelled(
        &self,
        task: &TaskName,
        run_id: RunId,
        fence: Fence,
    ) -> Result<bool, TableError> {
        let read = self.read(Key::task(task));
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

    /// Sets the overrides of a task's settings at run time. `None` removes them. The text is that of
    /// [`lamplighter_core::settings::Settings`]. One write.
    pub async fn set(&self, task: &TaskName, settings: Option<&str>) -> Result<(), TableError> {
        let update = self.update(Key::task(task));
        let update = match settings {
            Some(text) => update
                .update_expression("SET settings = :settings")
                .expression_attribute_values(":settings", s(text)),
            None => update.update_expression("REMOVE settings"),
        };
        update.send().await.map(|_| ()).map_err(|error| self.failed("set a task's settings", &error))
    }

    /// Stores since when a task's schedule is known. Nothing changes if the stored one is not `before`. One write.
    pub async fn know(
        &self,
        task: &TaskName,
        known: &KnownSchedule,
        before: Option<&KnownSchedule>,
    ) -> Result<(), TableError> {
        let value = serde_json::to_value(known).unwrap_or_default();
        let update = self
            .update(Key::task(task))
            .update_expression("SET known = :known")
            .expression_attribute_values(":known", AttributeValue::M(to_item(value)));
        let update = match before {
            None => update.condition_expression("attribute_not_exists(known)"),
            Some(before) => update
                .condition_expression("known.schedule = :before")
                .expression_attribute_values(":before", s(before.schedule.as_str())),
        };
        self.applied("note a task's schedule", update.send().await).map(drop)
    }

    /// Switches a task on or off. One write.
    pub async fn enable(&self, task: &TaskName, enabled: bool) -> Result<(), TableError> {
        self.update(Key::task(task))
            .update_expression("SET enabled = :enabled")
            .expression_attribute_values(":enabled", AttributeValue::Bool(enabled))
            .send()
            .await
            .map_err(|error| self.failed("switch a task", &error))?;
        Ok(())
    }

    pub(crate) fn task_state(&self, task: &TaskName, item: Item) -> Result<TaskState, TableError> {
        let malformed = |cause: String| TableError::Malformed {
            table: self.name.clone(),
            key: Key::task(task).pk,
            cause,
        };
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
