//! Concurrency limits: the places of jobs that share a limit. Each such job costs two more write units (its place taken and
//! released) and a read. One of a task's partitions has all places.

use std::time::Duration;

use aws_sdk_dynamodb::{operation::update_item::builders::UpdateItemFluentBuilder, types::AttributeValue};
use jiff::Timestamp;
use lamplighter_core::{
    id::RunId,
    job::{Job, Limit, Places, Wait},
    retry::Retry,
};

use crate::random::jitter;
use crate::table::{
    Table, TableError,
    item::{n, s},
    jobs::{transport::Transport, update::OPEN},
    keys::{DuePartition, Key},
};

/// The attempts to take a place while other jobs take and release places, and the pauses between them.
const ROUNDS: Retry =
    Retry { max_attempts: 10, initial: Duration::from_millis(4), max: Duration::from_millis(100) };
/// The retention of an unused key's places.
const KEPT: Duration = Duration::from_secs(24 * 3600);

impl Table {
    /// Takes a place for a job. Returns false if all are taken: then the job must wait.
    pub(crate) async fn take_place(
        &self,
        job: &Job,
        limit: &Limit,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, TableError> {
        for round in 1..=ROUNDS.max_attempts {
            let (places, version) = self.places(job, limit).await?;
            let Some(taken) = places.taken(job.id, limit.at_once, now, until) else { return Ok(false) };
            let entry = |(id, until): (RunId, Timestamp)| (id.to_string(), n(until.as_millisecond()));
            let taken = AttributeValue::M(taken.0.into_iter().map(entry).collect());
            let kept = until.saturating_add(KEPT).unwrap_or(until).as_second();
            let update = self
                .update(Key::places(&job.task, limit))
                .update_expression("SET places = :taken, version = :next, expires_at = :kept")
                .condition_expression(
                    "version = :version OR (attribute_not_exists(version) AND :version = :none)",
                )
                .expression_attribute_values(":taken", taken)
                .expression_attribute_values(":version", n(version))
                .expression_attribute_values(":next", n(version + 1))
                .expression_attribute_values(":none", n(0))
                .expression_attribute_values(":kept", n(kept));
            if self.applied("take a place for a job", update.send().await)? {
                return Ok(true);
            }
            tokio::time::sleep(ROUNDS.pause(round, jitter())).await;
        }
        Ok(false)
    }

    /// Extends the place of a job. If that fails, the next renewal does it.
    pub(crate) async fn keep_place(&self, job: &Job, until: Timestamp) {
        let Some(limit) = &job.limit else { return };
        let update = self
            .update_place(job, limit)
            .update_expression("SET places.#job = :until, version = version + :one")
            .expression_attribute_values(":until", n(until.as_millisecond()));
        let _ = self.applied("keep a job's place", update.send().await);
    }

    /// Releases the place of a job, if it has one. If that fails, the place is free when its time has passed.
    pub(crate) async fn free_place(&self, job: &Job) {
        let Some(limit) = &job.limit else { return };
        let update = self
            .update_place(job, limit)
            .update_expression("REMOVE places.#job SET version = version + :one");
        let _ = self.applied("give a job's place back", update.send().await);
    }

    /// Postpones a job that found no place at `now`. Returns false if the job was started, ended or postponed after it was read.
    /// One write.
    pub async fn put_off(
        &self,
        job: &Job,
        now: Timestamp,
        wait: Wait,
        transport: Transport,
    ) -> Result<bool, TableError> {
        let at = now.saturating_add(wait.pause()).unwrap_or(Timestamp::MAX);
        let index = match (transport, wait) {
            (Transport::Runner, _) => ", due_at = :at",
            (Transport::Queue, Wait::Index(_)) => ", due_at = :at, due_pk = :pk",
            (Transport::Queue, Wait::Message(_)) => "",
        };
        let update = self
            .update_job(&job.key())
            .update_expression(format!(
                "SET not_before = :at, full_since = if_not_exists(full_since, :now){index}"
            ))
            .expression_attribute_values(":now", n(now.as_millisecond()))
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pending", s("PENDING"))
            .expression_attribute_values(":running", s("RUNNING"))
            .expression_attribute_values(":epoch", n(job.fencing_token))
            .expression_attribute_values(":at", n(at.as_millisecond()));
        let update = if index.ends_with(":pk") {
            update.expression_attribute_values(":pk", s(DuePartition::of_queues(job.id).pk()))
        } else {
            update
        };
        let update = match job.not_before {
            Some(before) => update
                .condition_expression(format!("{OPEN} AND not_before = :before"))
                .expression_attribute_values(":before", n(before.as_millisecond())),
            None => update.condition_expression(format!("{OPEN} AND attribute_not_exists(not_before)")),
        };
        self.applied("put a job off", update.send().await)
    }

    /// The places of a key, and their version.
    async fn places(&self, job: &Job, limit: &Limit) -> Result<(Places, u64), TableError> {
        let item = self.get(Key::places(&job.task, limit), "read the places of jobs").await?;
        let item = item.unwrap_or_default();
        let number = |value: &AttributeValue| value.as_n().ok().and_then(|it| it.parse::<i64>().ok());
        let places = item.get("places").and_then(|places| places.as_m().ok()).into_iter().flatten();
        // An invalid entry counts as a free place.
        let places = places.filter_map(|(id, until)| {
            Some((id.parse().ok()?, Timestamp::from_millisecond(number(until)?).ok()?))
        });
        let version = item.get("version").and_then(number).and_then(|it| u64::try_from(it).ok());
        Ok((Places(places.collect()), version.unwrap_or(0)))
    }

    /// An update of the place that a job has, named `#job`.
    fn update_place(&self, job: &Job, limit: &Limit) -> UpdateItemFluentBuilder {
        self.update(Key::places(&job.task, limit))
            .condition_expression("attribute_exists(places.#job)")
            .expression_attribute_names("#job", job.id.to_string())
            .expression_attribute_values(":one", n(1))
    }
}
