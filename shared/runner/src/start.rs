//! From a workspace to a runner that is ready: built, its table open, its functions in place.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use jiff::{Timestamp, tz::TimeZone};
use lamplighter_aws::{clients::local_config, functions::Functions};
use lamplighter_core::{definition::Kind, pulse::Zones, runner::Runner};
use lamplighter_local::{HostOptions, Synchronous};
use lamplighter_project::{
    Project, Task,
    compile::Profile,
    config::Config,
    package::{Package, package_all},
    tasks::local_values::{SecretsFile, from_environment},
    workspace::Workspace,
};
use lamplighter_pulse::run::Pulse;
use tokio::sync::{mpsc, watch};

use super::{
    events::Reporter, liveness::LivenessLock, location::Location, machine::Machine, presence, queue::Queues,
    service::Service, side::Side, storage::synchronous, surroundings::Surroundings, variables::Variables,
    wake::WakeSocket,
};

/// A workspace whose functions are compiled and packaged.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its tasks.
    pub project: Project,
    /// Their packages.
    pub packages: Vec<Package>,
    /// What a crash of the machine may cost its table.
    pub synchronous: Synchronous,
}

/// Compiles and packages a workspace, as the environment's variables change its tasks. `environment` goes before theirs.
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

/// How a runner is to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The stack, and where it is.
    pub location: &'a Location,
    /// How often it looks for what was lost or missed.
    pub interval: Duration,
    /// How long what runs may go on when it is to stop.
    pub grace: Duration,
    /// How many jobs run at once, at most.
    pub concurrency: usize,
    /// Whether it keeps side tasks.
    pub side_tasks: bool,
}

/// Makes a runner of what was built: opens the table and puts the functions in place. Nothing is started yet.
pub async fn ready(
    workspace: &Workspace,
    built: &Built,
    wanted: Wanted<'_>,
    reporter: &Arc<dyn Reporter>,
) -> anyhow::Result<Service> {
    let Wanted { location, interval, grace, concurrency, side_tasks } = wanted;
    let (stack, home) = (location.stack.clone(), location.home.clone());
    let tasks = built.project.tasks.iter().map(Task::name);
    let mut storage = location.storage(built.synchronous, tasks).await?;
    let waker = WakeSocket::up(&home).await.context("cannot open the socket for wake-ups of jobs")?;
    storage.variables.push(("LAMPLIGHTER_WAKE_SOCKET".to_owned(), waker.address.to_string()));
    let (sender, failures) = mpsc::unbounded_channel();
    let options = HostOptions { failures: Some(sender), ..HostOptions::default() };
    let heard = Arc::clone(reporter);
    let machine = Machine::start_with(
        storage,
        &home,
        &stack,
        Surroundings::of(workspace),
        options,
        move |line, text| {
            heard.line(line, text);
        },
    )
    .await?;
    let instance = presence::instance()?;
    let liveness = LivenessLock::take(&home, machine.storage.table.name(), &instance)
        .context("cannot say in the folder that this runner lives")?;
    for task in built.project.tasks.iter().filter(|task| !is_side(task)) {
        machine.install_task(&built.project, task, &built.packages, None)?;
    }
    let sides = if side_tasks { sides_of(built, &machine, &instance)? } else { Vec::new() };
    let sides = watch::Sender::new(Arc::new(sides));
    let now = Timestamp::now();
    let runner = Runner {
        instance,
        environment: built.project.environment.clone(),
        started_at: now,
        heartbeat_at: now,
        stopping: false,
        running: Vec::new(),
    };
    let pulse = pulse_of(&built.project, &machine, location).await?;
    let pulses = watch::Sender::new(Arc::new(pulse));
    let queues = watch::Sender::new(Arc::new(queues_of(&built.project, &machine)));
    let machine = Arc::new(machine);
    let watched = None;
    Ok(Service {
        machine,
        home,
        runner,
        liveness,
        pulses,
        queues,
        waker,
        concurrency,
        sides,
        failures,
        interval,
        grace,
        watched,
    })
}

/// Whether a runner keeps it, and starts no function of it.
pub fn is_side(task: &Task) -> bool {
    matches!(task.definition.kind, Kind::Side(_))
}

/// The side tasks of what was built, for the runner of that name.
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

/// What starts the tasks of a project at their times.
pub async fn pulse_of(project: &Project, machine: &Machine, location: &Location) -> anyhow::Result<Pulse> {
    let plan = project.plan().without_schedules();
    let names = plan.tasks().iter().filter_map(|task| Some(task.cron()?.timezone.clone()));
    // A zone that is not known is left out, and told of each task that has it.
    let zones: Zones = names.filter_map(|name| Some((name.clone(), TimeZone::get(&name).ok()?))).collect();
    Ok(Pulse {
        table: machine.storage.table.clone().with_environment(&project.environment),
        functions: Functions::new(&local_config(&machine.host.endpoint())),
        notifier: location.notifier(project).await?,
        plan,
        zones,
        stack: location.stack.clone(),
        environment: project.environment.clone(),
        // A runner's jobs are not in queues.
        letters: None,
        posted: Arc::default(),
    })
}
