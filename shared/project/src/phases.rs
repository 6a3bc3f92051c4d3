//! The phases of a deployment: the order of their tasks, and the time for which CloudFormation waits for each phase.

use std::collections::BTreeMap;

use lamplighter_core::{
    definition::{Lifecycle, Phase},
    deployment::{Ordered, waves},
    name::TaskName,
};

use crate::{Project, Task};

/// The time that the dispatcher needs besides the tasks' own: planning, starting, answering.
const OVERHEAD_SECONDS: u64 = 60;
/// The shortest time of a phase. It suffices for cold starts and for a dispatcher that dies once.
const MIN_SECONDS: u64 = 120;
/// The longest time for which CloudFormation waits. Source: CloudFormation User Guide, `AWS::CloudFormation::CustomResource`.
const MAX_SECONDS: u64 = 3600;

/// A task with its dependencies, for the order.
pub struct InOrder<'a> {
    /// The task's name.
    pub name: &'a TaskName,
    /// The tasks that run before it.
    pub depends_on: Vec<TaskName>,
}

impl Ordered for InOrder<'_> {
    fn name(&self) -> &TaskName {
        self.name
    }

    fn depends_on(&self) -> &[TaskName] {
        &self.depends_on
    }
}

/// The time for which CloudFormation waits for a phase, in seconds: the longest that its waves can take, one after the other.
pub fn service_seconds(project: &Project, phase: Phase) -> u64 {
    seconds(&longest(project, phase)).clamp(MIN_SECONDS, MAX_SECONDS)
}

/// Returns the longest task and the reason, if a phase can take longer than CloudFormation waits.
pub fn fault(project: &Project, phase: Phase) -> Option<(&Task, String)> {
    let longest = longest(project, phase);
    let seconds = seconds(&longest);
    let (_, task) = longest.iter().rev().max_by_key(|(seconds, _)| *seconds)?;
    let waves: Vec<_> =
        longest.iter().map(|(seconds, task)| format!("{} {seconds} s", task.name())).collect();
    let place = match phase {
        Phase::Before => "before",
        Phase::After => "after",
    };
    let reason = format!(
        "the tasks {place} the application may take {seconds} s, and CloudFormation waits for at most {MAX_SECONDS} s: \
         {}, one after the other, and {OVERHEAD_SECONDS} s of overhead; shorten their timeouts, or remove `depends_on` so that \
         tasks run in parallel",
        waves.join(", ")
    );
    (seconds > MAX_SECONDS).then_some((task, reason))
}

fn seconds(longest: &[(u64, &Task)]) -> u64 {
    longest.iter().map(|(seconds, _)| seconds).sum::<u64>() + OVERHEAD_SECONDS
}

/// The longest task of each wave of a phase with its time in seconds, in order.
fn longest(project: &Project, phase: Phase) -> Vec<(u64, &Task)> {
    let tasks: Vec<_> = in_order(project, phase).collect();
    let order: Vec<_> = tasks
        .iter()
        .map(|(task, _, depends_on)| InOrder { name: task.name(), depends_on: depends_on.clone() })
        .collect();
    // Circular dependencies have been reported as a fault before.
    let waves = waves(&order).unwrap_or_default();
    let mut longest: BTreeMap<usize, (u64, &Task)> = BTreeMap::new();
    for ((task, ..), wave) in tasks.into_iter().zip(waves) {
        let seconds = task.function_seconds();
        let entry = longest.entry(wave).or_insert((seconds, task));
        if seconds > entry.0 {
            *entry = (seconds, task);
        }
    }
    longest.into_values().collect()
}

/// The tasks of a phase, each with its dependencies in the same phase. Those in an earlier phase have run by then.
pub fn in_order(project: &Project, phase: Phase) -> impl Iterator<Item = (&Task, &Lifecycle, Vec<TaskName>)> {
    let names: Vec<_> = project.phase(phase).map(|(task, _)| task.name()).collect();
    project.phase(phase).map(move |(task, lifecycle)| {
        let needs = lifecycle.depends_on.iter().filter(|name| names.contains(name)).cloned();
        (task, lifecycle, needs.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn a_phase_has_the_time_that_its_waves_take() {
        let project = fixtures::shop();
        // run-migrations (120 + 10), then seed-data and process-assets (300 + 10) at the same time.
        assert_eq!(service_seconds(&project, Phase::Before), 130 + 310 + OVERHEAD_SECONDS);
        assert_eq!(service_seconds(&project, Phase::After), MIN_SECONDS.max(70 + OVERHEAD_SECONDS));
    }
}
