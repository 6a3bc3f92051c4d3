//! The jobs of a runner that is known to be dead: nobody has to wait until its leases have run out.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_core::{
    definition::Priority,
    job::{Job, Lease},
    name::TaskName,
    status::Status,
};

use super::{
    Table, TableError,
    due::key_of,
    item::{n, s},
    job::WORKING,
    schema::due_pk_of_runner,
};

impl Table {
    /// Ends at `now` the leases of a task's jobs that a dead runner has; whoever starts one of them next notes that its worker
    /// was lost. Returns those jobs. `longest` is how far ahead the end of such a lease may be.
    ///
    /// A runner that was only taken for dead does no harm: it keeps a job by renewing its lease, or has lost it to whoever
    /// started it since. A query for each priority, a read for each job that is found there, and a write for each lease.
    pub async fn revoke_leases(
        &self,
        task: &TaskName,
        runner: &str,
        now: Timestamp,
        longest: Duration,
    ) -> Result<Vec<Job>, TableError> {
        let mut disowned = Vec::new();
        for priority in Priority::ALL.iter().copied() {
            for job in self.jobs_until(task, priority, now, longest).await? {
                let Some(lease) = job.lease.as_ref().filter(|lease| lease.holder.is_of(runner)) else {
                    continue;
                };
                if job.status == Status::Running && self.end_lease(&job, lease, now).await? {
                    disowned.push(job);
                }
            }
        }
        Ok(disowned)
    }

    /// The open jobs of a task and a priority that somebody is to look at later than `now`.
    async fn jobs_until(
        &self,
        task: &TaskName,
        priority: Priority,
        now: Timestamp,
        longest: Duration,
    ) -> Result<Vec<Job>, TableError> {
        let until = now.saturating_add(longest).unwrap_or(Timestamp::MAX);
        let (mut keys, mut from) = (Vec::new(), None);
        loop {
            let query = self
                .due_query(&due_pk_of_runner(task, priority), until)
                .key_condition_expression("due_pk = :pk AND due_at BETWEEN :now AND :until")
                .expression_attribute_values(":now", n(now.as_millisecond()))
                .set_exclusive_start_key(from);
            let output = query.send().await;
            let output = output.map_err(|error| self.failed("look for the jobs of a dead runner", &error))?;
            keys.extend(output.items.unwrap_or_default().iter().filter_map(key_of));
            from = output.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        // One that cannot be read is met again by whoever starts it, who says so.
        self.open_jobs(&keys).await.map(|(jobs, _)| jobs)
    }

    async fn end_lease(&self, job: &Job, lease: &Lease, now: Timestamp) -> Result<bool, TableError> {
        let update = self
            .holding(job)
            .condition_expression(format!("{WORKING} AND holder = :holder"))
            .update_expression("SET lease_until = :now, due_at = :now")
            .expression_attribute_values(":holder", s(lease.holder.as_str()))
            .expression_attribute_values(":now", n(now.as_millisecond()));
        self.held("end a dead runner's lease", update.send().await)
    }
}
