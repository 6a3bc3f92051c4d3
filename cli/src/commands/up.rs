//! `lamplighter up`: deploys on this machine, as CloudFormation deploys in AWS.

use std::{path::PathBuf, time::Instant};

use anyhow::bail;
use lamplighter_aws::table::Table;
use lamplighter_core::{
    definition::Phase,
    deployment::{Course, Entry, TaskEntry},
    duration,
    run::Run,
    status::Status,
};
use lamplighter_project::{
    Project, Task, compile::Profile, config::Config, package::package_all,
    tasks::local_values::from_environment,
};
use lamplighter_runner::{
    deploy::{Answer, Deployed, Observer, deploy},
    home::{self, HOME},
    machine::Machine,
    process_environment::ProcessEnvironment,
    stack::Stack,
    storage::synchronous,
};
use lamplighter_template::logical_id;
use serde_json::{Value, json};

use crate::{
    arguments::json::Secrets,
    stack::target::{note_table_in_use, stack_name},
    terminal::{
        output,
        show::{sign, signed},
    },
    tr,
    words::Words,
};

/// Deploys the workspace on this machine, without an AWS account.
///
/// It runs the real dispatcher and the real task binaries.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter up --version 7")]
pub(crate) struct Arguments {
    /// The version to deploy. Default: the live version plus 1.
    #[arg(long)]
    version: Option<String>,
    /// The environment. Overrides `environment` in lamplighter.toml.
    #[arg(long)]
    environment: Option<String>,
    /// The stack's name. Default: the project's.
    #[arg(long, value_parser = stack_name)]
    stack: Option<String>,
    /// The folder with the table, the bucket and the logs.
    #[arg(long, default_value = HOME)]
    home: PathBuf,
    #[command(flatten)]
    secrets: Secrets,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    super::never_wait(words);
    let workspace = super::workspace()?;
    let home = workspace.root.join(&arguments.home);
    home::check(&home)?;
    let packages = package_all(&workspace, Profile::Dev, arguments.environment.as_deref())?;
    let config = Config::load(&workspace.root)?;
    let described = packages.iter().filter_map(|package| package.task.clone()).collect();
    let project = Project::resolve(&workspace.name, described, &config, arguments.environment.as_deref())?;
    let is_started = |task: &Task| task.definition.lifecycle().is_some();
    let project = project.with_values(&arguments.secrets.file().read()?, from_environment, is_started)?;
    let (mut stack, _lock) = Stack::open_locked(&home, arguments.stack.as_deref().unwrap_or(&project.name))?;
    let version = match (&arguments.version, stack.next_version()) {
        (Some(version), _) if version.is_empty() => bail!(tr!(words, "deploy-no-version")),
        (Some(version), _) => version.clone(),
        (None, Some(next)) => next,
        (None, None) => bail!(tr!(words, "deploy-which-version")),
    };
    let before = stack.state.version.clone();
    let deployed = super::runtime()?.block_on(async {
        let tasks = project.tasks.iter().map(Task::name);
        let process_environment = ProcessEnvironment::of(&workspace);
        let machine =
            Machine::start(&home, &stack.name, process_environment, synchronous(&config), tasks).await?;
        machine.install(&project, &packages)?;
        let table = machine.storage.table.clone();
        let mut report = DeploymentReport { words, table, json: arguments.json, resources: Vec::new() };
        report.headline(&stack.name, before.as_deref(), &version);
        let started = Instant::now();
        let deployed = deploy(&machine, &mut stack, &project, &version, &mut report).await;
        machine.stop(|| note_table_in_use(words)).await;
        let deployed = deployed?;
        report.summary(&stack, &deployed, duration::millis(started.elapsed()), before.as_deref());
        anyhow::Ok(deployed)
    })?;
    match deployed.failure {
        Some(reason) => bail!(tr!(words, "deploy-failed", version = version, reason = reason)),
        None => Ok(()),
    }
}

/// Prints a deployment in progress, or collects it as JSON.
struct DeploymentReport<'a> {
    words: &'a Words,
    table: Table,
    json: bool,
    resources: Vec<Value>,
}

impl Observer for DeploymentReport<'_> {
    async fn answered(
        &mut self,
        logical_id: &'static str,
        answer: &Answer,
        entry: Option<&Entry>,
    ) -> anyhow::Result<()> {
        let mut tasks = Vec::new();
        for task in entry.into_iter().flat_map(|entry| &entry.tasks) {
            tasks.push((task, self.table.run(&task.name, task.run_id).await?));
        }
        if self.json {
            self.resources.push(resource(logical_id, answer, entry, &tasks));
        } else if let Some(entry) = entry {
            self.line(&title(self.words, logical_id, entry.course));
            for row in rows(self.words, &tasks) {
                self.line(&format!("  {row}"));
            }
        }
        Ok(())
    }

    fn application(&mut self, version: &str) {
        self.line(&tr!(self.words, "deploy-application"));
        self.line(&format!("  {}", tr!(self.words, "deploy-takes-over", version = version)));
    }

    fn rolling_back(&mut self) {
        self.line(&tr!(self.words, "deploy-rolling-back"));
    }
}

impl DeploymentReport<'_> {
    fn line(&self, text: &str) {
        if !self.json {
            output::line(format!("  {text}"));
        }
    }

    fn headline(&self, stack: &str, before: Option<&str>, version: &str) {
        if !self.json {
            let bold = anstyle::Style::new().bold();
            let line = if let Some(before) = before {
                tr!(self.words, "deploy-update", stack = stack, before = before, version = version)
            } else {
                tr!(self.words, "deploy-first", stack = stack, version = version)
            };
            output::line(format!("{bold}{line}{bold:#}"));
        }
    }

    fn summary(&self, stack: &Stack, deployed: &Deployed, took_ms: u64, before: Option<&str>) {
        let serving = stack.state.version.as_deref();
        if self.json {
            let whole = json!({
                "stack": stack.name,
                "status": deployed.status,
                "version": serving,
                "version_before": before,
                "failure": deployed.failure,
                "duration_ms": took_ms,
                "resources": self.resources,
            });
            output::plain(format!("{whole:#}"));
            return;
        }
        let status = if deployed.failure.is_some() { Status::Failed } else { Status::Completed };
        let (sign, style) = sign(status);
        let serves = match (serving, &deployed.failure) {
            (Some(version), None) => tr!(self.words, "deploy-live", version = version),
            (Some(version), Some(_)) => tr!(self.words, "deploy-stays-live", version = version),
            (None, _) => tr!(self.words, "deploy-none-live"),
        };
        let took = tr!(self.words, "deploy-took", time = self.words.duration(took_ms), serves = serves);
        output::line(format!("{style}{sign} {}{style:#} {took}\n", deployed.status));
    }
}

fn title(words: &Words, id: &str, course: Course) -> String {
    match (course, id == logical_id(Phase::Before)) {
        (Course::Rollback, true) => tr!(words, "deploy-undo-before"),
        (Course::Rollback, false) => tr!(words, "deploy-undo-after"),
        (_, true) => tr!(words, "deploy-before"),
        (_, false) => tr!(words, "deploy-after"),
    }
}

/// One line a task: sign, name, status, duration, attempts, and its reason or message.
fn rows(words: &Words, tasks: &[(&TaskEntry, Option<Run>)]) -> Vec<String> {
    let rows: Vec<_> = tasks
        .iter()
        .map(|(task, run)| {
            let took = run
                .as_ref()
                .filter(|run| !run.attempts.is_empty())
                .map(|run| words.duration(run.duration_ms()));
            let attempts = match run.as_ref().map_or(0, |run| run.attempts.len()) {
                0 | 1 => String::new(),
                more => tr!(words, "tasks-attempts", count = more),
            };
            let said = run.as_ref().and_then(|run| words.reason(run).or_else(|| run.message.clone()));
            let said = said.or_else(|| task.message.clone()).unwrap_or_default();
            let name = task.name.to_string();
            (task.status, [name, words.status(task.status), took.unwrap_or_default(), attempts, said])
        })
        .collect();
    signed(words, 6, &rows)
}

fn resource(id: &str, answer: &Answer, entry: Option<&Entry>, tasks: &[(&TaskEntry, Option<Run>)]) -> Value {
    let tasks: Vec<_> = tasks
        .iter()
        .map(|(task, run)| {
            json!({
                "task": task.name,
                "run_id": task.run_id,
                "status": task.status,
                "message": task.message,
                "attempts": run.as_ref().map_or(0, |run| run.attempts.len()),
                "duration_ms": run.as_ref().map(Run::duration_ms),
            })
        })
        .collect();
    json!({
        "logical_id": id,
        "course": entry.map(|entry| entry.course),
        "success": answer.success,
        "reason": answer.reason,
        "tasks": tasks,
    })
}
