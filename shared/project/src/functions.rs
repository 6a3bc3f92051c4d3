//! The Lambda functions of a project. The template and the local host both render these plans, so that a function has the
//! same name, timeout and variables in AWS and on one machine.

use std::collections::BTreeSet;

use lamplighter_core::{
    definition::{Cron, Kind, Lifecycle, Queue},
    name::TaskName,
    notification::Target,
    schedule::{Driver, driver},
};

use crate::{
    Project, Task,
    workspace::{DISPATCHER, PULSE},
};

/// The dispatcher's name behind the stack's.
pub const DISPATCHER_FUNCTION: &str = "lamplighter-dispatcher";
/// The fallback responder's name behind the stack's.
pub const FALLBACK_FUNCTION: &str = "lamplighter-fallback";
/// The pulse's name behind the stack's.
pub const PULSE_FUNCTION: &str = "lamplighter-pulse";

/// The variable with the name of the stack's bucket.
pub const BUCKET: &str = "LAMPLIGHTER_BUCKET";

/// The memory of the framework's own functions.
const OWN_MEMORY_MB: u32 = 256;
/// The timeout of the dispatcher: the longest that Lambda allows. Before it ends, the dispatcher invokes itself again.
const DISPATCHER_SECONDS: u64 = 900;
/// The timeout of the fallback responder, which only sends one answer.
const FALLBACK_SECONDS: u64 = 60;
/// The timeout of the pulse. It ends before the next minute's pulse starts.
const PULSE_SECONDS: u64 = 55;
/// Lambda's default number of retries of a failed asynchronous invocation. Source: AWS Lambda Developer
/// Guide, "Configuring error handling for asynchronous invocation".
const DEFAULT_RETRIES: u8 = 2;
/// The days for which the deployments' ledger keeps its entries at least.
pub const LEDGER_DAYS: u64 = 400;
const DAY: u64 = 24 * 3600;

/// A Lambda function of a project.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionPlan<'a> {
    /// The kind of function, with its task. Its role and its trigger follow from this.
    pub kind: FunctionKind<'a>,
    /// The name behind the stack's: the function is called `{stack}-{name}`.
    pub name: &'a str,
    /// The package, and the binary in it.
    pub package: &'a str,
    /// The description, of any length. It may be empty.
    pub description: &'a str,
    /// The memory in megabytes.
    pub memory_mb: u32,
    /// The longest time of one invocation.
    pub timeout_seconds: u64,
    /// The environment variables, in the order in which they are written.
    pub variables: Vec<Variable<'a>>,
    /// The number of times that Lambda retries a failed asynchronous invocation.
    pub max_retries: u8,
    /// The receiver of the record of an asynchronous invocation whose retries all failed.
    pub on_failure: Option<Destination<'a>>,
    /// True if the stack in AWS has the function. It has the dispatcher only if a deployment starts tasks, and the pulse only if
    /// a task needs it. One machine has all functions.
    pub in_stack: bool,
}

/// The kind of a function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FunctionKind<'a> {
    /// A lifecycle task. The dispatcher invokes it.
    Lifecycle(&'a Task, &'a Lifecycle),
    /// A cron task. EventBridge Scheduler or the pulse invokes it.
    Cron(&'a Task, &'a Cron),
    /// A queue task. An event source mapping invokes it with batches of messages.
    Queue(&'a Task, &'a Queue),
    /// The dispatcher. CloudFormation invokes it for the custom resources of a deployment.
    Dispatcher,
    /// The fallback responder. Lambda invokes it with the record of a dispatcher that failed.
    Fallback,
    /// The pulse. EventBridge Scheduler invokes it each minute.
    Pulse,
}

impl<'a> FunctionKind<'a> {
    /// The task, if the function is a task's.
    pub fn task(self) -> Option<&'a Task> {
        match self {
            Self::Lifecycle(task, _) | Self::Cron(task, _) | Self::Queue(task, _) => Some(task),
            Self::Dispatcher | Self::Fallback | Self::Pulse => None,
        }
    }
}

/// An environment variable of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable<'a> {
    /// The name.
    pub name: String,
    /// The value.
    pub value: VariableValue<'a>,
}

/// The value of an environment variable. Most are known only to the stack or to the machine that runs it.
#[derive(Clone, Debug, PartialEq)]
pub enum VariableValue<'a> {
    /// This text.
    Text(String),
    /// A text with `${..}` or `{{resolve:..}}` in it, which CloudFormation replaces.
    Template(&'a str),
    /// The table's name.
    Table,
    /// The bucket's name.
    Bucket,
    /// The beginning of the URL of each queue. The task's name follows it.
    QueueUrlPrefix,
    /// The environment. A stack may serve another one than the project was resolved for.
    Environment(&'a str),
    /// The stack's name.
    Stack,
    /// The endpoint for CloudFormation's answers, where that is an emulator; else empty.
    AnswerEndpoint,
    /// The target of failure notifications, as JSON. The value of a target with `${..}` in it is a variable of its own.
    NotifyTarget(&'a Target),
}

/// The receiver of the records of failed invocations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Destination<'a> {
    /// A function of the stack, by its name behind the stack's.
    Function(&'static str),
    /// The project's target of failure notifications: a topic or an event bus.
    Target(&'a Target),
}

/// Plans every function of a project: those of the tasks that run in Lambda, by name, then the pulse, the dispatcher and the
/// fallback responder. Side tasks have none.
pub fn functions(project: &Project) -> Vec<FunctionPlan<'_>> {
    let tasks = project.tasks.iter().filter_map(|task| task_function(project, task));
    tasks.chain([pulse(project), dispatcher(project), fallback(project)]).collect()
}

/// Plans the function of one task. A side task has none.
pub fn task_function<'a>(project: &'a Project, task: &'a Task) -> Option<FunctionPlan<'a>> {
    let kind = match &task.definition.kind {
        Kind::Lifecycle(lifecycle) => FunctionKind::Lifecycle(task, lifecycle),
        Kind::Cron(cron) => FunctionKind::Cron(task, cron),
        Kind::Queue(queue) => FunctionKind::Queue(task, queue),
        Kind::Side(_) => return None,
    };
    let is_cron = matches!(kind, FunctionKind::Cron(..));
    Some(FunctionPlan {
        kind,
        name: task.name().as_str(),
        package: task.name().as_str(),
        description: &task.definition.description,
        memory_mb: task.memory_mb,
        timeout_seconds: task.function_seconds(),
        variables: task_variables(project, task),
        // A tick has one run. A retry would be refused, which would hide the failure.
        max_retries: if is_cron { 0 } else { DEFAULT_RETRIES },
        on_failure: (is_cron && project.notify.is_some()).then_some(Destination::Function(PULSE_FUNCTION)),
        in_stack: true,
    })
}

/// The environment variables of a task's process.
pub fn task_variables<'a>(project: &'a Project, task: &'a Task) -> Vec<Variable<'a>> {
    let is_queue = task.definition.queue().is_some();
    let mut variables = vec![
        variable("LAMPLIGHTER_TABLE", VariableValue::Table),
        variable(BUCKET, VariableValue::Bucket),
        environment(project),
    ];
    let own = task.variables().into_iter();
    variables.extend(own.map(|(name, text)| Variable { name, value: VariableValue::Text(text) }));
    if is_queue || !reachable_queues(project, task).is_empty() {
        variables.push(queues());
    }
    if is_queue && project.notify.is_some() {
        variables.push(variable("LAMPLIGHTER_NOTIFIES", VariableValue::Stack));
    }
    variables
}

/// The environment variables that an application's function needs to enqueue jobs.
pub fn enqueuing_variables(project: &Project) -> Vec<Variable<'_>> {
    vec![
        variable("LAMPLIGHTER_TABLE", VariableValue::Table),
        variable(BUCKET, VariableValue::Bucket),
        environment(project),
        queues(),
    ]
}

/// The other queue tasks whose jobs a task's function enqueues or wakes.
///
/// A task enqueues jobs for the tasks that it declares. The function of a queue task also wakes the followers of its
/// jobs. A follower can belong to any task for which some function enqueues jobs together with this one.
pub fn reachable_queues(project: &Project, task: &Task) -> Vec<TaskName> {
    let name = task.name();
    let enqueues = project.tasks.iter().map(|task| &task.definition.enqueues);
    let with_this_task = enqueues.chain(project.functions.values()).filter(|tasks| tasks.contains(name));
    let reached: BTreeSet<_> = with_this_task.chain([&task.definition.enqueues]).flatten().collect();
    reached.into_iter().filter(|other| *other != name).cloned().collect()
}

fn dispatcher(project: &Project) -> FunctionPlan<'_> {
    FunctionPlan {
        kind: FunctionKind::Dispatcher,
        name: DISPATCHER_FUNCTION,
        package: DISPATCHER,
        description: "Runs the tasks of a deployment and answers CloudFormation.",
        memory_mb: OWN_MEMORY_MB,
        timeout_seconds: DISPATCHER_SECONDS,
        variables: dispatcher_variables(project),
        max_retries: DEFAULT_RETRIES,
        on_failure: Some(Destination::Function(FALLBACK_FUNCTION)),
        in_stack: has_lifecycle_tasks(project),
    }
}

fn fallback(project: &Project) -> FunctionPlan<'_> {
    FunctionPlan {
        kind: FunctionKind::Fallback,
        name: FALLBACK_FUNCTION,
        package: DISPATCHER,
        description: "Answers CloudFormation when the dispatcher could not.",
        memory_mb: OWN_MEMORY_MB,
        timeout_seconds: FALLBACK_SECONDS,
        variables: dispatcher_variables(project),
        max_retries: DEFAULT_RETRIES,
        on_failure: None,
        in_stack: has_lifecycle_tasks(project),
    }
}

fn pulse(project: &Project) -> FunctionPlan<'_> {
    let has_queues = project.queues().next().is_some();
    let by_pulse = |cron: &Cron| matches!(driver(cron), Driver::Pulse { .. });
    let mut variables = vec![
        variable("LAMPLIGHTER_TABLE", VariableValue::Table),
        variable("LAMPLIGHTER_STACK", VariableValue::Stack),
        environment(project),
    ];
    if has_queues {
        variables.extend([queues(), variable(BUCKET, VariableValue::Bucket)]);
    }
    if let Some(target) = &project.notify {
        variables.push(variable("LAMPLIGHTER_NOTIFY", VariableValue::NotifyTarget(target)));
        let (_, beside) = target.packed();
        let beside = beside.map(VariableValue::Template);
        variables.extend(beside.map(|value| variable("LAMPLIGHTER_NOTIFY_VALUE", value)));
    }
    let in_aws = |target: &&Target| !matches!(target, Target::Webhook(_));
    FunctionPlan {
        kind: FunctionKind::Pulse,
        name: PULSE_FUNCTION,
        package: PULSE,
        description: "Starts what is due each minute, ends what was lost, and tells of failures.",
        memory_mb: OWN_MEMORY_MB,
        timeout_seconds: PULSE_SECONDS,
        variables,
        max_retries: DEFAULT_RETRIES,
        on_failure: project.notify.as_ref().filter(in_aws).map(Destination::Target),
        in_stack: has_queues
            || project.cron().any(|(_, cron)| by_pulse(cron))
            || project.notify.is_some() && project.cron().next().is_some(),
    }
}

fn has_lifecycle_tasks(project: &Project) -> bool {
    project.tasks.iter().any(|task| task.definition.lifecycle().is_some())
}

/// The variables of the dispatcher and of the fallback responder. If some task keeps its records for longer than
/// [`LEDGER_DAYS`], the ledger keeps its entries for the same time.
fn dispatcher_variables(project: &Project) -> Vec<Variable<'_>> {
    let longest = project.tasks.iter().map(|task| task.definition.retention).max().unwrap_or_default();
    let days = longest.as_secs().div_ceil(DAY);
    let mut variables = vec![
        variable("LAMPLIGHTER_TABLE", VariableValue::Table),
        variable("LAMPLIGHTER_ANSWER_ENDPOINT", VariableValue::AnswerEndpoint),
    ];
    if days > LEDGER_DAYS {
        variables.push(variable("LAMPLIGHTER_RETENTION_DAYS", VariableValue::Text(days.to_string())));
    }
    variables
}

fn environment(project: &Project) -> Variable<'_> {
    variable("LAMPLIGHTER_ENVIRONMENT", VariableValue::Environment(&project.environment))
}

fn queues<'a>() -> Variable<'a> {
    variable("LAMPLIGHTER_QUEUES", VariableValue::QueueUrlPrefix)
}

fn variable<'a>(name: &str, value: VariableValue<'a>) -> Variable<'a> {
    Variable { name: name.to_owned(), value }
}
