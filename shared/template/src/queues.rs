//! Queues: of each queue task, with its dead letters and what brings its messages to its function; and what those need
//! who enqueue jobs.

use std::collections::BTreeSet;

use lamplighter_aws::table::LeadingKeys;
use lamplighter_core::{definition::Queue, name::TaskName};
use lamplighter_project::{
    Project, Task,
    queues::{DEAD, deliveries, visibility_seconds},
};
use serde_yaml_ng::Value;

use super::{
    Group, ON_AWS, Skip,
    functions::{Function, Ids, mapping},
    intrinsics::{attribute, own, reference, sub},
    roles, skipping,
    yaml::{list, map},
};

/// The variable that tells whoever enqueues what the URLs of all queues begin with.
pub(super) const VARIABLE: &str = "LAMPLIGHTER_QUEUES";
/// The output that says it.
pub const OUTPUT: &str = "LamplighterQueues";

/// How many invocations a mapping can be bounded to. Source: AWS Lambda API Reference, `ScalingConfig`.
const CONCURRENCY: std::ops::RangeInclusive<u32> = 2..=1000;
/// How long a message is kept, in seconds: the longest that SQS does.
const KEPT_SECONDS: u32 = 14 * 24 * 3600;

/// What the URLs of all queues begin with; a task's name is the rest.
pub(super) fn prefix() -> Value {
    sub(format!("https://sqs.${{AWS::Region}}.${{AWS::URLSuffix}}/${{AWS::AccountId}}/{}", own("")))
}

/// The ARN of a task's queue, whose name is fixed: its own attribute could be a circle.
pub(super) fn arn(task: &TaskName) -> Value {
    arn_of(task.as_str())
}

/// The ARN of the queue of a task's dead letters.
pub(super) fn dead_arn(task: &TaskName) -> Value {
    arn_of(&format!("{task}{DEAD}"))
}

fn arn_of(queue: &str) -> Value {
    sub(format!("arn:${{AWS::Partition}}:sqs:${{AWS::Region}}:${{AWS::AccountId}}:{}", own(queue)))
}

/// What lets somebody enqueue jobs for these tasks, follow or abort them, and wake those that come after others.
pub(super) fn may_enqueue(tasks: &[TaskName]) -> [Value; 4] {
    [
        roles::items(&JOBS, tasks.iter().flat_map(partitions).collect()),
        roles::allow(&["sqs:SendMessage"], tasks.iter().map(arn).collect()),
        roles::values(tasks),
        roles::job_values(tasks),
    ]
}

/// The other queue tasks that a task reaches: those for which it enqueues jobs, and if it is one itself, those whose jobs may
/// come after its own. Whoever enqueues for both can have put them in that order, and the end of the first wakes the second.
pub(super) fn reach(project: &Project, task: &Task) -> Vec<TaskName> {
    let name = task.name();
    let enqueues = project.tasks.iter().map(|task| &task.definition.enqueues);
    let together = enqueues.chain(project.functions.values()).filter(|tasks| tasks.contains(name));
    let reached: BTreeSet<_> = together.chain([&task.definition.enqueues]).flatten().collect();
    reached.into_iter().filter(|other| *other != name).cloned().collect()
}

/// What the table's items of jobs need.
pub(super) const JOBS: [&str; 6] = [
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
];

/// Where the jobs of a task are, and what keeps them unique.
fn partitions(task: &TaskName) -> [String; 2] {
    let LeadingKeys { runs, jobs, .. } = LeadingKeys::of(task);
    [runs, jobs]
}

/// Gives the function of a queue task what it needs besides. With `notifies` somebody is told of its failed jobs.
pub(super) fn prepare(function: &mut Function<'_>, task: &Task, queue: &Queue, notifies: bool) {
    let actions =
        ["ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "ReceiveMessage", "SendMessage"];
    let actions = actions.map(|action| format!("sqs:{action}"));
    let actions = actions.each_ref().map(String::as_str);
    function.statements.push(roles::allow(&actions, vec![attribute(&id(task), "Arn")]));
    function.variables.insert(VARIABLE.into(), prefix());
    // A job that finds no place, or wakes others, has its function send a message for each. Lambda takes 16 of them in a row for a
    // loop, and stops the message. Source: AWS Lambda Developer Guide, "Use Lambda recursive loop detection".
    function.properties.insert("RecursiveLoop".into(), "Allow".into());
    if notifies {
        function.variables.insert("LAMPLIGHTER_NOTIFIES".into(), reference("AWS::StackName"));
        let messages = LeadingKeys::of(task.name()).messages.into();
        function.statements.push(roles::items(&["dynamodb:DeleteItem", "dynamodb:PutItem"], messages));
    }
    // Two is the least that a mapping can be bounded to.
    if queue.concurrency == Some(1) {
        function.properties.insert("ReservedConcurrentExecutions".into(), 1.into());
    }
}

fn id(task: &Task) -> String {
    format!("{}Queue", task.name().to_pascal_case())
}

/// The queue, its dead letters, the policies that ask for TLS, and the mapping to the function.
pub(super) fn resources(task: &Task, queue: &Queue) -> Vec<(String, Value)> {
    let (id, dead_id) = (id(task), format!("{}DeadLetters", task.name().to_pascal_case()));
    let dead = map! {
        "QueueName" => sub(own(&format!("{}{DEAD}", task.name()))),
        "MessageRetentionPeriod" => KEPT_SECONDS,
        "SqsManagedSseEnabled" => true,
        "RedriveAllowPolicy" => map! {
            "redrivePermission" => "byQueue",
            "sourceQueueArns" => list![arn(task.name())],
        },
    };
    let live = map! {
        "QueueName" => sub(own(task.name().as_str())),
        "MessageRetentionPeriod" => KEPT_SECONDS,
        "VisibilityTimeout" => visibility_seconds(task),
        "SqsManagedSseEnabled" => true,
        "RedrivePolicy" => map! {
            "deadLetterTargetArn" => attribute(&dead_id, "Arn"),
            "maxReceiveCount" => deliveries(task),
        },
    };
    let mut mapped = mapping(map! {
        "EventSourceArn" => attribute(&id, "Arn"),
        "FunctionName" => reference(&Ids::of(task.name()).function),
        "BatchSize" => task.batch(),
        "FunctionResponseTypes" => list!["ReportBatchItemFailures"],
    });
    if let Some(concurrency) = queue.concurrency {
        let most = concurrency.clamp(*CONCURRENCY.start(), *CONCURRENCY.end());
        mapped.insert("ScalingConfig".into(), map! { "MaximumConcurrency" => most });
    }
    vec![
        (dead_id.clone(), queue_of(dead)),
        (id.clone(), queue_of(live)),
        (format!("{id}Policy"), only_tls(&[&id, &dead_id])),
        (
            format!("{id}Mapping"),
            map! { "Type" => "AWS::Lambda::EventSourceMapping", "Properties" => mapped },
        ),
    ]
}

fn queue_of(properties: Value) -> Value {
    let queue = map! {
        "Type" => "AWS::SQS::Queue",
        "DeletionPolicy" => "Delete",
        "UpdateReplacePolicy" => "Retain",
        "Properties" => properties,
    };
    skipping(
        queue,
        &[Skip("CKV_AWS_27", "encrypted with a key that SQS owns, which the check does not know of")],
    )
}

/// The policy that refuses whoever comes without TLS, on AWS, where everybody can.
fn only_tls(queues: &[&str]) -> Value {
    map! {
        "Type" => "AWS::SQS::QueuePolicy",
        "Condition" => ON_AWS,
        "Properties" => map! {
            "Queues" => queues.iter().map(|id| reference(id)).collect::<Vec<_>>(),
            "PolicyDocument" => map! {
                "Version" => "2012-10-17",
                "Statement" => list![map! {
                    "Sid" => "OnlyEncryptedConnections",
                    "Effect" => "Deny",
                    "Principal" => "*",
                    "Action" => "sqs:*",
                    "Resource" => queues.iter().map(|id| attribute(id, "Arn")).collect::<Vec<_>>(),
                    "Condition" => map! { "Bool" => map! { "aws:SecureTransport" => "false" } },
                }],
            },
        },
    }
}

/// What lets the application's functions enqueue jobs.
pub(super) fn groups(project: &Project, roles: &[(String, Value)]) -> Vec<Group> {
    let policy = |(function, role): &(String, Value)| {
        let tasks = project.functions.get(function)?;
        let document = map! { "Version" => "2012-10-17", "Statement" => may_enqueue(tasks).to_vec() };
        let policy = map! {
            "Type" => "AWS::IAM::Policy",
            "Properties" => map! {
                "PolicyName" => "enqueue",
                "PolicyDocument" => document,
                "Roles" => list![role.clone()],
            },
        };
        Some((format!("{function}Enqueues"), policy))
    };
    let policies: Vec<_> = roles.iter().filter_map(policy).collect();
    if policies.is_empty() {
        return Vec::new();
    }
    vec![Group::new("What lets the application's functions enqueue jobs.").with_all(policies)]
}
