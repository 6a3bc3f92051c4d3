//! CloudFormation's intrinsic functions, in their long form.

use lamplighter_core::name::TaskName;
use lamplighter_project::queues::DEAD;
use serde_yaml_ng::Value;

use super::yaml::{list, map};

/// Refers to another resource, or to a parameter.
pub(super) fn reference(to: &str) -> Value {
    map! { "Ref" => to }
}

/// An attribute of another resource.
pub(super) fn attribute(of: &str, name: &str) -> Value {
    map! { "Fn::GetAtt" => list![of, name] }
}

/// A text with `${..}` in it.
pub(super) fn sub(text: impl Into<String>) -> Value {
    map! { "Fn::Sub" => text.into() }
}

/// A text that may have `${..}` in it.
pub(super) fn sub_if_needed(text: &str) -> Value {
    if text.contains("${") { sub(text) } else { Value::from(text) }
}

/// A name that begins with the stack's.
pub(super) fn own(suffix: &str) -> String {
    format!("${{AWS::StackName}}-{suffix}")
}

/// The ARN of a function of the stack, built from its name.
///
/// A role that may invoke a function which depends on that role cannot refer to the function itself: that would be a
/// circular dependency.
pub(super) fn function_arn(suffix: &str) -> Value {
    sub(format!(
        "arn:${{AWS::Partition}}:lambda:${{AWS::Region}}:${{AWS::AccountId}}:function:{}",
        own(suffix)
    ))
}

/// The ARN of a task's queue, built from its name as in [`function_arn`].
pub(super) fn queue_arn(task: &TaskName) -> Value {
    sqs_arn(task.as_str())
}

/// The ARN of a task's dead-letter queue.
pub(super) fn dead_letters_arn(task: &TaskName) -> Value {
    sqs_arn(&format!("{task}{DEAD}"))
}

fn sqs_arn(queue: &str) -> Value {
    sub(format!("arn:${{AWS::Partition}}:sqs:${{AWS::Region}}:${{AWS::AccountId}}:{}", own(queue)))
}

/// The beginning of the URL of each queue. The task's name follows it.
pub(super) fn queue_url_prefix() -> Value {
    sub(format!("https://sqs.${{AWS::Region}}.${{AWS::URLSuffix}}/${{AWS::AccountId}}/{}", own("")))
}
