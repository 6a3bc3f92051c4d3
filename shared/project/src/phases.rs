//! The phases of a deployment: their order, and the time that CloudFormation waits for each.

use std::collections::BTreeMap;

use lamplighter_core::{
    definition::{Lifecycle, Phase},
    deployment::{Ordered, waves},
    name::TaskName,
};

use crate::{Project, Task};

/// What the dispatcher does beside the tasks' own time: planning, starting, answering.
const OVERHEAD_SECONDS: u64 = 60;
/// A resource has at least this much time, for cold starts and a dispatcher that dies once.
const MIN_SECONDS: u64 = 120;
/// The longest time CloudFormation waits. Source: CloudFormation User Guide, `AWS::CloudFormation::CustomResource`.
const MAX_SECONDS: u64 = 3600;

/// A lifecycle task and those it needs, for the order.
pub struct InOrder<'a> {
    /// Its name.
    pub name: &'a TaskName,
    /// The tasks of the same phase that it needs.
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

/// The time CloudFormation waits for a phase: what its waves take at most, one after the other.
pub fn service_seconds(project: &Project, phase: Phase) -> u64 {
    seconds(&longest(project, phase)).clamp(MIN_SECONDS, MAX_SECONDS)
}

/// The task at fault and the reason, if a phase may take longer than CloudFormation waits.
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
         {}, one after the other, and {OVERHEAD_SECONDS} s around them; shorten their timeouts, or let tasks run at the \
         same time (`depends_on`)",
        waves.join(", ")
    );
    (seconds > MAX_SECONDS).then_some((task, reason))
}

fn seconds(longest: &[(u64, &Task)]) -> u64 {
    longest.iter().map(|(seconds, _)| seconds).sum::<u64>() + OVERHEAD_SECONDS
}

/// The longest task of each wave of a phase with its seconds, in order.
fn longest(project: &Project, phase: Phase) -> Vec<(u64, &Task)> {
    let tasks: Vec<_> = in_order(project, phase).collect();
    let order: Vec<_> = tasks
        .iter()
        .map(|(task, _, depends_on)| InOrder { name: task.name(), depends_on: depends_on.clone() })
        .collect();
    // Tasks without an order have been refused before.
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

/// The tasks of a phase, each with those of the same phase that it needs. A task of the other phase has run by then.
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
