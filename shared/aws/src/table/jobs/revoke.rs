//! Revoking the leases of a dead runner, so that its jobs start again before the leases end.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_core::{
    definition::Priority,
    job::{Job, Lease},
    name::TaskName,
    status::Status,
};

use crate::table::{
    Table, TableError,
    item::{n, s},
    jobs::{due::key_of, update::WORKING},
    keys::DuePartition,
};

impl Table {
    /// Ends the leases of a dead runner on a task's jobs, at `now`. The next start of such a job records that its worker was lost.
    /// Returns the jobs. `longest` is the longest lease.
    /// If the runner is still alive, it keeps each job whose lease it renews before another worker starts the job. One
    /// query for each priority, one read for each job found, and one write for each lease.
    pub async fn revoke_leases(
        &self,
        task: &TaskName,
        runner: &str,
        now: Timestamp,
        longest: Duration,
    ) -> Result<Vec<Job>, TableError> {
        let mut revoked = Vec::new();
        for priority in Priority::ALL.iter().copied() {
            for job in self.jobs_until(task, priority, now, longest).await? {
                let Some(lease) = job.lease.as_ref().filter(|lease| lease.holder.is_of(runner)) else {
                    continue;
                };
                if job.status == Status::Running && self.end_lease(&job, lease, now).await? {
                    revoked.push(job);
                }
            }
        }
        Ok(revoked)
    }

    /// The open jobs of a task and a priority that are due after `now`.
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
                .due_query(DuePartition::Runner(task, priority), until)
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
        // An unreadable record is reported by the worker that starts the job.
        self.open_jobs(&keys).await.map(|(jobs, _)| jobs)
    }

    async fn end_lease(&self, job: &Job, lease: &Lease, now: Timestamp) -> Result<bool, TableError> {
        let update = self
            .holding(job)
            .condition_expression(format!("{WORKING} AND holder = :holder"))
            .update_expression("SET lease_until = :now, due_at = :now")
            .expression_attribute_values(":holder", s(lease.holder.as_str()))
            .expression_attribute_values(":now", n(now.as_millisecond()));
        self.applied("end a dead runner's lease", update.send().await)
    }
}
