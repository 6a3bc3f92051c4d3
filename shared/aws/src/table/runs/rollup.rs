//! Rollups: the statistics of closed hours, counted once, on the first request.
//!
//! Unread statistics cost nothing. The first request reads the records of the missing hours and writes one item for
//! each hour that had runs. Later requests read those items and the records of the last two to three hours.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use jiff::Timestamp;
use lamplighter_core::{
    claim::TaskState,
    id::RunId,
    id::SHARDS,
    name::TaskName,
    statistics::{HOUR, Statistics, floor, plan},
    status::Status,
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::table::{
    Table, TableError,
    item::{self, Item, n, s, sort_key, to_item, to_json},
    keys::{Key, Partition, hour_sk},
    record::UnreadableItem,
    runs::history::keys,
};

/// The retention of a rollup: a year and a day.
pub const RETENTION: Duration = Duration::from_secs(366 * 24 * 3600);
/// The number of concurrent writes of rollups.
const WRITERS: usize = 16;

/// The statistics of a task's runs in a period.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// The statistics.
    pub statistics: Statistics,
    /// The number of failed runs since the last one that completed, whatever the period.
    pub failure_streak: u64,
    /// The items that could not be read.
    pub unreadable: Vec<UnreadableItem>,
}

impl Table {
    /// Counts the runs of a task that were triggered in `wanted`, and stores the rollups of closed hours. Lost runs are
    /// recorded first, so that the count of a closed hour does not change later.
    ///
    /// Records that were deleted before the first request are not counted.
    pub async fn statistics(
        &self,
        task: &TaskName,
        wanted: &Range<Timestamp>,
        now: Timestamp,
    ) -> Result<Counted, TableError> {
        let state = self.state(task).await?;
        self.statistics_of(task, state, wanted, now).await
    }

    /// Counts the runs of a task as [`statistics`](Self::statistics) does. Its state has been read.
    pub async fn statistics_of(
        &self,
        task: &TaskName,
        state: TaskState,
        wanted: &Range<Timestamp>,
        now: Timestamp,
    ) -> Result<Counted, TableError> {
        let state = self.settle(task, state, now).await?;
        let mut counted = Counted { failure_streak: state.failure_streak, ..Counted::default() };
        let mut covered = self.covered(task, &mut counted.unreadable).await?;
        let plan = plan(wanted, covered.as_ref(), now);
        for stretch in plan.missing {
            let hours = self.count_runs(task, &stretch, &mut counted.unreadable).await?;
            self.keep(task, &hours).await?;
            covered = Some(self.cover(task, covered, &stretch).await?);
            for (_, hour) in hours.iter().filter(|(hour, _)| plan.hours.contains(hour)) {
                counted.statistics = counted.statistics.merged(hour);
            }
        }
        if !plan.kept.is_empty() {
            self.merge_kept(task, &plan.kept, &mut counted).await?;
        }
        for range in plan.one_by_one {
            for hour in self.count_runs(task, &range, &mut counted.unreadable).await?.values() {
                counted.statistics = counted.statistics.merged(hour);
            }
        }
        Ok(counted)
    }

    /// Reads the range of hours that the rollups cover. One consistent read.
    async fn covered(
        &self,
        task: &TaskName,
        unreadable: &mut Vec<UnreadableItem>,
    ) -> Result<Option<Range<Timestamp>>, TableError> {
        let item = self.get(Key::covered(task), "read the rollups").await?;
        let Some(item) = item else { return Ok(None) };
        let value = to_json(item);
        let time = |key: &str| value[key].as_i64().and_then(|second| Timestamp::from_second(second).ok());
        let covered = time("from").zip(time("until"));
        if covered.is_none() {
            let key = Key::covered(task).to_string();
            unreadable.push(UnreadableItem { key, cause: "`from` or `until` is not a time".to_owned() });
        }
        Ok(covered.map(|(from, until)| from..until))
    }

    /// Writes the rollups of some hours. Existing rollups stay.
    async fn keep(&self, task: &TaskName, hours: &BTreeMap<Timestamp, Statistics>) -> Result<(), TableError> {
        let mut writes = JoinSet::new();
        for (hour, statistics) in hours {
            if writes.len() >= WRITERS {
                joined(writes.join_next().await)?;
            }
            let key = Key::hour(task, *hour);
            let malformed = |cause: serde_json::Error| TableError::Malformed {
                table: self.name.clone(),
                key: key.to_string(),
                cause: cause.to_string(),
            };
            let mut item = to_item(serde_json::to_value(statistics).map_err(malformed)?);
            item.extend(key.attributes());
            item.insert("expires_at".into(), n(kept_until(*hour)));
            let table = self.clone();
            writes.spawn(async move { table.keep_hour(item).await });
        }
        while !writes.is_empty() {
            joined(writes.join_next().await)?;
        }
        Ok(())
    }

    async fn keep_hour(&self, item: Item) -> Result<(), TableError> {
        let put = self.put(item).condition_expression("attribute_not_exists(pk)");
        self.applied("keep a rollup", put.send().await).map(drop)
    }

    /// Extends the stored range of covered hours by the hours of `stretch`, which adjoin `covered`. If another process
    /// has changed the range in the meantime, that change stays.
    async fn cover(
        &self,
        task: &TaskName,
        covered: Option<Range<Timestamp>>,
        stretch: &Range<Timestamp>,
    ) -> Result<Range<Timestamp>, TableError> {
        let all = covered
            .as_ref()
            .map_or_else(|| stretch.clone(), |old| old.start.min(stretch.start)..old.end.max(stretch.end));
        let update = self
            .update(Key::covered(task))
            .update_expression("SET #from = :from, #until = :until, expires_at = :expires_at")
            .expression_attribute_names("#from", "from")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":from", n(all.start.as_second()))
            .expression_attribute_values(":until", n(all.end.as_second()))
            .expression_attribute_values(":expires_at", n(kept_until(all.end)));
        let update = match covered {
            None => update.condition_expression("attribute_not_exists(pk)"),
            Some(old) => update
                .condition_expression("#from = :old_from AND #until = :old_until")
                .expression_attribute_values(":old_from", n(old.start.as_second()))
                .expression_attribute_values(":old_until", n(old.end.as_second())),
        };
        // A concurrent change stays.
        self.applied("note the rollups", update.send().await)?;
        Ok(all)
    }

    /// Adds the stored rollups of these hours to `counted`.
    async fn merge_kept(
        &self,
        task: &TaskName,
        hours: &Range<Timestamp>,
        counted: &mut Counted,
    ) -> Result<(), TableError> {
        let last = hours.end.checked_sub(HOUR).unwrap_or(hours.start);
        let mut behind: Option<Item> = None;
        loop {
            let output = self
                .query(Partition::Statistics(task))
                .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":first", s(hour_sk(hours.start)))
                .expression_attribute_values(":last", s(hour_sk(last)))
                .set_exclusive_start_key(behind)
                .send()
                .await
                .map_err(|error| self.failed("read the rollups", &error))?;
            for item in output.items.unwrap_or_default() {
                let key = item::key(&item);
                match serde_json::from_value::<Statistics>(to_json(item)) {
                    Ok(hour) => {
                        counted.statistics = std::mem::take(&mut counted.statistics).merged(&hour);
                    }
                    Err(error) => counted.unreadable.push(UnreadableItem { key, cause: error.to_string() }),
                }
            }
            behind = output.last_evaluated_key;
            if behind.is_none() {
                return Ok(());
            }
        }
    }

    /// Counts the runs in a range by hour, from their records.
    async fn count_runs(
        &self,
        task: &TaskName,
        range: &Range<Timestamp>,
        unreadable: &mut Vec<UnreadableItem>,
    ) -> Result<BTreeMap<Timestamp, Statistics>, TableError> {
        let mut hours = BTreeMap::<_, Statistics>::new();
        let Some(keys) = keys(Some(range.start), Some(range.end)) else { return Ok(hours) };
        for shard in 0..SHARDS {
            self.count_shard(task, shard, &keys, &mut hours, unreadable).await?;
        }
        Ok(hours)
    }

    async fn count_shard(
        &self,
        task: &TaskName,
        shard: u8,
        keys: &Range<String>,
        hours: &mut BTreeMap<Timestamp, Statistics>,
        unreadable: &mut Vec<UnreadableItem>,
    ) -> Result<(), TableError> {
        let mut behind: Option<String> = None;
        loop {
            let output = self
                .runs_between(task, shard, keys, behind.as_deref())
                .projection_expression("sk, #status, duration_ms, attempts[0].started_at")
                .expression_attribute_names("#status", "status")
                .send()
                .await
                .map_err(|error| self.failed("count the runs", &error))?;
            for item in output.items.unwrap_or_default() {
                let key = sort_key(&item);
                match brief(&key, &to_json(item)) {
                    Ok((_, status, _)) if !status.is_terminal() => {}
                    Ok((id, status, ran_ms)) => {
                        hours.entry(floor(id.made_at())).or_default().count(status, ran_ms);
                    }
                    Err(cause) => {
                        let key = Partition::Runs { task, shard }.key(&key).to_string();
                        unreadable.push(UnreadableItem { key, cause });
                    }
                }
            }
            behind = output.last_evaluated_key.as_ref().map(sort_key);
            if behind.is_none() {
                return Ok(());
            }
        }
    }
}

/// A run's id, its status, and how long it took if its body was run.
fn brief(key: &str, record: &Value) -> Result<(RunId, Status, Option<u64>), String> {
    let id = key.parse::<RunId>().map_err(|error| error.to_string())?;
    let status = record["status"].as_str().ok_or("it has no `status`")?;
    let status = status.parse::<Status>().map_err(|error| error.to_string())?;
    let ran = record["attempts"].as_array().is_some_and(|attempts| !attempts.is_empty());
    Ok((id, status, record["duration_ms"].as_u64().filter(|_| ran)))
}

/// When the rollup of an hour may be deleted, in seconds.
fn kept_until(hour: Timestamp) -> i64 {
    hour.saturating_add(RETENTION).unwrap_or(Timestamp::MAX).as_second()
}

/// The result of a write. A panic of the write continues here.
fn joined(ended: Option<Result<Result<(), TableError>, tokio::task::JoinError>>) -> Result<(), TableError> {
    match ended {
        None => Ok(()),
        Some(Ok(written)) => written,
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // It is never cancelled.
            Err(_) => Ok(()),
        },
    }
}
