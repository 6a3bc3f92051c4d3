//! The properties of functions and roles that lamplighter.toml sets, and the permissions that a function needs for them.

use lamplighter_project::tasks::properties::is_intrinsic;
use serde_json::{Map, Value as Json};
use serde_yaml_ng::{Mapping, Value};

use super::{
    intrinsics::{function_arn, sub_if_needed},
    roles,
    yaml::{list, map, mapping},
};

/// The actions by which Lambda attaches a function to a VPC. Source: AWS Managed Policy Reference,
/// `AWSLambdaVPCAccessExecutionRole`, version 3.
const NETWORK: [&str; 6] = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
];
/// The actions by which a function sends its traces. Source: AWS Managed Policy Reference, `AWSXRayDaemonWriteAccess`.
const TRACES: [&str; 2] = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"];

/// The actions by which a function uses a file system. Source: AWS Lambda Developer Guide, "Configuring Amazon EFS file system
/// access".
const FILES: [&str; 2] = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"];

/// Renders properties of a function.
pub(super) fn of_function(properties: &Map<String, Json>) -> Mapping {
    properties.iter().map(|(name, value)| (name.as_str().into(), rendered(value))).collect()
}

/// Renders properties of a role. Its tags may be a table, as those of a function are.
pub(super) fn of_role(properties: &Map<String, Json>) -> Mapping {
    let mut rendered = of_function(properties);
    if let Some(tags) = rendered.get_mut("Tags")
        && let Some(entries) = tags.as_mapping().filter(|entries| !is_call(entries))
    {
        let tag = |(key, value): (&Value, &Value)| map! { "Key" => key.clone(), "Value" => value.clone() };
        *tags = entries.iter().map(tag).collect::<Vec<_>>().into();
    }
    rendered
}

/// The statements that a function's role needs for its properties. `name` is the function's name behind the stack's.
pub(super) fn statements(properties: &Map<String, Json>, name: &str) -> Vec<Value> {
    let mut statements = Vec::new();
    if properties.contains_key("VpcConfig") {
        statements.extend(network(name));
    }
    let is_active = |mode: &Json| !matches!(mode.as_str(), Some("PassThrough" | "Disabled"));
    if properties.get("Tracing").is_some_and(is_active) {
        statements.push(roles::allow(&TRACES, vec!["*".into()]));
    }
    statements.extend(properties.get("FileSystemConfigs").and_then(mounts));
    statements.extend(properties.get("KmsKeyArn").map(|key| decrypts(rendered(key))));
    statements
}

/// Allows Lambda to attach the function to a VPC, and denies the same to the code of the function. EC2 describes network
/// interfaces only if all resources are allowed. Source: AWS Lambda Developer Guide, "Giving Lambda functions access to
/// resources in an Amazon VPC".
fn network(name: &str) -> [Value; 2] {
    let allowed = roles::allow(&NETWORK, vec!["*".into()]);
    let mut denied = mapping(allowed.clone());
    denied.insert("Effect".into(), "Deny".into());
    let by_itself = map! { "ArnEquals" => map! { "lambda:SourceFunctionArn" => list![function_arn(name)] } };
    denied.insert("Condition".into(), by_itself);
    [allowed, denied.into()]
}

/// Allows the function to use the file systems of the account through its access points. Returns nothing if no access point is
/// known: the list or its elements may be calls of intrinsic functions.
fn mounts(file_systems: &Json) -> Option<Value> {
    let access_points: Vec<_> =
        file_systems.as_array()?.iter().filter_map(|one| one.get("Arn")).map(rendered).collect();
    if access_points.is_empty() {
        return None;
    }
    let any = "arn:${AWS::Partition}:elasticfilesystem:${AWS::Region}:${AWS::AccountId}:file-system/*";
    let mut allowed = mapping(roles::allow(&FILES, vec![sub_if_needed(any)]));
    let through = map! { "elasticfilesystem:AccessPointArn" => access_points };
    allowed.insert("Condition".into(), map! { "StringEquals" => through });
    Some(allowed.into())
}

/// Allows decrypting the function's environment variables. A key that depends on a condition makes the statement depend on it.
fn decrypts(key: Value) -> Value {
    if let Some([condition, then, otherwise]) =
        key.get("Fn::If").and_then(Value::as_sequence).map(Vec::as_slice)
    {
        let branches = [then, otherwise].map(|key| decrypts(key.clone()));
        let [then, otherwise] = branches;
        return map! { "Fn::If" => list![condition.clone(), then, otherwise] };
    }
    if key.get("Ref").is_some_and(|to| to == "AWS::NoValue") {
        return key;
    }
    roles::allow(&["kms:Decrypt"], vec![key])
}

/// Renders a value of lamplighter.toml. A text with `${..}` becomes a call of `Fn::Sub`. A call of an intrinsic function is
/// kept as it is.
fn rendered(value: &Json) -> Value {
    match value {
        Json::String(text) => sub_if_needed(text),
        Json::Array(items) => items.iter().map(rendered).collect::<Vec<_>>().into(),
        Json::Object(entries) if entries.len() == 1 && entries.keys().all(|key| is_intrinsic(key)) => {
            kept(value)
        }
        Json::Object(entries) => of_function(entries).into(),
        other => kept(other),
    }
}

/// The value with the same content.
fn kept(value: &Json) -> Value {
    serde_yaml_ng::to_value(value).expect("each value of JSON is one of YAML")
}

fn is_call(entries: &Mapping) -> bool {
    entries.len() == 1 && entries.keys().all(|key| key.as_str().is_some_and(is_intrinsic))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: Json) -> Map<String, Json> {
        serde_json::from_value(value).unwrap()
    }

    fn yaml(text: &str) -> Value {
        super::super::read::read(text).unwrap().value()
    }

    #[test]
    fn g07_texts_are_substituted_and_function_calls_are_kept() {
        for (value, expected) in [
            (json!("a"), "a"),
            (json!("${Net}-a"), "{Fn::Sub: '${Net}-a'}"),
            (json!({ "Ref": "A" }), "{Ref: A}"),
            (json!({ "Fn::Sub": "${A}" }), "{Fn::Sub: '${A}'}"),
            (
                json!({ "Fn::If": ["C", "${A}", { "Ref": "AWS::NoValue" }] }),
                "{Fn::If: [C, '${A}', {Ref: AWS::NoValue}]}",
            ),
            (json!({ "Ref": "A", "B": "${C}" }), "{Ref: A, B: {Fn::Sub: '${C}'}}"),
            (
                json!(["a", "${B}", { "Fn::ImportValue": "c" }]),
                "[a, {Fn::Sub: '${B}'}, {Fn::ImportValue: c}]",
            ),
            (json!({ "Size": 512, "On": true }), "{Size: 512, On: true}"),
        ] {
            let mut got = String::new();
            super::super::yaml::entry(&mut got, "V", &rendered(&value), 0);
            let mut wanted = String::new();
            super::super::yaml::entry(&mut wanted, "V", &yaml(expected), 0);
            // Keys of JSON may be in another order.
            let [got, wanted]: [Json; 2] = [got, wanted].map(|text| serde_yaml_ng::from_str(&text).unwrap());
            assert_eq!(got, wanted, "{value}");
        }
    }

    #[test]
    fn g07_tags_of_a_role_are_a_list() {
        let tags = |value: Json| of_role(&object(json!({ "Tags": value })))["Tags"].clone();
        let list = yaml("[{Key: Team, Value: {Fn::Sub: '${T}'}}]");
        assert_eq!(tags(json!({ "Team": "${T}" })), list);
        assert_eq!(tags(json!([{ "Key": "Team", "Value": "${T}" }])), list);
        assert_eq!(tags(json!({ "Ref": "T" })), yaml("{Ref: T}"));
    }

    #[test]
    fn g07_the_key_of_a_condition_is_allowed_under_the_condition() {
        let statements = |key: Json| statements(&object(json!({ "KmsKeyArn": key })), "a");
        let allowed =
            |key: &str| yaml(&format!("{{Effect: Allow, Action: [kms:Decrypt], Resource: [{key}]}}"));
        assert_eq!(statements(json!("arn:aws:kms:::key/k")), [allowed("arn:aws:kms:::key/k")]);
        let conditional =
            json!({ "Fn::If": ["Own", { "Fn::GetAtt": ["Key", "Arn"] }, { "Ref": "AWS::NoValue" }] });
        let wanted = map! {
            "Fn::If" => list!["Own", allowed("{Fn::GetAtt: [Key, Arn]}"), yaml("{Ref: AWS::NoValue}")],
        };
        assert_eq!(statements(conditional), [wanted]);
    }

    #[test]
    fn g07_a_file_system_is_allowed_through_its_access_point() {
        let statements = |files: Json| statements(&object(json!({ "FileSystemConfigs": files })), "a");
        let files = json!([{ "Arn": "${Uploads.Arn}", "LocalMountPath": "/mnt/uploads" }]);
        let wanted = yaml(
            "Effect: Allow\n\
             Action: [elasticfilesystem:ClientMount, elasticfilesystem:ClientWrite]\n\
             Resource:\n  \
             - Fn::Sub: arn:${AWS::Partition}:elasticfilesystem:${AWS::Region}:${AWS::AccountId}:file-system/*\n\
             Condition: {StringEquals: {elasticfilesystem:AccessPointArn: [{Fn::Sub: '${Uploads.Arn}'}]}}\n",
        );
        assert_eq!(statements(files), [wanted]);
        for unknown in [json!([]), json!({ "Fn::If": ["Has", [], []] }), json!([{ "Fn::If": ["Has", 1, 2] }])]
        {
            assert_eq!(statements(unknown), Vec::<Value>::new());
        }
    }

    #[test]
    fn g07_tracing_has_its_permissions_only_if_it_is_active() {
        for (mode, count) in [(json!("Active"), 1), (json!({ "Ref": "Mode" }), 1), (json!("PassThrough"), 0)]
        {
            assert_eq!(statements(&object(json!({ "Tracing": mode })), "a").len(), count, "{mode}");
        }
    }

    proptest! {
        #[test]
        fn g07_a_text_keeps_its_characters(text in "(\\PC|[$]\\{){0,20}") {
            let got = rendered(&json!(text));
            let inner = got.get("Fn::Sub").unwrap_or(&got);
            prop_assert_eq!(inner.as_str().unwrap(), text.as_str());
        }
    }
}
