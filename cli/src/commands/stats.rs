//! `lamplighter stats`: counts, success rate and durations of recent runs.

use std::{collections::BTreeMap, ops::Range};

use jiff::Timestamp;
use lamplighter_aws::table::{Counted, UnreadableItem};
use lamplighter_core::{name::TaskName, statistics::Window, status::Status};
use serde::Serialize;

use crate::{
    arguments::names,
    stack::{each_task, target::Place},
    terminal::{
        output,
        show::{table, unreadable},
    },
    tr,
    words::Words,
};

/// Shown in place of a rate or a duration of no runs.
const NONE: &str = "-";

/// Shows counts, success rate and durations of recent runs.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter stats purge-expired --window week")]
pub(crate) struct Arguments {
    /// Only this task.
    task: Option<String>,
    /// The time range: the last hour, day, week (7 days) or month (30 days). All but the hour begin with a full hour.
    #[arg(long, default_value_t = Window::Day)]
    window: Window,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// The statistics of one task, as `--json` prints them. Durations are of runs whose body ran; none if there are none.
#[derive(Debug, Serialize)]
struct TaskStatistics {
    task: TaskName,
    window: Window,
    from: Timestamp,
    until: Timestamp,
    total: u64,
    by_status: BTreeMap<Status, u64>,
    /// In percent, of the runs that were not skipped; none if there are none.
    success_rate: Option<f64>,
    average_ms: Option<u64>,
    p50_ms: Option<u64>,
    p99_ms: Option<u64>,
    min_ms: Option<u64>,
    max_ms: Option<u64>,
    failure_streak: u64,
    unreadable: Vec<UnreadableItem>,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let catalog = super::catalog_with(&arguments.place, arguments.task.as_deref())?;
    let tasks = names::tasks(words, &catalog, arguments.task.as_deref())?;
    let now = Timestamp::now();
    let range = arguments.window.before(now);
    let counted = super::runtime()?.block_on(async {
        let target = arguments.place.open(&catalog).await?;
        let counted = each_task::statistics(&target.table, &tasks, &range, now).await;
        target.close(words).await;
        anyhow::Ok(counted?)
    })?;
    let listed: Vec<_> = tasks
        .into_iter()
        .zip(counted)
        .map(|(task, counted)| statistics_of(task, arguments.window, &range, counted))
        .collect();
    for task in &listed {
        unreadable(words, &task.unreadable);
    }
    if arguments.json {
        output::plain(serde_json::to_string_pretty(&listed)?);
        return Ok(());
    }
    for line in lines(words, &listed) {
        output::line(line);
    }
    Ok(())
}

fn statistics_of(
    task: TaskName,
    window: Window,
    range: &Range<Timestamp>,
    counted: Counted,
) -> TaskStatistics {
    let Counted { statistics, failure_streak, unreadable } = counted;
    let durations = &statistics.durations;
    let is_tried = statistics.total() > statistics.of(Status::Skipped);
    // At most 1000, so an f64 is exact.
    let permille = u16::try_from(statistics.success_permille()).unwrap_or(1000);
    let measured = |ms: u64| (durations.count > 0).then_some(ms);
    TaskStatistics {
        task,
        window,
        from: range.start,
        until: range.end,
        total: statistics.total(),
        success_rate: is_tried.then(|| f64::from(permille) / 10.0),
        average_ms: measured(durations.average_ms()),
        p50_ms: measured(durations.percentile_ms(50)),
        p99_ms: measured(durations.percentile_ms(99)),
        min_ms: measured(durations.min_ms),
        max_ms: measured(durations.max_ms),
        by_status: statistics.by_status,
        failure_streak,
        unreadable,
    }
}

/// A line of headings, then a line for each task.
fn lines(words: &Words, listed: &[TaskStatistics]) -> Vec<String> {
    let percent = |rate: f64| tr!(words, "stats-percent", rate = words.decimal(&rate.to_string()));
    let duration = |ms: Option<u64>| ms.map_or_else(|| NONE.to_owned(), |ms| words.duration(ms));
    let mut rows = vec![[
        tr!(words, "stats-task"),
        tr!(words, "stats-runs"),
        tr!(words, "stats-success"),
        tr!(words, "stats-average"),
        tr!(words, "stats-p50"),
        tr!(words, "stats-p99"),
        tr!(words, "stats-streak"),
        String::new(),
    ]];
    rows.extend(listed.iter().map(|task| {
        let statuses =
            task.by_status.iter().map(|(status, count)| format!("{} {count}", words.status(*status)));
        [
            task.task.to_string(),
            task.total.to_string(),
            task.success_rate.map_or_else(|| NONE.to_owned(), percent),
            duration(task.average_ms),
            duration(task.p50_ms),
            duration(task.p99_ms),
            task.failure_streak.to_string(),
            statuses.collect::<Vec<_>>().join(", "),
        ]
    }));
    table(words, 0, &rows)
}

#[cfg(test)]
mod tests {
    use lamplighter_core::statistics::Statistics;

    use super::*;
    use crate::words::Locale;

    #[test]
    fn p05_the_table_of_statistics_reads_well() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut statistics = Statistics::default();
        for (status, ms) in [
            (Status::Completed, 50),
            (Status::Completed, 60),
            (Status::Completed, 40),
            (Status::Failed, 2000),
        ] {
            statistics.count(status, Some(ms));
        }
        let some = Counted { statistics, failure_streak: 1, unreadable: Vec::new() };
        let range = Window::Day.before(now);
        let listed = |name: &str, counted| statistics_of(name.parse().unwrap(), Window::Day, &range, counted);
        let listed = [listed("purge-expired", some), listed("warm-cache", Counted::default())];
        assert_eq!(
            (listed[0].success_rate, listed[1].success_rate, listed[1].p99_ms),
            (Some(75.0), None, None)
        );
        let lines = lines(&Words::new(Locale::En), &listed);
        assert_eq!(
            lines,
            [
                "task           runs  success  average  p50    p99    failures in a row",
                "purge-expired  4     75 %     537 ms   50 ms  2.0 s  1                  COMPLETED 3, FAILED 1",
                "warm-cache     0     -        -        -      -      0",
            ]
        );
    }
}
