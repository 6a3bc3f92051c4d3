//! The order by dependencies: waves of tasks, each of which depends on earlier waves only.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::TaskName;

/// An item with a name and dependencies.
pub trait Ordered {
    /// Returns the name.
    fn name(&self) -> &TaskName;
    /// Returns the names of the dependencies.
    fn depends_on(&self) -> &[TaskName];
}

/// The error of tasks that have no order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Two tasks have the same name.
    #[error("two tasks are named `{0}`")]
    Duplicate(TaskName),
    /// A dependency does not exist.
    #[error("`{task}` depends on `{unknown}`, which is not a task here: there are {}", listed(known))]
    Unknown {
        /// The task with the dependency.
        task: TaskName,
        /// The missing task.
        unknown: TaskName,
        /// The tasks that exist.
        known: Vec<TaskName>,
    },
    /// Tasks depend on each other.
    #[error("the tasks depend on each other in a circle: {}", circle(_0))]
    Cycle(Vec<TaskName>),
}

fn listed(names: &[TaskName]) -> String {
    names.iter().map(TaskName::as_str).collect::<Vec<_>>().join(", ")
}

fn circle(names: &[TaskName]) -> String {
    names.iter().chain(names.first()).map(TaskName::as_str).collect::<Vec<_>>().join(" -> ")
}

/// Returns the wave of each task, in the order of `tasks`: 0 without dependencies, else one more than the
/// highest wave among them.
pub fn waves<T: Ordered>(tasks: &[T]) -> Result<Vec<usize>, OrderError> {
    let mut by_name = BTreeMap::new();
    for task in tasks {
        if by_name.insert(task.name(), task).is_some() {
            return Err(OrderError::Duplicate(task.name().clone()));
        }
    }
    for task in tasks {
        if let Some(unknown) = task.depends_on().iter().find(|name| !by_name.contains_key(name)) {
            let known = by_name.into_keys().cloned().collect();
            return Err(OrderError::Unknown { task: task.name().clone(), unknown: unknown.clone(), known });
        }
    }
    let mut placed: BTreeMap<&TaskName, usize> = BTreeMap::new();
    for wave in 0..tasks.len() {
        let ready = |task: &&T| task.depends_on().iter().all(|n| placed.get(n).is_some_and(|w| *w < wave));
        let names: Vec<_> =
            tasks.iter().filter(|t| !placed.contains_key(t.name())).filter(ready).map(T::name).collect();
        placed.extend(names.into_iter().map(|name| (name, wave)));
    }
    tasks
        .iter()
        .map(|task| placed.get(task.name()).copied())
        .collect::<Option<_>>()
        .ok_or_else(|| OrderError::Cycle(find_cycle(&by_name, &placed)))
}

/// Returns one cycle among the tasks that have no wave. Each of them depends on another of them, so following
/// these dependencies leads back to a task seen before.
fn find_cycle<T: Ordered>(
    by_name: &BTreeMap<&TaskName, &T>,
    placed: &BTreeMap<&TaskName, usize>,
) -> Vec<TaskName> {
    let mut path: Vec<&TaskName> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut current = by_name.keys().find(|name| !placed.contains_key(**name)).copied();
    while let Some(name) = current {
        if !seen.insert(name) {
            let start = path.iter().position(|n| *n == name).unwrap_or_default();
            return path[start..].iter().copied().cloned().collect();
        }
        path.push(name);
        current = by_name.get(name).and_then(|t| t.depends_on().iter().find(|n| !placed.contains_key(n)));
    }
    path.into_iter().cloned().collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    pub(crate) struct Task(pub TaskName, pub Vec<TaskName>);

    impl Ordered for Task {
        fn name(&self) -> &TaskName {
            &self.0
        }

        fn depends_on(&self) -> &[TaskName] {
            &self.1
        }
    }

    fn task(name: &str, needs: &[&str]) -> Task {
        Task(name.parse().unwrap(), needs.iter().map(|n| n.parse().unwrap()).collect())
    }

    #[test]
    fn l16_a_wave_needs_only_earlier_ones() {
        let tasks = [task("d", &["b", "c"]), task("a", &[]), task("b", &["a"]), task("c", &["a"])];
        assert_eq!(waves(&tasks), Ok(vec![2, 0, 1, 1]));
    }

    #[test]
    fn l02_duplicates_unknown_dependencies_and_cycles_are_named() {
        let message = |tasks: &[Task]| waves(tasks).unwrap_err().to_string();
        assert_eq!(message(&[task("a", &[]), task("a", &[])]), "two tasks are named `a`");
        assert_eq!(
            message(&[task("a", &["x"]), task("b", &[])]),
            "`a` depends on `x`, which is not a task here: there are a, b"
        );
        assert_eq!(
            message(&[task("z", &["a"]), task("a", &["b"]), task("b", &["c"]), task("c", &["a"])]),
            "the tasks depend on each other in a circle: a -> b -> c -> a"
        );
    }

    proptest! {
        /// Every graph whose edges go from later to earlier tasks has an order. Each task's wave is one more
        /// than the highest among its dependencies.
        #[test]
        fn a_graph_without_circles_is_ordered(edges in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..20)) {
            let name = |i: usize| format!("t{i}").parse::<TaskName>().unwrap();
            let tasks: Vec<_> = edges.iter().enumerate().map(|(i, needs)| {
                let needs = if i == 0 { vec![] } else { needs.iter().map(|n| name(n.index(i))).collect() };
                Task(name(i), needs)
            }).collect();
            let waves = waves(&tasks).unwrap();
            for (task, wave) in tasks.iter().zip(&waves) {
                let of = |n: &TaskName| waves[tasks.iter().position(|t| t.0 == *n).unwrap()];
                prop_assert_eq!(*wave, task.1.iter().map(|n| of(n) + 1).max().unwrap_or(0));
            }
        }
    }
}
