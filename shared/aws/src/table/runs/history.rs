//! The history: records of runs, read one by one or in pages, newest first.

use std::{fmt, ops::Range, str::FromStr, time::Duration};

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use jiff::Timestamp;
use lamplighter_core::{
    id::{RunId, SHARDS},
    name::TaskName,
    run::{Run, Trigger},
    status::Status,
};

use crate::table::{
    Table, TableError,
    item::{Item, s, sort_key},
    keys::{Key, Partition},
    record::{JobRecord, UnreadableItem, is_open},
};

/// The maximum number of records that a page with filters reads. It limits the cost of a page, however long the history
/// is: 1000 eventually consistent reads, of an eighth of a read unit each for records of 1 KB.
pub const LOOKED_AT: u16 = 1000;
/// The number of records that a query with filters reads.
const CHUNK: u16 = 100;
/// Sorts after every run id.
const LAST: &str = "~";

/// The prefix of a cursor that is not a run's id.
const ODD: &str = "key:";

/// A query of a task's runs.
#[derive(Clone, Debug)]
pub struct History {
    /// Their task.
    pub task: TaskName,
    /// Only those with one of these statuses; empty: with any.
    pub statuses: Vec<Status>,
    /// Only those with this trigger.
    pub trigger: Option<Trigger>,
    /// Only runs that were triggered at this time or later. The time is part of the run's id.
    pub from: Option<Timestamp>,
    /// Only runs that were triggered before this time.
    pub until: Option<Timestamp>,
    /// The most runs of a page.
    pub limit: u16,
    /// The end of the page before.
    pub cursor: Option<Cursor>,
    /// Includes jobs, which are spread over [`SHARDS`] partitions: then that many queries are made.
    pub jobs: bool,
}

/// The end of a page. It is valid for every task's history, since run ids sort by time across tasks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(String);

/// A text that is no cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cursor: it must be one that an earlier page ended with")]
pub struct InvalidCursor(pub String);

/// A page of runs, newest first.
#[derive(Clone, Debug)]
pub struct Page<R = Run> {
    /// The runs.
    pub runs: Vec<R>,
    /// The items that cannot be read as runs.
    pub unreadable: Vec<UnreadableItem>,
    /// The number of records that were read.
    pub looked_at: usize,
    /// The start of the next page. `None` if there are no older runs.
    pub next: Option<Cursor>,
}

/// The part of a page that one partition has.
struct Slice {
    /// Its items, newest first, with their sort keys.
    items: Vec<(String, Item)>,
    /// The number of records that were read.
    looked_at: usize,
    /// The sort key of the last record that was read. `None` if there are no older records.
    reached: Option<String>,
}

impl History {
    /// The newest runs of a task.
    pub fn of(task: TaskName, limit: u16) -> Self {
        Self {
            task,
            statuses: Vec::new(),
            trigger: None,
            from: None,
            until: None,
            limit,
            cursor: None,
            jobs: false,
        }
    }

    fn filters(&self) -> bool {
        !self.statuses.is_empty() || self.trigger.is_some()
    }
}

impl Cursor {
    /// The end of a page whose last run is `run`.
    pub fn behind(run: RunId) -> Self {
        Self(run.to_string())
    }

    /// Returns true if a page that ended here has covered the place of `run`.
    pub fn reaches(&self, run: RunId) -> bool {
        self.0 <= run.to_string()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.parse::<RunId>() {
            Ok(_) => f.pad(&self.0),
            // A page may end with an item that is no run's.
            Err(_) => write!(f, "{ODD}{}", self.0),
        }
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        match text.strip_prefix(ODD).filter(|key| !key.is_empty()) {
            Some(key) => Ok(Self(key.to_owned())),
            None => text.parse().map(Self::behind).map_err(|_| InvalidCursor(text.to_owned())),
        }
    }
}

impl Table {
    /// Reads a run's record. `None` while the run is not over. One consistent read. Large values are references, which
    /// [`Table::whole`] resolves.
    pub async fn run(&self, task: &TaskName, id: RunId) -> Result<Option<Run>, TableError> {
        let item = self.read_record(task, id, "read a run").await?;
        item.filter(|item| !is_open(item)).map(|item| self.run_of(item)).transpose()
    }

    /// The record of a run, over or not.
    pub(crate) async fn read_record(
        &self,
        task: &TaskName,
        id: RunId,
        what: &'static str,
    ) -> Result<Option<Item>, TableError> {
        self.get(Key::run(task, id), what).await
    }

    /// Reads a page of a task's runs, newest first. One query, or with filters several, up to [`LOOKED_AT`] records. So a page may
    /// be short or empty and still have a next one.
    pub async fn history(&self, wanted: &History) -> Result<Page, TableError> {
        self.page(wanted, |item| self.run_of(item)).await
    }

    /// Reads a page of a queue task's jobs, over or not, like [`Table::history`]. Runs by hand are not jobs and are left out.
    pub async fn jobs(&self, wanted: &History) -> Result<Page<JobRecord>, TableError> {
        let wanted = History { jobs: true, trigger: Some(Trigger::Queue), ..wanted.clone() };
        self.page(&wanted, |item| self.job_record(item)).await
    }

    async fn page<R>(
        &self,
        wanted: &History,
        read: impl Fn(Item) -> Result<R, TableError>,
    ) -> Result<Page<R>, TableError> {
        let mut page = Page { runs: Vec::new(), unreadable: Vec::new(), looked_at: 0, next: None };
        let Some(range) = keys(wanted.from, wanted.until) else { return Ok(page) };
        let shards = if wanted.jobs { SHARDS } else { 1 };
        let (mut items, mut reached) = (Vec::new(), None);
        for shard in 0..shards {
            let slice = self.slice(wanted, shard, &range, LOOKED_AT / u16::from(shards)).await?;
            page.looked_at += slice.looked_at;
            items.extend(slice.items);
            // The page ends at the newest of the keys that the partitions reached. Below it, a partition may have
            // unread runs.
            reached = reached.max(slice.reached);
        }
        items.sort_by(|(one, _), (other, _)| other.cmp(one));
        let limit = usize::from(wanted.limit);
        for (key, item) in items {
            if reached.as_ref().is_some_and(|reached| key < *reached) {
                break;
            }
            if page.runs.len() == limit {
                // The remaining items are read again by the next page.
                return Ok(page);
            }
            match read(item) {
                Ok(run) => page.runs.push(run),
                Err(TableError::Malformed { key, cause, .. }) => {
                    page.unreadable.push(UnreadableItem { key, cause });
                }
                Err(error) => return Err(error),
            }
            page.next = Some(Cursor(key));
        }
        page.next = reached.map(Cursor);
        Ok(page)
    }

    /// The part of a page that one partition has.
    async fn slice(
        &self,
        wanted: &History,
        shard: u8,
        range: &Range<String>,
        most: u16,
    ) -> Result<Slice, TableError> {
        let mut slice = Slice { items: Vec::new(), looked_at: 0, reached: None };
        let (limit, most) = (usize::from(wanted.limit), usize::from(most));
        let mut behind = wanted.cursor.clone().map(|cursor| cursor.0);
        loop {
            if behind.as_ref().is_some_and(|key| *key <= range.start) {
                slice.reached = None;
                return Ok(slice);
            }
            let chunk = if wanted.filters() { wanted.limit.max(CHUNK) } else { wanted.limit };
            let chunk = usize::from(chunk).min(most.saturating_sub(slice.looked_at)).max(1);
            // The range ends at the cursor, since an engine may scan from the end of the range to the start of the
            // query.
            let end = behind.as_ref().map_or(&range.end, |behind| behind.min(&range.end));
            let left = range.start.clone()..end.clone();
            let query = self.runs_between(&wanted.task, shard, &left, behind.as_deref());
            let query = query.scan_index_forward(false).limit(i32::try_from(chunk).unwrap_or(i32::MAX));
            let output = filtered(query, wanted)
                .send()
                .await
                .map_err(|error| self.failed("read the history", &error))?;
            slice.looked_at += usize::try_from(output.scanned_count).unwrap_or(0);
            slice
                .items
                .extend(output.items.unwrap_or_default().into_iter().map(|item| (sort_key(&item), item)));
            slice.reached = output.last_evaluated_key.as_ref().map(sort_key);
            behind.clone_from(&slice.reached);
            if behind.is_none() || slice.items.len() >= limit || slice.looked_at >= most || !wanted.filters()
            {
                return Ok(slice);
            }
        }
    }

    /// A query of the runs of a task within these keys, and behind a key if there is one.
    pub(crate) fn runs_between(
        &self,
        task: &TaskName,
        shard: u8,
        keys: &Range<String>,
        behind: Option<&str>,
    ) -> QueryFluentBuilder {
        let partition = Partition::Runs { task, shard };
        let query = self
            .query(partition)
            .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":first", s(&keys.start))
            .expression_attribute_values(":last", s(&keys.end));
        // The start key of a query must satisfy its key condition.
        match behind.filter(|key| *key <= keys.end.as_str()) {
            Some(key) => query.set_exclusive_start_key(Some(partition.key(key).attributes())),
            None => query,
        }
    }
}

/// Returns the first and the last sort key of the runs from `from` until `until`. `None` if the period is empty.
pub(crate) fn keys(from: Option<Timestamp>, until: Option<Timestamp>) -> Option<Range<String>> {
    let first = from.map_or_else(|| "0".to_owned(), |from| RunId::new(from, 0).to_string());
    let last = match until {
        None => LAST.to_owned(),
        Some(until) => {
            let before = until.checked_sub(Duration::from_millis(1)).ok()?;
            RunId::last_of(before).to_string()
        }
    };
    (first <= last && until.is_none_or(|until| until > Timestamp::UNIX_EPOCH)).then_some(first..last)
}

/// Adds the filters to a query. A record that they exclude costs the same read units, but is not returned.
fn filtered(mut query: QueryFluentBuilder, wanted: &History) -> QueryFluentBuilder {
    let mut conditions = Vec::new();
    if !wanted.statuses.is_empty() {
        let words: Vec<_> = (0..wanted.statuses.len()).map(|i| format!(":status{i}")).collect();
        conditions.push(format!("#status IN ({})", words.join(", ")));
        query = query.expression_attribute_names("#status", "status");
        for (word, status) in words.into_iter().zip(&wanted.statuses) {
            query = query.expression_attribute_values(word, s(status.as_str()));
        }
    }
    if let Some(trigger) = wanted.trigger {
        conditions.push("#trigger = :trigger".to_owned());
        query = query
            .expression_attribute_names("#trigger", "trigger")
            .expression_attribute_values(":trigger", s(trigger.as_str()));
    }
    if conditions.is_empty() { query } else { query.filter_expression(conditions.join(" AND ")) }
}
