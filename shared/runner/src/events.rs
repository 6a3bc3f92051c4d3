//! The events of a runner, for its reporter.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_core::{name::TaskName, status::Status};
use lamplighter_local::LogLine;

/// An event of a runner.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// These tasks were built; their next runs have the new code.
    Built(&'a [TaskName]),
    /// The sources do not build, for this reason; the old code stays in place.
    BuildFailed(&'a str),
    /// The sources are polled, since they cannot be watched for this reason.
    Polling(&'a str),
    /// Ticks of a task did not begin in time.
    Missed {
        /// The task.
        task: &'a TaskName,
        /// The number of ticks.
        ticks: usize,
        /// The last of them.
        last: Timestamp,
    },
    /// A side task has begun.
    SideBegan(&'a TaskName),
    /// A side task has ended, with this status.
    SideEnded(&'a TaskName, Status),
    /// A side task runs in another runner.
    SideElsewhere(&'a TaskName),
    /// The runner begins nothing new. The invocations that run have this time to finish.
    Stopping {
        /// The number of invocations that run.
        running: usize,
        /// The time they have.
        grace: Duration,
    },
    /// The runner has stopped.
    Stopped,
    /// This runner took over the table from a process that ended.
    TableInherited,
    /// The table cannot be closed yet: another process uses it through this one.
    TableInUse,
    /// Something failed that the runner goes on without.
    Warning(&'a str),
}

/// Shows the events of a runner and the lines of its tasks. No call may wait.
pub trait Reporter: Send + Sync {
    /// A line that a function printed, and the text of it that is kept in its log file.
    fn line(&self, line: &LogLine, text: &str);

    /// An event.
    fn event(&self, event: &Event<'_>);

    /// A warning.
    fn warn(&self, text: &str) {
        self.event(&Event::Warning(text));
    }
}
