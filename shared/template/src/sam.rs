//! The resources that SAM generates. They count towards CloudFormation's limits, and their logical ids are taken.

use serde_yaml_ng::Value;

const FUNCTION: &str = "AWS::Serverless::Function";

/// The logical ids of the resources that SAM generates for these resources: at least those.
pub(super) fn generated<'a>(resources: &(impl Iterator<Item = (&'a str, &'a Value)> + Clone)) -> Vec<String> {
    let mut ids: Vec<_> = resources.clone().flat_map(|(id, resource)| generated_by(id, resource)).collect();
    // Events without an API of their own share one.
    for (event, key, api, stage) in [
        ("Api", "RestApiId", "ServerlessRestApi", "ProdStage"),
        ("HttpApi", "ApiId", "ServerlessHttpApi", "ApiGatewayDefaultStage"),
    ] {
        let functions = resources.clone().filter(|(_, resource)| resource["Type"] == FUNCTION);
        let mut events =
            functions.flat_map(|(_, f)| f["Properties"]["Events"].as_mapping().into_iter().flatten());
        if events.any(|(_, of)| of["Type"] == event && of["Properties"][key].is_null()) {
            ids.extend([api.to_owned(), format!("{api}{stage}")]);
            ids.extend((event == "Api").then(|| format!("{api}Deployment*")));
        }
    }
    ids
}

/// The logical ids of the resources that SAM generates for one resource. `*` is the part of an id that is not known here.
/// Source: AWS SAM Developer Guide, "Generated CloudFormation resources for AWS SAM".
fn generated_by(id: &str, resource: &Value) -> Vec<String> {
    let properties = &resource["Properties"];
    let of = |suffix: &str| format!("{id}{suffix}");
    match resource["Type"].as_str() {
        Some(FUNCTION) => of_function(id, properties),
        Some("AWS::Serverless::StateMachine") if properties["Role"].is_null() => vec![of("Role")],
        Some("AWS::Serverless::Api") => vec![of("Deployment*"), of("*Stage")],
        Some("AWS::Serverless::HttpApi") => vec![of("*Stage")],
        _ => Vec::new(),
    }
}

fn of_function(id: &str, properties: &Value) -> Vec<String> {
    let of = |suffix: &str| format!("{id}{suffix}");
    let has = |key: &str| !properties[key].is_null();
    let mut ids = Vec::new();
    if !has("Role") {
        ids.push(of("Role"));
    }
    if has("AutoPublishAlias") {
        ids.push(of("Version*"));
        ids.push(of(&format!("Alias{}", properties["AutoPublishAlias"].as_str().unwrap_or("*"))));
    }
    if has("EventInvokeConfig") {
        ids.push(of("EventInvokeConfig"));
    }
    if has("FunctionUrlConfig") {
        ids.push(of("Url"));
        if properties["FunctionUrlConfig"]["AuthType"] == "NONE" {
            ids.extend([of("UrlPublicPermissions"), of("URLInvokeAllowPublicAccess")]);
        }
    }
    for (event, definition) in properties["Events"].as_mapping().into_iter().flatten() {
        let of = |suffix: &str| format!("{id}{}{suffix}", event.as_str().unwrap_or("*"));
        match definition["Type"].as_str() {
            Some(
                "Schedule" | "CloudWatchEvent" | "EventBridgeRule" | "SNS" | "CloudWatchLogs" | "IoTRule",
            ) => {
                ids.extend([of(""), of("Permission")]);
            }
            Some("ScheduleV2") => {
                ids.push(of(""));
                if definition["Properties"]["RoleArn"].is_null() {
                    ids.push(of("Role"));
                }
            }
            Some("SQS" | "Kinesis" | "DynamoDB" | "MQ" | "MSK" | "SelfManagedKafka" | "DocumentDB") => {
                ids.push(of(""));
            }
            Some("Api") => ids.push(of("Permission*")),
            Some("HttpApi" | "S3" | "AlexaSkill") => ids.push(of("Permission")),
            _ => {}
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected ids are those of `aws-sam-translator` 1.115.
    #[test]
    fn the_generated_resources_are_those_of_sam() {
        let ids = |text: &str| {
            let read = super::super::read::read(text).unwrap().value();
            let resources: Vec<_> =
                read.as_mapping().unwrap().iter().map(|(id, r)| (id.as_str().unwrap(), r)).collect();
            let mut ids = generated(&resources.iter().copied());
            ids.sort();
            ids
        };
        let many = "F:\n  Type: AWS::Serverless::Function\n  Properties:\n    AutoPublishAlias: live\n    \
                    FunctionUrlConfig: {AuthType: NONE}\n    EventInvokeConfig: {MaximumRetryAttempts: 0}\n    Events:\n      \
                    A: {Type: Schedule}\n      B: {Type: SQS}\n      C: {Type: ScheduleV2}\n      D: {Type: Api}\n      \
                    E: {Type: HttpApi}\n      G: {Type: SNS}\n      H: {Type: S3}\n      I: {Type: CloudWatchLogs}\n      \
                    J: {Type: EventBridgeRule}\n      K: {Type: IoTRule}\nQ: {Type: AWS::SQS::Queue}\n\
                    S: {Type: AWS::Serverless::StateMachine}\nAp: {Type: AWS::Serverless::Api}\n\
                    Ha: {Type: AWS::Serverless::HttpApi}\n";
        let wanted = [
            "Ap*Stage",
            "ApDeployment*",
            "FA",
            "FAPermission",
            "FAliaslive",
            "FB",
            "FC",
            "FCRole",
            "FDPermission*",
            "FEPermission",
            "FEventInvokeConfig",
            "FG",
            "FGPermission",
            "FHPermission",
            "FI",
            "FIPermission",
            "FJ",
            "FJPermission",
            "FK",
            "FKPermission",
            "FRole",
            "FURLInvokeAllowPublicAccess",
            "FUrl",
            "FUrlPublicPermissions",
            "FVersion*",
            "Ha*Stage",
            "SRole",
            "ServerlessHttpApi",
            "ServerlessHttpApiApiGatewayDefaultStage",
            "ServerlessRestApi",
            "ServerlessRestApiDeployment*",
            "ServerlessRestApiProdStage",
        ];
        assert_eq!(ids(many), wanted);
        let few = "F: {Type: AWS::Serverless::Function, Properties: {Role: r, Events: {A: {Type: Api, Properties: {RestApiId: x}}}}}";
        assert_eq!(ids(few), ["FAPermission*"]);
    }
}
