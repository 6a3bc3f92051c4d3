//! `lamplighter next`: the coming runs of the cron tasks, with the clock changes between them.

use anyhow::bail;
use jiff::{SignedDuration, Timestamp, civil::DateTime};
use lamplighter_core::{
    coming::{UpcomingEvent, coming},
    definition::{Cron, Definition},
    duration,
    name::TaskName,
    schedule::put_off,
};
use serde::Serialize;

use crate::{
    arguments::{names, time::zone_of},
    terminal::{output, show::wrapped},
    tr,
    words::Words,
};

/// Lists the coming runs of cron tasks, and the clock changes.
///
/// Times are in each task's own zone. Settings made at run time with `set` are not considered.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter next purge-expired --days 30")]
pub(crate) struct Arguments {
    /// Only this task.
    task: Option<String>,
    /// The number of days to look ahead.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=3660))]
    days: u16,
    /// The maximum number of runs to list for each task.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    /// The environment. Overrides `environment` in lamplighter.toml.
    #[arg(long)]
    environment: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// The coming runs of one task, as `--json` prints them.
#[derive(Debug, Serialize)]
struct ComingRuns {
    task: TaskName,
    /// None if the task has a schedule function.
    schedule: Option<String>,
    timezone: String,
    /// The delay of each run by the task's jitter.
    put_off_ms: u64,
    coming: Vec<UpcomingEvent>,
    /// True if `--limit` left out some runs.
    more: bool,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let catalog = super::catalog(None)?;
    let named = arguments.task.as_deref().map(|task| names::task(words, &catalog, task)).transpose()?;
    let project = super::project(&catalog, arguments.environment.as_deref())?;
    let definitions = super::definitions(project, named.as_ref());
    let now = Timestamp::now();
    let until = now.saturating_add(SignedDuration::from_hours(24 * i64::from(arguments.days)))?;
    let limit = usize::from(arguments.limit);
    let cron = definitions.iter().filter_map(|definition| Some((definition, definition.cron()?)));
    let listed = cron.map(|(definition, cron)| coming_runs(definition, cron, now, until, limit));
    let listed = listed.collect::<anyhow::Result<Vec<_>>>()?;
    if let (Some(task), true) = (&named, listed.is_empty()) {
        bail!("{}", tr!(words, "next-unscheduled", task = task));
    }
    if arguments.json {
        output::plain(serde_json::to_string_pretty(&listed)?);
        return Ok(());
    }
    if listed.is_empty() {
        output::line(tr!(words, "next-none"));
    }
    let lines = listed.iter().flat_map(|task| lines(words, task, now));
    for line in lines.flat_map(|line| wrapped(words, 2, &line)) {
        output::line(line);
    }
    Ok(())
}

fn coming_runs(
    definition: &Definition,
    cron: &Cron,
    now: Timestamp,
    until: Timestamp,
    limit: usize,
) -> anyhow::Result<ComingRuns> {
    let zone = zone_of(cron)?;
    let mut all = Vec::new();
    if let Some(schedule) = &cron.schedule {
        all = coming(schedule, &zone, now, until, limit + 1);
    }
    let is_tick = |coming: &&UpcomingEvent| matches!(coming, UpcomingEvent::Tick { .. });
    let more = all.iter().filter(is_tick).count() > limit;
    if more {
        all.pop();
    }
    Ok(ComingRuns {
        task: definition.name.clone(),
        schedule: cron.schedule.as_ref().map(|schedule| schedule.as_str().to_owned()),
        timezone: cron.timezone.clone(),
        put_off_ms: duration::millis(put_off(cron, &definition.name)),
        coming: all,
        more,
    })
}

/// A heading, and a line for each run and each clock change.
fn lines(words: &Words, listed: &ComingRuns, now: Timestamp) -> Vec<String> {
    let schedule = listed.schedule.as_ref().and_then(|schedule| schedule.parse().ok());
    let heading =
        schedule.map_or_else(|| tr!(words, "tasks-by-function"), |schedule| words.schedule(&schedule));
    let zone = &listed.timezone;
    let mut lines = vec![tr!(words, "next-heading", task = listed.task, schedule = heading, zone = zone)];
    if listed.put_off_ms > 0 {
        lines.push(format!("  {}", tr!(words, "next-put-off", by = words.duration(listed.put_off_ms))));
    }
    lines.extend(listed.coming.iter().map(|coming| {
        let line = match coming {
            UpcomingEvent::Tick { at, local } => {
                tr!(
                    words,
                    "next-tick",
                    local = words.local(*local),
                    utc = words.time(*at),
                    far = words.from_now(*at, now)
                )
            }
            UpcomingEvent::Forward { at, minutes, left_out } => {
                let (at, times) = (words.time(*at), times(words, left_out));
                if left_out.is_empty() {
                    tr!(words, "next-forward", at = at, minutes = *minutes)
                } else {
                    tr!(words, "next-forward-without", at = at, minutes = *minutes, times = times)
                }
            }
            UpcomingEvent::Back { at, minutes, once } => {
                let (at, times) = (words.time(*at), times(words, once));
                if once.is_empty() {
                    tr!(words, "next-back", at = at, minutes = *minutes)
                } else {
                    tr!(words, "next-back-once", at = at, minutes = *minutes, times = times)
                }
            }
        };
        format!("  {line}")
    }));
    if listed.more {
        lines.push(format!("  {}", tr!(words, "next-more")));
    } else if listed.schedule.is_some() && listed.coming.is_empty() {
        lines.push(format!("  {}", tr!(words, "next-nothing")));
    }
    lines
}

fn times(words: &Words, all: &[DateTime]) -> String {
    let times: Vec<_> = all.iter().map(|local| local.strftime("%H:%M").to_string()).collect();
    words.list(&times)
}

#[cfg(test)]
mod tests {
    use lamplighter_core::definition::Kind;

    use super::*;
    use crate::words::Locale;

    #[test]
    fn k05_the_coming_runs_read_well_with_their_clock_changes() {
        let cron =
            Cron { timezone: "Europe/Vienna".to_owned(), ..Cron::new(Some("30 2 * * *".parse().unwrap())) };
        let definition = Definition::new("purge-expired".parse().unwrap(), Kind::Cron(cron));
        let now: Timestamp = "2026-10-24T12:00:00Z".parse().unwrap();
        let listed = |now: Timestamp, days: i64, limit| {
            let until = now.saturating_add(SignedDuration::from_hours(24 * days)).unwrap();
            coming_runs(&definition, definition.cron().unwrap(), now, until, limit).unwrap()
        };
        let words = Words::new(Locale::En);
        let autumn = lines(&words, &listed(now, 2, 50), now);
        let spring: Timestamp = "2026-03-28T12:00:00Z".parse().unwrap();
        let spring = lines(&words, &listed(spring, 2, 50), spring);
        insta::assert_snapshot!([autumn, spring].concat().join("\n"), @r"
        purge-expired: every day at 02:30, Europe/Vienna
          Sun 2026-10-25 02:30  (2026-10-25T00:30:00Z, in 12 hours)
          2026-10-25T01:00:00Z: the clocks go back by 60 minutes: 02:30 occurs twice, and the task runs the first time
          Mon 2026-10-26 02:30  (2026-10-26T01:30:00Z, in 37 hours)
        purge-expired: every day at 02:30, Europe/Vienna
          2026-03-29T01:00:00Z: the clocks go forward by 60 minutes: 02:30 does not exist and has no run
          Mon 2026-03-30 02:30  (2026-03-30T00:30:00Z, in 36 hours)
        ");
        let some = listed(now, 7, 2);
        assert_eq!((some.coming.len(), some.more), (3, true), "two runs and the clock change between them");
    }
}
