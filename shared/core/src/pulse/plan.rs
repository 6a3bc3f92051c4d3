//! What the pulse knows of the tasks: the plan file in its package.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::known::digest;
use crate::{
    definition::{Cron, Definition, Kind, Queue},
    id::RunId,
    name::TaskName,
};

/// The plan's file, beside the pulse's binary.
pub const PLAN: &str = "tasks.json";

/// Every task of a project whose runs a pulse looks after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Planned>", into = "Vec<Planned>")]
pub struct Plan {
    /// By name, each name once.
    tasks: Vec<Planned>,
    digest: String,
}

/// A task as the pulse knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What the project made of its definition, without what only its own function needs.
    pub definition: Definition,
    /// Who starts it.
    pub driver: Driver,
}

/// Who starts a task at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// The pulse.
    Pulse,
    /// A schedule of its own in EventBridge. The pulse sees to it that its ticks have had their runs.
    Schedule,
    /// Something else, such as a deployment. The pulse ends those of its runs that were lost.
    Other,
}

impl Planned {
    /// A task of the plan. Its configuration, which may have secrets, is left behind.
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

    /// Its name.
    pub fn name(&self) -> &TaskName {
        &self.definition.name
    }

    /// What it has as a cron task.
    pub fn cron(&self) -> Option<&Cron> {
        self.definition.cron()
    }

    /// The tasks whose last run must have completed before it starts.
    pub fn depends_on(&self) -> &[TaskName] {
        self.cron().map_or(&[], |cron| &cron.depends_on)
    }
}

impl From<Vec<Planned>> for Plan {
    fn from(mut tasks: Vec<Planned>) -> Self {
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

impl From<Plan> for Vec<Planned> {
    fn from(plan: Plan) -> Self {
        plan.tasks
    }
}

impl Plan {
    /// Tells the schedules of this plan from those of another one.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The tasks, by name.
    pub fn tasks(&self) -> &[Planned] {
        &self.tasks
    }

    /// The task of that name.
    pub fn get(&self, name: &TaskName) -> Option<&Planned> {
        let place = self.tasks.binary_search_by(|task| task.name().cmp(name)).ok()?;
        self.tasks.get(place)
    }

    /// The same tasks, where nothing but the pulse starts cron tasks: on one machine there is no EventBridge.
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

/// The id of a tick's run: the same whoever makes it. It sorts by the tick, as the history does.
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
    fn a_plan_survives_its_file_and_leaves_configuration_behind() {
        let cron = Cron::new(Some("*/5 * * * *".parse().unwrap()));
        let task = |name: &str| Definition {
            config: json!({ "password": "swordfish" }),
            ..Definition::new(name.parse().unwrap(), Kind::Cron(cron.clone()))
        };
        let plan = Plan::from(vec![
            Planned::new(task("b"), Driver::Pulse),
            Planned::new(task("a"), Driver::Schedule),
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
        fn a_ticks_run_id_is_its_own(tasks in prop::collection::hash_set("[a-z]{1,8}", 1..8), ticks in prop::collection::hash_set(0_i64..4_000_000_000, 1..20)) {
            let ids: std::collections::HashSet<_> = tasks.iter().flat_map(|task| {
                let task: TaskName = task.parse().unwrap();
                ticks.iter().map(move |tick| run_id(&task, Timestamp::from_second(*tick).unwrap())).collect::<Vec<_>>()
            }).collect();
            prop_assert_eq!(ids.len(), tasks.len() * ticks.len());
        }
    }
}
