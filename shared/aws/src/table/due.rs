//! The index `due`: which jobs somebody is to look at now.

use jiff::Timestamp;
use lamplighter_core::{definition::Priority, job::JobKey, name::TaskName};

use super::{
    Table, TableError,
    item::{Item, n, s},
    schema::{DUE_SHARDS, due_pk_of_runner},
};

impl Table {
    /// The jobs of a task and a priority that a runner is to look at by `now`: those that can start, those whose worker was
    /// lost, and those that have waited for others for some time. At most `limit`; one query, eventually consistent.
    pub async fn due_for_runner(
        &self,
        task: &TaskName,
        priority: Priority,
        now: Timestamp,
        limit: u16,
    ) -> Result<Vec<JobKey>, TableError> {
        self.due_in(&due_pk_of_runner(task, priority), now, limit).await
    }

    /// The jobs of all queues whose message the pulse is to send by `now`, or by what SQS can hold back after it. At most
    /// `limit` of each partition; eight queries.
    pub async fn due_for_queues(&self, now: Timestamp, limit: u16) -> Result<Vec<JobKey>, TableError> {
        let mut due = Vec::new();
        for shard in 0..DUE_SHARDS {
            due.extend(self.due_in(&format!("DUE#q#{shard}"), now, limit).await?);
        }
        Ok(due)
    }

    async fn due_in(&self, pk: &str, now: Timestamp, limit: u16) -> Result<Vec<JobKey>, TableError> {
        let output = self
            .client
            .query()
            .table_name(&self.name)
            .index_name("due")
            .key_condition_expression("due_pk = :pk AND due_at <= :now")
            .expression_attribute_values(":pk", s(pk))
            .expression_attribute_values(":now", n(now.as_millisecond()))
            .limit(i32::from(limit))
            .send()
            .await
            .map_err(|error| self.failed("look for due jobs", &error))?;
        Ok(output.items.unwrap_or_default().iter().filter_map(key_of).collect())
    }

    /// Takes a job off the index, once its message was sent. Nothing happens if it was started or moved since. One write.
    pub async fn rung(&self, key: &JobKey) -> Result<(), TableError> {
        let update = self
            .update_job(key)
            .update_expression("REMOVE due_pk, due_at")
            .condition_expression("begins_with(due_pk, :queues)")
            .expression_attribute_values(":queues", s("DUE#q#"));
        self.held("take a job off the index", update.send().await).map(drop)
    }

    /// Has the pulse look at a job after a while: its message could not be sent. One write.
    pub async fn park(&self, key: &JobKey, at: Timestamp) -> Result<(), TableError> {
        let update = self
            .update_job(key)
            .update_expression("SET due_pk = :pk, due_at = :at")
            .condition_expression("#status = :pending")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pending", s("PENDING"))
            .expression_attribute_values(":pk", s(super::schema::due_pk_of_queues(key.run_id)))
            .expression_attribute_values(":at", n(at.as_millisecond()));
        self.held("park a job", update.send().await).map(drop)
    }

    /// Has whoever looks for due jobs look at one that waits for others again, later. One write.
    pub async fn look_later(&self, key: &JobKey, at: Timestamp) -> Result<(), TableError> {
        let update = self
            .update_job(key)
            .update_expression("SET due_at = :at")
            .condition_expression("attribute_exists(due_pk) AND attribute_exists(waits_for)")
            .expression_attribute_values(":at", n(at.as_millisecond()));
        self.held("look at a job later", update.send().await).map(drop)
    }
}

/// The job that stands in the index. What is no job's key is nobody's work.
fn key_of(item: &Item) -> Option<JobKey> {
    let text = |name| item.get(name)?.as_s().ok();
    let task = text("pk")?.strip_prefix("RUNS#")?.rsplit_once('#')?.0.parse().ok()?;
    Some(JobKey { task, run_id: text("sk")?.parse().ok()? })
}
