//! Decisions of a runner's job worker: which job starts next, and when the index is queried again.
//!
//! The index `due` of the table is the queue. A [`Workload`] is the worker's view of it between two queries, and
//! counts the jobs in progress. The worker executes the decisions and reports the results with
//! [`Workload::learn`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use jiff::Timestamp;

use super::{JobKey, Refusal};
use crate::{
    definition::{Definition, Priority},
    id::RunId,
    name::TaskName,
};

/// The number of entries that one query of the index reads.
pub const PAGE: u16 = 250;
/// The longest time between two queries. A wake-up may be lost, and a machine's clock may be set.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The pause after a failure of the table, and before a job that waits for other jobs is checked again.
pub const PAUSE: Duration = Duration::from_secs(1);
/// The pause before the next query if a full page contains only jobs that this worker has in progress. Such a
/// page hides the entries behind it.
const HIDDEN: Duration = Duration::from_millis(5);
/// The maximum number of jobs in progress, as a multiple of the worker's concurrency. The attempts of the jobs
/// beyond the concurrency are over and are being recorded.
const AHEAD: usize = 4;

/// The limits on the number of jobs that run at once, of a worker and of each task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerLimits {
    concurrency: usize,
    /// Sorted by name.
    tasks: Vec<(TaskName, usize)>,
}

impl WorkerLimits {
    /// Creates the limits of a worker that runs at most `concurrency` jobs at once, of these queue tasks.
    pub fn new<'a>(concurrency: usize, tasks: impl IntoIterator<Item = &'a Definition>) -> Self {
        let limit = |task: &Definition| {
            let own = task.queue().and_then(|queue| queue.concurrency);
            own.map_or(concurrency, |own| usize::try_from(own).unwrap_or(usize::MAX))
        };
        let mut tasks: Vec<_> = tasks.into_iter().map(|task| (task.name.clone(), limit(task))).collect();
        tasks.sort();
        Self { concurrency, tasks }
    }

    /// The limit of a task; none if it is not a queue task of this worker.
    fn of(&self, task: &TaskName) -> Option<usize> {
        let place = self.tasks.binary_search_by(|(name, _)| name.cmp(task)).ok()?;
        self.tasks.get(place).map(|(_, limit)| *limit)
    }
}

/// A wake-up message to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WakeUp {
    /// This job can start.
    Job(JobKey),
    /// The task has jobs that can start.
    Task(TaskName),
}

impl WakeUp {
    /// Reads a message: a job's key or a task's name. Returns nothing for any other text.
    pub fn read(message: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok()?;
        text.parse().map(Self::Job).or_else(|_| text.parse().map(Self::Task)).ok()
    }
}

/// The worker's next action.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum WorkerAction {
    /// Start this job. It already counts as in progress.
    Start(JobKey),
    /// Read up to [`PAGE`] entries of the index and pass them to [`Workload::looked`].
    Look {
        /// The task.
        task: TaskName,
        /// The priority.
        priority: Priority,
    },
    /// Wait for news or a wake-up, and at most this long.
    Wait(Duration),
}

/// A change in a job that the worker has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobNews {
    /// The attempt is over and is being recorded. Another job may start in its place.
    Attempted(TaskName),
    /// The worker no longer has the job.
    Released {
        /// The job.
        key: JobKey,
        /// [`JobNews::Attempted`] was reported for it.
        attempted: bool,
        /// The time at which the job may be startable again; none if it is over.
        look_at: Option<Timestamp>,
    },
}

/// The jobs of one task and priority that the worker has read.
#[derive(Clone, Debug, Default)]
struct Backlog {
    /// Jobs that were due when the index was queried.
    due: VecDeque<JobKey>,
    /// The time of the next query; none before the first one.
    look_at: Option<Timestamp>,
}

/// The jobs that a worker has read and has in progress.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    backlogs: BTreeMap<(Priority, TaskName), Backlog>,
    in_progress: BTreeSet<RunId>,
    /// The number of jobs in progress whose attempts are not over.
    attempts: usize,
    attempts_by_task: BTreeMap<TaskName, usize>,
}

/// One pass over the backlogs, from the highest priority to the lowest. It ends with [`WorkerAction::Wait`].
#[derive(Clone, Debug)]
pub struct Pass {
    /// The number of backlogs that are done with.
    done: usize,
    pause: Duration,
}

impl Default for Pass {
    fn default() -> Self {
        Self { done: 0, pause: LONGEST_PAUSE }
    }
}

impl Pass {
    /// Decides the next action of the pass.
    ///
    /// Jobs start as long as the worker and the task have room, and not too many jobs are being recorded. A
    /// backlog without due jobs is queried once its time has come.
    pub fn next(&mut self, workload: &mut Workload, limits: &WorkerLimits, now: Timestamp) -> WorkerAction {
        let tasks = &limits.tasks;
        while let Some((priority, (task, _))) = Priority::ALL
            .get(self.done / tasks.len().max(1))
            .and_then(|priority| Some((*priority, tasks.get(self.done % tasks.len().max(1))?)))
        {
            if workload.has_room(limits, task) {
                let backlog = workload.backlogs.entry((priority, task.clone())).or_default();
                if let Some(key) = backlog.due.pop_front() {
                    if workload.begin(&key) {
                        return WorkerAction::Start(key);
                    }
                    continue;
                }
                match backlog.look_at.filter(|at| *at > now) {
                    None => return WorkerAction::Look { task: task.clone(), priority },
                    Some(at) => {
                        let wait = Duration::try_from(at.duration_since(now)).unwrap_or(PAUSE);
                        self.pause = self.pause.min(wait);
                    }
                }
            }
            self.done += 1;
        }
        WorkerAction::Wait(self.pause)
    }
}

impl Workload {
    /// Takes in the entries that a query returned, the earliest first, each with the time at which it is due.
    pub fn looked(
        &mut self,
        task: TaskName,
        priority: Priority,
        entries: Vec<(JobKey, Timestamp)>,
        now: Timestamp,
    ) {
        let is_full = entries.len() == usize::from(PAGE);
        let (due, later): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(_, at)| *at <= now);
        let due: VecDeque<_> = due
            .into_iter()
            .map(|(key, _)| key)
            .filter(|key| !self.in_progress.contains(&key.run_id))
            .collect();
        let after = |pause| now.saturating_add(pause).unwrap_or(now);
        let latest = after(LONGEST_PAUSE);
        let next = later.first().map_or(latest, |(_, at)| (*at).min(latest));
        let look_at = match (due.is_empty(), is_full) {
            (false, _) => now,
            (true, true) => after(HIDDEN),
            (true, false) => next,
        };
        self.backlogs.insert((priority, task), Backlog { due, look_at: Some(look_at) });
    }

    /// Decides on a wake-up.
    ///
    /// The named job starts at once if there is room and no other job is known to be due. Otherwise the task's
    /// backlogs are queried in the next pass, and the result is a [`WorkerAction::Wait`] of zero.
    pub fn wake(&mut self, wake_up: WakeUp, limits: &WorkerLimits) -> WorkerAction {
        match wake_up {
            WakeUp::Job(key)
                if self.backlogs.values().all(|backlog| backlog.due.is_empty())
                    && self.has_room(limits, &key.task) =>
            {
                if self.begin(&key) {
                    WorkerAction::Start(key)
                } else {
                    WorkerAction::Wait(Duration::ZERO)
                }
            }
            WakeUp::Job(JobKey { task, .. }) | WakeUp::Task(task) => {
                self.look_again(&task, Timestamp::MIN);
                WorkerAction::Wait(Duration::ZERO)
            }
        }
    }

    /// Takes in a change in a job that was started.
    pub fn learn(&mut self, news: &JobNews) {
        match news {
            JobNews::Attempted(task) => self.end_attempt(task),
            JobNews::Released { key, attempted, look_at } => {
                self.in_progress.remove(&key.run_id);
                if !attempted {
                    self.end_attempt(&key.task);
                }
                if let Some(at) = look_at {
                    self.look_again(&key.task, *at);
                }
            }
        }
    }

    /// Returns whether one more job of a task may start.
    fn has_room(&self, limits: &WorkerLimits, task: &TaskName) -> bool {
        let Some(limit) = limits.of(task) else { return false };
        let running = self.attempts_by_task.get(task).copied().unwrap_or_default();
        let is_behind = self.in_progress.len() >= limits.concurrency.saturating_mul(AHEAD);
        running < limit && self.attempts < limits.concurrency && !is_behind
    }

    /// Counts a job as in progress. Returns false if it already is.
    fn begin(&mut self, key: &JobKey) -> bool {
        let is_new = self.in_progress.insert(key.run_id);
        if is_new {
            *self.attempts_by_task.entry(key.task.clone()).or_default() += 1;
            self.attempts += 1;
        }
        is_new
    }

    fn end_attempt(&mut self, task: &TaskName) {
        self.attempts = self.attempts.saturating_sub(1);
        if let Some(running) = self.attempts_by_task.get_mut(task) {
            *running = running.saturating_sub(1);
        }
    }

    /// Moves the next query of each backlog of a task to `at`, unless it is earlier.
    fn look_again(&mut self, task: &TaskName, at: Timestamp) {
        for (_, backlog) in self.backlogs.iter_mut().filter(|((_, of), _)| of == task) {
            backlog.look_at = backlog.look_at.map(|before| before.min(at));
        }
    }
}

impl Refusal {
    /// The time at which the refused job may be startable.
    pub fn look_at(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::Running { until } | Self::NotBefore { until } | Self::Full { until } => *until,
            Self::Waits => now.saturating_add(PAUSE).unwrap_or(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::definition::{Kind, Queue};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn name(task: &str) -> TaskName {
        task.parse().unwrap()
    }

    fn key(task: &str, number: u128) -> JobKey {
        JobKey { task: name(task), run_id: RunId::new(at(0), number) }
    }

    fn limits(concurrency: usize, tasks: &[(&str, Option<u32>)]) -> WorkerLimits {
        let tasks: Vec<_> = tasks
            .iter()
            .map(|(task, concurrency)| {
                let (priority, arguments_schema) = (Priority::default(), Value::Null);
                let queue = Queue { priority, concurrency: *concurrency, arguments_schema };
                Definition::new(name(task), Kind::Queue(queue))
            })
            .collect();
        WorkerLimits::new(concurrency, &tasks)
    }

    /// Runs a pass against an index with these entries, and returns the jobs that it starts and its pause.
    fn pass(
        workload: &mut Workload,
        limits: &WorkerLimits,
        index: &[(Priority, JobKey, i64)],
        now: i64,
    ) -> (Vec<JobKey>, Duration) {
        let (mut pass, mut started, mut looks) = (Pass::default(), Vec::new(), 0);
        loop {
            match pass.next(workload, limits, at(now)) {
                WorkerAction::Start(key) => started.push(key),
                WorkerAction::Look { task, priority } => {
                    looks += 1;
                    assert!(looks < 100, "the pass does not end");
                    let found = index.iter().filter(|(of, key, _)| *of == priority && key.task == task);
                    let found = found.map(|(_, key, due)| (key.clone(), at(*due))).take(usize::from(PAGE));
                    let entries = found.collect();
                    workload.looked(task, priority, entries, at(now));
                }
                WorkerAction::Wait(pause) => return (started, pause),
            }
        }
    }

    #[test]
    fn jobs_start_by_priority_as_far_as_there_is_room() {
        let usual = Priority::default();
        let &[highest, .., lowest] = Priority::ALL else { panic!("there are several priorities") };
        let index = [
            (lowest, key("a", 1), 0),
            (usual, key("a", 2), 0),
            (usual, key("b", 3), 0),
            (usual, key("b", 4), 0),
            (highest, key("b", 5), 0),
            (highest, key("b", 6), 9),
        ];
        for (what, concurrency, limit_of_b, wanted) in [
            ("room for all", 9, None, vec![5, 2, 3, 4, 1]),
            ("room for two", 2, None, vec![5, 2]),
            ("one of a task", 9, Some(1), vec![5, 2, 1]),
            ("no room", 0, None, vec![]),
        ] {
            let limits = limits(concurrency, &[("a", None), ("b", limit_of_b)]);
            let (started, _) = pass(&mut Workload::default(), &limits, &index, 5);
            let wanted: Vec<_> = wanted.into_iter().map(|number| RunId::new(at(0), number)).collect();
            assert_eq!(started.iter().map(|key| key.run_id).collect::<Vec<_>>(), wanted, "{what}");
        }
    }

    #[test]
    fn q05_the_next_query_is_when_the_next_entry_is_due_and_at_most_five_seconds_later() {
        let usual = Priority::default();
        let limits = limits(1000, &[("a", None)]);
        for (what, entries, pause) in [
            ("an empty index", vec![], LONGEST_PAUSE),
            ("an entry in two seconds", vec![7], Duration::from_secs(2)),
            ("an entry in an hour", vec![3605], LONGEST_PAUSE),
        ] {
            let index: Vec<_> = entries.iter().map(|due| (usual, key("a", 1), *due)).collect();
            assert_eq!(pass(&mut Workload::default(), &limits, &index, 5), (vec![], pause), "{what}");
        }
        // Jobs in progress stay in the index. A page full of them hides later entries, so it is read again soon.
        let full: Vec<_> = (0..u128::from(PAGE)).map(|number| (usual, key("a", number), 0)).collect();
        let mut workload = Workload::default();
        let (started, pause) = pass(&mut workload, &limits, &full, 5);
        assert_eq!((started.len(), pause), (usize::from(PAGE), HIDDEN));
    }

    #[test]
    fn an_attempt_that_is_over_makes_room_until_too_many_ends_are_being_recorded() {
        let limits = limits(1, &[("a", None)]);
        let index: Vec<_> = (0..9).map(|number| (Priority::default(), key("a", number), 0)).collect();
        let mut workload = Workload::default();
        for number in 0..AHEAD {
            let (started, _) = pass(&mut workload, &limits, &index, 5);
            assert_eq!(started, [key("a", u128::try_from(number).unwrap())]);
            assert_eq!(pass(&mut workload, &limits, &index, 5).0, [], "its attempt is not over");
            workload.learn(&JobNews::Attempted(name("a")));
        }
        assert_eq!(pass(&mut workload, &limits, &index, 5).0, [], "the worker is behind");
        workload.learn(&JobNews::Released { key: key("a", 0), attempted: true, look_at: None });
        assert_eq!(pass(&mut workload, &limits, &index[1..], 5).0, [key("a", 4)]);
    }

    #[test]
    fn a_released_job_is_looked_for_again_at_its_time() {
        let limits = limits(1, &[("a", None)]);
        let mut workload = Workload::default();
        let index = [(Priority::default(), key("a", 1), 0)];
        assert_eq!(pass(&mut workload, &limits, &index, 5).0, [key("a", 1)]);
        // Its attempt never began, since it was refused.
        let refusal = Refusal::NotBefore { until: at(8) };
        let look_at = Some(refusal.look_at(at(5)));
        workload.learn(&JobNews::Released { key: key("a", 1), attempted: false, look_at });
        assert_eq!(Refusal::Waits.look_at(at(5)), at(6));
        let later = [(Priority::default(), key("a", 1), 8)];
        assert_eq!(pass(&mut workload, &limits, &later, 6), (vec![], Duration::from_secs(2)));
        assert_eq!(pass(&mut workload, &limits, &later, 8).0, [key("a", 1)]);
    }

    #[test]
    fn a_wake_up_starts_its_job_unless_there_is_no_room_or_another_is_due() {
        let waits = WorkerAction::Wait(Duration::ZERO);
        let one = limits(1, &[("a", None)]);
        let wake = |text: &str| WakeUp::read(text.as_bytes()).unwrap();
        let (first, second) = (key("a", 1), key("a", 2));
        let mut workload = Workload::default();
        assert_eq!(workload.wake(wake(&first.to_string()), &one), WorkerAction::Start(first.clone()));
        assert_eq!(workload.wake(wake(&second.to_string()), &one), waits, "there is no room");
        assert_eq!(
            workload.wake(wake(&first.to_string()), &limits(2, &[("a", None)])),
            waits,
            "it has started"
        );
        assert_eq!(workload.wake(wake(&key("b", 3).to_string()), &one), waits, "its task is unknown");
        let mut workload = Workload::default();
        workload.looked(name("a"), Priority::default(), vec![(first, at(0))], at(5));
        assert_eq!(workload.wake(wake(&second.to_string()), &one), waits, "another is due");
        assert_eq!(WakeUp::read(b"a"), Some(WakeUp::Task(name("a"))));
        assert_eq!([&b"\xff"[..], b"A b"].map(WakeUp::read), [None, None]);
    }

    #[test]
    fn a_wake_up_for_a_task_has_its_index_queried_at_once() {
        let limits = limits(1, &[("a", None)]);
        let mut workload = Workload::default();
        assert_eq!(pass(&mut workload, &limits, &[], 5).0, []);
        let index = [(Priority::default(), key("a", 1), 0)];
        assert_eq!(pass(&mut workload, &limits, &index, 6).0, [], "the next query is not due");
        assert_eq!(workload.wake(WakeUp::Task(name("a")), &limits), WorkerAction::Wait(Duration::ZERO));
        assert_eq!(pass(&mut workload, &limits, &index, 6).0, [key("a", 1)]);
    }
}
