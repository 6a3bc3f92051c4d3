//! The stack that a command works on: on this machine, or in AWS.
//!
//! One rule: a command works on this machine unless it has `--aws`, `--profile`, `--region` or `--table`. The environment
//! (`AWS_PROFILE`, `AWS_REGION`, `AWS_ENDPOINT_URL`) applies in AWS but never selects it, so that a variable cannot make a
//! command disable a task of production.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use lamplighter_aws::{
    clients::{Clients, local_config},
    environment::QUEUES_OUTPUT,
    functions::Functions,
    jobs::{DeadLetters, Jobs, RunnerAddress, Waker},
    table::Table,
};
use lamplighter_core::{
    definition,
    name::TaskName,
    project::{self, InvalidStackName},
};
use lamplighter_project::{
    Project, Task,
    catalog::Catalog,
    compile::Profile,
    config::Config,
    package::package_all,
    tasks::local_values::{SecretsFile, from_environment},
    workspace::Workspace,
};
use lamplighter_runner::{
    home,
    home::HOME,
    location::{InAws, KnownOutputs, Location, TableInAws},
    machine::Machine,
    process_environment::ProcessEnvironment,
    stack::Stack,
    storage::Storage,
    storage::synchronous,
    wake,
};
use serde_json::Value;

use crate::{terminal::output, tr, words::Words};

/// The options that choose a stack.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Where")]
pub struct Place {
    /// The stack's name. Default: the project's.
    #[arg(long, value_name = "NAME", value_parser = stack_name)]
    pub stack: Option<String>,
    /// Works on the stack in AWS; --profile, --region and --table imply it.
    #[arg(long)]
    pub aws: bool,
    /// The profile in AWS's configuration files. Default: `AWS_PROFILE`.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// The AWS region. Default: `AWS_REGION`, then the profile's.
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// The table in AWS, for users who may not read the stack. Default: from the stack's outputs.
    ///
    /// The name of the stack's bucket is then read from `LAMPLIGHTER_BUCKET`.
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// The folder with the table, the bucket and the logs of this machine's stacks.
    #[arg(long, value_name = "FOLDER", default_value = HOME, conflicts_with_all = ["aws", "profile", "region", "table"])]
    pub home: PathBuf,
    /// The outputs of the stack in AWS, once they have been read.
    #[arg(skip)]
    pub outputs: KnownOutputs,
}

/// Reads a stack's name from the command line.
pub(crate) fn stack_name(word: &str) -> Result<String, InvalidStackName> {
    project::check(word).map(|()| word.to_owned())
}

/// A stack whose table is open.
pub struct Target {
    /// The stack's name.
    pub stack: String,
    /// Its table.
    pub table: Table,
    /// The wake-up address of a runner on this machine, if there is one.
    waker: Option<RunnerAddress>,
    kind: Kind,
}

enum Kind {
    Here(Box<Storage>),
    Machine(Box<Machine>),
    Aws(InAws, Arc<Clients>),
}

impl Place {
    /// Returns true if the stack is in AWS.
    pub fn is_aws(&self) -> bool {
        self.aws || self.profile.is_some() || self.region.is_some() || self.table.is_some()
    }

    /// The stack's name: the one given, or the project's.
    pub fn stack(&self, workspace: &Workspace) -> String {
        self.stack.clone().unwrap_or_else(|| workspace.name.clone())
    }

    /// The folder of this machine's stacks.
    pub fn home(&self, workspace: &Workspace) -> PathBuf {
        workspace.root.join(&self.home)
    }

    /// Fails if the folder of this machine's stacks cannot be written. Called before anything is compiled.
    pub fn check(&self, workspace: &Workspace) -> anyhow::Result<()> {
        if self.is_aws() { Ok(()) } else { home::check(&self.home(workspace)) }
    }

    /// The access to AWS, if the stack is there.
    pub fn in_aws(&self) -> Option<InAws> {
        self.is_aws().then(|| self.reached())
    }

    /// The access to AWS by the options that are given.
    fn reached(&self) -> InAws {
        InAws {
            profile: self.profile.clone(),
            region: self.region.clone(),
            table: self.table.clone(),
            outputs: self.outputs.clone(),
        }
    }

    /// The access to AWS of a command that has found its tasks.
    fn of_catalog(&self, catalog: &Catalog) -> Option<InAws> {
        self.in_aws().or_else(|| catalog.deployed_to.as_ref().map(|_| self.reached()))
    }

    /// Finds the tasks that the dispatcher of a stack in AWS has kept. The stack is read if the place is in AWS, or if
    /// the place names a stack and no workspace is around the folder. Returns nothing in other cases, or if the stack
    /// has kept no tasks but a workspace has them.
    pub fn deployed(&self, folder: &Path) -> anyhow::Result<Option<Catalog>> {
        let has_workspace = folder.ancestors().any(|folder| folder.join("Cargo.toml").exists());
        let aws = match (self.in_aws(), &self.stack) {
            (Some(aws), _) => aws,
            (None, Some(_)) if !has_workspace => self.reached(),
            _ => return Ok(None),
        };
        let stack = match &self.stack {
            Some(stack) => stack.clone(),
            None if has_workspace => Workspace::project_name(folder)?,
            // The table's name replaces the stack's: a command that only reads the table needs no more.
            None => self
                .table
                .clone()
                .context("name the stack with --stack: no workspace is around this folder")?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let deployed =
            runtime.block_on(async { anyhow::Ok(aws.open(&stack).await?.table.deployed().await?) })?;
        match deployed {
            Some(kept) => Ok(Some(Catalog::deployed(folder, &stack, kept.environment, kept.tasks))),
            None if has_workspace => Ok(None),
            None => bail!(
                "stack `{stack}` has not kept the definitions of its tasks: deploy it with this version and a lifecycle task, \
                 or run the command in the project's folder"
            ),
        }
    }

    /// The location of the stack.
    pub fn location(&self, workspace: &Workspace) -> Location {
        Location { stack: self.stack(workspace), home: self.home(workspace), aws: self.in_aws() }
    }

    /// Opens the stack's table.
    pub async fn open(&self, catalog: &Catalog) -> anyhow::Result<Target> {
        let stack = self.stack(&catalog.workspace);
        match self.of_catalog(catalog) {
            Some(aws) => Ok(open_in_aws(aws, stack).await?.0),
            None => self.open_here(catalog, &stack).await,
        }
    }

    /// Opens the stack's table and reaches its functions. On this machine the functions are compiled first, and run as long
    /// as the target is open. The references of all tasks must have values; with `only`, those of that task, whose run has
    /// the given configuration.
    pub async fn open_to_run(
        &self,
        catalog: &Catalog,
        environment: Option<&str>,
        secrets: &SecretsFile,
        only: Option<(&TaskName, &Value)>,
    ) -> anyhow::Result<(Target, Functions)> {
        let workspace = &catalog.workspace;
        let stack = self.stack(workspace);
        if let Some(aws) = self.of_catalog(catalog) {
            let (target, clients) = open_in_aws(aws, stack).await?;
            let functions = Functions::new(clients.config().await);
            return Ok((target, functions));
        }
        self.check(workspace)?;
        let packages = package_all(workspace, Profile::Dev, environment)?;
        let config = Config::load(&workspace.root)?;
        let described = packages.iter().filter_map(|package| package.task.clone()).collect();
        let project = Project::resolve(&workspace.name, described, &config, environment)?;
        let wanted = only.and_then(|(only, _)| project.tasks.iter().find(|task| task.name() == only));
        if let Some(task) = wanted
            && matches!(task.definition.kind, definition::Kind::Side(_))
        {
            bail!(
                "{} is a side task, which only a runner runs: start one with `lamplighter start`",
                task.name()
            );
        }
        let runs = |task: &Task| only.is_none_or(|(only, _)| only == task.name());
        let project = project.with_values(&secrets.read()?, from_environment, runs)?;
        let home = self.home(workspace);
        let stack = Stack::open(&home, &stack)?.name;
        let tasks = project.tasks.iter().map(Task::name);
        let process_environment = ProcessEnvironment::of(workspace);
        let machine = Machine::start(&home, &stack, process_environment, synchronous(&config), tasks).await?;
        machine.install(&project, &packages)?;
        if let Some((name, of_run)) = only
            && let Some(task) = project.tasks.iter().find(|task| task.name() == name)
        {
            machine.hide(task, of_run);
        }
        let functions = Functions::new(&local_config(&machine.host.endpoint()));
        let table = machine.storage.table.clone();
        let waker = wake::wake_address(&home);
        Ok((Target { stack, table, waker, kind: Kind::Machine(Box::new(machine)) }, functions))
    }

    async fn open_here(&self, catalog: &Catalog, stack: &str) -> anyhow::Result<Target> {
        let home = self.home(&catalog.workspace);
        let stack = Stack::open(&home, stack)?.name;
        let synchronous = synchronous(&Config::load(&catalog.workspace.root)?);
        let storage = Storage::open(&home, &stack, synchronous, catalog.names()).await?;
        let (table, waker) = (storage.table.clone(), wake::wake_address(&home));
        Ok(Target { stack, table, waker, kind: Kind::Here(Box::new(storage)) })
    }
}

/// Opens the table of a stack in AWS.
async fn open_in_aws(aws: InAws, stack: String) -> anyhow::Result<(Target, Arc<Clients>)> {
    let TableInAws { table, clients, .. } = aws.open(&stack).await?;
    Ok((Target { stack, table, waker: None, kind: Kind::Aws(aws, Arc::clone(&clients)) }, clients))
}

impl Target {
    /// The jobs of the stack. On this machine workers find them in the table.
    pub async fn jobs(&self) -> anyhow::Result<Jobs> {
        let waker = match &self.kind {
            Kind::Here(_) | Kind::Machine(_) => Waker::Runner { to: self.waker.clone() },
            Kind::Aws(aws, clients) => {
                let missing = || {
                    format!(
                        "stack `{}` has no output {QUEUES_OUTPUT}: does it have a queue task?",
                        self.stack
                    )
                };
                let prefix = self.queues(aws, clients).await?.with_context(missing)?;
                Waker::queues(prefix, Arc::clone(clients))
            }
        };
        Ok(Jobs::new(self.table.clone(), waker))
    }

    /// The dead-letter queues of the stack, if it has any. This machine has none.
    pub async fn dead_letters(&self) -> anyhow::Result<Option<DeadLetters>> {
        let Kind::Aws(aws, clients) = &self.kind else { return Ok(None) };
        let prefix = self.queues(aws, clients).await?;
        let config = clients.config().await;
        Ok(prefix.map(|prefix| DeadLetters::new(config, prefix)))
    }

    /// The prefix of the URLs of the stack's queues.
    async fn queues(&self, aws: &InAws, clients: &Clients) -> anyhow::Result<Option<String>> {
        Ok(aws.outputs(clients, &self.stack).await?.get(QUEUES_OUTPUT).cloned())
    }

    /// The name of a function of the stack.
    pub fn function(&self, name: &str) -> String {
        format!("{}-{name}", self.stack)
    }

    /// Stops the functions of this machine and closes the table.
    pub async fn close(self, words: &Words) {
        match self.kind {
            Kind::Here(storage) => storage.close(|| note_table_in_use(words)).await,
            Kind::Machine(machine) => machine.stop(|| note_table_in_use(words)).await,
            Kind::Aws(..) => {}
        }
    }
}

/// Prints that another process uses the table through this one.
pub fn note_table_in_use(words: &Words) {
    output::note(tr!(words, "runner-table-in-use"));
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        place: Place,
    }

    fn place(words: &[&str]) -> Result<Place, clap::Error> {
        Line::try_parse_from([&["x"], words].concat()).map(|line| line.place)
    }

    #[test]
    fn a_target_is_in_aws_if_an_option_says_so() {
        for here in [&[][..], &["--stack", "shop"], &["--home", "x"]] {
            assert!(!place(here).unwrap().is_aws(), "{here:?}");
        }
        for aws in [
            &["--aws"][..],
            &["--profile", "p"],
            &["--region", "eu-west-1"],
            &["--table", "t", "--stack", "s"],
        ] {
            assert!(place(aws).unwrap().is_aws(), "{aws:?}");
        }
        assert!(place(&["--home", "x", "--aws"]).is_err());
    }
}
