//! The application's `Globals`. They are applied to its own functions here, since SAM would apply them to every function of
//! the generated template. Source: AWS SAM Developer Guide, "Globals section of the AWS SAM template".

use serde_yaml_ng::{Mapping, Value};

use super::yaml::mapping;

/// The type to which `Globals.Function` applies.
const FUNCTION: &str = "AWS::Serverless::Function";
/// The properties that are not allowed in `Globals`.
pub(super) const NEVER_GLOBAL: [&str; 4] = ["Role", "Policies", "FunctionName", "Events"];
/// The list that a function's own list replaces. Other lists are joined.
const REPLACED: &str = "Architectures";
/// The attribute by which a resource opts out of globals.
const IGNORED: &str = "IgnoreGlobals";

/// Applies the globals to a resource, if it is a function.
pub(super) fn applied(globals: &Mapping, resource: Value) -> Value {
    if resource["Type"] != FUNCTION {
        return resource;
    }
    let mut resource = mapping(resource);
    let ignored = resource.shift_remove(IGNORED).unwrap_or_default();
    let is_ignored = |key: &Value| match &ignored {
        Value::Sequence(keys) => keys.contains(key),
        word => word == "*",
    };
    let globals: Mapping =
        globals.iter().filter(|(key, _)| !is_ignored(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let own = mapping(resource.get("Properties").cloned().unwrap_or_default());
    let properties = merged(globals, own, true);
    if !properties.is_empty() {
        resource.insert("Properties".into(), properties.into());
    }
    resource.into()
}

/// Merges the entries of both. If both have a key, mappings are merged and lists are joined; else the function's own value
/// takes precedence.
fn merged(mut common: Mapping, own: Mapping, is_outermost: bool) -> Mapping {
    for (key, own) in own {
        let value = match (common.get_mut(&key).map(std::mem::take), own) {
            (Some(Value::Sequence(mut items)), Value::Sequence(own))
                if !(is_outermost && key == REPLACED) =>
            {
                items.extend(own);
                items.into()
            }
            (Some(Value::Mapping(entries)), Value::Mapping(own))
                if !is_function_call(&entries) && !is_function_call(&own) =>
            {
                merged(entries, own, false).into()
            }
            (_, own) => own,
        };
        common.insert(key, value);
    }
    common
}

/// Returns true if the mapping is an intrinsic function, which CloudFormation replaces.
fn is_function_call(entries: &Mapping) -> bool {
    let is_name = |key: &str| matches!(key, "Ref" | "Condition") || key.starts_with("Fn::");
    entries.len() == 1 && entries.keys().all(|key| key.as_str().is_some_and(is_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        super::super::read::read(text).unwrap().value()
    }

    #[test]
    fn globals_are_merged_as_sam_does() {
        let globals = mapping(read(
            "Timeout: 5\nRuntime: python3.12\nLayers: [a]\nArchitectures: [arm64]\nTags: {A: 1, B: 2}\n\
             Environment: {Variables: {X: 1, Y: {Ref: Z}}}\nVpcConfig: {Ref: V}\n",
        ));
        for (own, wanted) in [
            (
                "Type: AWS::Serverless::Function",
                "Timeout: 5\nRuntime: python3.12\nLayers: [a]\nArchitectures: [arm64]\nTags: {A: 1, B: 2}\n\
                 Environment: {Variables: {X: 1, Y: {Ref: Z}}}\nVpcConfig: {Ref: V}",
            ),
            (
                "Type: AWS::Serverless::Function\nIgnoreGlobals: [Tags, VpcConfig, Environment]\n\
                 Properties: {Timeout: 6, Layers: [b, a], Architectures: [x86_64], Handler: h}",
                "Timeout: 6\nRuntime: python3.12\nLayers: [a, b, a]\nArchitectures: [x86_64]\nHandler: h",
            ),
            (
                "Type: AWS::Serverless::Function\nIgnoreGlobals: [Runtime, Timeout, Layers, Architectures]\n\
                 Properties: {Tags: {B: 3}, Environment: {Variables: {Y: 4, W: 5}}, VpcConfig: {Ids: [1]}}",
                "Tags: {A: 1, B: 3}\nEnvironment: {Variables: {X: 1, Y: 4, W: 5}}\nVpcConfig: {Ids: [1]}",
            ),
            ("Type: AWS::Serverless::Function\nIgnoreGlobals: '*'\nProperties: {Handler: h}", "Handler: h"),
            ("Type: AWS::Lambda::Function\nProperties: {Handler: h}", "Handler: h"),
        ] {
            let resource = applied(&globals, read(own));
            assert_eq!(resource["Properties"], read(wanted), "{own}");
            assert!(resource[IGNORED].is_null());
        }
    }
}
