//! The runners of a stack: their heartbeats, and requests to stop.
//!
//! They share one partition, so that one query finds all.

use lamplighter_core::runner::Runner;
use serde_json::Value;

use super::{
    Table, TableError,
    item::{Item, n, to_item, to_json},
    keys::{Key, Partition},
};

/// The retention of a dead runner's item, in seconds: a day.
const RETENTION_SECONDS: i64 = 24 * 3600;

impl Table {
    /// Writes a runner's heartbeat. Returns true if the runner was asked to stop. One write.
    pub async fn heartbeat(&self, runner: &Runner) -> Result<bool, TableError> {
        let value = serde_json::to_value(runner);
        let value = value.map_err(|error| self.broken_runner(&runner.instance, &error))?;
        let expires = runner.heartbeat_at.as_second() + RETENTION_SECONDS;
        let mut item = to_item(value);
        item.remove("instance");
        item.insert("expires_at".into(), n(expires));
        let mut update = self
            .update(Key::runner(&runner.instance))
            .return_values(aws_sdk_dynamodb::types::ReturnValue::AllNew);
        let mut sets = Vec::new();
        // An update and not a put, which would remove the request to stop.
        for (i, (key, value)) in item.into_iter().enumerate() {
            sets.push(format!("#k{i} = :v{i}"));
            update = update
                .expression_attribute_names(format!("#k{i}"), key)
                .expression_attribute_values(format!(":v{i}"), value);
        }
        let update = update.update_expression(format!("SET {}", sets.join(", ")));
        let output = update.send().await.map_err(|error| self.failed("say how the runner fares", &error))?;
        Ok(to_json(output.attributes.unwrap_or_default())["stop_asked"] == Value::Bool(true))
    }

    /// Asks a runner to stop. Returns false if there is no such runner. One write.
    pub async fn stop_runner(&self, instance: &str) -> Result<bool, TableError> {
        let update = self
            .update(Key::runner(instance))
            .update_expression("SET stop_asked = :true")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":true", aws_sdk_dynamodb::types::AttributeValue::Bool(true));
        self.applied("ask a runner to stop", update.send().await)
    }

    /// Deletes a runner that has ended. One write.
    pub async fn forget_runner(&self, instance: &str) -> Result<(), TableError> {
        let delete = self.delete(Key::runner(instance));
        delete.send().await.map(drop).map_err(|error| self.failed("forget a runner", &error))
    }

    /// Reads the runners of the stack, by instance, dead ones included for a day. One consistent query.
    pub async fn runners(&self) -> Result<Vec<Runner>, TableError> {
        let output = self
            .query(Partition::Runners)
            .key_condition_expression("pk = :pk")
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| self.failed("read the runners", &error))?;
        output.items.unwrap_or_default().into_iter().map(|item| self.runner_of(item)).collect()
    }

    fn runner_of(&self, item: Item) -> Result<Runner, TableError> {
        let mut value = to_json(item);
        let instance = value["sk"].take();
        value["instance"] = instance.clone();
        let instance = instance.as_str().unwrap_or_default();
        serde_json::from_value(value).map_err(|error| self.broken_runner(instance, &error))
    }

    fn broken_runner(&self, instance: &str, error: &serde_json::Error) -> TableError {
        let key = Key::runner(instance).to_string();
        TableError::Malformed { table: self.name.clone(), key, cause: error.to_string() }
    }
}
