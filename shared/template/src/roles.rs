//! The roles of functions and schedules. Each allows only the actions that its own work needs.

use lamplighter_aws::table::{JOBS_FOLDER, RUNS_FOLDER};
use lamplighter_core::name::TaskName;
use lamplighter_project::config::Permission;
use serde_yaml_ng::{Mapping, Value};

use super::{
    ids::{BUCKET, TABLE},
    intrinsics::{attribute, reference, sub, sub_if_needed},
    yaml::{list, map, mapping},
};

/// Renders a role that the service assumes, with these statements and these further properties.
pub(super) fn role(trust: Value, statements: Vec<Value>, further: Mapping) -> Value {
    let mut properties = mapping(map! {
        "AssumeRolePolicyDocument" => map! { "Version" => "2012-10-17", "Statement" => list![trust] },
        "Policies" => list![map! {
            "PolicyName" => "own",
            "PolicyDocument" => map! { "Version" => "2012-10-17", "Statement" => statements },
        }],
    });
    properties.extend(further);
    map! { "Type" => "AWS::IAM::Role", "Properties" => properties }
}

/// Lets Lambda assume the role.
pub(super) fn trusts_lambda() -> Value {
    map! {
        "Effect" => "Allow",
        "Principal" => map! { "Service" => "lambda.amazonaws.com" },
        "Action" => "sts:AssumeRole",
    }
}

/// Lets EventBridge Scheduler assume the role, for schedules of this account only.
pub(super) fn trusts_scheduler() -> Value {
    map! {
        "Effect" => "Allow",
        "Principal" => map! { "Service" => "scheduler.amazonaws.com" },
        "Action" => "sts:AssumeRole",
        "Condition" => map! {
            "StringEquals" => map! { "aws:SourceAccount" => reference("AWS::AccountId") },
        },
    }
}

/// Allows the actions on the resources.
pub(super) fn allow(actions: &[&str], resources: Vec<Value>) -> Value {
    map! {
        "Effect" => "Allow",
        "Action" => actions.iter().map(|action| Value::from(*action)).collect::<Vec<_>>(),
        "Resource" => resources,
    }
}

/// Allows writing to the function's own log group. The ARN ends with `:*`, which are its streams.
pub(super) fn own_log(log_group: &str) -> Value {
    allow(&["logs:CreateLogStream", "logs:PutLogEvents"], vec![attribute(log_group, "Arn")])
}

/// Allows the actions on the whole table.
pub(super) fn table(actions: &[&str]) -> Value {
    allow(actions, vec![attribute(TABLE, "Arn")])
}

/// Allows the actions on the items in these partitions of the table. `*` is any text.
pub(super) fn items(actions: &[&str], partitions: Vec<String>) -> Value {
    let mut statement = mapping(table(actions));
    // Each request that these actions make has a key. Source: Amazon DynamoDB Developer Guide, "Using IAM policy
    // conditions for fine-grained access control".
    let condition = map! { "ForAllValues:StringLike" => map! { "dynamodb:LeadingKeys" => partitions } };
    statement.insert("Condition".into(), condition);
    statement.into()
}

/// Allows writing the large values of a task's runs. Only the command line reads those of a task that is no queue task.
pub(super) fn written_values(task: &TaskName) -> Value {
    folders(&["s3:PutObject"], RUNS_FOLDER, [task])
}

/// Allows reading and writing the large values of these tasks' runs.
pub(super) fn values<'a>(tasks: impl IntoIterator<Item = &'a TaskName>) -> Value {
    folders(&["s3:GetObject", "s3:PutObject"], RUNS_FOLDER, tasks)
}

/// Allows access to the large arguments of these tasks' jobs. Those of a rejected job are deleted.
pub(super) fn job_values<'a>(tasks: impl IntoIterator<Item = &'a TaskName>) -> Value {
    folders(&["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], JOBS_FOLDER, tasks)
}

/// Allows passing on large arguments to the jobs of these tasks that wait for other jobs.
pub(super) fn follower_values<'a>(tasks: impl IntoIterator<Item = &'a TaskName>) -> Value {
    folders(&["s3:GetObject", "s3:PutObject"], JOBS_FOLDER, tasks)
}

fn folders<'a>(actions: &[&str], of: &str, tasks: impl IntoIterator<Item = &'a TaskName>) -> Value {
    let folder = |task: &TaskName| sub(format!("${{{BUCKET}.Arn}}/{of}/{task}/*"));
    allow(actions, tasks.into_iter().map(folder).collect())
}

/// Allows querying the table's index of what is due.
pub(super) fn due() -> Value {
    allow(&["dynamodb:Query"], vec![sub(format!("${{{TABLE}.Arn}}/index/due"))])
}

/// A permission that lamplighter.toml adds to a task.
pub(super) fn declared(permission: &Permission) -> Value {
    let actions: Vec<_> = permission.actions.iter().map(String::as_str).collect();
    allow(&actions, permission.resources.iter().map(|text| sub_if_needed(text)).collect())
}
