//! Runs: their records, read one by one or newest first.

use aws_sdk_dynamodb::types::AttributeValue;
use lamplighter_core::{id::RunId, name::TaskName, run::Run};
use serde_json::Value;

use super::{
    MAX_VALUE_BYTES, Table, TableError,
    item::{self, Item, n, s},
    schema::{run_key, runs_pk},
};

/// How long a run's record is kept, in seconds: 30 days.
const RETENTION_SECONDS: i64 = 30 * 24 * 3600;

/// What users brought, kept as JSON text.
const TEXTS: [&str; 2] = ["config", "data"];

/// Which runs are wanted.
#[derive(Clone, Debug)]
pub struct History {
    /// Their task.
    pub task: TaskName,
    /// How many at most.
    pub limit: u16,
    /// Only those older than this one.
    pub before: Option<RunId>,
}

/// Some runs, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The runs.
    pub runs: Vec<Run>,
    /// Where the next page begins; nothing if there are no older runs.
    pub next: Option<RunId>,
}

impl Table {
    /// A run's record; nothing while it is not over. One consistent read.
    pub async fn run(&self, task: &TaskName, id: RunId) -> Result<Option<Run>, TableError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("pk", s(runs_pk(task)))
            .key("sk", s(id.to_string()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| self.failed("read a run", &error))?;
        output.item.map(|item| self.run_of(item)).transpose()
    }

    /// The runs of a task, newest first. One query.
    pub async fn history(&self, wanted: &History) -> Result<Page, TableError> {
        // `~` sorts after every run id.
        let before = wanted.before.map_or_else(|| "~".to_owned(), |id| id.to_string());
        let output = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("pk = :pk AND sk < :before")
            .expression_attribute_values(":pk", s(runs_pk(&wanted.task)))
            .expression_attribute_values(":before", s(before))
            .scan_index_forward(false)
            .limit(i32::from(wanted.limit))
            .send()
            .await
            .map_err(|error| self.failed("read the history", &error))?;
        let more = output.last_evaluated_key.is_some();
        let runs = output.items.unwrap_or_default().into_iter().map(|item| self.run_of(item));
        let runs = runs.collect::<Result<Vec<_>, _>>()?;
        let next = runs.last().map(|run| run.id).filter(|_| more);
        Ok(Page { runs, next })
    }

    /// The run that an item holds.
    pub(super) fn run_of(&self, item: Item) -> Result<Run, TableError> {
        let key = ["pk", "sk"].map(|k| item.get(k).and_then(|v| v.as_s().ok()).cloned().unwrap_or_default());
        let malformed =
            |cause: String| TableError::Malformed { table: self.name.clone(), key: key.join(" / "), cause };
        let mut value = item::to_json(item);
        for name in TEXTS {
            if let Some(text) = value[name].as_str() {
                value[name] = serde_json::from_str(text).map_err(|e| malformed(format!("`{name}`: {e}")))?;
            }
        }
        if value.get("config").is_none() {
            value["config"] = Value::Null;
        }
        serde_json::from_value(value).map_err(|error| malformed(error.to_string()))
    }
}

/// The item of a run.
pub(super) fn to_item(run: &Run) -> Result<Item, TableError> {
    // A run is a plain record of texts, numbers and JSON: it has no key that JSON cannot have.
    let unwritable = |error: serde_json::Error| TableError::Malformed {
        table: String::new(),
        key: run_key(&run.task, run.id),
        cause: error.to_string(),
    };
    let mut value = serde_json::to_value(run).map_err(unwritable)?;
    let mut bytes = 0;
    for name in TEXTS {
        if !value[name].is_null() {
            let text = value[name].to_string();
            bytes += text.len();
            if text.len() > MAX_VALUE_BYTES {
                return Err(TableError::TooLarge { what: name, bytes: text.len() });
            }
            if bytes > MAX_VALUE_BYTES {
                return Err(TableError::TooLarge { what: "data with the configuration", bytes });
            }
            value[name] = Value::String(text);
        }
    }
    let mut item = item::to_item(value);
    item.insert("pk".into(), s(runs_pk(&run.task)));
    item.insert("sk".into(), s(run.id.to_string()));
    item.insert("duration_ms".into(), n(run.duration_ms()));
    item.insert(
        "expires_at".into(),
        AttributeValue::N((run.completed_at.as_second() + RETENTION_SECONDS).to_string()),
    );
    Ok(item)
}
