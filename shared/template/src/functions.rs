//! A function with its role and its log group, rendered from its plan.

use lamplighter_project::{
    Project,
    functions::{FunctionPlan, Variable, VariableValue},
};
use serde_yaml_ng::{Mapping, Value};

use super::{
    group::{Skip, skipping},
    ids::{ANSWER_ENDPOINT, BUCKET, ENVIRONMENT, Ids, TABLE},
    intrinsics::{attribute, own, queue_url_prefix, reference, sub, sub_if_needed},
    properties, roles,
    storage::NO_OWN_KEY,
    yaml::{list, map, mapping},
};

/// The longest description of a function. Source: AWS Lambda API Reference, `CreateFunction`.
const DESCRIPTION: usize = 256;

/// The parts of a function's resources that only the template knows.
#[derive(Default)]
pub(super) struct Additions {
    /// The statements of its role, besides the one for its own log.
    pub(super) statements: Vec<Value>,
    /// Further keys of its resource, beside its properties.
    pub(super) attributes: Mapping,
    /// Further properties.
    pub(super) properties: Mapping,
}

/// Renders the role, the log group and the function, in this order.
pub(super) fn resources(
    project: &Project,
    plan: &FunctionPlan<'_>,
    ids: &Ids,
    additions: Additions,
) -> [(String, Value); 3] {
    let further = plan.kind.task().map_or(&project.framework, |task| &task.properties);
    let mut statements = vec![roles::own_log(&ids.log_group)];
    statements.extend(additions.statements);
    statements.extend(properties::statements(&further.function, plan.name));
    let log_group = map! {
        "Type" => "AWS::Logs::LogGroup",
        "DeletionPolicy" => "Delete",
        "UpdateReplacePolicy" => "Retain",
        "Properties" => map! {
            "LogGroupName" => sub(format!("/aws/lambda/{}", own(plan.name))),
            "RetentionInDays" => project.build.log_retention_days,
        },
    };
    let mut own_properties = mapping(map! {
        "FunctionName" => sub(own(plan.name)),
        "CodeUri" => format!("../target/lamplighter/{}.zip", plan.package),
        "Handler" => "bootstrap",
        "Runtime" => "provided.al2023",
        "Architectures" => list![project.build.architecture.to_string()],
        "MemorySize" => plan.memory_mb,
        "Timeout" => plan.timeout_seconds,
        "Role" => attribute(&ids.role, "Arn"),
        // The lines are JSON already. Lambda's own JSON format would wrap them once more.
        "LoggingConfig" => map! { "LogFormat" => "Text", "LogGroup" => reference(&ids.log_group) },
        "Environment" => map! { "Variables" => variables(&plan.variables) },
    });
    if !plan.description.trim().is_empty() {
        own_properties.insert("Description".into(), shortened(plan.description).into());
    }
    own_properties.extend(additions.properties);
    own_properties.extend(properties::of_function(&further.function));
    let mut resource = mapping(map! { "Type" => "AWS::Serverless::Function" });
    resource.extend(additions.attributes);
    resource.insert("Properties".into(), own_properties.into());
    let mut role = roles::role(roles::trusts_lambda(), statements, properties::of_role(&further.role));
    if further.function.contains_key("VpcConfig") {
        let reason =
            "lets Lambda attach the function to its network, and denies the same to the function's code";
        role = skipping(role, &[Skip("CKV_AWS_111", reason)]);
    }
    [
        (ids.role.clone(), role),
        (ids.log_group.clone(), skipping(log_group, &[Skip("CKV_AWS_158", NO_OWN_KEY)])),
        (ids.function.clone(), skipping(resource.into(), &skips(&further.function))),
    ]
}

/// The checks that do not apply to a function without the property that they ask for.
fn skips(further: &serde_json::Map<String, serde_json::Value>) -> Vec<Skip> {
    let all = [
        (
            "ReservedConcurrentExecutions",
            Skip(
                "CKV_AWS_115",
                "its triggers limit its concurrency, and other functions need no protection from it",
            ),
        ),
        ("", Skip("CKV_AWS_116", "a failure is recorded in the table")),
        ("VpcConfig", Skip("CKV_AWS_117", "needs no VPC")),
        ("KmsKeyArn", Skip("CKV_AWS_173", NO_OWN_KEY)),
    ];
    all.into_iter().filter(|(property, _)| !further.contains_key(*property)).map(|(_, skip)| skip).collect()
}

/// Renders environment variables, in their order.
pub(super) fn variables(variables: &[Variable<'_>]) -> Mapping {
    let entry = |variable: &Variable<'_>| (variable.name.as_str().into(), value(&variable.value));
    variables.iter().map(entry).collect()
}

fn value(value: &VariableValue<'_>) -> Value {
    match value {
        VariableValue::Text(text) => text.as_str().into(),
        VariableValue::Template(text) => sub_if_needed(text),
        VariableValue::Table => reference(TABLE),
        VariableValue::Bucket => reference(BUCKET),
        VariableValue::QueueUrlPrefix => queue_url_prefix(),
        VariableValue::Environment(_) => reference(ENVIRONMENT),
        VariableValue::Stack => reference("AWS::StackName"),
        VariableValue::AnswerEndpoint => reference(ANSWER_ENDPOINT),
        VariableValue::NotifyTarget(target) => target.packed().0.to_string().into(),
    }
}

/// The first paragraph on one line, cut to the length of a function's description.
fn shortened(description: &str) -> String {
    let paragraph = description.trim().split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(DESCRIPTION - 1) {
        Some((end, _)) if line.chars().count() > DESCRIPTION => format!("{}…", &line[..end]),
        _ => line,
    }
}
