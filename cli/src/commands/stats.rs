//! `lamplighter stats`: how the tasks have fared of late.

use std::{collections::BTreeMap, ops::Range};

use jiff::Timestamp;
use lamplighter_aws::table::{Counted, UnreadableItem};
use lamplighter_core::{name::TaskName, statistics::Window, status::Status};
use serde::Serialize;

use crate::{
    lookup, many, output,
    show::{table, unreadable},
    target::Place,
    tr,
    words::Words,
};

/// Tells how many runs there were, how many of them completed, and how long they took.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter stats purge-expired --window week")]
pub(crate) struct Arguments {
    /// Only this task.
    task: Option<String>,
    /// How far back: hour, day, week (7 days) or month (30 days).
    #[arg(long, default_value_t = Window::Day)]
    window: Window,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// What is told of a task. Durations are of the runs whose body was run.
#[derive(Debug, Serialize)]
struct Told {
    task: TaskName,
    window: Window,
    from: Timestamp,
    until: Timestamp,
    total: u64,
    by_status: BTreeMap<Status, u64>,
    /// In percent, of the runs that were not skipped.
    success_rate: f64,
    average_ms: u64,
    p50_ms: u64,
    p99_ms: u64,
    min_ms: u64,
    max_ms: u64,
    failure_streak: u64,
    unreadable: Vec<UnreadableItem>,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    let tasks = lookup::tasks(words, &workspace, arguments.task.as_deref())?;
    let now = Timestamp::now();
    let range = arguments.window.before(now);
    let counted = super::runtime()?.block_on(async {
        let target = arguments.place.open(&workspace).await?;
        let counted = many::each(&tasks, |task| target.table.statistics(task, &range, now)).await;
        target.close().await;
        anyhow::Ok(counted?)
    })?;
    let told: Vec<_> = tasks
        .into_iter()
        .zip(counted)
        .map(|(task, counted)| told(task, arguments.window, &range, counted))
        .collect();
    for task in &told {
        unreadable(words, &task.unreadable);
    }
    if arguments.json {
        output::plain(serde_json::to_string_pretty(&told)?);
        return Ok(());
    }
    for line in lines(words, &told) {
        output::line(line);
    }
    Ok(())
}

fn told(task: TaskName, window: Window, range: &Range<Timestamp>, counted: Counted) -> Told {
    let Counted { statistics, failure_streak, unreadable } = counted;
    let durations = &statistics.durations;
    // A permille is at most 1000: it has an exact f64.
    let permille = u16::try_from(statistics.success_permille()).unwrap_or(1000);
    Told {
        task,
        window,
        from: range.start,
        until: range.end,
        total: statistics.total(),
        success_rate: f64::from(permille) / 10.0,
        average_ms: durations.average_ms(),
        p50_ms: durations.percentile_ms(50),
        p99_ms: durations.percentile_ms(99),
        min_ms: durations.min_ms,
        max_ms: durations.max_ms,
        by_status: statistics.by_status,
        failure_streak,
        unreadable,
    }
}

/// A line of headings, then one a task.
fn lines(words: &Words, told: &[Told]) -> Vec<String> {
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
    rows.extend(told.iter().map(|task| {
        let statuses =
            task.by_status.iter().map(|(status, count)| format!("{} {count}", words.status(*status)));
        [
            task.task.to_string(),
            task.total.to_string(),
            tr!(words, "stats-percent", rate = words.decimal(&task.success_rate.to_string())),
            words.duration(task.average_ms),
            words.duration(task.p50_ms),
            words.duration(task.p99_ms),
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
        let told = |name: &str, counted| told(name.parse().unwrap(), Window::Day, &range, counted);
        let told = [told("purge-expired", some), told("warm-cache", Counted::default())];
        assert_eq!((told[0].success_rate, told[1].success_rate.to_string()), (75.0, "0".to_owned()));
        let lines = lines(&Words::new(Locale::En), &told);
        assert_eq!(
            lines,
            [
                "task           runs  success  average  p50    p99    failures in a row",
                "purge-expired  4     75 %     537 ms   50 ms  2.0 s  1                  COMPLETED 3, FAILED 1",
                "warm-cache     0     0 %      0 ms     0 ms   0 ms   0",
            ]
        );
    }
}
