//! A workspace as a runner uses it: compiled and packaged, with its side tasks, its queue tasks and its schedules.

use std::sync::Arc;

use jiff::tz::TimeZone;
use lamplighter_aws::{clients::local_config, functions::Functions};
use lamplighter_core::{definition::Kind, pulse::Zones};
use lamplighter_local::Synchronous;
use lamplighter_project::{
    Project, Task,
    compile::Profile,
    config::Config,
    package::{Package, package_all},
    tasks::local_values::{SecretsFile, from_environment},
    workspace::Workspace,
};
use lamplighter_pulse::services::Pulse;

use super::{
    location::Location, machine::Machine, queue::Queues, side::Side, storage::synchronous,
    variables::Variables,
};

/// A workspace, compiled and packaged.
#[derive(Clone, Debug)]
pub struct Built {
    /// The tasks.
    pub project: Project,
    /// The packages of the tasks.
    pub packages: Vec<Package>,
    /// The durability of its table.
    pub synchronous: Synchronous,
}

/// Compiles and packages a workspace. `variables` may change its tasks; `environment` overrides the one that they name.
pub fn build(
    workspace: &Workspace,
    variables: &Variables,
    environment: Option<&str>,
    secrets: &SecretsFile,
    profile: Profile,
) -> anyhow::Result<Built> {
    let environment = environment.or(variables.environment.as_deref());
    let packages = package_all(workspace, profile, environment)?;
    let config = Config::load(&workspace.root)?;
    let described = packages.iter().filter_map(|package| package.task.clone()).collect();
    let mut project = Project::resolve(&workspace.name, described, &config, environment)?;
    variables.apply(&mut project);
    let project = project.with_values(&secrets.read()?, from_environment, |_| true)?;
    Ok(Built { project, packages, synchronous: synchronous(&config) })
}

/// Returns true for a side task, which a runner supervises instead of invoking a function.
pub fn is_side(task: &Task) -> bool {
    matches!(task.definition.kind, Kind::Side(_))
}

/// The side tasks of a workspace, for the runner of this name.
pub fn sides_of(built: &Built, machine: &Machine, runner: &str) -> anyhow::Result<Vec<Side>> {
    let tasks = built.project.tasks.iter().filter(|task| is_side(task));
    tasks.map(|task| machine.side(&built.project, task, &built.packages, runner)).collect()
}

/// The queue tasks of a project.
pub fn queues_of(project: &Project, machine: &Machine) -> Queues {
    let tasks = project.tasks.iter().map(|task| &task.definition).filter(|task| task.queue().is_some());
    Queues {
        tasks: tasks.map(|task| (task.name.clone(), Arc::new(task.clone()))).collect(),
        prefix: machine.function(""),
    }
}

/// The pulse that starts the cron tasks of a project at their ticks.
pub async fn pulse_of(project: &Project, machine: &Machine, location: &Location) -> anyhow::Result<Pulse> {
    let plan = project.plan().without_schedules();
    let names = plan.tasks().iter().filter_map(|task| Some(task.cron()?.timezone.clone()));
    // An unknown zone is omitted, and reported for each task that has it.
    let zones: Zones = names.filter_map(|name| Some((name.clone(), TimeZone::get(&name).ok()?))).collect();
    Ok(Pulse {
        table: machine.storage.table.clone().with_environment(&project.environment),
        functions: Functions::new(&local_config(&machine.host.endpoint())),
        notifier: location.notifier(project).await?,
        plan,
        zones,
        stack: location.stack.clone(),
        environment: project.environment.clone(),
        // The jobs of a runner are not in SQS queues.
        letters: None,
        posted: Arc::default(),
    })
}
