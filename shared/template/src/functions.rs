//! Functions: of each task, and what they have in common with Lamplighter's own.

use lamplighter_aws::table::LeadingKeys;
use lamplighter_core::{
    definition::{Kind, Phase},
    name::TaskName,
    schedule::{Driver, driver},
};
use lamplighter_project::{Project, Task};
use serde_yaml_ng::{Mapping, Value};

use super::{
    Group, Skip, deployment,
    intrinsics::{attribute, own, reference, sub},
    pulse, queues, roles, schedules, skipping,
    storage::{BUCKET, NO_OWN_KEY, TABLE},
    yaml::{list, map},
};

/// The longest description of a function. Source: AWS Lambda API Reference, `CreateFunction`.
const DESCRIPTION: usize = 256;

/// The logical ids of what a function consists of.
pub(super) struct Ids {
    pub(super) function: String,
    pub(super) role: String,
    pub(super) log_group: String,
}

impl Ids {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            function: format!("{prefix}Function"),
            role: format!("{prefix}Role"),
            log_group: format!("{prefix}LogGroup"),
        }
    }

    pub(super) fn of(task: &TaskName) -> Self {
        Self::new(&task.to_pascal_case())
    }
}

/// What is different from function to function.
pub(super) struct Function<'a> {
    /// Its name behind the stack's.
    pub(super) name: &'a str,
    /// What it does.
    pub(super) description: &'a str,
    /// The name of its package.
    pub(super) package: &'a str,
    pub(super) memory_mb: u32,
    pub(super) seconds: u64,
    pub(super) variables: Mapping,
    /// What its role allows besides the function's own log.
    pub(super) statements: Vec<Value>,
    /// Further keys of its resource, beside its properties.
    pub(super) attributes: Mapping,
    /// Further properties.
    pub(super) properties: Mapping,
}

/// The role, the log group and the function, in this order.
pub(super) fn resources(project: &Project, ids: &Ids, function: Function<'_>) -> [(String, Value); 3] {
    let mut statements = vec![roles::own_log(&ids.log_group)];
    statements.extend(function.statements);
    let log_group = map! {
        "Type" => "AWS::Logs::LogGroup",
        "DeletionPolicy" => "Delete",
        "UpdateReplacePolicy" => "Retain",
        "Properties" => map! {
            "LogGroupName" => sub(format!("/aws/lambda/{}", own(function.name))),
            "RetentionInDays" => project.build.log_retention_days,
        },
    };
    let mut properties = mapping(map! {
        "FunctionName" => sub(own(function.name)),
        "CodeUri" => format!("../target/lamplighter/{}.zip", function.package),
        "Handler" => "bootstrap",
        "Runtime" => "provided.al2023",
        "Architectures" => list![project.build.architecture.to_string()],
        "MemorySize" => function.memory_mb,
        "Timeout" => function.seconds,
        "Role" => attribute(&ids.role, "Arn"),
        // The lines are JSON already; Lambda's own JSON would wrap them once more.
        "LoggingConfig" => map! { "LogFormat" => "Text", "LogGroup" => reference(&ids.log_group) },
        "Environment" => map! { "Variables" => function.variables },
    });
    if !function.description.trim().is_empty() {
        properties.insert("Description".into(), shortened(function.description).into());
    }
    properties.extend(function.properties);
    let mut resource = mapping(map! { "Type" => "AWS::Serverless::Function" });
    resource.extend(function.attributes);
    resource.insert("Properties".into(), properties.into());
    let checked = [
        Skip(
            "CKV_AWS_115",
            "never runs more often at once than it is triggered, and takes nothing from others",
        ),
        Skip("CKV_AWS_116", "a failure is recorded in the table and told to whoever triggered it"),
        Skip("CKV_AWS_117", "needs no network of one's own; in one it could not answer CloudFormation"),
        Skip("CKV_AWS_173", NO_OWN_KEY),
    ];
    [
        (ids.role.clone(), roles::role(roles::trusts_lambda(), statements)),
        (ids.log_group.clone(), skipping(log_group, &[Skip("CKV_AWS_158", NO_OWN_KEY)])),
        (ids.function.clone(), skipping(resource.into(), &checked)),
    ]
}

/// The groups of the tasks that run in Lambda, by name.
pub(super) fn groups(project: &Project) -> Vec<Group> {
    project.tasks.iter().filter_map(|task| group(project, task)).collect()
}

fn group(project: &Project, task: &Task) -> Option<Group> {
    let ids = Ids::of(task.name());
    let mut function = function(project, task);
    match &task.definition.kind {
        Kind::Lifecycle(lifecycle) => {
            let words: Vec<_> = lifecycle.run_on.iter().map(|word| word.as_str()).collect();
            let comment = format!("{}: runs on {}", task.name(), words.join(" and "));
            let place = match lifecycle.phase {
                Phase::Before => "before the application.",
                Phase::After => "after the application.",
            };
            Some(Group::new(format!("{comment}, {place}")).with_all(resources(project, &ids, function)))
        }
        Kind::Cron(cron) => {
            // Its new version may need what the deployment's tasks prepare, as the application's functions may.
            if project.phase(Phase::Before).next().is_some() {
                function.attributes.insert("DependsOn".into(), deployment::BEFORE.into());
            }
            // A tick has one run; tried again it would be refused, which would hide the failure.
            let mut invoked = mapping(map! { "MaximumRetryAttempts" => 0 });
            if project.notify.is_some() {
                invoked.insert("DestinationConfig".into(), pulse::destination());
                function.statements.push(pulse::told());
            }
            function.properties.insert("EventInvokeConfig".into(), invoked.into());
            let comment = match &cron.schedule {
                Some(schedule) => {
                    let by_pulse = matches!(driver(cron), Driver::Pulse { .. });
                    let by = if by_pulse { ", by the pulse" } else { "" };
                    format!("{}: runs at `{schedule}`, {}{by}.", task.name(), cron.timezone)
                }
                None => format!("{}: runs when its function says so.", task.name()),
            };
            let group = Group::new(comment).with_all(resources(project, &ids, function));
            Some(group.with_all(schedules::resources(task.name(), cron)))
        }
        Kind::Queue(queue) => {
            // Its new version may need what the deployment's tasks prepare.
            if project.phase(Phase::Before).next().is_some() {
                function.attributes.insert("DependsOn".into(), deployment::BEFORE.into());
            }
            queues::prepare(&mut function, task, queue, project.notify.is_some());
            let group = Group::new(format!("{}: runs the jobs of its queue.", task.name()));
            Some(group.with_all(resources(project, &ids, function)).with_all(queues::resources(task, queue)))
        }
        Kind::Side(_) => None,
    }
}

fn function<'a>(project: &Project, task: &'a Task) -> Function<'a> {
    let mut variables = mapping(map! {
        "LAMPLIGHTER_TABLE" => reference(TABLE),
        "LAMPLIGHTER_BUCKET" => reference(BUCKET),
        "LAMPLIGHTER_ENVIRONMENT" => project.environment.as_str(),
    });
    variables.extend(task.variables().into_iter().map(|(name, value)| (name.into(), value.into())));
    let name = task.name();
    let own = LeadingKeys::of(name);
    let mut statements = vec![if task.definition.queue().is_some() {
        roles::items(&queues::JOBS, vec![own.task, own.runs, own.jobs])
    } else {
        let actions =
            ["dynamodb:ConditionCheckItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"];
        roles::items(&actions, vec![own.task, own.runs])
    }];
    statements.push(roles::values([name]));
    if task.definition.queue().is_some() {
        statements.push(roles::job_values([name]));
    }
    let reach = queues::reach(project, task);
    if !reach.is_empty() {
        variables.insert(queues::VARIABLE.into(), queues::prefix());
        statements.extend(queues::may_enqueue(&reach));
    }
    statements.extend(task.permissions.iter().map(roles::declared));
    Function {
        name: task.name().as_str(),
        description: &task.definition.description,
        package: task.name().as_str(),
        memory_mb: task.memory_mb,
        seconds: task.function_seconds(),
        variables,
        statements,
        attributes: Mapping::new(),
        properties: Mapping::new(),
    }
}

/// The first paragraph on one line, as much of it as a function's description may hold.
fn shortened(description: &str) -> String {
    let paragraph = description.trim().split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(DESCRIPTION - 1) {
        Some((end, _)) if line.chars().count() > DESCRIPTION => format!("{}…", &line[..end]),
        _ => line,
    }
}

pub(super) fn mapping(value: Value) -> Mapping {
    match value {
        Value::Mapping(mapping) => mapping,
        _ => Mapping::new(),
    }
}
