//! What `dev` does besides: watches the sources, builds what changed, and puts only that in place.
//!
//! Invocations in progress end in the code that they began in. What cannot be built changes nothing.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::SystemTime};

use lamplighter_core::name::TaskName;
use lamplighter_project::{
    Task,
    compile::{self, Profile},
    package::Package,
    tasks::local_values::SecretsFile,
    workspace::Workspace,
};
use lamplighter_pulse::run::Pulse;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    events::{Event, Reporter},
    location::Location,
    machine::Machine,
    queue::Queues,
    side::Side,
    sources::{Signs, Sources, Unwatchable},
    start::{Built, build, is_side, pulse_of, queues_of, sides_of},
    variables::Variables,
};

/// The sources that are watched, and what was built of them.
pub struct Watched {
    root: PathBuf,
    sources: Sources,
    built: Built,
    stamps: BTreeMap<String, Option<SystemTime>>,
    variables: Variables,
    environment: Option<String>,
    secrets: SecretsFile,
    location: Location,
    /// The stamp of the sources when they were built last.
    seen: u64,
}

impl Watched {
    /// Watches the sources of a workspace from which this was built. `seen` is their [stamp](super::sources::Seen) before that.
    pub fn new(
        workspace: &Workspace,
        sources: Sources,
        seen: u64,
        built: Built,
        variables: Variables,
        (environment, secrets): (Option<String>, SecretsFile),
        location: Location,
    ) -> Self {
        let (root, stamps) = (workspace.root.clone(), stamps(&built.packages));
        Self { root, sources, built, stamps, variables, environment, secrets, location, seen }
    }
}

/// When each package was written last: not again unless its content has changed.
fn stamps(packages: &[Package]) -> BTreeMap<String, Option<SystemTime>> {
    let written = |package: &Package| fs::metadata(&package.folder).and_then(|folder| folder.modified()).ok();
    packages.iter().map(|package| (package.name.clone(), written(package))).collect()
}

/// Where what starts the tasks is put.
#[derive(Clone)]
pub struct Placing {
    /// What starts cron tasks.
    pub pulses: watch::Sender<Arc<Pulse>>,
    /// The queue tasks.
    pub queues: watch::Sender<Arc<Queues>>,
    /// The side tasks.
    pub sides: watch::Sender<Arc<Vec<Side>>>,
    /// The name of the runner.
    pub runner: String,
}

/// Builds and puts in place what changes, until `stop`.
pub async fn watch(
    mut it: Watched,
    machine: Arc<Machine>,
    placing: Placing,
    reporter: Arc<dyn Reporter>,
    stop: CancellationToken,
) {
    let cargo = compile::in_own_group();
    let (mut signs, refused) = Signs::of(&it.root);
    if let Some(why) = refused {
        looks(&*reporter, &why);
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = change(&mut it, &mut signs, &*reporter) => {}
        }
        let (root, variables, environment) = (it.root.clone(), it.variables.clone(), it.environment.clone());
        let secrets = it.secrets.clone();
        let mut building = tokio::task::spawn_blocking(move || {
            let workspace = Workspace::discover(&root)?;
            build(&workspace, &variables, environment.as_deref(), &secrets, Profile::Dev)
        });
        let built = tokio::select! {
            built = &mut building => built.map_err(anyhow::Error::from).flatten(),
            () = stop.cancelled() => {
                cargo.terminate();
                let _ = building.await;
                return;
            }
        };
        let placed = match built {
            Ok(built) => it.put_in_place(built, &machine, &placing).await,
            Err(error) => Err(error),
        };
        match placed {
            Ok(changed) if changed.is_empty() => {}
            Ok(changed) => reporter.event(&Event::Built(&changed)),
            Err(error) => reporter.event(&Event::BuildFailed(&format!("{error:#}"))),
        }
    }
}

/// Waits until the sources are not what they were.
async fn change(it: &mut Watched, signs: &mut Signs, reporter: &dyn Reporter) {
    loop {
        let sources = it.sources.clone();
        let Ok(seen) = tokio::task::spawn_blocking(move || sources.look()).await else {
            signs.next().await;
            continue;
        };
        let has_new_folders = signs.follow(&seen.folders).unwrap_or_else(|why| {
            looks(reporter, &why);
            false
        });
        if std::mem::replace(&mut it.seen, seen.stamp) != seen.stamp {
            return;
        }
        if !has_new_folders {
            signs.pause().await;
            signs.next().await;
        }
    }
}

/// Tells that the sources are looked at again and again, and why.
fn looks(reporter: &dyn Reporter, why: &Unwatchable) {
    reporter.event(&Event::Polling(&why.to_string()));
}

impl Watched {
    /// Puts in place what is not what it was, and returns its tasks.
    async fn put_in_place(
        &mut self,
        built: Built,
        machine: &Machine,
        placing: &Placing,
    ) -> anyhow::Result<Vec<TaskName>> {
        let stamps = stamps(&built.packages);
        let old = |task: &Task| self.built.project.tasks.iter().find(|old| old.name() == task.name());
        let is_as_it_was = |task: &&Task| {
            let name = task.name().as_str();
            old(task) == Some(*task) && stamps.get(name) == self.stamps.get(name)
        };
        let tasks = built.project.tasks.iter();
        let changed: Vec<_> =
            tasks.filter(|task| !is_as_it_was(task)).map(|task| task.name().clone()).collect();
        let functions = built.project.tasks.iter().filter(|task| !is_side(task));
        for task in functions.filter(|task| changed.contains(task.name())) {
            machine.install_task(&built.project, task, &built.packages, None)?;
        }
        if self.variables.side_tasks {
            // Who keeps them sees which of them are others.
            placing.sides.send_replace(Arc::new(sides_of(&built, machine, &placing.runner)?));
        }
        if built.project != self.built.project {
            let pulse = pulse_of(&built.project, machine, &self.location).await?;
            placing.pulses.send_replace(Arc::new(pulse));
            placing.queues.send_replace(Arc::new(queues_of(&built.project, machine)));
        }
        (self.built, self.stamps) = (built, stamps);
        Ok(changed)
    }
}
