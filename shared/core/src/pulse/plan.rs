//! The pulse's plan: the tasks of the project, as a file in its package.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    definition::{Cron, Definition, Kind, Queue},
    digest::short_digest,
    id::RunId,
    name::TaskName,
};

/// The name of the plan's file, next to the pulse's binary.
pub const PLAN: &str = "tasks.json";

/// The tasks of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<PlannedTask>", into = "Vec<PlannedTask>")]
pub struct Plan {
    /// Sorted by name, each name once.
    tasks: Vec<PlannedTask>,
    digest: String,
}

/// A task of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTask {
    /// The definition, without the parts that only the task's own function needs.
    pub definition: Definition,
    /// The driver of its runs.
    pub driver: Driver,
}

/// The driver that starts a task at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// The pulse.
    Pulse,
    /// A schedule in EventBridge. The pulse checks that its ticks have had their runs.
    Schedule,
    /// Something else, such as a deployment. The pulse ends its lost runs.
    Other,
}

impl PlannedTask {
    /// Creates a task of the plan. Its configuration, which may contain secrets, is removed.
    pub fn new(definition: Definition, driver: Driver) -> Self {
        let kind = match definition.kind {
            Kind::Queue(queue) => Kind::Queue(Queue { arguments_schema: Value::Null, ..queue }),
            kind => kind,
        };
        let definition = Definition {
            kind,
            description: String::new(),
            copy_assets: Vec::new(),
            config: Value::Null,
            config_schema: Value::Null,
            result_schema: Value::Null,
            ..definition
        };
        Self { definition, driver }
    }

    /// Returns the task's name.
    pub fn name(&self) -> &TaskName {
        &self.definition.name
    }

    /// Returns the settings of a cron task.
    pub fn cron(&self) -> Option<&Cron> {
        self.definition.cron()
    }

    /// Returns the tasks whose last run must have completed before it starts.
    pub fn depends_on(&self) -> &[TaskName] {
        self.cron().map_or(&[], |cron| &cron.depends_on)
    }
}

impl From<Vec<PlannedTask>> for Plan {
    fn from(mut tasks: Vec<PlannedTask>) -> Self {
        tasks.sort_by(|a, b| a.name().cmp(b.name()));
        tasks.dedup_by(|a, b| a.name() == b.name());
        let digest = digest(&tasks);
        Self { tasks, digest }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl From<Plan> for Vec<PlannedTask> {
    fn from(plan: Plan) -> Self {
        plan.tasks
    }
}

impl Plan {
    /// Returns a digest of the names and schedules.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Returns the tasks, sorted by name.
    pub fn tasks(&self) -> &[PlannedTask] {
        &self.tasks
    }

    /// Returns the task with this name.
    pub fn get(&self, name: &TaskName) -> Option<&PlannedTask> {
        let place = self.tasks.binary_search_by(|task| task.name().cmp(name)).ok()?;
        self.tasks.get(place)
    }

    /// Returns the plan for one machine, which has no EventBridge: the pulse starts all cron tasks.
    #[must_use]
    pub fn without_schedules(mut self) -> Self {
        for task in &mut self.tasks {
            if task.driver == Driver::Schedule {
                task.driver = Driver::Pulse;
            }
        }
        self
    }
}

/// Returns the text that identifies a schedule: its expression and its time zone. It is empty for a schedule
/// function.
pub fn schedule_word(cron: &Cron) -> String {
    match &cron.schedule {
        Some(schedule) => format!("{schedule} {}", cron.timezone),
        None => String::new(),
    }
}

/// Returns a digest of every cron task's name and schedule.
fn digest(tasks: &[PlannedTask]) -> String {
    let mut text = String::new();
    for (task, cron) in tasks.iter().filter_map(|task| Some((task, task.cron()?))) {
        text.extend([task.name().as_str(), "\n", &schedule_word(cron), "\n"]);
    }
    short_digest(text)
}

/// Returns the id of a tick's run, the same in every pulse. Ids sort by the tick, as the history does.
pub fn run_id(task: &TaskName, tick: Timestamp) -> RunId {
    // FNV-1a of 128 bits, of which the id takes the low 80. Source: RFC draft-eastlake-fnv, section 5.
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = task.as_str().bytes().chain(tick.as_nanosecond().to_be_bytes());
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    RunId::new(tick, hash)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_survives_its_file_without_configuration() {
        let cron = Cron::new(Some("*/5 * * * *".parse().unwrap()));
        let task = |name: &str| Definition {
            config: json!({ "password": "swordfish" }),
            ..Definition::new(name.parse().unwrap(), Kind::Cron(cron.clone()))
        };
        let plan = Plan::from(vec![
            PlannedTask::new(task("b"), Driver::Pulse),
            PlannedTask::new(task("a"), Driver::Schedule),
        ]);
        let text = serde_json::to_string(&plan).unwrap();
        assert!(!text.contains("swordfish"), "{text}");
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        let a = "a".parse().unwrap();
        assert_eq!(plan.get(&a).unwrap().driver, Driver::Schedule);
        assert_eq!(plan.without_schedules().get(&a).unwrap().driver, Driver::Pulse);
    }

    proptest! {
        #[test]
        fn each_tick_has_a_distinct_run_id(tasks in prop::collection::hash_set("[a-z]{1,8}", 1..8), ticks in prop::collection::hash_set(0_i64..4_000_000_000, 1..20)) {
            let ids: std::collections::HashSet<_> = tasks.iter().flat_map(|task| {
                let task: TaskName = task.parse().unwrap();
                ticks.iter().map(move |tick| run_id(&task, Timestamp::from_second(*tick).unwrap())).collect::<Vec<_>>()
            }).collect();
            prop_assert_eq!(ids.len(), tasks.len() * ticks.len());
        }
    }
}
