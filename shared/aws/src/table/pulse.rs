//! The pulse's items: its state, its records, and the batched reads of tasks and runs.
//!
//! A pulse in which nothing is due costs three write units (its minute, its state, its record). It reads its state, and the
//! items of the tasks that it checks for lost runs.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_dynamodb::types::KeysAndAttributes;
use jiff::Timestamp;
use lamplighter_core::{
    claim::TaskState,
    id::RunId,
    name::TaskName,
    pulse::{Record, State},
    retry::Retry,
    run::Run,
    status::Status,
};
use serde_json::Value;

use super::{
    Table, TableError,
    item::{self, Item, n, s, to_item, to_json},
    keys::{Key, Partition, STATE},
};
use crate::random::jitter;

/// The retention of records of pulses and of notices, in seconds: 30 days.
pub(crate) const RETENTION_SECONDS: i64 = 30 * 24 * 3600;
/// The most keys of one batch. Source: DynamoDB API Reference, `BatchGetItem`.
const BATCH: usize = 100;
/// The retries for keys that the service leaves unprocessed.
const UNPROCESSED: Retry =
    Retry { max_attempts: 8, initial: Duration::from_millis(50), max: Duration::from_secs(6) };
/// The number of a task's runs that are searched for the run of a tick.
const RUNS_OF_TICK: i32 = 100;

/// The states of many tasks.
#[derive(Debug, Default)]
pub struct States {
    /// The state of each task. A task that never ran has an empty state.
    pub states: BTreeMap<TaskName, TaskState>,
    /// The items that could not be read.
    pub unreadable: Vec<TableError>,
}

/// Records of pulses.
#[derive(Debug, Default)]
pub struct Pulses {
    /// Newest first.
    pub records: Vec<Record>,
    /// The items that could not be read.
    pub unreadable: Vec<TableError>,
}

impl Table {
    /// Claims the work of a minute. Returns true for the first caller only. One write.
    pub async fn begin_pulse(&self, record: &Record) -> Result<bool, TableError> {
        let put = self.put(self.pulse_item(record)?).condition_expression("attribute_not_exists(pk)");
        self.applied("begin a pulse", put.send().await)
    }

    /// Writes the record of a pulse that is over. One write.
    pub async fn end_pulse(&self, record: &Record) -> Result<(), TableError> {
        let item = Some(self.pulse_item(record)?);
        let put = self.client.put_item().table_name(&self.name).set_item(item);
        put.send().await.map(drop).map_err(|error| self.failed("record a pulse", &error))
    }

    /// The records of the newest pulses, newest first. One query.
    pub async fn pulses(&self, limit: u16) -> Result<Pulses, TableError> {
        let output = self
            .query(Partition::Pulse)
            .key_condition_expression("pk = :pk AND sk < :state")
            .expression_attribute_values(":state", s(STATE))
            .scan_index_forward(false)
            .limit(i32::from(limit))
            .send()
            .await
            .map_err(|error| self.failed("read the pulses", &error))?;
        let mut pulses = Pulses::default();
        for item in output.items.unwrap_or_default() {
            let key = item::key(&item);
            match serde_json::from_value(to_json(item)) {
                Ok(record) => pulses.records.push(record),
                Err(error) => pulses.unreadable.push(self.malformed(key, &error)),
            }
        }
        Ok(pulses)
    }

    /// Reads the state that the last pulse stored. One consistent read.
    pub async fn pulse_state(&self) -> Result<State, TableError> {
        let item = self.get(Key::pulse_state(), "read the pulse's state").await?;
        let Some(item) = item else { return Ok(State::default()) };
        serde_json::from_value(to_json(item))
            .map_err(|error| self.malformed(Key::pulse_state().to_string(), &error))
    }

    /// Stores `state`, if the stored one is still `seen`: of two pulses at once, the first one to finish wins. Returns false for
    /// the other. One write.
    pub async fn keep_pulse_state(&self, state: &State, seen: &State) -> Result<bool, TableError> {
        let value = serde_json::to_value(state);
        let value = value.map_err(|error| self.malformed(Key::pulse_state().to_string(), &error))?;
        let mut item = to_item(value);
        item.extend(Key::pulse_state().attributes());
        let put = self.put(item);
        let put = match seen.watermark {
            Some(watermark) => put
                .condition_expression("watermark = :seen")
                .expression_attribute_values(":seen", s(watermark.to_string())),
            None => put.condition_expression("attribute_not_exists(watermark)"),
        };
        self.applied("keep the pulse's state", put.send().await)
    }

    /// Deletes the pulse's state, so that the pulse continues after an unreadable state. One write.
    pub async fn forget_pulse_state(&self) -> Result<(), TableError> {
        let delete = self.delete(Key::pulse_state());
        delete.send().await.map(drop).map_err(|error| self.failed("forget the pulse's state", &error))
    }

    /// Reads the states of many tasks: consistent reads, 100 at a time. An item that cannot be read is reported, and
    /// the others are read.
    pub async fn states(&self, tasks: impl IntoIterator<Item = &TaskName>) -> Result<States, TableError> {
        let mut by_key: BTreeMap<_, _> =
            tasks.into_iter().map(|task| (Key::task(task).pk, task.clone())).collect();
        let keys = by_key.values().map(Key::task).collect();
        let mut found = States::default();
        for item in self.batch(keys, "read the tasks").await? {
            let Some(task) = item.get("pk").and_then(|pk| pk.as_s().ok()).and_then(|pk| by_key.remove(pk))
            else {
                continue;
            };
            match self.task_state(&task, item) {
                Ok(state) => drop(found.states.insert(task, state)),
                Err(error) => found.unreadable.push(error),
            }
        }
        found.states.extend(by_key.into_values().map(|task| (task, TaskState::default())));
        Ok(found)
    }

    /// Those of the runs that are over: consistent reads, 100 at a time. A record that cannot be read is reported.
    pub async fn ended(
        &self,
        runs: impl IntoIterator<Item = (&TaskName, RunId)>,
    ) -> Result<(Vec<Run>, Vec<TableError>), TableError> {
        let keys = runs.into_iter().map(|(task, id)| Key::run(task, id)).collect();
        let (mut ended, mut unreadable) = (Vec::new(), Vec::new());
        for item in self.batch(keys, "read runs").await? {
            match self.run_of(item) {
                Ok(run) => ended.push(run),
                Err(error) => unreadable.push(error),
            }
        }
        Ok((ended, unreadable))
    }

    /// Returns the recorded run of a tick, whatever its id; of several, the one that ended last. One query of at most
    /// 100 records from the tick on.
    pub async fn run_for(&self, task: &TaskName, tick: Timestamp) -> Result<Option<Run>, TableError> {
        let output = self
            .query(Partition::Runs { task, shard: 0 })
            .key_condition_expression("pk = :pk AND sk >= :first")
            // The lowest id of the tick's time. Every run of the tick has this id or a higher one.
            .expression_attribute_values(":first", s(RunId::new(tick, 0).to_string()))
            .limit(RUNS_OF_TICK)
            .send()
            .await
            .map_err(|error| self.failed("look for a tick's run", &error))?;
        let runs = output.items.unwrap_or_default().into_iter();
        // Unreadable records are skipped.
        let runs =
            runs.filter_map(|item| self.run_of(item).ok()).filter(|run| run.scheduled_for == Some(tick));
        Ok(runs.max_by_key(|run| run.completed_at))
    }

    /// Stores a BLOCKED run as its task's last run, so that the tasks that depend on it are blocked too, and its tick
    /// as the task's last tick. Nothing changes if a run is in progress, or if the last tick is the same or newer. One
    /// write.
    pub async fn note_blocked(&self, run: &Run) -> Result<(), TableError> {
        let Some(tick) = run.scheduled_for else { return Ok(()) };
        let update = self
            .update(Key::task(&run.task))
            .update_expression(
                "SET last_tick = :tick, last_run = :run, last_status = :status, \
                 failure_streak = if_not_exists(failure_streak, :zero) + :one",
            )
            .condition_expression(
                "attribute_not_exists(run_id) AND (attribute_not_exists(last_tick) OR last_tick < :tick)",
            )
            .expression_attribute_values(":tick", n(tick.as_millisecond()))
            .expression_attribute_values(":run", s(run.id.to_string()))
            .expression_attribute_values(":status", s(Status::Blocked.as_str()))
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":one", n(1));
        self.applied("note a blocked run", update.send().await).map(drop)
    }

    fn pulse_item(&self, record: &Record) -> Result<Item, TableError> {
        let key = Key::pulse(record.started_at);
        let value = serde_json::to_value(record);
        let value: Value = value.map_err(|error| self.malformed(key.to_string(), &error))?;
        let mut item = to_item(value);
        item.extend(key.attributes());
        item.insert("expires_at".into(), n(record.started_at.as_second() + RETENTION_SECONDS));
        Ok(item)
    }

    pub(crate) fn malformed(&self, key: String, error: &serde_json::Error) -> TableError {
        TableError::Malformed { table: self.name.clone(), key, cause: error.to_string() }
    }

    /// Reads the items with these keys, in any order. Missing items are left out.
    pub(crate) async fn batch(&self, keys: Vec<Key>, what: &'static str) -> Result<Vec<Item>, TableError> {
        let mut found = Vec::new();
        for some in keys.chunks(BATCH) {
            let mut open: Vec<Item> = some.iter().cloned().map(Key::attributes).collect();
            for attempt in 1.. {
                let wanted = KeysAndAttributes::builder().set_keys(Some(open)).consistent_read(true).build();
                let wanted = wanted.map_err(|error| self.failed(what, &error))?;
                let output = self.client.batch_get_item().request_items(&self.name, wanted).send().await;
                let output = output.map_err(|error| self.failed(what, &error))?;
                found.extend(output.responses.into_iter().flatten().flat_map(|(_, items)| items));
                let unprocessed = output.unprocessed_keys.into_iter().flatten().flat_map(|(_, of)| of.keys);
                open = unprocessed.collect();
                if open.is_empty() {
                    break;
                }
                if attempt == UNPROCESSED.max_attempts {
                    let cause = format!("{} keys were left unprocessed {attempt} times", open.len());
                    return Err(TableError::Service { table: self.name.clone(), operation: what, cause });
                }
                tokio::time::sleep(UNPROCESSED.pause(attempt, jitter())).await;
            }
        }
        Ok(found)
    }
}
