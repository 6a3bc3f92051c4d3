//! `lamplighter why`: why a task ran at some time, or did not.

use anyhow::bail;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use lamplighter_aws::table::{History, Table, UnreadableItem};
use lamplighter_core::{
    claim::TaskState,
    definition::{Cron, Definition},
    name::TaskName,
    run::Run,
    settings::Settings,
    why::{Answer, Around, Question, why},
};
use serde::Serialize;

use crate::{
    arguments::{
        names,
        time::{When, zone_of},
    },
    stack::{each_task, target::Place},
    terminal::{
        output,
        show::{sign, unreadable, wrapped},
    },
    tr,
    words::Words,
};

/// The number of pulse runs that are searched for a missed tick: those of about seventeen hours.
const PULSES: u16 = 1000;

/// Explains why a task ran at a time, or why it did not.
///
/// It may have been disabled, blocked, kept out by another run, missed, or not due.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter why purge-expired 06:00")]
pub(crate) struct Arguments {
    /// The task.
    task: String,
    /// The time: `06:00` (today), `2026-11-21T06:00`, `2h` (ago), or `2026-11-21T06:00:00Z`. Without a zone, the time is
    /// in the task's zone. Default: the task's last scheduled time.
    time: Option<When>,
    /// The environment. Overrides `environment` in lamplighter.toml.
    #[arg(long)]
    environment: Option<String>,
    /// Prints JSON: the question, the answer, and the records that support it.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// The answer to `why`, with its evidence.
#[derive(Debug, Serialize)]
struct Explanation {
    task: String,
    at: Timestamp,
    timezone: String,
    #[serde(flatten)]
    answer: Answer,
    ticks: Around,
    /// The records of runs for that time.
    records: Vec<Run>,
    enabled: bool,
    /// The next scheduled time from now on.
    next: Option<Timestamp>,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let catalog = super::catalog(Some(&arguments.place))?;
    let name = names::task(words, &catalog, &arguments.task)?;
    let project = super::project(&catalog, arguments.environment.as_deref())?;
    let Some(definition) = super::definitions(project, Some(&name)).pop() else {
        bail!("the task `{name}` does not describe itself")
    };
    let now = Timestamp::now();
    let (explanation, ignored) = super::runtime()?.block_on(async {
        let target = arguments.place.open(&catalog).await?;
        let explanation = explain(&target.table, definition, arguments.time, now).await;
        target.close(words).await;
        explanation
    })?;
    unreadable(words, &ignored);
    if arguments.json {
        output::plain(serde_json::to_string_pretty(&explanation)?);
        return Ok(());
    }
    let (mark, style) = sign(explanation.answer.status());
    // The mark and a space are as wide as the indentation of the lines below.
    let sentences = wrapped(words, 0, &format!("  {}", sentence(words, &explanation)));
    for (i, line) in sentences.iter().enumerate() {
        match i {
            0 => output::line(format!("{style}{mark}{style:#} {}", line.trim_start())),
            _ => output::line(line),
        }
    }
    for line in evidence(words, &explanation, now) {
        for line in wrapped(words, 2, &format!("  {line}")) {
            output::line(line);
        }
    }
    Ok(())
}

async fn explain(
    table: &Table,
    definition: Definition,
    time: Option<When>,
    now: Timestamp,
) -> anyhow::Result<(Explanation, Vec<UnreadableItem>)> {
    let (state, ignored) = each_task::settled(table, &definition.name, now).await?;
    let mut ignored: Vec<_> = ignored.into_iter().collect();
    // A schedule that was set at run time overrides the task's own.
    let settings = state.settings.as_deref().map(Settings::parse).transpose();
    let definition = settings.unwrap_or_default().unwrap_or_default().applied_to(definition);
    let cron = definition.cron();
    let zone = cron.map_or(Ok(TimeZone::UTC), zone_of)?;
    let next = cron.and_then(|cron| around(cron, &zone, now).after);
    let last = || cron.and_then(|cron| around(cron, &zone, now).before);
    let at = match time {
        Some(when) => when.instant(now, &zone),
        None => last().unwrap_or(now),
    };
    let ticks = cron.map(|cron| around(cron, &zone, at)).unwrap_or_default();
    let runs = runs(table, &definition, at, &mut ignored).await?;
    let noted_at = if ticks.exact && at < now { noted_at(table, &definition.name, at).await? } else { None };
    let existed = ticks.exact && at < now && existed(table, &definition.name, at).await?;
    let question =
        Question { definition: &definition, state: &state, at, ticks, runs: &runs, noted_at, existed, now };
    let answer = why(&question);
    let TaskState { disabled, .. } = state;
    let id = answer.run_id();
    let records =
        runs.into_iter().filter(|run| run.scheduled_for == Some(at) || Some(run.id) == id).collect();
    let timezone = cron.map_or_else(|| "UTC".to_owned(), |cron| cron.timezone.clone());
    let task = definition.name.to_string();
    Ok((Explanation { task, at, timezone, answer, ticks, records, enabled: !disabled, next }, ignored))
}

/// Returns the ticks around a time. A task with a schedule function has one each minute.
fn around(cron: &Cron, zone: &TimeZone, at: Timestamp) -> Around {
    let moment = SignedDuration::from_millis(1);
    let Some(schedule) = &cron.schedule else {
        let second = at.as_second() - at.as_second().rem_euclid(60);
        let minute = |second: i64| Timestamp::from_second(second).ok();
        let exact = minute(second) == Some(at);
        return Around {
            exact,
            before: minute(if exact { second - 60 } else { second }),
            after: minute(second + 60),
        };
    };
    let just_before = at.checked_sub(moment).unwrap_or(at);
    Around {
        exact: schedule.next_after(zone, just_before) == Some(at),
        before: schedule.last_before(zone, at),
        after: schedule.next_after(zone, at),
    }
}

/// Returns the runs that were triggered at a time or in the following week. The search stops after the first hour if it
/// finds the tick's run.
async fn runs(
    table: &Table,
    definition: &Definition,
    at: Timestamp,
    ignored: &mut Vec<UnreadableItem>,
) -> anyhow::Result<Vec<Run>> {
    let later = |hours| at.saturating_add(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::MAX);
    // The clocks of two machines may differ by this much.
    let early = at.saturating_sub(SignedDuration::from_secs(2)).unwrap_or(at);
    let mut all: Vec<Run> = Vec::new();
    for (from, until) in [(early, later(1)), (later(1), later(7 * 24))] {
        let wanted =
            History { from: Some(from), until: Some(until), ..History::of(definition.name.clone(), 1000) };
        let page = table.history(&wanted).await?;
        ignored.extend(page.unreadable);
        all.extend(page.runs);
        if all.iter().any(|run| run.scheduled_for == Some(at)) {
            break;
        }
    }
    Ok(all)
}

/// Returns true if the task has a record from before a time.
async fn existed(table: &Table, task: &TaskName, at: Timestamp) -> anyhow::Result<bool> {
    let before = History { until: Some(at), ..History::of(task.clone(), 1) };
    let page = table.history(&before).await?;
    Ok(!page.runs.is_empty() || !page.unreadable.is_empty())
}

/// Returns when a recent pulse run recorded the tick as missed.
async fn noted_at(table: &Table, task: &TaskName, at: Timestamp) -> anyhow::Result<Option<Timestamp>> {
    let pulses = table.pulses(PULSES).await?.records;
    let noted = pulses.into_iter().find(|pulse| {
        pulse.misses.iter().any(|missed| missed.task == *task && missed.first <= at && at <= missed.last)
    });
    Ok(noted.map(|pulse| pulse.started_at))
}

/// Puts the answer into one sentence.
fn sentence(words: &Words, explanation: &Explanation) -> String {
    let (task, at) = (&explanation.task, words.time(explanation.at));
    match &explanation.answer {
        Answer::Ran { status, reason: None, .. } => {
            tr!(words, "why-ran", task = task, at = at, status = *status)
        }
        Answer::Ran { status, reason: Some(reason), .. } => {
            tr!(words, "why-ran-but", task = task, at = at, status = *status, reason = words.recorded(reason))
        }
        Answer::CaughtUp { status, late_ms, .. } => {
            let late = words.duration(*late_ms);
            tr!(words, "why-caught-up", task = task, at = at, status = *status, late = late)
        }
        Answer::Running { since, .. } => tr!(words, "why-running", task = task, at = at, since = *since),
        Answer::Lost { reason, .. } => {
            tr!(words, "why-lost", task = task, at = at, reason = words.recorded(reason))
        }
        Answer::Disabled { run_id: Some(_) } => tr!(words, "why-disabled", task = task, at = at),
        Answer::Disabled { run_id: None } => tr!(words, "why-disabled-now", task = task, at = at),
        Answer::Blocked { reason, .. } => {
            tr!(words, "why-blocked", task = task, at = at, reason = words.recorded(reason))
        }
        Answer::Skipped { by: Some(by), .. } => {
            tr!(words, "why-skipped-by", task = task, at = at, run = *by)
        }
        Answer::Skipped { reason, .. } => {
            tr!(words, "why-skipped", task = task, at = at, reason = words.recorded(reason))
        }
        Answer::Missed { instead: None, .. } => tr!(words, "why-missed", task = task, at = at),
        Answer::Missed { instead: Some(_), .. } => tr!(words, "why-missed-for", task = task, at = at),
        Answer::NotThereYet { since: None, is_changed: false } => {
            tr!(words, "why-not-there", task = task, at = at)
        }
        Answer::NotThereYet { since: None, is_changed: true } => {
            tr!(words, "why-new-schedule", task = task, at = at)
        }
        Answer::NotThereYet { since: Some(since), is_changed: false } => {
            tr!(words, "why-not-there-until", task = task, at = at, since = *since)
        }
        Answer::NotThereYet { since: Some(since), is_changed: true } => {
            tr!(words, "why-other-schedule", task = task, at = at, since = *since)
        }
        Answer::NotAsked => tr!(words, "why-not-asked", task = task, at = at),
        Answer::Waiting => tr!(words, "why-waiting", task = task, at = at),
        Answer::Future { disabled: false } => tr!(words, "why-future", task = task, at = at),
        Answer::Future { disabled: true } => tr!(words, "why-future-disabled", task = task, at = at),
        Answer::NotDue { .. } => tr!(words, "why-not-due", task = task, at = at),
        Answer::Unscheduled => tr!(words, "why-unscheduled", task = task),
        Answer::Forgotten => tr!(words, "why-forgotten", task = task, at = at),
    }
}

/// Lists the evidence for the answer.
fn evidence(words: &Words, explanation: &Explanation, now: Timestamp) -> Vec<String> {
    let mut lines: Vec<_> = explanation
        .records
        .iter()
        .map(|run| {
            let (status, at) = (run.status, run.started_at);
            tr!(words, "why-record", run = run.id, status = status, trigger = run.trigger, at = at)
        })
        .collect();
    if let (Answer::Running { run_id, .. }, true) = (&explanation.answer, explanation.records.is_empty()) {
        lines.push(tr!(words, "why-holder", run = *run_id));
    }
    if let Answer::NotDue { before, after } = &explanation.answer {
        lines.extend(before.map(|at| tr!(words, "why-before", at = at)));
        lines.extend(after.map(|at| tr!(words, "why-after", at = at)));
    }
    if let Some(next) = explanation.next {
        lines.push(tr!(words, "why-next", at = next, far = words.from_now(next, now)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use lamplighter_core::{id::RunId, reason::Reason, status::Status};

    use super::*;
    use crate::words::Locale;

    #[test]
    fn k05_every_answer_is_a_sentence() {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let run_id = RunId::new(at, 0);
        let (status, reason) = (Status::Failed, Reason::Other { text: "the disk is full".into() });
        let answers = [
            Answer::Ran { run_id, status: Status::Completed, reason: None },
            Answer::Ran { run_id, status, reason: Some(reason.clone()) },
            Answer::CaughtUp { run_id, status: Status::Completed, late_ms: 600_000 },
            Answer::Running { run_id, since: at },
            Answer::Lost { run_id, reason: reason.clone() },
            Answer::Disabled { run_id: Some(run_id) },
            Answer::Disabled { run_id: None },
            Answer::Blocked { run_id, reason: reason.clone() },
            Answer::Skipped { run_id, by: Some(run_id), reason: reason.clone() },
            Answer::Skipped { run_id, by: None, reason },
            Answer::Missed { noted_at: None, instead: None },
            Answer::Missed { noted_at: None, instead: Some(run_id) },
            Answer::NotThereYet { since: None, is_changed: false },
            Answer::NotThereYet { since: None, is_changed: true },
            Answer::NotThereYet { since: Some(at), is_changed: false },
            Answer::NotThereYet { since: Some(at), is_changed: true },
            Answer::NotAsked,
            Answer::Waiting,
            Answer::Future { disabled: false },
            Answer::Future { disabled: true },
            Answer::NotDue { before: Some(at), after: Some(at) },
            Answer::Unscheduled,
            Answer::Forgotten,
        ];
        let words = Words::new(Locale::En);
        let sentences = answers.map(|answer| {
            let explanation = Explanation {
                task: "purge-expired".into(),
                at,
                timezone: "UTC".into(),
                answer,
                ticks: Around::default(),
                records: Vec::new(),
                enabled: true,
                next: None,
            };
            sentence(&words, &explanation)
        });
        insta::assert_snapshot!(sentences.join("\n"), @r"
        purge-expired ran for 2027-01-15T08:00:00Z: COMPLETED
        purge-expired ran for 2027-01-15T08:00:00Z: FAILED, the disk is full
        purge-expired ran for 2027-01-15T08:00:00Z, caught up 10 min later: COMPLETED
        purge-expired is in progress for the scheduled time 2027-01-15T08:00:00Z: it started at 2027-01-15T08:00:00Z
        purge-expired started for 2027-01-15T08:00:00Z but never reported an end: the disk is full
        purge-expired did not run for 2027-01-15T08:00:00Z: it was disabled
        purge-expired has no record for 2027-01-15T08:00:00Z, and is now disabled
        purge-expired did not run for 2027-01-15T08:00:00Z: blocked: the disk is full
        purge-expired did not run for 2027-01-15T08:00:00Z: run 01MCC5RM000000000000000000 was in progress
        purge-expired did not run for 2027-01-15T08:00:00Z: the disk is full
        purge-expired missed 2027-01-15T08:00:00Z: no trigger arrived
        purge-expired missed 2027-01-15T08:00:00Z: no trigger arrived, and its next run was for a later time
        purge-expired did not exist yet at 2027-01-15T08:00:00Z: it has no earlier record, and no runner or pulse has seen its schedule
        purge-expired did not have this schedule yet at 2027-01-15T08:00:00Z: no runner or pulse has seen it
        purge-expired did not exist yet at 2027-01-15T08:00:00Z: its schedule was first seen at 2027-01-15T08:00:00Z
        purge-expired did not have this schedule yet at 2027-01-15T08:00:00Z: it was first seen at 2027-01-15T08:00:00Z
        purge-expired did not run for 2027-01-15T08:00:00Z: its schedule function returned false, or was not called
        purge-expired is due for 2027-01-15T08:00:00Z, which is now: its trigger may still arrive
        purge-expired will run for 2027-01-15T08:00:00Z, which is in the future
        purge-expired would be due for 2027-01-15T08:00:00Z, but is disabled
        purge-expired is not due for 2027-01-15T08:00:00Z
        purge-expired has no schedule: deployments, jobs or the runner start it
        purge-expired was due for 2027-01-15T08:00:00Z, but its records of that time have expired
        ");
    }
}
