//! What CloudFormation works out itself, in the long form that every reader understands.

use serde_yaml_ng::Value;

use super::yaml::{list, map};

/// Another resource, or a parameter.
pub(super) fn reference(to: &str) -> Value {
    map! { "Ref" => to }
}

/// An attribute of another resource.
pub(super) fn attribute(of: &str, name: &str) -> Value {
    map! { "Fn::GetAtt" => list![of, name] }
}

/// A text with `${...}` in it.
pub(super) fn sub(text: impl Into<String>) -> Value {
    map! { "Fn::Sub" => text.into() }
}

/// The ARN of a function that has a fixed name. Where a role may invoke what depends on that role, the function's
/// own attribute would be a circle.
pub(super) fn function_arn(suffix: &str) -> Value {
    sub(format!(
        "arn:${{AWS::Partition}}:lambda:${{AWS::Region}}:${{AWS::AccountId}}:function:{}",
        own(suffix)
    ))
}

/// A name that begins with the stack's.
pub(super) fn own(suffix: &str) -> String {
    format!("${{AWS::StackName}}-{suffix}")
}
