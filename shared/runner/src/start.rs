//! Creates a runner: opens its table and registers the functions of its tasks.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use lamplighter_core::runner::Runner;
use lamplighter_local::HostOptions;
use lamplighter_project::{Task, workspace::Workspace};
use tokio::sync::{mpsc, watch};

use super::{
    build::{Built, is_side, pulse_of, queues_of, sides_of},
    events::Reporter,
    liveness::LivenessLock,
    location::Location,
    machine::Machine,
    presence,
    process_environment::ProcessEnvironment,
    service::Service,
    wake::WakeSocket,
};

/// The options of a runner.
#[derive(Clone, Copy, Debug)]
pub struct RunnerOptions<'a> {
    /// The stack and its location.
    pub location: &'a Location,
    /// The pause between two searches for lost runs and missed ticks.
    pub interval: Duration,
    /// The time in which runs may finish when the runner stops.
    pub grace: Duration,
    /// The largest number of jobs that run at once.
    pub concurrency: usize,
    /// Enables side tasks.
    pub side_tasks: bool,
}

/// Creates a runner from what was built: opens the table and registers the functions. It starts no runs yet.
pub async fn ready(
    workspace: &Workspace,
    built: &Built,
    options: RunnerOptions<'_>,
    reporter: &Arc<dyn Reporter>,
) -> anyhow::Result<Service> {
    let RunnerOptions { location, interval, grace, concurrency, side_tasks } = options;
    let (stack, home) = (location.stack.clone(), location.home.clone());
    let tasks = built.project.tasks.iter().map(Task::name);
    let mut storage = location.storage(built.synchronous, tasks).await?;
    let waker = WakeSocket::open(&home).await.context("cannot open the socket for wake-ups of jobs")?;
    storage.variables.push(("LAMPLIGHTER_WAKE_SOCKET".to_owned(), waker.address.to_string()));
    let (sender, failures) = mpsc::unbounded_channel();
    let options = HostOptions { failures: Some(sender), ..HostOptions::default() };
    let line_reporter = Arc::clone(reporter);
    let machine = Machine::start_with(
        storage,
        &home,
        &stack,
        ProcessEnvironment::of(workspace),
        options,
        move |line, text| {
            line_reporter.line(line, text);
        },
    )
    .await?;
    let instance = presence::instance()?;
    let liveness = LivenessLock::take(&home, machine.storage.table.name(), &instance)
        .context("cannot take the liveness lock of this runner in the home folder")?;
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
