//! The resources that SAM makes of one, besides itself: they count, and their names are taken.

use serde_yaml_ng::Value;

const FUNCTION: &str = "AWS::Serverless::Function";

/// The least that SAM makes of a template besides the resources that are written.
pub(super) fn generated<'a>(resources: &(impl Iterator<Item = (&'a str, &'a Value)> + Clone)) -> Vec<String> {
    let mut made: Vec<_> = resources.clone().flat_map(|(id, resource)| generated_by(id, resource)).collect();
    // Events that name no API share one.
    for (event, key, api, stage) in [
        ("Api", "RestApiId", "ServerlessRestApi", "ProdStage"),
        ("HttpApi", "ApiId", "ServerlessHttpApi", "ApiGatewayDefaultStage"),
    ] {
        let functions = resources.clone().filter(|(_, resource)| resource["Type"] == FUNCTION);
        let mut events =
            functions.flat_map(|(_, f)| f["Properties"]["Events"].as_mapping().into_iter().flatten());
        if events.any(|(_, says)| says["Type"] == event && says["Properties"][key].is_null()) {
            made.extend([api.to_owned(), format!("{api}{stage}")]);
            made.extend((event == "Api").then(|| format!("{api}Deployment*")));
        }
    }
    made
}

/// The least that SAM makes of a resource besides itself, by logical id. An id that holds what nobody knows before is
/// written with `*`. Source: AWS SAM Developer Guide, "Generated CloudFormation resources for AWS SAM".
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
    let says = |key: &str| !properties[key].is_null();
    let mut made = Vec::new();
    if !says("Role") {
        made.push(of("Role"));
    }
    if says("AutoPublishAlias") {
        made.push(of("Version*"));
        made.push(of(&format!("Alias{}", properties["AutoPublishAlias"].as_str().unwrap_or("*"))));
    }
    if says("EventInvokeConfig") {
        made.push(of("EventInvokeConfig"));
    }
    if says("FunctionUrlConfig") {
        made.push(of("Url"));
        if properties["FunctionUrlConfig"]["AuthType"] == "NONE" {
            made.extend([of("UrlPublicPermissions"), of("URLInvokeAllowPublicAccess")]);
        }
    }
    for (event, says) in properties["Events"].as_mapping().into_iter().flatten() {
        let of = |suffix: &str| format!("{id}{}{suffix}", event.as_str().unwrap_or("*"));
        match says["Type"].as_str() {
            Some(
                "Schedule" | "CloudWatchEvent" | "EventBridgeRule" | "SNS" | "CloudWatchLogs" | "IoTRule",
            ) => {
                made.extend([of(""), of("Permission")]);
            }
            Some("ScheduleV2") => {
                made.push(of(""));
                if says["Properties"]["RoleArn"].is_null() {
                    made.push(of("Role"));
                }
            }
            Some("SQS" | "Kinesis" | "DynamoDB" | "MQ" | "MSK" | "SelfManagedKafka" | "DocumentDB") => {
                made.push(of(""));
            }
            Some("Api") => made.push(of("Permission*")),
            Some("HttpApi" | "S3" | "AlexaSkill") => made.push(of("Permission")),
            _ => {}
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `aws-sam-translator` 1.115 makes them.
    #[test]
    fn what_sam_makes_is_known() {
        let made = |text: &str| {
            let read = super::super::read::read(text).unwrap().value();
            let resources: Vec<_> =
                read.as_mapping().unwrap().iter().map(|(id, r)| (id.as_str().unwrap(), r)).collect();
            let mut made = generated(&resources.iter().copied());
            made.sort();
            made
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
        assert_eq!(made(many), wanted);
        let few = "F: {Type: AWS::Serverless::Function, Properties: {Role: r, Events: {A: {Type: Api, Properties: {RestApiId: x}}}}}";
        assert_eq!(made(few), ["FAPermission*"]);
    }
}
