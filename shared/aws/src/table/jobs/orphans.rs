//! Orphans: jobs whose wake-up was lost.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_core::{id::RunId, job::Job, name::TaskName, status::Status};

use crate::table::{
    Table, TableError,
    item::{Item, n, s},
    keys::Partition,
};

/// The delay after which a job that is late, or whose worker was lost, counts as an orphan.
const LATE: Duration = Duration::from_secs(120);

/// The start of the next page of a partition.
pub type Next = Item;

impl Table {
    /// Returns the orphans of one partition of a task, and the start of the next page. An orphan was enqueued in the
    /// period and is not in the index `due`, although it could have started, or its lease expired, more than two
    /// minutes ago. One query over at most 1 MB of records, eventually consistent. The jobs have only the attributes
    /// that a wake-up needs.
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
            .map_err(|error| self.failed("look for orphans", &error))?;
        // An unreadable record is reported by the commands that read it. It must not stop the wake-ups of others.
        let jobs = output.items.unwrap_or_default().into_iter().filter_map(|item| self.job_of(item).ok());
        Ok((jobs.collect(), output.last_evaluated_key))
    }
}
