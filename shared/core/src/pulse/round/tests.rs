//! Actions for a tick, case by case, and over hours of pulses that fail.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::{
    catch_up::CatchUp,
    claim::{Decision, Fence, LastRun, Occasion, Refusal, Request, claim},
    definition::{Cron, Definition, Kind},
    holder::Holder,
    pulse::{Driver, Plan, State, Zones, keep, pulse, run_id},
    run::ErrorKind,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn cron(name: &str, change: impl FnOnce(&mut Cron)) -> PlannedTask {
    let mut cron = Cron::new(Some("* * * * *".parse().unwrap()));
    change(&mut cron);
    PlannedTask::new(Definition::new(name.parse().unwrap(), Kind::Cron(cron)), Driver::Pulse)
}

fn tick(task: &PlannedTask, second: i64) -> DueTick<'_> {
    let tick = at(second);
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

fn seen(states: impl IntoIterator<Item = (&'static str, TaskState)>) -> Snapshot {
    let states = states.into_iter().map(|(name, state)| (name.parse().unwrap(), state));
    Snapshot { states: states.collect(), runs: BTreeMap::new() }
}

fn last(status: Status) -> TaskState {
    TaskState { last_run: Some(LastRun { run_id: RunId::new(at(0), 1), status }), ..TaskState::default() }
}

fn running(second: i64) -> TaskState {
    let lease = Lease {
        run_id: RunId::new(at(second), 7),
        holder: Holder::default(),
        until: at(second + 900),
        started_at: at(second),
        trigger: Trigger::Schedule,
        scheduled_for: Some(at(second)),
        cancelled: false,
    };
    TaskState { lease: Some(lease), last_tick: Some(at(second)), ..TaskState::default() }
}

fn only(pending: &DueTick<'_>, seen: &Snapshot, now: i64) -> TickAction {
    round(std::slice::from_ref(pending), seen, at(now)).remove(0)
}

#[test]
fn c06_a_lower_priority_starts_after_the_higher_ones_have_begun() {
    let order = ["background", "low", "medium", "high", "critical"];
    let tasks = order.map(|word| cron(word, |cron| cron.priority = word.parse().unwrap()));
    let mut pending: Vec<_> = tasks.iter().map(|task| tick(task, 600)).collect();
    let mut seen = seen(order.map(|word| (word, TaskState::default())));
    for front in (0..5).rev() {
        let steps = round(&pending, &seen, at(610));
        for (place, step) in steps.iter().enumerate() {
            let wanted = match place.cmp(&front) {
                std::cmp::Ordering::Less => TickAction::Wait(WaitReason::Priority),
                std::cmp::Ordering::Equal => TickAction::Invoke,
                std::cmp::Ordering::Greater => TickAction::Follow,
            };
            assert_eq!(*step, wanted, "{} behind {}", order[place], order[front]);
        }
        pending[front].handed = Some(at(610));
        assert_eq!(round(&pending, &seen, at(611))[front], TickAction::Wait(WaitReason::Handed));
        assert!(
            !round(&pending, &seen, at(611)).contains(&TickAction::Invoke),
            "{} has not begun",
            order[front]
        );
        if front > 0 {
            assert_eq!(
                round(&pending, &seen, at(616))[front - 1],
                TickAction::Invoke,
                "the head start of the higher priority is over"
            );
        }
        seen.states.insert(order[front].parse().unwrap(), running(600));
    }
}

#[test]
fn c10_the_last_run_of_a_dependency_decides() {
    let task = cron("b", |cron| cron.depends_on = vec!["a".parse().unwrap()]);
    let b = tick(&task, 600);
    let blocked = |a: TaskState| match only(&b, &seen([("a", a), ("b", TaskState::default())]), 610) {
        TickAction::Record(run) => {
            assert_eq!((run.status, run.scheduled_for, run.id), (Status::Blocked, Some(at(600)), b.run_id));
            let error = run.error.unwrap();
            assert_eq!(error.kind, ErrorKind::Dependency);
            error.message
        }
        step => panic!("{step:?}"),
    };
    assert_eq!(blocked(TaskState::default()), "`a` has never run, and this task depends on it");
    for status in [Status::Failed, Status::Timeout, Status::Cancelled, Status::Blocked] {
        let message = blocked(last(status));
        assert!(message.contains(&format!("the last run of `a` ended {status}")), "{message}");
    }
    let step = |a: TaskState| only(&b, &seen([("a", a), ("b", TaskState::default())]), 610);
    assert_eq!(step(last(Status::Completed)), TickAction::Invoke);
    let awaited = TickAction::Wait(WaitReason::Dependency("a".parse().unwrap()));
    assert_eq!(step(running(600)), awaited, "it is running for the same time");
    assert_eq!(
        step(TaskState { last_run: last(Status::Completed).last_run, ..running(605) }),
        TickAction::Invoke,
        "the run in progress is for a later tick"
    );
}

#[test]
fn c10_the_same_ticks_of_a_dependency_come_first() {
    let (a, b) = (cron("a", |_| {}), cron("b", |cron| cron.depends_on = vec!["a".parse().unwrap()]));
    let both = [tick(&a, 600), tick(&b, 600)];
    let mut seen = seen([("a", last(Status::Completed)), ("b", TaskState::default())]);
    let awaited = TickAction::Wait(WaitReason::Dependency("a".parse().unwrap()));
    assert_eq!(round(&both, &seen, at(610)), [TickAction::Invoke, awaited.clone()]);
    // A dependency that EventBridge starts is awaited for as long as its tick may be late.
    let b = DueTick { after: vec![("a".parse().unwrap(), at(600))], ..tick(&b, 600) };
    assert_eq!(only(&b, &seen, 610), awaited);
    assert_eq!(only(&b, &seen, 781), TickAction::Invoke);
    seen.states.get_mut(&"a".parse::<TaskName>().unwrap()).unwrap().last_tick = Some(at(600));
    assert_eq!(only(&b, &seen, 610), TickAction::Invoke);
}

#[test]
fn c05_a_disabled_tasks_tick_is_skipped_with_its_reason() {
    let task = cron("a", |_| {});
    let disabled = TaskState { disabled: true, ..TaskState::default() };
    match only(&tick(&task, 600), &seen([("a", disabled)]), 610) {
        TickAction::Record(run) => {
            assert_eq!((run.status, run.skipped_reason.as_deref()), (Status::Skipped, Some("disabled")));
            assert_eq!(run.why, Some(Reason::Disabled));
        }
        step => panic!("{step:?}"),
    }
}

#[test]
fn c20_a_tick_begun_by_another_delivery_is_followed_and_not_started() {
    let task = cron("a", |_| {});
    assert_eq!(only(&tick(&task, 600), &seen([("a", running(600))]), 610), TickAction::Follow);
    let over = TaskState { last_tick: Some(at(600)), ..TaskState::default() };
    assert_eq!(only(&tick(&task, 600), &seen([("a", over)]), 610), TickAction::Over(None));
    let mut ended = seen([("a", TaskState::default())]);
    ended.runs.insert(run_id(task.name(), at(600)), Status::Failed);
    assert_eq!(only(&tick(&task, 600), &ended, 610), TickAction::Over(Some(Status::Failed)));
}

#[test]
fn a_tick_during_a_run_follows_the_overlap_policy() {
    for (overlap, late, wanted) in [
        (Overlap::Skip, false, TickAction::Invoke),
        (Overlap::Skip, true, TickAction::Wait(WaitReason::Running)),
        (Overlap::Allow, true, TickAction::Invoke),
        (Overlap::Buffer, false, TickAction::Wait(WaitReason::Running)),
        (Overlap::Replace, false, TickAction::Invoke),
        (Overlap::Replace, true, TickAction::Wait(WaitReason::Running)),
    ] {
        let task = cron("a", |cron| cron.overlap = overlap);
        let pending = DueTick { late, ..tick(&task, 600) };
        assert_eq!(only(&pending, &seen([("a", running(540))]), 610), wanted, "{overlap} {late}");
        assert_eq!(only(&pending, &seen([("a", TaskState::default())]), 610), TickAction::Invoke);
    }
}

#[test]
fn a_task_whose_item_cannot_be_read_waits_and_the_others_run() {
    let (a, b) = (cron("a", |_| {}), cron("b", |_| {}));
    let steps = round(&[tick(&a, 600), tick(&b, 600)], &seen([("b", TaskState::default())]), at(610));
    assert_eq!(steps, [TickAction::Wait(WaitReason::Unreadable("a".parse().unwrap())), TickAction::Invoke]);
}

#[test]
fn an_accepted_invocation_that_does_not_begin_is_repeated_later() {
    let task = cron("a", |_| {});
    let pending = DueTick { handed: Some(at(610)), ..tick(&task, 600) };
    let seen = seen([("a", TaskState::default())]);
    assert_eq!(only(&pending, &seen, 900), TickAction::Wait(WaitReason::Handed));
    assert_eq!(only(&pending, &seen, 910), TickAction::Invoke);
}

/// A simulation of the table and of the functions that the pulse invokes.
struct World {
    states: BTreeMap<TaskName, TaskState>,
    runs: BTreeMap<RunId, Status>,
    in_progress: Vec<(TaskName, RunId, Fence, Timestamp)>,
    /// The ticks that had a run, one entry for each run.
    had: Vec<(TaskName, Timestamp)>,
    /// The ticks that were recorded without a run, one entry for each record.
    recorded: Vec<(TaskName, Timestamp)>,
    /// The ticks that were reported as missed.
    missed: Vec<(TaskName, Timestamp)>,
}

impl World {
    fn seen(&self) -> Snapshot {
        Snapshot { states: self.states.clone(), runs: self.runs.clone() }
    }

    fn invoke(&mut self, pending: &DueTick<'_>, now: Timestamp, takes: i64) {
        let name = pending.task.name();
        let request = Request {
            run_id: pending.run_id,
            holder: format!("{}-{now}", pending.run_id).into(),
            trigger: Trigger::Pulse,
            occasion: Occasion::Tick(pending.tick),
            overlap: pending.task.definition.overlap(),
            runs_once: false,
            now,
            until: now + Duration::from_secs(1000),
        };
        let state = self.states.get_mut(name).unwrap();
        match claim(state, &request) {
            Decision::Granted(grant) => {
                self.had.push((name.clone(), pending.tick));
                *state = std::mem::take(state).claimed(&request, grant.fence);
                let end = now + Duration::from_secs(takes.unsigned_abs());
                self.in_progress.push((name.clone(), pending.run_id, grant.fence, end));
            }
            Decision::Refused(Refusal::PreviousInstanceRunning { .. }) => {
                self.runs.insert(pending.run_id, Status::Skipped);
                self.recorded.push((name.clone(), pending.tick));
            }
            Decision::Refused(_) => {}
        }
    }

    fn pass(&mut self, now: Timestamp) {
        let (over, rest) = std::mem::take(&mut self.in_progress).into_iter().partition(|run| run.3 <= now);
        self.in_progress = rest;
        for (name, run_id, fence, _) in Vec::from_iter::<Vec<_>>(over) {
            self.runs.insert(run_id, Status::Completed);
            let state = self.states.get_mut(&name).unwrap();
            *state = std::mem::take(state).released(run_id, fence, Status::Completed);
        }
    }
}

/// The conditions of one simulated pulse.
#[derive(Clone, Debug)]
struct Minute {
    /// There is no pulse.
    down: bool,
    /// The pulse is killed before it stores its state.
    killed: bool,
    /// Functions refuse invocations.
    throttled: bool,
    /// The duration of runs that start in this pulse, in seconds.
    takes: i64,
}

fn minutes() -> impl Strategy<Value = Vec<Minute>> {
    let minute = (0..4_u8, 0..6_u8, 0..4_u8, prop::sample::select(vec![1_i64, 20, 130]));
    let minute = minute.prop_map(|(down, killed, throttled, takes)| Minute {
        down: down == 0,
        killed: killed == 0,
        throttled: throttled == 0,
        takes,
    });
    prop::collection::vec(minute, 1..60)
}

fn policies() -> impl Strategy<Value = (CatchUp, Overlap)> {
    let within = CatchUp::All { within: Duration::from_secs(600) };
    let catch_up = prop::sample::select(vec![CatchUp::None, CatchUp::Last, within]);
    let overlap = vec![Overlap::Skip, Overlap::Allow, Overlap::Buffer, Overlap::Replace];
    (catch_up, prop::sample::select(overlap))
}

proptest! {
    /// Invariant 2, and no tick is lost: if pulses are killed, missing or throttled, each tick still has one
    /// run, has one record without a run, is reported as missed, or waits.
    #[test]
    fn each_tick_is_counted_once(minutes in minutes(), policies in prop::collection::vec(policies(), 1..4)) {
        let plan = Plan::from(policies.iter().enumerate().map(|(i, (catch_up, overlap))| {
            cron(&format!("t{i}"), |cron| (cron.catch_up, cron.overlap) = (*catch_up, *overlap))
        }).collect::<Vec<_>>());
        let zones = Zones::from([("UTC".to_owned(), TimeZone::UTC)]);
        let names: Vec<TaskName> = plan.tasks().iter().map(|task| task.name().clone()).collect();
        let mut world = World {
            states: names.iter().map(|name| (name.clone(), TaskState::default())).collect(),
            runs: BTreeMap::new(), in_progress: vec![], had: vec![], recorded: vec![], missed: vec![],
        };
        let mut state = State { watermark: Some(at(30)), ..State::default() };
        // Ticks that a killed pulse gave up. Such a tick is not reported as missed if a newer tick of its task
        // had a run.
        let mut unreported = BTreeSet::new();
        for (i, minute) in minutes.iter().enumerate() {
            let mut now = at(90 + 60 * i64::try_from(i).unwrap());
            world.pass(now);
            if minute.down {
                continue;
            }
            let considered = pulse(&plan, &zones, &state, now);
            let before = world.states.clone();
            let mut pending = considered.pending;
            for _ in 0..50 {
                let steps = round(&pending, &world.seen(), now);
                let idle = !steps.iter().any(|step| matches!(step, TickAction::Invoke | TickAction::Over(_)));
                let mut left = Vec::new();
                for (mut tick, step) in pending.into_iter().zip(steps) {
                    match step {
                        TickAction::Invoke if minute.throttled => {
                            tick.refused = true;
                            left.push(tick);
                        }
                        TickAction::Invoke => {
                            world.invoke(&tick, now, minute.takes);
                            tick.handed = Some(now);
                            left.push(tick);
                        }
                        TickAction::Over(_) => {}
                        TickAction::Wait(_) | TickAction::Follow => left.push(tick),
                        TickAction::Record(run) => prop_assert!(false, "{run:?}"),
                    }
                }
                pending = left;
                now += Duration::from_secs(1);
                world.pass(now);
                if idle {
                    break;
                }
            }
            if minute.killed {
                for given_up in &considered.given_up {
                    unreported.extend(given_up.ticks.iter().map(|tick| (given_up.task.clone(), *tick)));
                }
                continue;
            }
            let seen = world.seen();
            let steps = round(&pending, &seen, now);
            let waiting = pending.into_iter().zip(steps).filter_map(|(tick, step)| match step {
                TickAction::Wait(why) => Some((tick, why)),
                // The run that it waited for ended after the last round. The next pulse invokes the tick.
                TickAction::Invoke => Some((tick, WaitReason::Running)),
                _ => None,
            });
            let left: Vec<_> = waiting.collect();
            let watermark = at(90 + 60 * i64::try_from(i).unwrap());
            let (kept, given_up) = keep(&left, considered.cursor, watermark);
            state = kept;
            for it in considered.given_up.iter().chain(&given_up) {
                let is_recorded = |task: &TaskName, tick| seen.runs.contains_key(&run_id(task, tick));
                let missed = it.clone().without_run(before[&it.task].last_tick, is_recorded);
                world.missed.extend(missed.ticks.into_iter().map(|tick| (it.task.clone(), tick)));
            }
        }
        let mut once: Vec<_> = world.had.iter().chain(&world.recorded).cloned().collect();
        let all = once.len();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), all, "a tick has two runs or records");
        let reported: BTreeSet<_> = world.missed.iter().cloned().collect();
        prop_assert_eq!(reported.len(), world.missed.len(), "a tick is reported as missed twice");
        let waiting: BTreeSet<_> = state.waiting.iter().map(|it| (it.task.clone(), it.tick)).collect();
        let last = state.watermark.unwrap().as_second();
        for tick in (60..=last).step_by(60).map(at) {
            for name in &names {
                let tick = (name.clone(), tick);
                let had = once.binary_search(&tick).is_ok();
                prop_assert!(!(had && reported.contains(&tick)), "{:?} had its run and is reported as missed", tick);
                let is_after = |(other, newer): &&(TaskName, Timestamp)| other == name && *newer > tick.1;
                let is_unreported = unreported.contains(&tick) && once.iter().any(|it| is_after(&it));
                let is_known = had || reported.contains(&tick) || waiting.contains(&tick) || is_unreported;
                prop_assert!(is_known, "{:?} is forgotten: {:?}", tick, state);
            }
        }
    }
}
