//! The time from which each task's schedule is known. Earlier ticks have no run, and are not missed.
//!
//! A deployment changes the pulse's plan last, after all functions and schedules. So a schedule becomes known
//! once its deployment is complete.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{
    agenda::Agenda,
    plan::{Plan, schedule_word},
    state::WaitingTick,
};
use crate::{
    claim::{KnownSchedule, TaskState},
    name::TaskName,
};

/// The maximum time before a pulse from which a new schedule counts as known: the interval between two pulses.
const BEFORE: Duration = Duration::from_secs(60);

/// Returns the tasks whose schedules are new or changed, each with the time from which its schedule is known.
/// This is the time of the last pulse, at most a minute before `now`. The last pulse handled all ticks up to
/// `watermark`.
pub fn newly_known(
    plan: &Plan,
    states: &BTreeMap<TaskName, TaskState>,
    watermark: Option<Timestamp>,
    now: Timestamp,
) -> Vec<(TaskName, KnownSchedule)> {
    let earliest = now.saturating_sub(BEFORE).unwrap_or(Timestamp::MIN);
    let since = watermark.map_or(earliest, |watermark| watermark.clamp(earliest, now));
    let cron = plan.tasks().iter().filter_map(|task| Some((task.name(), task.cron()?)));
    let new = cron.filter_map(|(name, cron)| {
        let schedule = schedule_word(cron);
        let before = states.get(name)?.known.as_ref();
        if before.is_some_and(|known| known.schedule == schedule) {
            return None;
        }
        Some((name.clone(), KnownSchedule { schedule, since, is_changed: before.is_some() }))
    });
    new.collect()
}

impl Agenda<'_> {
    /// Removes the ticks from before their tasks' schedules were known. Waiting ticks stay, since they belong
    /// to the schedule of their time. Returns the number of due ticks that were removed.
    pub fn leave_out_unknown(
        &mut self,
        states: &BTreeMap<TaskName, TaskState>,
        waiting: &[WaitingTick],
    ) -> usize {
        let is_known = |task: &TaskName, tick: Timestamp| {
            let known = states.get(task).and_then(|state| state.known.as_ref());
            known.is_none_or(|known| known.since <= tick)
                || waiting.iter().any(|waiting| waiting.task == *task && waiting.tick == tick)
        };
        let due = self.pending.len();
        self.pending.retain(|pending| is_known(pending.task.name(), pending.tick));
        self.expected.retain(|expected| is_known(expected.task.name(), expected.tick));
        for given_up in &mut self.given_up {
            let task = &given_up.task;
            given_up.ticks.retain(|tick| is_known(task, *tick));
        }
        self.given_up.retain(|given_up| !given_up.ticks.is_empty());
        due - self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::{
        catch_up::CatchUp,
        definition::{Cron, Definition, Kind},
        pulse::{Driver, PlannedTask, State, WaitReason, Zones, pulse},
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn task(name: &str, schedule: &str, driver: Driver, catch_up: CatchUp) -> PlannedTask {
        let cron = Cron { catch_up, ..Cron::new(Some(schedule.parse().unwrap())) };
        PlannedTask::new(Definition::new(name.parse().unwrap(), Kind::Cron(cron)), driver)
    }

    fn known(schedule: &str, since: i64) -> TaskState {
        let known =
            KnownSchedule { schedule: format!("{schedule} UTC"), since: at(since), is_changed: false };
        TaskState { known: Some(known), ..TaskState::default() }
    }

    /// The result of a pulse at 1230 s for ticks of each minute, after one at `watermark`: ticks that run,
    /// missed ticks, and expected ticks.
    fn pulsed(
        driver: Driver,
        catch_up: &str,
        before: &TaskState,
        watermark: Option<i64>,
    ) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
        let name: TaskName = "a".parse().unwrap();
        let plan = Plan::from(vec![task("a", "* * * * *", driver, catch_up.parse().unwrap())]);
        let mut states = BTreeMap::from([(name.clone(), before.clone())]);
        let watermark = watermark.map(at);
        for (name, known) in newly_known(&plan, &states, watermark, at(1230)) {
            states.get_mut(&name).unwrap().known = Some(known);
        }
        let zones = Zones::from([("UTC".to_owned(), TimeZone::UTC)]);
        let state = State { watermark, ..State::default() };
        let mut found = pulse(&plan, &zones, &state, at(1230));
        found.leave_out_unknown(&states, &[]);
        let seconds = |ticks: &mut dyn Iterator<Item = Timestamp>| ticks.map(Timestamp::as_second).collect();
        (
            seconds(&mut found.pending.iter().map(|it| it.tick)),
            seconds(&mut found.given_up.iter().flat_map(|it| it.ticks.clone())),
            seconds(&mut found.expected.iter().map(|it| it.tick)),
        )
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "it is one table")]
    fn o08_a_tick_from_before_its_schedule_was_known_is_neither_run_nor_missed() {
        let (new, every_minute) = (TaskState::default(), "* * * * *");
        let none: Vec<i64> = Vec::new();
        let minutes = |from: i64, to: i64| (from..=to).step_by(60).collect::<Vec<_>>();
        for (what, driver, catch_up, before, watermark, run, missed, expected) in [
            // The table is new, or was created again.
            ("new table", Driver::Pulse, "last", &new, None, vec![1200], none.clone(), none.clone()),
            (
                "new table, all",
                Driver::Pulse,
                "all within 1h",
                &new,
                None,
                vec![1200],
                none.clone(),
                none.clone(),
            ),
            (
                "new table, EventBridge",
                Driver::Schedule,
                "last",
                &new,
                None,
                none.clone(),
                none.clone(),
                none.clone(),
            ),
            // The task is new or renamed, and the pulse was away for ten minutes.
            ("new task", Driver::Pulse, "last", &new, Some(630), vec![1200], none.clone(), none.clone()),
            (
                "new task, none",
                Driver::Pulse,
                "none",
                &new,
                Some(630),
                vec![1200],
                none.clone(),
                none.clone(),
            ),
            (
                "new task, all",
                Driver::Pulse,
                "all within 1h",
                &new,
                Some(630),
                vec![1200],
                none.clone(),
                none.clone(),
            ),
            (
                "new task, EventBridge",
                Driver::Schedule,
                "last",
                &new,
                Some(1170),
                none.clone(),
                none.clone(),
                none.clone(),
            ),
            // The task had another schedule.
            (
                "changed",
                Driver::Pulse,
                "all within 1h",
                &known("0 3 * * *", 0),
                Some(630),
                vec![1200],
                none.clone(),
                none.clone(),
            ),
            (
                "changed, EventBridge",
                Driver::Schedule,
                "last",
                &known("0 3 * * *", 0),
                Some(1170),
                none.clone(),
                none.clone(),
                none.clone(),
            ),
            // The schedule is known for some minutes, or for longer.
            (
                "known",
                Driver::Pulse,
                "last",
                &known(every_minute, 990),
                Some(630),
                vec![1200],
                minutes(1020, 1140),
                none.clone(),
            ),
            (
                "known, all",
                Driver::Pulse,
                "all within 1h",
                &known(every_minute, 990),
                Some(630),
                minutes(1020, 1200),
                none.clone(),
                none.clone(),
            ),
            (
                "known, EventBridge",
                Driver::Schedule,
                "last",
                &known(every_minute, 0),
                Some(1170),
                none.clone(),
                none.clone(),
                vec![1020],
            ),
            (
                "just known, EventBridge",
                Driver::Schedule,
                "last",
                &known(every_minute, 1021),
                Some(1170),
                none.clone(),
                none.clone(),
                none.clone(),
            ),
        ] {
            assert_eq!(pulsed(driver, catch_up, before, watermark), (run, missed, expected), "{what}");
        }
    }

    #[test]
    fn a_waiting_tick_survives_a_change_of_its_schedule() {
        let plan = Plan::from(vec![task("a", "0 3 * * *", Driver::Pulse, CatchUp::Last)]);
        let name: TaskName = "a".parse().unwrap();
        let waiting =
            vec![WaitingTick { task: name.clone(), tick: at(600), why: WaitReason::Running, handed: None }];
        let state = State { watermark: Some(at(1170)), waiting: waiting.clone(), ..State::default() };
        let zones = Zones::from([("UTC".to_owned(), TimeZone::UTC)]);
        let mut found = pulse(&plan, &zones, &state, at(1230));
        let states = BTreeMap::from([(name, known("0 3 * * *", 1170))]);
        assert_eq!(found.leave_out_unknown(&states, &waiting), 0);
        assert_eq!(found.pending.iter().map(|it| it.tick).collect::<Vec<_>>(), [at(600)]);
        assert_eq!(found.leave_out_unknown(&states, &[]), 1);
    }

    #[test]
    fn a_plan_is_identified_by_its_names_and_schedules() {
        let plan = |name, schedule, driver| Plan::from(vec![task(name, schedule, driver, CatchUp::Last)]);
        let first = plan("a", "@daily", Driver::Pulse);
        assert_eq!(first.digest(), plan("a", "@daily", Driver::Schedule).digest());
        assert_ne!(first.digest(), plan("b", "@daily", Driver::Pulse).digest());
        assert_ne!(first.digest(), plan("a", "@hourly", Driver::Pulse).digest());
        let states = BTreeMap::from([("a".parse().unwrap(), known("@daily", 7))]);
        assert_eq!(newly_known(&first, &states, None, at(1230)), []);
        let changed = newly_known(&plan("a", "@hourly", Driver::Pulse), &states, Some(at(1200)), at(1230));
        let wanted = KnownSchedule { schedule: "@hourly UTC".into(), since: at(1200), is_changed: true };
        assert_eq!(changed, [("a".parse().unwrap(), wanted)]);
    }
}
