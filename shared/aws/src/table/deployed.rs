//! The tasks of the stack as they were last deployed.
//!
//! One item has the names of the tasks, and each task has an item with its definition. The item with the names is
//! written last, so until then a reader finds the previous names.

use jiff::Timestamp;
use lamplighter_core::{definition::Definition, deployed::DeployedTasks, digest::sha256, name::TaskName};
use serde_json::{Value, json};

use super::{
    Table, TableError,
    item::{s, to_item, to_json},
    keys::{Key, Partition},
};

impl Table {
    /// Stores the tasks of the stack. One read. If they differ from the stored ones, also one write for each task and
    /// one for the names.
    pub async fn keep_deployed(&self, deployed: &DeployedTasks) -> Result<(), TableError> {
        let mut definitions = Vec::new();
        let mut whole = format!("{}\n{}\n", deployed.version, deployed.environment);
        for task in &deployed.tasks {
            let text = serde_json::to_string(task);
            let text =
                text.map_err(|error| self.malformed(Key::deployed_task(&task.name).to_string(), &error))?;
            whole.push_str(&text);
            definitions.push((&task.name, text));
        }
        let digest = sha256(whole);
        let kept = self.get(Key::deployed(), "read the deployed tasks").await?;
        if kept.map(to_json).unwrap_or_default()["digest"] == digest {
            return Ok(());
        }
        for (name, text) in &definitions {
            let mut item = Key::deployed_task(name).attributes();
            item.insert("definition".into(), s(text));
            let put = self.put(item).send().await;
            put.map_err(|error| self.failed("keep the deployed tasks", &error))?;
        }
        let names: Vec<_> = definitions.iter().map(|(name, _)| name.as_str()).collect();
        let mut item = to_item(json!({
            "version": deployed.version, "environment": deployed.environment, "digest": digest,
            "deployed_at": deployed.deployed_at, "tasks": names,
        }));
        item.extend(Key::deployed().attributes());
        let put = self.put(item).send().await;
        put.map(drop).map_err(|error| self.failed("keep the deployed tasks", &error))
    }

    /// Reads the tasks of the stack as they were last deployed; nothing if no dispatcher has kept them. One read, and one for each
    /// megabyte of definitions.
    pub async fn deployed(&self) -> Result<Option<DeployedTasks>, TableError> {
        let mut pages = self
            .query(Partition::Deployed)
            .key_condition_expression("pk = :pk")
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let (mut stack, mut texts) = (Value::Null, Vec::new());
        while let Some(item) = pages.next().await {
            let item = to_json(item.map_err(|error| self.failed("read the deployed tasks", &error))?);
            match item["definition"].as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => stack = item,
            }
        }
        if stack.is_null() {
            return Ok(None);
        }
        let broken = |error| self.malformed(Key::deployed().to_string(), &error);
        let names: Vec<TaskName> = serde_json::from_value(stack["tasks"].clone()).map_err(broken)?;
        let deployed_at: Timestamp = serde_json::from_value(stack["deployed_at"].clone()).map_err(broken)?;
        let mut tasks = Vec::new();
        for text in texts {
            let task: Definition = serde_json::from_str(&text).map_err(broken)?;
            // The definition of a removed task is not deleted, so it is left out here.
            if names.contains(&task.name) {
                tasks.push(task);
            }
        }
        tasks.sort_by(|a, b| a.name.cmp(&b.name));
        let text = |key: &str| stack[key].as_str().unwrap_or_default().to_owned();
        Ok(Some(DeployedTasks {
            version: text("version"),
            environment: text("environment"),
            deployed_at,
            tasks,
        }))
    }
}
