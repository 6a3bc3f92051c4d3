//! The log groups of a stack in AWS, read as one log.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::logs::{Line, Logs, LogsError};
use lamplighter_core::{id::RunId, name::TaskName};

use crate::stack::each_task::each;

/// The longest delay of a line: lines that were written up to this much later may arrive before it.
const LATE: Duration = Duration::from_secs(30);

/// The logs of some tasks of a stack, or the lines of one run in them.
#[derive(Debug)]
pub struct CloudLog {
    logs: Logs,
    stack: String,
    tasks: Vec<TaskName>,
    run: Option<RunId>,
}

/// The position in a followed log.
#[derive(Debug)]
pub struct LogPosition {
    from: Timestamp,
    seen: HashSet<Line>,
}

impl CloudLog {
    /// The logs of these tasks, or the lines of one run.
    pub fn new(logs: Logs, stack: String, tasks: Vec<TaskName>, run: Option<RunId>) -> Self {
        Self { logs, stack, tasks, run }
    }

    /// Reads the newest lines, at most `limit`, in order of time.
    pub async fn newest(&self, limit: usize, now: Timestamp) -> Result<Vec<Line>, LogsError> {
        let of = async |task| self.logs.newest(&self.group(task), self.run, limit, now).await;
        let mut lines = self.all(of).await?;
        lines.drain(..lines.len().saturating_sub(limit));
        Ok(lines)
    }

    /// Reads the lines that arrived since the last call, in order of time.
    pub async fn fresh(&self, position: &mut LogPosition) -> Result<Vec<Line>, LogsError> {
        let from = position.from;
        let of = async |task| self.logs.since(&self.group(task), self.run, from).await;
        Ok(position.fresh(self.all(of).await?))
    }

    /// The log group of a task's function, as the template names it.
    fn group(&self, task: &TaskName) -> String {
        format!("/aws/lambda/{}-{task}", self.stack)
    }

    /// Reads the lines of all tasks. Missing log groups are ignored if another group exists: those tasks may not be
    /// deployed yet.
    async fn all<'a>(
        &'a self,
        of: impl AsyncFn(&'a TaskName) -> Result<Vec<Line>, LogsError>,
    ) -> Result<Vec<Line>, LogsError> {
        let of = &of;
        let found = each(&self.tasks, |task| async move {
            match of(task).await {
                Err(LogsError::NoGroup(group)) => Ok(Err(LogsError::NoGroup(group))),
                other => other.map(Ok),
            }
        });
        let mut found = found.await?;
        if !found.is_empty() && found.iter().all(Result::is_err) {
            return found.swap_remove(0);
        }
        let mut lines: Vec<_> = found.into_iter().flatten().flatten().collect();
        lines.sort_by_key(|line| line.at);
        Ok(lines)
    }
}

impl LogPosition {
    /// The position after the newest `lines` at `now`. `limited` is true if older lines were left out.
    pub fn after(lines: &[Line], limited: bool, now: Timestamp) -> Self {
        let late = now.checked_sub(LATE).unwrap_or(now);
        let oldest = lines.first().filter(|_| limited).map_or(late, |line| line.at.max(late));
        Self { from: oldest, seen: lines.iter().cloned().collect() }
    }

    /// Keeps the lines that were not seen before.
    fn fresh(&mut self, mut lines: Vec<Line>) -> Vec<Line> {
        lines.retain(|line| self.seen.insert(line.clone()));
        let newest = self.seen.iter().map(|line| line.at).max();
        let late = newest.and_then(|newest| newest.checked_sub(LATE).ok());
        self.from = self.from.max(late.unwrap_or(self.from));
        self.seen.retain(|line| line.at >= self.from);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: i64, text: &str) -> Line {
        let at = Timestamp::from_second(1_800_000_000 + second).unwrap();
        Line { id: String::new(), at, text: text.to_owned() }
    }

    #[test]
    fn a_late_line_is_printed_and_no_line_twice() {
        let now = line(100, "").at;
        let mut position = LogPosition::after(&[line(98, "a")], false, now);
        assert_eq!(position.from, line(70, "").at);
        assert_eq!(position.fresh(vec![line(98, "a"), line(101, "b")]), [line(101, "b")]);
        assert_eq!(position.fresh(vec![line(98, "a"), line(99, "late"), line(101, "b")]), [line(99, "late")]);
        assert_eq!(position.fresh(vec![line(140, "c")]), [line(140, "c")]);
        assert_eq!((position.from, position.seen.len()), (line(110, "").at, 1));
    }

    #[test]
    fn lines_that_the_limit_left_out_are_not_printed_later() {
        let now = line(100, "").at;
        assert_eq!(LogPosition::after(&[line(98, "a")], true, now).from, line(98, "").at);
        assert_eq!(LogPosition::after(&[line(10, "a")], true, now).from, line(70, "").at);
    }
}
