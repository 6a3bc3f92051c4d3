//! Roles: what each function may do, and nothing else.

use lamplighter_aws::table::{JOBS_FOLDER, RUNS_FOLDER};
use lamplighter_core::name::TaskName;
use lamplighter_project::config::Permission;
use serde_yaml_ng::Value;

use super::{
    functions::mapping,
    intrinsics::{attribute, reference, sub},
    storage::{BUCKET, TABLE},
    yaml::{list, map},
};

/// A role that the service takes on, with these statements.
pub(super) fn role(trust: Value, statements: Vec<Value>) -> Value {
    map! {
        "Type" => "AWS::IAM::Role",
        "Properties" => map! {
            "AssumeRolePolicyDocument" => map! { "Version" => "2012-10-17", "Statement" => list![trust] },
            "Policies" => list![map! {
                "PolicyName" => "own",
                "PolicyDocument" => map! { "Version" => "2012-10-17", "Statement" => statements },
            }],
        },
    }
}

/// Lambda takes the role on, for a function that has it.
pub(super) fn trusts_lambda() -> Value {
    map! {
        "Effect" => "Allow",
        "Principal" => map! { "Service" => "lambda.amazonaws.com" },
        "Action" => "sts:AssumeRole",
    }
}

/// EventBridge Scheduler takes the role on, for schedules of this account only.
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

/// Writing to one's own log group. Its ARN ends with `:*`, which are its streams.
pub(super) fn own_log(log_group: &str) -> Value {
    allow(&["logs:CreateLogStream", "logs:PutLogEvents"], vec![attribute(log_group, "Arn")])
}

/// The table, with these actions.
pub(super) fn table(actions: &[&str]) -> Value {
    allow(actions, vec![attribute(TABLE, "Arn")])
}

/// The items of the table whose partitions begin so, with these actions.
pub(super) fn items(actions: &[&str], partitions: Vec<String>) -> Value {
    let mut statement = mapping(table(actions));
    // Every request that reaches the statement has a key. Source: Amazon DynamoDB Developer Guide, "Using IAM policy
    // conditions for fine-grained access control".
    let condition = map! { "ForAllValues:StringLike" => map! { "dynamodb:LeadingKeys" => partitions } };
    statement.insert("Condition".into(), condition);
    statement.into()
}

/// The large values of these tasks' runs.
pub(super) fn values<'a>(tasks: impl IntoIterator<Item = &'a TaskName>) -> Value {
    folders(&["s3:GetObject", "s3:PutObject"], RUNS_FOLDER, tasks)
}

/// The large arguments of these tasks' jobs; those of a job that was not accepted are deleted.
pub(super) fn job_values<'a>(tasks: impl IntoIterator<Item = &'a TaskName>) -> Value {
    folders(&["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], JOBS_FOLDER, tasks)
}

fn folders<'a>(actions: &[&str], of: &str, tasks: impl IntoIterator<Item = &'a TaskName>) -> Value {
    let folder = |task: &TaskName| sub(format!("${{{BUCKET}.Arn}}/{of}/{task}/*"));
    allow(actions, tasks.into_iter().map(folder).collect())
}

/// Asking the table's index for what is due.
pub(super) fn due() -> Value {
    allow(&["dynamodb:Query"], vec![sub(format!("${{{TABLE}.Arn}}/index/due"))])
}

/// What a project allows a task besides.
pub(super) fn declared(permission: &Permission) -> Value {
    let actions: Vec<_> = permission.actions.iter().map(String::as_str).collect();
    let resource =
        |text: &String| if text.contains("${") { sub(text.clone()) } else { Value::from(text.as_str()) };
    allow(&actions, permission.resources.iter().map(resource).collect())
}
