//! From a workspace to a runner that is ready: built, its table open, its functions in place.

use std::{collections::BTreeMap, ffi::OsString, sync::Arc, time::Duration};

use anyhow::Context as _;
use jiff::{Timestamp, tz::TimeZone};
use lamplighter_aws::{
    clients::{Account, Clients, local_config},
    functions::Functions,
    notify::Notifier,
    process::{NotText, text},
};
use lamplighter_core::{definition::Kind, notify::Target, pulse::Zones, runner::Runner};
use lamplighter_local::{HostOptions, Synchronous};
use pulse::beat::Pulse;
use tokio::sync::{mpsc, watch};

use super::{
    bell::Hung, lifeline::Lifeline, machine::Machine, presence, queue::Queues, service::Service, side::Side,
    surroundings::Surroundings, teller::Teller, variables::Variables,
};
use crate::{
    compile::Profile,
    config::Config,
    package::{Package, package_all},
    project::{
        Project, Task,
        given::{SecretsFile, of_environment},
    },
    target::Place,
    workspace::Workspace,
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
    let project = project.with_values(&secrets.read()?, of_environment, |_| true)?;
    Ok(Built { project, packages, synchronous: config.table.synchronous })
}

/// How a runner is to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Where its table is.
    pub place: &'a Place,
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
    teller: &Arc<Teller>,
) -> anyhow::Result<Service> {
    let Wanted { place, interval, grace, concurrency, side_tasks } = wanted;
    let (stack, home) = (place.stack(workspace), place.home(workspace));
    let tasks = built.project.tasks.iter().map(Task::name);
    let mut storage = place.storage(&home, &stack, built.synchronous, tasks).await?;
    let bell = Hung::up(&home).await.context("cannot hang up the bell for jobs")?;
    storage.variables.push(("LAMPLIGHTER_BELL".to_owned(), bell.address.to_string()));
    let (sender, failures) = mpsc::unbounded_channel();
    let options = HostOptions { failures: Some(sender), ..HostOptions::default() };
    let heard = Arc::clone(teller);
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
    let lifeline = Lifeline::tie(&home, machine.storage.table.name(), &instance)
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
    let pulse = pulse_of(&built.project, &machine, &stack, place).await?;
    let pulses = watch::Sender::new(Arc::new(pulse));
    let queues = watch::Sender::new(Arc::new(queues_of(&built.project, &machine)));
    let machine = Arc::new(machine);
    let watched = None;
    Ok(Service {
        machine,
        home,
        runner,
        lifeline,
        pulses,
        queues,
        bell,
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
pub async fn pulse_of(
    project: &Project,
    machine: &Machine,
    stack: &str,
    place: &Place,
) -> anyhow::Result<Pulse> {
    let plan = project.plan().without_schedules();
    let names = plan.tasks().iter().filter_map(|task| Some(task.cron()?.timezone.clone()));
    // A zone that is not known is left out, and told of each task that has it.
    let zones: Zones = names.filter_map(|name| Some((name.clone(), TimeZone::get(&name).ok()?))).collect();
    Ok(Pulse {
        table: machine.storage.table.clone().of_environment(&project.environment),
        functions: Functions::new(&local_config(&machine.host.endpoint())),
        notifier: notifier(project, place).await?,
        plan,
        zones,
        stack: stack.to_owned(),
        environment: project.environment.clone(),
        // A runner's jobs are not in queues.
        letters: None,
        posted: Arc::default(),
    })
}

/// Whoever is told of failures, of those who can be reached from here: what only CloudFormation knows cannot, and on this
/// machine nothing in AWS.
async fn notifier(project: &Project, place: &Place) -> anyhow::Result<Option<Notifier>> {
    let reachable =
        |target: &&Target| !target.is_template() && (place.is_aws() || matches!(target, Target::Webhook(_)));
    let Some(target) = project.notify.as_ref().filter(reachable) else { return Ok(None) };
    let clients = Clients::of(Account { profile: place.profile.clone(), region: place.region.clone() });
    let notifier = if place.is_aws() {
        Notifier::new(target.clone(), clients.config().await)
    } else {
        // A webhook asks nothing of AWS.
        Notifier::new(target.clone(), &local_config("http://127.0.0.1"))
    };
    Ok(Some(notifier?))
}

/// What processes are told to reach AWS as this one does: its environment and what the command line says.
pub fn in_aws(
    place: &Place,
    own: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, NotText> {
    // An empty value takes away what a function on this machine is told otherwise.
    let taken = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"];
    let mut variables: BTreeMap<_, _> = taken.map(|name| (name.to_owned(), String::new())).into();
    variables.extend(of_aws(own)?);
    for (name, value) in [("AWS_PROFILE", &place.profile), ("AWS_REGION", &place.region)] {
        variables.extend(value.clone().map(|value| (name.to_owned(), value)));
    }
    Ok(variables.into_iter().collect())
}

/// The variables by which this process reaches AWS. One that is no text is an error: the SDK would leave it out, and reach
/// another account.
pub fn of_aws(own: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, NotText> {
    let named = own.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let read = named.filter(|(name, _)| name.starts_with("AWS_") && !name.starts_with("AWS_LAMBDA_"));
    read.filter_map(|(name, value)| Some(text(&name, Some(value)).transpose()?.map(|value| (name, value))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_reaches_aws_as_this_one_does() {
        let place = Place { profile: Some("shop".to_owned()), ..Place::default() };
        let own =
            [("AWS_SESSION_TOKEN", "t"), ("AWS_LAMBDA_X", "no"), ("PATH", "no"), ("AWS_PROFILE", "old")];
        let own = own.map(|(name, value)| (name.into(), value.into()));
        let told: BTreeMap<_, _> = in_aws(&place, own.into_iter()).unwrap().into_iter().collect();
        assert_eq!((told["AWS_PROFILE"].as_str(), told["AWS_SESSION_TOKEN"].as_str()), ("shop", "t"));
        assert_eq!(told["AWS_ACCESS_KEY_ID"], "", "a function's own would come first");
        assert!(!told.contains_key("AWS_LAMBDA_X") && !told.contains_key("PATH"));
    }
}
