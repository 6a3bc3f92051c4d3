//! One query to many tasks at once, so that a list of a hundred tasks takes no longer than one of ten.

use std::ops::Range;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use lamplighter_aws::table::{Counted, Cursor, Page, States, Table, TableError, UnreadableItem};
use lamplighter_core::{claim::TaskState, id::RunId, name::TaskName};

/// The number of concurrent queries.
const AT_ONCE: usize = 16;

/// Queries each task. The answers are in the tasks' order; the first error ends the queries.
pub async fn each<'a, T, E, F: Future<Output = Result<T, E>>>(
    tasks: impl IntoIterator<Item = &'a TaskName>,
    ask: impl FnMut(&'a TaskName) -> F,
) -> Result<Vec<T>, E> {
    stream::iter(tasks).map(ask).buffered(AT_ONCE).try_collect().await
}

/// Counts the runs of each task. One request reads the states of a hundred tasks.
pub async fn statistics(
    table: &Table,
    tasks: &[TaskName],
    range: &Range<Timestamp>,
    now: Timestamp,
) -> Result<Vec<Counted>, TableError> {
    let States { states, unreadable } = table.states(tasks).await?;
    if let Some(error) = unreadable.into_iter().next() {
        return Err(error);
    }
    let state = |task: &TaskName| states.get(task).cloned().unwrap_or_default();
    each(tasks, |task| table.statistics_of(task, state(task), range, now)).await
}

/// Merges the pages of several tasks, newest first. Runs older than the end of an unfinished page are left out, because
/// that page may have more runs in between.
pub fn merged<R>(pages: Vec<Page<R>>, limit: usize, id: impl Fn(&R) -> RunId) -> Page<R> {
    let end = pages.iter().filter_map(|page| page.next.clone()).max();
    let mut all = Page { runs: Vec::new(), unreadable: Vec::new(), looked_at: 0, next: None };
    for page in pages {
        all.runs.extend(page.runs);
        all.unreadable.extend(page.unreadable);
        all.looked_at += page.looked_at;
    }
    all.runs.retain(|run| end.as_ref().is_none_or(|end| end.reaches(id(run))));
    all.runs.sort_by_key(|run| std::cmp::Reverse(id(run)));
    all.next = if all.runs.len() > limit {
        all.runs.truncate(limit);
        all.runs.last().map(|run| Cursor::behind(id(run)))
    } else {
        end
    };
    all
}

/// Reads a task's state after writing the records of its lost runs. A state that does not parse is returned by its key,
/// and treated as that of a task that never ran.
pub async fn settled(
    table: &Table,
    task: &TaskName,
    now: Timestamp,
) -> Result<(TaskState, Option<UnreadableItem>), TableError> {
    let state = match table.state(task).await {
        Ok(state) => state,
        Err(TableError::Malformed { key, cause, .. }) => {
            return Ok((TaskState::default(), Some(UnreadableItem { key, cause })));
        }
        Err(error) => return Err(error),
    };
    Ok((table.settle(task, state, now).await?, None))
}

#[cfg(test)]
mod tests {
    use lamplighter_core::run::{Run, Trigger};

    use super::*;

    fn run(second: i64) -> Run {
        let at = Timestamp::from_second(1_800_000_000 + second).unwrap();
        Run::begun(RunId::new(at, 0), "a".parse().unwrap(), Trigger::Manual, at)
    }

    fn page(seconds: &[i64], more: bool) -> Page {
        let runs: Vec<_> = seconds.iter().map(|second| run(*second)).collect();
        let next = runs.last().filter(|_| more).map(|run| Cursor::behind(run.id));
        Page { looked_at: runs.len(), runs, unreadable: Vec::new(), next }
    }

    fn merged_seconds(pages: Vec<Page>, limit: usize) -> (Vec<i64>, Option<i64>) {
        let page = merged(pages, limit, |run| run.id);
        let second = |id: RunId| id.made_at().as_second() - 1_800_000_000;
        (
            page.runs.iter().map(|run| second(run.id)).collect(),
            page.next.map(|cursor| second(cursor.to_string().parse().unwrap())),
        )
    }

    #[test]
    fn p04_pages_of_several_tasks_merge_without_gaps() {
        assert_eq!(
            merged_seconds(vec![page(&[9, 5], false), page(&[8, 4], false)], 10),
            (vec![9, 8, 5, 4], None)
        );
        assert_eq!(merged_seconds(vec![page(&[9, 5], true), page(&[8, 4], true)], 2), (vec![9, 8], Some(8)));
        // The first has more runs behind 7, which may be newer than 4.
        assert_eq!(
            merged_seconds(vec![page(&[9, 7], true), page(&[8, 4], false)], 10),
            (vec![9, 8, 7], Some(7))
        );
        assert_eq!(merged_seconds(Vec::new(), 10), (vec![], None));
    }
}
