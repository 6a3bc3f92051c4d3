//! Watches the sources for `dev`: rebuilds after a change, and replaces only the tasks that changed.
//!
//! Invocations in progress finish in the code in which they began. A failed build changes nothing.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::SystemTime};

use lamplighter_project::{
    Task,
    compile::{self, Profile},
    package::Package,
    tasks::local_values::SecretsFile,
    workspace::Workspace,
};
use lamplighter_pulse::services::Pulse;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    build::{Built, build, is_side, pulse_of, queues_of, sides_of},
    events::{Event, Reporter},
    location::Location,
    machine::Machine,
    queue::Queues,
    side::Side,
    sources::{ChangeWatcher, Sources, Unwatchable},
    variables::Variables,
};

/// The watched sources, and the last build of them.
pub struct WatchedSources {
    root: PathBuf,
    sources: Sources,
    built: Built,
    stamps: BTreeMap<String, Option<SystemTime>>,
    variables: Variables,
    environment: Option<String>,
    secrets: SecretsFile,
    location: Location,
    /// The stamp of the sources before the last build.
    seen: u64,
}

impl WatchedSources {
    /// Watches the sources of a workspace. `built` is their last build, and `seen` their [stamp](super::sources::Snapshot)
    /// before it.
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

/// The time at which each package was written. A package is written only if its content changes.
fn stamps(packages: &[Package]) -> BTreeMap<String, Option<SystemTime>> {
    let written = |package: &Package| fs::metadata(&package.folder).and_then(|folder| folder.modified()).ok();
    packages.iter().map(|package| (package.name.clone(), written(package))).collect()
}

/// The current tasks of a runner, to replace them.
#[derive(Clone)]
pub struct CurrentTasks {
    /// The pulse, with the cron tasks.
    pub pulses: watch::Sender<Arc<Pulse>>,
    /// The queue tasks.
    pub queues: watch::Sender<Arc<Queues>>,
    /// The side tasks.
    pub sides: watch::Sender<Arc<Vec<Side>>>,
    /// The name of the runner.
    pub runner: String,
}

/// Rebuilds and replaces the tasks that change, until `stop`.
pub async fn watch(
    mut it: WatchedSources,
    machine: Arc<Machine>,
    current: CurrentTasks,
    reporter: Arc<dyn Reporter>,
    stop: CancellationToken,
) {
    let cargo = compile::in_own_group();
    let (mut watcher, refused) = ChangeWatcher::of(&it.root);
    if let Some(why) = refused {
        report_polling(&*reporter, &why);
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = change(&mut it, &mut watcher, &*reporter) => {}
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
        let replaced = match built {
            Ok(built) => it.replace_changed(built, &machine, &current, &*reporter).await,
            Err(error) => Err(error),
        };
        if let Err(error) = replaced {
            reporter.event(&Event::BuildFailed(&format!("{error:#}")));
        }
    }
}

/// Waits until the sources differ from the last build.
async fn change(it: &mut WatchedSources, changes: &mut ChangeWatcher, reporter: &dyn Reporter) {
    loop {
        let sources = it.sources.clone();
        let Ok(seen) = tokio::task::spawn_blocking(move || sources.scan()).await else {
            changes.next().await;
            continue;
        };
        let has_new_folders = changes.follow(&seen.folders).unwrap_or_else(|why| {
            report_polling(reporter, &why);
            false
        });
        if std::mem::replace(&mut it.seen, seen.stamp) != seen.stamp {
            return;
        }
        if !has_new_folders {
            changes.pause().await;
            changes.next().await;
        }
    }
}

/// Reports that the sources are polled, and why.
fn report_polling(reporter: &dyn Reporter, why: &Unwatchable) {
    reporter.event(&Event::Polling(&why.to_string()));
}

impl WatchedSources {
    /// Replaces the tasks that changed, and reports them before their supervisors take notice.
    async fn replace_changed(
        &mut self,
        built: Built,
        machine: &Machine,
        current: &CurrentTasks,
        reporter: &dyn Reporter,
    ) -> anyhow::Result<()> {
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
        let sides =
            self.variables.side_tasks.then(|| sides_of(&built, machine, &current.runner)).transpose()?;
        let pulse = if built.project == self.built.project {
            None
        } else {
            Some(pulse_of(&built.project, machine, &self.location).await?)
        };
        if !changed.is_empty() {
            reporter.event(&Event::Built(&changed));
        }
        if let Some(sides) = sides {
            // Their supervisor restarts those that differ.
            current.sides.send_replace(Arc::new(sides));
        }
        if let Some(pulse) = pulse {
            current.pulses.send_replace(Arc::new(pulse));
            current.queues.send_replace(Arc::new(queues_of(&built.project, machine)));
        }
        (self.built, self.stamps) = (built, stamps);
        Ok(())
    }
}
