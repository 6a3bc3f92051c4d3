//! The places of jobs of which only so many run at once. Two write units more for such a job (its place taken and given back),
//! and a read; one of a task's partitions has them all.

use std::time::Duration;

use aws_sdk_dynamodb::{operation::update_item::builders::UpdateItemFluentBuilder, types::AttributeValue};
use jiff::Timestamp;
use lamplighter_core::{
    id::RunId,
    job::{Job, Limit, Places, Wait},
    retry::Retry,
};

use super::{
    Table, TableError, Transport,
    item::{n, s},
    job::OPEN,
    schema::{JobsItem, due_pk_of_queues, job_keys_pk},
};
use crate::random::jitter;

/// The pauses between the tries of places that others take and give back at the same time.
const ROUNDS: Retry =
    Retry { max_attempts: 10, initial: Duration::from_millis(4), max: Duration::from_millis(100) };
/// How long the places of a key are kept in which nobody is.
const KEPT: Duration = Duration::from_secs(24 * 3600);

impl Table {
    /// Takes a place for a job until then. False if there is none: then it is to look again.
    pub(super) async fn take_place(
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
                .update_key(job, limit)
                .update_expression("SET places = :taken, version = :next, expires_at = :kept")
                .condition_expression(
                    "version = :version OR (attribute_not_exists(version) AND :version = :none)",
                )
                .expression_attribute_values(":taken", taken)
                .expression_attribute_values(":version", n(version))
                .expression_attribute_values(":next", n(version + 1))
                .expression_attribute_values(":none", n(0))
                .expression_attribute_values(":kept", n(kept));
            if self.held("take a place for a job", update.send().await)? {
                return Ok(true);
            }
            tokio::time::sleep(ROUNDS.pause(round, jitter())).await;
        }
        Ok(false)
    }

    /// Keeps the place of a job that has one until then. Should that fail, the next renewal does it.
    pub(super) async fn keep_place(&self, job: &Job, until: Timestamp) {
        let Some(limit) = &job.limit else { return };
        let update = self
            .update_place(job, limit)
            .update_expression("SET places.#job = :until, version = version + :one")
            .expression_attribute_values(":until", n(until.as_millisecond()));
        let _ = self.held("keep a job's place", update.send().await);
    }

    /// Gives back the place of a job, if it has one. Should that fail, it is free when its time has passed.
    pub(super) async fn free_place(&self, job: &Job) {
        let Some(limit) = &job.limit else { return };
        let update = self
            .update_place(job, limit)
            .update_expression("REMOVE places.#job SET version = version + :one");
        let _ = self.held("give a job's place back", update.send().await);
    }

    /// Has a job that found no place at `now` look again after a while. False if somebody else has started, ended or put it off
    /// since it was read. One write.
    pub async fn put_off(
        &self,
        job: &Job,
        now: Timestamp,
        wait: Wait,
        lane: Transport,
    ) -> Result<bool, TableError> {
        let at = now.saturating_add(wait.pause()).unwrap_or(Timestamp::MAX);
        let index = match (lane, wait) {
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
            update.expression_attribute_values(":pk", s(due_pk_of_queues(job.id)))
        } else {
            update
        };
        let update = match job.not_before {
            Some(before) => update
                .condition_expression(format!("{OPEN} AND not_before = :before"))
                .expression_attribute_values(":before", n(before.as_millisecond())),
            None => update.condition_expression(format!("{OPEN} AND attribute_not_exists(not_before)")),
        };
        self.held("put a job off", update.send().await)
    }

    /// Who is in the places of a key, and how often that has changed.
    async fn places(&self, job: &Job, limit: &Limit) -> Result<(Places, u64), TableError> {
        let item = self.get(job_keys_pk(&job.task), sort_key(limit), "read the places of jobs").await?;
        let item = item.unwrap_or_default();
        let number = |value: &AttributeValue| value.as_n().ok().and_then(|it| it.parse::<i64>().ok());
        let places = item.get("places").and_then(|places| places.as_m().ok()).into_iter().flatten();
        // What is no place of a job takes none away.
        let places = places.filter_map(|(id, until)| {
            Some((id.parse().ok()?, Timestamp::from_millisecond(number(until)?).ok()?))
        });
        let version = item.get("version").and_then(number).and_then(|it| u64::try_from(it).ok());
        Ok((Places(places.collect()), version.unwrap_or(0)))
    }

    /// An update of the place that a job has, named `#job`.
    fn update_place(&self, job: &Job, limit: &Limit) -> UpdateItemFluentBuilder {
        self.update_key(job, limit)
            .condition_expression("attribute_exists(places.#job)")
            .expression_attribute_names("#job", job.id.to_string())
            .expression_attribute_values(":one", n(1))
    }

    fn update_key(&self, job: &Job, limit: &Limit) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(job_keys_pk(&job.task)))
            .key("sk", s(sort_key(limit)))
    }
}

fn sort_key(limit: &Limit) -> String {
    JobsItem::Limit(&limit.key).sk()
}
