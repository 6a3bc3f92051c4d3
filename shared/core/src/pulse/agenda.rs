//! The agenda of a pulse: the ticks and tasks that it considers. It follows from the plan, the time, and the
//! state that the last pulse stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    GRACE,
    plan::{Driver, Plan, PlannedTask, run_id},
    record::GivenUpTicks,
    round::{DueTick, wanted},
    state::{State, WaitingTick, kept},
};
use crate::{
    catch_up::CatchUp,
    definition::Cron,
    name::TaskName,
    schedule::{Due, PULSE, due},
};

/// The time zones of a plan, by name.
pub type Zones = BTreeMap<String, TimeZone>;

/// The range of the first pulse, which covers its own minute only.
const FIRST: Duration = Duration::from_secs(60);
/// The number of further tasks whose states are read in each pulse, to find lost runs.
const OTHERS: usize = 100;

/// The agenda of a pulse.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Agenda<'a> {
    /// The due ticks: by priority, then by task, oldest first.
    pub pending: Vec<DueTick<'a>>,
    /// The tasks whose own schedule functions are called.
    pub asked: Vec<DueTick<'a>>,
    /// Ticks that EventBridge had to start. The pulse checks that they had their runs.
    pub expected: Vec<ExpectedTick<'a>>,
    /// Ticks that are given up. Some of them may already have had a run.
    pub given_up: Vec<GivenUpTicks>,
    /// Tasks that are only checked for lost runs.
    pub others: Vec<&'a TaskName>,
    /// The last of those tasks, from which the next pulse continues.
    pub cursor: Option<TaskName>,
    /// Faults of the plan. The tasks at fault are left out.
    pub faults: Vec<String>,
}

/// A tick that EventBridge had to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedTick<'a> {
    /// Its task.
    pub task: &'a PlannedTask,
    /// The tick.
    pub tick: Timestamp,
}

impl Agenda<'_> {
    /// Returns the tasks whose states are to be read.
    pub fn tasks(&self) -> BTreeSet<TaskName> {
        let mut tasks: BTreeSet<_> = wanted(&self.pending).into_iter().cloned().collect();
        tasks.extend(self.expected.iter().map(|expected| expected.task.name().clone()));
        tasks.extend(self.given_up.iter().map(|given_up| given_up.task.clone()));
        tasks.extend(self.others.iter().map(|name| (*name).clone()));
        tasks
    }

    /// Returns the agenda of one task only.
    pub fn only(mut self, task: &TaskName) -> Self {
        self.pending.retain(|tick| tick.task.name() == task);
        self.asked.retain(|tick| tick.task.name() == task);
        self.expected.retain(|expected| expected.task.name() == task);
        self.given_up.retain(|given_up| given_up.task == *task);
        self.others.retain(|other| *other == task);
        self
    }
}

/// Builds the agenda: the ticks in (watermark, now], and the ticks that wait since earlier pulses.
///
/// A tick that EventBridge starts is checked [`GRACE`] later, when its run must have started. To find lost
/// runs, each pulse also reads the states of at most 100 further tasks, in turn.
pub fn pulse<'a>(plan: &'a Plan, zones: &Zones, state: &State, now: Timestamp) -> Agenda<'a> {
    let last = state.watermark.unwrap_or_else(|| now.saturating_sub(FIRST).unwrap_or(Timestamp::MIN));
    let mut waiting: BTreeMap<&TaskName, Vec<&WaitingTick>> = BTreeMap::new();
    for tick in &state.waiting {
        waiting.entry(&tick.task).or_default().push(tick);
    }
    let mut found = Agenda {
        pending: Vec::new(),
        asked: Vec::new(),
        expected: Vec::new(),
        given_up: Vec::new(),
        others: Vec::new(),
        cursor: state.cursor.clone(),
        faults: Vec::new(),
    };
    for task in plan.tasks() {
        let Some(cron) = task.cron() else { continue };
        let Some(zone) = zones.get(&cron.timezone) else {
            found.faults.push(format!("{}: there is no time zone `{}`", task.name(), cron.timezone));
            continue;
        };
        match task.driver {
            Driver::Pulse if cron.schedule.is_none() => found.asked.extend(question(task, last, now)),
            Driver::Pulse => {
                let waiting = waiting.remove(task.name()).unwrap_or_default();
                let ticks = match due(cron, task.name(), zone, last, now) {
                    Due::Waiting { .. } => Vec::new(),
                    Due::Come { run, missed, .. } => {
                        found.give_up(task.name(), missed.ticks);
                        run
                    }
                };
                found.add(task, cron, ticks, &waiting, now);
            }
            Driver::Schedule => {
                let early = |time: Timestamp| time.saturating_sub(GRACE).unwrap_or(Timestamp::MIN);
                let tick = newest(cron, task.name(), zone, early(last), early(now));
                found.expected.extend(tick.map(|tick| ExpectedTick { task, tick }));
            }
            Driver::Other => {}
        }
    }
    // Ticks of a task that no longer exists, or that the pulse no longer starts.
    for (task, ticks) in waiting {
        found.give_up(task, ticks.iter().map(|tick| tick.tick).collect());
    }
    found
        .pending
        .sort_by_key(|tick| (tick.task.cron().map(|cron| cron.priority), tick.task.name(), tick.tick));
    for tick in &mut found.pending {
        tick.after = after(tick, plan, zones);
    }
    found.look_round(plan);
    found
}

/// Builds the agenda for tasks that a person starts now, due or not: the named task, or all tasks that the
/// pulse drives.
pub fn forced<'a>(plan: &'a Plan, task: Option<&TaskName>, now: Timestamp) -> Agenda<'a> {
    let chosen = plan.tasks().iter().filter(|it| match task {
        Some(name) => it.name() == name,
        None => it.driver == Driver::Pulse,
    });
    let pending = chosen.map(|task| DueTick { late: false, ..pending(task, now) });
    let mut pending: Vec<_> = pending.collect();
    pending.sort_by_key(|tick| (tick.task.cron().map(|cron| cron.priority), tick.task.name()));
    Agenda {
        pending,
        asked: Vec::new(),
        expected: Vec::new(),
        given_up: Vec::new(),
        others: Vec::new(),
        cursor: None,
        faults: Vec::new(),
    }
}

fn pending(task: &PlannedTask, tick: Timestamp) -> DueTick<'_> {
    DueTick {
        task,
        tick,
        run_id: run_id(task.name(), tick),
        late: false,
        handed: None,
        refused: false,
        after: Vec::new(),
    }
}

/// Returns the tick for which a task's schedule function is called: the current minute; none if an earlier
/// pulse has handled that minute.
fn question(task: &PlannedTask, last: Timestamp, now: Timestamp) -> Option<DueTick<'_>> {
    let minute = Timestamp::from_second(now.as_second().div_euclid(60) * 60).ok()?;
    (minute > last).then(|| pending(task, minute))
}

impl<'a> Agenda<'a> {
    fn give_up(&mut self, task: &TaskName, ticks: Vec<Timestamp>) {
        if !ticks.is_empty() {
            self.given_up.push(GivenUpTicks { task: task.clone(), ticks });
        }
    }

    /// Adds the new and the waiting ticks of a task.
    fn add(
        &mut self,
        task: &'a PlannedTask,
        cron: &Cron,
        ticks: Vec<Timestamp>,
        waiting: &[&WaitingTick],
        now: Timestamp,
    ) {
        if ticks.is_empty() && waiting.is_empty() {
            return;
        }
        let mut all: BTreeMap<_, Option<&WaitingTick>> = ticks.into_iter().map(|tick| (tick, None)).collect();
        all.extend(waiting.iter().map(|waiting| (waiting.tick, Some(*waiting))));
        let (kept, mut given_up) = kept(all.into_iter().collect(), cron.catch_up, cron.overlap, now);
        // As in `due`: a tick that a newer one replaces within the same pulse is not missed.
        if let (Some((successor, _)), CatchUp::None | CatchUp::Last) = (kept.first(), cron.catch_up) {
            given_up.retain(|tick| successor.duration_since(*tick).unsigned_abs() >= PULSE);
        }
        self.give_up(task.name(), given_up);
        let late = kept.len() > 1;
        self.pending.extend(kept.into_iter().map(|(tick, waiting)| DueTick {
            late: late || waiting.is_some(),
            handed: waiting.and_then(|waiting| waiting.handed),
            ..pending(task, tick)
        }));
    }

    /// Chooses the further tasks to check, from where the last pulse stopped.
    fn look_round(&mut self, plan: &'a Plan) {
        let tasks = plan.tasks();
        let chosen = self.tasks();
        let start = self.cursor.as_ref().map_or(0, |last| tasks.partition_point(|task| task.name() <= last));
        let (before, from) = tasks.split_at(start);
        let others = from.iter().chain(before).map(PlannedTask::name).filter(|name| !chosen.contains(*name));
        self.others = others.take(OTHERS).collect();
        self.cursor = self.others.last().map(|name| (*name).clone());
    }
}

/// Returns the newest tick, up to this one and within [`GRACE`], of each dependency that EventBridge starts.
fn after(pending: &DueTick<'_>, plan: &Plan, zones: &Zones) -> Vec<(TaskName, Timestamp)> {
    let dependencies = pending.task.depends_on().iter().filter_map(|name| plan.get(name));
    let ticks = dependencies.filter(|task| task.driver == Driver::Schedule).filter_map(|task| {
        let cron = task.cron()?;
        let start = pending.tick.saturating_sub(GRACE).ok()?;
        let tick = newest(cron, task.name(), zones.get(&cron.timezone)?, start, pending.tick)?;
        Some((task.name().clone(), tick))
    });
    ticks.collect()
}

/// Returns the newest tick in (last, now].
fn newest(
    cron: &Cron,
    name: &TaskName,
    zone: &TimeZone,
    last: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    let newest_only = Cron { catch_up: CatchUp::Last, ..cron.clone() };
    match due(&newest_only, name, zone, last, now) {
        Due::Waiting { .. } => None,
        Due::Come { run, .. } => run.last().copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{Definition, Kind};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn task(name: &str, driver: Driver, change: impl FnOnce(&mut Cron)) -> PlannedTask {
        let mut cron = Cron::new(Some("* * * * *".parse().unwrap()));
        change(&mut cron);
        PlannedTask::new(Definition::new(name.parse().unwrap(), Kind::Cron(cron)), driver)
    }

    fn zones() -> Zones {
        Zones::from([("UTC".to_owned(), TimeZone::UTC)])
    }

    fn since(second: i64) -> State {
        State { watermark: Some(at(second)), ..State::default() }
    }

    fn ticks(found: &Agenda<'_>) -> Vec<i64> {
        found.pending.iter().map(|tick| tick.tick.as_second()).collect()
    }

    #[test]
    fn c21_each_catch_up_policy_applies_after_ten_minutes() {
        for (policy, due, missed) in [
            ("none", vec![1200], 9),
            ("last", vec![1200], 9),
            ("all within 5m", vec![960, 1020, 1080, 1140, 1200], 5),
            ("all within 1h", (660..=1200).step_by(60).collect(), 0),
        ] {
            let plan =
                Plan::from(vec![task("a", Driver::Pulse, |cron| cron.catch_up = policy.parse().unwrap())]);
            let found = pulse(&plan, &zones(), &since(630), at(1230));
            assert_eq!(ticks(&found), due, "{policy}");
            assert_eq!(found.given_up.iter().map(|it| it.ticks.len()).sum::<usize>(), missed, "{policy}");
            assert!(found.pending.iter().all(|tick| tick.late == (due.len() > 1)));
        }
    }

    #[test]
    fn a_tick_of_seconds_superseded_while_it_waits_is_not_missed() {
        let plan = Plan::from(vec![task("a", Driver::Pulse, |cron| {
            cron.schedule = Some("every 1 seconds".parse().unwrap());
        })]);
        let waits = |tick| {
            let (why, handed) = (super::super::WaitReason::Handed, Some(at(tick)));
            let waiting = vec![WaitingTick { task: "a".parse().unwrap(), tick: at(tick), why, handed }];
            State { waiting, ..since(629) }
        };
        for (tick, missed) in [(629, 0), (560, 1)] {
            let state = waits(tick);
            let found = pulse(&plan, &zones(), &state, at(630));
            assert_eq!((ticks(&found), found.given_up.len()), (vec![630], missed), "{tick}");
        }
    }

    #[test]
    fn c22_a_tick_of_eventbridge_is_checked_once_it_must_have_begun() {
        let plan = Plan::from(vec![task("a", Driver::Schedule, |_| {})]);
        let found = pulse(&plan, &zones(), &since(600), at(660));
        assert_eq!(ticks(&found), [] as [i64; 0]);
        assert_eq!(found.expected.iter().map(|it| it.tick.as_second()).collect::<Vec<_>>(), [480]);
    }

    #[test]
    fn a_dynamic_schedule_is_evaluated_once_a_minute() {
        let plan = Plan::from(vec![task("a", Driver::Pulse, |cron| cron.schedule = None)]);
        let asked = |last, now| pulse(&plan, &zones(), &since(last), at(now)).asked.len();
        assert_eq!([asked(600, 610), asked(590, 610), asked(10, 610)], [0, 1, 1]);
    }

    #[test]
    fn every_task_is_checked_in_turn() {
        let never = |cron: &mut Cron| cron.schedule = Some("0 0 1 1 *".parse().unwrap());
        let tasks = (0..250).map(|i| task(&format!("t{i}"), Driver::Pulse, never));
        let plan = Plan::from(tasks.collect::<Vec<_>>());
        let (mut state, mut seen) = (since(100_000_000), BTreeSet::new());
        for _ in 0..3 {
            let found = pulse(&plan, &zones(), &state, at(100_000_060));
            assert_eq!((found.others.len(), found.tasks().len()), (OTHERS, OTHERS));
            seen.extend(found.tasks());
            state.cursor = found.cursor;
        }
        assert_eq!(seen.len(), 250);
    }

    #[test]
    fn an_unknown_time_zone_and_a_removed_task_are_reported() {
        let lost = task("a", Driver::Pulse, |cron| cron.timezone = "Mars/Olympus".into());
        let (plan, mut state) = (Plan::from(vec![lost]), since(600));
        state.waiting.push(WaitingTick {
            task: "gone".parse().unwrap(),
            tick: at(540),
            why: super::super::WaitReason::Refused,
            handed: None,
        });
        let found = pulse(&plan, &zones(), &state, at(660));
        assert_eq!(found.faults, ["a: there is no time zone `Mars/Olympus`"]);
        assert_eq!(found.given_up, [GivenUpTicks { task: "gone".parse().unwrap(), ticks: vec![at(540)] }]);
    }
}
