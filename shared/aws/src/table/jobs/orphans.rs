//! The jobs that no message tells of any more.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_core::{id::RunId, job::Job, name::TaskName, status::Status};

use crate::table::{
    Table, TableError,
    item::{Item, n, s},
    keys::Partition,
};

/// How long a job must have been late, or without its worker, before nobody seems to be told of it.
const LATE: Duration = Duration::from_secs(120);

/// Where the next page of a partition begins.
pub type Next = Item;

impl Table {
    /// The jobs of one partition of a task that were enqueued from `from` to `to`, that nobody has, though
    /// they could have been started for a while, or whose worker was lost a while ago, and that do not stand in the index `due`:
    /// those that one MB of records has, and where the next one begins. One query, eventually consistent. Of each job no more is read than it takes to tell of it.
    pub async fn orphaned_jobs(
        &self,
        task: &TaskName,
        shard: u8,
        (from, to): (Timestamp, Timestamp),
        start: Option<Next>,
    ) -> Result<(Vec<Job>, Option<Next>), TableError> {
        let late = Timestamp::now().saturating_sub(LATE).unwrap_or(Timestamp::MIN);
        let output = self
            .query(Partition::Runs { task, shard })
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .filter_expression(
                "attribute_not_exists(due_pk) AND (#status = :running AND lease_until < :late OR \
                 #status = :pending AND (attribute_not_exists(not_before) OR not_before < :late))",
            )
            .projection_expression("pk, sk, #id, #task, #status, not_before")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#id", "id")
            .expression_attribute_names("#task", "task")
            .expression_attribute_values(":from", s(RunId::new(from, 0).to_string()))
            .expression_attribute_values(":to", s(RunId::new(to, 0).to_string()))
            .expression_attribute_values(":pending", s(Status::Pending.as_str()))
            .expression_attribute_values(":running", s(Status::Running.as_str()))
            .expression_attribute_values(":late", n(late.as_millisecond()))
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(|error| self.failed("look for jobs of which nobody was told", &error))?;
        // One that cannot be read keeps no other from its message, and is told of by whoever looks at it.
        let jobs = output.items.unwrap_or_default().into_iter().filter_map(|item| self.job_of(item).ok());
        Ok((jobs.collect(), output.last_evaluated_key))
    }
}
