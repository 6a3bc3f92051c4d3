//! One question to many tasks at once, so that a list of a hundred takes no longer than one of ten.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use lamplighter_aws::table::{Table, TableError, Unreadable};
use lamplighter_core::{claim::TaskState, name::TaskName};

/// How many are asked at once.
const AT_ONCE: usize = 16;

/// Asks each task; the answers are in the tasks' order. The first error ends it.
pub async fn each<'a, T, E, F: Future<Output = Result<T, E>>>(
    tasks: impl IntoIterator<Item = &'a TaskName>,
    ask: impl FnMut(&'a TaskName) -> F,
) -> Result<Vec<T>, E> {
    stream::iter(tasks).map(ask).buffered(AT_ONCE).try_collect().await
}

/// A task's state, once the records of its lost runs are written. One that does not parse is told by its key, and counts as
/// that of a task which never ran.
pub async fn settled(
    table: &Table,
    task: &TaskName,
    now: Timestamp,
) -> Result<(TaskState, Option<Unreadable>), TableError> {
    let state = match table.state(task).await {
        Ok(state) => state,
        Err(TableError::Malformed { key, cause, .. }) => {
            return Ok((TaskState::default(), Some(Unreadable { key, cause })));
        }
        Err(error) => return Err(error),
    };
    Ok((table.settle(task, state, now).await?, None))
}
