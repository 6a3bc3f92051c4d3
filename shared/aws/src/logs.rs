//! The logs of functions, in CloudWatch Logs.

use std::{collections::VecDeque, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_cloudwatchlogs::{Client, operation::filter_log_events::FilterLogEventsError};
use jiff::Timestamp;
use lamplighter_core::id::RunId;

use crate::clients::cause;

/// The periods that are searched for the newest lines, one after the other. The service returns the oldest lines first,
/// and a log group may have lines of many months.
const STEPS: [Duration; 3] =
    [Duration::from_secs(3600), Duration::from_secs(24 * 3600), Duration::from_secs(7 * 24 * 3600)];
/// The maximum time by which a function's clock may lag behind the clock of the process that created the run's id.
const SKEW: Duration = Duration::from_secs(60);

/// The logs of an account.
#[derive(Clone, Debug)]
pub struct Logs {
    client: Client,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// An id that distinguishes it from lines with the same text and time.
    pub id: String,
    /// When it was written.
    pub at: Timestamp,
    /// The line without its end.
    pub text: String,
}

/// A log that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// There is no such log group.
    #[error("there is no log group `{0}`: no function of that name is deployed in this account and region")]
    NoGroup(String),
    /// The error of the service or the network.
    #[error("the log group `{group}` cannot be read: {cause}")]
    Unread {
        /// The log group.
        group: String,
        /// The error.
        cause: String,
    },
}

/// A part of a log group, including its ends.
#[derive(Clone, Copy)]
struct Part {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    run: Option<RunId>,
}

impl Logs {
    /// The logs that `config`'s account has.
    pub fn new(config: &SdkConfig) -> Self {
        Self { client: Client::new(config) }
    }

    /// The newest lines of a log group, at most `limit`, oldest first: all, or those of one run.
    pub async fn newest(
        &self,
        group: &str,
        run: Option<RunId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Line>, LogsError> {
        let mut found = VecDeque::new();
        for part in parts(run, now) {
            let mut lines = VecDeque::new();
            let wanted = limit - found.len();
            let keep = |line| {
                lines.push_back(line);
                if lines.len() > wanted {
                    lines.pop_front();
                }
            };
            self.read(group, part, keep).await?;
            lines.append(&mut found);
            found = lines;
            if found.len() >= limit {
                break;
            }
        }
        Ok(found.into())
    }

    /// The lines from a time on, oldest first: all, or those of one run.
    pub async fn since(
        &self,
        group: &str,
        run: Option<RunId>,
        from: Timestamp,
    ) -> Result<Vec<Line>, LogsError> {
        let mut lines = Vec::new();
        self.read(group, Part { from: Some(from), to: None, run }, |line| lines.push(line)).await?;
        Ok(lines)
    }

    /// Passes every line of a part to `keep`, page by page.
    async fn read(&self, group: &str, part: Part, mut keep: impl FnMut(Line)) -> Result<(), LogsError> {
        let mut pages = self
            .client
            .filter_log_events()
            .log_group_name(group)
            .set_start_time(part.from.map(Timestamp::as_millisecond))
            .set_end_time(part.to.map(Timestamp::as_millisecond))
            // A task logs JSON with the run's id in it.
            .set_filter_pattern(part.run.map(|run| format!("{{ $.run_id = \"{run}\" }}")))
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| match error.as_service_error() {
                Some(FilterLogEventsError::ResourceNotFoundException(_)) => {
                    LogsError::NoGroup(group.to_owned())
                }
                _ => LogsError::Unread { group: group.to_owned(), cause: cause(&error) },
            })?;
            for event in page.events.unwrap_or_default() {
                let at = event.timestamp.and_then(|ms| Timestamp::from_millisecond(ms).ok());
                let text = event.message.unwrap_or_default();
                keep(Line {
                    id: event.event_id.unwrap_or_default(),
                    at: at.unwrap_or(Timestamp::UNIX_EPOCH),
                    text: text.trim_end_matches(['\r', '\n']).to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// The parts of a log group in which the newest lines are looked for, the newest first.
fn parts(run: Option<RunId>, now: Timestamp) -> Vec<Part> {
    if let Some(id) = run {
        let from = id.made_at().checked_sub(SKEW).ok();
        return vec![Part { from, to: None, run }];
    }
    let mut to = None;
    let mut parts = Vec::new();
    for step in STEPS {
        let from = now.checked_sub(step).ok();
        parts.push(Part { from, to, run });
        to = from.and_then(|from| from.checked_sub(Duration::from_millis(1)).ok());
    }
    parts.push(Part { from: None, to, run });
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_log_group_have_each_time_once_and_the_newest_first() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let parts = parts(None, now);
        let ends: Vec<_> = parts.iter().map(|part| (part.from, part.to)).collect();
        assert_eq!((ends[0].1, ends.last().unwrap().0), (None, None));
        for pair in ends.windows(2) {
            assert_eq!(pair[1].1.unwrap().as_millisecond() + 1, pair[0].0.unwrap().as_millisecond());
        }
        assert_eq!(ends[0].0, Some("2026-11-21T11:00:00Z".parse().unwrap()));
    }

    #[test]
    fn the_lines_of_a_run_begin_a_minute_before_its_id() {
        let made: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let run = RunId::new(made, 7);
        let [part] = parts(Some(run), Timestamp::MAX)[..] else { panic!("one part") };
        assert_eq!((part.from, part.to), (Some("2026-11-21T11:59:00Z".parse().unwrap()), None));
    }
}
