//! The jobs of which nobody was told.

use jiff::Timestamp;
use lamplighter_core::{id::RunId, job::Job, name::TaskName, status::Status};

use super::{
    Table, TableError,
    item::{n, s},
    schema::shard_pk,
};

impl Table {
    /// The jobs of one partition of a task that were enqueued from `from` to `to`, that nobody has started, and that do not
    /// stand in the index `due`. One query for each MB of the partition's records of that time, eventually consistent.
    pub async fn unheard_jobs(
        &self,
        task: &TaskName,
        shard: u8,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Job>, TableError> {
        let (mut jobs, mut start) = (Vec::new(), None);
        loop {
            let output = self
                .client
                .query()
                .table_name(&self.name)
                .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
                .filter_expression("#status = :pending AND epoch = :zero AND attribute_not_exists(due_pk)")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":pk", s(shard_pk(task, shard)))
                .expression_attribute_values(":from", s(RunId::new(from, 0).to_string()))
                .expression_attribute_values(":to", s(RunId::new(to, 0).to_string()))
                .expression_attribute_values(":pending", s(Status::Pending.as_str()))
                .expression_attribute_values(":zero", n(0))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| self.failed("look for jobs of which nobody was told", &error))?;
            // One that cannot be read keeps no other from its message, and is told of by whoever looks at it.
            jobs.extend(
                output.items.unwrap_or_default().into_iter().filter_map(|item| self.job_of(item).ok()),
            );
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(jobs);
            }
        }
    }
}
