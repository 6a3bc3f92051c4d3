//! The queues of queue tasks: each with its dead-letter queue and its mapping to the function, and the permissions to enqueue
//! jobs.

use lamplighter_aws::table::LeadingKeys;
use lamplighter_core::{definition::Queue, name::TaskName};
use lamplighter_project::{
    Project, Task,
    queues::{DEAD, deliveries, visibility_seconds},
};
use serde_yaml_ng::{Mapping, Value};

use super::{
    group::{Group, Skip, skipping},
    ids::{self, Ids, ON_AWS},
    intrinsics::{attribute, own, queue_arn, reference, sub},
    roles,
    yaml::{list, map, mapping},
};

/// The values that the maximum concurrency of a mapping can have. Source: AWS Lambda API Reference, `ScalingConfig`.
const CONCURRENCY: std::ops::RangeInclusive<u32> = 2..=1000;
/// The retention of messages in SQS, in seconds: the maximum.
const RETENTION_SECONDS: u32 = 14 * 24 * 3600;
/// The actions on the table's items of jobs.
pub(super) const JOBS: [&str; 6] = [
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
];

/// Allows enqueuing, following and aborting jobs of these tasks, and waking those that come after others.
pub(super) fn may_enqueue(tasks: &[TaskName]) -> [Value; 4] {
    [
        roles::items(&JOBS, tasks.iter().flat_map(partitions).collect()),
        roles::allow(&["sqs:SendMessage"], tasks.iter().map(queue_arn).collect()),
        roles::values(tasks),
        roles::job_values(tasks),
    ]
}

/// The partitions of a task's jobs and of their unique keys.
fn partitions(task: &TaskName) -> [String; 2] {
    let LeadingKeys { runs, jobs, .. } = LeadingKeys::of(task);
    [runs, jobs]
}

/// The further statements of a queue task's role. With `notifies` its function also writes the messages about failed jobs.
pub(super) fn function_statements(task: &Task, notifies: bool) -> Vec<Value> {
    let actions =
        ["ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "ReceiveMessage", "SendMessage"];
    let actions = actions.map(|action| format!("sqs:{action}"));
    let actions = actions.each_ref().map(String::as_str);
    let mut statements = vec![roles::allow(&actions, vec![attribute(&ids::queue(task.name()), "Arn")])];
    if notifies {
        let messages = LeadingKeys::of(task.name()).messages.into();
        statements.push(roles::items(&["dynamodb:DeleteItem", "dynamodb:PutItem"], messages));
    }
    statements
}

/// The further properties of a queue task's function.
pub(super) fn function_properties(queue: &Queue) -> Mapping {
    // The function sends a message for each job that waits for a free place or that another job wakes. Lambda considers
    // about 16 such messages in a row a loop, and drops the next. Source: AWS Lambda Developer Guide, "Use Lambda
    // recursive loop detection".
    let mut properties = mapping(map! { "RecursiveLoop" => "Allow" });
    // The maximum concurrency of a mapping is at least two.
    if queue.concurrency == Some(1) {
        properties.insert("ReservedConcurrentExecutions".into(), 1.into());
    }
    properties
}

/// Renders the queue, its dead-letter queue, the policy that requires TLS, and the mapping to the function.
pub(super) fn resources(task: &Task, queue: &Queue) -> Vec<(String, Value)> {
    let (id, dead_id) = (ids::queue(task.name()), ids::dead_letters(task.name()));
    let dead = map! {
        "QueueName" => sub(own(&format!("{}{DEAD}", task.name()))),
        "MessageRetentionPeriod" => RETENTION_SECONDS,
        "SqsManagedSseEnabled" => true,
        "RedriveAllowPolicy" => map! {
            "redrivePermission" => "byQueue",
            "sourceQueueArns" => list![queue_arn(task.name())],
        },
    };
    let live = map! {
        "QueueName" => sub(own(task.name().as_str())),
        "MessageRetentionPeriod" => RETENTION_SECONDS,
        "VisibilityTimeout" => visibility_seconds(task),
        "SqsManagedSseEnabled" => true,
        "RedrivePolicy" => map! {
            "deadLetterTargetArn" => attribute(&dead_id, "Arn"),
            "maxReceiveCount" => deliveries(task),
        },
    };
    let mut mapped = mapping(map! {
        "EventSourceArn" => attribute(&id, "Arn"),
        "FunctionName" => reference(&Ids::of_task(task.name()).function),
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

/// Renders the policy that refuses requests without TLS. It is for AWS only, since an emulator may have no TLS.
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

/// Renders the policies that allow the application's functions to enqueue jobs.
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
