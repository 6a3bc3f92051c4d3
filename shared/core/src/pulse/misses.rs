//! Ticks that have had no run and will have none.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    agenda::Agenda,
    plan::run_id,
    record::{GivenUpTicks, MissedTicks},
};
use crate::{claim::TaskState, id::RunId, name::TaskName};

/// Ticks that are missed unless a record shows otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissCandidates {
    /// Ticks that are given up, without those up to the newest tick of the task that had a run.
    given_up: Vec<GivenUpTicks>,
    /// Ticks of enabled tasks that EventBridge had to start, without those up to the newest tick that had a run.
    expected: Vec<(TaskName, Timestamp)>,
}

impl MissCandidates {
    /// Finds the candidates of a pulse in its agenda and the tasks' states.
    ///
    /// A tick is not a candidate if its task had a run for it or for a later tick. An expected tick is not a
    /// candidate either if its task is disabled, or if the task's state could not be read.
    pub fn new(agenda: &Agenda<'_>, states: &BTreeMap<TaskName, TaskState>) -> Self {
        let given_up = agenda.given_up.iter().filter_map(|given_up| {
            let last_tick = states.get(&given_up.task).and_then(|state| state.last_tick);
            given_up.clone().without_run(last_tick, |_, _| false).if_any()
        });
        let expected = agenda.expected.iter().filter(|expected| {
            let state = states.get(expected.task.name());
            state.is_some_and(|state| !state.disabled && state.last_tick < Some(expected.tick))
        });
        Self {
            given_up: given_up.collect(),
            expected: expected.map(|expected| (expected.task.name().clone(), expected.tick)).collect(),
        }
    }

    /// Returns the run ids of the given-up ticks. The caller reads their records, since an earlier pulse that
    /// was killed may have handled such a tick, and the tick may be recorded as SKIPPED or BLOCKED.
    pub fn runs(&self) -> impl Iterator<Item = (&TaskName, RunId)> {
        self.given_up.iter().flat_map(|given_up| {
            given_up.ticks.iter().map(|tick| (&given_up.task, run_id(&given_up.task, *tick)))
        })
    }

    /// Returns the expected ticks. The caller searches for a run of each, whatever the run's id.
    pub fn expected(&self) -> impl Iterator<Item = (&TaskName, Timestamp)> {
        self.expected.iter().map(|(task, tick)| (task, *tick))
    }

    /// Decides which candidates are missed. `recorded` are the runs of [`runs`](Self::runs) that have a record, and `ran` the
    /// ticks of [`expected`](Self::expected) that have had a run.
    pub fn missed(
        &self,
        recorded: &BTreeSet<RunId>,
        ran: &BTreeSet<(&TaskName, Timestamp)>,
    ) -> Vec<MissedTicks> {
        let is_recorded = |task: &TaskName, tick| recorded.contains(&run_id(task, tick));
        let given_up = self.given_up.iter();
        let given_up = given_up.filter_map(|it| it.clone().without_run(None, is_recorded).missed());
        let expected = self.expected().filter(|expected| !ran.contains(expected));
        let expected = expected.map(|(task, tick)| MissedTicks {
            task: task.clone(),
            ticks: 1,
            first: tick,
            last: tick,
        });
        given_up.chain(expected).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        definition::{Cron, Definition, Kind},
        pulse::{Driver, ExpectedTick, Plan, PlannedTask, forced},
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn missed(task: &TaskName, ticks: &[i64]) -> Option<MissedTicks> {
        let (first, last) = (at(*ticks.first()?), at(*ticks.last()?));
        Some(MissedTicks { task: task.clone(), ticks: ticks.len(), first, last })
    }

    #[test]
    fn a_tick_without_a_run_in_its_task_or_a_record_is_missed() {
        let name: TaskName = "a".parse().unwrap();
        let cron = Cron::new(Some("* * * * *".parse().unwrap()));
        let task = PlannedTask::new(Definition::new(name.clone(), Kind::Cron(cron)), Driver::Schedule);
        let (plan, state) = (Plan::default(), TaskState::default());
        let ran_at_60 = TaskState { last_tick: Some(at(60)), ..state.clone() };
        let id = |second| run_id(&name, at(second));
        for (what, given_up, expected, states, recorded, ran, wanted) in [
            ("none", vec![], None, Some(&state), vec![], false, vec![]),
            ("given up", vec![60, 120], None, Some(&state), vec![], false, vec![vec![60, 120]]),
            ("without a state", vec![60], None, None, vec![], false, vec![vec![60]]),
            ("the first has run", vec![60, 120], None, Some(&ran_at_60), vec![], false, vec![vec![120]]),
            ("recorded", vec![60, 120], None, Some(&state), vec![id(60)], false, vec![vec![120]]),
            ("all recorded", vec![60], None, Some(&state), vec![id(60)], false, vec![]),
            ("expected", vec![], Some(120), Some(&ran_at_60), vec![], false, vec![vec![120]]),
            ("expected, and has run", vec![], Some(60), Some(&ran_at_60), vec![], false, vec![]),
            ("expected, and has a record", vec![], Some(120), Some(&ran_at_60), vec![], true, vec![]),
            ("expected, without a state", vec![], Some(120), None, vec![], false, vec![]),
            (
                "expected, of a disabled task",
                vec![],
                Some(120),
                Some(&TaskState { disabled: true, ..state.clone() }),
                vec![],
                false,
                vec![],
            ),
        ] {
            let mut agenda = forced(&plan, None, at(180));
            let ticks: Vec<_> = given_up.into_iter().map(at).collect();
            agenda.given_up.extend(GivenUpTicks { task: name.clone(), ticks }.if_any());
            agenda.expected.extend(expected.map(|tick| ExpectedTick { task: &task, tick: at(tick) }));
            let states = states.map(|state| (name.clone(), state.clone())).into_iter().collect();
            let candidates = MissCandidates::new(&agenda, &states);
            let ran = candidates.expected().filter(|_| ran).collect();
            let found = candidates.missed(&recorded.into_iter().collect(), &ran);
            let wanted: Vec<_> = wanted.iter().filter_map(|ticks| missed(&name, ticks)).collect();
            assert_eq!(found, wanted, "{what}");
        }
    }
}
