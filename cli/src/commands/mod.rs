//! The commands, one file each.

mod add;
mod build;
mod cancel;
mod completions;
mod cost;
mod dev;
mod enqueue;
mod generate;
pub(crate) mod help;
mod history;
mod init;
mod jobs;
mod logs;
mod new;
mod next;
mod pulse;
mod retry;
mod run;
mod runner;
mod set;
mod start;
mod stats;
mod switch;
mod tasks;
mod types;
mod up;
mod why;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Subcommand;
use lamplighter_core::{definition::Definition, id::RunId, name::TaskName};
use lamplighter_project::{Project, catalog::Catalog, compile, config::Config, workspace::Workspace};

use crate::{stack::target::Place, terminal::output, tr, words::Words};

/// The time that a service waits at its end for a reader that does not read.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A command of the program.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    New(new::Arguments),
    Init(init::Arguments),
    Add(add::Arguments),
    Generate(generate::Arguments),
    Build(build::Arguments),
    Tasks(tasks::Arguments),
    Up(up::Arguments),
    History(history::Arguments),
    Stats(stats::Arguments),
    Cost(cost::Arguments),
    Next(next::Arguments),
    Why(why::Arguments),
    Types(types::Arguments),
    Logs(logs::Arguments),
    Completions(completions::Arguments),
    Run(run::Arguments),
    Retry(retry::Arguments),
    Cancel(cancel::Arguments),
    Enable(switch::Enable),
    Disable(switch::Disable),
    Set(set::Arguments),
    Pulse(pulse::Arguments),
    Jobs(jobs::Arguments),
    Start(start::Arguments),
    Dev(dev::Arguments),
    Runner(runner::Arguments),
    Enqueue(enqueue::Arguments),
    Status(jobs::Status),
    Result(jobs::Result),
    Abort(jobs::Abort),
}

/// The purpose of a command's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The answer to a question: if it cannot be written, the command has failed.
    Answer,
    /// A report of what was done, which remains done.
    Report,
    /// The events of a service, which does not wait for a reader.
    Service,
}

impl Purpose {
    /// The longest wait at the end for a reader that does not read. `None` waits until the reader is gone.
    pub(crate) fn patience(self) -> Option<Duration> {
        (self == Self::Service).then_some(PATIENCE)
    }
}

impl Command {
    /// The purpose of the command's output.
    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::Tasks(_)
            | Self::History(_)
            | Self::Stats(_)
            | Self::Cost(_)
            | Self::Next(_)
            | Self::Why(_)
            | Self::Types(_)
            | Self::Logs(_)
            | Self::Completions(_)
            | Self::Status(_)
            | Self::Result(_) => Purpose::Answer,
            Self::Jobs(arguments) => arguments.purpose(),
            Self::Pulse(arguments) => arguments.purpose(),
            Self::Runner(arguments) => arguments.purpose(),
            Self::New(_)
            | Self::Init(_)
            | Self::Add(_)
            | Self::Generate(_)
            | Self::Build(_)
            | Self::Up(_)
            | Self::Run(_)
            | Self::Retry(_)
            | Self::Cancel(_)
            | Self::Enable(_)
            | Self::Disable(_)
            | Self::Set(_)
            | Self::Enqueue(_)
            | Self::Abort(_) => Purpose::Report,
            Self::Start(_) | Self::Dev(_) => Purpose::Service,
        }
    }

    /// Runs the command.
    pub(crate) fn run(self, words: &Words) -> anyhow::Result<()> {
        match self {
            Self::New(arguments) => new::run(words, &arguments),
            Self::Init(arguments) => init::run(words, &arguments),
            Self::Add(arguments) => add::run(words, &arguments),
            Self::Generate(arguments) => generate::run(words, &arguments),
            Self::Build(arguments) => build::run(words, &arguments),
            Self::Tasks(arguments) => tasks::run(words, &arguments),
            Self::Up(arguments) => up::run(words, &arguments),
            Self::History(arguments) => history::run(words, &arguments),
            Self::Stats(arguments) => stats::run(words, &arguments),
            Self::Cost(arguments) => cost::run(words, &arguments),
            Self::Next(arguments) => next::run(words, &arguments),
            Self::Why(arguments) => why::run(words, &arguments),
            Self::Types(arguments) => types::run(words, &arguments),
            Self::Logs(arguments) => logs::run(words, &arguments),
            Self::Completions(arguments) => {
                completions::run(&arguments, crate::program());
                Ok(())
            }
            Self::Run(arguments) => run::run(words, &arguments),
            Self::Retry(arguments) => retry::run(words, &arguments),
            Self::Cancel(arguments) => cancel::run(words, &arguments),
            Self::Enable(arguments) => arguments.run(words),
            Self::Disable(arguments) => arguments.run(words),
            Self::Set(arguments) => set::run(words, &arguments),
            Self::Pulse(arguments) => pulse::run(words, &arguments),
            Self::Jobs(arguments) => jobs::run(words, &arguments),
            Self::Start(arguments) => start::run(words, &arguments),
            Self::Dev(arguments) => dev::run(words, &arguments),
            Self::Runner(arguments) => runner::run(words, &arguments),
            Self::Enqueue(arguments) => enqueue::run(words, &arguments),
            Self::Status(arguments) => arguments.run(words),
            Self::Result(arguments) => arguments.run(words),
            Self::Abort(arguments) => arguments.run(words),
        }
    }
}

/// Stops waiting for readers from here on, because work begins that they must not delay.
fn never_wait(words: &Words) {
    let words = Words::new(words.locale());
    output::never_wait(move |count| tr!(&words, "main-dropped", count = count));
}

/// Finds the workspace around the current folder.
fn workspace() -> anyhow::Result<Workspace> {
    Ok(Workspace::discover(&current_folder()?)?)
}

fn current_folder() -> anyhow::Result<PathBuf> {
    std::env::current_dir().context("cannot find the current folder")
}

/// Finds the definitions of the tasks: those that a stack in AWS has kept, or those of the workspace around the current
/// folder. If the folder of the place's stacks cannot be written, this fails before anything is compiled.
fn catalog(place: Option<&Place>) -> anyhow::Result<Catalog> {
    let folder = current_folder()?;
    if let Some(deployed) = place.map(|place| place.deployed(&folder)).transpose()?.flatten() {
        return Ok(deployed);
    }
    compiled(place, &folder)
}

/// Finds the tasks of the workspace around a folder: as they were last built, or else compiled now.
fn compiled(place: Option<&Place>, folder: &Path) -> anyhow::Result<Catalog> {
    let check = |workspace: &Workspace| place.map_or(Ok(()), |place| place.check(workspace));
    if let Some(catalog) = Catalog::current(folder) {
        check(&catalog.workspace)?;
        return Ok(catalog);
    }
    let workspace = Workspace::discover(folder)?;
    check(&workspace)?;
    let binaries = compile::tasks(&workspace)?;
    Ok(Catalog::describe(workspace, &binaries)?)
}

/// Finds the tasks as they were last built, even if the sources have changed since. It is for commands that read
/// recorded runs, which must work while the sources do not compile. If `word` is neither a run's id nor one of their
/// names, the tasks come from the stack, or are compiled now.
fn catalog_with(place: &Place, word: Option<&str>) -> anyhow::Result<Catalog> {
    let is_known = |catalog: &Catalog| {
        word.is_none_or(|word| {
            word.parse::<RunId>().is_ok() || catalog.names().any(|name| name.as_str() == word)
        })
    };
    let folder = current_folder()?;
    let last = Catalog::last(&folder).filter(is_known);
    match (word, last) {
        // The name is all that the command needs, so no stack is asked for it.
        (Some(_), Some(catalog)) => Ok(catalog),
        (_, last) => match (place.deployed(&folder)?, last) {
            (Some(catalog), _) | (None, Some(catalog)) => Ok(catalog),
            (None, None) => compiled(Some(place), &folder),
        },
    }
}

/// Reads the project with these tasks.
fn project(catalog: &Catalog, environment: Option<&str>) -> anyhow::Result<Project> {
    let (config, environment) = match &catalog.deployed_to {
        // The overrides are applied already.
        Some(deployed_to) => (Config::default(), Some(deployed_to.as_str())),
        None => (Config::load(&catalog.workspace.root)?, environment),
    };
    Ok(Project::resolve(&catalog.workspace.name, catalog.tasks.clone(), &config, environment)?)
}

/// The definition of one task, or of all.
fn definitions(project: Project, task: Option<&TaskName>) -> Vec<Definition> {
    let definitions = project.tasks.into_iter().map(|task| task.definition);
    definitions.filter(|definition| task.is_none_or(|task| *task == definition.name)).collect()
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}
